"""Parquet, written in a stream: the same bytes for the same rows.

What the pipeline keeps is a folder of numbered parts, each of `PART_ROWS` rows but the last, which
polars reads as it reads a file. A part is what one process holds at a time, and what DVC stores.
"""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    from polars.io.partition import FileProviderArgs

PART = "*.parquet"
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
        file_path_provider=_name,
        max_rows_per_file=PART_ROWS,
        approximate_bytes_per_file=None,
    )


def _name(part: "FileProviderArgs") -> str:
    return f"{part.index_in_partition:06}.parquet"


def parts(path: Path) -> list[Path]:
    """The parts in a folder, in the order of their rows; a file is its only part."""
    return sorted(path.glob(PART)) if path.is_dir() else [path]


def each(function: Callable[[Path], Any], parts: Iterable[Path]) -> Iterator[Any]:
    """What a function makes of each part, in their order; one part is at work at a time."""
    return map(function, parts)


def count(path: Path) -> int:
    """The number of rows in a file or a folder."""
    return int(pl.scan_parquet(path, glob=False).select(pl.len()).collect().item())


def spread(path: Path, most: int) -> pl.LazyFrame:
    """As many rows of a file or a folder at most, which lie evenly among all of them."""
    step = max(1, -(-count(path) // most))
    return pl.scan_parquet(path).gather_every(step)


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
