"""One decision from the verdicts on the windows, and its reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal

from ..settings import LEAST_ROWS, Monitoring
from ..wording import listed
from . import upstream
from .checks import Checks, Finding, Verdict, scores
from .pools import Pool
from .windows import Window

Decision = Literal["none", "alert", "retrain"]

DECISIONS: tuple[Decision, ...] = ("none", "alert", "retrain")

NOTHING, WORSE = "Nothing to do.", "the model is worse than on the holdout"

MOST_REASONS = 8  # sentences about the newest window


@dataclass(frozen=True)
class Outcome:
    """The decision, and why."""

    decision: Decision
    action: str  # the same in a sentence, for whoever is woken by it
    reasons: list[str]  # sentences
    violated: int = 0  # of the windows that decided
    newest: bool = False  # whether the newest of them is violated


def judge(window: Window, limits: Monitoring, seed: int, pool: Pool | None = None) -> Verdict:
    """Hold a window to every check, and the pool that it is the newest of, if there is one."""
    checks = Checks(window, limits)
    found = scores(pool, seed) if pool else []
    true = checks.true(pool, found) if pool else None
    if not window.shown:
        return Verdict(window, true=true, scores=found, pool=pool)
    incoming, columns = checks.incoming()
    answered, predictions = checks.answered()
    return Verdict(window, [*incoming, *answered], columns, predictions, true, found, pool)


def judgeable(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """The windows that may decide: whole, of enough rows, and answered by the champion.

    What an earlier model answered says little of this one: the champion's own windows count, back
    to where it came.
    """
    judged: list[Verdict] = []
    for verdict in reversed(verdicts):
        window = verdict.window
        if not window.whole or not window.shown or window.asked < LEAST_ROWS:
            continue
        if 2 * window.own < window.asked:
            break
        judged.insert(0, verdict)
    return judged


def decide(verdicts: Sequence[Verdict], limits: Monitoring, overdue: bool = False) -> Outcome:
    """Ask for a new model where the score has fallen, or may have and no fault explains a change.

    Inputs decide over the newest windows, and ground truth over the newest pools of labelled rows.
    What was known before a change says nothing of the windows after it.

    Args:
        verdicts: on all windows, in order.
        limits: how many windows decide.
        overdue: whether the score has been unknown for too long.
    """
    judged = judgeable(verdicts)
    last = judged[-limits.last :]
    truths = [(it.pool.windows[0].start, it.true or []) for it in verdicts if it.pool]
    moves = [(it.window.start, it.came) for it in judged]
    came = _outcome("what comes in has moved", moves, limits)
    true = _outcome(WORSE, truths, limits)
    faults = upstream.faults(judged) if judged else {}
    moved = [start for start, _ in takewhile(lambda it: it[1], reversed(moves))]
    unknown = not moved or not truths or truths[-1][0] < moved[-1]
    lasting = "retrain" in (came.decision, true.decision) and (true.newest or unknown)
    decision: Decision = "retrain" if lasting else "alert"
    newest, reasons = true.newest or came.newest, [*true.reasons, *came.reasons]
    action = true.action or came.action
    unexplained = judged and {*judged[-1].columns} & {*judged[-1].moved} - {*faults}
    if faults and not (lasting and true.newest and unexplained):
        decision, action = "alert", f"Look upstream: {'; '.join(faults.values())}."
    elif lasting:
        action = f"Train a new model: {action}."
    elif newest and (unknown or true.newest):
        action = f"Have a look, and train nothing yet: {action}."
    elif newest:
        action = f"Look upstream: {action}. The score has not fallen, so train nothing."
    elif overdue:
        action = "See where ground truth stays: the score has been unknown for too long."
    else:
        decision, action = "none", NOTHING
    if not reasons:
        rows = sum(it.window.asked for it in last)
        calm = f"The newest window is like the reference; {len(last)} windows ({rows:,} rows) were"
        reasons = [f"{calm} judged." if last else _nothing(verdicts)]
    return Outcome(decision, action, reasons, max(true.violated, came.violated), newest)


def _outcome(what: str, found: Sequence[tuple[int, list[Finding]]], limits: Monitoring) -> Outcome:
    """What one family of findings would ask for alone: when windows began, and what was found."""
    last = [findings for _, findings in found[-limits.last :]]
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
    since = upstream.since([start for start, _ in found], [bool(it) for _, it in found])
    action = f"{what} ({names}), {since}"
    firm = enough and any(finding.firm for finding in newest)
    return Outcome("retrain" if firm else "alert", action, [head, *sentences], count, newest=True)


def _nothing(verdicts: Sequence[Verdict]) -> str:
    """Why no window can be judged."""
    windows = [verdict.window for verdict in verdicts]
    if any(window.whole and window.asked >= LEAST_ROWS for window in windows):
        version = windows[0].reference.version
        return f"Version {version}, the champion, has not answered a whole window yet."
    rows = sum(window.asked for window in windows)
    if ended := sum(window.whole and window.asked > 0 for window in windows):
        few = f"of fewer than {LEAST_ROWS} rows: inputs are not judged"
        return f"{ended} windows have ended, all {few}. A longer `monitoring.window` has more."
    return f"No window is whole yet: {rows:,} rows so far." if rows else "There are no requests."
