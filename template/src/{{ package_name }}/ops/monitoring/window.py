"""A window of the log: what came in, what was answered, and what turned out to be true."""

from collections import Counter
from dataclasses import dataclass, field

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..evaluation.metrics import Array
from .reference import Categories, Reference
from .tally import Categorised, Numbered, Tally, most, tally

MICROSECONDS = 1_000_000


@dataclass
class Truths:
    """Rows whose truth is known, with the champion's answers to them, in parts.

    Attributes:
        truth: shape (rows,): positions of the classes, -1 for a label that the contract does not
            know; or numbers.
        answers: what the model said, see `metrics`.
        delays: seconds from the answer to the truth.
        unknown: labels that the contract does not know, of all versions' rows.
        rows: whose truth is known, of all versions' rows.
    """

    truth: list[Array] = field(default_factory=list)
    answers: list[Array] = field(default_factory=list)
    delays: list[NDArray[np.float64]] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)
    rows: int = 0


class Window:
    """Counts of the rows from after `start` until `end`."""

    def __init__(self, reference: Reference, start: int, end: int, whole: bool = True) -> None:
        """Begin empty.

        Args:
            reference: in whose cells is counted.
            start: microseconds since 1970; the rows are later.
            end: no row is later than this.
            whole: whether it has ended.
        """
        self.reference = reference
        self.start, self.end, self.whole = start, end, whole
        self.rows = self.answered = self.refused = 0
        self.violations: Counter[str] = Counter()
        self.columns: dict[str, Tally] = {
            name: tally(seen) for name, seen in reference.columns.items()
        }
        self.answers = (
            Categorised(reference.answers)
            if isinstance(reference.answers, Categories)
            else Numbered(reference.answers)
        )
        self.probabilities = {name: Numbered(s) for name, s in reference.probabilities.items()}
        self.truths = Truths()

    def add(self, frame: pl.DataFrame) -> None:
        """Count rows of the log.

        Args:
            frame: as `log.predictions` has it; where the truth is known, `truth` is it, and `told`
                is when it came (microseconds since 1970).
        """
        reference = self.reference
        self.rows += len(frame)
        inputs = frame["inputs"].struct.unnest()
        arrays = reference.readable.arrays(inputs)
        for name, counts in self.columns.items():
            counts.add(arrays[name] if name in arrays else inputs[name].is_null().to_numpy())
        own = frame.filter(pl.col("version") == reference.version)
        self.answered += len(own)
        answers = self._answers(own)
        if reference.contract.classes:
            self.answers.add(own["prediction"].fill_null("").to_numpy().astype(object))
            for place, name in enumerate(reference.contract.classes):
                if name in self.probabilities:
                    self.probabilities[name].add(answers[:, place])
        else:
            self.answers.add(answers)
        if "truth" in frame.columns:
            self._learn(frame, own, answers)

    def refuse(self, rows: int, broken: list[tuple[str, int]]) -> None:
        """Count rows that the service refused, and the rules that they broke."""
        self.refused += rows
        for rule, times in broken:
            self.violations[rule] += times
        self.violations = most(self.violations)

    def _answers(self, own: pl.DataFrame) -> Array:
        """What the champion said, see `metrics`, as exactly as the model itself does."""
        if not self.reference.contract.classes:
            return own["prediction"].cast(pl.Float32).to_numpy()
        told = own["probabilities"].struct.unnest().cast(pl.Float32)
        return told.select(self.reference.contract.classes).to_numpy()

    def _learn(self, frame: pl.DataFrame, own: pl.DataFrame, answers: Array) -> None:
        """Note the truth where it is known."""
        contract, truths = self.reference.contract, self.truths
        told = frame["truth"].drop_nulls()
        truths.rows += len(told)
        known = own["truth"].is_not_null().to_numpy() & np.isfinite(
            answers.sum(axis=1) if answers.ndim == 2 else answers
        )
        truth = own["truth"].filter(pl.Series(known))
        if contract.classes:
            strange = told.filter(~told.is_in(list(contract.classes)))
            truths.unknown.update(strange.to_list())
            truths.unknown = most(truths.unknown)
            places = {name: place for place, name in enumerate(contract.classes)}
            truths.truth.append(
                np.array([places.get(label, -1) for label in truth.to_list()], dtype=np.int64)
            )
        else:
            truths.truth.append(truth.to_numpy().astype(np.float64))
        truths.answers.append(answers[known])
        late = (own["told"] - own["time"]).filter(pl.Series(known))
        truths.delays.append(late.to_numpy() / MICROSECONDS)
