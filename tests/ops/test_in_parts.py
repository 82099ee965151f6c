"""Of more rows than memory is to hold, some compare models, and all are learnt from in parts."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import dataframely as dy
import numpy as np
import polars as pl
import pytest
import yaml
from copies import fill
from my_model.ml import model as models
from my_model.ops import contract as contracts
from my_model.ops.errors import UserError
from my_model.ops.files import read_json, write_json
from my_model.ops.pipeline import evaluate, parquet, train
from my_model.ops.project import Project
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier
from small import COUNTED, folded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

BUILD = models.build
ROWS, HELD_OUT, MOST = 900, 300, 250


class Visit(dy.Schema):
    """A visit, and whether it was the last one."""

    when = dy.Datetime(metadata={"event_time": True})
    age = dy.Float64()
    plan = dy.String(nullable=True)
    last = dy.Bool(metadata={"target": True})


given: list[int] = []
"""How many rows each part had, of the model that was fitted last."""


def in_parts(step: Any, parts: Sequence[Callable[[], Any]], classes: int) -> None:
    """Fit on all parts at once after all; what matters is what is given."""
    assert classes == 2
    given[:] = [len(labels) for _, labels, _ in (part() for part in parts)]
    columns, labels, weights = zip(*(part() for part in parts), strict=True)
    step.fit(np.concatenate(columns), np.concatenate(labels), np.concatenate(weights))


def build(model: str, task: str, kinds: models.Kinds, own: Any, seed: int) -> Pipeline:
    """Build a tree, which learns in parts; how much all rows weigh together is nothing to it."""
    if model == "trivial":
        return BUILD(model, task, kinds, own, seed)
    tree = DecisionTreeClassifier(max_depth=3, random_state=seed)
    return make_pipeline(models.counted(kinds), tree)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project with rows in several parts, whose model learns in parts."""
    draw = np.random.default_rng(7)
    begun = datetime(2024, 1, 1)
    age = draw.normal(50, 10, ROWS + HELD_OUT)
    frame = pl.DataFrame(
        {
            "when": [begun + timedelta(hours=6 * hour) for hour in range(ROWS + HELD_OUT)],
            "age": age,
            "plan": draw.choice(["a", "b", "c"], ROWS + HELD_OUT),
            "last": draw.random(ROWS + HELD_OUT) < 1 / (1 + np.exp((50 - age) / 5)),
        }
    )
    monkeypatch.setattr(contracts, "schema", lambda: Visit)
    monkeypatch.setattr(models, "build", build)
    monkeypatch.setattr(models, "PARTS", {"linear": in_parts}, raising=False)
    given.clear()
    monkeypatch.setattr(parquet, "PART_ROWS", 400)
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "visits"\n')
    made = Project(tmp_path)
    made.reports.mkdir()
    write_json(made.reports / "validation.json", COUNTED)
    fill(folded(frame[:ROWS]).sort("__fold", "when"), made.train)
    fill(frame[ROWS:], made.holdout)
    return made


def answers(project: Project, **more: Any) -> Any:
    """Train with a half-life and these settings; what the model says of the rows held out."""
    own = {"model": "linear", "half_life": 90, **more}
    project.params.write_text(yaml.safe_dump({"train": own}))
    train.run(project)
    with np.load(project.candidate / "answers.npz") as said:
        return said["model_probabilities"]


@pytest.mark.parametrize("refit", [False, True])
def test_all_rows_are_learnt_from_in_parts(project: Project, refit: bool) -> None:
    whole = answers(project)
    assert given == [], "it fits into memory"
    parted = answers(project, in_memory=MOST, refit=refit)
    assert given == [400, 400, 100, *([300] if refit else [])]
    np.testing.assert_allclose(parted, whole[::2], atol=1e-4)
    assert len(parted) == HELD_OUT / 2
    evaluate.run(project)
    card = (project.reports / "cards" / "model.md").read_text()
    assert "| compared on | 225 of 900 training rows, spread evenly" in card
    assert "| learnt from | all 900 rows, part by part (linear) |" in card
    assert "| judged on | 150 rows that it has never seen; slices and findings" in card
    manifest = read_json(project.bundle / "manifest.json")
    assert all(gate["passed"] for gate in manifest["gates"] if "parity" in gate["name"])
    assert manifest["data"]["sample"] == {"rows": 225, "of": 900, "in_parts": ["linear"]}


def test_what_memory_does_not_hold_is_not_tried(project: Project) -> None:
    """Neither by this machine, whatever it has."""
    with pytest.raises(UserError, match=r"rows take about 440,000\.0 GB to learn from in"):
        train.afford(10**12, 10)
