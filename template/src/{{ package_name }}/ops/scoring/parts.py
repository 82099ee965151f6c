"""A result that is made in numbered parts, and goes on where it was cut short.

Finished parts lie in a folder beside the result, so that a kill costs what was at hand and nothing
more. What the result is about is written beside them: once that has changed, they are worth
nothing, and are thrown away.
"""

import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from ..errors import UserError
from ..files import read_json, replacing, write_json

SUBJECT = "subject.json"


class Parts:
    """The finished parts of one result: Arrow files, by number from 0 up, without a gap."""

    def __init__(self, folder: Path, subject: Mapping[str, str]) -> None:
        """Take up what lies in `folder`, if it is about the same subject."""
        self.folder, self._subject = folder, dict(subject)
        self.finished = self.rows = 0
        known = read_json(folder / SUBJECT, {})
        if known != subject:
            changed = [name for name in subject if known.get(name) != subject[name]]
            if known:
                print(
                    f"Starting afresh: {' and '.join(changed)} changed since a run was cut short.",
                    file=sys.stderr,
                )
            self.drop()
            return
        while self._path(self.finished).exists():
            self.finished += 1
        if self.finished:
            self.rows = int(self.scan().select(pl.len()).collect().item())

    def prepare(self) -> None:
        """Make the folder, with the subject in it."""
        write_json(self.folder / SUBJECT, self._subject)

    def write(self, rows: pl.DataFrame) -> None:
        """Keep the next part, whole or not at all."""
        with replacing(self._path(self.finished)) as aside:
            rows.write_ipc(aside)
        self.finished += 1
        self.rows += len(rows)

    def scan(self) -> pl.LazyFrame:
        """The rows of all finished parts, in order; there is one part at least."""
        return pl.scan_ipc([self._path(number) for number in range(self.finished)], glob=False)

    def drop(self) -> None:
        """Throw everything away."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:06}.arrow"


@contextmanager
def kept(target: Path, subject: Mapping[str, str]) -> Iterator[Parts]:
    """The parts of a result; they stay if the work is cut short, and something is finished.

    A UserError for what the file system refuses the block.
    """
    parts, stay = Parts(target.with_name(f".{target.name}.parts"), subject), True
    try:
        yield parts
        stay = False
    except OSError as error:
        hint = f"; the same command will go on after {parts.rows:,} rows" if parts.rows else ""
        reason = error.strerror or str(error)
        raise UserError(f"{target} cannot be written: {reason}{hint}.") from error
    finally:
        if not (stay and parts.finished):
            parts.drop()
