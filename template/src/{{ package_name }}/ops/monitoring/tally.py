"""What is kept of a window: counts in the reference's cells, whatever the number of its rows."""

from collections import Counter

import numpy as np

from ..evaluation import profile
from ..evaluation.metrics import Array
from .reference import Categories, Numbers, Seen, Texts, Times
from .statistics import Counts

MOST_NAMES = 1_000
"""New values that are told apart; of more, the frequent ones."""


class Numbered:
    """A number's counts."""

    def __init__(self, seen: Numbers) -> None:
        """Begin at zero."""
        self.seen = seen
        self.counts: Counts = np.zeros(len(seen.counts), dtype=np.int64)
        self.missing = 0
        self._sum = 0.0

    def add(self, values: Array) -> None:
        """Count values, shape (rows,), missing as NaN."""
        known = values[np.isfinite(values)].astype(np.float64)
        cells = np.searchsorted(self.seen.edges, known, side="left") + 1
        cells[known < self.seen.lowest] = 0
        cells[known > self.seen.highest] = len(self.counts) - 1
        self.counts += np.bincount(cells, minlength=len(self.counts))
        self.missing += len(values) - len(known)
        self._sum += float(known.sum())

    @property
    def rows(self) -> int:
        """Rows whose value is there."""
        return int(self.counts.sum())

    @property
    def beyond(self) -> int:
        """Rows whose value lies beyond all that was ever seen."""
        return int(self.counts[0] + self.counts[-1])

    @property
    def mean(self) -> float:
        """The mean of the values that are there."""
        return self._sum / self.rows if self.rows else float("nan")


class Categorised:
    """A category's counts, or a boolean's."""

    def __init__(self, seen: Categories) -> None:
        """Begin at zero."""
        self.seen = seen
        self._place = {name: place for place, name in enumerate(seen.names)}
        self.counts: Counts = np.zeros(len(seen.counts), dtype=np.int64)
        self.missing = self.unknown = 0
        self.new: Counter[str] = Counter()

    def add(self, values: Array) -> None:
        """Count values, shape (rows,): strings, missing as the empty one; or booleans as numbers."""
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), "", np.where(values > 0, "true", "false"))
        for value, rows in Counter(values.tolist()).items():
            place = self._place.get(value)
            if place is not None:
                self.counts[place] += rows
            elif value == "":
                self.missing += rows
            else:
                self.counts[-1] += rows
                if self.seen.known is not None and value not in self.seen.known:
                    self.unknown += rows
                    self.new[value] += rows
        self.new = most(self.new)

    @property
    def rows(self) -> int:
        """Rows whose value is there."""
        return int(self.counts.sum())


class Worded:
    """A text's counts."""

    def __init__(self, seen: Texts) -> None:
        """Begin at zero."""
        self.seen = seen
        self._place = {word: place for place, word in enumerate(seen.tokens)}
        self.counts: Counts = np.zeros(len(seen.counts), dtype=np.int64)
        self.rows = self.missing = 0
        self.words = Numbered(seen.words)
        self.unfamiliar = None if seen.unfamiliar is None else Numbered(seen.unfamiliar)
        self.new: Counter[str] = Counter()

    def add(self, values: Array) -> None:
        """Count texts, shape (rows,), missing as the empty one."""
        split = profile.words(values)
        self.rows += len(split)
        self.missing += int((values == "").sum())
        self.words.add(profile.lengths(split))
        if self.unfamiliar is not None:
            self.unfamiliar.add(profile.unfamiliar(split, self._place))
        for word, rows in profile.rows_with(split).items():
            place = self._place.get(word)
            if place is not None:
                self.counts[place] += rows
            else:
                self.new[word] += rows
        self.new = most(self.new)


class Timed:
    """A time's counts."""

    def __init__(self, seen: Times) -> None:
        """Begin at zero."""
        self.seen = seen
        self.rows = self.missing = 0

    def add(self, values: Array) -> None:
        """Count times, shape (rows,): whether each is missing."""
        self.missing += int(values.sum())
        self.rows += int((~values).sum())


Tally = Numbered | Categorised | Worded | Timed


def tally(seen: Seen) -> Tally:
    """Empty counts for a column."""
    match seen:
        case Numbers():
            return Numbered(seen)
        case Categories():
            return Categorised(seen)
        case Texts():
            return Worded(seen)
        case Times():
            return Timed(seen)


def most(counted: Counter[str]) -> Counter[str]:
    """Forget the rarest names once there are too many."""
    return counted if len(counted) <= MOST_NAMES else Counter(dict(counted.most_common(MOST_NAMES)))
