"""Exporting: what must hold for models that skl2onnx alone would get wrong."""

from __future__ import annotations

import numpy as np
import polars as pl
from my_model.ml import model as models
from my_model.ops.bundle import Session
from my_model.ops.export import to_onnx


def test_trees_cut_between_decimals_where_the_fitted_ones_do() -> None:
    """Half-way between two tenths lies a third one, and float32 is too coarse to tell."""
    learnt = np.arange(1, 400, 2).astype(np.float32) / 10
    between = np.arange(2, 400, 2).astype(np.float32) / 10
    kinds = {"x": "number"}
    pipeline = models.build("boosting", "regression", kinds, {"min_samples_leaf": 1}, 0)
    pipeline.fit(pl.DataFrame({"x": learnt}), np.sin(learnt))
    exported = Session(to_onnx(pipeline, kinds)).run([between]).values
    expected = pipeline.predict(pl.DataFrame({"x": between}))
    assert np.abs(exported.ravel() - expected).max() < 1e-5
