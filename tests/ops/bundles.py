"""Bundles of other models than the trained one, whole: their golden rows are their own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import onnx
from my_model.ops.bundle import Bundle
from my_model.ops.files import write_json

if TYPE_CHECKING:
    from pathlib import Path


def scale(folder: Path, factor: float) -> None:
    """Multiply a model's coefficients, and let it answer the golden rows anew.

    As evaluation does, leave out the rows that it answers with what is no number.
    """
    model = onnx.load(folder / "model.onnx")
    (coefficients,) = (
        attribute
        for node in model.graph.node
        for attribute in node.attribute
        if attribute.name == "coefficients"
    )
    coefficients.floats[:] = [value * factor for value in coefficients.floats]
    onnx.save(model, folder / "model.onnx")

    bundle = Bundle(folder)
    rows = {
        name: np.array(values, np.float32)
        for name, values in bundle.manifest["golden"]["columns"].items()
    }
    answers = bundle.predict(rows).probabilities
    assert answers is not None
    clear = np.isfinite(answers).all(axis=1)
    golden = {
        "columns": {name: values[clear].astype(str).tolist() for name, values in rows.items()},
        "answers": answers[clear].tolist(),
    }
    write_json(folder / "manifest.json", {**bundle.manifest, "golden": golden})
