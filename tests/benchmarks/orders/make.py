"""Make orders: `make.py ROWS FOLDER` writes the same table as CSV and as Parquet."""

import sys
from pathlib import Path

import numpy as np
import polars as pl

CHANNELS = np.array(["web", "shop", "phone", "partner", "mail"])
START = np.datetime64("2024-01-01", "us")
BATCH = 1_000_000


def orders(first: int, count: int) -> pl.DataFrame:
    """Orders from number `first` on; about one in a hundred breaks the contract."""
    draw = np.random.default_rng(first)
    numbers = pl.int_range(first, first + count, eager=True)
    ages = draw.integers(18, 95, count)
    frame = pl.DataFrame(
        {
            "order": "A-" + numbers.cast(pl.String).str.zfill(9),
            "placed": START + (numbers.to_numpy() * 3_000_000).astype("timedelta64[us]"),
            "amount": draw.gamma(2, 40, count).round(2),
            "distance": draw.normal(0, 100, count).round(3),
            "discount": draw.random(count).round(6),
            "rating": draw.normal(0, 1, count).round(4),
            "age": np.where(draw.random(count) < 0.01, -1, ages),
            "items": draw.integers(0, 40, count),
            "channel": CHANNELS[draw.integers(0, 5, count)],
            "city": np.char.add("city ", draw.integers(0, 400, count).astype(str)),
            "member": draw.random(count) < 0.4,
            "cancelled": np.where(draw.random(count) < 0.3, "yes", "no"),
        }
    )
    gaps = {"distance": 0.05, "rating": 0.02, "items": 0.01, "city": 0.03}
    return frame.with_columns(
        pl.when(pl.Series(draw.random(count) >= share)).then(pl.col(name)).alias(name)
        for name, share in gaps.items()
    )


if __name__ == "__main__":
    rows, folder = int(sys.argv[1]), Path(sys.argv[2])
    made = pl.concat(orders(first, min(BATCH, rows - first)) for first in range(0, rows, BATCH))
    made.write_parquet(folder / "orders.parquet")
    made.write_csv(folder / "orders.csv")
