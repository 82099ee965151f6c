"""Parquet files, written in a stream: the same bytes for the same rows."""

from collections.abc import Mapping
from pathlib import Path

import polars as pl


def write(files: Mapping[Path, pl.LazyFrame]) -> None:
    """Write each frame to its path, in one pass over what they share.

    Memory stays bounded however many rows there are, and the number of cores does not show in
    the files: rows keep their order, and groups of rows their size.
    """
    pl.collect_all([sink(rows, path) for path, rows in files.items()], engine="streaming")


def sink(rows: pl.LazyFrame, path: Path) -> pl.LazyFrame:
    """What writes a frame to its path, once it is collected."""
    return rows.sink_parquet(
        path, compression="zstd", compression_level=1, row_group_size=250_000, lazy=True
    )


def count(path: Path) -> int:
    """The number of rows in a file."""
    return int(pl.scan_parquet(path).select(pl.len()).collect().item())
