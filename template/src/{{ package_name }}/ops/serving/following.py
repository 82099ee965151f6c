"""The model that a place names: whatever lies there is loaded, warmed and taken into service."""

import logging
from collections.abc import Callable

from ..errors import UserError
from . import source
from .models import Model

logger = logging.getLogger("service")


class Follower:
    """Looks for a new model whenever it is told to, by one thread at a time.

    Whatever fails leaves the one before in service.

    Attributes:
        failing: whether the last look failed.
    """

    def __init__(
        self,
        watched: source.Source,
        max_rows: int,
        take: Callable[[Model | None], None],
        *,
        what: str = "model",
        lets_go: bool = False,
    ) -> None:
        """Follow a place.

        Args:
            watched: the place.
            max_rows: how many rows a request may bring.
            take: called with a model that is ready; what it raises is a failure of this model.
            what: how the model is called where it is said that there is none.
            lets_go: whether there need be no model at all: `take` is then called with None when
                the place is empty. Otherwise the last model stays.
        """
        self.failing = False
        self._source = watched
        self._max_rows = max_rows
        self._take = take
        self._what = what
        self._lets_go = lets_go
        self._found: source.Found | None = None
        self._last: Model | None = None
        self._taken = False
        self._trouble = ""

    def look(self) -> None:
        """Take a new model, if there is one."""
        trouble = ""
        self.failing = False
        try:
            # What could not be loaded is tried again: the disk may have been full.
            self._found = self._source.poll() or self._found
            if self._found is not None:
                self._last = Model.load(self._found, self._max_rows)
                self._found, self._taken = None, False
            if self._last is not None and not self._taken:
                self._take(self._last)
                self._taken = True
        except source.Absent as error:
            trouble = str(error)
            self.failing = not self._lets_go
            if self._lets_go:
                self._take(None)
                self._taken = False
        except Exception as error:  # noqa: BLE001  the watch must never end
            known = isinstance(error, source.Unavailable | UserError | OSError)
            trouble = str(error) if known else repr(error)
            self.failing = True
        if trouble and trouble != self._trouble:
            say = logger.warning if self.failing else logger.info
            say("No new %s: %s", self._what, trouble)
        if self._trouble and not trouble:
            logger.info("The bundle can be had again.")
        self._trouble = trouble
