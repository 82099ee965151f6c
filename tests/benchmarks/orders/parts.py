"""Make orders in parts: `parts.py ROWS FOLDER` writes Parquet files of a million rows each."""

import sys
from pathlib import Path

from make import BATCH, orders

if __name__ == "__main__":
    rows, folder = int(sys.argv[1]), Path(sys.argv[2])
    folder.mkdir()
    for first in range(0, rows, BATCH):
        part = orders(first, min(BATCH, rows - first))
        part.write_parquet(folder / f"{first // BATCH:06}.parquet")
