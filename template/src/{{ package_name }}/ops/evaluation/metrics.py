"""Scores: what each is called, which way is better, how it is computed, how sure one can be.

Everything here is numpy. `truth` has shape (rows,): int64 class positions, float64 numbers or
items. `answers` is what a model says of the same rows: a `Prediction`, or an array, which is
probabilities of shape (rows, classes), of which the greatest is the answer, or numbers of shape
(rows,).

A score is prepared once for its rows (what must be sorted is sorted) and then measured under any
row weights, so that a bootstrap replicate and a slice cost one pass without a sort.

`ml/metrics.py` has more of them. A project that has none works without it.
"""

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import import_module
from inspect import Parameter, signature
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..bundle import Decision, Prediction, decided
from ..contract import Task
from ..errors import UserError
from ..user_code import PACKAGE
from ..wording import closest, listed, number, share

Array = NDArray[Any]
Weights = NDArray[np.float64]
Answers = Array | Prediction
Costs = Sequence[Sequence[float]]
"""Of each answer (column) where a class (row) is true."""

Measure = Callable[[Weights], float]

REPLICATES = 500
"""How often a bootstrap redraws the rows."""

BOOTSTRAP_ROWS = 20_000
"""A bootstrap of more rows than this runs on as many of them, and its spread is scaled."""

DEFAULTS = {"classification": "roc_auc", "regression": "r2", "recommendation": "ndcg"}
"""What `train.score: auto` is, by task."""

FLOOR = 1e-7
"""The least probability that a logarithm is taken of: about the resolution of float32."""


@dataclass(frozen=True)
class Score:
    """One way to compare answers with the truth."""

    name: str
    label: str
    task: Task | None
    """None: whatever the project's is."""

    loss: bool
    """Whether smaller is better."""

    measure: Callable[[Array, Prediction], Measure] = field(compare=False)
    """From truth and answers to a function of the rows' weights."""

    def gain(self, value: float, reference: float) -> float:
        """How much better `value` is than `reference`; negative if it is worse.

        Scores differ as they are; losses, which have units, as a share of `reference`.
        """
        if not self.loss:
            return value - reference
        lead = reference - value
        return lead / abs(reference) if reference else (lead * np.inf if lead else 0.0)

    def amount(self, gain: float) -> str:
        """How a gain reads."""
        return share(gain) if self.loss else number(gain)


def find(name: str, costs: Costs | None = None, task: Task | None = None) -> Score:
    """The score of that name, of a task or of any; that of costs has those given.

    `auto` is the task's in `DEFAULTS`. A UserError if there is no such score, or none any more.
    """
    known = {score.name: score for score in scores_of(task, costs or ())}
    name = DEFAULTS[task] if task and name == "auto" else name
    if name not in known:
        close = listed(closest(name, known, 3) or ["auto", *known])
        raise UserError(
            f"No score{f' of a {task}' if task else ''} is called {name}: train.score in "
            f"params.yaml may be {close}, or what ml/metrics.py names."
        )
    return known[name]


def of(manifest: Mapping[str, Any]) -> Score:
    """The score that a model was chosen by."""
    return find(manifest["score"], decided(manifest.get("decision")).costs)


def of_project(name: str, default: Any) -> Any:
    """What `ml/metrics.py` calls by that name; the default where it lacks that, or is not there."""
    if not (PACKAGE / "ml" / "metrics.py").exists():
        return default
    return getattr(import_module("...ml.metrics", __package__), name, default)


def named(table: str, *taken: str) -> Iterator[tuple[str, Any]]:
    """What stands in a table of `ml/metrics.py`; a UserError if a name will not do for a file."""
    functions = of_project(table, {})
    if not isinstance(functions, Mapping) or not all(map(callable, functions.values())):
        raise UserError(
            f"ml/metrics.py: {table} must be functions by name, as in {{'f2': f_beta(2)}}."
        )
    for name, function in functions.items():
        if name in taken or not re.fullmatch(r"\w[\w .-]*", str(name)):
            raise UserError(f"ml/metrics.py: {name!r} is taken, or no plain name; use another one.")
        yield str(name), function


def told(answers: Answers) -> Prediction:
    """Answers as a prediction, as exact as can be."""
    said = answers if isinstance(answers, Prediction) else Decision().answer(answers)
    if said.probabilities is None:
        return Prediction(said.values.astype(np.float64), None)
    return replace(said, probabilities=said.probabilities.astype(np.float64))


def prepare(score: Score, truth: Array, answers: Answers) -> Measure:
    """Make the function from row weights to the score's value; NaN where it has no meaning."""
    said = told(answers)
    if not len(truth) or not np.isfinite(said.scored).all():
        return lambda _: float("nan")
    return score.measure(truth, said)


def value(score: Score, truth: Array, answers: Answers, weights: Weights | None = None) -> float:
    """Measure one score, in its own units and direction; without `weights` rows weigh the same."""
    return prepare(score, truth, answers)(np.ones(len(truth)) if weights is None else weights)


def worth(score: Score, truth: Array, answers: Answers, weights: Weights) -> float:
    """Measure one score so that higher is better: losses are negated."""
    return (-1 if score.loss else 1) * value(score, truth, answers, weights)


def scores_of(task: Task | None, costs: Costs | None = None) -> list[Score]:
    """Every score of a task, or of any; that of costs if there are some."""
    own, taken = list[Score](), ["auto", "cost", *(score.name for score in SCORES)]
    for table in ("SCORES", "LOSSES"):
        for name, function in named(table, *taken, *(score.name for score in own)):
            own.append(Score(name, name, None, table == "LOSSES", _Own(function, name)))
    every = [*SCORES, *own, *([] if costs is None else [cost(costs)])]
    return [score for score in every if task is None or score.task in (None, task)]


def groups(values: pl.Series) -> Array:
    """A group's column as the array that `deviations` takes; all rows without one are alike."""
    return values.cast(pl.String).fill_null("").to_numpy()


def losses(score: Score, truth: Array, answers: Answers) -> NDArray[np.float64]:
    """The loss of each row where models are judged by `score`: that of the score, if it has any.

    Else it is the log loss of a classification, the squared error of a regression, and what NDCG
    lacks of 1. `LOSS` in `ml/metrics.py` names another; a UserError if that is no loss of rows.
    """
    wanted, said = of_project("LOSS", "auto"), told(answers)
    task = score.task or ("regression" if said.probabilities is None else "classification")
    named = {"auto": score, **{its.name: its for its in scores_of(task, ())}}
    chosen = named.get(str(wanted))
    if chosen and chosen.loss and isinstance(chosen.measure, _Mean | _Own):
        found = np.asarray(chosen.measure.rows(truth, said), dtype=np.float64)
        if found.shape == truth.shape:
            return found
    if wanted != "auto":
        raise UserError(f"ml/metrics.py: LOSS is {wanted}, which tells no loss of each row.")
    if said.values.ndim > 1:
        return 1 - _gain(truth, said)
    return (_squared_error if said.probabilities is None else _surprise)(truth, said)


def replicates(
    prepare_rows: Callable[[NDArray[np.int64]], Sequence[Measure]],
    rows: int,
    seed: int,
    groups: Array | None = None,
    weights: Weights | None = None,
) -> NDArray[np.float64]:
    """Bootstrap: what measurements would be if other rows had been drawn.

    Args:
        prepare_rows: takes the positions of the rows to work on and returns what measures them.
        rows: how many rows there are.
        seed: of the draws.
        groups: shape (rows,): rows of one group are drawn together, for they resemble each other.
        weights: shape (rows,), how much each counts whenever it is drawn; None: all the same.

    Returns:
        Shape (REPLICATES, measurements).
    """
    draw, counted = np.random.default_rng(seed), np.ones(rows) if weights is None else weights
    unit = np.arange(rows) if groups is None else np.unique(groups, return_inverse=True)[1]
    units = int(unit.max(initial=-1)) + 1
    every = chosen = np.arange(rows)
    kept = units
    if rows > BOOTSTRAP_ROWS:
        position = np.argsort(draw.permutation(units), kind="stable")[unit]
        size = np.cumsum(np.bincount(position, minlength=units))
        kept = max(2, int(np.searchsorted(size, BOOTSTRAP_ROWS, side="right")))
        chosen = np.flatnonzero(position < kept)
        unit = position[chosen]
    measures, once = prepare_rows(chosen), counted[chosen]
    drawn = np.empty((REPLICATES, len(measures)))
    for replicate in drawn:
        times = np.bincount(draw.integers(0, kept, kept), minlength=kept)[unit] * once
        replicate[:] = [measure(times) for measure in measures]
    strayed = drawn - np.array([measure(once) for measure in measures])
    whole = np.array([measure(counted) for measure in prepare_rows(every)])
    return np.asarray(whole + strayed * math.sqrt(kept / max(units, 1)))


def intervals(
    scores: Sequence[Score],
    truth: Array,
    answers: Answers,
    seed: int,
    groups: Array | None = None,
    weights: Weights | None = None,
) -> dict[str, tuple[float, float]]:
    """The 95% confidence interval of each score, by name; NaN where it has no meaning."""

    def prepare_rows(chosen: NDArray[np.int64]) -> list[Measure]:
        return [prepare(score, truth[chosen], answers[chosen]) for score in scores]

    drawn = replicates(prepare_rows, len(truth), seed, groups, weights)
    return dict(zip((score.name for score in scores), map(span, drawn.T), strict=True))


def surety(truth: Array, answers: Answers) -> NDArray[np.float64]:
    """Of each row, whether the class answered is the true one, less its probability."""
    said = told(answers)
    return np.asarray((said.values == truth) - said.scored[np.arange(len(truth)), said.values])


def positives(classes: int) -> range:
    """The classes that are ranked against the rest: the second of two, or all of more."""
    return range(1, 2) if classes == 2 else range(classes)


def _roc_area(found: Weights, missed: Weights) -> float:
    """The area under the ROC curve, as `_against_the_rest` asks for it."""
    height = found + np.append(0.0, found[:-1])
    return float((np.diff(missed, prepend=0.0) * height).sum() / (2 * found[-1] * missed[-1]))


def _average_precision(found: Weights, missed: Weights) -> float:
    """The mean precision over the recalls, likewise."""
    seen = np.maximum(found + missed, 1e-300)
    return float((np.diff(found, prepend=0.0) * found / seen).sum() / found[-1])


def span(drawn: NDArray[np.float64]) -> tuple[float, float]:
    """The 95% interval of a value, given its `replicates`; NaN where it has none."""
    defined = drawn[np.isfinite(drawn)]
    low, high = np.quantile(defined if len(defined) else [np.nan], (0.025, 0.975))
    return float(low), float(high)


def mean(rows: NDArray[np.float64], weights: Weights) -> float:
    """The weighted mean of rows; NaN if they weigh nothing."""
    total = weights.sum()
    return float((rows * weights).sum() / total) if total else float("nan")


def error(rows: NDArray[np.float64], weights: Weights, units: Array) -> float:
    """The standard error of the weighted mean of rows, of which those of one unit are alike."""
    places = np.unique(units, return_inverse=True)[1]
    strayed = np.bincount(places, weights * (rows - mean(rows, weights)))
    return float(np.linalg.norm(strayed) / weights.sum())


@dataclass(frozen=True)
class _Mean:
    """The mean of what each row is worth, turned into the score's own units."""

    rows: Callable[[Array, Prediction], NDArray[np.float64]]
    turned: Callable[[float], float] = float

    def __call__(self, truth: Array, said: Prediction) -> Measure:
        values = self.rows(truth, said)
        return lambda weights: self.turned(mean(values, weights))


@dataclass(frozen=True)
class _Own:
    """A function of `ml/metrics.py`: the mean of its rows, or its value on rows drawn by weight.

    A UserError if it gives neither one number for each row nor one for all.
    """

    function: Callable[..., Any]
    name: str

    def rows(self, truth: Array, said: Prediction) -> Any:
        """What it gives: it may ask for the probabilities, as a third argument."""
        every = np.arange(len(truth))  # copies: it may sort or change what it gets
        truth, said = truth[every], said[every]
        asked = signature(self.function)
        most = sum(it.default is Parameter.empty for it in asked.parameters.values())
        given = (truth, said.values, said.probabilities)[: max(2, min(most, 3))]
        try:
            asked.bind(*given)
        except TypeError as error:
            raise UserError(
                f"ml/metrics.py: {self.name} must take truth and answers: {error}."
            ) from error
        return self.function(*given)

    def __call__(self, truth: Array, said: Prediction) -> Measure:
        found = np.asarray(self.rows(truth, said))
        if found.dtype.kind not in "biuf" or found.shape not in ((), truth.shape):
            raise UserError(
                f"ml/metrics.py: {self.name} must give one number, or one for each row."
            )
        if found.shape:
            return lambda weights: mean(found, weights)

        def measure(weights: Weights) -> float:
            seen = np.cumsum(weights)
            place = (np.arange(len(seen)) + 0.5) * seen[-1] / len(seen)
            drawn = np.searchsorted(seen, place)
            return float(self.rows(truth[drawn], said[drawn])) if seen[-1] else float("nan")

        return measure


def _surprise(truth: Array, said: Prediction) -> NDArray[np.float64]:
    likely: NDArray[np.float64] = said.scored[np.arange(len(truth)), truth]
    return -np.log(np.clip(likely, FLOOR, 1.0))


def _distance(truth: Array, said: Prediction) -> NDArray[np.float64]:
    """Squared distance between probabilities and truth; of two classes, that of one of them."""
    classes = said.scored.shape[1]
    squared: NDArray[np.float64] = np.square(said.scored - np.eye(classes)[truth])
    return squared[:, 1] if classes == 2 else squared.sum(axis=1)


def _hit(truth: Array, said: Prediction) -> NDArray[np.float64]:
    return np.asarray(said.values == truth, dtype=np.float64)


def cost(costs: Costs | None) -> Score:
    """What the answers cost; without costs each wrong one costs 1."""

    def rows(truth: Array, said: Prediction) -> NDArray[np.float64]:
        table = np.array(costs) if costs else 1 - np.eye(said.scored.shape[1])
        return np.asarray(table[truth, said.values])

    return Score("cost", "cost", "classification", True, _Mean(rows))


def _listed(truth: Array, said: Prediction) -> NDArray[np.float64]:
    """Of each row, whether the true item is among those recommended."""
    return np.asarray((said.values == truth[:, None]).any(axis=1), dtype=np.float64)


def _gain(truth: Array, said: Prediction) -> NDArray[np.float64]:
    """The discounted gain of each row: 1 where the true item comes first, 0 where it is absent."""
    place = (said.values == truth[:, None]).argmax(axis=1)
    return np.asarray(_listed(truth, said) / np.log2(place + 2))


def _squared_error(truth: Array, said: Prediction) -> NDArray[np.float64]:
    return np.asarray(np.square(said.values - truth))


def _absolute_error(truth: Array, said: Prediction) -> NDArray[np.float64]:
    return np.asarray(np.abs(said.values - truth))


def _relative_error(truth: Array, said: Prediction) -> NDArray[np.float64]:
    least = np.finfo(np.float64).eps  # as scikit-learn has it: where the truth is 0, it is huge
    return _absolute_error(truth, said) / np.maximum(np.abs(truth), least)


def _against_the_rest(
    area: Callable[[Weights, Weights], float],
) -> Callable[[Array, Prediction], Measure]:
    """The mean of an area over the classes that have rows inside and outside of them.

    It takes what weighs inside and what weighs outside among the rows down to each distinct
    probability of a class, the highest first, shapes (distinct,).
    """

    def measure(truth: Array, said: Prediction) -> Measure:
        rankings = []
        for position in positives(said.scored.shape[1]):
            likely = said.scored[:, position]
            order = np.argsort(-likely, kind="stable")
            ends = np.flatnonzero(np.append(np.diff(likely[order]) != 0, True))
            rankings.append((order, ends, (truth[order] == position).astype(np.float64)))

        def average(weights: Weights) -> float:
            areas = []
            for order, ends, inside in rankings:
                ordered = weights[order]
                found = np.cumsum(ordered * inside)[ends]
                missed = np.cumsum(ordered)[ends] - found
                if found[-1] > 0 and missed[-1] > 0:
                    areas.append(area(found, missed))
            return float(np.mean(areas)) if areas else float("nan")

        return average

    return measure


def counts(truth: Array, said: Prediction) -> Callable[[Weights], NDArray[np.float64]]:
    """What weighs of each class (row) was taken for each class (column), (classes, classes)."""
    classes = said.scored.shape[1]
    cells = truth * classes + said.values

    def count(weights: Weights) -> NDArray[np.float64]:
        counted = np.bincount(cells, weights=weights, minlength=classes * classes)
        # numpy before 2.5 declares whole numbers, though weights make it floats
        return counted.reshape(classes, classes).astype(np.float64, copy=False)

    return count


def _mean_rate(
    rate: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]],
) -> Callable[[Array, Prediction], Measure]:
    """The mean over the classes of a rate, given as what is counted and out of how many.

    Classes that no row is of take no part.
    """

    def measure(truth: Array, said: Prediction) -> Measure:
        count = counts(truth, said)

        def average(weights: Weights) -> float:
            table = count(weights)
            hits, total = rate(table)
            there = table.sum(axis=1) > 0
            return float((hits[there] / total[there]).mean()) if there.any() else float("nan")

        return average

    return measure


def _r2(truth: Array, said: Prediction) -> Measure:
    wrong = _squared_error(truth, said)

    def measure(weights: Weights) -> float:
        spread = mean(np.square(truth - mean(truth, weights)), weights)
        return 1 - mean(wrong, weights) / spread if spread > 0 else float("nan")

    return measure


def _median_error(truth: Array, said: Prediction) -> Measure:
    wrong = _absolute_error(truth, said)
    order = np.argsort(wrong, kind="stable")
    ordered = wrong[order]

    def measure(weights: Weights) -> float:
        seen = np.cumsum(weights[order])
        half = seen[-1] / 2
        if not half:
            return float("nan")
        lower, upper = np.searchsorted(seen, half, "left"), np.searchsorted(seen, half, "right")
        return float((ordered[lower] + ordered[upper]) / 2)

    return measure


_recall = _mean_rate(lambda table: (table.diagonal(), table.sum(axis=1)))
_f1 = _mean_rate(lambda table: (2 * table.diagonal(), table.sum(axis=0) + table.sum(axis=1)))
_precision = _against_the_rest(_average_precision)

SCORES = (
    Score("roc_auc", "ROC AUC", "classification", False, _against_the_rest(_roc_area)),
    Score("average_precision", "average precision", "classification", False, _precision),
    Score("accuracy", "accuracy", "classification", False, _Mean(_hit)),
    Score("balanced_accuracy", "balanced accuracy", "classification", False, _recall),
    Score("f1", "F1 (macro)", "classification", False, _f1),
    Score("log_loss", "log loss", "classification", True, _Mean(_surprise)),
    Score("brier", "Brier score", "classification", True, _Mean(_distance)),
    Score("r2", "R²", "regression", False, _r2),
    Score("rmse", "root mean squared error", "regression", True, _Mean(_squared_error, math.sqrt)),
    Score("mae", "mean absolute error", "regression", True, _Mean(_absolute_error)),
    Score("mape", "mean absolute percentage error", "regression", True, _Mean(_relative_error)),
    Score("median_absolute_error", "median absolute error", "regression", True, _median_error),
    Score("ndcg", "NDCG", "recommendation", False, _Mean(_gain)),
    Score("hit_rate", "hit rate", "recommendation", False, _Mean(_listed)),
)
