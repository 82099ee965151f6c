"""Streams of deliveries as a service sees them, drawn from seeds: calm ones, and each change.

The calm ones are of four kinds: rows that are independent of each other, a season, days that are
like the days before them, and a trend. Nothing but numpy is needed, so that whatever is compared
can draw the same rows in an environment of its own.

    stream = draw("seasonal", "unit changed", seed=1)
    stream.learnt, stream.windows, stream.changed
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]

KINDS = ("independent", "seasonal", "autocorrelated", "trending")

NUMBERS, CATEGORIES, FLAGS = ("distance", "minutes", "temperature"), ("area",), ("rain",)
CLASSES = ("late", "on time")

AREAS = np.array(["centre", "north", "south", "station", "harbour"], dtype=object)
SHARES = np.array([0.42, 0.25, 0.18, 0.12, 0.03])
FAR = np.array([-0.3, 0.1, 0.2, 0.0, 0.6])
"""How much further away each area is, as a logarithm."""

BEGUN = np.datetime64("2023-01-01", "us")
YEAR = np.timedelta64(31_557_600, "s")
CYCLE = 12
"""Windows that a year has."""
MEMORY = 1_500
"""Rows after which little is left of what was."""


@dataclass(frozen=True)
class Rows:
    """Rows in order of their time, with what the model says of them and what is true.

    Attributes:
        time: shape (rows,), datetime64[us].
        columns: by name, shape (rows,): numbers and flags as float64, missing as NaN; texts.
        late: the probability that the model gives to the first class.
        truth: the class.
    """

    time: Array
    columns: dict[str, Array]
    late: Array
    truth: Array

    def __len__(self) -> int:
        return len(self.time)

    def at(self, rows: Any) -> Rows:  # noqa: ANN401  whatever numpy takes for an index
        """Some of the rows."""
        columns = {name: values[rows] for name, values in self.columns.items()}
        return Rows(self.time[rows], columns, self.late[rows], self.truth[rows])

    def having(self, **columns: Array) -> Rows:
        """Rows that other columns came in for; the model answers those, the truth stays."""
        every = {**self.columns, **columns}
        return replace(self, columns=every, late=chances(every))


@dataclass(frozen=True)
class Stream:
    """What a model learnt from, and the windows that come after.

    Attributes:
        learnt: the rows of the history, as many windows long as was asked for.
        windows: the later ones.
        changed: of each, whether it is other than the history.
    """

    learnt: Rows
    windows: list[Rows]
    changed: list[bool]


def draw(  # noqa: PLR0913  each is a dimension of the trial
    kind: str,
    change: str | None,
    seed: int,
    *,
    rows: int = 500,
    history: int = 30,
    windows: int = 12,
    since: int = 4,
) -> Stream:
    """Draw a stream: the rows of a kind, a seed and their numbers are the same in every change.

    Args:
        kind: one of `KINDS`.
        change: one of `CHANGES`, or none.
        seed: of all draws.
        rows: of a window.
        history: windows that were learnt from; `CYCLE` of them are a year.
        windows: that come after.
        since: the first of them that is changed.
    """
    start = np.random.default_rng([seed, KINDS.index(kind)])
    level = LEVELS[kind](start, rows * (history + windows), rows)
    step = YEAR / (CYCLE * rows)
    time = BEGUN + np.arange(len(level)) * step.astype("timedelta64[us]")
    learnt = deliveries(start, time, level)
    parts = [learnt.at(slice(at, at + rows)) for at in range(0, len(level), rows)]
    came, changed = parts[history:], [False] * windows
    if change:
        for place in range(since, windows):
            after = np.random.default_rng([seed, list(CHANGES).index(change), place])
            share = (place - since + 1) / (windows - since)
            made = CHANGES[change](after, came[place], share)
            if made is not None:
                came[place], changed[place] = made, True
    return Stream(learnt.at(slice(0, rows * history)), came, changed)


def level_of_season(start: np.random.Generator, count: int, rows: int) -> Array:
    """Warm and cold, once a year; no year is quite like another."""
    years = np.arange(count) / (CYCLE * rows)
    heights = 1 + 0.08 * start.normal(size=int(years[-1]) + 2)
    height = np.interp(years, np.arange(len(heights)), heights)
    return np.asarray(height * -np.cos(2 * np.pi * years))


def level_of_before(start: np.random.Generator, count: int, rows: int) -> Array:
    """A first-order autoregression of standard deviation 1."""
    del rows
    kept = np.exp(-1 / MEMORY)
    level = np.empty(count)
    now = start.normal()
    for place, push in enumerate(start.normal(size=count) * np.sqrt(1 - kept**2)):
        level[place] = now = kept * now + push
    return level


LEVELS: dict[str, Callable[[np.random.Generator, int, int], Array]] = {
    "independent": lambda _, count, __: np.zeros(count),
    "seasonal": level_of_season,
    "autocorrelated": level_of_before,
    "trending": lambda _, count, __: np.linspace(-1, 1, count),
}
"""How warm it is, about 0 and as far as 1, by which all else goes."""


def deliveries(start: np.random.Generator, time: Array, level: Array) -> Rows:
    """The rows of some times, at a level of warmth."""
    count = len(time)
    area = start.choice(len(AREAS), count, p=SHARES)
    distance = np.exp(1 + 0.05 * level + FAR[area] + 0.5 * start.normal(size=count))
    temperature = 12 + 6 * level + 4 * start.normal(size=count)
    rain = (start.random(count) < 1 / (1 + np.exp(1 + 0.4 * level))).astype(np.float64)
    minutes = (4 + 3 * distance) * np.exp(0.2 * start.normal(size=count)) * (1 + 0.2 * rain)
    columns = {
        "distance": distance,
        "minutes": minutes,
        "temperature": temperature,
        "area": AREAS[area],
        "rain": rain,
    }
    late = chances(columns)
    return Rows(time, columns, late, labels(start.random(count) < late))


def chances(columns: dict[str, Array]) -> Array:
    """What the model says, and what is true as long as its columns are."""
    minutes, distance = (np.nan_to_num(columns[name], nan=8.0) for name in ("minutes", "distance"))
    away = 0.12 * (minutes - 14) + 0.15 * (minutes / (4 + 3 * distance) - 1)
    away = away + 0.6 * (columns["rain"] - 0.3) + 0.5 * (columns["area"] == "harbour")
    return np.asarray(1 / (1 + np.exp(-3 * away)))


def labels(late: Array) -> Array:
    """The names of the classes."""
    return np.asarray(np.where(late, *np.array(CLASSES, dtype=object)))


def warmer(after: np.random.Generator, came: Rows, share: float) -> Rows:
    """The world itself changes, and the truth with it: warmer, and all take longer."""
    columns = came.columns
    more = {
        "temperature": columns["temperature"] + 5 * share,
        "minutes": columns["minutes"] * (1 + 0.3 * share),
    }
    moved = came.having(**more)
    return replace(moved, truth=labels(after.random(len(came)) < moved.late))


def flipped(share: float) -> Callable[[np.random.Generator, Rows, float], Rows]:
    """Labels that were told the wrong way round."""

    def flip(after: np.random.Generator, came: Rows, _: float) -> Rows:
        wrong = after.random(len(came)) < share
        return replace(came, truth=labels((came.truth == CLASSES[0]) ^ wrong))

    return flip


def in_other_unit(share: float) -> Callable[[np.random.Generator, Rows, float], Rows]:
    """Kilometres in some of the rows, and something else in the others."""

    def convert(after: np.random.Generator, came: Rows, _: float) -> Rows:
        factor = np.where(after.random(len(came)) < share, 2.2, 1.0)
        return came.having(distance=came.columns["distance"] * factor)

    return convert


def renamed(_: np.random.Generator, came: Rows, __: float) -> Rows:
    """A category by another name."""
    area = came.columns["area"]
    return came.having(area=np.where(area == "station", "central station", area).astype(object))


def missing(after: np.random.Generator, came: Rows, _: float) -> Rows:
    """A sensor that is silent at times."""
    lost = after.random(len(came)) < 0.14
    return came.having(distance=np.where(lost, np.nan, came.columns["distance"]))


def vanished(_: np.random.Generator, came: Rows, __: float) -> Rows:
    """A category of 3 % whose rows come no more."""
    return came.at(came.columns["area"] != "harbour")


def permuted(after: np.random.Generator, came: Rows, _: float) -> Rows:
    """A column joined to the wrong rows: its own distribution stays."""
    return came.having(minutes=after.permutation(came.columns["minutes"]))


def recurring(after: np.random.Generator, came: Rows, share: float) -> Rows | None:
    """The same again and again, with calm between: in two windows of four."""
    return warmer(after, came, 1.0) if round(share * 8) % 4 in (1, 2) else None


CHANGES: dict[str, Callable[[np.random.Generator, Rows, float], Rows | None]] = {
    "shift": lambda after, came, _: warmer(after, came, 1.0),
    "gradual shift": warmer,
    "recurring shift": recurring,
    "unit changed": in_other_unit(1.0),
    "unit changed in a tenth": in_other_unit(0.1),
    "category renamed": renamed,
    "values missing": missing,
    "category vanished": vanished,
    "column permuted": permuted,
    "labels flipped, 5 %": flipped(0.05),
    "labels flipped, 10 %": flipped(0.1),
    "labels flipped, 20 %": flipped(0.2),
}
"""Each with its draws, the rows as they would have come, and how far along the change is (to 1)."""
