"""Judge the exported model on the rows held out, explain it, and bundle it.

Everything written is a function of the candidate, the data and the parameters: the same inputs
give the same bytes.
"""

import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...ml.features import features
from .. import mlflow_model, user_code
from ..bundle import FORMAT, JUDGED, MANIFEST, Prediction, decided, joined, load
from ..contract import Contract
from ..evaluation import cards, diagnostics, gates, metrics, plots, slices
from ..evaluation.distributions import history
from ..evaluation.profile import calibration, interval, profile
from ..files import read_json, sha256, write_files, write_json
from ..project import Project
from ..sampling import example, golden
from ..scoring import in_batches
from ..settings import Gates, Settings
from ..wording import rounded
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


@dataclass(frozen=True)
class Holdout:
    """The rows held out, and what is said of them; see `metrics` for the shapes."""

    arrays: dict[str, Array]  # the features, as `Contract.arrays` makes them
    truth: Array
    groups: Array | None
    weights: Array
    answer: Answer  # the exported model
    served: Answer  # the one that will serve: the same, or fitted again on all rows
    answers: Prediction  # its own, on these rows
    fitted: Prediction  # those of the pipeline that was exported
    refitted: Prediction | None  # those of the pipeline that was fitted again, if it was
    baseline: Prediction  # those of the trivial baseline
    history: Prediction  # what was answered in cross-validation, of the training rows


def run(project: Project) -> None:
    """Write `models/bundle` and `reports/`."""
    settings = Settings.load(project.params)
    training = read_json(project.candidate / "training.json")
    contract = Contract.from_dict(training["contract"])
    most = settings.train.in_memory
    frame = parquet.spread(project.holdout, most).collect()
    print(f"The exported model scores {len(frame):,} held-out rows", flush=True)
    holdout = score(project, contract, training, frame)
    primary = metrics.of(training)
    worth = diagnostics.importance(
        holdout.answer, holdout.arrays, holdout.truth, primary, training["seed"], holdout.weights
    )
    if left_out := len(holdout.arrays) - len(worth):
        print(f"Not measured for their importance: {left_out:,} of the columns", flush=True)
    order = [record["column"] for record in worth]
    every = slices.slices(contract.features, holdout.arrays, order)
    parts = [part for part in every if holdout.weights[part.rows].any()]
    asked, seed = (holdout.truth, holdout.answers), training["seed"]
    counted, alike = holdout.weights, holdout.groups
    by_slice = slices.measure(parts, primary, *asked, holdout.baseline, counted, alike)
    declared = slices.groups(settings.gates.groups or {}, frame)
    by_group = []
    if declared:
        by_group = slices.beside_others(declared, primary, *asked, seed, alike, counted)
    judged = judge(contract, settings.gates, training, holdout, by_slice, by_group)
    again = holdout.refitted is not None
    manifest = {
        "format": FORMAT,
        "file": training["file"],
        "task": contract.task,
        "classes": list(contract.classes),
        **({"items": holdout.answers.values.shape[1]} if holdout.answers.values.ndim > 1 else {}),
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
        **({"refit": sha256(project.candidate / JUDGED / training["file"])} if again else {}),
        **judged,
        **describe(project, contract, settings, frame, holdout, training.get("sample")),
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }
    found = {
        "importance": worth,
        "slices": by_slice,
        "validation": diagnostics.validation(training["validation"], primary),
        "learning_curve": diagnostics.learning_curve(training["learning_curve"], primary),
    }
    if by_group:
        found["groups"] = by_group
    if contract.classes:
        found["confusion"] = diagnostics.confusion(*asked, contract.classes)
        found["calibration"] = diagnostics.calibration(*asked)
        if "threshold" in training["decision"]:
            found["thresholds"] = diagnostics.thresholds(
                *asked, training["decision"], holdout.weights
            )
    write(project, manifest, found, holdout)
    for gate in judged["gates"]:
        verdict = "passed " if gate["passed"] else "REFUSED"
        print(f"{verdict}  {gate['name']}: {gate['reason']}", flush=True)


def score(
    project: Project, contract: Contract, training: Mapping[str, Any], frame: pl.DataFrame
) -> Holdout:
    """Let the exported model answer the rows held out, beside those that `train` asked."""
    names = [feature["name"] for feature in training["features"]]
    places = [it for it in (project.candidate / JUDGED, project.candidate) if it.exists()]
    predict, *again = (
        scorer(it / training["file"], contract, names, training["decision"]) for it in places
    )
    arrays = contract.arrays(frame)
    said = predict(arrays)
    group = contract.with_role("group")
    with np.load(project.candidate / "answers.npz") as own:
        return Holdout(
            arrays=arrays,
            truth=contract.labels(frame),
            weights=contract.weights(frame),
            groups=None if group is None else metrics.groups(frame[group.name]),
            answer=predict,
            served=[predict, *again][-1],
            answers=said,
            fitted=Prediction(own["model_values"], own.get("model_probabilities")),
            refitted=Prediction(own["served_values"], own.get("served_probabilities"))
            if again
            else None,
            baseline=Prediction(own["trivial_values"], own.get("trivial_probabilities")),
            history=Prediction(own["history_items"], own["history"])
            if "history_items" in own
            else decided(training["decision"]).answer(own["history"]),
        )


def judge(
    contract: Contract,
    limits: Gates,
    training: Mapping[str, Any],
    holdout: Holdout,
    by_slice: Sequence[diagnostics.Record],
    by_group: Sequence[diagnostics.Record],
) -> dict[str, Any]:
    """What the manifest says of the scores, and of the gates that need no champion.

    `training` says how the model was made, as `train` wrote it; `by_slice` is what
    `slices.measure` found, and `by_group` what `slices.beside_others` did, if groups are declared.
    """
    truth, answers, baseline = holdout.truth, holdout.answers, holdout.baseline
    seed, groups, weights = training["seed"], holdout.groups, holdout.weights
    primary = metrics.of(training)
    scores = metrics.scores_of(contract.task, decided(training["decision"]).costs)

    def told_of(weights: Array) -> dict[str, Any]:
        """The scores, and their intervals, if rows count as much as told."""
        values = {score.name: metrics.value(score, truth, answers, weights) for score in scores}
        found = metrics.intervals(scores, truth, answers, seed, groups, weights)
        spans = {name: [rounded(low), rounded(high)] for name, (low, high) in found.items()}
        return {"metrics": numbers(values), "intervals": spans}

    trivial = {score.name: metrics.value(score, truth, baseline, weights) for score in scores}
    value, least = metrics.value(primary, truth, answers, weights), trivial[primary.name]

    def parity(said: Prediction, fitted: Prediction) -> gates.Gate:
        told = training["decision"]  # else the model may have a threshold of its own, see `train`
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
        **told_of(weights),
        "baseline": numbers(trivial),
        **({"unweighted": told_of(np.ones(len(truth)))} if contract.with_role("weight") else {}),
        "interval": interval(truth, answers.values) if answers.probabilities is None else None,
        "calibration": calibration(truth, answers) if contract.classes else None,
        "gates": [gate.to_dict() for gate in verdicts],
    }


def describe(
    project: Project,
    contract: Contract,
    settings: Settings,
    frame: pl.DataFrame,
    holdout: Holdout,
    sample: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the manifest says of the data; `frame` holds the rows held out that judge.

    `sample` says how many of the training rows compared the models, if not all did.
    """
    learnt = parquet.spread(project.train, settings.train.in_memory)
    every, rows = parquet.count(project.train), learnt.select(pl.len()).collect().item()
    step = max(1, -(-rows // PROFILE_ROWS))
    train = learnt.gather_every(step).collect()
    in_time = contract.with_role("event_time")
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
    if in_time:
        said = joined([holdout.history[::step], holdout.answers[::step]])
        seen["history"] = history(contract, seen, arrays, said)
        seen["history"]["rows"] *= step * round(every / rows)
        moments = {"train": train[in_time.name], "holdout": frame[in_time.name]}
        period = {
            part: [str(times.min())[:19], str(times.max())[:19]] for part, times in moments.items()
        }
    elif taken := newest(project, contract, frame, holdout):
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


def newest(
    project: Project, contract: Contract, frame: pl.DataFrame, holdout: Holdout
) -> dict[str, Any] | None:
    """The profile of the rows that were taken in last; None if they are few.

    If enough of them were held out, as `frame` says, the answers are those to these.
    """
    taken = labelled.rows(project, contract)
    if taken is None:
        return None
    rows = check(parse(taken.tail(RECENT), origin="data/labelled").rows.collect()).good
    if len(rows) < LEAST_RECENT:
        return None
    names = [column.name for column in contract.inputs]
    keys, held = (row_keys(its.lazy(), names) for its in (rows, frame))
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
    project: Project,
    manifest: Mapping[str, Any],
    found: Mapping[str, list[diagnostics.Record]],
    holdout: Holdout,
) -> None:
    """Write the bundle, and the reports on it."""
    print("Plots and cards are drawn", flush=True)
    score = metrics.of(manifest)
    value = manifest["metrics"].get(score.name, float("nan"))
    shown = holdout.truth, holdout.answers, manifest["classes"]
    pictures = plots.draw(*shown, found, score, value, holdout.weights)
    validation = read_json(project.reports / "validation.json")
    write_files(
        project.bundle,
        {
            **{
                str(file.relative_to(project.candidate)): file.read_bytes()
                for file in project.candidate.rglob(manifest["file"])
            },
            MANIFEST: manifest,
            "MLmodel": mlflow_model.description(manifest),
        },
    )
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


def scorer(
    model: Path, contract: Contract, names: list[str], told: Mapping[str, Any] | None = None
) -> Answer:
    """The exported model as a function of the contract's columns; `told` is how it decides.

    It runs on one thread, so that sums are taken in one order on every machine.
    """
    session = load(model, told)

    def predict(arrays: Mapping[str, Array]) -> Prediction:
        made = features(arrays, contract.text)
        return in_batches(session, [made[name] for name in names])

    return predict


def numbers(values: Mapping[str, float]) -> dict[str, float]:
    """The scores that are defined, with six digits: more would be noise."""
    short = {name: rounded(value) for name, value in values.items()}
    return {name: value for name, value in short.items() if value is not None}
