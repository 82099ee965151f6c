"""Rows made from the contract: for tests that must hold whatever the data are, and to try with."""

import copy
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
from numpy.typing import NDArray

from . import contract as contracts
from .contract import Column, Contract
from .errors import UserError
from .pipeline.parsing import parse
from .pipeline.validate import check
from .schema_rules import sampling_overrides
from .wording import rounded

ATTEMPTS = 50  # how many rows are drawn at most for each one that is asked for
MISSING = 0.1  # the share of values that are missing where they may be
VALUES = {
    "identifier": 1_000_000,
    "group": 60,
    "number": 100,
    "time": 1000,
    "category": 8,
    "item": 20,
    "text": 8,
    "boolean": 2,
}
"""How many values are drawn from, by role or kind, unless the contract draws closer bounds."""

START = np.datetime64("2020-01-01", "us")  # where times begin; they go on by days
GOLDEN, FEWEST, GOLDEN_ITEMS = 50, 5, 20_000
"""How many golden rows there are; those made from the contract alone are a fifth of them. Of long
arrays there are fewer, for so many values in all."""

SPELLINGS = (str, str.swapcase, " {} ".format, "({0}, {0})".format)
"""How golden rows write texts, so that code is told by what it makes of case, blanks and signs."""

DIGITS, WORDS = 4, 5  # how many digits of a number, and words of a text, an example shows


def sample(rows: int, seed: int, follows: str | None = None) -> pl.DataFrame:
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


def _values(column: Column, declared: Any, rows: int, draw: np.random.Generator) -> pl.Series:
    """Draw a column. Bounds and closed sets are kept; what else is declared need not be."""
    number = VALUES.get(column.role, VALUES.get(column.kind, 0))
    if column.item:
        lengths = draw.integers(column.min_length or 0, column.width, rows, endpoint=True)
        made = _lists(_values(column.item, declared.inner, int(lengths.sum()), draw), lengths)
    elif column.choices is None and column.dtype != "String":
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


def _lists(items: pl.Series, lengths: NDArray[np.int64]) -> pl.Series:
    """The items of all rows, one after the other, as a list for each row."""
    ends = np.cumsum(lengths).tolist()
    parts = zip(ends, lengths.tolist(), strict=True)
    cut = [items[end - length : end] for end, length in parts]
    return pl.Series(cut, dtype=pl.List(items.dtype))


def _range(column: Column, width: float) -> tuple[float, float]:
    """From where to where a column's numbers are drawn; its times in days from the start."""
    low = _number(column, column.minimum, column.minimum_exclusive)
    high = _number(column, column.maximum, column.maximum_exclusive)
    if low is None:
        unsigned = column.dtype.startswith("UInt")
        low = 0 if high is None or unsigned else high - max(width, abs(high))
    if high is None:
        high = low + max(width, abs(low))
    return low, high


def _number(column: Column, *bounds: Any) -> float | None:
    bound = next((bound for bound in bounds if bound is not None), None)
    if bound is None or column.kind != "time":
        return bound
    return float((np.datetime64(bound, "us") - START) / np.timedelta64(1, "D"))


def _target(
    drawn: pl.DataFrame, contract: Contract, leading: pl.Series, draw: np.random.Generator
) -> pl.Series:
    """The target's values in the order that the values of another column have."""
    rows = len(drawn)
    place = leading.rank("random", seed=int(draw.integers(2**32))).fill_null(0).to_numpy()
    place = place + draw.normal(0, 0.05 * rows, rows)
    ascending = np.argsort(contract.labels(drawn), kind="stable")
    target = drawn[contract.target.name]
    return target.gather(ascending[np.argsort(np.argsort(place))])


def golden(contract: Contract, profile: Mapping[str, Any]) -> pl.DataFrame | None:
    """Rows that keep the contract, to tell by whether code makes the same features of them.

    They hold values that the profile knows, each drawn by itself, in odd spellings, and what is
    missing or unknown. The first one is what is usual, if that breaks no rule. None is a row of the
    data, and of sensitive columns they tell nothing. None if hardly any row keeps the rules.
    """
    try:
        made = sample(GOLDEN, 0).drop(contract.target.name)
    except UserError:
        return None
    draw, known = np.random.default_rng(0), profile.get("columns", {})
    told = []  # as values: expressions of 2,000 columns would take polars two minutes
    for column in contract.inputs:
        seen = known.get(column.name)
        values = _known(column, seen) if seen and not column.sensitive else []
        if not values:
            continue
        drawn = [values[0], *(values[it] for it in draw.integers(len(values), size=GOLDEN - 1))]
        if column.item:
            sizes = draw.integers(column.min_length or 0, column.width, GOLDEN, endpoint=True)
            drawn = [[values[it] for it in draw.integers(len(values), size=size)] for size in sizes]
            drawn[0] = _average(column.item, seen) or drawn[0]
        elif column.dtype == "String" and column.choices is None and column.pattern is None:
            drawn = [SPELLINGS[row % len(SPELLINGS)](it) for row, it in enumerate(drawn)]
        there = [True, *made[column.name].is_not_null()[1:]]
        kept = [it if is_there else None for it, is_there in zip(drawn, there, strict=True)]
        told.append(pl.Series(column.name, kept))
    rows = parse(made.with_columns(told).lazy(), labelled=False).rows.collect()
    good = check(rows, labelled=False).good.head(GOLDEN - GOLDEN // 5)
    most = max(FEWEST, GOLDEN_ITEMS // sum(column.width for column in contract.inputs))
    return pl.concat([good, made.select(good.columns)]).head(min(GOLDEN, most))


def example(rows: pl.DataFrame) -> dict[str, Any]:
    """The first of some golden rows, as JSON has it."""
    return {name: _plain(value) for name, value in rows.row(0, named=True).items()}


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return rounded(value)
    return value.isoformat() if isinstance(value, date) else value


def _average(item: Column, known: Mapping[str, Any]) -> list[Any]:
    """The average of each item of an array of numbers; nothing of other arrays."""
    written = _whole if "Int" in item.dtype else str
    return [it if it is None else written(it) for it in known.get("average", ())]


def _whole(number: float) -> str:
    return str(round(number))


def _known(column: Column, known: Mapping[str, Any]) -> list[str]:
    """Values that a profile tells of a column, as text, the most usual one first."""
    if "items" in known:
        known = {"kind": "number", **known["items"]}
    kind, edges, counts = known["kind"], known.get("edges"), known.get("counts")
    if kind == "array":
        return list(known["tokens"])
    if kind == "text":
        words = list(known["tokens"])
        return [" ".join(words[at : at + WORDS]) for at in range(0, max(len(words), 1), WORDS)]
    if edges:
        middle = len(edges) // 2
        numbers = [float(edge) for edge in (*edges[middle:], *edges[:middle])]
        if kind == "time":
            return [f"{datetime.fromtimestamp(it, UTC).replace(tzinfo=None)}" for it in numbers]
        whole = "Int" in (column.item or column).dtype
        return [_whole(it) if whole else f"{it:.{DIGITS}g}" for it in numbers]
    if not isinstance(counts, Mapping):
        return []
    return sorted((it for it in counts if counts[it]), key=lambda label: -int(counts[label]))
