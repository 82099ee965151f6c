"""From a fitted scikit-learn pipeline to ONNX: the same bytes for the same pipeline."""

import inspect
from collections.abc import Mapping
from typing import Any

from onnx import ModelProto, TensorProto
from onnx.helper import make_node, make_tensor_value_info
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.tree_ensemble import (
    add_tree_to_attribute_pairs_hist_gradient_boosting as add_tree,
)
from skl2onnx.operator_converters import random_forest
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .bundle import NUMBERS, TEXTS
from .errors import UserError

OPSET = {"": 18, "ai.onnx.ml": 3}
EQUAL_PARTS = 18  # the first version of ONNX in which a Split must say that its parts are equal


def to_onnx(pipeline: Pipeline, kinds: Mapping[str, str]) -> bytes:
    """Convert a pipeline that was fitted on a frame with the columns of `kinds`, in order.

    There are two inputs at most, of shape (rows, columns): all numbers, and all texts. A classifier
    returns positions of classes and a (rows, classes) array of probabilities; a regressor returns
    numbers.

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
    _join_inputs(model)
    # skl2onnx walks a set here, whose order differs from process to process.
    model.opset_import.sort(key=lambda opset: opset.domain)
    exported: bytes = model.SerializeToString(deterministic=True)
    return exported


def _join_inputs(model: ModelProto) -> None:
    """Let all numbers come as one array, and all texts as another.

    Each input costs ONNX Runtime a few microseconds, which for one row is most of the work.
    """
    graph = model.graph
    columns = list(graph.input)
    del graph.input[:]
    for name, kind in ((NUMBERS, TensorProto.FLOAT), (TEXTS, TensorProto.STRING)):
        parts = [column.name for column in columns if column.type.tensor_type.elem_type == kind]
        if parts:
            version = max(opset.version for opset in model.opset_import if not opset.domain)
            said: dict[str, Any] = {"num_outputs": len(parts)} if version >= EQUAL_PARTS else {}
            graph.node.insert(0, make_node("Split", [name], parts, axis=1, **said))
            graph.input.append(make_tensor_value_info(name, kind, [None, len(parts)]))


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
