"""A place where a bundle lies, and a folder as the nearest of them."""

import re
import shutil
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Any, Protocol

from ..bundle import MANIFEST, MODEL, UNKNOWN, VERSION, is_moment
from ..files import read_json

ATTEMPTS, PAUSE = 10, 0.01
"""How often, and after how many seconds, a folder is looked at again while it is exchanged."""

WORD = re.compile(r"[\w.-]{1,64}", re.ASCII)
"""What may be said of a version: it ends up in answers, logs and metrics."""


class Unavailable(Exception):
    """There is no bundle to be had: one sentence that says why."""


class Absent(Unavailable):
    """There is no bundle, and nobody says that there should be one."""


class Broken(Unavailable):
    """There is a bundle, but it will not do, however often it is copied."""


class Changed(Exception):
    """What was being copied is no longer there."""


class Place(Protocol):
    """Somewhere that a bundle lies."""

    shown: str
    """What it is called in messages."""

    def state(self) -> Hashable:
        """What changes whenever the bundle does, and is quickly found out.

        Raises:
            Absent: if there is no bundle.
            Unavailable: if that cannot be found out.
        """

    def copy(self, state: Any, folder: Path) -> str | None:
        """Copy the bundle that has this state, and tell its digest, if that is known.

        Raises:
            Changed: if it has another state by now.
            Unavailable: if it is not to be had.
            OSError: if the copy cannot be made.
        """


class Folder:
    """A folder with a bundle, which is exchanged as a whole or file by file."""

    def __init__(self, path: Path) -> None:
        """Watch a folder, which need not be there yet."""
        self.shown = str(path)
        self._files = (path / MODEL, path / MANIFEST)
        self._signed = path / VERSION

    def state(self) -> Hashable:
        """Which files there are, as the file system tells them apart."""
        for _ in range(ATTEMPTS):
            try:
                return self._look()
            except FileNotFoundError:
                time.sleep(PAUSE)
            except OSError as error:
                raise Unavailable(f"{self.shown} cannot be read: {error.strerror}.") from None
        raise Absent(f"There is no model in {self.shown}; `make train` puts a champion there.")

    def copy(self, state: Any, folder: Path) -> str | None:
        """Copy the files; they are one bundle if none was exchanged meanwhile."""
        *_, signed = state
        files = (*self._files, self._signed) if signed else self._files
        try:
            for file in files:
                shutil.copyfile(file, folder / file.name)
        except FileNotFoundError:
            raise Changed from None
        if self.state() != state:
            raise Changed
        return _digest(folder / VERSION, self.shown) if signed else None

    def _look(self) -> Hashable:
        """The identity of each file; None for a `version.json` that is not there."""
        files = [identity(file) for file in self._files]
        try:
            return (*files, identity(self._signed))
        except FileNotFoundError:
            return (*files, None)


def identity(path: Path) -> tuple[int, ...]:
    """What tells a file from the one that was there before."""
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _digest(signed: Path, shown: str) -> str:
    """The digest that a `version.json` speaks of.

    Raises:
        Broken: if it is not one.
    """
    try:
        values = read_json(signed)
        words = [values[key] for key in ("version", "commit", "data", "digest")]
        told = is_moment(values.get("created", UNKNOWN))
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        words, told = [], False
    known = all(isinstance(word, str) and WORD.fullmatch(word) for word in words)
    if not (words and known and told):
        raise Broken(f"{shown} holds a broken {signed.name}; promote a version to mend it.")
    return str(words[-1])
