"""Whether two samples differ: by how much, and how easily by chance.

Everything here works on counts, so that a window of any size costs the same. Both samples are
taken for what they are, samples: a reference of a few hundred rows is uncertain too.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]

LEAST_EXPECTED = 5.0
"""Cells with fewer rows than these, were nothing different, are counted together."""


def pooled(then: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Count rare categories together, for what is computed from few rows is mostly chance.

    Which ones are rare follows from the reference alone: a choice by the window's rows would find
    differences where it looks for them.

    Args:
        then: rows of the reference by cell, shape (cells,).
        now: rows of a window by cell, shape (cells,).

    Returns:
        Both, with as many or fewer cells; with one cell there is nothing to compare.
    """
    rare = then < _needed(then, now)
    if not rare.any():
        return then, now
    cells = np.where(rare, -1, np.cumsum(~rare) - 1)
    kept = int((~rare).sum())
    if kept and not _expects(then, now, rare):
        cells[rare] = cells[~rare][then[~rare].argmin()]
    else:
        cells[rare] = kept
    return _together(cells, then, now)


def merged(then: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Count neighbouring bins of a number together, as `pooled` does with categories.

    The outer bins, which the reference never reached, stay where the window has enough of them.
    """
    needed, inner, rows = _needed(then, now), [0], 0
    for count in then[1:-1].tolist():
        full = rows >= needed
        inner.append(inner[-1] + full)
        rows = count if full else rows + count
    if rows < needed:
        inner = [min(cell, max(inner) - 1) for cell in inner]
    cells = np.array([*inner, inner[-1]])
    cells -= cells.min()
    for outer in (0, len(cells) - 1):
        if _expects(then, now, np.arange(len(cells)) == outer):
            cells[outer] = cells.max() + 1
    return _together(cells, then, now)


def _needed(then: Counts, now: Counts) -> float:
    """Rows of the reference in a cell of which the smaller sample should have enough."""
    before = int(then.sum())
    smaller = min(before, int(now.sum()))
    return LEAST_EXPECTED * before / smaller if smaller else np.inf


def _expects(then: Counts, now: Counts, cells: NDArray[np.bool_]) -> bool:
    """Whether some cells together have enough rows in both samples, were nothing different."""
    both = then + now
    rows, smaller = int(both[cells].sum()), min(int(then.sum()), int(now.sum()))
    return rows * smaller >= LEAST_EXPECTED * max(int(both.sum()), 1)


def _together(cells: Counts, then: Counts, now: Counts) -> tuple[Counts, Counts]:
    """Sum the counts of each cell, given by its number."""
    sums = [np.bincount(cells, weights=counts).astype(np.int64) for counts in (then, now)]
    return sums[0], sums[1]


def psi(then: Counts, now: Counts) -> float:
    """The population stability index of pooled cells, less what chance alone gives.

    The sum of (q - p) ln(q / p) over the cells, p and q being their shares, with half a row added
    to each. Of two samples of n and m rows from one distribution it is about (cells - 1) (1 / n +
    1 / m), which is taken off: so small samples, too, have about zero where nothing moved.
    """
    cells, before, after = len(then), int(then.sum()), int(now.sum())
    if cells < 2 or not before or not after:
        return 0.0
    p = (then + 0.5) / (before + 0.5 * cells)
    q = (now + 0.5) / (after + 0.5 * cells)
    found = float(((q - p) * np.log(q / p)).sum())
    return max(0.0, found - (cells - 1) * (1 / before + 1 / after))


def chi_square(then: Counts, now: Counts) -> float:
    """Pearson's test that pooled cells have the same shares: how likely chance goes as far."""
    cells, before, after = len(then), int(then.sum()), int(now.sum())
    if cells < 2 or not before or not after:
        return 1.0
    total = before + after
    expected = (then + now) * (after / total)
    distance = np.square(now - expected) * (total / before) / expected
    return chi_square_tail(float(distance.sum()), cells - 1)


def chi_square_tail(value: float, freedom: int) -> float:
    """How likely a chi-square variable of whole degrees of freedom is at least `value`.

    The finite sums of Abramowitz and Stegun, 26.4.4 and 26.4.5.
    """
    half = value / 2
    if half <= 0:
        return 1.0
    odd = freedom % 2
    tail = math.erfc(math.sqrt(half)) if odd else 0.0
    for step in range(freedom // 2):
        power = step + odd / 2
        tail += math.exp(power * math.log(half) - half - math.lgamma(power + 1))
    return min(tail, 1.0)


def kolmogorov_smirnov(then: Counts, now: Counts) -> tuple[float, float]:
    """The greatest distance of two cumulative distributions over ordered cells, and its chance.

    Between the edges of the cells the distance of the raw values may be greater, so this one is a
    lower bound, and the test errs towards silence. The chance is Kolmogorov's series.
    """
    before, after = int(then.sum()), int(now.sum())
    if not before or not after:
        return 0.0, 1.0
    distance = float(np.abs(np.cumsum(then) / before - np.cumsum(now) / after).max())
    reach = distance * math.sqrt(before * after / (before + after))
    if reach < 0.3:
        return distance, 1.0
    terms = (2 * (-1) ** (k - 1) * math.exp(-2 * (k * reach) ** 2) for k in range(1, 101))
    return distance, min(max(sum(terms), 0.0), 1.0)


def shares(
    hits_then: Counts | int, rows_then: int, hits_now: Counts | int, rows_now: int
) -> NDArray[np.float64]:
    """Whether shares are the same in both samples.

    Pearson's test of two by two with Yates' correction; where fewer than five rows were to be
    expected in a cell, Fisher's exact one.

    Args:
        hits_then: rows of the reference that have a property, shape (properties,) or a number.
        rows_then: all of its rows.
        hits_now: likewise of the window.
        rows_now: all of its rows.

    Returns:
        How likely chance goes as far, shape (properties,).
    """
    then, now = np.atleast_1d(hits_then).astype(np.int64), np.atleast_1d(hits_now).astype(np.int64)
    total = rows_then + rows_now
    if not rows_then or not rows_now:
        return np.ones(len(then))
    both = (then + now).astype(np.float64)
    away = np.abs(then * float(rows_now) - now * float(rows_then)) - total / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        value = total * np.square(np.maximum(away, 0))
        value /= both * (total - both) * rows_then * rows_now
    least = np.minimum(both, total - both) * min(rows_then, rows_now) / total
    return np.array(
        [
            chi_square_tail(float(value[place]), 1)
            if least[place] >= LEAST_EXPECTED
            else fisher(int(then[place]), rows_then, int(now[place]), rows_now)
            for place in range(len(then))
        ]
    )


def fisher(hits_then: int, rows_then: int, hits_now: int, rows_now: int) -> float:
    """Fisher's exact test of two shares: twice the smaller tail of the hypergeometric law."""
    if 2 * (hits_then + hits_now) > rows_then + rows_now:
        hits_then, hits_now = rows_then - hits_then, rows_now - hits_now
    both = hits_then + hits_now
    every = _log_choose(rows_then + rows_now, both)
    upper = lower = 0.0
    for hits in range(max(0, both - rows_then), min(both, rows_now) + 1):
        log = _log_choose(rows_now, hits) + _log_choose(rows_then, both - hits) - every
        upper += math.exp(log) if hits >= hits_now else 0.0
        lower += math.exp(log) if hits <= hits_now else 0.0
    return min(1.0, 2 * min(upper, lower))


def _log_choose(many: int, few: int) -> float:
    return math.lgamma(many + 1) - math.lgamma(few + 1) - math.lgamma(many - few + 1)


def normal_tail(value: float) -> float:
    """How likely a standard normal variable is at least `value`."""
    return 0.5 * math.erfc(value / math.sqrt(2))


def holm(chances: Sequence[float]) -> list[float]:
    """Correct for many tests (Holm, 1979): below alpha, none of them is false but with alpha."""
    order = sorted(range(len(chances)), key=chances.__getitem__)
    corrected = [1.0] * len(chances)
    worst = 0.0
    for place, test in enumerate(order):
        worst = max(worst, min(1.0, chances[test] * (len(chances) - place)))
        corrected[test] = worst
    return corrected
