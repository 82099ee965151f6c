"""What only the registry can ask of a model: whether the champion is better, and how fast it is."""

from collections.abc import Mapping
from copy import copy
from dataclasses import replace
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..bundle import Bundle, Prediction, Session, decided
from ..contract import Contract
from ..errors import UserError
from ..evaluation import gates, metrics
from ..evaluation.gates import Gate
from ..pipeline import labelled, parquet
from ..pipeline.hashing import row_keys
from ..pipeline.parsing import parse
from ..scoring import predict, unfit
from ..settings import BLEND, Settings
from ..wording import rounded
from .champion import kept, rivals
from .feature_code import own_features
from .tracking import Store, Version

REGRESSION = "champion regression"

SINGLE_ROWS = 100
"""How many rows are scored one by one to measure the latency of a row."""


def judge(
    store: Store, settings: Settings, bundle: Bundle, champion: Version | None
) -> tuple[list[Gate], dict[str, Any]]:
    """Apply the gates that need a champion or a clock; `models/champion` holds the champion.

    Returns:
        The verdicts, and as JSON-able data what they rest on: the score's name, its value on the
        holdout, and the champion's there, which is None if the champion cannot be scored.

    Raises:
        UserError: if the holdout is not here, or the bundle was made by other code than is here.
    """
    project = store.project
    contract = bundle.contract
    frame = parquet.spread(project.holdout, contract, settings.train.in_memory)
    if obstacle := bundle.obstacle():
        raise UserError(f"The code has changed since the training: {obstacle}; run `make train`.")
    columns = contract.arrays(frame)
    judged = bundle.judged
    slowest = max(latency(its, columns) for its in dict.fromkeys([bundle, judged]))
    limit = settings.gates.latency_milliseconds
    fast = gates.latency(slowest, limit, slow_member(bundle, columns) if slowest > limit else "")
    score = metrics.of(bundle.manifest)
    value = bundle.manifest["metrics"].get(score.name)
    evidence: dict[str, Any] = {"score": score.name, "value": value, "champion": None}
    if champion is None:
        return [Gate.skip(REGRESSION, "There is no champion yet."), fast], evidence
    evidence["champion"] = {"version": champion.number, "value": None}
    labels, known = contract.labels(frame), Bundle(project.champion).contract.classes
    new = {label: place for place, label in enumerate(contract.classes) if label not in known}
    old = ~np.isin(labels, [*new.values()])
    frame, truth = frame.filter(old), labels[old]
    columns = {name: values[old] for name, values in columns.items()}
    said: dict[str, Prediction] = {}
    for version in (champion, *rivals(store, champion, score)):
        office = ", the champion," if version == champion else ""
        try:
            other = Bundle(project.champion if office else kept(store, version))
            if obstacle := incomparable(other, bundle):
                title = f"Version {version.number}{office} is not comparable"
                raise UserError(f"{title}: {obstacle}.")
            with own_features(project, other, store, strict=True):
                said[f"version {version.number}"] = answers(other.judged, contract, frame)
        except UserError as error:
            if office:
                return [Gate.skip(REGRESSION, str(error)), fast], evidence
            print(f"left out {REGRESSION}: {error}")
    ours, weights = predict(judged, columns), contract.weights(frame)
    theirs = said.pop(f"version {champion.number}")
    evidence["champion"]["value"] = rounded(metrics.value(score, truth, theirs, weights))
    group, asked = contract.with_role("group"), []
    if new:
        evidence["value"] = rounded(metrics.value(score, truth, ours, weights))  # on the same rows
        learnt = bundle.manifest["profile"]["target"]
        rows = {label: learnt[label] + int(np.sum(labels == new[label])) for label in new}
        asked.append(gates.new_classes(rows))
    groups = None if group is None else metrics.groups(frame[group.name])

    def compared(rows: NDArray[np.bool_], new: Prediction, old: Prediction, **more: Any) -> Gate:
        its, limit = None if groups is None else groups[rows], settings.gates.regression
        measured = score, truth[rows], new[rows], old[rows]
        return gates.regression(*measured, limit, settings.seed, its, weights=weights[rows], **more)

    every = metrics.scores_of(contract.task, decided(bundle.manifest.get("decision")).costs)
    asked += gates.own(every, truth, columns, weights, ours, theirs)
    more = {"earlier": said, "improvement": settings.gates.improvement}
    regression = compared(np.ones(len(truth), dtype=bool), ours, theirs, **more)
    later = labelled.rows(project, contract, since=f"{champion.created:{labelled.TAKEN_IN}}")
    names = [column.name for column in contract.features]
    newer = np.zeros(len(frame), dtype=bool)
    if later is not None:
        newer = np.isin(row_keys(frame.lazy(), names), row_keys(parse(later).rows, names))
    if newer.any() and not newer.all():
        lost, passed = compared(~newer, ours, theirs), True
        if not lost.passed and lost.value is not None:
            gained = compared(newer, theirs, ours)  # the champion's loss there
            passed = not gained.passed and gained.value is not None
        reason = f"Without what was labelled since the champion was trained: {lost.reason}"
        asked.append(replace(lost, name="earlier rows", passed=passed, reason=reason))
    return [regression, *asked, fast], evidence


def incomparable(champion: Bundle, challenger: Bundle) -> str | None:
    """Why the champion cannot be measured on the challenger's holdout; None if it can.

    A challenger that knows more classes is comparable: to the champion they have probability 0.
    """
    theirs, contract = champion.contract, challenger.contract
    if theirs.target.name != contract.target.name:
        return f"it predicts {theirs.target.name}"
    alike = (theirs.task, theirs.target.dtype) == (contract.task, contract.target.dtype)
    if not alike or not set(theirs.classes) <= set(contract.classes):
        return f"it tells other values of {theirs.target.name} apart"
    split = champion.manifest["data"].get("split")
    if split is None:
        return "release 0.1.0 did not say by which rule it held rows out"
    if split != challenger.manifest["data"]["split"]:
        return "rows were held out by another rule, so it has learnt from some that judge now"
    return unfit(champion, contract)


def answers(bundle: Bundle, contract: Contract, frame: pl.DataFrame) -> Prediction:
    """What a bundle says of rows, in the terms of a contract that knows its classes and more.

    A class that the bundle does not know has probability 0.
    """
    own = bundle.contract
    said = predict(bundle, own.arrays(frame))
    if own.classes == contract.classes:
        return said
    places = np.array([contract.classes.index(label) for label in own.classes])
    padded = np.zeros((len(said), len(contract.classes)), said.scored.dtype)
    padded[:, places] = said.scored
    return Prediction(places[said.values], padded)


def slow_member(bundle: Bundle, columns: Mapping[str, Any]) -> str:
    """The member of a blend that takes the longest for one row; nothing of a single model."""
    from ..pipeline.blend import members

    took, part, model = {"": 0.0}, copy(bundle), bundle.manifest["model"]
    for name, alone in members(bundle.model, model) if model["kind"] == BLEND else ():
        part.session = Session(alone)
        took[name] = latency(part, columns)
    return max(took, key=lambda name: took[name])


def latency(bundle: Bundle, columns: Mapping[str, Any]) -> float:
    """The median time in milliseconds in which one row is scored, alone."""
    rows = len(next(iter(columns.values())))

    def once(position: int) -> float:
        row = {name: values[position : position + 1] for name, values in columns.items()}
        start = perf_counter()
        bundle.predict(row)
        return 1000 * (perf_counter() - start)

    once(0)
    return median(once(turn % rows) for turn in range(SINGLE_ROWS))
