"""What a window is compared with: the profile and the scores in the champion's bundle.

Where rows have an event time, the reference is the history of all rows or, in bundles of earlier
releases, what was held out, the newest rows. Else it is the rows taken in last or, where these are
few, all that the model learnt from.

How the values of a column are distributed is counted in the same cells for the reference and for a
window. So a window of any number of rows takes the same memory, and the rows that it is compared
with are not needed.
"""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ..bundle import Bundle, Prediction, decided
from ..errors import UserError
from ..evaluation import distributions, metrics
from ..evaluation.distributions import Categories, Distribution, Numbers, distribution
from ..evaluation.metrics import Array, Score, Weights
from ..settings import Monitoring
from .history import History

HELD_OUT, TAKEN_IN = "on the holdout", "in the rows taken in last"
"""Where rows are from that others are compared with, in words; answers are on the holdout."""


class Known(NamedTuple):
    """A value on the holdout, and how far chance may have moved it."""

    value: float
    deviation: float


class Reference:
    """All that a window is compared with.

    Attributes:
        version: how the log names the champion.
        contract: the champion's.
        watched: the columns that the model learns from and the log keeps.
        group: the column whose rows resemble each other, if the log keeps it.
        logged: what the log is read for.
        independent: which share of those rows tells something of its own.
        rows: how many rows the columns are compared with.
        since: where these rows are from, in words.
        held_out: how many rows the answers are compared with.
        unknown: how many of these were of other labels than the model knows.
        files: of rows that it may have learnt from; `data` says which these were.
        told: the history of all rows; None in old bundles, and where they have no event time.
        score: what the model was chosen by; None if `ml/metrics.py` has it no more.
        lost: why not, in a sentence.
    """

    def __init__(self, bundle: Bundle, version: str, files: Sequence[Path] = ()) -> None:
        """Read a bundle's manifest."""
        self.version, self.contract = version, bundle.contract
        self.watched = tuple(column for column in self.contract.features if not column.sensitive)
        group = self.contract.with_role("group")
        self.group = None if group is None or group.sensitive else group
        self.logged = (*self.watched, *([self.group] if self.group else ()))
        self._manifest = bundle.manifest
        self._learnt = self._manifest["profile"]
        self.told = self._learnt.get("history")
        self._histories: dict[tuple[int | str, str, float], History] = {}
        self._seen = self._learnt.get("newest", self._learnt)
        self._said = self._seen.get("prediction", self._learnt["prediction"])
        self.rows: int = self._seen["rows"]
        groups = self._seen.get("groups", self.rows)
        self.independent = groups / self.rows if self.group else 1.0
        self.since = "in training"
        if "newest" in self._learnt:
            self.since = TAKEN_IN if "prediction" in self._seen else HELD_OUT
        self.held_out: int = self._said["rows"]
        self.unknown = int(self._said.get("new", 0))
        self.files, self.data = files, self._manifest.get("data", {})
        self.score, self.lost = None, ""
        try:
            self.score = metrics.of(self._manifest)
        except UserError as error:
            self.lost = f"The champion's score cannot be measured. {error}"

    @property
    def labels(self) -> tuple[str, ...]:
        """The classes that the model knows, or the items; none of a regression."""
        items = self._learnt["target"]["counts"] if self.contract.task == "recommendation" else ()
        return self.contract.classes or tuple(items)

    def columns(self) -> dict[str, Distribution]:
        """How each watched column was distributed, beside an empty window."""
        seen, learnt = self._seen["columns"], self._learnt["columns"]
        names = [column.name for column in self.watched]
        return {name: distribution(seen[name], self.rows, learnt[name]) for name in names}

    def history(self, limits: Monitoring) -> History | None:
        """What limits are learnt from; None where that is not told."""
        if not self.told:
            return None
        key = limits.window, limits.cycle, limits.psi
        if key not in self._histories:
            made = {**self.columns(), **self.answers()}
            self._histories[key] = History(self.told, made, limits)
        return self._histories[key]

    def answers(self) -> dict[str, Numbers | Categories]:
        """How the champion's answers on the holdout were, beside an empty window."""
        return distributions.answers(self._said, self.contract.classes)

    @cached_property
    def scores(self) -> tuple[Score, ...]:
        """That score, accuracy (it alone can count a new label), and cost where costs are told."""
        costs = decided(self._manifest.get("decision")).costs
        found = [self.score] if self.score else []
        found += [metrics.find("accuracy")] if self.contract.classes else []
        found += [metrics.cost(costs)] if costs else []
        return tuple({score.name: score for score in found}.values())

    def expected(self, score: Score) -> Known | None:
        """A score on the holdout, which may be too good by chance; None if it was undefined."""
        about = self._manifest.get("unweighted", self._manifest)  # the log knows no weights
        value = about["metrics"].get(score.name)
        low, high = about["intervals"].get(score.name, (None, None))
        if value is None or low is None or high is None:
            return None
        return Known(value, (high - value if score.loss else value - low) / 1.96)

    @cached_property
    def trust(self) -> Known | None:
        """How far the model's certainty was from the truth on the holdout, see `trusted`."""
        own = np.sqrt(self.independent)
        if self.contract.classes:
            told = self._manifest.get("calibration")
            return told and Known(told["gap"], told["deviation"] / own / np.sqrt(told["rows"]))
        if (interval := self._manifest.get("interval")) is None:
            return None
        share = interval["coverage"]
        return Known(share, float(np.sqrt(share * (1 - share) / self.held_out) / own))

    def trusted(self, truth: Array, said: Prediction, weights: Weights, units: Array) -> Known:
        """How far it is on other rows, see `pools.Pool`.

        For classes, how much more often the model is right than confident; for numbers, how often
        the truth lies within the interval.
        """
        if self.contract.classes:
            found = metrics.surety(truth, said)
        else:
            found = np.abs(truth - said.values) <= self._manifest["interval"]["half_width"]
        return Known(metrics.mean(found, weights), metrics.error(found, weights, units))

    def kinds(self, said: Prediction) -> Array:
        """Of which kind each answer is: its class, and the tenth that it is in on the holdout.

        Of a recommendation it is the best item, as far as that was recommended on the holdout.
        """
        if "items" in self._said:
            places = {item: place for place, item in enumerate(self._said["items"]["counts"])}
            return np.array([places.get(item, -1) for item in said.first], dtype=np.int64)
        told = [self._said["probabilities"][name] for name in self.contract.classes]
        answers = said.scored.reshape(len(said), len(told) or 1)
        kinds: Array = 100 * said.values if told else np.zeros(len(said), dtype=np.int64)
        for place, known in enumerate(told or [self._said["values"]]):
            own = kinds == 100 * place
            kinds[own] += np.searchsorted(known["edges"], answers[own, place]) // 2
        return kinds
