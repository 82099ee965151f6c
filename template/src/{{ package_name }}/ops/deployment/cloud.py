"""An endpoint of a cloud, as the targets in `deploy/*/*.mk` make it, and say how it is asked."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import httpx
import msgspec

from .. import command
from ..errors import UserError
from . import place as places
from . import state as states
from .service import Service
from .state import State

TARGETS = {"aws": "sagemaker", "azure": "azure-ml", "google": "vertex"}
"""By platform, what rolls out the file STATE; with `-access`, what says how to ask the endpoint."""

PATIENCE = 300.0
"""Seconds that a cloud has to say what it runs."""

ANSWER = 30.0
"""Seconds that an endpoint has to answer a request."""


class Access(msgspec.Struct):
    """What a cloud says of an endpoint."""

    image: Annotated[str, msgspec.Meta(pattern=r"[0-9a-f]{12}")]
    """The digest of the image that gets the traffic, or its first twelve digits."""
    url: str
    headers: dict[str, str]
    body: str
    """A row, as this cloud wants it."""


class Environment(places.Environment):
    """An environment whose service is an endpoint of a cloud, which runs the service alone."""

    patience = 3600

    @property
    def bundle(self) -> str:
        """Where the service finds its model: in the image, or in the registry that is set."""
        folder = self.project.root / "deploy" / self.platform / "endpoint"
        for file in (folder / "project.auto.tfvars", folder / f"{self.name}.tfvars"):
            text = file.read_text(encoding="utf-8") if file.exists() else ""
            if found := re.search(r'^registry\s*=\s*"(.+)"', text, re.MULTILINE):
                return f"{found[1]}@champion"
        return "models/champion"

    def roll(self, state: State, seconds: int) -> None:
        """Let the endpoint run this, and wait until it does.

        Raises:
            UserError: if the cloud refuses, or takes longer; the lines above say why.
        """
        file = self.project.root / "build" / "deploy" / f"{self.name}.yaml"
        states.write(file, state)
        target, given = TARGETS[self.platform], (f"ENVIRONMENT={self.name}", f"STATE={file}")
        with subprocess.Popen(("make", target, *given), cwd=self.project.root) as process:
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                process.terminate()  # and with it what it has begun, which lets go of its locks
                said = f"`make {target}` was not done after {seconds} seconds."
                raise UserError(said) from None
        if code:
            raise UserError(f"`make {target}` failed, as said above.")

    @contextmanager
    def service(self, state: State) -> Iterator[Service]:
        """The endpoint, to be asked; a UserError if it does not run this."""
        access = self._access()
        if not _is(access, state):
            raise UserError(f"The endpoint runs {access.image}, and not {state.shown}.")
        with httpx.Client(headers=access.headers, timeout=ANSWER) as client:
            yield Service(client, access.url, access.body.encode())

    def running(self, state: State) -> tuple[int, set[str]]:
        """Whether the endpoint runs this, and else what."""
        access = self._access()
        return (1, set()) if _is(access, state) else (0, {access.image})

    def _access(self) -> Access:
        target = f"{TARGETS[self.platform]}-access"
        asked = ("make", "--silent", target, f"ENVIRONMENT={self.name}")
        said = command.output(self.project.root, *asked, name=f"`make {target}`", timeout=PATIENCE)
        try:
            return msgspec.json.decode(said.splitlines()[-1], type=Access)
        except (msgspec.DecodeError, IndexError) as error:
            raise UserError(f"`make {target}` says no such thing: {error}.") from None


def _is(access: Access, state: State) -> bool:
    """Whether an endpoint runs the image of a state."""
    return state.image.partition("@sha256:")[2].startswith(access.image[:12])
