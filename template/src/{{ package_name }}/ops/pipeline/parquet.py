"""Parquet files, written in a stream: the same bytes for the same rows."""

import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import polars as pl

PATIENCE = 5.0  # seconds after which, again and again, a person wants to know how far it is


def write(files: Mapping[Path, pl.LazyFrame]) -> None:
    """Write each frame to its path, in one pass over what they share.

    Memory stays bounded however many rows there are, and the number of cores does not show in
    the files: rows keep their order, and groups of rows their size.
    """

    def said() -> str:
        size = sum(path.stat().st_size for path in files if path.exists())
        return f"{size / 1e6:,.1f} MB written"

    with progress(said):
        sinks = [sink(rows, path) for path, rows in files.items()]
        pl.collect_all(sinks, engine="streaming")


def sink(rows: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """What writes a frame to its path, once it is collected."""
    return rows.sink_parquet(
        path, compression="zstd", compression_level=1, row_group_size=250_000, lazy=True
    )


def count(path: Path) -> int:
    """The number of rows in a file."""
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())


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
