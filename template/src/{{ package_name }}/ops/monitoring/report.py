"""What a look at the log found: as data, in words for people, and as Prometheus reads it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from statistics import median
from typing import Any

from prometheus_client import CollectorRegistry, Gauge

from ..evaluation import page as pages
from ..prediction_log import moment
from ..settings import Monitoring
from ..wording import rounded, typed
from . import plots
from .checks import Verdict
from .decision import DECISIONS, Outcome, judgeable
from .reference import Reference
from .windows import Log, Window

FORMAT = 1

TEMPLATE = Path(__file__).with_name("report.md.j2")

GAUGES = {
    "run_timestamp_seconds": "When `ops monitor` last ended well.",
    "model_info": "The version that windows are compared with.",
    "decision": "What to do: 1 for the decision, 0 for the others.",
    "windows": "Whole windows that were judged.",
    "windows_violated": "How many of the newest windows that decide are violated.",
    "window_violated": "Whether the newest window is violated.",
    "window_rows": "Rows in the newest window.",
    "window_end_timestamp_seconds": "When the newest window ended.",
    "unreadable_lines": "Lines of the log that were not what they should be.",
    "refused_share": "The share of rows that were refused, newest window.",
    "drift_psi": "How far a column moved, newest window.",
    "missing_share": "The share of a column that is missing, newest window.",
    "out_of_range_share": "The share of a column beyond all that was seen, newest window.",
    "unknown_share": "The share of a column never seen before, newest window.",
    "prediction_psi": "How far the predictions moved, newest window.",
    "unknown_labels": "Ground truth with labels that the contract lacks, all windows read.",
    "score": "The true score, newest windows with enough ground truth.",
    "score_low": "The lower end of its 95% interval.",
    "score_high": "The upper end of its 95% interval.",
    "score_expected": "The score on the holdout.",
    "labelled_share": "The share of rows that have ground truth, all windows read.",
    "feedback_delay_seconds": "The median time from a prediction to its ground truth.",
    "newest_prediction_timestamp_seconds": "When the newest row was answered.",
    "newest_feedback_timestamp_seconds": "When the newest ground truth came.",
}
"""Every metric, without its `monitor_`, and what it says."""


@dataclass(frozen=True)
class Report:
    """The decision with its reasons, and the windows that it follows from."""

    at: datetime  # when the log was looked at
    limits: Monitoring  # how far the world may move
    reference: Reference
    outcome: Outcome
    verdicts: list[Verdict] = field(default_factory=list)
    """On all windows, in order; the last has not ended, the first may tell scores alone."""
    log: Log = field(default_factory=Log)  # what is known of it as a whole
    together: str = ""  # how like the reference the columns are, taken together

    @cached_property
    def judged(self) -> list[Verdict]:
        """The verdicts on the windows that may decide."""
        return judgeable(self.verdicts)

    @cached_property
    def unknown_labels(self) -> Counter[str]:
        """Labels that the contract does not know, in all windows that were looked at."""
        return sum((window.unknown for window in self.log.windows), Counter())

    @cached_property
    def labelled(self) -> float | None:
        """The share of rows whose truth is known; None without rows."""
        rows = sum(window.rows for window in self.log.windows)
        known = sum(window.labelled for window in self.log.windows)
        return known / self.log.sample / rows if rows else None

    @cached_property
    def delay(self) -> float | None:
        """The median time in seconds from an answer to its truth; None if no truth is known."""
        return _delay(self.log.windows)

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "version": self.reference.version,
            "window": self.limits.window,
            "decision": self.outcome.decision,
            "action": self.outcome.action,
            "reasons": self.outcome.reasons,
            "together": self.together,
            "unknown_labels": dict(self.unknown_labels.most_common()),
            "unreadable_lines": self.log.unreadable,
            "windows": [_window(verdict, self.log.sample) for verdict in self.verdicts],
        }

    def markdown(self) -> str:
        """The report in words, for a job's summary or a note on a change."""
        return self._written("##", {})

    def page(self) -> str:
        """The report as a page of HTML, with its pictures, that needs no other file."""
        pictures = plots.draw(self)
        captions = {f"{place}.png": caption for place, caption in enumerate(pictures)}
        files = dict(zip(captions, pictures.values(), strict=True))
        return pages.page(self.outcome.action, self._written("#", captions), files)

    def _written(self, level: str, captions: dict[str, str]) -> str:
        return pages.markdown(
            TEMPLATE,
            level=pages.Markdown(level),
            report=self,
            captions=captions,
            declared=_declared,
            when=lambda micros: f"{moment(micros):%Y-%m-%d %H:%M}",
        )


def registry(report: Report) -> CollectorRegistry:
    """All metrics that are known, for one of `prometheus_client`'s writers."""
    registry, gauges = CollectorRegistry(), dict[str, Gauge]()

    def tell(name: str, value: float | None, **labels: str) -> None:
        if value is not None:
            if name not in gauges:
                described = f"monitor_{name}", GAUGES[name], [*labels]
                gauges[name] = Gauge(*described, registry=registry)
            (gauges[name].labels(**labels) if labels else gauges[name]).set(value)

    tell("run_timestamp_seconds", report.at.timestamp())
    tell("model_info", 1, version=report.reference.version)
    for decision in DECISIONS:
        tell("decision", decision == report.outcome.decision, decision=decision)
    tell("windows", len(report.judged))
    tell("windows_violated", report.outcome.violated)
    tell("window_violated", report.outcome.newest)
    tell("unreadable_lines", report.log.unreadable)
    tell("unknown_labels", report.unknown_labels.total())
    tell("labelled_share", report.labelled)
    tell("feedback_delay_seconds", report.delay)
    tell("newest_prediction_timestamp_seconds", _seconds(report.log.newest_prediction))
    tell("newest_feedback_timestamp_seconds", _seconds(report.log.newest_feedback))
    if report.judged:
        newest = report.judged[-1]
        window = newest.window
        tell("window_rows", window.rows)
        tell("window_end_timestamp_seconds", _seconds(window.end))
        tell("refused_share", window.refused / window.asked)
        tell("prediction_psi", newest.predictions)
        for column, measured in newest.columns.items():
            for kind, value in measured.items():
                tell("drift_psi" if kind == "psi" else f"{kind}_share", value, column=column)
    for scored in next((v.scores for v in reversed(report.verdicts) if v.scores), ()):
        name = scored.score.name
        tell("score", scored.value, score=name)
        tell("score_low", scored.low, score=name)
        tell("score_high", scored.high, score=name)
        tell("score_expected", scored.expected and scored.expected.value, score=name)
    return registry


def _declared(target: str, labels: Sequence[tuple[str, int]]) -> str:
    """What declares labels that the contract does not know, for `ops retrain`."""
    return " ".join(f"--declare {typed(f'{target}={label}')}" for label, _ in labels)


def _window(verdict: Verdict, sample: float) -> dict[str, Any]:
    window = verdict.window
    delay = _delay([window])
    return {
        "start": moment(window.start).isoformat(),
        "end": moment(window.end).isoformat() if window.whole else None,
        "rows": window.rows,
        "answered_by_champion": window.answered,
        "refused": window.refused,
        "labelled": round(window.labelled / sample),
        "pooled_windows": len(verdict.pool.windows) if verdict.pool else 0,
        "score": verdict.score.to_dict() if verdict.score else None,
        "scores": [scored.to_dict() for scored in verdict.scores],
        "delay_hours": None if delay is None else rounded(delay / 3600),
        "violated": bool(verdict.findings),
        "findings": [finding.to_dict() for finding in verdict.findings],
        "columns": verdict.columns,
    }


def _delay(windows: Sequence[Window]) -> float | None:
    known = [delay for window in windows for part in window.delays for delay in part.tolist()]
    return median(known) if known else None


def _seconds(micros: int) -> float | None:
    return None if micros < 0 else micros / 1_000_000
