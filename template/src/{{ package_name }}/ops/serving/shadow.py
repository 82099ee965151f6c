"""The shadow: a second model that is asked what the champion was asked, and answers nobody.

Its rows are scored when the caller has got the champion's answer, by a thread of their own, a few
at a time. What the thread does not keep up with is let go and counted. So a shadow that is slow,
or fails, takes nothing from a caller but its share of the processor.
"""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from queue import SimpleQueue
from threading import Lock, Thread
from typing import Any

import msgspec

from .locations import Location
from .log import Log, moment
from .metrics import Metrics
from .models import Answer, Item, Model, Said, is_finite
from .reloading import Follower
from .requests import Refusal
from .settings import Strictness

logger = logging.getLogger("service")

MOST_BYTES = 8 * 2**20
"""How long the requests that wait may be together, unless one alone is longer."""

PIECE = 32
"""Rows that are scored at once: between two pieces the callers have their turn."""

CLOSE_SECONDS = 5.0
"""How long the end waits for what still waits."""

NOTHING = Said(None)
"""What is said of a row that the shadow failed at."""


class Shadowed(msgspec.Struct, omit_defaults=True, gc=False):
    """What the log keeps of a row: the same id, and what the shadow says; nothing if it failed."""

    id: str
    time: str
    version: str
    prediction: Any
    probabilities: dict[str, float] | None
    items: list[Item] | None = None


@dataclass(eq=False)
class Shadow:
    """A model that follows a place as the champion does, and need not be there."""

    location: Location
    strictness: Strictness  # of how its requests are read; no field is refused for its name
    log: Log  # of what it says; whoever gives it closes it
    metrics: Metrics  # where it is told how it fares
    model: Model | None = field(default=None, init=False)  # what answers; None if there is none

    def __post_init__(self) -> None:
        """Prepare; `start` begins."""
        lenient = replace(self.strictness, unknown_fields="ignore")
        take = self._take
        self.look = Follower(self.location, lenient, take, what="shadow", optional=True).look
        self._encoder = msgspec.json.Encoder()
        self._waiting: SimpleQueue[tuple[bytes, Sequence[Answer]] | None] = SimpleQueue()
        self._bytes = 0
        self._counting = Lock()
        self._faulty = ""
        self._thread = Thread(target=self._run, name="shadow", daemon=True)

    def start(self) -> None:
        """Look for the model, and score what was answered from now on."""
        self.look()
        self._thread.start()

    def close(self) -> None:
        """End, when what waits is scored, or has had its time."""
        self._waiting.put(None)
        self._thread.join(CLOSE_SECONDS)

    def offer(self, champion: Model, body: bytes, answers: Sequence[Answer]) -> None:
        """Have a request scored, unless too much waits; this takes no time.

        Args:
            champion: the model that has answered it.
            body: its rows, as they came.
            answers: one for each of them.
        """
        model = self.model
        if model is None or model.digest == champion.digest:
            return
        with self._counting:
            if self._bytes and self._bytes + len(body) > MOST_BYTES:
                dropped = self.metrics.counters["service_shadow_dropped_rows"]
                dropped.labels(model.version).inc(len(answers))
                return
            self._bytes += len(body)
        self._waiting.put((body, answers))

    def _take(self, model: Model | None) -> None:
        self.metrics.shadows(model)
        if model is not None:
            logger.info("Version %s answers in the shadow.", model.version)
        self.model = model

    def _run(self) -> None:
        while request := self._waiting.get():
            body, answers = request
            model = self.model
            try:
                if model is not None:
                    self._score(model, body, answers)
            except Exception:  # the thread must never end
                logger.exception("The shadow failed.")
            with self._counting:
                self._bytes -= len(body)

    def _score(self, model: Model, body: bytes, answers: Sequence[Answer]) -> None:
        """Score the rows of a request that the model's own contract takes."""
        try:
            records: list[Any] = model.reader.read(body).records
        except Refusal as refusal:
            records = refusal.kept
        for start in range(0, len(records), PIECE):
            piece = slice(start, start + PIECE)
            said = self._ask(model, records[piece])
            now = moment()
            lines = [
                Shadowed(answer.prediction_id, now, model.version, *its)
                for answer, its in zip(answers[piece], said, strict=True)
            ]
            self.log.append(self._encoder.encode_lines(lines), len(lines))
            refused = records[piece].count(None)
            undefined = said.count(NOTHING) - refused
            pairs = zip(answers[piece], said, strict=True)
            agreeing = sum(agrees(answer, theirs.prediction) for answer, theirs in pairs)
            count = self.metrics.counters
            scored = len(lines) - refused - undefined
            count["service_shadow_rows"].labels(model.version).inc(scored)
            count["service_shadow_agreeing_rows"].labels(model.version).inc(agreeing)
            count["service_shadow_failed_rows"].labels(model.version, "refused").inc(refused)
            count["service_shadow_failed_rows"].labels(model.version, "undefined").inc(undefined)
            time.sleep(0)  # the callers' thread goes first

    def _ask(self, model: Model, records: Sequence[Any]) -> list[Said]:
        """What the model says of rows; nothing of those that its contract does not take."""
        taken = [record for record in records if record is not None]
        scored: list[Said] = [NOTHING] * len(taken)
        try:
            if taken:
                scored = [said if is_finite(said) else NOTHING for said in model.score(taken)]
        except Exception:  # whatever it is, it is the shadow's trouble, and said once
            if self._faulty != model.digest:
                logger.exception("Version %s fails in the shadow.", model.version)
            self._faulty = model.digest
        told = iter(scored)
        return [NOTHING if record is None else next(told) for record in records]


def agrees(answer: Answer, theirs: Any) -> bool:
    """Whether the shadow says what the champion did: its class or item, or in its interval."""
    if answer.probabilities or answer.items:
        return bool(answer.prediction == theirs)
    width = answer.interval
    return width is not None and isinstance(theirs, float) and width.low <= theirs <= width.high
