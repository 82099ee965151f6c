"""What is asked of a window: each check measures a difference, and says it in a sentence.

A check is violated only where the difference is large enough to matter and chance alone would
hardly make it. Chance is corrected for the number of tests, in three families of their own (what
came in, what was answered, what turned out to be true), so that many columns do not drown the one
number that counts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..evaluation import metrics
from ..evaluation.gates import number, rounded, share
from ..evaluation.metrics import Score
from ..settings import Monitoring
from . import statistics
from .reference import Known, Reference
from .tally import Categorised, Numbered, Tally, Timed, Worded
from .window import Window

LEAST_TRUTHS = 50
"""Rows of a window whose truth must be known before its score is judged."""

FAMILIES = 3

MOST_NAMED = 3
"""As many values are named in a sentence."""


@dataclass(frozen=True)
class Finding:
    """What one check found in one window."""

    check: str
    column: str | None
    test: str
    value: float
    """How large the difference is."""
    limit: float
    p: float
    """How likely chance goes as far, corrected for the number of tests."""
    sentence: str

    def to_dict(self) -> dict[str, Any]:
        """The finding as JSON-able data."""
        return {**asdict(self), "value": rounded(self.value), "p": float(f"{self.p:.3g}")}


@dataclass(frozen=True)
class Scored:
    """A true score, its 95% interval, and what it was on the holdout."""

    score: Score
    value: float
    low: float
    high: float
    expected: Known | None

    def to_dict(self) -> dict[str, Any]:
        """The score as JSON-able data."""
        return {
            "name": self.score.name,
            "value": rounded(self.value),
            "low": rounded(self.low),
            "high": rounded(self.high),
            "expected": self.expected and rounded(self.expected.value),
        }


def incoming(window: Window, limits: Monitoring) -> list[Finding]:
    """The findings on what came in that are violated."""
    found = [_refused(window, limits)]
    for name, counts in window.columns.items():
        found += _column(name, counts, window.reference, limits)
    return violated(found, limits)


def answered(window: Window, limits: Monitoring) -> list[Finding]:
    """The findings on what the champion answered that are violated."""
    since = "on the holdout"
    found = [_moved("predictions", None, "The predictions", window.answers, limits, since)]
    by_class = [
        _moved("probabilities", None, f"The probabilities of {name}", counts, limits, since)
        for name, counts in window.probabilities.items()
    ]
    if by_class:
        most = max(by_class, key=lambda finding: finding.value)
        found.append(replace(most, p=min(1.0, most.p * len(by_class))))
    return violated(found, limits)


def true(window: Window, scores: Sequence[Scored], limits: Monitoring) -> list[Finding]:
    """The findings on what turned out to be true that are violated."""
    truths, rows = window.truths, window.truths.rows
    unknown = truths.unknown.total()
    found = [_fallen(scored, scored.expected, limits) for scored in scores if scored.expected]
    if window.reference.contract.classes:
        p = statistics.shares(0, window.reference.held_out, unknown, rows)[0]
        sentence = (
            f"{share(unknown / rows)} of the truths are labels that the contract does not know: "
            f"{named(truths.unknown)}."
        )
        found.append(
            Finding("unknown labels", None, "chi-square", unknown / rows, limits.share, p, sentence)
        )
    found += _trust(window, limits)
    return violated(found, limits)


def told(window: Window) -> bool:
    """Whether the truth of enough rows is known to be judged."""
    return sum(map(len, window.truths.truth)) >= LEAST_TRUTHS


def score(window: Window, seed: int) -> list[Scored]:
    """The true scores of a window with enough truths, as far as they are defined."""
    truth = np.concatenate(window.truths.truth)
    answers = np.concatenate(window.truths.answers)
    known = truth >= 0 if answers.ndim == 2 else np.isfinite(truth)
    scored: list[Scored] = []
    # A label that the model never heard of is a miss; only accuracy has a place for it.
    for misses in (False, True):
        scores = [one for one in window.reference.scores if (one.name == "accuracy") == misses]
        chosen = known | misses
        spans = metrics.intervals(scores, truth[chosen], answers[chosen], seed) if scores else {}
        for one in scores:
            value = metrics.value(one, truth[chosen], answers[chosen])
            if np.isfinite([value, *spans[one.name]]).all():
                scored.append(Scored(one, value, *spans[one.name], window.reference.expected(one)))
    return scored


def violated(found: Iterable[Finding], limits: Monitoring) -> list[Finding]:
    """The findings of a family that are both large and beyond chance."""
    family = list(found)
    corrected = statistics.holm([finding.p for finding in family])
    return [
        replace(finding, p=p)
        for finding, p in zip(family, corrected, strict=True)
        if p <= limits.alpha / FAMILIES and finding.value >= finding.limit
    ]


@dataclass(frozen=True)
class Difference:
    """How far a distribution moved."""

    psi: float
    p: float
    test: str


def difference(counts: Numbered | Categorised) -> Difference:
    """Compare a distribution with the reference's."""
    pool = statistics.merged if isinstance(counts, Numbered) else statistics.pooled
    then, now = pool(counts.seen.counts, counts.counts)
    chances = {"chi-square": statistics.chi_square(then, now)}
    if isinstance(counts, Numbered):
        chances["KS"] = statistics.kolmogorov_smirnov(counts.seen.counts, counts.counts)[1]
    test = min(chances, key=chances.__getitem__)
    return Difference(statistics.psi(then, now), min(1.0, len(chances) * chances[test]), test)


def measured(counts: Tally) -> dict[str, float | None]:
    """What a column of a window is like, in four numbers for people and dashboards."""
    rows = counts.rows + counts.missing if not isinstance(counts, Worded) else counts.rows
    psi = out_of_range = unknown = None
    match counts:
        case Numbered():
            psi = difference(counts).psi
            if np.isfinite([counts.seen.lowest, counts.seen.highest]).any():
                out_of_range = counts.beyond / rows if rows else None
        case Categorised():
            psi = difference(counts).psi
            if counts.seen.known is not None:
                unknown = counts.unknown / rows if rows else None
        case Worded():
            parts = [difference(one).psi for one in (counts.words, counts.unfamiliar) if one]
            psi = max(*parts, _words(counts, 0.0)[0])
            unknown = (
                counts.unfamiliar.mean if counts.unfamiliar and counts.unfamiliar.rows else None
            )
        case Timed():
            pass
    missing = counts.missing / rows if rows else None
    return {
        "psi": rounded(psi),
        "missing": rounded(missing),
        "out_of_range": rounded(out_of_range),
        "unknown": rounded(unknown),
    }


def named(counted: Counter[str]) -> str:
    """The most frequent names with their counts."""
    return ", ".join(f"{name} ({rows:,})" for name, rows in counted.most_common(MOST_NAMED))


def _column(
    name: str, counts: Tally, reference: Reference, limits: Monitoring
) -> Iterator[Finding]:
    since = reference.since
    rows = counts.rows + (0 if isinstance(counts, Worded) else counts.missing)

    def more(check: str, then: int, now: int, sentence: str) -> Finding:
        p = statistics.shares(then, reference.rows, now, rows)[0]
        gone_up = abs(now / max(rows, 1) - then / max(reference.rows, 1))
        return Finding(check, name, "chi-square", gone_up, limits.share, p, sentence)

    missing, before = share(counts.missing / max(rows, 1)), counts.seen.missing
    yield more(
        "missing", before, counts.missing,
        f"{missing} of {name} are missing; {share(before / max(reference.rows, 1))} were {since}.",
    )  # fmt: skip
    match counts:
        case Numbered():
            yield _moved("drift", name, name, counts, limits, since)
            low, high = number(counts.seen.lowest), number(counts.seen.highest)
            yield more(
                "out of range", 0, counts.beyond,
                f"{share(counts.beyond / max(rows, 1))} of {name} lie beyond all that the model was "
                f"trained and judged on, {low} to {high}.",
            )  # fmt: skip
        case Categorised():
            yield _moved("drift", name, name, counts, limits, since)
            yield more(
                "unknown categories", 0, counts.unknown,
                f"{share(counts.unknown / max(rows, 1))} of {name} are values never seen before: "
                f"{named(counts.new)}.",
            )  # fmt: skip
        case Worded():
            what = f"The words in a text of {name}"
            yield _moved("drift", name, what, counts.words, limits, since)
            if counts.unfamiliar is not None:
                what = f"The share of unfamiliar words in a text of {name}"
                found = _moved("vocabulary", name, what, counts.unfamiliar, limits, since)
                new = f" New are {named(counts.new)}." if counts.new else ""
                yield replace(found, sentence=found.sentence + new)
            psi, p, moved = _words(counts, limits.alpha)
            sentence = f"{name} has other words (PSI {psi:.2f}; {limits.psi:g} is allowed)"
            sentence += f": {moved} ({since})." if moved else "."
            yield Finding("vocabulary", name, "chi-square", psi, limits.psi, p, sentence)


def _moved(
    check: str,
    column: str | None,
    what: str,
    counts: Numbered | Categorised,
    limits: Monitoring,
    since: str,
) -> Finding:
    """How far a distribution moved, and where to."""
    found = difference(counts)
    if isinstance(counts, Numbered):
        change = f"{number(counts.mean)} on average, and {number(counts.seen.mean)} {since}"
    else:
        then = counts.seen.counts / max(int(counts.seen.counts.sum()), 1)
        now = counts.counts / max(int(counts.counts.sum()), 1)
        place = int(np.abs(now - then).argmax())
        value = [*counts.seen.names, "all other values together"][place]
        change = f"{value} {share(now[place])}, and {share(then[place])} {since}"
    sentence = f"{what} moved (PSI {found.psi:.2f}; {limits.psi:g} is allowed): {change}."
    return Finding(check, column, found.test, found.psi, limits.psi, found.p, sentence)


def _words(counts: Worded, alpha: float) -> tuple[float, float, str]:
    """How far the words moved: PSI, chance, and which words moved most.

    The words taken together move by the PSI of their counts, a single one by that of being in a
    text or not.
    """
    seen, words = counts.seen, len(counts.seen.tokens)
    if not words or not seen.rows or not counts.rows:
        return 0.0, 1.0, ""
    p = np.minimum(statistics.shares(seen.counts, seen.rows, counts.counts, counts.rows) * words, 1)
    then, now = (seen.counts + 0.5) / (seen.rows + 1), (counts.counts + 0.5) / (counts.rows + 1)
    single = (now - then) * np.log(now * (1 - then) / (then * (1 - now)))
    single = np.where(p <= alpha, single, 0.0)
    together = statistics.psi(*statistics.pooled(seen.counts, counts.counts))
    moved = np.argsort(-single, kind="stable")[:MOST_NAMED]
    sentence = ", ".join(
        f"{seen.tokens[place]} in {share(now[place])} ({share(then[place])})"
        for place in moved
        if single[place] > 0
    )
    return max(together, float(single.max())), float(p.min()), sentence


def _refused(window: Window, limits: Monitoring) -> Finding:
    rows = window.rows + window.refused
    refused = window.refused / max(rows, 1)
    p = statistics.shares(0, window.reference.rows, window.refused, rows)[0]
    sentence = (
        f"{share(refused)} of the rows were refused, for they broke the contract: "
        f"{named(window.violations)}."
    )
    return Finding("contract", None, "chi-square", refused, limits.share, p, sentence)


def _fallen(scored: Scored, expected: Known, limits: Monitoring) -> Finding:
    """How much worse a score is than on the holdout."""
    score = scored.score
    gap = (expected.value - scored.value) * (-1 if score.loss else 1)
    # Intervals lean: what counts is how far both reach towards each other.
    reach = scored.value - scored.low if score.loss else scored.high - scored.value
    deviation = float(np.hypot(expected.deviation, reach / 1.96))
    p = statistics.normal_tail(gap / max(deviation, 1e-12))
    sentence = (
        f"{score.label} is {number(scored.value)} (95% interval {number(scored.low)} to "
        f"{number(scored.high)}), and was {number(expected.value)} on the holdout."
    )
    lead = score.gain(expected.value, scored.value)
    return Finding("score", None, score.name, lead, limits.score, p, sentence)


def _trust(window: Window, limits: Monitoring) -> Iterator[Finding]:
    """How far the model's certainty is from the truth, compared with the holdout."""
    expected = window.reference.trust
    if expected is None or not window.truths.truth:
        return
    truth, answers = (np.concatenate(p) for p in (window.truths.truth, window.truths.answers))
    if window.reference.contract.classes:
        check = "calibration"
        rows = (answers.argmax(axis=1) == truth) - answers.max(axis=1).astype(np.float64)
    else:
        check = "coverage"
        rows = np.abs(truth - answers) <= window.reference.half_width
    value = float(rows.mean())
    deviation = float(np.hypot(expected.deviation, rows.std() / np.sqrt(len(rows))))
    p = min(1.0, 2 * statistics.normal_tail(abs(value - expected.value) / max(deviation, 1e-12)))
    if check == "coverage":
        sentence = (
            f"The truth lies within the interval in {share(value)} of the rows, and did in "
            f"{share(expected.value)} on the holdout."
        )
    else:
        sentence = (
            f"The model is right {_points(value)} often than it is confident; on the holdout it "
            f"was {_points(expected.value)} often."
        )
    yield Finding(check, None, "z", abs(value - expected.value), limits.share, p, sentence)


def _points(value: float) -> str:
    return f"{100 * abs(value):.1f} points {'less' if value < 0 else 'more'}"
