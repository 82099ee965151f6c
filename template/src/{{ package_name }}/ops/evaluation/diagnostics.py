"""What evaluation found, as lists of flat records: drawn, tabled and compared from one source.

Each function returns what goes to `reports/findings/NAME.json`. The keys are words that can stand
on an axis, for `dvc plots` puts them there.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy.stats import binomtest

from ..bundle import Prediction, decided
from ..wording import rounded
from . import metrics
from .metrics import Answers, Array, Score, Weights

Record = dict[str, Any]

CALIBRATION_BINS = 10
THRESHOLDS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)

REPEATS = 5  # how often each column is shuffled to see what it is worth
SHUFFLED_ROWS = 200_000  # rows that are scored for that in all, roughly
LEAST_SHUFFLED = 200  # a column's worth is measured on as many rows at least
MOST_SHUFFLED, IMITATED_ROWS = 50, 2_000
"""Of more columns, those are measured that the answers to so many rows depend on most."""


def confusion(truth: Array, answers: Answers, classes: Sequence[str]) -> list[Record]:
    """How often each class was taken for each class."""
    table = metrics.counts(truth, metrics.told(answers))(np.ones(len(truth)))
    return [
        {"truth": classes[row], "answer": classes[column], "rows": int(rows)}
        for (row, column), rows in np.ndenumerate(table)
    ]


def thresholds(
    truth: Array, answers: Prediction, told: Mapping[str, Any], weights: Weights
) -> list[Record]:
    """What other thresholds than the one that is `told` would have made of the same answers."""
    costs = told.get("costs")
    score = metrics.find(told.get("by") or ("cost" if costs else "balanced_accuracy"), costs)
    every = sorted({*THRESHOLDS, told["threshold"]})
    made = {it: decided({"threshold": it}).answer(answers.scored) for it in every}
    return [
        {
            "threshold": threshold,
            "answered": rounded(float(said.values.mean())),
            score.label: rounded(metrics.value(score, truth, said, weights)),
        }
        for threshold, said in made.items()
    ]


def calibration(truth: Array, answers: Answers) -> list[Record]:
    """Probabilities stated against shares observed, in bins of about equal size.

    Of two classes it is the second one's probability; of more, that of the class answered. The 95%
    interval is Wilson's, which holds for few rows and extreme shares.
    """
    said = metrics.told(answers)
    place = np.ones_like(truth) if said.scored.shape[1] == 2 else said.values
    stated, hit = said.scored[np.arange(len(truth)), place], truth == place
    order = np.argsort(stated, kind="stable")
    bins = int(np.clip(len(order) // 20, 1, CALIBRATION_BINS))
    records = []
    for rows in np.array_split(order, bins):
        low, high = binomtest(hit[rows].sum(), len(rows)).proportion_ci(method="wilson")
        records.append(
            {
                "stated": rounded(float(stated[rows].mean())),
                "observed": rounded(float(hit[rows].mean())),
                "low": rounded(low),
                "high": rounded(high),
                "rows": len(rows),
            }
        )
    return records


def importance(
    answer: Callable[[Mapping[str, Array]], Answers],
    arrays: Mapping[str, Array],
    truth: Array,
    score: Score,
    seed: int,
    weights: Weights | None = None,
) -> list[Record]:
    """What each column is worth, the most first: the score that is lost when it is shuffled.

    `answer` scores rows, given by the contract's columns; `arrays` are those of the holdout.
    """
    draw = np.random.default_rng(seed)
    size = max(LEAST_SHUFFLED, SHUFFLED_ROWS // (len(arrays) * REPEATS))
    order = draw.permutation(len(truth))
    rows = np.sort(order[:size])
    weighed = None if weights is None else weights[rows]
    sample, true = {name: values[rows] for name, values in arrays.items()}, truth[rows]
    whole = metrics.value(score, true, answer(sample), weighed)
    shuffles = [draw.permutation(len(rows)) for _ in range(REPEATS)]
    records = []
    some = {name: values[order[:IMITATED_ROWS]] for name, values in arrays.items()}
    for name in _telling(some, answer, seed):
        values = sample[name]
        lost = [
            score.gain(whole, metrics.value(score, true, answer(shuffled), weighed))
            for shuffled in ({**sample, name: values[shuffle]} for shuffle in shuffles)
        ]
        records.append(
            {
                "column": name,
                "importance": rounded(float(np.mean(lost))) or 0.0,
                "deviation": rounded(float(np.std(lost))) or 0.0,
            }
        )
    return sorted(records, key=lambda record: -record["importance"])


def _telling(
    arrays: Mapping[str, Array], answer: Callable[[Mapping[str, Array]], Answers], seed: int
) -> list[str]:
    """The columns that a forest needs to give the same answers; all of them if they are few.

    Arrays are always among them.
    """
    wide = [name for name, values in arrays.items() if values.ndim > 1]
    names = [name for name in arrays if name not in wide]
    if len(names) <= MOST_SHUFFLED:
        return list(arrays)
    from sklearn.ensemble import ExtraTreesRegressor  # only for wide data

    ranks = np.column_stack([pl.Series(arrays[it]).rank("dense").to_numpy() for it in names])
    forest = ExtraTreesRegressor(max_features="sqrt", random_state=seed).fit(
        ranks, metrics.told(answer(arrays)).scored
    )
    best = np.argsort(-forest.feature_importances_)[:MOST_SHUFFLED]
    return [*wide, *(names[n] for n in best)]


def validation(scores: Mapping[str, Sequence[float]], score: Score) -> list[Record]:
    """Each model's score on each fold, in the score's own direction."""
    return [
        {"model": model, "fold": fold, "score": _turned(value, score)}
        for model, values in scores.items()
        for fold, value in enumerate(values)
    ]


def folds(records: Sequence[Record]) -> dict[str, list[float]]:
    """The scores of each model in the records of `validation`, where they are defined."""
    found: dict[str, list[float]] = {}
    for record in records:
        scores = found.setdefault(record["model"], [])
        if record["score"] is not None:
            scores.append(record["score"])
    return found


def learning_curve(points: Sequence[Mapping[str, float]], score: Score) -> list[Record]:
    """The score on a validation fold by the number of rows learnt from."""
    return [{"rows": int(it["rows"]), "score": _turned(it["score"], score)} for it in points]


def _turned(value: float, score: Score) -> float | None:
    """From "higher is better", as training compares, to the score's own direction."""
    return rounded(-value if score.loss else value)
