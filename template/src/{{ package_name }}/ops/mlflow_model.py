"""The bundle as an MLflow model: `mlflow.pyfunc.load_model` finds its way here by `MLmodel`.

MLflow and pandas are not needed to make a bundle, nor to serve one; whoever loads it this way has
them, and calls `predict` with a data frame.

This module keeps its place and its name: every version that was ever registered names it there.
"""

import json
import platform
from collections.abc import Mapping
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bundle import Bundle
from .contract import FALSE, TRUE, Column, Contract, padded
from .errors import UserError
from .scoring import columns_of, predict

TRUTH = dict.fromkeys(TRUE, 1.0) | dict.fromkeys(FALSE, 0.0)


def description(manifest: Mapping[str, Any]) -> str:
    """The text of `MLmodel`: how to load the bundle, and the signature that MLflow enforces.

    JSON is YAML, too, and escapes any column's name.
    """
    contract = Contract.from_dict(manifest["contract"])
    kinds = chain(["string" if contract.classes else "float"], repeat("float"))
    outputs = [
        {"type": "string" if name.startswith("item_") else kind, "name": name, "required": True}
        for name, kind in zip(columns_of(manifest), kinds, strict=False)
    ]
    model = {
        "flavors": {
            "python_function": {
                "loader_module": __name__,
                "data": ".",
                "python_version": platform.python_version(),
            }
        },
        "signature": {
            "inputs": json.dumps([_input(column) for column in contract.inputs]),
            "outputs": json.dumps(outputs),
        },
    }
    return json.dumps(model, indent=2, ensure_ascii=False) + "\n"


def _input(column: Column) -> dict[str, Any]:
    """One column of the signature; a column that may be empty may be absent.

    MLflow would refuse whole numbers for `double`, and numbers for `string`: what pandas makes of
    a file hangs on the rows that are in it. So it takes any type, and `_array` looks at the values.
    """
    known = column.role in ("feature", "event_time")
    return {"type": "any", "name": column.name, "required": known and not column.nullable}


class Model:
    """What MLflow wraps: data frames in, data frames out."""

    def __init__(self, bundle: Bundle) -> None:
        """Wrap a bundle."""
        self.bundle = bundle

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:
        """Score rows of a pandas frame; nullable columns may be absent, and `params` are unused.

        Gives a frame under the same index, with the columns that `ops score` adds.
        """
        contract = self.bundle.contract
        frame = model_input.reindex(columns=[column.name for column in contract.features])
        try:
            columns = {it.name: _array(it, frame[it.name]) for it in contract.features}
        except ValueError as error:
            raise UserError(f"The rows do not fit the contract: {error}.") from error
        first, *rest = predict(self.bundle, columns).columns
        answers = [contract.named(first), *rest]
        answered = dict(zip(columns_of(self.bundle.manifest), answers, strict=True))
        return type(model_input)(answered, index=model_input.index)


def _load_pyfunc(path: str) -> Model:
    """Called by MLflow with the bundle's folder."""
    bundle = Bundle(Path(path))
    if obstacle := bundle.obstacle():
        raise UserError(f"This code does not score the model: {obstacle}; check its commit out.")
    return Model(bundle)


def _array(column: Column, values: Any) -> NDArray[Any]:
    """One column of a pandas frame as `Contract.arrays` would make it."""
    if column.item:
        given = values.astype(object).where(values.notna(), "[]")
        lists = [json.loads(it) if isinstance(it, str) else it for it in given]
        lists = [[] if it is None else it for it in lists]
        lengths = np.array([-1 if np.isscalar(it) else len(it) for it in lists])
        least = column.width if column.dtype == "Array" else 0
        if ((lengths > column.width) | (lengths < least) & (lengths != 0)).any():
            raise ValueError(
                f"{column.name} must have {column.width} items{'' if least else ' at most'}"
            )
        items = _array(column.item, type(values)([item for it in lists for item in it]))
        return padded(items, lengths, column.width)
    if column.kind == "time":
        if values.dtype.kind != "M":  # text, of a file
            values = values.astype("datetime64[us, UTC]").dt.tz_localize(None)
        return np.asarray(values.to_numpy(dtype="datetime64[us]"))
    if column.kind == "boolean" and values.dtype.kind not in "biuf":
        values = values.map(lambda it: TRUTH.get(str(it).lower(), it), na_action="ignore")
    if column.kind in ("number", "boolean"):
        return np.asarray(values.to_numpy(dtype=np.float32, na_value=np.nan))
    given = values.astype(object).where(values.notna(), "")
    return np.array([_text(value) for value in given], dtype=object)


def _text(value: Any) -> str:
    """A category's name; whole numbers lose the decimals that pandas gave them."""
    whole = isinstance(value, float) and value.is_integer()
    return str(int(value)) if whole else str(value)
