"""One decision from the verdicts on the windows, and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..settings import Monitoring
from .checks import Finding, Scored
from .window import Window
from .windows import LEAST_ROWS

Decision = Literal["none", "alert", "retrain"]

DECISIONS: tuple[Decision, ...] = ("none", "alert", "retrain")

MOST_REASONS = 8
"""Sentences about the newest window."""


@dataclass(frozen=True)
class Verdict:
    """What was found in a window."""

    window: Window
    came: list[Finding] = field(default_factory=list)
    """What is violated of what came in and was answered."""
    true: list[Finding] | None = None
    """What is violated of what turned out to be true; None if too little is known of that."""
    scores: list[Scored] = field(default_factory=list)

    @property
    def score(self) -> Scored | None:
        """The score that the model was chosen by; None if too little is known."""
        wanted = self.window.reference.score
        return next((scored for scored in self.scores if scored.score == wanted), None)

    @property
    def findings(self) -> list[Finding]:
        """All that is violated."""
        return [*(self.true or ()), *self.came]

    @property
    def violated(self) -> bool:
        """Whether anything is."""
        return bool(self.findings)


@dataclass(frozen=True)
class Outcome:
    """The decision, and why."""

    decision: Decision
    reasons: list[str]
    violated: int = 0
    """How many of the windows that decided are violated."""
    newest: bool = False
    """Whether the newest of them is."""


def decide(verdicts: Sequence[Verdict], limits: Monitoring) -> Outcome:
    """Ask for a new model if enough of the newest windows are violated, the newest among them.

    What came in decides over the newest windows, and what turned out to be true over the newest
    of which enough is known: the truth comes late.

    Args:
        verdicts: on all windows, in order.
        limits: how many windows decide.
    """
    judged = judgeable(verdicts)
    if not judged:
        return Outcome("none", [_nothing(verdicts)])
    came = [(verdict, verdict.came) for verdict in judged][-limits.last :]
    true = [(v, v.true) for v in judged if v.true is not None][-limits.last :]
    outcomes = [
        _series(true, limits, "windows whose truth is known"),
        _series(came, limits, "windows"),
    ]
    worst = max(outcomes, key=lambda outcome: DECISIONS.index(outcome.decision))
    if worst.decision == "none":
        rows = sum(verdict.window.rows for verdict, _ in came)
        told = (
            f" The truth is known of enough rows in {len(true)} of them."
            if true
            else (" The truth is known of too few rows to be judged.")
        )
        past = sum(outcome.violated for outcome in outcomes)
        return Outcome(
            "none",
            [
                (
                    f"The newest window is like the reference; {len(came)} windows "
                    f"({rows:,} rows) were judged.{told}"
                )
            ],
            past,
        )
    reasons = [reason for outcome in outcomes for reason in outcome.reasons]
    return Outcome(
        worst.decision, reasons, max(o.violated for o in outcomes), any(o.newest for o in outcomes)
    )


def judgeable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The windows that may decide: whole, of enough rows, and answered by the champion.

    What an earlier model answered says little of this one: the champion's own windows count, back
    to where it came.
    """
    judged: list[Verdict] = []
    for verdict in reversed(verdicts):
        window = verdict.window
        if not window.whole or window.rows < LEAST_ROWS:
            continue
        if 2 * window.answered < window.rows:
            break
        judged.insert(0, verdict)
    return judged


def _series(
    series: Sequence[tuple[Verdict, list[Finding]]], limits: Monitoring, what: str
) -> Outcome:
    if not series or not series[-1][1]:
        return Outcome("none", [], sum(bool(findings) for _, findings in series))
    count = sum(bool(findings) for _, findings in series)
    newest = sorted(series[-1][1], key=lambda found: -found.value / (found.limit or 1.0))
    head = f"{count} of the last {len(series)} {what} are violated, the newest among them"
    sentences = [finding.sentence for finding in newest]
    if len(sentences) > MOST_REASONS:
        more = len(sentences) - MOST_REASONS
        sentences = [*sentences[:MOST_REASONS], f"And {more} more; the report has them all."]
    enough = count >= limits.violated
    head += "." if enough else f"; {limits.violated} ask for a new model."
    return Outcome("retrain" if enough else "alert", [head, *sentences], count, newest=True)


def _nothing(verdicts: Sequence[Verdict]) -> str:
    """Why no window can be judged."""
    whole = [v.window for v in verdicts if v.window.whole and v.window.rows >= LEAST_ROWS]
    if whole:
        version = whole[-1].reference.version
        return f"Version {version}, the champion, has not answered a whole window yet."
    rows = sum(v.window.rows for v in verdicts)
    return f"No window is whole yet: {rows:,} rows came in." if rows else "No row came in yet."
