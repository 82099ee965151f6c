"""Bare ONNX Runtime over polars: `bare.py BUNDLE SOURCE DESTINATION`.

As many threads as cores score batches of as many rows as `ops score` does. It takes the rows for
good, and has all of them in memory.
"""

import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime
import polars as pl

BATCH_ROWS = 4_096


def main(bundle: Path, source: Path, destination: Path) -> None:
    """Read, score and write."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    features = [feature["name"] for feature in manifest["features"]]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(
        bundle / "model.onnx", options, providers=["CPUExecutionProvider"]
    )
    names = [item.name for item in session.get_inputs()]

    text = source.suffix == ".csv"
    rows = pl.read_csv(source) if text else pl.read_parquet(source)
    arrays = [rows[name].cast(pl.Float32).to_numpy().reshape(-1, 1) for name in features]

    def score(start: int) -> list[np.ndarray]:
        some = [values[start : start + BATCH_ROWS] for values in arrays]
        return session.run(None, dict(zip(names, some, strict=True)))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        parts = list(pool.map(score, range(0, len(rows), BATCH_ROWS)))
    places, probabilities = (np.concatenate(each) for each in zip(*parts, strict=True))
    scored = rows.with_columns(
        prediction=pl.Series(manifest["classes"]).gather(places),
        **{
            f"probability_{name}": pl.Series(column)
            for name, column in zip(manifest["classes"], probabilities.T, strict=True)
        },
    )
    if text:
        scored.write_csv(destination)
    else:
        scored.write_parquet(destination, compression="zstd", compression_level=1)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
