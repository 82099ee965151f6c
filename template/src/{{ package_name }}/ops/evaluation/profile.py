"""The profile: what the training rows looked like, so that a later batch can be told apart.

It describes and never refuses (the contract does that), and holds what drift tests need: bins of
about equal size with their edges and counts for PSI, rank sum and chi-square; counts of values;
what was missing; and the distribution of the model's answers on rows that it had not learnt from.
"""

from collections import Counter
from collections.abc import Container, Mapping
from math import ceil
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..contract import Column, Contract
from . import metrics
from .metrics import Answers, Array

COVERAGE = 0.9  # the share of rows whose truth lies within the interval of a regression
BINS = 20  # bins of a number, of about equal size
MOST_VALUES = 50  # values of a category that are counted one by one; the rest are counted together
MOST_ITEMS = 10_000  # of a recommendation's target
MOST_TOKENS = 500  # words of a text that are counted: the number of rows that hold each
LEAST_TEXTS = 3  # words in fewer texts are not frequent, however few others there are
LONGEST_VALUE = 200
"""Longer values are counted with the rest, and longer words left out, to bound the size."""

SUMMARIES = ("norm", "mean", "known share")  # of an array of numbers
ITEMS = 1_000_000  # of arrays, as many are looked at, spread evenly
TEXT_ROWS = 50_000  # words are counted in as many rows at most, spread evenly


def profile(
    contract: Contract, arrays: Mapping[str, Array], labels: Array, answers: Answers
) -> dict[str, Any]:
    """Describe rows and the model's answers as JSON-able data.

    Args:
        contract: says what each column holds.
        arrays: the features, as `Contract.arrays` makes them: those of the training rows or,
            where they have an event time, of all rows.
        labels: the training rows' target, as `Contract.labels` makes it.
        answers: the model's answers on the holdout, see `metrics`.
    """
    rows = len(arrays[contract.features[0].name])
    columns = {column.name: describe(column, arrays[column.name]) for column in contract.features}
    made: dict[str, Any] = {"rows": rows, "columns": columns}
    said: dict[str, Any] = {"rows": len(answers)}
    its = metrics.told(answers)
    if classes := contract.classes:
        made["target"] = _classes(classes, labels)
        said["classes"] = _classes(classes, its.values)
        said["probabilities"] = dict(zip(classes, map(numbers, its.scored.T), strict=True))
    elif contract.task == "recommendation":
        made["target"] = {"kind": "item", **categories(labels, MOST_ITEMS)}
        said["items"] = categories(its.first, MOST_ITEMS)
    else:
        made["target"] = describe(contract.target, labels)
        said["values"] = numbers(its.values)
    made["prediction"] = said
    return made


def calibration(truth: Array, answers: Answers) -> dict[str, float]:
    """How far a classifier is right more often (above zero) or less often than it is confident.

    Its confidence in an answer is the probability of the class answered. The mean is the `gap`, and
    the standard `deviation` is that of one row's.
    """
    gaps = metrics.surety(truth, answers)
    return {
        "rows": len(gaps),
        "gap": float(f"{gaps.mean():.6g}"),
        "deviation": float(f"{gaps.std():.6g}"),
    }


def interval(truth: Array, predictions: Array) -> dict[str, float] | None:
    """What to take from, and add to, a prediction to reach both ends of an interval.

    Split conformal prediction (Lei et al., 2018): a quantile of the errors on rows that the model
    had not learnt from. It holds for new rows that are like those, whatever the model. The
    `half_width` is in the unit of the target; None if the rows are too few to promise anything.
    """
    rows = len(truth)
    place = ceil((rows + 1) * COVERAGE)
    if place > rows:
        return None
    errors = np.sort(np.abs(np.asarray(truth, dtype=np.float64) - predictions))
    return {"coverage": COVERAGE, "half_width": float(f"{errors[place - 1]:.6g}")}


def describe(column: Column, values: Array) -> dict[str, Any]:
    """One column's part of the profile, from an array as `Contract.arrays` makes it.

    Of what is sensitive it tells how much is missing, and no more.
    """
    head = {"kind": column.kind, "missing": int(blank(values).sum())}
    if column.sensitive:
        return head
    if column.kind == "category":
        return head | categories(values)
    if column.kind == "text" or (column.item and column.item.kind == "category"):
        return head | texts(values)
    if column.item:
        return head | vectors(values)
    if column.kind == "boolean":
        counts = {"false": int((values == 0).sum()), "true": int((values == 1).sum())}
        return head | {"counts": counts}
    if column.kind == "time":
        seconds = values.astype("datetime64[s]").astype(np.float64)
        return head | numbers(np.where(np.isnat(values), np.nan, seconds))
    return head | numbers(values)


def numbers(values: Array) -> dict[str, Any]:
    """Bins of a number, shape (rows,), missing as NaN; times are seconds since 1970.

    `edges` are the upper bounds, inclusive, of every bin of `counts` but the last one.
    """
    known = np.sort(values[np.isfinite(values)].astype(np.float64))
    made: dict[str, Any] = {"missing": len(values) - len(known)}
    if not len(known):
        return made | {"edges": [], "counts": []}
    last = np.maximum(np.arange(1, BINS) * len(known) // BINS - 1, 0)
    edges = np.unique(known[last])
    edges = edges[edges < known[-1]]
    ends = np.append(np.searchsorted(known, edges, side="right"), len(known))
    summary = {"mean": known.mean(), "deviation": known.std()}
    summary |= {"minimum": known[0], "maximum": known[-1]}
    made |= {name: float(f"{value:.6g}") for name, value in summary.items()}
    return made | {"edges": edges.tolist(), "counts": np.diff(ends, prepend=0).tolist()}


def categories(values: Array, most: int = MOST_VALUES) -> dict[str, Any]:
    """Counts of the values of a category, shape (rows,), missing as the empty string."""
    counted = Counter(values.tolist())
    missing = counted.pop("", 0)
    named = {
        value: count for value, count in frequent(counted, most) if len(value) <= LONGEST_VALUE
    }
    return {
        "missing": missing,
        "distinct": len(counted),
        "counts": named,
        "other": counted.total() - sum(named.values()),
    }


def vectors(values: Array) -> dict[str, Any]:
    """What sums up arrays of numbers, shape (rows, items), and the average of each item."""
    step = max(1, values.size // ITEMS)
    with np.errstate(invalid="ignore"):
        average = np.nansum(values, axis=0) / np.isfinite(values).sum(axis=0)
    summed = summaries(values)
    return {
        "items": numbers(values.ravel()[::step]),
        "average": [float(f"{it:.4g}") if np.isfinite(it) else None for it in average.tolist()],
        **{name: numbers(its) for name, its in summed.items()},
    }


def summaries(values: Array) -> dict[str, NDArray[np.float64]]:
    """Of each array its norm, its mean, and the share of its items that is known; or NaN."""
    known = np.isfinite(values)
    count, filled = known.sum(axis=1), np.where(known, values, 0).astype(np.float64)
    with np.errstate(invalid="ignore"):
        mean = filled.sum(axis=1) / count
    summed = np.linalg.norm(filled, axis=1), mean, count / values.shape[1]
    named = zip(SUMMARIES, summed, strict=True)
    return {name: np.where(count > 0, its, np.nan) for name, its in named}


def texts(values: Array) -> dict[str, Any]:
    """How long texts are, in words, and how many hold each frequent word.

    Of an array of categories, shape (rows, items), the items are its words.

    Which words are frequent is found in every other text and counted in the rest, so that no
    count is flattered by the choice.
    """
    some = values[:: max(1, -(-len(values) // TEXT_ROWS))]
    split = words(some)
    chosen, counted = rows_with(split.gather_every(2)), split.gather_every(2, 1)
    known = [
        word
        for word, count in frequent(chosen, len(chosen))
        if count >= LEAST_TEXTS and len(word) <= LONGEST_VALUE
    ]
    found = rows_with(counted)
    tokens = {word: found[word] for word in known[:MOST_TOKENS]}
    return {
        "words": numbers(lengths(split)),
        "rows": len(counted),
        "tokens": tokens,
        "unfamiliar": numbers(unfamiliar(counted, tokens)),
    }


def words(values: Array) -> pl.Series:
    """The words of each text, in lower case: letters, digits and `_`, a list for each row."""
    if values.ndim > 1:
        lists = pl.Series(values.tolist(), dtype=pl.List(pl.String))
        return lists.list.eval(pl.element().filter(pl.element() != ""))
    return pl.Series(values, dtype=pl.String).str.to_lowercase().str.extract_all(r"\w+")


def blank(values: Array) -> NDArray[np.bool_]:
    """Which values are missing, and which arrays have no item, shape (rows,)."""
    none = np.isnan(values) if values.dtype.kind in "fM" else values == ""
    return np.asarray(np.atleast_2d(none.T).all(axis=0))


def lengths(split: pl.Series) -> NDArray[np.float64]:
    """How many words each text has; NaN for none."""
    counted = split.list.len().to_numpy().astype(np.float64)
    return np.where(counted > 0, counted, np.nan)


def rows_with(split: pl.Series) -> Counter[str]:
    """How many texts hold each word."""
    counted = split.list.unique().explode(empty_as_null=False).value_counts(name="rows")
    return Counter(dict(counted.cast({"rows": pl.Int64}).iter_rows()))


def unfamiliar(split: pl.Series, known: Container[str]) -> NDArray[np.float64]:
    """Which share of the different words of each text is not known; NaN where there is none."""
    different = split.list.unique()
    new = different.list.eval(~pl.element().is_in(list(known))).list.mean()  # type: ignore[call-overload]
    return new.to_numpy().astype(np.float64)


def _classes(names: tuple[str, ...], positions: NDArray[np.int64]) -> dict[str, int]:
    counts = np.bincount(positions, minlength=len(names))
    return {name: int(count) for name, count in zip(names, counts, strict=True)}


def frequent(counted: Counter[str], most: int) -> list[tuple[str, int]]:
    """The `most` frequent values with their counts, ties in alphabetical order."""
    return sorted(counted.items(), key=lambda item: (-item[1], item[0]))[:most]
