"""Scoring rows with a bundle: frames that keep the contract, and arrays.

Only what every use needs is imported here; a frame takes polars as well.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle, Prediction, Scorer, joined
from ..contract import Column, Contract

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 4_096  # scored at once: a model's inner arrays, wide where there is text, stay small
PREDICTION = "prediction"


def columns_of(manifest: Mapping[str, Any]) -> list[str]:
    """The names of the columns that scoring adds, given the bundle's manifest."""
    if most := manifest.get("items"):
        return [f"{what}_{place}" for place in range(1, most + 1) for what in ("item", "score")]
    return [PREDICTION, *(f"probability_{label}" for label in manifest["classes"])]


def answers(bundle: Bundle, frame: "pl.DataFrame") -> "pl.DataFrame":
    """What a bundle says of rows that keep the contract, under the names of `columns_of`."""
    import polars as pl

    contract = bundle.contract
    first, *rest = predict(bundle, contract.arrays(frame)).columns
    named = pl.Series(contract.target.choices).gather(first) if contract.classes else first
    return pl.DataFrame(dict(zip(columns_of(bundle.manifest), [named, *rest], strict=True)))


def unfit(bundle: Bundle, contract: Contract) -> str | None:
    """Why rows of this contract lack what a bundle needs; None if they do not."""
    shapes = {column.name: _shape(column) for column in contract.columns}
    for column in bundle.contract.features:
        if shapes.get(column.name) != _shape(column):
            items = f" of {column.width} items, each a {column.item.kind}" if column.item else ""
            return f"it needs the column {column.name} as {column.kind}{items}"
    return None


def _shape(column: Column) -> tuple[str, int, str]:
    """What must be the same of two columns for a model to take the one for the other."""
    return column.kind, column.width, column.item.kind if column.item else ""


def predict(bundle: Bundle, columns: Mapping[str, NDArray[Any]]) -> Prediction:
    """Score any number of rows, given by the contract's columns."""
    return in_batches(bundle.session, bundle.inputs(columns))


def in_batches(session: Scorer, inputs: Sequence[NDArray[Any]]) -> Prediction:
    """Let a model answer any number of rows, given as it takes them, in bounded memory."""
    rows = len(inputs[0])
    if not rows:  # what counts words refuses to count those of nothing
        return session.run([_blank(values) for values in inputs])[:0]
    return joined(
        [
            session.run([values[start : start + BATCH_ROWS] for values in inputs])
            for start in range(0, rows, BATCH_ROWS)
        ]
    )


def _blank(values: NDArray[Any]) -> NDArray[Any]:
    """One row of the same kind."""
    return np.full((1, *values.shape[1:]), "" if values.dtype == object else 0, values.dtype)
