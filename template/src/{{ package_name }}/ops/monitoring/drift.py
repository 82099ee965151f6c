"""Whether two samples differ: by how much, and how easily by chance.

Everything here works on tables of counts, shape (2, cells): the reference's rows and the window's
by cell. So a window of any size costs the same. Both are taken for what they are, samples: a
reference of a few hundred rows is uncertain too.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, gammaln, ndtr

Counts = NDArray[np.int64]

LEAST_EXPECTED = 5.0
"""Cells with fewer rows than these, were nothing different, are counted together."""


class Difference(NamedTuple):
    """How far a distribution moved: its PSI, how likely chance goes as far, and by which test."""

    psi: float
    distance: float
    """From 0 to 1: Cliff's delta or, where cells have no order, the total variation."""
    p: float
    test: str


def difference(table: Counts, ordered: bool) -> Difference:
    """Compare two distributions; `ordered` cells are bins of a number."""
    cells = merged(table) if ordered else pooled(table)
    chances = {"chi-square": chi_square(cells)}
    if ordered:
        distance, chances["rank sum"] = rank_sum(table)
    else:
        then, now = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
        distance = float(np.abs(then - now).sum() / 2)
    test = min(chances, key=chances.__getitem__)
    p = min(1.0, len(chances) * chances[test])
    return Difference(float(psi(cells)), distance, p, test)


def pooled(table: Counts) -> Counts:
    """Count rare categories together, for what is computed from few rows is mostly chance.

    Which ones are rare follows from the reference alone: a choice by the window's rows would find
    differences where it looks for them. With one cell left, there is nothing to compare.
    """
    then = table[0]
    rare = then < _needed(table)
    if not rare.any():
        return table
    cells = np.cumsum(~rare) - 1
    kept = int((~rare).sum())
    alone = not kept or _expects(table, rare)
    cells[rare] = kept if alone else cells[~rare][then[~rare].argmin()]
    return _together(table, cells)


def merged(table: Counts) -> Counts:
    """Count neighbouring bins of a number together, as `pooled` does with categories.

    The outer bins, which the reference never reached, stay where the window has enough of them.
    """
    needed, inner, rows = _needed(table), [0], 0
    for count in table[0, 1:-1].tolist():
        full = rows >= needed
        inner.append(inner[-1] + full)
        rows = count if full else rows + count
    if rows < needed:
        inner = [min(cell, max(inner) - 1) for cell in inner]
    cells = np.array([*inner, inner[-1]])
    cells -= cells.min()
    for outer in (0, len(cells) - 1):
        if _expects(table, np.arange(len(cells)) == outer):
            cells[outer] = cells.max() + 1
    return _together(table, cells)


def psi(table: NDArray[Any]) -> NDArray[np.float64]:
    """The population stability index of pooled cells, less what chance alone gives.

    The sum of (q - p) ln(q / p) over the cells, p and q being their shares, with half a row added
    to each. Of two samples of n and m rows from one distribution it is about (cells - 1) (1 / n +
    1 / m), which is taken off: so small samples, too, have about zero where nothing moved. Of
    several tables, shape (..., 2, cells), each has its own.
    """
    cells, rows = table.shape[-1], table.sum(axis=-1, keepdims=True)
    p, q = np.moveaxis((table + 0.5) / (rows + 0.5 * cells), -2, 0)
    by_chance = (cells - 1) * (1 / np.maximum(rows, 1)).sum(axis=(-2, -1))
    found = ((q - p) * np.log(q / p)).sum(axis=-1) - by_chance
    return np.where(rows.all(axis=(-2, -1)) & (cells > 1), np.maximum(found, 0), 0.0)


def chi_square(table: Counts) -> float:
    """Pearson's test that pooled cells have the same shares: how likely chance goes as far."""
    rows = table.sum(axis=1, keepdims=True)
    if table.shape[1] < 2 or not rows.all():
        return 1.0
    expected = table.sum(axis=0) * rows / rows.sum()
    distance = (np.square(table - expected) / expected).sum()
    return float(chdtrc(table.shape[1] - 1, distance))


def rank_sum(table: Counts) -> tuple[float, float]:
    """Wilcoxon's test that rows of one sample are as often greater as less than those of the other.

    Rows of one cell are ties.

    Returns:
        How much more often, from 0 to 1 (Cliff's delta), and how likely chance goes as far.
    """
    rows, ties = table.sum(axis=1), table.sum(axis=0, dtype=np.float64)
    if not rows.all():
        return 0.0, 1.0
    (then, now), both = table / rows[:, None], float(rows.sum())
    apart = abs(2 * float(now @ (np.cumsum(then) - then / 2)) - 1)
    variance = both + 1 - (ties**3 - ties).sum() / (both * (both - 1))
    deviation = np.sqrt(max(variance, 1e-12) / (3 * float(rows[0]) * float(rows[1])))
    return apart, float(2 * ndtr(-apart / deviation))


def shares(hits: Counts, rows: Counts) -> NDArray[np.float64]:
    """Whether shares are the same in both samples.

    Pearson's test of two by two with Yates' correction; where fewer than five rows were to be
    expected in a cell, Fisher's exact one.

    Args:
        hits: rows of each sample that have a property, shape (2, properties).
        rows: all of them, shape (2,).

    Returns:
        How likely chance goes as far, shape (properties,).
    """
    (then, now), (rows_then, rows_now), total = hits, rows.tolist(), int(rows.sum())
    if not rows.all():
        return np.ones(len(then))
    both = (then + now).astype(np.float64)
    away = np.abs(then * float(rows_now) - now * float(rows_then)) - total / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = total * np.square(np.maximum(away, 0))
        chances = chdtrc(1, value / (both * (total - both) * rows_then * rows_now))
    rare = np.minimum(both, total - both) * min(rows_then, rows_now) / total < LEAST_EXPECTED
    for place in np.flatnonzero(rare):
        chances[place] = fisher(hits[:, place], rows)
    return np.asarray(chances)


def fisher(hits: Counts, rows: Counts) -> float:
    """Fisher's exact test of two shares: twice the smaller tail of the hypergeometric law.

    Args:
        hits: rows of each sample that have a property, shape (2,).
        rows: all of them, shape (2,).
    """
    both = int(hits.sum())
    now = np.arange(max(0, both - rows[0]), min(both, rows[1]) + 1)
    ways = _log_choose(rows[0], both - now) + _log_choose(rows[1], now)
    chances = np.exp(ways - _log_choose(int(rows.sum()), both))
    return min(1.0, 2 * float(min(chances[now >= hits[1]].sum(), chances[now <= hits[1]].sum())))


def holm(chances: Sequence[float]) -> list[float]:
    """Correct for many tests (Holm, 1979): below alpha, none of them is false but with alpha."""
    order = np.argsort(chances, kind="stable")
    steps = np.asarray(chances)[order] * np.arange(len(chances), 0, -1)
    corrected = np.empty(len(chances))
    corrected[order] = np.maximum.accumulate(np.minimum(steps, 1.0))
    return [float(chance) for chance in corrected]


def _needed(table: Counts) -> float:
    """Rows of the reference in a cell of which the smaller sample should have enough."""
    rows = table.sum(axis=1)
    return LEAST_EXPECTED * float(rows[0] / rows.min()) if rows.all() else np.inf


def _expects(table: Counts, cells: NDArray[np.bool_]) -> bool:
    """Whether some cells together have enough rows in both samples, were nothing different."""
    rows = table.sum(axis=1)
    return bool(table[:, cells].sum() * rows.min() >= LEAST_EXPECTED * max(int(rows.sum()), 1))


def _together(table: Counts, cells: Counts) -> Counts:
    """Sum the counts of each cell, given by its number."""
    return np.stack([np.bincount(cells, weights=rows) for rows in table]).astype(np.int64)


def _log_choose(many: Counts | int, few: Counts | int) -> NDArray[np.float64]:
    return np.asarray(gammaln(many + 1) - gammaln(few + 1) - gammaln(many - few + 1))
