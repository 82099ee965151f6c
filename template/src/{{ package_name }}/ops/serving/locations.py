"""Where the bundle to serve lies: a folder, or a registry. It is copied from there, and checked.

Whatever becomes of the place meanwhile, a bundle that was fetched is whole.
"""

import re
import shutil
import tempfile
import time
from collections.abc import Hashable
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from ..bundle import MANIFEST, MODEL, UNKNOWN, VERSION, Bundle, is_moment
from ..errors import UserError

ATTEMPTS, PAUSE = 10, 0.01
"""How often, and after how many seconds, a place is looked at again while it is exchanged."""

WORD = re.compile(r"^[A-Za-z0-9_.-]{1,64}\Z")
"""What may be said of a version: it ends up in answers, logs and metrics."""

Word = Annotated[str, msgspec.Meta(pattern=WORD.pattern)]


class Signed(msgspec.Struct):
    """What `version.json` says of the bundle beside it."""

    version: Word
    commit: Word
    data: Word
    digest: Word
    created: str = UNKNOWN


class Unavailable(Exception):
    """There is no bundle to be had: one sentence that says why."""


class Absent(Unavailable):
    """There is no bundle, and nobody says that there should be one."""


class Broken(Unavailable):
    """There is a bundle, but it will not do, however often it is copied."""


class Changed(Exception):
    """What was being copied is no longer there."""


class Location(Protocol):
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
                return (*map(_identity, self._files), self._signed_state())
            except FileNotFoundError:
                time.sleep(PAUSE)
            except OSError as error:
                raise Unavailable(f"{self.shown} cannot be read: {error.strerror}.") from None
        raise Absent(f"There is no model in {self.shown}; `make train` puts a champion there.")

    def copy(self, state: Any, folder: Path) -> str | None:
        """Copy the files; they are one bundle if none was exchanged meanwhile."""
        signed = state[-1] is not None
        try:
            for file in (*self._files, self._signed) if signed else self._files:
                shutil.copyfile(file, folder / file.name)
        except FileNotFoundError:
            raise Changed from None
        if self.state() != state:
            raise Changed
        return _digest(folder / VERSION, self.shown) if signed else None

    def _signed_state(self) -> Hashable:
        """The identity of `version.json`; None where there is none."""
        try:
            return _identity(self._signed)
        except FileNotFoundError:
            return None


def locate(where: str, setting: str = "BUNDLE") -> Location:
    """A folder, or a version in a registry: `http://host:5000/NAME@ALIAS` or `.../NAME/VERSION`.

    Args:
        where: the folder or the address of a version; see `registry_client.Registry.parse`.
        setting: what to mend if it is neither, or leads nowhere.

    Raises:
        UserError: if it is neither.
    """
    if "://" in where:
        from .registry_client import Registry  # httpx is loaded where there is one to ask

        return Registry.parse(where, setting)
    if not where.strip() or "\0" in where:
        raise UserError(f"{setting} names no folder; give it one with a model, or a registry.")
    return Folder(Path(where).absolute())


def fetch(location: Location, folder: Path) -> Bundle:
    """Copy the bundle that lies somewhere into a folder of its own below `folder`.

    Raises:
        Unavailable: if there is none, then as `Absent`, or a broken one, then as `Broken`.
    """
    for _ in range(ATTEMPTS):
        state = location.state()
        try:
            copy = Path(tempfile.mkdtemp(dir=folder))
            return _checked(copy, location.copy(state, copy), location.shown)
        except Changed:
            time.sleep(PAUSE)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Unavailable(f"{location.shown} cannot be copied: {reason}.") from None
    raise Unavailable(f"{location.shown} changes faster than it can be copied.")


def _identity(path: Path) -> tuple[int, ...]:
    """What tells a file from the one that was there before."""
    status = path.stat()
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _digest(signed: Path, shown: str) -> str:
    """The digest that a `version.json` speaks of.

    Raises:
        Broken: if it is not one.
    """
    try:
        told = msgspec.json.decode(signed.read_bytes(), type=Signed)
    except (ValueError, RecursionError):
        told = None
    if told is None or not is_moment(told.created):
        raise Broken(f"{shown} holds a broken {signed.name}; promote a version to mend it.")
    return told.digest


def _checked(folder: Path, digest: str | None, shown: str) -> Bundle:
    """The bundle in a copy.

    Raises:
        Broken: if it is not the one with this digest, or none at all.
    """
    try:
        bundle = Bundle(folder)
    except UserError as error:
        raise Broken(str(error).replace(str(folder), shown)) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Broken(f"{shown} holds a manifest that no bundle has.") from None
    if digest not in (None, bundle.digest):
        raise Broken(
            f"The files in {shown} are not the ones that were registered; promote another version."
        )
    return bundle
