"""One decision from the verdicts on the windows, and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..settings import Monitoring
from .checks import Checks, Finding, Measured, Scored, scores
from .windows import LEAST_ROWS, Window

Decision = Literal["none", "alert", "retrain"]

DECISIONS: tuple[Decision, ...] = ("none", "alert", "retrain")

MOST_REASONS = 8
"""Sentences about the newest window."""


@dataclass(frozen=True)
class Verdict:
    """What was found in a window.

    Attributes:
        window: the window.
        came: what is violated of what came in and was answered.
        columns: what each column is like.
        predictions: how far the predictions moved: their PSI.
        true: what is violated of what turned out to be true; None if too little is known of that.
        scores: the true scores.
    """

    window: Window
    came: list[Finding] = field(default_factory=list)
    columns: dict[str, Measured] = field(default_factory=dict)
    predictions: float = 0.0
    true: list[Finding] | None = None
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
    def violated(self) -> list[str]:
        """The checks that are, each with its column."""
        names = (f"{it.check} ({it.column})" if it.column else it.check for it in self.findings)
        return list(dict.fromkeys(names))


@dataclass(frozen=True)
class Outcome:
    """The decision, and why.

    Attributes:
        decision: what to do.
        reasons: sentences.
        violated: how many of the windows that decided are violated.
        newest: whether the newest of them is.
    """

    decision: Decision
    reasons: list[str]
    violated: int = 0
    newest: bool = False


def judge(window: Window, limits: Monitoring, seed: int) -> Verdict:
    """Hold a window to every check."""
    checks = Checks(window, limits)
    incoming, columns = checks.incoming()
    answered, predictions = checks.answered()
    found = scores(window, seed)
    true = None if found is None else checks.true(found)
    return Verdict(window, [*incoming, *answered], columns, predictions, true, found or [])


def judgeable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The windows that may decide: whole, of enough rows, and answered by the champion.

    What an earlier model answered says little of this one: the champion's own windows count, back
    to where it came.
    """
    judged: list[Verdict] = []
    for verdict in reversed(verdicts):
        window = verdict.window
        if not window.whole or window.asked < LEAST_ROWS:
            continue
        if 2 * window.own < window.asked:
            break
        judged.insert(0, verdict)
    return judged


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
    came = judged[-limits.last :]
    true = [v.true for v in judged if v.true is not None][-limits.last :]
    outcomes = [
        _outcome(true, limits, "windows with ground truth"),
        _outcome([verdict.came for verdict in came], limits, "windows"),
    ]
    decision = max((outcome.decision for outcome in outcomes), key=DECISIONS.index)
    reasons = [reason for outcome in outcomes for reason in outcome.reasons]
    if not reasons:
        rows = sum(verdict.window.asked for verdict in came)
        known = f"enough rows in {len(true)} of them" if true else "too few rows to be judged"
        calm = f"The newest window is like the reference; {len(came)} windows ({rows:,} rows) were"
        reasons = [f"{calm} judged. Ground truth is known of {known}."]
    violated = max(outcome.violated for outcome in outcomes)
    return Outcome(decision, reasons, violated, any(outcome.newest for outcome in outcomes))


def _outcome(series: Sequence[list[Finding]], limits: Monitoring, what: str) -> Outcome:
    """What a series of windows, of which the violated findings are given, asks for."""
    count = sum(map(bool, series))
    firm = sum(any(finding.firm for finding in found) for found in series)
    if not series or not series[-1]:
        return Outcome("none", [], count)
    newest = sorted(series[-1], key=lambda found: -found.value / (found.limit or 1.0))
    sentences = [finding.sentence for finding in newest[:MOST_REASONS]]
    if len(newest) > MOST_REASONS:
        sentences.append(f"And {len(newest) - MOST_REASONS} more; the report has them all.")
    enough = firm >= limits.violated
    head = f"{count} of the last {len(series)} {what} are violated, the newest among them"
    head += "." if enough else f"; {limits.violated} ask for a new model."
    return Outcome("retrain" if enough else "alert", [head, *sentences], count, newest=True)


def _nothing(verdicts: Sequence[Verdict]) -> str:
    """Why no window can be judged."""
    windows = [verdict.window for verdict in verdicts]
    if any(window.whole and window.asked >= LEAST_ROWS for window in windows):
        version = windows[0].reference.version
        return f"Version {version}, the champion, has not answered a whole window yet."
    rows = sum(window.asked for window in windows)
    return f"No window is whole yet: {rows:,} rows came in." if rows else "No row came in yet."
