"""A change that people review, on a branch of its own, on the host of the repository.

It is committed beside the index and the working tree, which stay as they are. A proposal that is
still open is replaced: its branch moves, and its text is written anew.
"""

import json
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from .. import command
from ..errors import UserError

LONGEST = 60_000  # characters of a text; a host refuses more than 65,536
PATIENCE = 30.0  # seconds that a host has to answer
HELPER = '!answer() { echo "username=$PUSH_USER"; echo "password=$PUSH_TOKEN"; }; answer'
"""What tells git name and token, so that they stand in no file and on no command line."""


@dataclass(frozen=True)
class Host(ABC):
    """What keeps the repository and shows its proposals."""

    repository: str
    """Its address, for git."""
    requests: str
    """The address of its list of proposals: JSON over HTTP."""
    branch: str
    """What a proposal is to be merged into."""
    user: str
    """The name that goes with the token, for git."""
    token: str
    """What allows to push."""
    headers: Mapping[str, str]
    """What allows to propose, and whatever else a request must say of itself."""

    def propose(self, root: Path, commit: str, branch: str, title: str, text: str) -> str:
        """Push a commit and propose it, in place of what its branch held; gives the page of it.

        The text is Markdown; what is too long for the host is cut off.

        Raises:
            UserError: if git or the host refuses, or does not answer.
        """
        secret = {"PUSH_USER": self.user, "PUSH_TOKEN": self.token, "GIT_TERMINAL_PROMPT": "0"}
        only = ("-c", "credential.helper=", "-c", f"credential.helper={HELPER}")
        target = f"{commit}:refs/heads/{branch}"
        push = ("git", *only, "push", "--quiet", "--force", self.repository, target)
        command.output(root, *push, variables=secret)
        return self.open(branch, title, text[:LONGEST])

    @abstractmethod
    def open(self, branch: str, title: str, text: str) -> str:
        """Open a proposal of a pushed branch, or write the open one anew; gives the page of it."""

    def ask(self, method: str, path: str = "", body: object = None) -> Any:
        """What the host answers to a request for its list of proposals, or something below it.

        Raises:
            UserError: if it does not answer, or refuses, in its own words.
        """
        headers = {"Content-Type": "application/json", **self.headers}
        data = None if body is None else json.dumps(body).encode()
        address = self.requests + path
        if not address.startswith(("http://", "https://")):
            raise UserError(f"{address} is no address of a host; it begins with https://.")
        request = Request(address, data, headers, method=method)
        asked = f"{method} {request.selector.partition('?')[0]}"
        try:
            with urlopen(request, timeout=PATIENCE) as answer:  # nosec B310
                return json.load(answer)
        except HTTPError as error:
            words = error.read().decode(errors="replace").strip()
            raise UserError(f"{request.host} refuses {asked}: {error} {words}") from None
        except (OSError, HTTPException, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise UserError(f"{request.host} does not answer {asked}: {reason}") from None


def commit(root: Path, paths: Iterable[str | Path], message: str) -> str | None:
    """Commit what these paths hold, on top of HEAD; None if that changes nothing."""
    with TemporaryDirectory() as folder:
        aside = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        command.output(root, "git", "read-tree", "HEAD", variables=aside)
        command.output(root, "git", "add", "--all", "--", *map(str, paths), variables=aside)
        tree = command.output(root, "git", "write-tree", variables=aside)
    if tree == command.output(root, "git", "rev-parse", "HEAD^{tree}"):
        return None
    return command.output(root, "git", "commit-tree", tree, "-p", "HEAD", "-m", message)


def variables(meanings: Mapping[str, str]) -> list[str]:
    """The values of variables, given what each is to be; a UserError if one is missing."""
    for name, meaning in meanings.items():
        if not os.environ.get(name):
            raise UserError(f"{name} is not set: let it be {meaning}.")
    return [os.environ[name] for name in meanings]
