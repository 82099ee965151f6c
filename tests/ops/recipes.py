"""Each recipe of docs/ops/models.md, in an environment that has its library: what it came to.

Run as `python recipes.py PROJECT RECIPES ANSWERS`: a copy of a trained project, what is pasted
into it by the names of the recipes, in JSON, and where to write what became of each.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import dataframely as dy
import numpy as np
import polars as pl
from copies import set_params
from my_model.ml import model as models
from my_model.ops import cli
from my_model.ops.bundle import Bundle, load
from my_model.ops.evaluation import gates
from my_model.ops.export import export
from my_model.ops.files import read_json
from my_model.ops.pipeline import evaluate, train
from my_model.ops.project import Project
from my_model.ops.serving.app import Application
from my_model.ops.serving.settings import Settings
from overlay import under_test
from sklearn.datasets import load_digits
from small import judged
from test_application import ask

CASE = """\
    if model == "{name}":
        return {name}(classify, kinds, seed, **parameters)
"""
FIRST = '    classify = task == "classification"\n'
FEW = {
    "lightgbm": {"n_estimators": 30},
    "xgboost": {"n_estimators": 30},
    "catboost": {"iterations": 30},
    "pytorch": {"epochs": 10},
    "images": {"epochs": 12},
    "prototypes": {"centres": 60},
}
"""Parameters that make a small model."""
LEAST = 300
"""Rows that are held where a recipe learns in parts; the project has more."""
PLAIN = {"baseline_gain": -9.0, "slice": 9.0, "regression": 9.0}


def paste(project: Project, seed: str, name: str, code: list[str]) -> None:
    """Do with a recipe what the page says; code that defines `predict` is a file of its own."""
    package = project.root / "src" / "my_model" / "ml"
    *files, code_of_model = code
    for text in files:
        (package / "predict.py").write_text(text)
    assert FIRST in seed
    text = seed.replace(FIRST, FIRST + CASE.format(name=name))
    text = text.replace("MODELS = (", f'MODELS = ("{name}", ', 1)
    (package / "model.py").write_text(f"{text}\n\n{code_of_model}")
    importlib.invalidate_caches()
    vars(models).pop("export", None)
    importlib.reload(models)


def rules(project: Project) -> str:
    """What a project's `make check` would find in the code that was pasted."""
    config, code = under_test() / "pyproject.toml", project.root / "src" / "my_model" / "ml"
    cache = project.root.with_name("mypy")
    mypy = (sys.executable, "-m", "mypy", "--config-file", config, "--cache-dir", cache)
    found = ""
    for command in (
        ("ruff", "format", "--no-cache", "--config", config, "--check", code),
        ("ruff", "check", "--no-cache", "--config", config, code),
        (*mypy, code),
    ):
        done = subprocess.run(
            command, cwd=project.root, capture_output=True, text=True, check=False
        )
        found += (done.stdout + done.stderr) * (done.returncode != 0)
    return found


def walk(project: Project, name: str) -> dict[str, Any]:
    """Train, judge, register, serve and score with a recipe, on the project's own data."""
    in_parts = {"in_memory": LEAST} if name == "xgboost" else {}
    set_params(project, "train", model=name, **{name: FEW[name]}, **in_parts)
    if in_parts:  # a training was killed before
        (models.CACHE / "part").mkdir(parents=True)
    train.run(project)
    assert not in_parts or not models.CACHE.exists()
    sample = read_json(project.candidate / "training.json").get("sample", {})
    assert sample.get("in_parts") == ([name] if in_parts else None)
    evaluate.run(project)
    told = {"gates": read_json(project.reports / "gates.json"), "code": cli.main(["register"])}
    rows = pl.read_parquet(project.holdout).drop("diagnosis")
    rows.write_parquet("rows.parquet")
    told["score"] = cli.main(["score", "rows.parquet", "scores.parquet"])
    scores = pl.read_parquet("scores.parquet")
    with np.load(project.candidate / "answers.npz") as answers:
        fitted = answers["model_probabilities"]
    told["apart"] = float(np.abs(scores["probability_malignant"] - fitted[:, 1]).max())
    served = asyncio.run(serve(project, project.champion, json.loads(rows.head(3).write_json())))
    shares = [its["probabilities"]["malignant"] for its in served]
    told["served"] = float(np.abs(shares - fitted[:3, 1]).max())
    bundle = Bundle(project.champion)
    return {**told, "kind": bundle.manifest["model"]["kind"], "file": bundle.model.name}


class Digit(dy.Schema):
    """What the sample `digits` has: images of 8 by 8 pixels."""

    image = dy.Array(dy.UInt8(max=16), 64)
    digit = dy.Int64(is_in=[*range(10)], metadata={"target": True})


def look(folder: Path) -> dict[str, Any]:
    """Train, judge and serve what sees images, on the digits that people wrote."""
    folder.mkdir()
    data = load_digits()
    images = data.images.reshape(-1, 64).astype(np.uint8)
    frame = Digit.cast(pl.DataFrame({"image": images, "digit": data.target}))
    aside, own = np.arange(len(frame)) % 6 == 0, {"model": "images", "images": FEW["images"]}
    learnt, held = frame.filter(~aside), frame.filter(aside)
    with judged(folder, Digit, learnt, held, own) as project:
        shown = json.loads(held.drop("digit").head(3).write_json())
        served = asyncio.run(serve(project, project.bundle, shown))
        with np.load(project.candidate / "answers.npz") as answers:
            fitted = answers["model_probabilities"]
        shares = [[its["probabilities"][str(place)] for place in range(10)] for its in served]
        return {
            "gate": read_json(project.reports / "gates.json")["export parity"],
            "accuracy": read_json(project.reports / "metrics.json")["accuracy"],
            "served": float(np.abs(np.array(shares) - fitted[:3]).max()),
        }


async def serve(project: Project, bundle: Path, rows: list[dict[str, Any]]) -> Any:
    """What the service answers with a new model."""
    settings = Settings(bundle=str(bundle), predictions=str(project.served))
    app = Application(settings)
    async with app.service.running():
        return (await ask(app, "/predict", rows)).body


def parity(name: str, task: str) -> gates.Gate:
    """The gate on parity, of numbers and categories with gaps: of numbers, or of three classes."""
    draw = np.random.default_rng(0)
    numbers = np.round(draw.normal(size=(600, 5)) * 3, 1).astype(np.float32)
    place = draw.choice(["web", "shop", ""], len(numbers)).astype(object)
    truth = numbers[:, 0] + np.sin(numbers[:, 1]) + 2 * (place == "web")
    numbers[draw.random(numbers.shape) < 0.1] = np.nan
    numbers[:, 4] = np.nan  # as a place of a list is that no row has filled
    if task == "classification":
        truth = np.digitize(truth, [-1, 1])
    kinds = {**{f"number {place}": "number" for place in range(5)}, "place": "category"}
    columns = [*numbers.T.copy(), place]
    frame = pl.DataFrame(dict(zip(kinds, columns, strict=True)))
    pipeline = models.build(name, task, kinds, FEW[name], 7).fit(frame, truth)
    file, data = export(pipeline, kinds)
    Path(file).write_bytes(data)
    assert export(pipeline, kinds) == (file, data)
    said = load(Path(file), None).run(columns)
    if said.probabilities is None:
        return gates.export_parity(said.values, pipeline.predict(frame), 1e-4)
    labels = said.values, pipeline.predict(frame).reshape(-1)
    return gates.export_parity(said.probabilities, pipeline.predict_proba(frame), 1e-4, labels)


def shares() -> dict[str, float]:
    """Trees of more parts than XGBoost holds together, and how often they know one of 3 classes."""
    draw = np.random.default_rng(0)
    numbers = draw.normal(size=(900, 2))
    labels, weights = np.digitize(numbers.sum(axis=1), [-1, 1]), np.ones(180)
    own: Any = models
    own.TOGETHER = 2
    model = own.XGBClassifier(n_estimators=7, n_jobs=1)
    places = [slice(place, None, 5) for place in range(5)]
    own.in_parts(model, [lambda at=at: (numbers[at], labels[at], weights) for at in places], 3)
    trees, right = model.get_booster().num_boosted_rounds(), model.predict(numbers) == labels
    return {"trees": trees, "right": float(right.mean())}


def main() -> None:
    """Walk with each recipe."""
    project, told = Project(Path(sys.argv[1])), {}
    recipes = json.loads(Path(sys.argv[2]).read_text())
    seed = (project.root / "src" / "my_model" / "ml" / "model.py").read_text()
    set_params(project, "gates", **PLAIN)
    set_params(project, "split", folds=2)
    parameters = project.params.read_text()
    for name, code in recipes.items():
        project.params.write_text(parameters)
        paste(project, seed, name, code)
        kept = {"rules": rules(project)}
        if name == "images":
            told[name] = {**look(project.root.with_name(name)), **kept}
            continue
        gate = {task: parity(name, task).to_dict() for task in ("regression", "classification")}
        told[name] = {**walk(project, name), "parity": gate, **kept}
        if name == "xgboost":
            told[name]["shares"] = shares()
    Path(sys.argv[3]).write_text(json.dumps(told))


if __name__ == "__main__":
    main()
