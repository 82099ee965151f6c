"""Faults upstream that a change looks like, by what is counted: no model must learn from them."""

from collections import Counter
from collections.abc import Sequence
from itertools import takewhile

import numpy as np

from ..evaluation.distributions import NOW, THEN, Categories, Numbers, Vectors
from ..evaluation.metrics import Array
from ..prediction_log import moment
from ..wording import number, share
from .checks import Finding, Verdict

LEAST_FACTOR = 1.4  # of a change of unit
UNITS = {
    "°F, and was °C": (1.8, 32.0),
    "°C, and was °F": (1 / 1.8, -32 / 1.8),
    "K, and was °C": (1.0, 273.15),
    "°C, and was K": (1.0, -273.15),
}
"""Of units that differ by more than a factor: times what, and plus what."""
OFF = 0.1  # how far quantiles may lie from it beside chance, as a share of their range
LEAST_GONE = 5  # rows that a value must lack to be gone
ALIKE = 1.5  # the most between its share and that of the value in its place
CLEAR = 1.7  # deviations from a value that others became to one that grew as all did
LEAST_VALUES = 20  # that tell their unit
REPEATED, BEYOND = 0.1, 2  # the share and the factor by which repeated rows exceed earlier ones
SPIKE = 0.05  # the same of one value beside the fullest bin, whose share is about as much


def faults(verdicts: Sequence[Verdict]) -> dict[str, str]:
    """What looks like a fault in the newest of some windows, and since when, by column or check."""
    said, starts = dict[str, str](), [verdict.window.start for verdict in verdicts]
    for found in verdicts[-1].came:
        name = found.column or found.check
        if name not in said and (what := _what(found, verdicts)):
            said[name] = f"{what}, {since(starts, [name in it.moved for it in verdicts])}"
    shares = [verdict.window.repeated / max(verdict.window.rows, 1) for verdict in verdicts]
    limit = BEYOND * max(shares[: len(shares) // 2], default=1.0) + REPEATED
    if shares[-1] > limit:
        when = since(starts, [it > limit for it in shares])
        said["repeated"] = f"{share(shares[-1])} of the rows repeat others, {when}"
    return said


def since(starts: Sequence[int], hit: Sequence[bool]) -> str:
    """When the windows began that are hit, each of them, up to the newest."""
    run = sum(1 for _ in takewhile(bool, reversed(hit)))
    return f"since {moment(starts[-run] + 1):%Y-%m-%d %H:%M} UTC"


def _what(found: Finding, verdicts: Sequence[Verdict]) -> str | None:
    """The fault that a finding on the newest window looks like, in words; None if like none."""
    window, name = verdicts[-1].window, found.column or ""
    match found.check, window.columns.get(name):
        case "contract", _:
            return f"{share(window.refused / window.asked)} of the rows are refused"
        case "missing", column if column is not None:
            then, now = column.missing / np.maximum(column.rows, 1)
            series = [then, *(verdict.columns[name]["missing"] or 0.0 for verdict in verdicts)]
            at_once = now > then and np.diff(series).max() >= (now - then) / 2
            return f"{share(now)} of {name} are missing" if at_once else None
        case _, Numbers() as numbers if spike := _spike(numbers):
            return f"{share(spike[1])} of {name} are {number(spike[0])}"
        case _, Numbers() | Vectors() as moved if unit := _unit(moved):
            return f"{name} is {unit}"
        case _, Categories() as categories if renamed := _renamed(categories):
            return f"{name} has {renamed[1]} where it had {renamed[0]}"
        case "multivariate", _ if sum(it.column == name for it in verdicts[-1].came) == 1:
            return f"{name} no longer goes with the other columns"
    return None


def _unit(moved: Numbers | Vectors) -> str | None:
    """Of which other unit, or sign, all values are, or all beyond those ever seen; else None."""
    numbers = moved if isinstance(moved, Numbers) else moved.summaries["norm"]
    shares = numbers.table[THEN, 1:-1] / max(numbers.table[THEN].sum(), 1)
    upto = np.cumsum(shares)[:-1]
    inner = (upto > 0.1) & (upto < 0.9)
    # Half a bin below its edge: where values are few, chance must not choose the next one.
    levels, then = (upto - shares[:-1] / 2)[inner], numbers.edges[inner]
    if unit := _turned(numbers.some, levels, then):
        return unit
    out = (numbers.some < numbers.lowest) | (numbers.some > numbers.highest)
    beyond, others = numbers.some[out], numbers.some[~out]
    unit = _turned(beyond, levels, then)
    if not unit and len(others) >= LEAST_VALUES:  # of one season, they are like those beside them
        unit = _turned(beyond, levels, np.quantile(others, levels))
    return unit and f"{unit} in {share(len(beyond) / len(numbers.some))} of the rows"


def _turned(values: Array, levels: Array, then: Array) -> str | None:
    """What turns the quantiles that were into those of some values; None if no unit or sign."""
    if len(then) < 2 or len(values) < LEAST_VALUES:
        return None
    now, mirrored = np.quantile(values, (levels, 1 - levels), method="inverted_cdf")
    most = (OFF + 1 / np.sqrt(len(values))) * max(np.ptp(now), 1e-300)
    factor = float(now @ then / (then @ then)) or 1.0
    times = f"{number(factor)} times" if factor > 1 else f"1/{number(1 / factor)} of"
    off = {}
    if max(factor, 1 / factor) >= LEAST_FACTOR:
        off[f"{times} what it was"] = np.abs(now - factor * then).max()
    if np.abs(now - then).max() > most:  # else they lie where they did
        off["of the other sign"] = np.abs(mirrored + then).max()
        for unit, (scale, shift) in UNITS.items():
            off[unit] = np.abs(now - scale * then - shift).max()
    best = min(off, key=lambda it: off[it], default=None)
    return best if best and off[best] <= most else None


def _spike(numbers: Numbers) -> tuple[float, float] | None:
    """One value that more rows have than any bin ever had, and their share; None if none has."""
    (value, most), *_ = [*Counter(numbers.some.tolist()).most_common(1), (0.0, 0)]
    now, then = most / max(len(numbers.some), 1), numbers.table[THEN]
    return (value, now) if now > BEYOND * then.max() / max(then.sum(), 1) + SPIKE else None


def _renamed(categories: Categories) -> tuple[str, str] | None:
    """A value that is gone, and the one that its rows have now, new or known; None if none is."""
    (then, now), rows = categories.table, categories.table.sum(axis=1)
    usual, names = then * rows[NOW] / max(rows[THEN], 1), categories.names
    alone = np.count_nonzero([*now[:-1], *categories.new.values()]) == 1
    for old, expected, left in zip(names, usual, now, strict=False):
        if expected < LEAST_GONE or left:
            continue
        # Where its rows merely stay away, all others grow a little: what is nearer to that is none.
        without = usual * rows[NOW] / max(rows[NOW] - expected, 1)
        apart = usual + expected - without
        known = (now - without > apart / 2) & (apart > CLEAR * np.sqrt(without))
        grown = np.where(known | (alone & (now > 0)), now - usual, 0)
        for new, counted in {**categories.new, **dict(zip(names, grown, strict=False))}.items():
            if expected / ALIKE <= counted <= expected * ALIKE or (alone and counted > 0):
                return old, new
    return None
