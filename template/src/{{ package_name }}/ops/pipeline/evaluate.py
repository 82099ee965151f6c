"""Judge the exported model on the rows held out, explain it, and bundle it.

Everything written is a function of the candidate, the data and the parameters: the same inputs
give the same bytes.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...ml.features import features
from .. import contract as contracts
from .. import mlflow_model, user_code
from ..bundle import FORMAT, JUDGED, MANIFEST, Prediction, decided, joined, load
from ..contract import Contract
from ..errors import UserError
from ..evaluation import cards, diagnostics, gates, metrics, plots, slices
from ..evaluation.distributions import history
from ..evaluation.profile import calibration, interval, profile
from ..files import read_json, sha256, write_files, write_json
from ..project import Project
from ..sampling import example, golden
from ..scoring import in_batches
from ..settings import Settings
from ..wording import listed, rounded
from . import labelled, parquet, split
from .hashing import row_keys
from .parsing import parse
from .validate import check

Array = NDArray[Any]
Answer = Callable[[Mapping[str, Array]], Prediction]
"""A model as a function of the contract's columns."""

PROFILE_ROWS = 500_000  # the profile is taken from as many training rows at most, spread evenly
RECENT, LEAST_RECENT = 1_000, 100  # rows taken in last: so many are looked at, of so many or more
LIBRARIES = ("numpy", "onnxruntime", "scikit-learn", "skl2onnx")


class Holdout:
    """The rows held out, and what is said of them; see `metrics` for the shapes."""

    def __init__(self, project: Project, settings: Settings, frame: pl.DataFrame) -> None:
        """Let the exported model answer these rows, beside those that `train` asked.

        A UserError if there is no model.
        """
        self.project, self.settings, self.frame = project, settings, frame
        told = project.candidate / "training.json"
        if not told.exists():
            raise UserError("No model is trained yet: run `make train`.")
        self.training = training = read_json(told)
        self.contract = contract = Contract.from_dict(training["contract"])
        self.primary, self.decision = metrics.of(training), decided(training["decision"])
        self.arrays, self.truth = contract.arrays(frame), contract.labels(frame)
        self.weights, group = contract.weights(frame), contract.with_role("group")
        self.groups = None if group is None else metrics.groups(frame[group.name])
        places = [it for it in (project.candidate / JUDGED, project.candidate) if it.exists()]
        self.answer, *again = (self._scorer(it / training["file"]) for it in places)
        self.served = [self.answer, *again][-1]  # the same, or what was fitted again on all rows
        self.answers = self.answer(self.arrays)
        with np.load(project.candidate / "answers.npz") as file:
            own = dict(file)

        def fitted(name: str) -> Prediction:
            return Prediction(own[f"{name}_values"], own.get(f"{name}_probabilities"))

        self.fitted, self.baseline = fitted("model"), fitted("trivial")
        self.refitted = fitted("served") if again else None
        self.history = self.decision.answer(own["history"])  # of training rows, out of fold
        if "history_items" in own:
            self.history = Prediction(own["history_items"], own["history"])

    def _scorer(self, model: Path) -> Answer:
        """An exported model; on one thread, so that sums are taken in one order everywhere."""
        session = load(model, self.training["decision"])

        def predict(arrays: Mapping[str, Array]) -> Prediction:
            made = features(arrays, self.contract.text)
            names = (feature["name"] for feature in self.training["features"])
            return in_batches(session, [made[name] for name in names])

        return predict


def run(project: Project) -> None:
    """Write `models/bundle` and `reports/`."""
    settings = Settings.load(project.params)
    frame = parquet.spread(project.holdout, contracts.load(), settings.train.in_memory)
    print(f"The exported model scores {len(frame):,} held-out rows", flush=True)
    holdout = Holdout(project, settings, frame)
    contract, training, primary = holdout.contract, holdout.training, holdout.primary
    truth, answers, weights = holdout.truth, holdout.answers, holdout.weights
    seed = training["seed"]
    worth = diagnostics.importance(holdout.answer, holdout.arrays, truth, primary, seed, weights)
    if left_out := len(holdout.arrays) - len(worth):
        print(f"Not measured for their importance: {left_out:,} of the columns", flush=True)
    order = [record["column"] for record in worth]
    every = slices.slices(contract.features, holdout.arrays, order)
    parts = [(name, rows) for name, rows in every if weights[rows].any()]
    said = primary, truth, answers
    by_slice = slices.measure(parts, *said, holdout.baseline, weights, holdout.groups)
    declared = slices.groups(settings.gates.groups or {}, frame)
    rest = seed, holdout.groups, weights
    by_group = slices.beside_others(declared, *said, *rest) if declared else []
    found = {
        "importance": worth,
        "slices": by_slice,
        "validation": diagnostics.validation(training["validation"], primary),
        "learning_curve": diagnostics.learning_curve(training["learning_curve"], primary),
        **({"groups": by_group} if by_group else {}),
    }
    if contract.classes:
        found["confusion"] = diagnostics.confusion(truth, answers, contract.classes)
        found["calibration"] = diagnostics.calibration(truth, answers)
        if "threshold" in (told := training["decision"]):
            found["thresholds"] = diagnostics.thresholds(truth, answers, told, weights)
    judged = project.candidate / JUDGED / training["file"]
    manifest = {
        "format": FORMAT,
        "file": training["file"],
        "task": contract.task,
        "classes": list(contract.classes),
        **({"items": answers.values.shape[1]} if answers.values.ndim > 1 else {}),
        "contract": contract.to_dict(),
        "fingerprint": contract.fingerprint,
        "features": training["features"],
        "code": user_code.digest(user_code.modules()),
        "model": {
            "kind": training["model"],
            "parameters": training["parameters"],
            "remark": training.get("remark", ""),
        },
        **({"decision": training["decision"]} if training["decision"] else {}),
        **({"refit": sha256(judged)} if holdout.refitted else {}),
        **judge(holdout, by_slice, by_group),
        **describe(holdout),
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
    write(manifest, found, holdout)
    for gate in manifest["gates"]:
        verdict = "passed " if gate["passed"] else "REFUSED"
        print(f"{verdict}  {gate['name']}: {gate['reason']}", flush=True)


def judge(
    holdout: Holdout, by_slice: Sequence[diagnostics.Record], by_group: Sequence[diagnostics.Record]
) -> dict[str, Any]:
    """What the manifest says of the scores, and of the gates that need no champion.

    `by_slice` is what `slices.measure` found, and `by_group` what `slices.beside_others` did, if
    groups are declared.
    """
    contract, limits, primary = holdout.contract, holdout.settings.gates, holdout.primary
    truth, answers, baseline = holdout.truth, holdout.answers, holdout.baseline
    seed, groups, weights = holdout.training["seed"], holdout.groups, holdout.weights
    scores = metrics.scores_of(contract.task, holdout.decision.costs)

    def told_of(weights: Array) -> dict[str, Any]:
        """The scores, and their intervals, if rows count as much as told."""
        values = {score.name: metrics.value(score, truth, answers, weights) for score in scores}
        found = metrics.intervals(scores, truth, answers, seed, groups, weights)
        spans = {name: [rounded(low), rounded(high)] for name, (low, high) in found.items()}
        return {"metrics": numbers(values), "intervals": spans}

    told = told_of(weights)
    if lost := {score.name for score in scores if not score.task} - told["metrics"].keys():
        said = f"{listed(sorted(lost))} of what the model answers to the rows held out is no number"
        raise UserError(f"ml/metrics.py: {said}.")
    trivial = {score.name: metrics.value(score, truth, baseline, weights) for score in scores}
    value, least = metrics.value(primary, truth, answers, weights), trivial[primary.name]

    def parity(said: Prediction, fitted: Prediction) -> gates.Gate:
        told = holdout.training["decision"]  # else the model may have a threshold of its own
        labels = None if told else (said.values, fitted.values)
        return gates.export_parity(said.scored, fitted.scored, limits.parity, labels)

    verdicts = [
        gates.baseline_gain(primary, value, least, limits.baseline_gain),
        gates.minimum_score(primary, value, limits.minimum_score),
        gates.worst_slice(by_slice, limits.slice),
        *([gates.fairness(primary, by_group, limits.group_gap)] if by_group else []),
        parity(answers, holdout.fitted),
        *gates.own(scores, truth, holdout.arrays, weights, answers),
    ]
    if holdout.refitted:
        again = parity(holdout.served(holdout.arrays), holdout.refitted)
        verdicts.append(replace(again, name="refitted export parity"))
    return {
        "score": primary.name,
        **told,
        "baseline": numbers(trivial),
        **({"unweighted": told_of(np.ones(len(truth)))} if contract.with_role("weight") else {}),
        "interval": interval(truth, answers.values) if answers.probabilities is None else None,
        "calibration": calibration(truth, answers) if contract.classes else None,
        "gates": [gate.to_dict() for gate in verdicts],
    }


def describe(holdout: Holdout) -> dict[str, Any]:
    """What the manifest says of the data."""
    project, contract, settings = holdout.project, holdout.contract, holdout.settings
    learnt = parquet.spread(project.train, contract, settings.train.in_memory)
    every, step = parquet.count(project.train), max(1, -(-len(learnt) // PROFILE_ROWS))
    train, frame = learnt.gather_every(step), holdout.frame
    in_time, sample = contract.with_role("event_time"), holdout.training.get("sample")
    arrays, labels = contract.arrays(train), contract.labels(train)
    if in_time:
        both = (arrays, {name: values[::step] for name, values in holdout.arrays.items()})
        arrays = {name: np.concatenate([part[name] for part in both]) for name in arrays}
    seen = profile(contract, arrays, labels, holdout.answers)
    if contract.task == "recommendation":
        seen["prediction"]["new"] = int(np.isin(holdout.truth, labels, invert=True).sum())
    seen |= groups(contract, [train, frame.gather_every(step)] if in_time else [train])
    rows_made = golden(contract, seen)
    period = None
    if in_time and not in_time.sensitive:
        said = joined([holdout.history[::step], holdout.answers[::step]])
        seen["history"] = history(contract, seen, arrays, said)
        seen["history"]["rows"] *= step * round(every / len(learnt))
        moments = {"train": train[in_time.name], "holdout": frame[in_time.name]}
        period = {
            part: [str(times.min())[:19], str(times.max())[:19]] for part, times in moments.items()
        }
    elif taken := newest(holdout):
        seen["newest"] = taken
    return {
        "profile": seen,
        "example": None if rows_made is None else example(rows_made),
        "golden": None if rows_made is None else answered(holdout, contract.arrays(rows_made)),
        "data": {
            "rows": {"train": every, "holdout": len(frame)},
            **({"sample": sample} if sample else {}),
            "split": split.rule(contract, settings.split),
            "period": period,
            "sha256": {"train": sha256(project.train), "holdout": sha256(project.holdout)},
        },
    }


def newest(holdout: Holdout) -> dict[str, Any] | None:
    """The profile of the rows that were taken in last; None if they are few.

    If enough of them were held out, the answers are those to these.
    """
    contract = holdout.contract
    taken = labelled.rows(holdout.project, contract)
    if taken is None:
        return None
    rows = check(parse(taken.tail(RECENT), origin="data/labelled").rows.collect()).good
    if len(rows) < LEAST_RECENT:
        return None
    names = [column.name for column in contract.inputs]
    keys, held = (row_keys(its.lazy(), names) for its in (rows, holdout.frame))
    asked = rows.filter(np.isin(keys, held))
    few = len(asked) < LEAST_RECENT
    answers = holdout.answers if few else holdout.answer(contract.arrays(asked))
    seen = profile(contract, contract.arrays(rows), contract.labels(rows), answers)
    return seen | groups(contract, [rows])


def groups(contract: Contract, frames: Sequence[pl.DataFrame]) -> dict[str, int]:
    """How many `groups` some rows are of, if the contract has any."""
    group = contract.with_role("group")
    if group is None:
        return {}
    return {"groups": pl.concat([rows.select(group.name) for rows in frames]).n_unique()}


def answered(holdout: Holdout, rows: Mapping[str, Array]) -> dict[str, Any]:
    """Golden rows as JSON-able columns, and what the model that will serve answers to them."""
    said = holdout.served(rows)
    clear, answers = said.finite, said.scored
    return {
        "columns": {name: values[clear].astype(str).tolist() for name, values in rows.items()},
        "answers": np.vectorize(rounded, otypes=[float])(answers[clear]).tolist(),
    }


def write(
    manifest: Mapping[str, Any], found: Mapping[str, list[diagnostics.Record]], holdout: Holdout
) -> None:
    """Write the bundle, and the reports on it."""
    print("Plots and cards are drawn", flush=True)
    score, project = holdout.primary, holdout.project
    value = manifest["metrics"].get(score.name, float("nan"))
    shown = holdout.truth, holdout.answers, manifest["classes"]
    pictures = plots.draw(*shown, found, score, value, holdout.weights)
    validation, place = read_json(project.reports / "validation.json"), project.candidate
    models = {
        str(file.relative_to(place)): file.read_bytes() for file in place.rglob(manifest["file"])
    }
    told = {MANIFEST: manifest, "MLmodel": mlflow_model.description(manifest)}
    write_files(project.bundle, models | told)
    reports: dict[str, Mapping[str, Any]] = {
        "plots": pictures,
        "findings": {f"{name}.json": records for name, records in found.items()},
        "cards": cards.write(project.metadata, manifest, found, validation, pictures),
    }
    for name, files in reports.items():
        write_files(project.reports / name, files)
    write_json(project.reports / "gates.json", {gate["name"]: gate for gate in manifest["gates"]})
    trivial = manifest["baseline"].get(score.name)
    write_json(
        project.reports / "metrics.json",
        {
            **manifest["metrics"],
            **({} if trivial is None else {f"baseline_{score.name}": trivial}),
            **{f"rows_{part}": rows for part, rows in manifest["data"]["rows"].items()},
        },
    )


def numbers(values: Mapping[str, float]) -> dict[str, float]:
    """The scores that are defined, with six digits: more would be noise."""
    return {name: its for name, value in values.items() if (its := rounded(value)) is not None}
