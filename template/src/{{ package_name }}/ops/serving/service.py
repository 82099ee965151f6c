"""The service behind its routes: the model that answers, the logs, and the look for a new model."""

import contextlib
import logging
import os
import tempfile
import threading
from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

import msgspec

from . import source, truth
from .batching import Batcher
from .following import Follower
from .guard import Keys, Turned
from .metrics import Metrics
from .models import Model, finite
from .predictions import PredictionLog, moment
from .rows import Refusal, Violation
from .settings import Settings
from .shadow import Answered, Shadow

logger = logging.getLogger("service")

ID_BYTES = 12
"""How long the id of a prediction is; it is written with twice as many digits."""

MONITORED = Path("monitoring", "metrics.prom")
"""Where, beside the logs, whoever watches the model leaves what Prometheus is to know."""

ID_PATTERN = f"^[0-9a-f]{{{2 * ID_BYTES}}}$"


class Answer(msgspec.Struct, omit_defaults=True, gc=False):
    """What a caller gets for a row."""

    prediction_id: str
    model_version: str
    prediction: Any
    probabilities: dict[str, float] | None = None
    interval: Any = None


class Told(msgspec.Struct):
    """What a caller tells of a prediction."""

    prediction_id: Annotated[str, msgspec.Meta(pattern=ID_PATTERN)]
    truth: str | int | float | bool | None


TOLD = msgspec.json.Decoder(Told | list[Told])


class Record(msgspec.Struct, gc=False):
    """What the log keeps of a row."""

    id: str
    time: str
    version: str
    inputs: dict[str, Any]
    prediction: Any
    probabilities: dict[str, float] | None


class Truth(msgspec.Struct):
    """What became of a row, in the log of feedback."""

    id: str
    time: str
    truth: Any


class Refused(msgspec.Struct):
    """What rows of a request were refused for; of their values the log keeps nothing."""

    time: str
    version: str
    rows: int
    violations: list[tuple[str | None, str, int]]
    """A column, or none where the rule is about several; the rule; and how many rows break it."""


class Service:
    """One worker's state, from its first model to its last line in the log."""

    def __init__(self, settings: Settings) -> None:
        """Prepare; `running` does what takes time."""
        self.settings = settings
        self.keys = Keys(settings.keys())
        self.batcher = Batcher()
        self.model: Model | None = None
        self.shadow: Shadow | None = None
        self._stopped = threading.Event()
        self.encoder = msgspec.json.Encoder()
        folder = Path(settings.predictions)
        self.metrics = Metrics(folder / MONITORED)
        self.predictions = PredictionLog(folder / "predictions", settings.flush_seconds)
        self.feedback = PredictionLog(folder / "feedback", settings.flush_seconds)
        self.refusals = PredictionLog(folder / "refusals", settings.flush_seconds)
        self.shadowed = PredictionLog(folder / "shadow", settings.flush_seconds)
        self.logs = self.predictions, self.feedback, self.refusals, self.shadowed

    @contextlib.asynccontextmanager
    async def running(self) -> Any:
        """Load the model and look for new ones, until all is answered and logged."""
        with tempfile.TemporaryDirectory(prefix="bundle-", ignore_cleanup_errors=True) as cache:
            settings = self.settings
            watched = source.open(settings.bundle, Path(cache))
            follower = Follower(watched, settings.max_rows, self._take)
            self._look(follower)
            # A registry that says nothing may hold a look up for long; no end waits for that.
            threading.Thread(
                target=self._watch, args=(follower,), name="watch", daemon=True
            ).start()
            if settings.shadow:
                watched = source.open(settings.shadow, Path(cache), "SHADOW")
                metrics = self.metrics.shadow
                self.shadow = Shadow(watched, settings.max_rows, self.shadowed, metrics)
                self.shadow.start(settings.poll_seconds)
            try:
                yield
            finally:
                self._stopped.set()
                if self.shadow:
                    self.shadow.close()
                for log in self.logs:
                    log.close()

    def _watch(self, follower: Follower) -> None:
        while not self._stopped.wait(self.settings.poll_seconds):
            self._look(follower)
            self.metrics.logged(self.logs)

    def _look(self, follower: Follower) -> None:
        follower.look()
        self.metrics.reload_failures.inc(follower.failing)
        self.metrics.reload_failing.set(follower.failing)

    def _take(self, model: Model | None) -> None:
        """Let a model answer from now on."""
        if model is not None:
            self.metrics.serves(model)
            self.model = model
            logger.info("Version %s answers.", model.version)

    async def predict(self, model: Model, body: bytes) -> tuple[bool, list[Answer]]:
        """Score the rows of a request; says too whether they came as an array.

        Raises:
            Malformed, TooMany, Refusal: as `Reader.read` does; Refusal too if the model has no
                finite answer for a row. What rows were refused for is logged.
        """
        try:
            return await self._predict(model, body)
        except Refusal as refusal:
            violations = [(*broken, rows) for broken, rows in refusal.counts.items()]
            line = Refused(moment(), model.version, refusal.rows, violations)
            self.refusals.append(self.encoder.encode_lines([line]), refusal.rows)
            raise

    async def _predict(self, model: Model, body: bytes) -> tuple[bool, list[Answer]]:
        many, records = model.reader.read(body)
        scores = await self.batcher.score(model, records)
        lost = [row for row, known in enumerate(finite(scores)) if not known]
        if lost:
            sentence = "The model has no finite answer for this row."
            raise Refusal([Violation(row, None, "finite", None, sentence) for row in lost])
        now = moment()
        classes = model.bundle.contract.classes
        numbers = os.urandom(ID_BYTES * len(records)).hex()
        answers, lines = [], []
        for row, (record, prediction) in enumerate(zip(records, scores.predictions, strict=True)):
            number = numbers[2 * ID_BYTES * row : 2 * ID_BYTES * (row + 1)]
            if scores.probabilities is None:
                probabilities = None
                interval = model.interval(prediction)
            else:
                probabilities = dict(zip(classes, scores.probabilities[row], strict=True))
                interval = None
            answers.append(Answer(number, model.version, prediction, probabilities, interval))
            inputs = dict(zip(model.logged, model.keep(record), strict=True))
            lines.append(Record(number, now, model.version, inputs, prediction, probabilities))
        self.predictions.append(self.encoder.encode_lines(lines), len(lines))
        self.metrics.answered(model, scores.predictions)
        return many, answers

    def sent(self, model: Model, body: bytes, answers: Sequence[Answer]) -> None:
        """Let the shadow have what was answered, now that the caller has it."""
        if self.shadow:
            ids = [answer.prediction_id for answer in answers]
            predictions = [answer.prediction for answer in answers]
            self.shadow.offer(Answered(model, body, ids, predictions))

    def learn(self, model: Model, body: bytes) -> int:
        """Log the truth for predictions; gives how many.

        Raises:
            Turned: if the body is no JSON of the right shape, or an id none of ours.
            Refusal: if a truth is not of the target's type.
        """
        try:
            told = TOLD.decode(body)
        except msgspec.ValidationError as error:
            raise Turned(HTTPStatus.UNPROCESSABLE_ENTITY, f"{error}.") from None
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise Turned(HTTPStatus.BAD_REQUEST, f"The body is no JSON: {error}.") from None
        told = told if isinstance(told, list) else [told]
        if not told:
            raise Turned(HTTPStatus.BAD_REQUEST, "The array is empty.")
        if len(told) > self.settings.max_rows:
            most = f"Send at most {self.settings.max_rows:,} truths at once."
            raise Turned(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, most)
        now = moment()
        target = model.bundle.contract.target
        lines = [Truth(one.prediction_id, now, truth.read(target, one.truth)) for one in told]
        violations = [
            Violation(row, target.name, "truth", one.truth, truth.SHAPES[truth.shape(target)][1])
            for row, (line, one) in enumerate(zip(lines, told, strict=True))
            if line.truth is None
        ]
        if violations:
            raise Refusal(violations)
        self.feedback.append(self.encoder.encode_lines(lines), len(lines))
        self.metrics.feedback.inc(len(lines))
        unknown = sum(truth.is_unknown(target, line.truth) for line in lines)
        self.metrics.feedback_unknown.inc(unknown)
        return len(lines)
