"""How the values of a column are distributed: counted in the same cells, then and now.

So rows of any number take the same memory, and those that others are compared with are not needed.
A history is how they were distributed piece of time by piece, for `monitoring.history`.
"""

import base64
import bz2
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Prediction
from ..contract import Contract
from . import profile
from .metrics import Array

THEN, NOW = 0, 1
"""The reference, and the window."""

ROUNDED = 1e-5
"""How far an extreme in a profile may be from the true one, as a share of it."""

MOST_NAMES = 1_000
"""New values that are told apart; of more, the frequent ones."""

MOST_DRAWN = 1_000
"""Values of a number that are kept."""

CELLS, FEWEST, MOST = 150_000, 32, 720
"""Counts of a history, about, and its pieces of time."""

Counts = NDArray[np.int64]

Seen = Mapping[str, Any]
"""What `profile` wrote of a column."""


class Distribution:
    """How many rows have a value: of a time, which moves on, nothing else is compared.

    Attributes:
        rows: of the reference and of the window, shape (2,).
        missing: those without a value, shape (2,).
        parts: all that is counted, in place, each of the reference and of the window.
    """

    def __init__(self, seen: Seen, rows: int) -> None:
        """Begin with an empty window, and a reference whose `rows` have a profile."""
        self.rows, self.missing = np.array([rows, 0]), np.array([seen["missing"], 0])
        self.parts: list[NDArray[Any]] = [self.rows, self.missing]

    def put(self, side: int, counts: NDArray[Any]) -> None:
        """Take other rows for those of the reference or of the window: all parts in a row."""
        ends = np.cumsum([part[side].size for part in self.parts])
        for part, values in zip(self.parts, np.split(counts, ends), strict=False):
            part[side] = values if part.ndim > 1 else values[0]

    def add(self, values: Array) -> None:
        """Count rows of the window, shape (rows,): whether each is missing."""
        self.rows[NOW] += len(values)
        self.missing[NOW] += np.count_nonzero(values)


class Numbers(Distribution):
    """A number's bins, the first one below and the last one above all that was ever seen.

    Attributes:
        edges: the upper bounds, inclusive, of the bins between.
        lowest: the least number that was ever seen; minus infinity if that is not told.
        highest: the greatest one.
        table: rows by bin, shape (2, edges + 3).
        sums: of the values, shape (2,).
        some: values of the window, drawn by chance where there are many.
    """

    def __init__(self, seen: Seen, rows: int, learnt: Seen | None = None) -> None:
        """Begin with an empty window; what was `learnt` besides was seen too."""
        super().__init__(seen, rows)
        both = (seen, learnt or seen)
        lowest = min(part.get("minimum", -np.inf) for part in both)
        highest = max(part.get("maximum", np.inf) for part in both)
        self.edges = np.array(seen["edges"], dtype=np.float64)
        self.lowest = lowest - abs(lowest) * ROUNDED
        self.highest = highest + abs(highest) * ROUNDED
        self.table = _table([0, *(seen["counts"] or [0]), 0])
        self.sums = np.array([seen.get("mean", 0.0) * self.table.sum(), 0.0])
        self.parts += [self.table, self.sums]
        self.some, self._drawn, self._chance = np.empty(0), 1.0, np.random.default_rng(0)

    def add(self, values: Array) -> None:
        """Count values of the window, shape (rows,), missing as NaN."""
        known = values[np.isfinite(values)].astype(np.float64)
        super().add(~np.isfinite(values))
        cells = np.searchsorted(self.edges, known, side="left") + 1
        cells[known < self.lowest] = 0
        cells[known > self.highest] = len(self.edges) + 2
        self.table[NOW] += np.bincount(cells, minlength=len(self.edges) + 3)
        self.sums[NOW] += known.sum()
        drawn = known[self._chance.random(len(known)) < self._drawn]
        self.some = np.concatenate([self.some, drawn])
        while len(self.some) > MOST_DRAWN:
            self.some, self._drawn = self._chance.permutation(self.some)[::2], self._drawn / 2

    @property
    def means(self) -> NDArray[np.float64]:
        """Of the values that are there, shape (2,)."""
        with np.errstate(invalid="ignore"):
            return np.asarray(self.sums / self.table.sum(axis=1))

    @property
    def beyond(self) -> Counts:
        """Rows whose value lies beyond all that was ever seen, shape (2,)."""
        return self.table[:, 0] + self.table[:, -1]


class Categories(Distribution):
    """The values of a category, or of a boolean, one by one; all others are the last cell.

    Attributes:
        names: the values that are counted one by one.
        known: every value that was ever seen; None if there were too many to be named.
        table: rows by value, shape (2, names + 1).
        unknown: rows whose value was never seen, shape (2,).
        new: those values, the most frequent ones.
    """

    def __init__(self, seen: Seen, rows: int, learnt: Seen | None = None) -> None:
        """Begin with an empty window; what was `learnt` besides was seen too."""
        super().__init__(seen, rows)
        both = (seen, learnt or seen)
        every = not any(part.get("other") for part in both)
        self.names = tuple(seen["counts"])
        self.known = {name for part in both for name in part["counts"]} if every else None
        self.table = _table([*seen["counts"].values(), seen.get("other", 0)])
        self.parts += [self.table]
        self.unknown = np.array([0, 0])
        self.new: Counter[str] = Counter()

    def add(self, values: Array) -> None:
        """Count the window's, shape (rows,): strings, missing as the empty one; or booleans."""
        if values.dtype.kind == "f":
            values = np.where(np.isnan(values), "", np.where(values > 0, "true", "false"))
        super().add(values == "")
        counted = Counter(values.tolist())
        del counted[""]
        named = [counted.pop(name, 0) for name in self.names]
        self.table[NOW] += [*named, counted.total()]
        if self.known is not None:
            new = Counter({name: rows for name, rows in counted.items() if name not in self.known})
            self.unknown[NOW] += new.total()
            self.new = frequent(self.new + new)


class Texts(Distribution):
    """The words of a text, or the items of an array.

    Attributes:
        unit: what these are called.
        whole: what they are in.
        words: those that are counted.
        table: in how many texts each of them is, shape (2, words).
        texts: those that were looked through for them, shape (2,).
        lengths: how many words a text has.
        unfamiliar: which share of a text's different words is not among `words`; None in old
            bundles.
        new: words that are not among `words`, the most frequent ones.
    """

    def __init__(self, seen: Seen, rows: int, learnt: Seen | None = None) -> None:
        """Begin with an empty window; what was `learnt` besides was seen too."""
        super().__init__(seen, rows)
        self.unit, self.whole = ("words", "text") if seen["kind"] == "text" else ("items", "list")
        tokens, texts = seen.get("tokens", {}), seen.get("rows", 0)
        self.words, self.table = tuple(tokens), _table([*tokens.values()])
        self.texts = np.array([texts, 0])
        self.lengths = Numbers(seen["words"], rows, learnt and learnt["words"])
        self.unfamiliar = Numbers(seen["unfamiliar"], texts) if "unfamiliar" in seen else None
        self.parts += [self.table, self.texts, *self.lengths.parts]
        self.parts += self.unfamiliar.parts if self.unfamiliar else []
        self.new: Counter[str] = Counter()

    def add(self, values: Array) -> None:
        """Count texts of the window, shape (rows,), missing as the empty one."""
        super().add(profile.blank(values))
        split = profile.words(values)
        self.texts[NOW] += len(values)
        self.lengths.add(profile.lengths(split))
        if self.unfamiliar is not None:
            self.unfamiliar.add(profile.unfamiliar(split, self.words))
        counted = profile.rows_with(split)
        self.table[NOW] += np.array([counted.pop(word, 0) for word in self.words], dtype=np.int64)
        self.new = frequent(self.new + counted)


class Vectors(Distribution):
    """Arrays of numbers, by what sums each of them up.

    Attributes:
        summaries: the norm, the mean, and the share of items that is known.
    """

    def __init__(self, seen: Seen, rows: int, learnt: Seen | None = None) -> None:
        """Begin with an empty window; what was `learnt` besides was seen too."""
        super().__init__(seen, rows)
        self.summaries = {
            name: Numbers(seen[name], rows, learnt and learnt[name]) for name in profile.SUMMARIES
        }
        self.parts += [part for numbers in self.summaries.values() for part in numbers.parts]

    def add(self, values: Array) -> None:
        """Count arrays of the window, shape (rows, items), missing items as NaN."""
        summed = profile.summaries(values)
        super().add(np.isnan(summed["norm"]))
        for name, numbers in self.summaries.items():
            numbers.add(summed[name])


def distribution(seen: Seen, rows: int, learnt: Seen | None = None) -> Distribution:
    """Begin with an empty window of a column.

    Args:
        seen: its profile in the rows that others are compared with.
        rows: how many these are.
        learnt: its profile in all training rows, if these are others.
    """
    match seen["kind"]:
        case "category" | "boolean":
            return Categories(seen, rows, learnt)
        case "text" | "array" if "words" in seen:
            return Texts(seen, rows, learnt)
        case "array":
            return Vectors(seen, rows, learnt)
        case "time":
            return Distribution(seen, rows)
    return Numbers(seen, rows, learnt)


def answers(said: Seen, classes: tuple[str, ...]) -> dict[str, Numbers | Categories]:
    """How a model's answers were in rows that it had not learnt from, beside an empty window.

    All predictions come first, and then the probabilities of each class; where there are two, the
    first one's say nothing more. Of items the best of each row is the prediction.
    """
    rows = said["rows"]
    if "items" in said:
        return {"The predictions": Categories(said["items"], rows)}
    if not classes:
        return {"The predictions": Numbers(said["values"], rows)}
    counts = {"counts": said["classes"], "missing": 0}
    by_class = {
        f"The probabilities of {name}": Numbers(said["probabilities"][name], rows)
        for name in classes[1 if len(classes) == 2 else 0 :]
    }
    return {"The predictions": Categories(counts, rows), **by_class}


def add_answers(counted: Mapping[str, Numbers | Categories], labels: Array, said: Array) -> None:
    """Count answers of the window: what a model `said`, see `metrics`; and by name, as `labels`."""
    predictions, *by_class = counted.values()
    predictions.add(labels if isinstance(predictions, Categories) else said)
    for answers, chances in zip(reversed(by_class), said.T[::-1], strict=False):
        answers.add(chances)


def history(
    contract: Contract, seen: Seen, rows: Mapping[str, Array], said: Prediction
) -> dict[str, Any]:
    """How `rows`, and what models `said` of those that they had not learnt from, were distributed.

    Piece of time by piece, as JSON-able data. Both are those of the profile that was `seen`; where
    nothing was said, there is NaN.
    """
    times = next(rows[column.name] for column in contract.features if column.role == "event_time")
    order = np.argsort(times, kind="stable")[: np.count_nonzero(~np.isnat(times))]
    names = [column.name for column in contract.features if not column.sensitive]
    columns = {name: distribution(seen["columns"][name], 0) for name in names}
    answered = answers(seen["prediction"], contract.classes)
    every: dict[str, Distribution] = {**columns, **answered}
    cells = sum(part[NOW].size for counted in every.values() for part in counted.parts)
    pieces = np.array_split(order, min(len(order), max(FEWEST, min(MOST, CELLS // cells))))
    made: dict[str, list[Array]] = {name: [] for name in every}
    for piece in pieces:
        for name, counted in columns.items():
            values = rows[name][piece]
            counted.add(np.isnat(values) if values.dtype.kind == "M" else values)
        known = said[piece]
        known = known[known.finite]
        add_answers(answered, contract.named(known.first), known.scored)
        for name, counted in every.items():
            made[name].append(np.concatenate([part[NOW:].ravel() for part in counted.parts]))
            counted.put(NOW, np.zeros_like(made[name][-1]))
    packed = {
        name: base64.b85encode(bz2.compress(np.array(counts, "<f4").T.tobytes())).decode()
        for name, counts in made.items()
    }
    middles = [int(times[piece].astype(np.int64).mean() / 1e6) for piece in pieces]
    return {"rows": len(order), "columns": names, "times": middles, "counts": packed}


def unpacked(told: str, pieces: int) -> NDArray[np.float64]:
    """The counts of a history, shape (pieces, counts)."""
    counts = np.frombuffer(bz2.decompress(base64.b85decode(told)), "<f4")
    return counts.reshape(-1, pieces).T.astype(np.float64)


def frequent(counted: Counter[str]) -> Counter[str]:
    """Forget the rarest names once there are too many."""
    return Counter(dict(profile.frequent(counted, MOST_NAMES)))


def _table(then: list[int]) -> Counts:
    return np.array([then, [0] * len(then)], dtype=np.int64)
