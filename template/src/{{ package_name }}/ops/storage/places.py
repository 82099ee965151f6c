"""Files beyond this machine, at addresses such as `s3://bucket/rows.csv`, reached as DVC does.

Who may read and write there is said by the environment, as the tools of each cloud read it.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from ..errors import UserError, shortly

if TYPE_CHECKING:
    from dvc.fs import FileSystem

SCHEMES = ("azure", "gs", "s3", "ssh")
PATIENCE = 20.0  # seconds that a place has to answer for the first time
STATE = ("size", "ETag", "etag", "mtime")  # as each kind of place calls it
CURE = "docs/ops/storage.md says what it needs"


@dataclass(frozen=True)
class Place:
    """A file or a folder at an address."""

    address: str
    system: "FileSystem"
    path: str

    @classmethod
    def at(cls, address: str) -> Self:
        """The place with an address.

        Raises:
            UserError: if nobody knows its kind, it holds what is secret, or there is no answer.
        """
        from dvc.fs import parse_external_url

        with reached(address):
            parts = urlsplit(address)
        if parts.scheme not in SCHEMES:
            expected = ", ".join(f"{scheme}://" for scheme in SCHEMES)
            raise UserError(f"{address!r} is no such address; begin it with one of {expected}.")
        if parts.password or parts.query or (parts.username and parts.scheme != "ssh"):
            raise UserError(f"Leave passwords, keys and tokens out of it: {parts.scheme}://…")
        if not parts.hostname:
            raise UserError(f"{address!r} names no bucket, container or host after //.")
        with reached(address):
            place = cls(address, *parse_external_url(address))
        knock = Thread(target=place.exists, daemon=True)
        knock.start()
        knock.join(PATIENCE)
        if knock.is_alive():
            raise UserError(f"{address} does not answer; {CURE}.")
        return place

    def exists(self) -> bool:
        """Whether anything is there, as far as is known: not if nobody may look."""
        with suppress(Exception):
            return bool(self.system.exists(self.path))
        return False

    def sizes(self) -> dict[str, int]:
        """The files of a folder, by their paths in it: how many bytes each has.

        No file where there is no folder; a UserError where there is no bucket.
        """
        with reached(self.address):
            paths = list(self.system.find(self.path))
            names = ["/".join(self.system.relparts(path, self.path)) for path in paths]
            return dict(zip(names, self.system.sizes(paths), strict=True))

    def join(self, name: str) -> str:
        """The path of a file in a folder."""
        return str(self.system.join(self.path, *name.split("/")))

    def state(self) -> dict[str, Any]:
        """What changes when a file does.

        Raises:
            UserError: if it is not there.
        """
        with reached(self.address):
            try:
                its = self.system.info(self.path)
            except FileNotFoundError:
                raise UserError(f"{self.address} does not exist; name a file.") from None
        return {key: str(its[key]) for key in STATE if key in its}

    def fetch(self, file: Path) -> None:
        """Copy the file to this machine."""
        from dvc.fs import generic, localfs

        with reached(self.address):
            generic.copy(self.system, self.path, localfs, str(file))

    def remove(self) -> None:
        """Let the file be gone."""
        with reached(self.address):
            self.system.rm_file(self.path)

    def send(self, file: Path) -> None:
        """Copy a file of this machine to here."""
        from dvc.fs import generic, localfs

        with reached(self.address):
            generic.copy(localfs, str(file), self.system, self.path)


@contextmanager
def reached(address: str) -> Iterator[None]:
    """Turn what any cloud says of an address into a sentence."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # each kind of place has its own
        reason = shortly(error).strip(" .")
        raise UserError(f"{address} cannot be used: {reason}; {CURE}.") from error
