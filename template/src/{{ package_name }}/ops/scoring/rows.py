"""Scoring rows with a bundle: frames that keep the contract, and arrays.

Only what every use needs is imported here; a frame takes polars as well.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...ml.features import features
from .. import contract as contracts
from ..bundle import Bundle, Prediction
from ..contract import Contract, Kind

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 4_096
"""Rows scored at once: the model's inner arrays, wide where there is text, stay small."""

PREDICTION = "prediction"

NUMBERS, TEXTS = np.empty(0, np.float32), np.empty(0, object)
EMPTY: dict[Kind, NDArray[Any]] = {
    "number": NUMBERS,
    "boolean": NUMBERS,
    "category": TEXTS,
    "text": TEXTS,
    "time": np.empty(0, "datetime64[us]"),
}
"""No rows of each kind of column, to ask `ml.features` what it makes of them."""


def columns_of(contract: Contract) -> list[str]:
    """The names of the columns that scoring adds."""
    return [PREDICTION, *(f"probability_{label}" for label in contract.classes)]


def answers(bundle: Bundle, frame: "pl.DataFrame") -> "pl.DataFrame":
    """What a bundle says of rows that keep the contract, under the names of `columns_of`."""
    import polars as pl

    contract = bundle.contract
    values, probabilities = predict(bundle, contract.arrays(frame))
    if probabilities is None:
        return pl.DataFrame({PREDICTION: values})
    named = pl.Series(contract.target.choices).gather(values)
    parts = [named, *(pl.Series(column) for column in probabilities.T)]
    return pl.DataFrame(dict(zip(columns_of(contract), parts, strict=True)))


def unfit(bundle: Bundle, contract: Contract) -> str | None:
    """Why a bundle cannot score rows of this contract; None if it can."""
    kinds = {column.name: column.kind for column in contract.columns}
    for column in bundle.contract.features:
        if kinds.get(column.name) != column.kind:
            return f"it needs the column {column.name} as {column.kind}"
    nothing = {column.name: EMPTY[column.kind] for column in bundle.contract.features}
    made = contracts.kinds(features(nothing, bundle.contract.text), bundle.contract.text)
    for feature in bundle.manifest["features"]:
        if made.get(feature["name"]) != feature["kind"]:
            return f"ml/features.py does not make its {feature['kind']} {feature['name']}"
    return None


def predict(bundle: Bundle, columns: Mapping[str, NDArray[Any]]) -> Prediction:
    """Score any number of rows, given by the contract's columns, in bounded memory."""
    rows = len(next(iter(columns.values())))
    parts = [
        bundle.predict(
            {name: values[start : start + BATCH_ROWS] for name, values in columns.items()}
        )
        for start in range(0, max(rows, 1), BATCH_ROWS)
    ]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Prediction(
        np.concatenate([part.values for part in parts]),
        np.concatenate(probabilities) if probabilities else None,
    )
