"""LightGBM and CatBoost as they come, with categories told to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import polars as pl
from catboost import CatBoostClassifier, CatBoostRegressor
from lightgbm import LGBMClassifier, LGBMRegressor

from .trial import main

if TYPE_CHECKING:
    from .trial import Array

ITERATIONS = 500
"""Of CatBoost; LightGBM has its own default."""


def lightgbm(rows: pl.DataFrame, target: Array, others: pl.DataFrame) -> Array:
    """Learn with LightGBM's defaults."""
    kind = LGBMRegressor if target.dtype.kind == "f" else LGBMClassifier
    model = kind(random_state=0, n_jobs=2, verbose=-1)
    learn, held = as_pandas(rows), as_pandas(others)
    for name in texts(rows):
        known = pd.CategoricalDtype(sorted({*rows[name], *others[name]}))
        learn[name], held[name] = learn[name].astype(known), held[name].astype(known)
    return said(model.fit(learn, target), held)


def catboost(rows: pl.DataFrame, target: Array, others: pl.DataFrame) -> Array:
    """Learn with CatBoost's defaults."""
    kind = CatBoostRegressor if target.dtype.kind == "f" else CatBoostClassifier
    model = kind(
        iterations=ITERATIONS, cat_features=texts(rows), random_seed=0, thread_count=2,
        verbose=False, allow_writing_files=False,
    )  # fmt: skip
    return said(model.fit(as_pandas(rows), target), as_pandas(others))


def said(model: LGBMClassifier, rows: pd.DataFrame) -> Array:
    """Probabilities, or the numbers of a regression."""
    ask = model.predict_proba if hasattr(model, "predict_proba") else model.predict
    return np.asarray(ask(rows), dtype=np.float64)


def texts(rows: pl.DataFrame) -> list[str]:
    """The columns of categories."""
    return [its.name for its in rows if its.dtype == pl.String]


def as_pandas(rows: pl.DataFrame) -> pd.DataFrame:
    """The same rows as both libraries take them."""
    return pd.DataFrame(rows.to_dict(as_series=False))


if __name__ == "__main__":
    main({"LightGBM": lightgbm, "CatBoost": catboost})
