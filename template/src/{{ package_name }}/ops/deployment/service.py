"""A service that was deployed, as callers see it: asked for a prediction, and put under load."""

import json
import math
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Annotated, Any

import httpx
import msgspec

from ..errors import UserError, shortly
from ..project import Project
from .state import plain

ANSWER = 10.0
"""Seconds that a service has to answer a request."""


class Load(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an environment has to bear."""

    seconds: Annotated[int, msgspec.Meta(ge=1, le=240)]
    callers: Annotated[int, msgspec.Meta(ge=1, le=100)]
    """Who ask at the same time, one row each."""
    lost: Annotated[int, msgspec.Meta(ge=0)]
    """Calls that may stay without a good answer."""
    p95_ms: Annotated[float, msgspec.Meta(gt=0)]
    """Milliseconds within which 95 of 100 answers are there."""


def load(project: Project, environment: str) -> Load | None:
    """What `deploy/load.yaml` asks of an environment; None if it asks for nothing.

    Raises:
        UserError: if the file is not what it should be.
    """
    file = project.root / "deploy" / "load.yaml"
    if not file.exists():
        return None
    try:
        asked = msgspec.convert(plain(file.read_bytes()) or {}, dict[str, Load])
    except ValueError as error:
        raise UserError(f"deploy/load.yaml: {error}; mend it.") from None
    return asked.get(environment)


@dataclass(frozen=True)
class Service:
    """Where a service is asked for predictions, and with what."""

    client: httpx.Client
    url: str
    body: bytes
    """A row, in JSON."""

    def predict(self) -> str:
        """Ask for a prediction; gives the version that answers.

        Raises:
            UserError: if there is no good answer.
        """
        with worded():
            answer: Any = json.loads(self._ask())
            answer = answer.get("predictions", answer) if isinstance(answer, dict) else answer
            return str((answer[0] if isinstance(answer, list) else answer)["model_version"])

    def bear(self, load: Load) -> str:
        """Ask again and again, by several callers; gives what came of it.

        Raises:
            UserError: if more is lost, or answers come later, than may be.
        """
        end = time.monotonic() + load.seconds

        def call() -> tuple[list[float], int]:
            times, lost = list[float](), 0
            while (begun := time.monotonic()) < end:
                try:
                    self._ask()
                except httpx.HTTPError:
                    lost += 1
                else:
                    times.append(time.monotonic() - begun)
            return times, lost

        with ThreadPoolExecutor(load.callers) as callers:
            done = [callers.submit(call) for _ in range(load.callers)]
        times = sorted(chain.from_iterable(caller.result()[0] for caller in done))
        lost = sum(caller.result()[1] for caller in done)
        p95 = 1000 * times[int(0.95 * len(times))] if times else math.inf
        said = f"{len(times):,} answers in {load.seconds} s, {lost:,} lost, p95 {p95:,.0f} ms"
        if lost > load.lost or p95 > load.p95_ms:
            raise UserError(
                f"Under load: {said}; deploy/load.yaml allows for {load.lost:,} lost and "
                f"{load.p95_ms:g} ms."
            )
        return said

    def _ask(self) -> bytes:
        headers = {"Content-Type": "application/json"}
        answer = self.client.post(self.url, content=self.body, headers=headers)
        return answer.raise_for_status().read()


@contextmanager
def worded() -> Iterator[None]:
    """Turn what goes wrong with a request into a sentence."""
    try:
        yield
    except httpx.HTTPStatusError as error:
        code = error.response.status_code
        cure = "; let API_KEY hold a key" if code == httpx.codes.UNAUTHORIZED else ""
        raise UserError(
            f"The service answers {error.request.url.path} with {code}{cure}."
        ) from None
    except (httpx.HTTPError, ValueError, LookupError, TypeError) as error:
        raise UserError(f"The service does not answer: {shortly(error)}.") from None
