"""How well a single column tells the target: too well, and it gives the answer away."""

from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from sklearn.metrics import r2_score
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

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
    order = np.random.default_rng(0).permutation(len(target))[:ROWS]
    seen, unseen = np.array_split(order, 2)
    classify = target.dtype == pl.String
    truth = target.to_numpy()
    told = _by_value(values, truth, seen, classify) if values.dtype == pl.String else None
    if told is None:
        told = _by_size(values, truth, seen, classify)
    if not classify:
        return float(r2_score(truth[unseen], told[unseen]))
    right = truth[unseen] == told[unseen]
    return float(np.mean([right[truth[unseen] == name].mean() for name in set(truth[unseen])]))


def _by_value(
    values: pl.Series, truth: NDArray[Any], seen: NDArray[Any], classify: bool
) -> NDArray[Any]:
    """What each value went with most often, or on average, among the rows seen."""
    rows = pl.DataFrame({"value": values.fill_null(""), "truth": truth})
    summary = pl.col("truth").mode().sort().first() if classify else pl.col("truth").mean()
    table = rows[seen].group_by("value").agg(told=summary)
    other = "" if classify else float(np.mean(truth[seen]))
    told = rows.join(table, on="value", how="left", maintain_order="left")["told"]
    return told.fill_null(other).to_numpy()


def _by_size(
    values: pl.Series, truth: NDArray[Any], seen: NDArray[Any], classify: bool
) -> NDArray[Any]:
    """What a tree of one column says; of a number, also what lies on the line between two rows."""
    numbers = values.to_physical().cast(pl.Float64).to_numpy()
    if classify:
        tree = DecisionTreeClassifier(max_leaf_nodes=2 * len(np.unique(truth)), random_state=0)
    else:
        known = seen[np.isfinite(numbers[seen])]
        points, index = np.unique(numbers[known], return_inverse=True)
        if len(points) > 1 and not np.isnan(numbers).any():
            heights = np.bincount(index, truth[known]) / np.bincount(index)
            line: NDArray[Any] = np.interp(numbers, points, heights)
            return line
        tree = DecisionTreeRegressor(max_leaf_nodes=256, random_state=0)
    told: NDArray[Any] = tree.fit(numbers[seen, None], truth[seen]).predict(numbers[:, None])
    return told
