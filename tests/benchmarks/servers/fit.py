"""The champion's pipeline once more, for servers of scikit-learn: `fit.py FOLDER ROWS`.

Run in a trained project. Fitting is repeatable, so this is the pipeline that was exported to the
champion's bundle. Writes pipeline.joblib, and rows.json with what the pipeline says of them.
"""

import json
import sys
from pathlib import Path

import joblib
import numpy as np
import polars as pl
from my_model.ops import contract as contracts
from my_model.ops.bundle import Bundle
from my_model.ops.pipeline.train import Rows
from my_model.ops.settings import Settings


def main(folder: Path, number: int) -> None:
    """Fit, dump, and score some rows."""
    contract = contracts.load()
    training = pl.read_parquet("data/train.parquet")
    rows = Rows(contract, training, Settings.load(Path("params.yaml")))
    chosen = Bundle(Path("models/champion")).manifest["model"]
    everything = np.arange(len(training))
    pipeline = rows.fit(chosen["kind"], chosen["parameters"], everything)
    joblib.dump(pipeline, folder / "pipeline.joblib")

    columns = [column.name for column in contract.features]
    known = pl.concat([pl.read_parquet("data/holdout.parquet", columns=columns), training[columns]])
    some = known[np.arange(number) % len(known)]
    said = {
        "columns": columns,
        "rows": some.rows(),
        "probabilities": pipeline.predict_proba(some.cast(pl.Float32)).tolist(),
    }
    (folder / "rows.json").write_text(json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
