"""What a tuned gradient-boosting model reaches on the split of the project in the current folder.

Written against scikit-learn alone, as somebody would who has never seen the project: native
categories, text by its main topics, a random search. Prints the primary score on the holdout.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from my_model.ops import contract as contracts
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import r2_score, roc_auc_score
from sklearn.model_selection import ParameterSampler, cross_val_score

if TYPE_CHECKING:
    from my_model.ops.contract import Column
    from numpy.typing import NDArray

TRIALS = 6
TOPICS = 40
SEARCH = {
    "learning_rate": [0.03, 0.06, 0.1, 0.2],
    "max_iter": [50, 100, 200],
    "max_leaf_nodes": [7, 15, 31],
    "min_samples_leaf": [5, 10, 20],
    "l2_regularization": [0.0, 1.0, 10.0],
}


def columns(column: Column, learnt: pl.Series, judged: pl.Series) -> list[NDArray[Any]]:
    """One or more columns of numbers, over the rows learnt from and then those judged."""
    every = pl.concat([learnt, judged.cast(learnt.dtype)])
    if column.kind == "text":
        vectors = (
            TfidfVectorizer(sublinear_tf=True)
            .fit(learnt.fill_null(""))
            .transform(every.fill_null(""))
        )
        topics = TruncatedSVD(min(TOPICS, vectors.shape[1] - 1), random_state=0)
        return list(topics.fit(vectors[: len(learnt)]).transform(vectors).T)
    if column.kind == "time":
        parts = every.cast(pl.Datetime("us")).dt
        return [
            part.cast(pl.Float64).to_numpy()
            for part in (parts.epoch("d"), parts.month(), parts.weekday(), parts.hour())
        ]
    if column.kind == "category":
        names = every.cast(pl.String).fill_null("")
        return [names.rank("dense").cast(pl.Float64).to_numpy() - 1]
    return [every.cast(pl.Float64).to_numpy()]


def main() -> float:
    """Search, fit the best model found, and score it."""
    contract = contracts.load()
    learnt, judged = (pl.read_parquet(f"data/{name}.parquet") for name in ("train", "holdout"))
    made: list[NDArray[Any]] = []
    categories: list[bool] = []
    for column in contract.features:
        new = columns(column, learnt[column.name], judged[column.name])
        few = bool(new[0].max(initial=0) < 255) if column.kind == "category" else False
        made += new
        categories += [few] * len(new)
    inputs = np.column_stack(made)
    truth, answer = contract.labels(learnt), contract.labels(judged)
    classify = contract.task == "classification"
    model = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    scoring = "roc_auc_ovr" if classify and len(contract.classes) > 2 else "roc_auc"
    best, score = None, -np.inf
    for trial in ParameterSampler(SEARCH, TRIALS, random_state=0):
        candidate = model(categorical_features=categories, random_state=0, **trial)
        found = cross_val_score(
            candidate, inputs[: len(truth)], truth, cv=3, scoring=scoring if classify else "r2"
        ).mean()
        if found > score:
            best, score = candidate, found
    fitted = best.fit(inputs[: len(truth)], truth)
    unseen = inputs[len(truth) :]
    if not classify:
        return float(r2_score(answer, fitted.predict(unseen)))
    told = fitted.predict_proba(unseen)
    areas = [
        roc_auc_score(answer == position, told[:, position])
        for position in range(len(contract.classes))
        if 0 < np.mean(answer == position) < 1
    ]
    return float(np.mean(areas[-1:] if len(contract.classes) == 2 else areas))


if __name__ == "__main__":
    sys.stdout.write(f"{main()}\n")
