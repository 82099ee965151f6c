"""How far windows move where nothing is wrong: limits that a champion's own history teaches.

The rows that the champion was made of are cut into windows of monitoring's size. Each is left out
in turn and held to the others by the same checks as a new one: the largest difference, and half as
much again, is usual. What had come to stay by then began a new regime: nothing before it counts.
With a cycle, a window is compared with the same part of other cycles.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..evaluation.distributions import NOW, THEN, Categories, Distribution, unpacked
from ..settings import LEAST_ROWS, Monitoring
from . import drift

LEAST_WINDOWS, LEAST_SINCE, MOST_PARTS = 16, 4, 64
"""Windows that show what is usual, parts that show a new regime, and in which that is sought."""

MARGIN = 1.5
"""Times the largest difference in history is usual, at least; a PSI goes with its square."""

LEAST_DISTANCE = 0.2
"""Of distributions, where history shows less: of the order of a PSI of 0.2."""

FURTHER = 4.0
"""Times the PSI that was usual, or twice as far, is a new regime."""

BESIDE = 3
"""A window and those beside it, this part of all on either side, are left out together.

A level that lasts some windows is theirs in common, and not that of the windows to come; other
cycles lie further away.
"""

DISTANCE, MOVED = "distance", "moved"
"""How far distributions lie apart, and how far beyond chance: no checks of their own."""

CYCLES = {"day": 86_400, "week": 604_800, "year": 31_556_952}
"""How many seconds each takes."""

Pieces = NDArray[np.intp]
Measure = Callable[[str, Distribution], Iterable[Any]]


class History:
    """The history of a champion, cut into windows of monitoring's size.

    Attributes:
        windows: since the last regime began, as pieces of time.
        enough: whether these show what is usual.
        phased: whether a window is compared with the same part of other cycles alone.
        since: where the rows are from that it is compared with, in words.
    """

    def __init__(
        self, told: Mapping[str, Any], made: Mapping[str, Distribution], limits: Monitoring
    ) -> None:
        """Read what training `told`; `made` are columns and answers to count in."""
        self._settings, self._made = limits, made
        self._times = np.array(told["times"], dtype=np.float64)
        pieces, packed = len(self._times), told["counts"]
        self._counts = {name: unpacked(packed[name], pieces) for name in made}
        self._each, self._pieces = told["rows"] / pieces, np.arange(pieces)
        self._pieces = self._pieces[max(map(self._begin, told["columns"]), default=0) :]
        self._largest: dict[str, Mapping[str, float]] = {}
        self.windows = self._cut()
        self.enough = len(self.windows) >= LEAST_WINDOWS
        piece = float(np.median(np.diff(self._times)))
        spans = [np.ptp(self._times[own]) for own in self.windows]
        self._near = float(np.median(spans)) / 2 + piece
        self._period = CYCLES.get(limits.cycle, math.inf)
        covered = np.ptp(self._times[self._pieces]) + piece
        self.phased = covered > 1.99 * self._period > 8 * self._near
        self.since = f"in other {limits.cycle}s" if self.phased else "in training"

    def put(self, name: str, counted: Distribution, at: float) -> None:
        """Make history the reference of a window whose rows lie around a time, in seconds."""
        alike = self._counts[name][self._alike(at)].sum(axis=0)
        if alike[0] < LEAST_ROWS:
            alike = self._counts[name][self._pieces].sum(axis=0)
        counted.put(THEN, alike)

    def largest(self, name: str, measure: Measure) -> Mapping[str, float]:
        """How far each check went at most, where every window was left out in turn, see BESIDE."""
        if name not in self._largest:
            counted, found = self._made[name], defaultdict[str, float](float)
            near = 0 if self.phased else len(self.windows) // BESIDE
            for place, own in enumerate(self.windows):
                beside = np.concatenate(self.windows[max(0, place - near) : place + near + 1])
                others = np.setdiff1d(self._alike(float(self._times[own].mean())), beside)
                for side, pieces in ((THEN, others), (NOW, own)):
                    counted.put(side, self._counts[name][pieces].sum(axis=0))
                if counted.rows.min() < LEAST_ROWS / 2:
                    continue  # not half of it was answered by a model that had not learnt from it
                if isinstance(counted, Categories) and counted.known is not None:
                    counted.unknown[NOW] = counted.table[NOW, counted.table[THEN] == 0].sum()
                for finding in measure(name, counted):
                    found[finding.check] = max(found[finding.check], finding.value)
                    found[DISTANCE] = max(found[DISTANCE], finding.distance)
                    if finding.p < self._settings.alpha / len(self.windows):
                        found[MOVED] = max(found[MOVED], finding.distance)
            # A share beyond all that was seen is at most how far a window lies apart.
            found["out of range"] = found[DISTANCE]
            self._largest[name] = found
        return self._largest[name]

    def margin(self, measure: Measure) -> float:
        """Times the largest difference is usual, so that `alpha` bounds all that it decides on.

        Two thirds of it are spent here. Of numbers from a normal law, another one goes c times as
        far as the largest of n with a chance of about (n + 1) ** -(c ** 1.25). Windows of one cycle
        may resemble each other.
        """
        every = (self.largest(name, measure)[MOVED] for name in self._made)
        moving = max(1, sum(MARGIN * most > LEAST_DISTANCE for most in every))
        rare = math.log(1.5 * moving / self._settings.alpha) / math.log(len(self.windows) + 1)
        return max(0.0 if self.phased else MARGIN, math.pow(rare, 0.8))

    def overdispersion(self, name: str, cell: int) -> float:
        """How many times as much as by chance rows of a cell differ between windows, at least."""
        windows = np.stack([self._counts[name][own].sum(axis=0) for own in self.windows])
        windows = windows[windows[:, 0] > 0]
        rows, hits = windows[:, 0], windows[:, 2 + cell]
        share = hits.sum() / rows.sum()
        found = np.mean(np.square(hits - rows * share) / (rows * share * (1 - share)))
        return max(1.0, float(found / (1 + 2 * np.sqrt(2 / len(rows)))))

    def _cut(self) -> list[Pieces]:
        """Windows of monitoring's size; where they are few, equal parts in their place."""
        length = self._settings.size
        if isinstance(length, int):
            number = np.arange(len(self._pieces)) // math.ceil(length / self._each)
        else:
            number = (self._times[self._pieces] // length.total_seconds()).astype(np.int64)
        cut = np.split(self._pieces, np.flatnonzero(np.diff(number)) + 1)
        cut = [own for own in cut if len(own) * self._each >= LEAST_ROWS]
        return cut if len(cut) >= LEAST_WINDOWS else self._parts(LEAST_WINDOWS)

    def _parts(self, most: int) -> list[Pieces]:
        """Equal parts of a hundred rows or more."""
        rows = len(self._pieces) * self._each
        parts = min(most, len(self._pieces), int(rows / LEAST_ROWS))
        return np.array_split(self._pieces, max(1, parts))

    def _alike(self, at: float) -> Pieces:
        """What a window is compared with: the pieces near its phase in other cycles, or all."""
        if not self.phased:
            return self._pieces
        away, half = self._times[self._pieces] - at, self._period / 2
        phase = np.abs((away + half) % self._period - half)
        return self._pieces[(phase <= self._near) & (np.abs(away) > half)]

    def _begin(self, name: str) -> int:
        """The first piece of what came to stay: all since lies beyond what was usual before."""
        table = getattr(self._made[name], "table", np.empty((2, 0)))  # times have none
        cells = slice(1, 2 + table.shape[1])
        parts, begin = self._parts(MOST_PARTS), 0
        windows = np.stack([self._counts[name][part, cells].sum(axis=0) for part in parts])
        for place in range(LEAST_WINDOWS + 1, len(parts) - LEAST_SINCE + 1):
            # The part in between may be a bit of both.
            before, after = windows[begin : place - 1], windows[place:]
            if len(before) >= LEAST_WINDOWS:
                every = before.sum(axis=0)
                usual = drift.psi(np.stack([every - before, before], axis=1)).max()
                now = drift.psi(np.stack([np.broadcast_to(every, after.shape), after], axis=1))
                if now.min() > max(self._settings.psi, FURTHER * usual):
                    begin = place
        return int(parts[begin][0])
