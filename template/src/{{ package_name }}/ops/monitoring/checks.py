"""What is asked of a window: each check measures a difference, and says it in a sentence.

A check is violated only where the difference is large enough to matter and chance alone would
hardly make it. Chance is corrected for the number of tests, in four families of their own (what
came in, all of it together, what was answered, what turned out to be true), so that many columns
do not drown the one number that counts.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import ndtr

from ..evaluation import metrics, profile
from ..evaluation.distributions import NOW, THEN, Categories, Distribution, Numbers, Texts, Vectors
from ..evaluation.metrics import Score
from ..settings import Monitoring
from ..wording import number, rounded, share
from . import drift
from .history import DISTANCE, LEAST_DISTANCE
from .pools import Pool
from .reference import HELD_OUT, Known
from .windows import Window

BY_PSI = ("drift", "vocabulary")  # the checks of columns whose value is a PSI
ALMOST_ALL = 0.99  # of the rows: no history makes that usual
LEAST_SHARE = 0.01  # of a value that may not vanish unnoticed
FAMILIES = 4  # of tests, each with its part of `alpha`; `multivariate` has one
MOST_NAMED = 3  # values in a sentence

SENTENCES = {
    "contract": "{now} of the rows were refused, for they broke the contract: {names}.",
    "missing": "{now} of {column} are missing; {then} were {since}.",
    "out of range": "{now} of {column} lie beyond all that was ever seen, {names}.",
    "unknown categories": "{now} of {column} are values never seen before: {names}.",
    "vanished categories": "No row of {column} is {names} any more; {then} were {since}.",
    "unknown labels": "{now} of the ground truth are labels that the model does not know: {names}.",
    "calibration": (
        "The model is right {now} often than it is confident; on the holdout it was {then} often."
    ),
    "coverage": (
        "The ground truth lies within the interval in {now} of the rows, and did in {then} on the "
        "holdout."
    ),
}
"""What is said of each check, but for those of a whole distribution."""

Measured = dict[str, float | None]
"""What a column of a window is like: `psi`, and shares `missing`, `out_of_range`, `unknown`."""


@dataclass(frozen=True)
class Finding:
    """What one check found in one window."""

    check: str
    column: str | None
    test: str
    value: float
    """How large the difference is."""
    limit: float
    """How large it may be: as `params.yaml` or history says."""
    p: float
    """How likely chance goes as far, corrected for the number of tests."""
    sentence: str
    windows: int = 0
    """Of the champion's history that taught the limit; none: it is that of `params.yaml`."""
    firm: bool = True
    """Whether it may ask for a new model: what has too little history alerts alone."""
    distance: float = 0.0
    """How far two distributions lie apart, see `drift.Difference`."""

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


@dataclass(frozen=True)
class Verdict:
    """What was found in a window."""

    window: Window
    came: list[Finding] = field(default_factory=list)  # violated, of inputs and predictions
    columns: dict[str, Measured] = field(default_factory=dict)  # what each is like
    predictions: float = 0.0  # how far these moved: their PSI
    true: list[Finding] | None = None  # violated, of what is true; None if too little is known
    scores: list[Scored] = field(default_factory=list)  # the true ones
    pool: Pool | None = None  # the labelled rows of all this; the window is the newest of theirs

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
        """The columns that are violated, and the checks of inputs that have none."""
        return [*dict.fromkeys(found.column or found.check for found in self.came)]


class Checks:
    """The checks of one window."""

    def __init__(self, window: Window, limits: Monitoring) -> None:
        """Hold a window to its reference, by the limits."""
        self._window, self._reference, self._limits = window, window.reference, limits
        self._history = window.reference.history(limits)
        self._since = self._history.since if self._history else window.reference.since
        self._independent = np.array([[window.reference.independent], [window.independent]])
        if self._history:
            for name, counted in {**window.columns, **window.answers}.items():
                self._history.put(name, counted, window.at)

    def incoming(self) -> tuple[list[Finding], dict[str, Measured]]:
        """The violated findings on what came in, and what each column is like."""
        window, measured = self._window, {}
        hits, rows = (0, window.refused), (self._reference.rows, window.asked)
        found = [self._share("contract", hits, rows, _named(window.violations))]
        for name, column in window.columns.items():
            on_column = list(self._column(name, column))
            measured[name] = _measured(column, on_column)
            found += [self._held(name, finding) for finding in on_column]
        return self._violated(found), measured

    def answered(self) -> tuple[list[Finding], float]:
        """The violated findings on what the champion answered, and the PSI of its predictions."""
        since = self._since if self._history else HELD_OUT
        on_all, *by_class = (
            self._held(name, self._moved("predictions", name, answers, since=since))
            for name, answers in self._window.answers.items()
        )
        found = [on_all, *(replace(it, check="probabilities") for it in by_class)]
        return self._violated(found), on_all.value

    def true(self, pool: Pool, scores: Iterable[Scored]) -> list[Finding]:
        """The violated findings on what turned out to be true."""
        found = [self._fallen(scored, pool) for scored in scores if scored.expected]
        if self._reference.labels:
            unknown = sum((window.unknown for window in pool.windows), Counter[str]())
            hits = self._reference.unknown, unknown.total()
            rows = self._reference.held_out, sum(window.labelled for window in pool.windows)
            found.append(self._share("unknown labels", hits, rows, _named(unknown)))
        return self._violated([*found, *self._trust(pool)])

    def _violated(self, family: Sequence[Finding]) -> list[Finding]:
        """The findings of a family that are both large and beyond chance."""
        own: Mapping[str, Mapping[Any, float]] = self._limits.columns
        limits = [own.get(it.column or it.check, {}).get(it.check, it.limit) for it in family]
        corrected = drift.holm([finding.p for finding in family])
        return [
            replace(finding, p=p, limit=limit)
            for finding, p, limit in zip(family, corrected, limits, strict=True)
            if p <= self._limits.alpha / FAMILIES and finding.value >= limit
        ]

    def _held(self, name: str, finding: Finding) -> Finding:
        """Hold what is beyond chance to what history shows."""
        if finding.p > self._limits.alpha / FAMILIES or self._history is None:
            return finding
        if not self._history.enough:
            return replace(finding, firm=False)
        column = self._window.columns.get(name)
        if finding.check == "out of range" and isinstance(column, Numbers):
            apart, middle = np.ptp([column.lowest, column.highest]), column.highest + column.lowest
            if np.mean(np.abs(2 * column.some - middle) > 3 * apart) >= finding.limit:
                return finding  # no season goes as far again as all of them lie apart
        largest = self._history.largest(name, self._column)
        check = "drift" if finding.check == "predictions" else finding.check
        most, margin = largest[check], self._history.margin(self._column)
        usual = margin**2 * most if check in BY_PSI else min(margin * most, ALMOST_ALL)
        limit = max(finding.limit, usual)
        if finding.distance:
            # The PSI at which the distance would be usual: it goes with the square.
            apart = max(LEAST_DISTANCE, margin * largest[DISTANCE])
            limit = min(limit, finding.value * (apart / finding.distance) ** 2)
        if limit == finding.limit:
            return finding
        windows = len(self._history.windows)
        sentence = f"{finding.sentence} {windows} windows of history allow {limit:.2g}."
        return replace(finding, limit=limit, windows=windows, sentence=sentence)

    def _own(self, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Counts of the reference and of the window as if rows of one group were one row."""
        return np.asarray(np.rint(counts * self._independent), dtype=np.int64)

    def _column(self, name: str, column: Distribution) -> Iterator[Finding]:
        """All findings on a column."""
        yield self._share("missing", column.missing, column.rows, column=name)
        match column:
            case Numbers():
                yield self._moved("drift", name, column, name)
                names = f"{number(column.lowest)} to {number(column.highest)}"
                yield self._share("out of range", column.beyond, column.rows, names, name)
            case Categories():
                yield self._moved("drift", name, column, name)
                names = _named(column.new)
                yield self._share("unknown categories", column.unknown, column.rows, names, name)
                yield self._vanished(name, column)
            case Vectors():
                for summary, numbers in column.summaries.items():
                    yield self._moved("drift", f"The {summary} of {name}", numbers, name)
            case Texts():
                where = f"{column.unit} in a {column.whole} of {name}"
                yield self._moved("drift", f"The {where}", column.lengths, name)
                if column.unfamiliar is not None:
                    what = f"The share of unfamiliar {where}"
                    found = self._moved("vocabulary", what, column.unfamiliar, name)
                    new = f" New are {_named(column.new)}." if column.new else ""
                    yield replace(found, sentence=found.sentence + new)
                yield self._words(name, column)

    def _vanished(self, name: str, column: Categories) -> Finding:
        """The most frequent value of some weight that no row of the window has."""
        shares = column.table[THEN] / max(int(column.rows[THEN]), 1)
        heavy = (shares >= LEAST_SHARE) & (np.arange(len(shares)) < len(column.names))
        gone = np.where(heavy & (column.table[NOW] == 0), shares, 0.0)
        place, most, rows = int(gone.argmax()), float(gone.max()), float(column.rows[NOW])
        rows *= self._window.independent
        if most and self._history:
            rows /= self._history.overdispersion(name, place)
        p = min(1.0, float(heavy.sum() * (1 - most) ** rows)) if most else 1.0
        words = {"names": [*column.names, ""][place], "then": share(most), "since": self._since}
        sentence = SENTENCES["vanished categories"].format(column=name, **words)
        return Finding("vanished categories", name, "binomial", most, LEAST_SHARE, p, sentence)

    def _share(
        self,
        check: str,
        hits: ArrayLike,
        rows: ArrayLike,
        names: str = "",
        column: str | None = None,
    ) -> Finding:
        """How far a share moved: of some rows, shape (2,), among all of them."""
        some, every = np.asarray(hits), np.asarray(rows)
        then, now = some / np.maximum(every, 1)
        words = {"column": column, "names": names, "since": self._since}
        sentence = SENTENCES[check].format(then=share(then), now=share(now), **words)
        both = self._own(np.stack([some, every], axis=1))
        p, moved = float(drift.shares(both[:, :1], both[:, 1])[0]), float(abs(now - then))
        return Finding(check, column, "chi-square", moved, self._limits.share, p, sentence)

    def _moved(
        self,
        check: str,
        what: str,
        moved: Numbers | Categories,
        column: str | None = None,
        since: str | None = None,
    ) -> Finding:
        """How far a distribution moved, and where to."""
        since, limit = since or self._since, self._limits.psi
        found = drift.difference(self._own(moved.table), ordered=isinstance(moved, Numbers))
        if isinstance(moved, Numbers):
            then, now = (number(mean) for mean in moved.means)
            change = f"{now} on average, and {then} {since}"
        else:
            shares = moved.table / np.maximum(moved.table.sum(axis=1, keepdims=True), 1)
            place = int(np.abs(shares[NOW] - shares[THEN]).argmax())
            then, now = (share(one) for one in shares[:, place])
            value = [*moved.names, "all other values together"][place]
            change = f"{value} {now}, and {then} {since}"
        sentence = f"{what} moved (PSI {found.psi:.2f}): {change}."
        by, apart = found.test, found.distance
        return Finding(check, column, by, found.psi, limit, found.p, sentence, distance=apart)

    def _words(self, name: str, texts: Texts) -> Finding:
        """How far the words moved, and which most.

        The words taken together move by the PSI of their counts, a single one by that of being in
        a text or not.
        """
        psi, p, moved, limits = 0.0, 1.0, "", self._limits
        if texts.words and texts.texts.all():
            table = self._own(texts.table)
            chances = drift.shares(table, self._own(texts.texts[:, None])[:, 0]) * len(texts.words)
            then, now = (texts.table + 0.5) / (texts.texts[:, None] + 1)
            single = (now - then) * np.log(now * (1 - then) / (then * (1 - now)))
            single = np.where(chances <= limits.alpha, single, 0.0)
            together = float(drift.psi(drift.pooled(table)))
            psi, p = max(together, float(single.max())), min(1.0, float(chances.min()))
            moved = ", ".join(
                f"{texts.words[place]} in {share(now[place])} ({share(then[place])})"
                for place in np.argsort(-single, kind="stable")[:MOST_NAMED]
                if single[place] > 0
            )
        sentence = f"{name} has other {texts.unit} (PSI {psi:.2f})"
        sentence += f": {moved} ({self._since})." if moved else "."
        return Finding("vocabulary", name, "chi-square", psi, limits.psi, p, sentence)

    def _fallen(self, scored: Scored, pool: Pool) -> Finding:
        """How much worse a score is than on the holdout."""
        score, expected = scored.score, cast(Known, scored.expected)
        gap = (expected.value - scored.value) * (-1 if score.loss else 1)
        # Intervals lean: what counts is how far both reach towards each other.
        reach = scored.value - scored.low if score.loss else scored.high - scored.value
        p = self._beyond(gap, expected.deviation, reach / 1.96, pool)
        sentence = (
            f"{score.label} is {number(scored.value)} (95% interval {number(scored.low)} to "
            f"{number(scored.high)}), and was {number(expected.value)} on the holdout."
        )
        lead = score.gain(expected.value, scored.value)
        return Finding("score", None, score.name, lead, self._limits.score, p, sentence)

    def _trust(self, pool: Pool) -> Iterator[Finding]:
        """How far the model's certainty is from the truth, compared with the holdout."""
        expected, by_class = self._reference.trust, self._reference.contract.classes
        if expected is None:
            return
        found = self._reference.trusted(*pool[1:5])
        # An interval that covers more than it promises breaks no promise.
        gap = abs(found.value - expected.value) if by_class else expected.value - found.value
        sides = 2 if by_class else 1
        p = min(1.0, sides * self._beyond(gap, expected.deviation, found.deviation, pool))
        check, form = ("calibration", _points) if by_class else ("coverage", share)
        sentence = SENTENCES[check].format(then=form(expected.value), now=form(found.value))
        yield Finding(check, None, "z", gap, self._limits.share, p, sentence)

    def _beyond(self, gap: float, then: float, now: float, pool: Pool) -> float:
        """How likely chance goes as far as a gap between two values of such deviations.

        Where nothing has changed, rows of both spread alike: what is known best from the many rows
        tells how far the few may stray, and a holdout that was easy by chance looks no surer.
        """
        rows = np.sqrt(self._reference.held_out * self._reference.independent / pool.worth)
        return float(ndtr(-gap / max(float(np.hypot(then * rows, now / rows)), 1e-12)))


def scores(pool: Pool, seed: int) -> list[Scored]:
    """The true scores of labelled rows, as far as they are defined."""
    truth, said, reference = pool.truth, pool.said, pool.windows[0].reference
    known = np.ones(len(truth), dtype=bool)
    if truth.dtype.kind in "if":  # and no item
        known = np.isfinite(truth) if said.probabilities is None else truth >= 0
    found: list[Scored] = []
    for score in reference.scores:
        # A label that the model never heard of is a miss; only accuracy has a place for it.
        chosen = known | (score.name == "accuracy")
        rows, weights = (truth[chosen], said[chosen]), pool.weights[chosen]
        value, units = metrics.prepare(score, *rows)(weights), pool.units[chosen]
        low, high = metrics.intervals([score], *rows, seed, units, weights)[score.name]
        if np.isfinite([value, low, high]).all():
            found.append(Scored(score, value, low, high, reference.expected(score)))
    return found


def _measured(column: Distribution, found: Iterable[Finding]) -> Measured:
    """What a column is like, in four numbers for people and dashboards."""
    moved = [finding.value for finding in found if finding.check in BY_PSI]
    rows, out_of_range, unknown = column.rows[NOW] or np.nan, None, None
    match column:
        case Numbers():
            out_of_range = column.beyond[NOW] / rows
        case Categories() if column.known is not None:
            unknown = column.unknown[NOW] / rows
        case Texts() if column.unfamiliar is not None:
            unknown = column.unfamiliar.means[NOW]
        case Vectors():
            unknown = 1 - column.summaries["known share"].means[NOW]
    return {
        "psi": rounded(max(moved, default=None)),
        "missing": rounded(column.missing[NOW] / rows),
        "out_of_range": rounded(out_of_range),
        "unknown": rounded(unknown),
    }


def _named(counted: Counter[str]) -> str:
    """The most frequent names with their counts."""
    return ", ".join(f"{name} ({rows:,})" for name, rows in profile.frequent(counted, MOST_NAMED))


def _points(value: float) -> str:
    return f"{100 * abs(value):.1f} points {'less' if value < 0 else 'more'}"
