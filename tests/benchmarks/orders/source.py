"""Where the benchmark's orders lie: text as `ops data use` reads it, or Parquet."""

import os
from pathlib import Path

import polars as pl


def load(root: Path) -> pl.LazyFrame:  # noqa: ARG001  ingest gives it
    """Read all rows; `root` is the project's folder."""
    path = Path(os.environ["ORDERS"])
    if path.suffix == ".csv":
        return pl.scan_csv(path, infer_schema=False)
    return pl.scan_parquet(path)
