"""A bundle in service: loaded, warmed, and ready to score rows of plain Python values."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, Self

import msgspec

from ..bundle import Bundle
from ..errors import UserError
from . import messages
from .requests import Reader, Record, Refusal, picker
from .settings import Strictness

WARM_ROWS = (1, 32)
"""How many rows are scored before the first request: the first runs of a model are slow."""

Records = Sequence[Record]


class Interval(msgspec.Struct, gc=False):
    """Where the ground truth of a regression lies."""

    low: float
    high: float
    coverage: float
    """How often it lies there."""


class Item(msgspec.Struct, gc=False):
    """What is recommended, and how much speaks for it."""

    item: str
    score: float


class Answer(msgspec.Struct, omit_defaults=True, gc=False):
    """What a caller gets for a row."""

    prediction_id: str
    model_version: str
    prediction: Any
    probabilities: dict[str, float] | None = None
    """Of each class, if there are classes."""
    items: list[Item] | None = None
    """Of a recommendation, the best first."""
    interval: Interval | None = None
    """Of a regression: where the ground truth lies as often as `coverage` says."""


class Said(NamedTuple):
    """What the model says of a row."""

    prediction: Any
    """A class, as the contract writes it; a number; or the best item."""
    probabilities: dict[str, float] | None = None
    items: list[Item] | None = None


@dataclass(frozen=True, eq=False)
class Model:
    """One version of the model, and how it reads rows."""

    version: str
    digest: str
    bundle: Bundle
    reader: Reader
    logged: tuple[str, ...]
    """Which inputs the log may keep: sensitive ones are left out."""
    keep: Callable[[tuple[Any, ...]], tuple[Any, ...]]
    """Picks their values out of a record."""
    example: dict[str, Any] | None
    """A row to try it with; None if none is known, as in a bundle of format 1."""

    @classmethod
    def load(cls, bundle: Bundle, strictness: Strictness | None = None) -> Self:
        """Load a bundle and score some rows with it.

        A UserError if it is broken, or its contract has a rule that no service can check.
        """
        origin = bundle.origin
        try:
            inputs = bundle.contract.inputs
            kept = [place for place, it in enumerate(inputs) if not it.sensitive]
            if any(it.sensitive for it in bundle.contract.columns):
                messages.SENSITIVE.set()
            reader = Reader(bundle.contract, strictness)
            model = cls(
                origin.version,
                bundle.digest,
                bundle,
                reader,
                tuple(inputs[place].name for place in kept),
                picker(kept),
                bundle.manifest.get("example"),
            )
            for rows in WARM_ROWS:
                model.score([(None,) * len(inputs)] * rows)
        except UserError:
            raise
        except Exception as error:  # a manifest of another kind, a model that does not run
            raise UserError(f"Version {origin.version} cannot be loaded: {error!r}.") from error
        return model

    def judge(self, requests: Sequence[Records]) -> list[list[Said] | Refusal]:
        """Score the rows of requests together, which costs least.

        A request is refused, and not scored, if one of its rows breaks a rule across columns.
        """
        refusals = self.reader.refusals(requests)
        taken = [rows for rows, its in zip(requests, refusals, strict=True) if its is None]
        said = iter(self.score([row for rows in taken for row in rows]) if taken else ())
        return [
            refusal or list(islice(said, len(rows)))
            for rows, refusal in zip(requests, refusals, strict=True)
        ]

    def score(self, records: Records) -> list[Said]:
        """Score rows, given as the values of the contract's inputs in their order."""
        said = self.bundle.predict(self.reader.arrays(records))
        if said.probabilities is None:
            return [Said(value) for value in said.values.tolist()]
        rows = zip(said.values.tolist(), said.probabilities.tolist(), strict=True)
        if said.values.ndim > 1:
            return [Said(items[0], None, [*map(Item, items, scores)]) for items, scores in rows]
        choices, classes = self.bundle.contract.target.choices or (), self.bundle.contract.classes
        return [
            Said(choices[place], dict(zip(classes, shares, strict=True))) for place, shares in rows
        ]

    def interval(self, prediction: float) -> Interval | None:
        """Where the ground truth lies as often as it says; None if that is not told."""
        told = self.bundle.manifest.get("interval")
        if told is None:
            return None
        width = told["half_width"]
        return Interval(prediction - width, prediction + width, told["coverage"])


def is_finite(said: Said) -> bool:
    """Whether the model gave a number at all."""
    if said.items:
        return math.isfinite(sum(its.score for its in said.items))
    chances = said.probabilities
    return math.isfinite(sum(chances.values()) if chances else said.prediction)
