"""Rows made from the contract: for tests that must hold whatever the data are, and to try with."""

import copy
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from . import contract as contracts
from .contract import Column, Contract
from .errors import UserError
from .schema_rules import sampling_overrides

if TYPE_CHECKING:
    import dataframely as dy
    import polars as pl

ATTEMPTS = 50
"""How many rows are drawn at most for each one that is asked for."""

MISSING = 0.1
"""The share of values that are missing where they may be."""

VALUES = {
    "identifier": 1_000_000,
    "group": 60,
    "number": 100,
    "time": 1000,
    "category": 8,
    "text": 8,
    "boolean": 2,
}
"""How many values are drawn from, by role or kind, unless the contract draws closer bounds."""

START = np.datetime64("2020-01-01", "us")
"""Where times begin; they go on by days."""

TRIED = 20
"""How many rows are made for one that serves as an example."""

DIGITS, WORDS = 4, 5
"""How many digits of a number, and words of a text, an example shows."""


def sample(rows: int, seed: int, follows: str | None = None) -> "pl.DataFrame":
    """Make rows that keep every rule of the contract.

    Columns are drawn independently of each other. Where a rule ties them together so that hardly
    any row keeps it, a class method `_sampling_overrides` of `Row` says how such rows are made
    (see dataframely's `Schema.sample`).

    Args:
        rows: how many.
        seed: of the draws.
        follows: a column that the target shall depend on: the larger its value, the larger the
            target (in a classification: the later its class), but for a little noise.

    Raises:
        UserError: if hardly any row keeps the rules.
    """
    import polars as pl

    schema, contract = contracts.schema(), contracts.load()
    declared = schema.columns()
    draw = np.random.default_rng(seed)
    made: pl.DataFrame = schema.create_empty()
    for _ in range(ATTEMPTS):
        drawn = pl.DataFrame(
            [_values(column, declared[column.name], rows, draw) for column in contract.columns]
        )
        if follows:
            drawn = drawn.with_columns(_target(drawn, contract, drawn[follows], draw))
        drawn = drawn.with_columns(
            values.cast(declared[name].dtype).alias(name)
            for name, values in sampling_overrides(schema).items()
        )
        made = schema.filter(pl.concat([made, drawn])).result
        if len(made) >= rows:
            return made.head(rows)
    raise UserError(
        f"Of {ATTEMPTS * rows} rows made from ml/schema.py only {len(made)} keep its rules; say "
        "how to make such rows in a class method `_sampling_overrides` of `Row`."
    )


def _values(
    column: Column, declared: "dy.Column", rows: int, draw: np.random.Generator
) -> "pl.Series":
    """Draw a column. Bounds and closed sets are kept; what else is declared need not be."""
    import dataframely as dy
    import polars as pl

    number = VALUES.get(column.role, VALUES[column.kind])
    if column.choices is None and column.dtype != "String":
        low, high = _range(column, number)
        numbers = low + (high - low) * draw.random(rows)
        if column.kind == "time":
            made = pl.Series(START + (numbers * 86_400e6).astype("timedelta64[us]"))
        else:
            made = pl.Series(np.floor(numbers) if declared.dtype.is_integer() else numbers)
    elif column.choices is None and column.pattern is None:
        made = pl.Series([f"{column.name} {n:.0f}" for n in np.floor(number * draw.random(rows))])
    else:
        free = copy.copy(declared)
        free.check = None
        made = free.sample(dy.random.Generator(int(draw.integers(2**32))), rows)
    there = pl.Series(draw.random(rows) >= (MISSING if column.nullable else 0))
    made = made.cast(declared.dtype, strict=False).alias(column.name)
    return pl.select(pl.when(there).then(made)).to_series()


def _range(column: Column, width: float) -> tuple[float, float]:
    """From where to where a column's numbers are drawn; its times in days from the start."""
    low = _number(column, column.minimum, column.minimum_exclusive)
    high = _number(column, column.maximum, column.maximum_exclusive)
    if low is None:
        low = 0 if high is None else high - max(width, abs(high))
    if high is None:
        high = low + max(width, abs(low))
    return low, high


def _number(column: Column, *bounds: Any) -> float | None:
    bound = next((bound for bound in bounds if bound is not None), None)
    if bound is None or column.kind != "time":
        return bound
    return float((np.datetime64(bound, "us") - START) / np.timedelta64(1, "D"))


def _target(
    drawn: "pl.DataFrame", contract: Contract, leading: "pl.Series", draw: np.random.Generator
) -> "pl.Series":
    """The target's values in the order that the values of another column have."""
    rows = len(drawn)
    place = leading.rank("random", seed=int(draw.integers(2**32))).fill_null(0).to_numpy()
    place = place + draw.normal(0, 0.05 * rows, rows)
    ascending = np.argsort(contract.labels(drawn), kind="stable")
    target = drawn[contract.target.name]
    return target.gather(ascending[np.argsort(np.argsort(place))])


def example(contract: Contract, profile: Mapping[str, Any]) -> dict[str, Any] | None:
    """A row that keeps the contract, as JSON has it: what is usual where that breaks no rule.

    Nothing of it is a row of the data, and of a sensitive column it tells nothing. None if hardly
    any row keeps the rules.
    """
    import polars as pl

    from .pipeline.parsing import parse
    from .pipeline.validate import check

    try:
        (row,) = sample(TRIED, 0).drop(contract.target.name).head(1).to_dicts()
    except UserError:
        return None
    made = {name: it.isoformat() if isinstance(it, date) else it for name, it in row.items()}
    typical = usual(contract, profile)
    while typical:
        frame = pl.DataFrame([made | typical]).lazy()
        checked = check(parse(frame, labelled=False).rows.collect(), labelled=False)
        if not checked.counts:
            break
        broken = {rule.rpartition("|")[0] for rule in checked.counts}
        left = {name: value for name, value in typical.items() if name not in broken}
        typical = left if len(left) < len(typical) else {}  # a rule across columns is broken
    return made | typical


def usual(contract: Contract, profile: Mapping[str, Any]) -> dict[str, Any]:
    """What is usual in the profile of the training rows, for each input that it tells of."""
    known = profile.get("columns", {})
    told = {
        column.name: _usual(column, known[column.name])
        for column in contract.inputs
        if column.name in known and not column.sensitive
    }
    return {name: value for name, value in told.items() if value is not None}


def _usual(column: Column, known: Mapping[str, Any]) -> Any:
    """The middle of numbers and times, the most frequent of other values; None if unknown."""
    kind, edges, counts = known["kind"], known.get("edges"), known.get("counts")
    if kind == "text":
        return " ".join(list(known["tokens"])[:WORDS])
    if edges:
        middle = float(edges[len(edges) // 2])
        if kind == "time":
            moment = datetime.fromtimestamp(middle, UTC).replace(tzinfo=None)
            return f"{moment:%Y-%m-%d}" if column.dtype == "Date" else moment.isoformat()
        return round(middle) if "Int" in column.dtype else float(f"{middle:.{DIGITS}g}")
    if isinstance(counts, Mapping) and counts:
        label = max(counts, key=lambda name: int(counts[name]))
        if kind == "boolean":
            return label == "true"
        return next((it for it in column.choices or () if str(it) == label), label)
    return None
