"""The bundle to serve: looked for again and again, and handed over once it is copied and checked.

Whatever becomes of the place where it lies, a bundle that is served stays whole.
"""

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Hashable
from pathlib import Path
from typing import NamedTuple

from ..bundle import UNKNOWN, Bundle
from ..errors import UserError
from .places import ATTEMPTS, PAUSE, Absent, Broken, Changed, Folder, Place, Unavailable
from .remote import Registry

__all__ = ["Absent", "Found", "Source", "Unavailable", "open"]

FORGET_SECONDS = 60.0
"""Seconds until a bundle that was found to be broken is copied again."""

KEPT = 2
"""How many copies stay: the last, and the one before, which may still be in service."""


class Found(NamedTuple):
    """A whole bundle, in a folder that nobody else writes to."""

    folder: Path
    version: str
    """Its number in the registry, or the first digits of its digest if it has none."""

    digest: str
    commit: str
    """The git commit that it was trained at, or "none"."""

    data: str
    """DVC's hash of the rows that it learnt from, or "none"."""

    created: str = UNKNOWN
    """When it was registered, in ISO 8601, or "none"."""


class Source:
    """A place that is watched for a new bundle, by one thread at a time."""

    def __init__(self, place: Place, cache: Path) -> None:
        """Use `open` instead, which knows the places."""
        self.shown = place.shown
        self._place = place
        self._cache = cache
        self._state: Hashable = None
        self._kept: deque[Found] = deque()
        self._broken: tuple[Hashable, str, float] = (None, "", 0.0)

    def poll(self) -> Found | None:
        """The bundle that is there now, unless it is the one that was found last.

        To see that nothing has changed takes microseconds for a folder and one small question for
        a registry. A registry that is slow may take minutes: let nobody wait for the thread.

        Raises:
            Unavailable: if there is none, then as `Absent`, or a broken one.
        """
        for _ in range(ATTEMPTS):
            state = self._place.state()
            if state == self._state:
                return None
            broken, reason, until = self._broken
            if state == broken and time.monotonic() < until:
                raise Unavailable(reason)
            try:
                return self._take(state)
            except Changed:
                time.sleep(PAUSE)
            except Broken as error:
                self._broken = (state, str(error), time.monotonic() + FORGET_SECONDS)
                raise
            except OSError as error:
                reason = error.strerror or type(error).__name__
                raise Unavailable(f"{self._place.shown} cannot be copied: {reason}.") from None
        raise Unavailable(f"{self._place.shown} changes faster than it can be copied.")

    def _take(self, state: Hashable) -> Found | None:
        """Copy what is there, and keep the copy if it is whole and new."""
        folder = Path(tempfile.mkdtemp(prefix="bundle-", dir=self._cache))
        try:
            found = self._checked(folder, self._place.copy(state, folder))
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        self._state = state
        if self._kept and self._kept[-1]._replace(folder=folder) == found:
            shutil.rmtree(folder, ignore_errors=True)
            return None
        self._kept.append(found)
        if len(self._kept) > KEPT:
            shutil.rmtree(self._kept.popleft().folder, ignore_errors=True)
        return found

    def _checked(self, folder: Path, digest: str | None) -> Found:
        """What a copy holds.

        Raises:
            Broken: if it is not the bundle with this digest, or none at all.
        """
        shown = self._place.shown
        try:
            bundle = Bundle(folder)
        except UserError as error:
            raise Broken(str(error).replace(str(folder), shown)) from None
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
            raise Broken(f"{shown} holds a manifest that no bundle has.") from None
        if digest not in (None, bundle.digest):
            raise Broken(
                f"The files in {shown} are not the ones that were registered; "
                "promote another version."
            )
        version, commit, data, created = bundle.origin
        return Found(folder, version, bundle.digest, commit, data, created)


def open(where: str, cache: Path, setting: str = "BUNDLE") -> Source:
    """A source for a folder, or for `http://host:5000/NAME@ALIAS` or `.../NAME/VERSION`.

    Args:
        where: the folder or the address of a version in a registry; see `Registry.parse`.
        cache: an existing folder for the copies; whoever gives it removes it.
        setting: what to mend if it is neither, or leads nowhere.

    Raises:
        UserError: if it is neither.
    """
    if "://" in where:
        return Source(Registry.parse(where, setting), cache)
    if not where.strip() or "\0" in where:
        raise UserError(f"{setting} names no folder; give it one with a model, or a registry.")
    return Source(Folder(Path(where).absolute()), cache)
