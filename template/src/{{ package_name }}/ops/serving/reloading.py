"""The model in service is exchanged while it answers: a new one is loaded, warmed, and taken."""

import logging
import tempfile
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from pathlib import Path

from ..bundle import Bundle
from ..errors import UserError
from .locations import Absent, Broken, Location, Unavailable, fetch
from .models import Model
from .settings import Strictness

logger = logging.getLogger("service")

RETRY_SECONDS = 30.0
"""Seconds until a bundle that was found to be broken is tried again."""


@dataclass(eq=False)
class Follower:
    """Takes a new model whenever it is told to look, by one thread at a time.

    Whatever fails leaves the one before in service.
    """

    location: Location
    strictness: Strictness  # of how requests are read
    take: Callable[[Model | None], None]
    """Called with a model that is ready; what it raises is a failure of this model."""
    what: str = "model"  # how it is called where it is said that there is none
    optional: bool = False
    """Whether there need be none: `take` is then called with None when there is none any more."""
    failing: bool = field(default=False, init=False)  # whether the last look failed
    _state: Hashable = field(default=None, init=False)
    _taken: Hashable = field(default=None, init=False)
    _refused: tuple[Hashable, str, float] = field(default=(None, "", 0.0), init=False)
    _trouble: str = field(default="", init=False)

    def look(self) -> None:
        """Take a new model, if there is one. A slow registry may hold this up for minutes."""
        trouble, self.failing = "", False
        try:
            self.update()
        except Absent as error:
            trouble = str(error)
            self.failing = not self.optional
            if self.optional:
                self._state = self._taken = None
                self.take(None)
        except Exception as error:  # noqa: BLE001  the watch must never end
            trouble = _sentence(error)
            self.failing = True
        if trouble and trouble != self._trouble:
            say = logger.warning if self.failing else logger.info
            say("No new %s: %s", self.what, trouble)
        if self._trouble and not trouble:
            logger.info("The bundle can be had again.")
        self._trouble = trouble

    def update(self) -> None:
        """Copy, load and take what lies there, unless that was done, or has failed just now.

        `Unavailable` if that cannot be done; `Broken` if it is no use to try again soon.
        """
        state = self.location.state()
        if state == self._state:
            return
        refused, reason, until = self._refused
        if state == refused and time.monotonic() < until:
            raise Broken(reason)
        try:
            with tempfile.TemporaryDirectory(prefix="bundle-", ignore_cleanup_errors=True) as copy:
                bundle = fetch(self.location, Path(copy))
                if self._taken != (bundle.digest, bundle.origin):
                    self._load(bundle)
        except Broken as error:
            self._refused = state, str(error), time.monotonic() + RETRY_SECONDS
            raise
        self._state = state

    def _load(self, bundle: Bundle) -> None:
        """Load a bundle and take it into service; `Broken` if that fails, whatever the reason."""
        try:
            self.take(Model.load(bundle, self.strictness))
        except Exception as error:
            raise Broken(_sentence(error)) from error
        self._taken = bundle.digest, bundle.origin


def _sentence(error: Exception) -> str:
    """What is said of an error: those that are expected say it themselves."""
    return str(error) if isinstance(error, Unavailable | UserError | OSError) else repr(error)
