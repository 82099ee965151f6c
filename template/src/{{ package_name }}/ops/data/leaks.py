"""How well a single column tells the target: too well, and it gives the answer away."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from ..contract import LARGEST

CERTAIN = 0.999
"""A column that tells this much of the target is taken for a copy of it."""

SUSPECT = 0.98
"""A column that tells this much of it deserves a look."""

ROWS = 20_000


def strength(values: pl.Series, target: pl.Series) -> float:
    """How well `values` alone tell `target` on rows that were not looked at: 1 is perfectly.

    Args:
        values: numbers, booleans, times or text; missing values tell something, too.
        target: numbers for R squared, text for balanced accuracy; nothing is missing.
    """
    rows = pl.DataFrame({"value": values, "truth": target})
    rows = rows[np.random.default_rng(0).permutation(len(rows))[:ROWS]]
    seen, unseen = rows[: len(rows) // 2], rows[len(rows) // 2 :]
    told = (_by_value if values.dtype == pl.String else _by_size)(seen, unseen)
    truth = unseen["truth"].to_numpy()
    if target.dtype != pl.String:
        return float(r2_score(truth, told))
    right = truth == told
    return float(np.mean([right[truth == name].mean() for name in set(truth)]))


def _by_value(seen: pl.DataFrame, unseen: pl.DataFrame) -> NDArray[Any]:
    """What each value went with most often, or on average, among the rows seen."""
    classify = seen["truth"].dtype == pl.String
    summary = pl.col("truth").mode().sort().first() if classify else pl.col("truth").mean()
    other = "" if classify else seen["truth"].mean()
    table = seen.group_by("value").agg(told=summary)
    told = unseen.join(table, on="value", how="left", nulls_equal=True, maintain_order="left")
    return told["told"].fill_null(other).to_numpy()


def _by_size(seen: pl.DataFrame, unseen: pl.DataFrame) -> NDArray[Any]:
    """What a tree of one column says; of a number, also what lies on the line between two rows."""
    numbers, unknown = _numbers(seen), _numbers(unseen)
    truth = seen["truth"].to_numpy()
    if seen["truth"].dtype == pl.String:
        tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(np.unique(truth)), random_state=0)
    elif np.isnan(numbers).any() or np.isnan(unknown).any():
        tree = DecisionTreeRegressor(max_leaf_nodes=256, random_state=0)
    else:
        points, index = np.unique(numbers, return_inverse=True)
        heights = np.bincount(index, truth) / np.bincount(index)
        line: NDArray[Any] = np.interp(unknown, points, heights)
        return line
    told: NDArray[Any] = tree.fit(numbers[:, None], truth).predict(unknown[:, None])
    return told


def _numbers(rows: pl.DataFrame) -> NDArray[Any]:
    """The values as a feature holds them: NaN if missing or too large, 0 if too small."""
    numbers = rows["value"].to_physical().cast(pl.Float64).to_numpy()
    return np.where(np.abs(numbers) <= LARGEST, numbers * (np.abs(numbers) > 1 / LARGEST), np.nan)
