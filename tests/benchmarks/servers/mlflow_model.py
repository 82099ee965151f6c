"""Save the pipeline as MLflow's users do: `mlflow_model.py FOLDER MODEL`."""

import json
import sys
from pathlib import Path

import joblib
import mlflow.sklearn
import pandas as pd
from mlflow.models import infer_signature


def main(folder: Path, model: Path) -> None:
    """Save it with a signature; it answers with probabilities, so that they can be compared."""
    said = json.loads((folder / "rows.json").read_text())
    rows = pd.DataFrame(said["rows"], columns=said["columns"])
    pipeline = joblib.load(folder / "pipeline.joblib")
    mlflow.sklearn.save_model(
        pipeline,
        model,
        serialization_format="cloudpickle",
        signature=infer_signature(rows, pipeline.predict_proba(rows)),
        pip_requirements=["scikit-learn"],
        pyfunc_predict_fn="predict_proba",
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
