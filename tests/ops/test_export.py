"""Exporting: what must hold for models that skl2onnx alone would get wrong."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import polars as pl
import pytest
from copies import set_params
from my_model.ml import model as models
from my_model.ops.bundle import NUMBERS, TEXTS, Session
from my_model.ops.export import to_onnx
from my_model.ops.files import read_json
from my_model.ops.pipeline import evaluate, train
from sklearn.pipeline import Pipeline

if TYPE_CHECKING:
    from my_model.ops.project import Project


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_trees_cut_between_decimals_where_the_fitted_ones_do(task: str) -> None:
    """Half-way between two tenths lies a third one, and float32 is too coarse to tell."""
    learnt = np.arange(1, 400, 2).astype(np.float32) / 10
    between = np.arange(2, 400, 2).astype(np.float32) / 10
    kinds = {"x": "number"}
    pipeline = models.build("boosting", task, kinds, {"min_samples_leaf": 1}, 0)
    waves = np.sin(learnt)
    pipeline.fit(pl.DataFrame({"x": learnt}), waves if task == "regression" else waves > 0)
    exported = Session(to_onnx(pipeline, kinds)).run([between]).scored
    ask = pipeline.predict if task == "regression" else pipeline.predict_proba
    assert np.abs(exported - ask(pl.DataFrame({"x": between}))).max() < 1e-5


def test_numbers_and_texts_come_in_one_array_each() -> None:
    """An input for each column is slow where a row comes alone."""
    draw = np.random.default_rng(0)
    names = draw.choice(["web", "shop", ""], 200).astype(object)
    columns = {
        "numbers": draw.normal(size=200).astype(np.float32),
        "where": names,
        ":texts": draw.normal(size=200).astype(np.float32),
        "to": names[::-1].copy(),
    }
    kinds = {
        name: "number" if its.dtype.kind == "f" else "category" for name, its in columns.items()
    }
    pipeline = models.build("linear", "classification", kinds, {}, 0)
    pipeline.fit(pl.DataFrame(columns), columns["numbers"] + (names == "web") > 0)
    exported = to_onnx(pipeline, kinds)
    assert [its.name for its in onnx.load_from_string(exported).graph.input] == [NUMBERS, TEXTS]
    for rows in (1, 2, 200):
        some = {name: its[:rows] for name, its in columns.items()}
        said = Session(exported).run(list(some.values())).scored
        assert np.abs(said - pipeline.predict_proba(pl.DataFrame(some))).max() < 1e-5


def test_what_has_very_many_values_is_no_column_for_each() -> None:
    """A batch of rows with 44,000 columns of floats took gigabytes to score."""
    kinds = {"few": "category", "many": "category"}
    draw = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "few": [f"v{n % 900}" for n in range(4000)],
            "many": [f"w{n % (models.MOST_VALUES + 1)}" for n in range(4000)],
        }
    )
    pipeline = models.build("linear", "classification", kinds, {}, 0)
    pipeline.fit(rows, draw.integers(2, size=4000))
    assert pipeline[-1].n_features_in_ == 901
    unknown = pl.concat([rows, pl.DataFrame({"few": ["new"], "many": ["new"]})])
    columns = [unknown[name].to_numpy().astype(object) for name in kinds]
    said = Session(to_onnx(pipeline, kinds)).run(columns).scored
    assert np.abs(said - pipeline.predict_proba(unknown)).max() < 1e-5


class Bold(Pipeline):
    """Says the second class from a probability of 0.001 on; its export knows nothing of that."""

    def predict(self, frame: Any, **_: Any) -> Any:
        return self.classes_[(self.predict_proba(frame)[:, 1] > 0.001).astype(int)]


def test_a_threshold_of_its_own_does_not_get_lost(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """skl2onnx exports the probabilities, which are the same; the classes are not."""
    build = models.build

    def bold(model: str, *arguments: Any) -> Pipeline:
        plain = build(model, *arguments)
        return plain if model == "trivial" else Bold(plain.steps)

    monkeypatch.setattr(models, "build", bold)
    set_params(project, "train", model="linear")
    train.run(project)
    evaluate.run(project)
    gate = read_json(project.reports / "gates.json")["export parity"]
    assert not gate["passed"]
    assert "another class than the fitted one" in gate["reason"]
