"""Parts of the rows that a model should serve as well as the whole."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import Column
from ..wording import rounded
from . import metrics
from .metrics import Answers, Array, Score, Weights
from .profile import frequent

LEAST_ROWS = 30  # a slice of fewer rows says nothing
MOST_COLUMNS = 40  # of more, the sensitive and the most important ones are sliced
MOST_VALUES = 8  # the values of a category that are slices of their own, the most frequent first
FEW_VALUES = 5  # a number with more distinct values is sliced in terciles


@dataclass(frozen=True)
class Slice:
    """Rows that have something in common."""

    column: str
    value: str
    rows: NDArray[np.int64]  # their positions

    def __str__(self) -> str:
        """How the slice is called in a sentence."""
        return f"{self.column} {self.value}"


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
        Slice(column.name, label, rows)
        for column in chosen[:MOST_COLUMNS]
        for label, rows in _parts(column.kind, arrays[column.name])
        if LEAST_ROWS <= len(rows) < len(arrays[column.name])
    ]


def measure(
    slices: Sequence[Slice],
    score: Score,
    truth: Array,
    answers: Answers,
    baseline: Answers,
    weights: Weights,
) -> list[dict[str, Any]]:
    """Score each slice, the weakest first; those without a score stand at the end.

    `truth` is of all rows, as are the answers of the model and of the trivial `baseline`, and the
    `weights`.
    """
    losses, trivial = (metrics.losses(score, truth, said) for said in (answers, baseline))
    measured: list[dict[str, Any]] = [
        {
            "slice": str(part),
            "rows": len(rows),
            "score": rounded(metrics.value(score, truth[rows], answers[rows], weights[rows])),
            "loss": rounded(metrics.mean(losses[rows], weights[rows])),
            "baseline loss": rounded(metrics.mean(trivial[rows], weights[rows])),
        }
        for part, rows in ((part, part.rows) for part in slices)
    ]
    known = [record for record in measured if record["score"] is not None]
    known.sort(key=lambda record: record["score"], reverse=score.loss)
    return known + [record for record in measured if record["score"] is None]


def _parts(kind: str, values: Array) -> Iterator[tuple[str, NDArray[np.int64]]]:
    if kind == "array":
        known = (values != "" if values.dtype == object else ~np.isnan(values)).any(axis=1)
    elif kind == "time":
        known = ~np.isnat(values)
        yield from _terciles(values, known, lambda time: str(time.astype("datetime64[D]")))
    elif kind == "text":
        length = np.array([len(text.split()) for text in values], dtype=np.float64)
        known = length > 0
        yield from _terciles(length, known, lambda words: f"{words:.0f} words")
    elif kind == "category":
        known = values != ""
        for value, _ in frequent(Counter(values[known].tolist()), MOST_VALUES):
            yield f"= {value}", np.flatnonzero(values == value)
    else:
        known = ~np.isnan(values)
        found = np.unique(values[known])
        if len(found) <= FEW_VALUES:
            for value in found:
                name = f"{value:.4g}" if kind == "number" else str(bool(value)).lower()
                yield f"= {name}", np.flatnonzero(values == value)
        else:
            yield from _terciles(values, known, lambda number: f"{number:.4g}")
    yield "missing", np.flatnonzero(~known)


def _terciles(
    values: Array, known: NDArray[np.bool_], name: Any
) -> Iterator[tuple[str, NDArray[np.int64]]]:
    ordered = np.sort(values[known])
    if not len(ordered):
        return
    low, high = ordered[len(ordered) // 3], ordered[2 * len(ordered) // 3]
    yield f"below {name(low)}", np.flatnonzero(known & (values < low))
    yield f"{name(low)} to {name(high)}", np.flatnonzero(known & (values >= low) & (values < high))
    yield f"from {name(high)}", np.flatnonzero(known & (values >= high))
