"""Where the bundle to serve lies: a folder, or a registry. It is copied from there, and checked.

Whatever becomes of the place meanwhile, a bundle that was fetched is whole.
"""

import logging
import re
import shutil
import tempfile
import time
from collections.abc import Hashable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Protocol

import msgspec

from ..bundle import ARRAYS, MANIFEST, MODEL, OTHER_CODE, UNKNOWN, VERSION, Bundle
from ..errors import UserError

logger = logging.getLogger("service")

ATTEMPTS, PAUSE = 10, 0.01
"""How often, and after how many seconds, a place is looked at again while it is exchanged."""

WORD = re.compile(r"^[A-Za-z0-9_.-]{1,64}\Z")
"""What may be said of a version: it ends up in answers, logs and metrics."""

Word = Annotated[str, msgspec.Meta(pattern=WORD.pattern)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]


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
    """Somewhere that a bundle lies; `shown` in messages."""

    shown: str

    def state(self) -> Hashable:
        """What changes whenever the bundle does, and is quickly found out, else `Unavailable`."""

    def copy(self, state: Any, folder: Path) -> None:
        """Copy the bundle that has this state; `Changed`, `Unavailable` or OSError if it fails."""


class Folder:
    """A folder with a bundle, which is exchanged as a whole or file by file."""

    def __init__(self, path: Path) -> None:
        """Watch a folder, which need not be there yet."""
        self.shown = str(path)
        self._files = [path / name for name in (MANIFEST, MODEL, ARRAYS, VERSION)]

    def state(self) -> Hashable:
        """Which files there are, as the file system tells them apart: a manifest and a model."""
        for _ in range(ATTEMPTS):
            try:
                found = [_identity(file) for file in self._files]
            except OSError as error:
                raise Unavailable(f"{self.shown} cannot be read: {error.strerror}.") from None
            if found[0] and any(found[1:3]):
                return tuple(found)
            time.sleep(PAUSE)
        raise Absent(f"There is no model in {self.shown}; `make train` puts a champion there.")

    def copy(self, state: Any, folder: Path) -> None:
        """Copy the files; they are one bundle if none was exchanged meanwhile."""
        for file, there in zip(self._files, state, strict=True):
            try:
                if there:
                    shutil.copyfile(file, folder / file.name)
            except FileNotFoundError:
                raise Changed from None
        if self.state() != state:
            raise Changed


def locate(where: str, setting: str = "BUNDLE") -> Location:
    """A folder, or a version in a registry: `http://host:5000/NAME@ALIAS` or `.../NAME/VERSION`.

    Args:
        where: the folder or the address of a version; see `registry_client.Registry`.
        setting: what to mend if it is neither, or leads nowhere.

    Raises:
        UserError: if it is neither.
    """
    if "://" in where:
        from .registry_client import Registry  # httpx is loaded where there is one to ask

        return Registry(where, setting)
    if not where.strip() or "\0" in where:
        raise UserError(f"{setting} names no folder; give it one with a model, or a registry.")
    return Folder(Path(where).absolute())


def fetch(location: Location, folder: Path) -> Bundle:
    """Copy the bundle that lies somewhere into a folder of its own below `folder`.

    `Absent` if there is none, `Broken` if it will not do, else `Unavailable` if it fails.
    """
    for _ in range(ATTEMPTS):
        state = location.state()
        try:
            copy = Path(tempfile.mkdtemp(dir=folder))
            location.copy(state, copy)
            return _checked(copy, location.shown)
        except Changed:
            time.sleep(PAUSE)
        except OSError as error:
            reason = error.strerror or type(error).__name__
            raise Unavailable(f"{location.shown} cannot be copied: {reason}.") from None
    raise Unavailable(f"{location.shown} changes faster than it can be copied.")


def _checked(folder: Path, shown: str) -> Bundle:
    """The bundle in a copy; `Broken` if it is not what was registered, or is not scored here."""
    try:
        bundle = Bundle(folder)
    except UserError as error:
        raise Broken(str(error).replace(str(folder), shown)) from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Broken(f"{shown} holds a manifest that no bundle has.") from None
    try:
        signed = msgspec.json.decode((folder / VERSION).read_bytes(), type=Signed)
        if signed.created != UNKNOWN:
            msgspec.convert(signed.created, Moment)
    except FileNotFoundError:
        signed = None
    except (ValueError, RecursionError):
        raise Broken(f"{shown} holds a broken {VERSION}; promote a version to mend it.") from None
    if signed and signed.digest != bundle.digest:
        raise Broken(
            f"The files in {shown} are not the ones that were registered; promote another version."
        )
    if bundle.manifest.get("golden") and (obstacle := bundle.obstacle()):
        raise Broken(
            f"Version {bundle.origin.version} in {shown} needs the code that it was trained with, "
            f"for {obstacle}; let the service run the code of its commit."
        )
    if bundle.has_other_code:
        logger.warning("Version %s: %s", bundle.origin.version, OTHER_CODE)
    return bundle


def _identity(path: Path) -> tuple[int, ...]:
    """What tells a file from the one that was there before; nothing where there is none."""
    try:
        it = path.stat()
    except FileNotFoundError:
        return ()
    return it.st_dev, it.st_ino, it.st_size, it.st_mtime_ns, it.st_ctime_ns
