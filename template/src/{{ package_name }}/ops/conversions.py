"""Conversions to ONNX that skl2onnx lacks: a regression whose target is scaled or a logarithm."""

from typing import Any

import numpy as np
from skl2onnx import update_registered_converter
from skl2onnx.algebra.onnx_operator import OnnxSubEstimator
from skl2onnx.algebra.onnx_ops import OnnxAdd, OnnxExp, OnnxMul
from skl2onnx.common.shape_calculator import calculate_linear_regressor_output_shapes
from sklearn.compose import TransformedTargetRegressor


def _turned_back(scope: Any, operator: Any, container: Any) -> None:
    """Answer in the unit of the target itself; the inverse must be linear, `exp` or `expm1`."""
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
