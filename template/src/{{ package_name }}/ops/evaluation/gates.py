"""What a model must show before it may be promoted: one pure function per gate.

A gate never guesses: a number that is missing or not finite does not pass. Each says in one plain
sentence what was measured and what was asked.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass
from inspect import signature
from math import sqrt
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..bundle import Prediction, distance
from ..errors import UserError
from ..wording import listed, number, one_line, rounded, share
from . import metrics
from .metrics import Answers, Array, Score, Weights
from .slices import LEAST_ROWS, Slice

NAMES = (
    "baseline gain", "minimum score", "worst slice", "export parity", "refitted export parity",
    "champion regression", "earlier rows", "new class", "latency", "shadow", "fairness", "use case",
)  # fmt: skip
"""What gates are called that are not the project's own."""

CONFIDENCE = 0.95
"""How sure a gate must be before it refuses a model for a difference that could be chance."""

TOLD = ("answers", "probabilities", "scores")
"""What a gate of `ml/metrics.py` may ask for of a model; of the champion as `champion_answers`."""


@dataclass(frozen=True)
class Gate:
    """The verdict of one gate."""

    name: str
    passed: bool
    value: float | None
    """What was measured; None if it could not be."""
    limit: float | None
    reason: str
    skipped: bool = False

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-able data, rounded to what can be told apart."""
        return {**asdict(self), "value": rounded(self.value)}

    @classmethod
    def skip(cls, name: str, reason: str) -> "Gate":
        """A gate that does not apply, and why; it stands in nobody's way."""
        return cls(name, True, None, None, reason, skipped=True)


def baseline_gain(score: Score, value: float, baseline: float, limit: float) -> Gate:
    """The model must be better than the trivial baseline by `limit`, see `Score.gain`."""
    gain = score.gain(value, baseline)
    compares = "improves on" if gain >= 0 else "is worse than"
    reason = (
        f"{score.label} {number(value)} {compares} the trivial baseline's {number(baseline)} by "
        f"{_amount(score, abs(gain))}; {_amount(score, limit)} is asked."
    )
    return _judge("baseline gain", gain, limit, gain >= limit, reason)


def minimum_score(score: Score, value: float, limit: float | None) -> Gate:
    """The score must reach `limit`, in its own units; a loss must not exceed it."""
    name = "minimum score"
    if limit is None:
        return Gate.skip(name, "No minimum is set: gates.minimum_score is empty.")
    asked, passed = ("at most", value <= limit) if score.loss else ("at least", value >= limit)
    reason = f"{score.label} is {number(value)}; {asked} {number(limit)} is asked."
    return _judge(name, value, limit, passed, reason)


def worst_slice(
    slices: Sequence[Slice],
    losses: NDArray[np.float64],
    baseline: NDArray[np.float64],
    limit: float,
    seed: int,
    groups: Array | None = None,
    weights: Weights | None = None,
) -> Gate:
    """In no slice may the model lose more than the trivial baseline, beyond chance.

    What counts is the excess of the model's mean loss over the baseline's in the slice, as a share
    of the baseline's mean loss over all rows. A slice is refused when its excess lies above
    `limit` with confidence: by the bootstrap's standard error, for as many slices as there are.

    Args:
        slices: positions of their rows.
        losses: shape (rows,), the model's, see `metrics.losses`.
        baseline: shape (rows,), the trivial baseline's.
        limit: the excess that is tolerated.
        seed: of the bootstrap.
        groups: shape (rows,), see `metrics.deviations`.
        weights: shape (rows,), how much each one counts.
    """
    name = "worst slice"
    if not slices:
        return Gate.skip(name, "No slice has enough rows to be judged.")
    weighed = np.ones(len(losses)) if weights is None else weights
    whole = abs(metrics.mean(baseline, weighed))
    excess = (losses - baseline) / (whole or 1.0)
    if not np.isfinite(excess).all():
        return _judge(name, np.nan, limit, False, "The loss of some rows is not a number.")
    trust = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / len(slices))
    found = []
    for part in slices:
        value = sure = metrics.mean(excess[part.rows], weighed[part.rows])
        if value > limit:
            rows = part.rows
            strayed = metrics.deviations(
                _mean_of(excess[rows], weighed[rows]),
                len(rows),
                seed,
                None if groups is None else groups[rows],
            )
            sure = value - trust * float(np.nanstd(strayed))
        found.append((sure, value, part))
    sure, value, part = max(found, key=lambda item: item[:2])
    model, trivial = (
        metrics.mean(its[part.rows], weighed[part.rows]) for its in (losses, baseline)
    )
    where = f"{part} ({len(part.rows)} rows)"
    if value <= 0:
        reason = (
            f"Of {len(slices)} slices the weakest is {where}: loss {number(model)} against the "
            f"trivial baseline's {number(trivial)}."
        )
    else:
        least = f", and by at least {share(sure)} with confidence" if sure > limit else ""
        chance = " beyond chance" if sure <= limit < value else ""
        reason = (
            f"In {where} the loss {number(model)} exceeds the trivial baseline's "
            f"{number(trivial)} by {share(value)} of its loss overall{least}; "
            f"{share(limit)} is allowed{chance}."
        )
    return _judge(name, value, limit, sure <= limit, reason)


def fairness(score: Score, measured: Sequence[Mapping[str, Any]], limit: float) -> Gate:
    """No group may be worse off than all other rows by more than `limit`, beyond chance.

    Chance is the bootstrap's standard error, for as many groups as there are; `measured` is what
    `fairness.measure` found. A group that nothing can be said of is refused.
    """
    trust, found = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / len(measured)), []
    for its in measured:
        where = f"{its['group']} ({its['rows']} rows)"
        if its["deviation"] is None or its["rows"] < LEAST_ROWS:
            reason = f"Too little is known of {where}: hold out more, or declare another group."
            return _judge("fairness", np.nan, limit, False, reason)
        found.append((its["gap"] - trust * its["deviation"], its["gap"], where, its))
    sure, gap, where, its = max(found, key=lambda item: item[:2])
    reason = (
        f"Of {len(found)} groups the furthest behind is {where}: {score.label} "
        f"{number(its['score'])} against {number(its['others'])} of all other rows: "
        f"{_behind(score, gap, sure, limit)}."
    )
    return _judge("fairness", gap, limit, sure <= limit, reason)


def export_parity(
    exported: Array, fitted: Array, limit: float, labels: tuple[Array, Array] | None = None
) -> Gate:
    """The exported model must answer every row as the fitted one does, see `bundle.distance`.

    Of a classification, `labels` are the classes that both say, as positions: they must be the
    same, but where the fitted model's probabilities hardly tell these two apart. Of a
    recommendation they are the items, which may change places, or be the last, where scores tie.
    """
    name = "export parity"
    if exported.shape != fitted.shape:
        shapes = f"{exported.shape}, the fitted one in {fitted.shape}"
        return _judge(name, np.nan, limit, False, f"The exported model answers in shape {shapes}.")
    value = distance(exported, fitted)
    if not np.isfinite(value):
        reason = "The exported model answers some rows with what is no number."
        return _judge(name, value, limit, False, reason)
    if labels is not None and fitted.ndim == 2 and (labels[0].ndim == 2 or value <= limit):
        if labels[0].ndim == 2:
            what, why = "recommends other items", "so mend what exports it"
            other = _clearly_other(*labels, fitted, limit)
        else:
            what, why = "says another class", "a threshold of its own is lost in the export, so"
            why += " leave it out of ml/model.py"
            ours, theirs = (fitted[np.arange(len(fitted)), said] for said in labels)
            other = np.abs(ours - theirs) > limit
        if other.any():
            reason = (
                f"The exported model {what} than the fitted one for {other.sum():,} of "
                f"{len(fitted):,} rows: {why}."
            )
            return _judge(name, float(other.mean()), limit, False, reason)
    unit = "" if fitted.ndim == 2 else " of their spread"
    reason = (
        f"On {len(fitted)} rows the exported model strays from the fitted one by at most "
        f"{value:.1e}{unit}; {limit:.1e} is allowed."
    )
    if value > limit:
        reason += (
            " A step in ml/model.py is converted wrongly: take another one, or export it yourself "
            "(docs/ops/models.md)."
        )
    return _judge(name, value, limit, value <= limit, reason)


def _clearly_other(
    exported: Array, fitted: Array, scores: Array, limit: float
) -> NDArray[np.bool_]:
    """In which rows an item differs whose score is no tie; the last may tie with what is left out.

    All have shape (rows, items).
    """
    apart = np.abs(np.diff(scores, axis=1)) > limit
    above = np.pad(apart, ((0, 0), (1, 0)), constant_values=True)
    below = np.pad(apart, ((0, 0), (0, 1)), constant_values=False)
    return np.asarray(((exported != fitted) & above & below).any(axis=1))


def regression(
    score: Score,
    truth: Array,
    challenger: Answers,
    champion: Answers,
    limit: float,
    seed: int,
    groups: Array | None = None,
    *,
    earlier: Mapping[str, Answers] | None = None,
    improvement: float | None = None,
    weights: Weights | None = None,
) -> Gate:
    """No champion may be better on the same rows by more than `limit`, beyond chance.

    A test of non-inferiority by a paired bootstrap: each replicate draws rows once and measures all
    models on them. The model is refused when a champion's lead exceeds `limit` with 95% confidence
    in all leads together. The gate says how likely it would see a loss.

    Args:
        score: what all are measured by.
        truth: see `metrics`; likewise the answers of the models.
        challenger: the answers of the model that is judged.
        champion: the answers of the model that it would replace.
        limit: the lead that is tolerated, see `Score.gain`.
        seed: of the bootstrap.
        groups: shape (rows,), see `metrics.deviations`.
        earlier: the answers of the champions since a person promoted one, by their names.
        improvement: how much better than all of them the model must be, beyond chance, if at all.
        weights: shape (rows,), how much each row counts.
    """
    rivals = {"the champion": champion, **(earlier or {})}

    def prepare_rows(chosen: NDArray[np.int64]) -> Callable[[Weights], list[float]]:
        ours, *theirs = (
            metrics.prepare(score, truth[chosen], said[chosen])
            for said in (challenger, *rivals.values())
        )

        def gains(times: Weights) -> list[float]:
            counted = times * weighed[chosen]
            return [score.gain(its(counted), ours(counted)) for its in theirs]

        return gains

    weighed = np.ones(len(truth)) if weights is None else weights
    new, *olds = (
        metrics.value(score, truth, said, weighed) for said in (challenger, *rivals.values())
    )
    leads = np.array([score.gain(old, new) for old in olds])
    strayed = metrics.deviations(prepare_rows, len(truth), seed, groups)
    defined = strayed[np.isfinite(strayed).all(axis=1)]
    strayed = defined if len(defined) else np.full((1, len(leads)), np.nan)
    best = int(leads.argmax())
    lead, name = float(leads[best]), [*rivals][best]
    sure = lead + float(np.quantile(strayed.min(axis=1), 1 - CONFIDENCE))
    gain = 0.0 - float((leads + np.quantile(strayed, CONFIDENCE, axis=0)).max())
    verdict = _behind(score, lead, sure, limit)
    reason = f"{score.label} {number(new)} against {name}'s {number(olds[best])}: {verdict}."
    if best and sure > limit:
        reason += (
            f" A person promoted none since {name}; `uv run ops promote champion` accepts the loss."
        )
    if improvement is not None:
        reason += (
            f" With 95% confidence it is better by {_amount(score, gain)} or more; over "
            f"{_amount(score, improvement)} is asked."
        )
    loss = 3 * limit or 0.03  # one that a reader would want to be seen
    apart = min(loss, 0.5)  # models that differ by this disagree on as large a share of the rows
    spread = max(float(strayed[:, best].std()), sqrt(apart * (1 - apart) / len(truth)))
    seen = NormalDist().cdf((loss - limit) / spread - NormalDist().inv_cdf(CONFIDENCE))
    reason += f" On {len(truth):,} rows a loss of {_amount(score, loss)} is seen with {seen:.0%}."
    passed = sure <= limit and (improvement is None or gain > improvement)
    return _judge("champion regression", lead, limit, passed, reason)


def new_classes(rows: Mapping[str, int]) -> Gate:
    """Each class that the champion does not know must have 20 of the `rows`, learnt or held out."""
    label, least = min(rows.items(), key=lambda item: item[1])
    reason = f"The champion does not know {label}, which has {least:,} rows; 20 are asked."
    return _judge("new class", least, 20, least >= 20, reason)


def answered(answers: Mapping[str, str | None]) -> Gate:
    """What the model is for must be answered, see `wizard.answers`."""
    left = [name for name, answer in answers.items() if answer is None]
    reason = f"{listed(left)} are not answered: run `uv run ops use-case`." if left else ""
    return _judge("use case", len(left), 0, not left, reason or "Every question is answered.")


def latency(milliseconds: float, limit: float, slowest: str = "") -> Gate:
    """One row must be scored within `limit` milliseconds; of a blend, `slowest` is a member."""
    reason = f"One row is scored in {number(milliseconds)} ms; {limit:g} ms is allowed."
    if milliseconds > limit:
        reason += f" Of its members {slowest} takes the longest." if slowest else ""
        reason += " Name a faster model in params.yaml, under train.model."
    return _judge("latency", milliseconds, limit, milliseconds <= limit, reason)


def own(
    scores: Sequence[Score],
    truth: Array,
    columns: Mapping[str, Array],
    weights: Weights,
    said: Prediction,
    champion: Prediction | None = None,
) -> list[Gate]:
    """The gates of `ml/metrics.py` that ask for nothing of a champion or, if it is given, do.

    A UserError if one asks for what there is not, or gives anything else than its verdict.
    """

    def of(whose: str, answers: Prediction) -> dict[str, Any]:
        measured = {it.name: metrics.value(it, truth, answers, weights) for it in scores}
        told = (answers.values, answers.probabilities, measured)
        return {f"{whose}{what}": its for what, its in zip(TOLD, told, strict=True)}

    known = ["truth", "columns", "weights", *TOLD]
    judged, names = [], [*known, *(f"champion_{what}" for what in TOLD)]
    for name, gate in metrics.named("GATES", *NAMES):
        asked = [*signature(gate).parameters]
        if unknown := [what for what in asked if what not in names]:
            raise UserError(
                f"ml/metrics.py: {name} asks for {listed(unknown)}; there are {listed(names)}."
            )
        if any(what.startswith("champion") for what in asked) == (champion is None):
            continue
        seen = {"truth": truth, "columns": columns, "weights": weights, **of("", said)}
        seen |= of("champion_", champion) if champion else {}
        match gate(**deepcopy({what: seen[what] for what in asked})):
            case (bool() | np.bool() as passed, str() as reason):
                judged.append(Gate(name, bool(passed), None, None, one_line(reason)))
            case _:
                raise UserError(f"ml/metrics.py: {name} must return a boolean and a sentence.")
    return judged


def _judge(name: str, value: float, limit: float, passed: bool, reason: str) -> Gate:
    finite = bool(np.isfinite(value))
    return Gate(name, bool(passed) and finite, float(value) if finite else None, limit, reason)


def _behind(score: Score, lead: float, sure: float, limit: float) -> str:
    """How another's lead reads, which is at least what one can be sure of."""
    if lead <= 0:
        return "no worse"
    least = f", and by at least {_amount(score, sure)} with 95% confidence" if sure > limit else ""
    chance = " beyond chance" if sure <= limit < lead else ""
    return f"worse by {_amount(score, lead)}{least}; {_amount(score, limit)} is allowed{chance}"


def _amount(score: Score, difference: float) -> str:
    return share(difference) if score.loss else number(difference)


def _mean_of(
    rows: NDArray[np.float64], weights: Weights
) -> Callable[[NDArray[np.int64]], metrics.Measure]:
    return lambda chosen: lambda drawn: metrics.mean(rows[chosen], drawn * weights[chosen])
