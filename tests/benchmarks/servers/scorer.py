"""The model as servers that bring no way of their own call it: SCORER is the file to load.

Only what that file needs is imported: memory is compared, too.
"""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

Scorer = Callable[[np.ndarray], np.ndarray]
"""From float32 rows of shape (rows, columns) to probabilities of shape (rows, classes)."""


def load() -> Scorer:
    """Load the fitted pipeline, or its export."""
    path = Path(os.environ["SCORER"])
    return exported(path) if path.suffix == ".onnx" else fitted(path)


def fitted(path: Path) -> Scorer:
    """The pipeline as it was fitted, on data frames, for it takes columns by name."""
    import joblib  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415

    pipeline = joblib.load(path)
    columns = pipeline.feature_names_in_

    def score(rows: np.ndarray) -> np.ndarray:
        return pipeline.predict_proba(pd.DataFrame(rows, columns=columns)).astype(np.float32)

    return score


def exported(path: Path) -> Scorer:
    """Its export, in one thread, which is fastest for so few rows."""
    import onnxruntime  # noqa: PLC0415

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (numbers,) = session.get_inputs()

    def score(rows: np.ndarray) -> np.ndarray:
        return session.run(None, {numbers.name: rows})[1]

    return score
