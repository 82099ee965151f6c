"""One decision from the verdicts on the windows, and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Literal

from ..settings import Monitoring
from ..wording import listed
from . import upstream
from .checks import Checks, Finding, Measured, Scored, scores
from .windows import LEAST_ROWS, Window

Decision = Literal["none", "alert", "retrain"]

DECISIONS: tuple[Decision, ...] = ("none", "alert", "retrain")

NOTHING, WORSE = "Nothing to do.", "the model is worse than on the holdout"

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
    def moved(self) -> list[str]:
        """The columns that are violated, and the checks of what came in that have none."""
        return [*dict.fromkeys(found.column or found.check for found in self.came)]


@dataclass(frozen=True)
class Outcome:
    """The decision, and why.

    Attributes:
        decision: what to do.
        action: the same in a sentence, for whoever is woken by it.
        reasons: sentences.
        violated: how many of the windows that decided are violated.
        newest: whether the newest of them is.
    """

    decision: Decision
    action: str
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
    """Ask for a new model where the score has fallen, or may have and no fault explains a change.

    What came in decides over the newest windows, and what turned out to be true over the newest
    of which enough is known: the truth comes late.

    Args:
        verdicts: on all windows, in order.
        limits: how many windows decide.
    """
    judged = judgeable(verdicts)
    if not judged:
        return Outcome("none", NOTHING, [_nothing(verdicts)])
    last = judged[-limits.last :]
    known = [verdict for verdict in judged if verdict.true is not None]
    came = _outcome("what comes in has moved", judged, [it.came for it in judged], limits)
    true = _outcome(WORSE, known, [it.true or [] for it in known], limits)
    faults = upstream.faults(judged)
    unknown = all(it.true is None for it in takewhile(lambda it: it.came, reversed(judged)))
    lasting = "retrain" in (came.decision, true.decision) and (true.newest or unknown)
    decision: Decision = "retrain" if lasting else "alert"
    newest, reasons = true.newest or came.newest, [*true.reasons, *came.reasons]
    action = true.action or came.action
    unexplained = {*judged[-1].columns} & {*judged[-1].moved} - {*faults}
    if faults and not (lasting and true.newest and unexplained):
        decision, action = "alert", f"Look upstream: {'; '.join(faults.values())}."
    elif lasting:
        action = f"Train a new model: {action}."
    elif newest and (unknown or true.newest):
        action = f"Have a look, and train nothing yet: {action}."
    elif newest:
        action = f"Look upstream: {action}. The score has not fallen, so train nothing."
    else:
        decision, action = "none", NOTHING
    if not reasons:
        rows, many = sum(it.window.asked for it in last), min(len(known), limits.last)
        told = f"enough rows in {many} of them" if many else "too few rows to be judged"
        calm = f"The newest window is like the reference; {len(last)} windows ({rows:,} rows) were"
        reasons = [f"{calm} judged. Ground truth is known of {told}."]
    return Outcome(decision, action, reasons, max(true.violated, came.violated), newest)


def _outcome(
    what: str, verdicts: Sequence[Verdict], found: Sequence[list[Finding]], limits: Monitoring
) -> Outcome:
    """What one family of findings on windows would ask for by itself, and when it began."""
    last = found[-limits.last :]
    count = sum(map(bool, last))
    if not last or not last[-1]:
        return Outcome("none", "", [], count)
    newest = sorted(last[-1], key=lambda it: -it.value / (it.limit or 1.0))
    sentences = [finding.sentence for finding in newest[:MOST_REASONS]]
    if len(newest) > MOST_REASONS:
        sentences.append(f"And {len(newest) - MOST_REASONS} more; the report has them all.")
    enough = count >= limits.violated
    of = "windows with ground truth" if what == WORSE else "windows"
    head = f"{count} of the last {len(last)} {of} are violated, the newest among them"
    head += "." if enough else f"; {limits.violated} ask for a new model."
    names = listed([*dict.fromkeys(it.column or it.check for it in newest)])
    action = f"{what} ({names}), {upstream.since(verdicts, [bool(it) for it in found])}"
    firm = enough and any(finding.firm for finding in newest)
    return Outcome("retrain" if firm else "alert", action, [head, *sentences], count, newest=True)


def _nothing(verdicts: Sequence[Verdict]) -> str:
    """Why no window can be judged."""
    windows = [verdict.window for verdict in verdicts]
    if any(window.whole and window.asked >= LEAST_ROWS for window in windows):
        version = windows[0].reference.version
        return f"Version {version}, the champion, has not answered a whole window yet."
    rows = sum(window.asked for window in windows)
    return f"No window is whole yet: {rows:,} rows came in." if rows else "No row came in yet."
