"""Parts of the rows that a model should serve as well as the rest.

Slices are cut by the values of each column. Groups that must not be worse off are declared in
`params.yaml`.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..contract import Column
from ..errors import UserError, shortly
from ..wording import rounded
from . import metrics
from .metrics import Answers, Array, Score, Weights
from .profile import blank, frequent

LEAST_ROWS = 30  # a slice of fewer rows says nothing
MOST_COLUMNS = 40  # of more, the sensitive and the most important ones are sliced
MOST_VALUES = 8  # the values of a category that are slices of their own, the most frequent first
FEW_VALUES = 5  # a number with more distinct values is sliced in terciles

NAMED: Mapping[str, Callable[[Any], str]] = {
    "number": "{:.4g}".format,
    "boolean": lambda value: str(bool(value)).lower(),
    "category": str,
    "text": "{:.0f} words".format,
    "time": lambda value: str(value.astype("datetime64[D]")),
}
"""How a value is called, by the kind of its column."""

Slice = tuple[str, NDArray[np.int64]]
"""What some rows have in common, as it is called in a sentence; and their positions."""


def slices(
    columns: Sequence[Column], arrays: dict[str, Array], order: Sequence[str] = ()
) -> list[Slice]:
    """Cut the rows by each feature: values of categories, terciles of numbers, what is missing.

    Of an array only rows without it are a slice.

    `arrays` are as `Contract.arrays` makes them; `order` names the most important columns first.
    """
    rank = {name: position for position, name in enumerate(order)}
    chosen = sorted(columns, key=lambda c: (not c.sensitive, rank.get(c.name, len(rank))))
    return [
        (f"{column.name} {label}", np.flatnonzero(rows))
        for column in chosen[:MOST_COLUMNS]
        for label, rows in _parts(column, arrays[column.name])
        if LEAST_ROWS <= rows.sum() < len(rows)
    ]


def measure(
    slices: Sequence[Slice],
    score: Score,
    truth: Array,
    answers: Answers,
    baseline: Answers,
    weights: Weights,
    groups: Array | None = None,
) -> list[dict[str, Any]]:
    """Score each slice, the weakest first; those without a score stand at the end.

    The `excess` is how much more the model loses there than the trivial `baseline`, as a share of
    what that loses over all rows, and `deviation` its standard error. `truth` is of all rows, as
    are the answers of both, the `weights`, and the `groups` of rows that resemble each other.
    """
    losses, trivial = (metrics.losses(score, truth, said) for said in (answers, baseline))
    excess = (losses - trivial) / (abs(metrics.mean(trivial, weights)) or 1.0)
    units = np.arange(len(truth)) if groups is None else groups
    measured: list[dict[str, Any]] = []
    for name, rows in slices:
        counted = weights[rows]
        measured.append(
            {
                "slice": name,
                "rows": len(rows),
                "score": rounded(metrics.value(score, truth[rows], answers[rows], counted)),
                "loss": rounded(metrics.mean(losses[rows], counted)),
                "baseline loss": rounded(metrics.mean(trivial[rows], counted)),
                "excess": rounded(metrics.mean(excess[rows], counted)),
                "deviation": rounded(metrics.error(excess[rows], counted, units[rows])),
            }
        )
    turn = -1 if score.loss else 1
    return sorted(measured, key=lambda it: (it["score"] is None, turn * (it["score"] or 0.0)))


def groups(declared: Mapping[str, str], frame: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which rows are in each group, by its name: those that meet its condition.

    A column stands for one group of each value that enough rows have. A UserError if what is
    declared is no SQL, or names a column that is not there.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for name, told in declared.items():
        try:
            values = frame.with_columns(group=pl.sql_expr(told))["group"]
        except pl.exceptions.PolarsError as error:
            raise UserError(
                f"params.yaml: gates.groups.{name} is {told!r}: {shortly(error)}. "
                "In SQL a text is in single quotes, and in double ones the name of a column."
            ) from error
        some = {name: values}
        if values.dtype != pl.Boolean:
            counts = values.drop_nulls().value_counts().filter(pl.col("count") >= LEAST_ROWS)
            some = {f"{name} {value}": values == value for value in counts["group"].sort()}
        nobody = {name: pl.zeros(len(frame), pl.Boolean, eager=True)}
        found |= {its: rows.fill_null(False).to_numpy() for its, rows in (some or nobody).items()}
    return found


def beside_others(
    parts: Mapping[str, NDArray[np.bool_]],
    score: Score,
    truth: Array,
    answers: Answers,
    seed: int,
    clusters: Array | None,
    weights: Weights,
) -> list[dict[str, Any]]:
    """The score in each group and in all other rows, and how much better it is there: the `gap`.

    `parts` are as `groups` gives them; `clusters` are rows that the bootstrap draws together.
    Intervals are of 95%, and `deviation` is the standard error of the gap; None if too little is
    known of it.
    """

    def prepare_rows(chosen: NDArray[np.int64]) -> list[metrics.Measure]:
        measure = metrics.prepare(score, truth[chosen], answers[chosen])

        def within(rows: NDArray[np.bool_]) -> metrics.Measure:
            return lambda counted: measure(counted * rows[chosen])

        return [within(rows) for inside in parts.values() for rows in (inside, ~inside)]

    values = [measure(weights) for measure in prepare_rows(np.arange(len(truth)))]
    drawn = metrics.replicates(prepare_rows, len(truth), seed, clusters, weights)
    records = []
    for place, (name, inside) in enumerate(parts.items()):
        pair = slice(2 * place, 2 * place + 2)
        (ours, theirs), rows = values[pair], int(inside.sum())
        apart = np.array([score.gain(other, own) for own, other in drawn[:, pair].tolist()])
        known = apart[np.isfinite(apart)]
        enough = rows >= LEAST_ROWS and len(known)
        records.append(
            {
                "group": name,
                "rows": rows,
                "score": rounded(ours),
                "interval": [rounded(end) for end in metrics.span(drawn[:, 2 * place])],
                "others": rounded(theirs),
                "gap": rounded(score.gain(theirs, ours)),
                "gap interval": [rounded(end) for end in metrics.span(apart)],
                "deviation": rounded(float(known.std())) if enough else None,
            }
        )
    return records


def _parts(column: Column, values: Array) -> list[tuple[str, NDArray[np.bool_]]]:
    """What the parts of a column are called, and which rows are in each; of text, by its length.

    No single value of what is sensitive is named.
    """
    if column.kind == "text":
        values = np.array([len(text.split()) or np.nan for text in values])
    missing = "missing", blank(values)
    known = ~missing[1]
    if column.kind == "array" or not known.any():
        return [missing]
    found, named = np.sort(values[known]), NAMED[column.kind]
    few: list[Any] = []
    if column.kind == "category":
        few = [value for value, _ in frequent(Counter(found.tolist()), MOST_VALUES)]
    elif column.kind in ("number", "boolean") and len(np.unique(found)) <= FEW_VALUES:
        few = [*np.unique(found)]
    if few:
        return [*((f"= {named(value)}", values == value) for value in few), missing]
    low, high = found[len(found) // 3], found[2 * len(found) // 3]
    names = f"below {named(low)}", f"{named(low)} to {named(high)}", f"from {named(high)}"
    names = ("low", "in the middle", "high") if column.sensitive else names
    parts = values < low, (values >= low) & (values < high), values >= high
    return [*zip(names, parts, strict=True), missing]
