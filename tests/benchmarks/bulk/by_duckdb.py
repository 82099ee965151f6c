"""ONNX Runtime over DuckDB: `by_duckdb.py BUNDLE SOURCE DESTINATION`, folders both."""

import sys
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
from onnx_model import Model


def main(bundle: Path, source: Path, destination: Path) -> None:
    """Read, score and write file by file."""
    model, connection = Model(bundle), duckdb.connect()
    options = "format parquet, compression zstd, compression_level 1"
    for part in sorted(source.iterdir()):
        rows = connection.sql(f"select * from '{part}'").to_arrow_table()
        columns = [rows[name].to_numpy().astype(np.float32) for name in model.features]
        for name, values in model.answer(columns).items():
            rows = rows.append_column(name, pa.array(values))
        connection.register("scored", rows)
        connection.execute(f"copy scored to '{destination / part.name}' ({options})")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
