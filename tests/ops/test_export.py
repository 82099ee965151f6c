"""Exporting: what must hold for models that skl2onnx alone would get wrong."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from my_model.ml import model as models
from my_model.ops.bundle import Session
from my_model.ops.evaluation import metrics
from my_model.ops.export import to_onnx


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_trees_cut_between_decimals_where_the_fitted_ones_do(task: str) -> None:
    """Half-way between two tenths lies a third one, and float32 is too coarse to tell."""
    learnt = np.arange(1, 400, 2).astype(np.float32) / 10
    between = np.arange(2, 400, 2).astype(np.float32) / 10
    kinds = {"x": "number"}
    pipeline = models.build("boosting", task, kinds, {"min_samples_leaf": 1}, 0)
    waves = np.sin(learnt)
    pipeline.fit(pl.DataFrame({"x": learnt}), waves if task == "regression" else waves > 0)
    exported = metrics.answers_of(Session(to_onnx(pipeline, kinds)).run([between]))
    ask = pipeline.predict if task == "regression" else pipeline.predict_proba
    assert np.abs(exported - ask(pl.DataFrame({"x": between}))).max() < 1e-5
