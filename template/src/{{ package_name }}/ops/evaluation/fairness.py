"""Groups that must not be worse off, as `params.yaml` declares them: each beside all other rows."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..wording import rounded
from . import metrics
from .metrics import Answers, Array, Score, Weights
from .slices import LEAST_ROWS


def find(declared: Mapping[str, str], frame: pl.DataFrame) -> dict[str, NDArray[np.bool_]]:
    """Which rows are in each group, by its name: those that meet its condition.

    A column stands for one group of each value that enough rows have. A UserError if what is
    declared is no SQL, or names a column that is not there.
    """
    found: dict[str, NDArray[np.bool_]] = {}
    for name, told in declared.items():
        try:
            values = frame.with_columns(group=pl.sql_expr(told))["group"]
        except pl.exceptions.PolarsError as error:
            fault = str(error).partition("\n")[0]
            raise UserError(
                f"params.yaml: gates.groups.{name} is {told!r}: {fault}. "
                "In SQL a text is in single quotes, and in double ones the name of a column."
            ) from error
        some = {name: values}
        if values.dtype != pl.Boolean:
            counts = values.drop_nulls().value_counts().filter(pl.col("count") >= LEAST_ROWS)
            some = {f"{name} {value}": values == value for value in counts["group"].sort()}
        nobody = {name: pl.zeros(len(frame), pl.Boolean, eager=True)}
        found |= {its: rows.fill_null(False).to_numpy() for its, rows in (some or nobody).items()}
    return found


def measure(
    groups: Mapping[str, NDArray[np.bool_]],
    score: Score,
    truth: Array,
    answers: Answers,
    seed: int,
    clusters: Array | None,
    weights: Weights,
) -> list[dict[str, Any]]:
    """The score in each group and in all other rows, and how much better it is there: the `gap`.

    `groups` are as `find` gives them; `clusters` are rows that the bootstrap draws together.
    Intervals are of 95%, and `deviation` is the standard error of the gap.
    """

    def prepare_rows(chosen: NDArray[np.int64]) -> Any:
        measure = metrics.prepare(score, truth[chosen], answers[chosen])

        def compare(drawn: Weights) -> list[tuple[float, float, float]]:
            times = drawn * weights[chosen]
            pairs = [
                (measure(times * its[chosen]), measure(times * ~its[chosen])) for its in inside
            ]
            return [(ours, theirs, score.gain(theirs, ours)) for ours, theirs in pairs]

        return compare

    inside = [*groups.values()]
    values = prepare_rows(np.arange(len(truth)))(np.ones(len(truth)))
    strayed = metrics.deviations(prepare_rows, len(truth), seed, clusters).transpose(1, 2, 0)
    records = []
    for name, (ours, theirs, gap), (own, _, apart) in zip(groups, values, strayed, strict=True):
        known = apart[np.isfinite(apart)]
        records.append(
            {
                "group": name,
                "rows": int(groups[name].sum()),
                "score": rounded(ours),
                "interval": [rounded(end) for end in metrics.span(ours, own)],
                "others": rounded(theirs),
                "gap": rounded(gap),
                "gap interval": [rounded(end) for end in metrics.span(gap, apart)],
                "deviation": rounded(float(known.std())) if len(known) else None,
            }
        )
    return records
