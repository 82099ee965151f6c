"""Parquet, written in a stream: the same bytes for the same rows.

What the pipeline keeps is a folder of numbered parts, each of `PART_ROWS` rows at most, which
polars reads as it reads a file. A part is what one process holds at a time, and what DVC stores.
"""

import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import polars as pl

from ..contract import FOLD, Contract
from ..errors import UserError, shortly
from ..files import replacing

PART, NUMBERED = "*.parquet", "{:06}.parquet"
PART_ROWS = 1_000_000
PATIENCE = 5.0  # seconds after which, again and again, a person wants to know how far it is


def write(folders: Mapping[Path, pl.LazyFrame]) -> None:
    """Write each frame as the parts of its folder, in one pass over what they share.

    Memory stays bounded however many rows there are, and the number of cores does not show in
    the parts: rows keep their order, and groups of rows their size.
    """

    def said() -> str:
        size = sum(part.stat().st_size for folder in folders for part in folder.glob("*"))
        return f"{size / 1e6:,.1f} MB written"

    with progress(said):
        sinks = [sink(rows, in_parts(folder)) for folder, rows in folders.items()]
        pl.collect_all(sinks, engine="streaming")


def sink(rows: pl.LazyFrame, place: Path | pl.PartitionBy) -> pl.LazyFrame:
    """What writes a frame to a file, or as parts, once it is collected."""
    return rows.sink_parquet(
        place, compression="zstd", compression_level=1, row_group_size=250_000, lazy=True
    )


def in_parts(folder: Path) -> pl.PartitionBy:
    """The place of the parts in a folder, which is made; there is one part at least."""
    folder.mkdir(exist_ok=True)
    return pl.PartitionBy(
        folder,
        file_path_provider=lambda part: NUMBERED.format(part.index_in_partition),
        max_rows_per_file=PART_ROWS,
        approximate_bytes_per_file=None,
    )


@contextmanager
def scratch(path: Path) -> Iterator[Path]:
    """An empty folder for parts on their way, whatever a process that was killed has left there."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield path
    finally:  # where a file could not be read, threads of polars may still write
        shutil.rmtree(path, ignore_errors=True)


def parts(path: Path) -> list[Path]:
    """The parts in a folder, in the order of their rows; a file is its only part."""
    return sorted(path.glob(PART)) if path.is_dir() else [path]


def gather(made: Path, name: str, path: Path) -> None:
    """Put all parts that lie under a name in the folders of `made` into one folder at `path`.

    They are numbered in their order; those without rows are left out, unless there are no others.
    """
    found = [part for folder in sorted(made.glob(f"*/{name}")) for part in parts(folder)]
    with replacing(path) as aside:
        aside.mkdir()
        for number, part in enumerate([part for part in found if count(part)] or found[:1]):
            part.rename(aside / NUMBERED.format(number))


def count(path: Path) -> int:
    """The number of rows in a file or a folder."""
    with explained(path):
        rows = pl.scan_parquet(parts(path) or path, glob=False)
        return int(rows.select(pl.len()).collect().item())


@contextmanager
def explained(part: Any) -> Iterator[None]:
    """Name the file of a part that cannot be worked through, in a UserError."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        if not isinstance(part, Path):
            raise
        name, fault = f"{part.parent.name}/{part.name}", "is not here; "
        if part.exists():
            reason = shortly(error).rstrip(".")
            fault = f"cannot be worked through: {reason}; delete it if it was changed, and "
        cure = "let `dvc checkout`, `make pull` or `make train` bring it back."
        raise UserError(f"{name} {fault}{cure}") from error


def spread(path: Path, contract: Contract, most: int = 0, folded: bool = False) -> pl.DataFrame:
    """All rows that `split` wrote, or as many at most, which lie evenly among them.

    A UserError if they are not there, or lack a column of the contract or, if `folded`, their fold.
    """
    with explained(path):
        step = max(1, -(-count(path) // (most or sys.maxsize)))
        names = [*(column.name for column in contract.columns), *[FOLD] * folded]
        rows = pl.scan_parquet(path).select(names).gather_every(step).collect()
        if rows.is_empty():
            raise pl.exceptions.NoDataError("it has no rows")
    return rows


@contextmanager
def progress(said: Callable[[], str]) -> Iterator[None]:
    """Say every few seconds, on standard error, how far it is."""
    done = Event()

    def tell() -> None:
        while not done.wait(PATIENCE):
            print(f"... {said()}", file=sys.stderr, flush=True)

    teller = Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield
    finally:
        done.set()
        teller.join()
