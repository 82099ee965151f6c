"""What `make train` does of the same: compare the models, blend them, fit what is chosen."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from my_model.ops.contract import FOLD, Column, Contract
from my_model.ops.pipeline import train
from my_model.ops.settings import Settings

from .trial import TARGET, main

if TYPE_CHECKING:
    from .trial import Array

SETTINGS = Settings.load(Path("params.yaml"))


def chosen(rows: pl.DataFrame, target: Array, others: pl.DataFrame) -> Array:
    """Train as a new project does."""
    contract = contract_of(rows, target)
    folds = np.arange(len(rows)) % SETTINGS.split.folds
    frame = rows.with_columns(pl.Series(TARGET, target), pl.Series(FOLD, folds))
    known = train.Rows(contract, frame, SETTINGS)
    with train.threads(known):
        _, fitted = train.choose(known)
    held = others.select(list(known.kinds))
    return train.predict(fitted["model"], contract, held).scored.astype(np.float64)


def contract_of(rows: pl.DataFrame, target: Array) -> Contract:
    """What the columns are."""
    columns = [
        column(its.name, "category" if its.dtype == pl.String else "number", "feature")
        for its in rows
    ]
    classes = None if target.dtype.kind == "f" else tuple(range(int(target.max()) + 1))
    return Contract((*columns, column(TARGET, "number", "target", classes)))


def column(name: str, kind: str, role: str, choices: tuple[int, ...] | None = None) -> Column:
    """A column of the contract."""
    dtype = "String" if kind == "category" else "Int64" if choices else "Float64"
    return Column(
        name, dtype, kind, role, nullable=role == "feature", sensitive=False, choices=choices
    )


if __name__ == "__main__":
    main({"this project": chosen})
