"""Rows to be scored, in rows.parquet and rows.csv: `make.py ROWS FOLDER`, in a trained project."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
from my_model.ops import contract as contracts

SEED = 7
SPREAD = 0.02


def main(number: int, folder: Path) -> None:
    """Draw training rows again and again, each a little larger or smaller."""
    columns = [column.name for column in contracts.load().features]
    known = pl.read_parquet("data/train.parquet", columns=columns)
    draw = np.random.default_rng(SEED)
    drawn = known[draw.integers(len(known), size=number)]
    scale = pl.Series(draw.uniform(1 - SPREAD, 1 + SPREAD, number))
    rows = drawn.with_columns((pl.all() * scale).round_sig_figs(4))
    rows.write_parquet(folder / "rows.parquet")
    rows.write_csv(folder / "rows.csv")


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
