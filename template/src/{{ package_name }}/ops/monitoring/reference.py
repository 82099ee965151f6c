"""What a window is compared with: the profile in the champion's bundle, as cells to count in.

Where rows have an event time, the reference is what was held out, the newest rows, by which the
model was judged. Else it is what the model learnt from. What lies beyond both was never seen.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Bundle
from ..contract import Column, Contract
from ..evaluation import metrics
from ..evaluation.metrics import Score
from .statistics import Counts

ROUNDED = 1e-5
"""How far an extreme in a profile may be from the true one, as a share of it."""


@dataclass(frozen=True)
class Numbers:
    """Bins of a number, the first one below and the last one above all that was ever seen."""

    edges: NDArray[np.float64]
    """The upper bounds, inclusive, of the bins between."""
    counts: Counts
    """Shape (edges + 3,); the outer ones are zero."""
    missing: int
    mean: float
    lowest: float
    """The least number that was ever seen; minus infinity if that is not told."""
    highest: float

    @classmethod
    def read(cls, seen: Mapping[str, Any], learnt: Mapping[str, Any]) -> "Numbers":
        """Read what `profile.numbers` wrote of the reference, and of the training rows."""
        lowest = min(part.get("minimum", -np.inf) for part in (seen, learnt))
        highest = max(part.get("maximum", np.inf) for part in (seen, learnt))
        return cls(
            edges=np.array(seen["edges"], dtype=np.float64),
            counts=np.array([0, *(seen["counts"] or [0]), 0], dtype=np.int64),
            missing=seen["missing"],
            mean=seen.get("mean", np.nan),
            lowest=lowest - abs(lowest) * ROUNDED,
            highest=highest + abs(highest) * ROUNDED,
        )


@dataclass(frozen=True)
class Categories:
    """Values that are counted one by one; all others are the last cell."""

    names: tuple[str, ...]
    counts: Counts
    missing: int
    known: frozenset[str] | None
    """Every value that was ever seen; None if there were too many to be named."""

    @classmethod
    def read(cls, seen: Mapping[str, Any], learnt: Mapping[str, Any]) -> "Categories":
        """Read what `profile.categories` wrote, or the counts of a boolean."""
        counts = [*seen["counts"].values(), seen.get("other", 0)]
        every = not seen.get("other") and not learnt.get("other")
        return cls(
            names=tuple(seen["counts"]),
            counts=np.array(counts, dtype=np.int64),
            missing=seen["missing"],
            known=frozenset([*seen["counts"], *learnt["counts"]]) if every else None,
        )


@dataclass(frozen=True)
class Texts:
    """Words of a text."""

    tokens: tuple[str, ...]
    counts: Counts
    """In how many of `rows` texts each word is."""
    rows: int
    words: Numbers
    """How many words a text has."""
    unfamiliar: Numbers | None
    """Which share of a text's different words is not among `tokens`; None in old bundles."""
    missing: int

    @classmethod
    def read(cls, seen: Mapping[str, Any], learnt: Mapping[str, Any]) -> "Texts":
        """Read what `profile.texts` wrote."""
        tokens = seen.get("tokens", {})
        unfamiliar = seen.get("unfamiliar")
        return cls(
            tokens=tuple(tokens),
            counts=np.array(list(tokens.values()), dtype=np.int64),
            rows=seen.get("rows", 0),
            words=Numbers.read(seen["words"], learnt["words"]),
            unfamiliar=None if unfamiliar is None else _alone(unfamiliar),
            missing=seen["missing"],
        )


@dataclass(frozen=True)
class Times:
    """A time moves on: only whether it is missing is compared."""

    missing: int


Seen = Numbers | Categories | Texts | Times


@dataclass(frozen=True)
class Known:
    """A value on the holdout, and how far chance may have moved it."""

    value: float
    deviation: float


class Reference:
    """All that a window is compared with."""

    def __init__(self, bundle: Bundle, version: str) -> None:
        """Read a bundle's manifest; `version` is how the log names this bundle."""
        self.version = version
        self.contract = bundle.contract
        self._manifest = bundle.manifest
        profile = self._manifest["profile"]
        newest = profile.get("newest", profile)
        self.rows: int = newest["rows"]
        self.held_out: int = profile["prediction"]["rows"]
        self.since = "on the holdout" if "newest" in profile else "in training"
        self.columns: dict[str, Seen] = {
            column.name: _seen(newest["columns"][column.name], profile["columns"][column.name])
            for column in self.watched
        }
        answers = profile["prediction"]
        self.answers: Categories | Numbers = (
            _classes(answers["classes"]) if self.contract.classes else _alone(answers["values"])
        )
        self.probabilities: dict[str, Numbers] = {
            name: _alone(answers["probabilities"][name])
            for name in self.contract.classes[1 if len(self.contract.classes) == 2 else 0 :]
        }

    @cached_property
    def watched(self) -> tuple[Column, ...]:
        """The columns that the model learns from and the log keeps."""
        return tuple(column for column in self.contract.features if not column.sensitive)

    @cached_property
    def readable(self) -> Contract:
        """A contract of the columns whose values are counted."""
        return Contract(tuple(column for column in self.watched if column.kind != "time"))

    @cached_property
    def score(self) -> Score:
        """The score that the model was chosen by."""
        return metrics.find(self._manifest["score"])

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """That score, and accuracy where there are classes: it alone can count a new label."""
        if not self.contract.classes or self.score.name == "accuracy":
            return (self.score,)
        return self.score, metrics.find("accuracy")

    def expected(self, score: Score) -> Known | None:
        """A score on the holdout, which may be too good by chance; None if it was undefined."""
        value = self._manifest["metrics"].get(score.name)
        low, high = self._manifest["intervals"].get(score.name, (None, None))
        if value is None or low is None or high is None:
            return None
        return Known(value, (high - value if score.loss else value - low) / 1.96)

    @cached_property
    def trust(self) -> Known | None:
        """How far the model's certainty was from the truth on the holdout.

        For classes, how much more often it is right than confident; for numbers, how often the
        truth lies within the interval.
        """
        if self.contract.classes:
            told = self._manifest.get("calibration")
            return told and Known(told["gap"], told["deviation"] / np.sqrt(told["rows"]))
        interval = self._manifest.get("interval")
        if interval is None:
            return None
        share, rows = interval["coverage"], self.held_out
        return Known(share, np.sqrt(share * (1 - share) / rows))

    @cached_property
    def half_width(self) -> float:
        """Of a prediction's interval; NaN if there is none."""
        interval = self._manifest.get("interval")
        return float(interval["half_width"]) if interval else np.nan


def _alone(seen: Mapping[str, Any]) -> Numbers:
    """Numbers that were seen in one place alone."""
    return Numbers.read(seen, seen)


def _seen(seen: Mapping[str, Any], learnt: Mapping[str, Any]) -> Seen:
    match seen["kind"]:
        case "category" | "boolean":
            return Categories.read(seen, learnt)
        case "text":
            return Texts.read(seen, learnt)
        case "time":
            return Times(seen["missing"])
    return Numbers.read(seen, learnt)


def _classes(counts: Mapping[str, int]) -> Categories:
    return Categories.read({"counts": counts, "missing": 0}, {"counts": {}})
