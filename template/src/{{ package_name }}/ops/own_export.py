"""Models that skl2onnx does not know: what they export by themselves, and what is asked of it.

A step has a method `to_onnx(kinds)`; LightGBM, XGBoost and CatBoost are asked through onnxmltools.
"""

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import onnx
from onnx import ModelProto, TensorProto, compose, helper, inliner, version_converter
from skl2onnx import update_registered_converter
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType
from sklearn.base import is_classifier
from sklearn.pipeline import Pipeline

from .bundle import NUMBERS, TEXTS, Scorer, Session
from .errors import UserError, shortly

OPSET = {"": 18, "ai.onnx.ml": 3}
EQUAL_PARTS = 18  # the first version of ONNX in which a Split must say that its parts are equal
TYPES = {NUMBERS: TensorProto.FLOAT, TEXTS: TensorProto.STRING}
LIBRARIES = {"lightgbm", "xgboost", "catboost"}

Kinds = Mapping[str, str]
"""The columns that reach a model, by name: number, category or text."""

Export = Callable[[Any, Kinds], Any]
"""From a fitted step, and what reaches it, to ONNX."""


def exporter(kind: type) -> Export | None:
    """How steps of a kind export themselves; None if they do not."""
    own: Export | None = getattr(kind, "to_onnx", None)
    families = {its.__module__.partition(".")[0] for its in kind.__mro__}
    libraries = [partial(_by_onnxmltools, library) for library in LIBRARIES & families]
    return own or next(iter(libraries), None)


def _by_onnxmltools(library: str, step: Any, kinds: Kinds) -> ModelProto:
    try:
        tools = importlib.import_module("onnxmltools")
    except ImportError:
        raise UserError(
            f"Models of {library} are exported by onnxmltools: `uv add --group train onnxmltools`."
        ) from None
    types = importlib.import_module("onnxmltools.convert.common.data_types")
    columns = [(NUMBERS, types.FloatTensorType([None, len(kinds)]))]
    model = _rounded(step.booster_) if library == "lightgbm" else step
    made: ModelProto = getattr(tools, f"convert_{library}")(model, "model", columns)
    return made


def _rounded(booster: Any) -> Any:
    """LightGBM's trees with thresholds that float32 can hold.

    Inputs are float32, and `value <= threshold` is as true of the next lower float32 as of the
    threshold itself, and not of the nearest one.
    """

    def lower(threshold: str) -> str:
        near = np.float32(threshold)
        lowest = np.float32(-np.inf)
        return repr(float(near if float(near) <= float(threshold) else np.nextafter(near, lowest)))

    lines = []
    for line in booster.model_to_string().splitlines():
        key, _, values = line.partition("=")
        if key == "threshold":
            lines.append(f"{key}={' '.join(map(lower, values.split()))}")
        elif key != "tree_sizes":  # in bytes, of the lines as they were
            lines.append(line)
    return type(booster)(model_str="\n".join(lines))


def classes(model: Any) -> int:
    """How many classes a fitted model tells apart, or items it recommends; 0 of a regression."""
    last = model[-1] if isinstance(model, Pipeline) else model
    if hasattr(last, "recommend"):
        return int(last.k)
    return len(model.classes_) if is_classifier(model) else 0


def agreed(made: Any, kinds: Kinds, told: int | None) -> ModelProto:
    """A model as `export.to_onnx` promises it, of `told` classes; None of a step before the last.

    Raises:
        UserError: if it is not in ONNX, takes or gives something else, or answers no row.
    """
    with promised(f"What the model exports by itself ({type(made).__name__})"):
        model = onnx.load_from_string(made) if isinstance(made, bytes) else made
        model = inliner.inline_local_functions(model)
        if all(opset.domain for opset in model.opset_import):
            model.opset_import.append(helper.make_opsetid("", OPSET[""]))
        join(model, kinds)
        _give_arrays(model, told)
        model = version_converter.convert_version(model, OPSET[""])
        for opset in model.opset_import:
            opset.version = max(opset.version, OPSET.get(opset.domain, 0))
        del model.metadata_props[:]  # some tell the time
        if told is not None:
            attempt(Session(model.SerializeToString()), kinds, told)
    return model


@contextmanager
def promised(what: str) -> Iterator[None]:
    """Let an export that fails be told in a sentence, which leads to the page."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(f"{what} will not do: {shortly(error)} See docs/ops/models.md.") from error


def join(model: ModelProto, kinds: Kinds) -> None:
    """Let a model take all numbers as one array, and all texts as another.

    Each input costs ONNX Runtime a few microseconds, which for one row is most of the work.
    """
    graph = model.graph
    fixed = {its.name for its in graph.initializer}
    given = {it.name: it.type.tensor_type.elem_type for it in graph.input if it.name not in fixed}
    by_name = given.keys() == kinds.keys()
    if not by_name and len({*given.values()} & {*TYPES.values()}) < len(given):
        raise ValueError(
            f"it has the inputs {', '.join(given)}; asked are the features by name, each (rows, 1),"
            " or all numbers as one array of float32, and all texts as another."
        )
    version = next(opset.version for opset in model.opset_import if not opset.domain)
    del graph.input[:]
    for name, its in TYPES.items():
        parts = [key for key, kind in kinds.items() if (kind == "number") == (name == NUMBERS)]
        whole = [key for key, kind in given.items() if kind == its and key != name]
        if parts:
            graph.input.append(helper.make_tensor_value_info(name, its, [None, len(parts)]))
        if parts and by_name:
            _take_apart(graph, name, parts, version)
        elif whole:
            graph.node.insert(0, helper.make_node("Identity", [name], whole))


def _take_apart(graph: onnx.GraphProto, name: str, parts: list[str], version: int) -> None:
    """Make columns of an input, but for those that are joined again: these are taken at once."""
    places, used = {part: place for place, part in enumerate(parts)}, set[str]()
    for node in graph.node:
        if node.op_type == "Concat" and places.keys() >= {*node.input}:
            numbers = np.array([places[part] for part in node.input])
            chosen = onnx.numpy_helper.from_array(numbers, f"{node.output[0]}/places")
            graph.initializer.append(chosen)
            node.CopyFrom(helper.make_node("Gather", [name, chosen.name], node.output, axis=1))
        used |= {*node.input}
    if not used.isdisjoint(parts):
        equal: dict[str, Any] = {"num_outputs": len(parts)} if version >= EQUAL_PARTS else {}
        graph.node.insert(0, helper.make_node("Split", [name], parts, axis=1, **equal))


def _give_arrays(model: ModelProto, told: int | None) -> None:
    """Let a model give numbers, or positions and probabilities of classes, or items and scores."""
    graph = model.graph
    for node in [node for node in graph.node if node.op_type == "ZipMap"]:
        (output,) = (its for its in graph.output if its.name == node.output[0])
        output.CopyFrom(helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT, None))
        graph.node.remove(node)
    kinds = {its.type.tensor_type.elem_type: its.name for its in graph.output}
    answers, items = kinds.get(TensorProto.FLOAT), kinds.get(TensorProto.STRING)
    position = kinds.get(TensorProto.INT64)
    if answers is None or len(graph.output) != len({answers, position, items} - {None}):
        raise ValueError(
            f"it gives {', '.join(its.name for its in graph.output)}; asked is one array of "
            "float32: numbers (rows,), probabilities (rows, classes), or scores of items."
        )
    del graph.output[:]
    if told and position is None and items is None:
        graph.node.append(helper.make_node("ArgMax", [answers], [":said"], axis=1, keepdims=0))
    if told:
        kind = TensorProto.STRING if items else TensorProto.INT64
        named = helper.make_tensor_value_info(items or position or ":said", kind, None)
        graph.output.append(named)
    graph.output.append(helper.make_tensor_value_info(answers, TensorProto.FLOAT, None))


def attempt(model: Scorer, kinds: Kinds, told: int) -> None:
    """Let a model answer one row, and three; a ValueError if it does so in other shapes."""
    for rows in (1, 3):
        columns = [
            np.zeros(rows, np.float32) if kind == "number" else np.full(rows, "", object)
            for kind in kinds.values()
        ]
        said = model.run(columns)
        asked = (rows, told) if told else (rows,)
        if said.scored.shape != asked or said.values.shape not in ((rows,), asked):
            raise ValueError(f"it answers {rows} rows in shape {said.scored.shape}, not {asked}.")


def register(pipeline: Pipeline) -> None:
    """Let skl2onnx take the steps that export themselves, and those inside of other steps."""
    for step in pipeline.get_params().values():
        export = exporter(type(step))
        if export is not None:
            update_registered_converter(
                type(step),
                str(type(step)),
                partial(_shape, export),
                _take_in,
                parser=_declare,
                options={"zipmap": [False]} if is_classifier(step) else None,
            )


def _declare(scope: Any, step: Any, inputs: list[Any], custom_parsers: Any = None) -> Any:
    """Say what a step takes and gives that exports itself."""
    del custom_parsers
    operator = scope.declare_local_operator(str(type(step)), step)
    operator.inputs = inputs
    if is_classifier(step):
        operator.outputs.append(scope.declare_local_variable("position", Int64TensorType()))
    operator.outputs.append(scope.declare_local_variable("answers", FloatTensorType()))
    return operator.outputs


def _shape(export: Export, operator: Any) -> None:
    """Let a step export itself, and say how many columns it gives."""
    columns = range(sum(its.type.shape[1] for its in operator.inputs))
    kinds, step = {f"column {place}": "number" for place in columns}, operator.raw_operator
    told = classes(step) if hasattr(step, "predict") else None
    operator.own = model = agreed(export(step, kinds), kinds, told)
    row = [np.zeros(1, np.float32) for _ in columns]
    *positions, answers = operator.outputs
    answers.type = FloatTensorType([None, Session(model.SerializeToString()).run(row).scored.size])
    for position in positions:
        position.type = Int64TensorType([None])


def _take_in(scope: Any, operator: Any, container: Any) -> None:
    """Take what a step exports by itself into the graph of a pipeline."""
    model, prefix = operator.own, scope.get_unique_operator_name("own") + "/"
    graph = compose.add_prefix(model, prefix).graph
    parts = [its.full_name for its in operator.inputs]
    container.nodes.append(helper.make_node("Concat", parts, [prefix + NUMBERS], axis=1))
    container.nodes.extend(graph.node)
    container.initializers.extend(graph.initializer)
    for its, output in zip(graph.output, operator.outputs, strict=True):
        container.nodes.append(helper.make_node("Identity", [its.name], [output.full_name]))
    for opset in model.opset_import:
        container.node_domain_version_pair_sets.add((opset.domain, opset.version))
