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

NAMES = (
    "baseline gain", "minimum score", "worst slice", "export parity", "refitted export parity",
    "champion regression", "earlier rows", "new class", "latency", "shadow", "fairness", "use case",
)  # fmt: skip
"""What gates are called that are not the project's own."""

CONFIDENCE = 0.95
"""How sure a gate must be before it refuses a model for a difference that could be chance."""


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
        f"{score.amount(abs(gain))}; {score.amount(limit)} is asked."
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


def worst_slice(measured: Sequence[Mapping[str, Any]], limit: float) -> Gate:
    """In no slice may the model lose more than the trivial baseline, beyond chance.

    What counts is the `excess` that `slices.measure` found. A slice is refused when it lies above
    `limit` with confidence, for as many slices as there are.
    """
    name = "worst slice"
    if not measured:
        return Gate.skip(name, "No slice has enough rows to be judged.")
    its, excess, sure = _worst(measured, "excess", limit)
    if np.isnan(sure):
        return _judge(name, np.nan, limit, False, "The loss of some rows is not a number.")
    reason = (
        f"In {its['slice']} ({its['rows']} rows) the loss is {number(its['loss'])} against the "
        f"trivial baseline's {number(its['baseline loss'])}: "
        f"{_behind(share, excess, sure, limit)}. Of {len(measured)} slices it is the weakest."
    )
    return _judge(name, excess, limit, sure <= limit, reason)


def fairness(score: Score, measured: Sequence[Mapping[str, Any]], limit: float) -> Gate:
    """No group may be worse off than all other rows by more than `limit`, beyond chance.

    What counts is the `gap` that `slices.beside_others` found, for as many groups as there are. A
    group that nothing can be said of is refused.
    """
    its, gap, sure = _worst(measured, "gap", limit)
    where = f"{its['group']} ({its['rows']} rows)"
    if np.isnan(sure):
        reason = f"Too little is known of {where}: hold out more, or declare another group."
        return _judge("fairness", np.nan, limit, False, reason)
    reason = (
        f"Of {len(measured)} groups the furthest behind is {where}: {score.label} "
        f"{number(its['score'])} against {number(its['others'])} of all other rows: "
        f"{_behind(score.amount, gap, sure, limit)}."
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
        groups: shape (rows,), see `metrics.replicates`.
        earlier: the answers of the champions since a person promoted one, by their names.
        improvement: how much better than all of them the model must be, beyond chance, if at all.
        weights: shape (rows,), how much each row counts.
    """
    rivals = {"the champion": champion, **(earlier or {})}

    models = [challenger, *rivals.values()]

    def prepare_rows(chosen: NDArray[np.int64]) -> list[metrics.Measure]:
        return [metrics.prepare(score, truth[chosen], said[chosen]) for said in models]

    def gains(ours: float, *theirs: float) -> list[float]:
        return [score.gain(its, ours) for its in theirs]

    new, *olds = (metrics.value(score, truth, said, weights) for said in models)
    leads = np.array(gains(new, *olds))
    drawn = metrics.replicates(prepare_rows, len(truth), seed, groups, weights)
    strayed = np.array([gains(*values) for values in drawn.tolist()]) - leads
    defined = strayed[np.isfinite(strayed).all(axis=1)]
    strayed = defined if len(defined) else np.full((1, len(leads)), np.nan)
    best = int(leads.argmax())
    lead, name = float(leads[best]), [*rivals][best]
    sure = lead + float(np.quantile(strayed.min(axis=1), 1 - CONFIDENCE))
    gain = 0.0 - float((leads + np.quantile(strayed, CONFIDENCE, axis=0)).max())
    verdict = _behind(score.amount, lead, sure, limit)
    reason = f"{score.label} {number(new)} against {name}'s {number(olds[best])}: {verdict}."
    if best and sure > limit:
        reason += (
            f" A person promoted none since {name}; `uv run ops promote champion` accepts the loss."
        )
    if improvement is not None:
        reason += (
            f" With 95% confidence it is better by {score.amount(gain)} or more; over "
            f"{score.amount(improvement)} is asked."
        )
    loss = 3 * limit or 0.03  # one that a reader would want to be seen
    apart = min(loss, 0.5)  # models that differ by this disagree on as large a share of the rows
    spread = max(float(strayed[:, best].std()), sqrt(apart * (1 - apart) / len(truth)))
    seen = NormalDist().cdf((loss - limit) / spread - NormalDist().inv_cdf(CONFIDENCE))
    reason += f" On {len(truth):,} rows a loss of {score.amount(loss)} is seen with {seen:.0%}."
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
    if not (functions := [*metrics.named("GATES", *NAMES)]):
        return []
    seen: dict[str, Any] = {"truth": truth, "columns": columns, "weights": weights}
    for whose, its in (("", said), ("champion_", said if champion is None else champion)):
        seen[f"{whose}answers"], seen[f"{whose}probabilities"] = its.values, its.probabilities
        measured = {it.name: metrics.value(it, truth, its, weights) for it in scores}
        seen[f"{whose}scores"] = measured
    judged = []
    for name, gate in functions:
        asked = [str(it).partition(":")[0] for it in signature(gate).parameters.values()]
        if unknown := [what for what in asked if what not in seen]:
            raise UserError(
                f"ml/metrics.py: {name} asks for {listed(unknown)}; there are {listed([*seen])}."
            )
        if any(what.startswith("champion") for what in asked) == (champion is None):
            continue
        match gate(**deepcopy({what: seen[what] for what in asked})):
            case (bool() | np.bool() as passed, str() as reason):
                judged.append(Gate(name, bool(passed), None, None, one_line(reason)))
            case _:
                raise UserError(f"ml/metrics.py: {name} must return a boolean and a sentence.")
    return judged


def _judge(name: str, value: float, limit: float, passed: bool, reason: str) -> Gate:
    finite = bool(np.isfinite(value))
    return Gate(name, bool(passed) and finite, float(value) if finite else None, limit, reason)


def _worst(
    measured: Sequence[Mapping[str, Any]], gap: str, limit: float
) -> tuple[Mapping[str, Any], float, float]:
    """Which part of the rows is the furthest behind, by how much it is, and by how much for sure.

    `gap` is what this is called; its standard error is the `deviation`. What exceeds the limit is
    sure for all parts together. Of the first one of which too little is known it is NaN.
    """
    trust = NormalDist().inv_cdf(1 - (1 - CONFIDENCE) / len(measured))
    told = [[its[gap], its["deviation"]] for its in measured]
    gaps, errors = np.array(told, dtype=np.float64).T
    sure = gaps - trust * errors * (gaps > limit)
    place = int(sure.argmax())  # NaN comes first
    return measured[place], float(gaps[place]), float(sure[place])


def _behind(amount: Callable[[float], str], lead: float, sure: float, limit: float) -> str:
    """How another's lead reads, which is at least what one can be sure of."""
    if lead <= 0:
        return "no worse"
    least = f", and by at least {amount(sure)} with 95% confidence" if sure > limit else ""
    chance = " beyond chance" if sure <= limit < lead else ""
    return f"worse by {amount(lead)}{least}; {amount(limit)} is allowed{chance}"
