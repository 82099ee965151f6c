"""What a look at the log found, as data: for people, for dashboards and for `ops retrain`."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from ..evaluation.gates import rounded
from ..settings import Monitoring
from .checks import measured
from .decision import Decision, Outcome, Verdict, judgeable
from .log import moment
from .reference import Reference
from .survey import Survey

FORMAT = 1


@dataclass(frozen=True)
class Report:
    """The decision with its reasons, and the windows that it follows from."""

    at: datetime
    limits: Monitoring
    reference: Reference
    outcome: Outcome
    verdicts: list[Verdict] = field(default_factory=list)
    """On all windows, in order; the last has not ended."""
    survey: Survey = field(default_factory=Survey)

    @property
    def decision(self) -> Decision:
        """What to do: nothing, look, or train anew."""
        return self.outcome.decision

    @property
    def reasons(self) -> list[str]:
        """Why, in sentences."""
        return self.outcome.reasons

    @property
    def whole(self) -> list[Verdict]:
        """The verdicts on windows that have ended."""
        return [verdict for verdict in self.verdicts if verdict.window.whole]

    @cached_property
    def judged(self) -> list[Verdict]:
        """Those that may decide."""
        return judgeable(self.verdicts)

    @cached_property
    def unknown_labels(self) -> Counter[str]:
        """Labels that the contract does not know, in all windows that are shown."""
        return sum((v.window.truths.unknown for v in self.verdicts), Counter())

    @cached_property
    def labelled(self) -> float | None:
        """The share of rows whose truth is known; None without rows."""
        rows = sum(verdict.window.rows for verdict in self.verdicts)
        known = sum(verdict.window.truths.rows for verdict in self.verdicts)
        return known / self.survey.sample / rows if rows else None

    @cached_property
    def delay(self) -> float | None:
        """The median time in seconds from an answer to its truth; None if no truth is known."""
        return _median([part for v in self.verdicts for part in v.window.truths.delays])

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able data."""
        return {
            "format": FORMAT,
            "at": self.at.isoformat(),
            "version": self.reference.version,
            "window": self.limits.window,
            "decision": self.decision,
            "reasons": self.reasons,
            "unknown_labels": dict(self.unknown_labels.most_common()),
            "unreadable_lines": self.survey.unreadable,
            "windows": [_window(verdict, self.survey.sample) for verdict in self.verdicts],
        }


def _window(verdict: Verdict, sample: float) -> dict[str, Any]:
    window = verdict.window
    delay = _median(window.truths.delays)
    return {
        "start": moment(window.start).isoformat(),
        "end": moment(window.end).isoformat() if window.whole else None,
        "rows": window.rows,
        "answered_by_champion": window.answered,
        "refused": window.refused,
        "labelled": round(window.truths.rows / sample),
        "score": verdict.score.to_dict() if verdict.score else None,
        "scores": [scored.to_dict() for scored in verdict.scores],
        "delay_hours": None if delay is None else rounded(delay / 3600),
        "violated": verdict.violated,
        "findings": [finding.to_dict() for finding in verdict.findings],
        "columns": {name: measured(counts) for name, counts in window.columns.items()},
    }


def _median(parts: list[Any]) -> float | None:
    known = np.concatenate(parts) if parts else np.empty(0)
    return float(np.median(known)) if len(known) else None
