"""From a fitted scikit-learn pipeline to ONNX: the same bytes for the same pipeline."""

from collections.abc import Mapping

from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
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
