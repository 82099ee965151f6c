"""What a look at the log found, as data and in words: for programs and for people."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path
from shlex import quote
from typing import Any

import numpy as np

from ..evaluation import page as pages
from ..settings import Monitoring
from ..wording import rounded
from . import plots
from .decision import Outcome, Verdict, judgeable
from .log import moment
from .reference import Reference
from .windows import Log

FORMAT = 1

TEMPLATE = Path(__file__).with_name("report.md.j2")

TITLES = {
    "none": "Nothing to do",
    "alert": "Have a look",
    "retrain": "Train a new model",
}


@dataclass(frozen=True)
class Report:
    """The decision with its reasons, and the windows that it follows from.

    Attributes:
        at: when the log was looked at.
        limits: how far the world may move.
        reference: what the windows are compared with.
        outcome: the decision and its reasons.
        verdicts: on all windows, in order; the last has not ended.
        log: what is known of the log as a whole.
    """

    at: datetime
    limits: Monitoring
    reference: Reference
    outcome: Outcome
    verdicts: list[Verdict] = field(default_factory=list)
    log: Log = field(default_factory=Log)

    @cached_property
    def judged(self) -> list[Verdict]:
        """The verdicts on the windows that may decide."""
        return judgeable(self.verdicts)

    @cached_property
    def unknown_labels(self) -> Counter[str]:
        """Labels that the contract does not know, in all windows that are shown."""
        return sum((verdict.window.unknown for verdict in self.verdicts), Counter())

    @cached_property
    def labelled(self) -> float | None:
        """The share of rows whose truth is known; None without rows."""
        rows = sum(verdict.window.rows for verdict in self.verdicts)
        known = sum(verdict.window.labelled for verdict in self.verdicts)
        return known / self.log.sample / rows if rows else None

    @cached_property
    def delay(self) -> float | None:
        """The median time in seconds from an answer to its truth; None if no truth is known."""
        return _median([part for verdict in self.verdicts for part in verdict.window.delays])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "version": self.reference.version,
            "window": self.limits.window,
            "decision": self.outcome.decision,
            "reasons": self.outcome.reasons,
            "unknown_labels": dict(self.unknown_labels.most_common()),
            "unreadable_lines": self.log.unreadable,
            "windows": [_window(verdict, self.log.sample) for verdict in self.verdicts],
        }

    def markdown(self) -> str:
        """The report in words, for a job's summary or a note on a change."""
        return self._written(f"## Decision: {self.outcome.decision}", {})

    def page(self) -> str:
        """The report as a page of HTML, with its pictures, that needs no other file."""
        title, pictures = TITLES[self.outcome.decision], plots.draw(self)
        captions = {f"{place}.png": caption for place, caption in enumerate(pictures)}
        files = dict(zip(captions, pictures.values(), strict=True))
        return pages.page(title, self._written(f"# {title}", captions), files)

    def _written(self, heading: str, captions: dict[str, str]) -> str:
        return pages.markdown(
            TEMPLATE,
            heading=pages.Markdown(heading),
            report=self,
            captions=captions,
            declared=_declared,
            when=_when,
        )


def _declared(target: str, labels: Sequence[tuple[str, int]]) -> str:
    """What declares labels that the contract does not know, for `ops retrain`."""
    return " ".join(f"--declare {quote(f'{target}={label}')}" for label, _ in labels)


def _when(micros: int) -> str:
    return f"{moment(micros):%Y-%m-%d %H:%M}"


def _window(verdict: Verdict, sample: float) -> dict[str, Any]:
    window = verdict.window
    delay = _median(window.delays)
    return {
        "start": moment(window.start).isoformat(),
        "end": moment(window.end).isoformat() if window.whole else None,
        "rows": window.rows,
        "answered_by_champion": window.answered,
        "refused": window.refused,
        "labelled": round(window.labelled / sample),
        "score": verdict.score.to_dict() if verdict.score else None,
        "scores": [scored.to_dict() for scored in verdict.scores],
        "delay_hours": None if delay is None else rounded(delay / 3600),
        "violated": bool(verdict.findings),
        "findings": [finding.to_dict() for finding in verdict.findings],
        "columns": verdict.columns,
    }


def _median(parts: list[Any]) -> float | None:
    known = np.concatenate(parts) if parts else np.empty(0)
    return float(np.median(known)) if len(known) else None
