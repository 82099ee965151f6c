"""Bare ONNX Runtime over polars: `bare.py BUNDLE SOURCE DESTINATION`.

As many threads as cores score batches of as many rows as `ops score` does. It takes the rows for
good, and has all of them in memory.
"""

import sys
from pathlib import Path

import polars as pl
from onnx_model import Model


def main(bundle: Path, source: Path, destination: Path) -> None:
    """Read, score and write a file, or file by file those of a folder."""
    model = Model(bundle)
    for part in sorted(source.iterdir()) if source.is_dir() else [source]:
        text = part.suffix == ".csv"
        rows = pl.read_csv(part) if text else pl.read_parquet(part)
        columns = [rows[name].cast(pl.Float32).to_numpy() for name in model.features]
        scored = rows.with_columns(**model.answer(columns))
        target = destination / part.name if source.is_dir() else destination
        if text:
            scored.write_csv(target)
        else:
            scored.write_parquet(target, compression="zstd", compression_level=1)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
