"""From a fitted scikit-learn pipeline to ONNX: the same bytes for the same pipeline."""

import inspect
from collections.abc import Mapping
from typing import Any

from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.tree_ensemble import (
    add_tree_to_attribute_pairs_hist_gradient_boosting as add_tree,
)
from skl2onnx.operator_converters import random_forest
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .errors import UserError

OPSET = {"": 18, "ai.onnx.ml": 3}


def to_onnx(pipeline: Pipeline, kinds: Mapping[str, str]) -> bytes:
    """Convert a pipeline that was fitted on a frame with the columns of `kinds`, in order.

    Each column becomes one input of shape (rows, 1). A classifier returns positions of classes
    and a (rows, classes) array of probabilities; a regressor returns numbers.

    Raises:
        UserError: if a step has no conversion.
    """
    inputs = [
        (name, (FloatTensorType if kind == "number" else StringTensorType)([None, 1]))
        for name, kind in kinds.items()
    ]
    last = pipeline.steps[-1][1]
    options = {id(last): {"zipmap": False}} if is_classifier(last) else None
    try:
        model = convert_sklearn(
            pipeline, name="model", initial_types=inputs, options=options, target_opset=OPSET
        )
    except Exception as error:
        raise UserError(
            f"The model cannot be exported to ONNX ({error}); "
            "change ml/model.py to steps that skl2onnx converts."
        ) from error
    # skl2onnx walks a set here, whose order differs from process to process.
    model.opset_import.sort(key=lambda opset: opset.domain)
    exported: bytes = model.SerializeToString(deterministic=True)
    return exported


def _add_boosted_tree(*arguments: Any, **options: Any) -> None:
    """Add a tree of histogram boosting with thresholds that float32 can hold.

    Inputs are float32, and `value <= threshold` is as true of the next lower float32 as of the
    threshold itself. skl2onnx rounds those of every other tree so, and these to the nearest one,
    which may be a value of the column: between 15.5 and 15.7 lies 15.6, and rows that hold it
    would fall on the other side.
    """
    call = inspect.signature(add_tree).bind(*arguments, **options)
    call.arguments["adjust_threshold_for_sklearn"] = True
    add_tree(*call.args, **call.kwargs)


random_forest.add_tree_to_attribute_pairs_hist_gradient_boosting = _add_boosted_tree
