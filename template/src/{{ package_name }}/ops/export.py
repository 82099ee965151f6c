"""From a fitted scikit-learn pipeline to ONNX: the same bytes for the same pipeline."""

import inspect
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import numpy as np
from onnx import ModelProto
from skl2onnx import convert_sklearn, update_registered_converter
from skl2onnx.algebra.onnx_operator import OnnxSubEstimator
from skl2onnx.algebra.onnx_ops import OnnxAdd, OnnxExp, OnnxMul
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
from skl2onnx.common.tree_ensemble import (
    add_tree_to_attribute_pairs_hist_gradient_boosting as add_tree,
)
from skl2onnx.operator_converters import random_forest
from sklearn.base import is_classifier
from sklearn.compose import TransformedTargetRegressor
from sklearn.pipeline import Pipeline

from ..ml import model as models
from .bundle import ARRAYS, MODEL, Arrays, Session
from .errors import UserError
from .own_export import OPSET, agreed, attempt, classes, exporter, join, promised, register


def export(pipeline: Pipeline, kinds: Mapping[str, str]) -> tuple[str, bytes]:
    """A model's file, its name first: in ONNX, or plain arrays if `ml/model.py` makes such of it.

    Raises:
        UserError: if it cannot be exported, or answers no row.
    """
    made = _asked(pipeline, kinds)
    if not isinstance(made, Mapping):
        return MODEL, _in_onnx(pipeline, kinds, made)
    file = BytesIO()
    with promised("The arrays that `export` of ml/model.py makes"):
        np.savez(file, allow_pickle=False, **made)
        file.seek(0)
        attempt(Arrays(file), kinds, classes(pipeline))
    return ARRAYS, file.getvalue()


def to_onnx(pipeline: Pipeline, kinds: Mapping[str, str]) -> bytes:
    """Convert a pipeline that was fitted on a frame with the columns of `kinds`, in order.

    There are two inputs at most, of shape (rows, columns): all numbers, and all texts. A classifier
    returns positions of classes and a (rows, classes) array of probabilities; a regressor returns
    numbers.

    Raises:
        UserError: if a step has no conversion.
    """
    return _in_onnx(pipeline, kinds, blendable(pipeline, kinds))


def blendable(pipeline: Pipeline, kinds: Mapping[str, str]) -> Any:
    """What `export` of `ml/model.py` makes of a member of a blend; a UserError if it is arrays."""
    made = _asked(pipeline, kinds)
    if isinstance(made, Mapping):
        raise UserError(
            "`export` of ml/model.py makes plain arrays of a model that is blended with others; "
            "let it make ONNX of it, or name one model in params.yaml under train.model."
        )
    return made


def _asked(pipeline: Pipeline, kinds: Mapping[str, str]) -> Any:
    """What `export` of `ml/model.py` makes of a pipeline; None if it leaves that to us."""
    own = getattr(models, "export", None)
    return own and own(pipeline, kinds)


def _in_onnx(pipeline: Pipeline, kinds: Mapping[str, str], made: Any) -> bytes:
    """A pipeline in ONNX: what `export` made of it, or its only step by itself, or skl2onnx."""
    *steps, (_, last) = pipeline.steps
    own = None if steps else exporter(type(last))
    if made is None and own is not None:
        made = own(last, kinds)
    model = _converted(pipeline, kinds) if made is None else agreed(made, kinds, classes(pipeline))
    # skl2onnx walks a set here, whose order differs from process to process.
    model.opset_import.sort(key=lambda opset: opset.domain)
    exported: bytes = model.SerializeToString(deterministic=True)
    return exported


def _converted(pipeline: Pipeline, kinds: Mapping[str, str]) -> ModelProto:
    """What skl2onnx makes of a pipeline; a UserError if a step has no conversion."""
    inputs = [
        (name, (FloatTensorType if kind == "number" else StringTensorType)([None, 1]))
        for name, kind in kinds.items()
    ]
    if len(pipeline.steps) == 1 and {*kinds.values()} == {"number"}:
        inputs = [("numbers", FloatTensorType([None, len(kinds)]))]  # a model takes but one input
    last = pipeline.steps[-1][1]
    options = {id(last): {"zipmap": False}} if is_classifier(last) else None
    with promised("What skl2onnx makes of the steps in ml/model.py"):
        register(pipeline)
        model: ModelProto = convert_sklearn(
            pipeline, name="model", initial_types=inputs, options=options, target_opset=OPSET
        )
        _order(model)
        named = [its.name for its in model.graph.input]  # skl2onnx may have changed the names
        each = len(named) == len(kinds)
        join(model, dict(zip(named, kinds.values(), strict=True)) if each else kinds)
        attempt(Session(model.SerializeToString()), kinds, classes(pipeline))
    return model


def _order(model: ModelProto) -> None:
    """Let the order of nodes depend on what they are: in skl2onnx, it hangs on their addresses."""
    depths: dict[str, int] = {}
    for node in model.graph.node:
        depths[node.output[0]] = 1 + max((depths.get(name, 0) for name in node.input), default=0)
        depths |= dict.fromkeys(node.output, depths[node.output[0]])
    model.graph.node.sort(key=lambda node: (depths[node.output[0]], node.output[0]))


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


def _turned_back(scope: Any, operator: Any, container: Any) -> None:
    """Convert a regression whose target is scaled or a logarithm, which skl2onnx lacks.

    It answers in the unit of the target itself: the inverse must be linear, `exp` or `expm1`.
    """
    model, version = operator.raw_operator, {"op_version": container.target_opset}
    said = OnnxSubEstimator(model.regressor_, *operator.inputs, **version)
    first, second, third = model.transformer_.inverse_transform([[0.0], [1.0], [2.0]]).ravel()
    if getattr(model.transformer_, "inverse_func", None) in (np.exp, np.expm1):
        said, first, second, third = OnnxExp(said, **version), first - 1, first, first + 1
    if not np.isclose(third - second, second - first):
        raise ValueError("the inverse of the target's transformer is not linear, exp or expm1")
    scaled = OnnxMul(said, np.array([second - first], np.float32), **version)
    shift = np.array([first], np.float32)
    OnnxAdd(scaled, shift, **version, output_names=operator.outputs).add_to(scope, container)


update_registered_converter(
    TransformedTargetRegressor,
    "TransformedTargetRegressor",
    calculate_linear_regressor_output_shapes,
    _turned_back,
)
