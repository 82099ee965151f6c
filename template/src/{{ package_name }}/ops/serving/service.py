"""The service behind its routes: the model that answers, the logs, and the look for a new model."""

import asyncio
import contextlib
import logging
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from ..errors import UserError
from . import feedback
from .access import LONG_BYTES, Keys
from .batching import Batcher
from .hosts import opened
from .locations import Broken, Unavailable, locate
from .log import Log, moment
from .metrics import Metrics
from .models import Answer, Model, Said, is_finite
from .reloading import Follower
from .requests import Refusal, Rows, Violation
from .settings import Settings, warn
from .shadow import Shadow, Shadowed

logger = logging.getLogger("service")

MONITORED = Path("monitoring", "metrics.prom")
"""Where, beside the logs, whoever watches the model leaves what Prometheus is to know."""


class Predicted(Shadowed, kw_only=True, omit_defaults=True, gc=False):
    """What the log keeps of a row that was answered: its inputs as well."""

    inputs: dict[str, Any]


class Refused(msgspec.Struct):
    """What rows of a request were refused for; of their values the log keeps nothing."""

    time: str
    version: str
    rows: int
    violations: list[tuple[str | None, str, int]]
    """A column, or none where the rule is about several; the rule; and how many rows break it."""


Scored = tuple[Rows, list[Answer], bool]
"""Rows, an answer to each, and whether they came in an envelope."""


class Service:
    """One worker's state, from its first model to its last line in the log."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; `running` does what takes time."""
        self.settings = settings
        self._told: dict[str, Any] = {}
        self._entries = settings.keys()
        self.keys = Keys(self._entries)
        self.batcher = Batcher(settings.request_seconds)
        self.model: Model | None = None
        self.ending = False
        self.encoder = msgspec.json.Encoder()
        self._stopped = threading.Event()
        folder = Path(settings.predictions)
        self.metrics = Metrics(folder / MONITORED)
        kinds = ("predictions", "feedback", "refusals", "shadow")
        self.logs = {kind: Log(folder / kind, settings.flush_seconds) for kind in kinds}
        self._follower = Follower(locate(settings.bundle), settings, self._take)
        self.shadow: Shadow | None = None
        if settings.shadow:
            location = locate(settings.shadow, "SHADOW")
            log = self.logs["shadow"]
            self.shadow = Shadow(location, settings, log, self.metrics)

    def start(self) -> None:
        """Load the first model; a registry that cannot be asked yet is waited for.

        A UserError if there is nothing that can be served here.
        """
        try:
            self._follower.update()
        except Unavailable as error:
            if isinstance(error, Broken) or "://" not in self.settings.bundle:
                raise UserError(str(error)) from None

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Load the model and look for new ones, until all is answered and logged."""
        await asyncio.to_thread(self._look)
        self._repeat(self._tend)
        if self.shadow:
            await asyncio.to_thread(self.shadow.start)
            self._repeat(self.shadow.look)
        try:
            yield
        finally:
            self._stopped.set()
            if self.shadow:
                self.shadow.close()
            await asyncio.gather(*(asyncio.to_thread(log.close) for log in self.logs.values()))

    def _repeat(self, work: Callable[[], None]) -> None:
        """Do something from time to time; a silent registry may hold it up, and no end with it."""

        def watch() -> None:
            while not self._stopped.wait(self.settings.poll_seconds):
                work()

        threading.Thread(target=watch, name="watch", daemon=True).start()

    def _tend(self) -> None:
        self._look()
        self._rotate()
        self.metrics.logged(self.logs.values())

    def _rotate(self) -> None:
        """Take other keys, if they are others now; those before hold while there is trouble."""
        try:
            entries = self.settings.keys()
            if entries != self._entries:
                self.keys, self._entries = Keys(entries), entries
                logger.info("Other keys hold from now on.")
        except UserError as error:
            warn(f"The keys stay as they are. {error}")

    def _look(self) -> None:
        self._follower.look()
        self.metrics.counters["service_reload_failures"].inc(self._follower.failing)
        self.metrics.gauges["service_reload_failing"].set(self._follower.failing)

    def _take(self, model: Model | None) -> None:
        """Let a model answer from now on."""
        if model is not None:
            self.metrics.serves(model)
            self.model = model
            logger.info("Version %s answers.", model.version)

    async def predict(self, model: Model, body: bytes) -> Scored:
        """Score the rows of a request.

        Raises:
            HTTPException, Refusal: as `opened` and `Reader.read` do; Refusal too if the model has
                no finite answer for a row. What rows were refused for is logged.
            Overloaded: as `Batcher.alone` does.
        """
        try:
            if len(body) > LONG_BYTES:
                return await self.batcher.alone(partial(self._alone, model, body))
            body, wrapped = opened(body, model.reader.known)
            rows = model.reader.decode(body)
            said = await self.batcher.score(model, rows.records)
            return rows, self._answer(model, body, rows, said), wrapped
        except Refusal as refusal:
            violations = [(*broken, rows) for broken, rows in refusal.counts.items()]
            line = Refused(moment(), model.version, refusal.rows, violations)
            self.logs["refusals"].append(self.encoder.encode_lines([line]), refusal.rows)
            raise

    def _alone(self, model: Model, body: bytes) -> Scored:
        """Do the same for a request alone."""
        body, wrapped = opened(body, model.reader.known)
        rows = model.reader.read(body)
        return rows, self._answer(model, body, rows, model.score(rows.records)), wrapped

    def _answer(
        self, model: Model, body: bytes, rows: Rows, scores: Sequence[Said]
    ) -> list[Answer]:
        """Log and count what the model said of rows, and let the shadow have them too."""
        lost = [row for row, said in enumerate(scores) if not is_finite(said)]
        if lost:
            sentence = "The model has no finite answer for this row."
            raise Refusal([Violation(row, None, "finite", None, sentence) for row in lost])
        now = moment()
        answers, lines = [], []
        ids = feedback.new_ids(len(scores))
        for number, record, said in zip(ids, rows.records, scores, strict=True):
            answers.append(Answer(number, model.version, *said, model.interval(said.prediction)))
            inputs = dict(zip(model.logged, model.keep(record), strict=True))
            lines.append(Predicted(number, now, model.version, *said, inputs=inputs))
        self.logs["predictions"].append(self.encoder.encode_lines(lines), len(lines))
        self.metrics.read(rows)
        self.metrics.answered(model, [said.prediction for said in scores])
        if self.shadow:
            self.shadow.offer(model, body, answers)
        return answers

    async def learn(self, model: Model, body: bytes) -> int:
        """Log the truth for predictions, see `feedback.read`; gives how many."""
        target = model.bundle.contract.target
        read = partial(feedback.read, body, target, self.settings.max_rows)
        lines = await asyncio.to_thread(read) if len(body) > LONG_BYTES else read()
        self.logs["feedback"].append(self.encoder.encode_lines(lines), len(lines))
        self.metrics.counters["service_feedback"].inc(len(lines))
        for kind, number in Counter(feedback.kind(its, self._told) for its in lines).items():
            self.metrics.counters["service_feedback_kinds"].labels(kind).inc(number)
        unknown = sum(feedback.is_unknown(target, line.truth) for line in lines)
        self.metrics.counters["service_feedback_unknown"].inc(unknown)
        return len(lines)
