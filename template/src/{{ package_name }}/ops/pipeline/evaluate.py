"""Judge the exported model on the rows held out, explain it, and bundle it.

Everything written is a function of the candidate, the data and the parameters: the same inputs
give the same bytes.
"""

import hashlib
import platform
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ...ml.features import features
from .. import mlflow_model
from ..bundle import FORMAT, MANIFEST, MODEL, Session
from ..contract import Contract
from ..evaluation import cards, diagnostics, gates, metrics, plots, slices
from ..evaluation.gates import Gate
from ..evaluation.interval import interval
from ..evaluation.profile import calibration, profile
from ..files import read_json, write_files, write_json
from ..project import Project
from ..scoring import BATCH_ROWS
from ..settings import Gates, Settings
from ..wording import rounded
from . import split

Array = NDArray[Any]

PROFILE_ROWS = 500_000
"""The profile is taken from as many training rows at most, spread evenly."""

LIBRARIES = ("numpy", "onnxruntime", "scikit-learn", "skl2onnx")


@dataclass(frozen=True)
class Holdout:
    """The rows held out, and what is said of them; see `metrics` for the shapes."""

    arrays: dict[str, Array]
    """The features, as `Contract.arrays` makes them."""
    truth: Array
    groups: Array | None
    answer: Callable[[Mapping[str, Array]], Array]
    """The exported model."""
    answers: Array
    """Its own, on these rows."""
    fitted: Array
    """Those of the pipeline that was exported."""
    baseline: Array
    """Those of the trivial baseline."""


@dataclass(frozen=True)
class Judgement:
    """What the holdout says of a model."""

    score: metrics.Score
    values: dict[str, float]
    """Every score of the task, by name."""
    intervals: dict[str, tuple[float, float]]
    baseline: dict[str, float]
    """The same scores of the trivial baseline."""
    gates: list[Gate]
    diagnostics: dict[str, list[diagnostics.Record]]


def run(project: Project) -> None:
    """Write `models/bundle` and `reports/`."""
    settings = Settings.load(project.params)
    training = read_json(project.candidate / "training.json")
    contract = Contract.from_dict(training["contract"])
    frame = pl.read_parquet(project.holdout)
    print(f"The exported model scores {len(frame):,} held-out rows", flush=True)
    holdout = score(project, contract, training, frame)
    found = judge(contract, settings.gates, training, holdout)
    manifest = describe(project, contract, settings, training, frame, holdout, found)

    print("Plots and cards are drawn", flush=True)
    value = found.values[found.score.name]
    pictures = plots.draw(found.diagnostics, found.score, value, training["model"])
    validation = read_json(project.reports / "validation.json")
    written = cards.write(project.metadata, manifest, found.diagnostics, validation, pictures)
    write_files(
        project.bundle,
        {
            MODEL: (project.candidate / MODEL).read_bytes(),
            MANIFEST: manifest,
            "MLmodel": mlflow_model.description(contract),
        },
    )
    write_files(project.reports / "plots", pictures)
    write_files(
        project.reports / "findings",
        {f"{name}.json": records for name, records in found.diagnostics.items()},
    )
    write_files(project.reports / "cards", written)
    write_json(project.reports / "gates.json", {gate["name"]: gate for gate in manifest["gates"]})
    write_json(
        project.reports / "metrics.json",
        manifest["metrics"]
        | numbers({f"baseline_{found.score.name}": found.baseline[found.score.name]})
        | {f"rows_{name}": count for name, count in manifest["data"]["rows"].items()},
    )
    for gate in found.gates:
        print(f"{'passed ' if gate.passed else 'REFUSED'}  {gate.name}: {gate.reason}", flush=True)
    for sentence in unservable(contract):
        print(f"WARNING  {sentence}", flush=True)


def score(
    project: Project, contract: Contract, training: Mapping[str, Any], frame: pl.DataFrame
) -> Holdout:
    """Let the exported model answer the rows held out, beside those that `train` asked."""
    names = [feature["name"] for feature in training["features"]]
    answer = scorer(project.candidate / MODEL, contract, names)
    arrays = contract.arrays(frame)
    group = contract.with_role("group")
    kind = "probabilities" if contract.classes else "values"
    with np.load(project.candidate / "answers.npz") as own:
        return Holdout(
            arrays=arrays,
            truth=contract.labels(frame),
            groups=None if group is None else metrics.groups(frame[group.name]),
            answer=answer,
            answers=answer(arrays),
            fitted=own[f"model_{kind}"],
            baseline=own[f"trivial_{kind}"],
        )


def judge(
    contract: Contract, limits: Gates, training: Mapping[str, Any], holdout: Holdout
) -> Judgement:
    """Measure the model on the holdout, and hold it to the gates that need no champion.

    Args:
        contract: says what the columns hold.
        limits: of the gates.
        training: how the model was made, as `train` wrote it.
        holdout: scored.
    """
    truth, answers, baseline = holdout.truth, holdout.answers, holdout.baseline
    seed, groups = training["seed"], holdout.groups
    score = metrics.find(training["score"])
    scores = metrics.scores_of(contract.task)
    values = {item.name: metrics.value(item, truth, answers) for item in scores}
    trivial = {item.name: metrics.value(item, truth, baseline) for item in scores}
    worth = diagnostics.importance(holdout.answer, holdout.arrays, truth, score, seed)
    order = [record["column"] for record in worth]
    parts = slices.slices(contract.features, holdout.arrays, order)
    losses, trivial_losses = metrics.losses(truth, answers), metrics.losses(truth, baseline)
    value, least = values[score.name], trivial[score.name]
    return Judgement(
        score=score,
        values=values,
        intervals=metrics.intervals(scores, truth, answers, seed, groups),
        baseline=trivial,
        gates=[
            gates.baseline_gain(score, value, least, limits.baseline_gain),
            gates.minimum_score(score, value, limits.minimum_score),
            gates.worst_slice(parts, losses, trivial_losses, limits.slice, seed, groups),
            gates.export_parity(answers, holdout.fitted, limits.parity),
        ],
        diagnostics={
            "importance": worth,
            "slices": slices.measure(parts, score, truth, answers, baseline),
            "validation": diagnostics.validation(training["validation"], score),
            "learning_curve": diagnostics.learning_curve(training["learning_curve"], score),
            **diagnostics.of_answers(truth, answers, contract.classes),
        },
    )


def describe(
    project: Project,
    contract: Contract,
    settings: Settings,
    training: Mapping[str, Any],
    frame: pl.DataFrame,
    holdout: Holdout,
    found: Judgement,
) -> dict[str, Any]:
    """The bundle's manifest; `frame` holds the rows held out."""
    learnt = pl.scan_parquet(project.train)
    rows = learnt.select(pl.len()).collect().item()
    train = learnt.gather_every(max(1, -(-rows // PROFILE_ROWS))).collect()
    seen = profile(
        contract,
        contract.arrays(train),
        contract.labels(train),
        holdout.answers,
        holdout.arrays if contract.with_role("event_time") else None,
    )
    return {
        "format": FORMAT,
        "task": contract.task,
        "classes": list(contract.classes),
        "contract": contract.to_dict(),
        "fingerprint": contract.fingerprint,
        "features": training["features"],
        "model": {"kind": training["model"], "parameters": training["parameters"]},
        "score": found.score.name,
        "metrics": numbers(found.values),
        "intervals": {
            name: [rounded(low), rounded(high)] for name, (low, high) in found.intervals.items()
        },
        "baseline": numbers(found.baseline),
        "interval": None if contract.classes else interval(holdout.truth, holdout.answers),
        "calibration": calibration(holdout.truth, holdout.answers) if contract.classes else None,
        "gates": [gate.to_dict() for gate in found.gates],
        "profile": seen,
        "data": {
            "rows": {"train": rows, "holdout": len(frame)},
            "split": split.rule(contract, settings.split),
            "period": period(contract, train, frame),
            "sha256": {"train": sha256(project.train), "holdout": sha256(project.holdout)},
        },
        "libraries": {
            "python": platform.python_version(),
            **{name: version(name) for name in LIBRARIES},
        },
    }


def unservable(contract: Contract) -> list[str]:
    """What a service cannot hold a row to, in sentences."""
    compare = [rule.name for rule in contract.rules if rule.batch]
    sentences = [
        f"No service can hold a row to {rule.name}, so none starts with this model: "
        f"{rule.obstacle}; state the rule in another way in ml/schema.py."
        for rule in contract.rules
        if rule.obstacle
    ]
    if compare:
        sentences.append(
            f"A service looks at each row by itself, and so not at {', '.join(compare)}."
        )
    return sentences


def scorer(
    model: Path, contract: Contract, names: list[str]
) -> Callable[[Mapping[str, Array]], Array]:
    """The exported model as a function from the contract's columns to answers, see `metrics`.

    It runs on one thread, so that sums are taken in one order on every machine.
    """
    session = Session(model, threads=1)

    def answer(arrays: Mapping[str, Array]) -> Array:
        rows = len(next(iter(arrays.values())))
        parts = []
        for start in range(0, rows, BATCH_ROWS):
            batch = {name: values[start : start + BATCH_ROWS] for name, values in arrays.items()}
            made = features(batch, contract.text)
            parts.append(metrics.answers_of(session.run([made[name] for name in names])))
        return np.concatenate(parts)

    return answer


def numbers(values: Mapping[str, float]) -> dict[str, float]:
    """The scores that are defined, with six digits: more would be noise."""
    short = {name: rounded(value) for name, value in values.items()}
    return {name: value for name, value in short.items() if value is not None}


def period(
    contract: Contract, train: pl.DataFrame, holdout: pl.DataFrame
) -> dict[str, list[str]] | None:
    """The first and the last event of both parts, if events have a time."""
    time = contract.with_role("event_time")
    if time is None:
        return None
    return {
        part: [str(frame[time.name].min())[:19], str(frame[time.name].max())[:19]]
        for part, frame in {"train": train, "holdout": holdout}.items()
    }


def sha256(path: Path) -> str:
    """The digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
