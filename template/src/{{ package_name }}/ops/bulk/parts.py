"""Work that is done in parts, and goes on where it was cut short.

Finished parts lie in a folder beside the result, so that a kill costs what was at hand and nothing
more. What the work was about is written beside them: once that has changed, they are worth
nothing, and are thrown away.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import read_json, replacing, write_json

SUBJECT = "subject.json"


@dataclass(frozen=True)
class Part:
    """What is remembered of a finished part.

    Attributes:
        rows: how many came in.
        bad: how many of them break the contract.
        counts: how many break each rule.
    """

    rows: int
    bad: int
    counts: dict[str, int]


class Parts:
    """The finished parts of one piece of work, by number: 0 and up, without a gap."""

    def __init__(self, folder: Path, subject: Mapping[str, str]) -> None:
        """Take up what lies in `folder`, if it is about the same subject."""
        self.folder = folder
        self._subject = dict(subject)
        self.done: list[Part] = []
        known = _json(folder / SUBJECT)
        if known == self._subject:
            while (part := _json(self._report(len(self.done)))) is not None:
                self.done.append(Part(**part))
            return
        if known:
            changed = [name for name in subject if known.get(name) != subject[name]]
            print(
                f"Starting afresh: {' and '.join(changed)} changed since a run was cut short.",
                file=sys.stderr,
            )
        self.drop()

    @property
    def rows(self) -> int:
        """How many rows the finished parts hold."""
        return sum(part.rows for part in self.done)

    def prepare(self) -> None:
        """Make the folder, with the subject in it."""
        write_json(self.folder / SUBJECT, self._subject)

    def write(self, number: int, pieces: Mapping[str, bytes], part: Part) -> None:
        """Keep the pieces of a part, and then, with its report, the part; threads may."""
        for name, piece in pieces.items():
            with replacing(self._piece(name, number)) as aside:
                aside.write_bytes(piece)
        write_json(self._report(number), asdict(part))

    def pieces(self, name: str) -> list[Path]:
        """The pieces of one name, in order; not every part has one."""
        paths = (self._piece(name, number) for number in range(len(self.done)))
        return [path for path in paths if path.exists()]

    def drop(self) -> None:
        """Throw everything away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _piece(self, name: str, number: int) -> Path:
        return self.folder / f"{number:06}.{name}"

    def _report(self, number: int) -> Path:
        return self.folder / f"{number:06}.json"


@contextmanager
def kept(folder: Path, subject: Mapping[str, str]) -> Iterator[Parts]:
    """The parts in `folder`; they stay if the work is cut short, and something is finished."""
    parts = Parts(folder, subject)
    try:
        yield parts
    except BaseException:
        if not parts.done:
            parts.drop()
        raise
    parts.drop()


def _json(path: Path) -> dict[str, Any] | None:
    """What a file says; None if it is not there, or broken."""
    try:
        found: dict[str, Any] = read_json(path)
    except (OSError, ValueError):
        return None
    return found
