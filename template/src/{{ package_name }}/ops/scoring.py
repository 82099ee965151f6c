"""Scoring rows with a bundle: a file for a person, arrays for the registry."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle, Prediction

BATCH_ROWS = 4_096
"""Rows scored at once: the model's inner arrays, wide where there is text, stay small."""


def predict(bundle: Bundle, columns: Mapping[str, NDArray[Any]]) -> Prediction:
    """Score any number of rows, given by the contract's columns, in bounded memory."""
    rows = len(next(iter(columns.values())))
    parts = [
        bundle.predict(
            {name: values[start : start + BATCH_ROWS] for name, values in columns.items()}
        )
        for start in range(0, rows, BATCH_ROWS)
    ]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Prediction(
        np.concatenate([part.values for part in parts]),
        np.concatenate(probabilities) if probabilities else None,
    )
