"""`ops explain`: how far each column of a row moves its answer, whatever the model is."""

import json
from collections.abc import Callable, Mapping

import numpy as np
import polars as pl

from .. import contract as contracts
from ..bundle import Bundle
from ..errors import UserError
from ..evaluation.metrics import Array
from ..pipeline import parquet
from ..pipeline.parsing import parse
from ..pipeline.validate import check
from ..project import Project
from ..registry.champion import located
from ..registry.feature_code import own_features
from ..wording import number, table
from .rows import predict

PATHS, FEWEST, CELLS = 200, 20, 10_000_000
"""How many ways are taken to a row, and to one of many columns; so many values are scored."""

AT_ONCE = 1_000_000  # values: a version may be asked in a process of its own

SHOWN = 15  # columns, those that move the answer most


def run(project: Project, row: str, model: str | None = None) -> None:
    """Say what made an answer: of a row as JSON, or of one that was held out, by its number.

    A UserError if there is no such row, or it breaks the contract.
    """
    bundle = Bundle(located(project, model))
    contract = bundle.contract
    if contract.task == "recommendation":
        raise UserError("A list of items is not explained; classes and numbers are.")
    held = parquet.spread(project.holdout, contract)
    ours, others = contract.arrays(_found(row, held)), contract.arrays(held)
    with own_features(project, bundle):
        said = predict(bundle, ours)
        place = (..., *said.values[:1]) if contract.classes else ...
        moved = contributions(lambda rows: predict(bundle, rows).scored[place], ours, others)
        usual = float(predict(bundle, others).scored[place].mean())
    what = f"P({contract.named(said.values)[0]})" if contract.classes else contract.target.name
    told = number(said.scored[place][0])
    print(f"{what} is {told}; on {len(held):,} held-out rows {number(usual)}.")
    ranked = sorted(moved.items(), key=lambda item: -abs(item[1][0]))[:SHOWN]
    values = {name: str(its[0]) for name, its in ours.items()}
    values |= {it.name: "(sensitive)" for it in contract.features if it.sensitive}
    shown = [(name, f"{by:+.4g}", f"{error:.1g}", values[name]) for name, (by, error) in ranked]
    print(table(("column", "adds", "±", "value"), shown))


def _found(row: str, held: pl.DataFrame) -> pl.DataFrame:
    """The row that is meant."""
    if row.isdecimal():
        if not 0 < int(row) <= len(held):
            raise UserError(f"{row} is no row of data/holdout.parquet, which has {len(held):,}.")
        return held[int(row) - 1]
    try:
        absent = {it.name: None for it in contracts.load().inputs if it.nullable}
        told = pl.DataFrame([{**absent, **json.loads(row)}])
    except (ValueError, TypeError):
        raise UserError('A row is a number, or JSON such as {"age": 61}.') from None
    parsed = parse(told.lazy(), labelled=False, origin="The row").rows.collect()
    checked = check(parsed, labelled=False)
    if checked.good.is_empty():
        raise UserError(f"The row breaks the contract: {checked.bad.to_series(-1)[0]}.")
    return checked.good


def contributions(
    answer: Callable[[Mapping[str, Array]], Array],
    row: Mapping[str, Array],
    others: Mapping[str, Array],
) -> dict[str, tuple[float, float]]:
    """How far each column moves the answer, and the standard error; they add up to all of it.

    Shapley values by sampling (Štrumbelj and Kononenko, "Explaining prediction models and
    individual predictions with feature contributions", 2014): on many paths from another row to
    this one, columns take its values one by one, in random order.
    """
    draw, count = np.random.default_rng(0), len(row)
    paths = max(FEWEST, min(PATHS, CELLS // (count * count)))
    start = draw.integers(len(next(iter(others.values()))), size=paths)
    turn = draw.permuted(np.tile(np.arange(count), (paths, 1)), axis=1)  # of each column
    said = np.empty((paths, count + 1))
    width = sum(values.size for values in row.values())
    together = max(1, AT_ONCE // (width * (count + 1)))
    for first in range(0, paths, together):
        part, rows = slice(first, first + together), {}
        for place, (name, values) in enumerate(row.items()):
            taken = turn[part, place, None] < np.arange(count + 1)
            taken = taken.reshape(-1, *(1 for _ in values.shape[1:]))
            other = np.repeat(others[name][start[part]], count + 1, axis=0)
            rows[name] = np.where(taken, values, other).astype(values.dtype)
        said[part] = answer(rows).reshape(-1, count + 1)
    steps = np.diff(said, axis=1)
    moved = np.take_along_axis(steps, turn, axis=1)
    found = zip(moved.mean(axis=0).tolist(), moved.std(axis=0).tolist(), strict=True)
    return {name: (by, spread / paths**0.5) for name, (by, spread) in zip(row, found, strict=True)}
