"""Models that export themselves, and what they are refused for."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import onnx
import polars as pl
import pytest
from my_model.ml import model as models
from my_model.ops.bundle import NUMBERS, Session
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates
from my_model.ops.export import to_onnx
from my_model.ops.pipeline import train
from onnx import TensorProto
from onnx.helper import (
    make_graph,
    make_model,
    make_node,
    make_opsetid,
    make_tensor,
    make_tensor_value_info,
)
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, TransformerMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import (
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    StackingRegressor,
    VotingClassifier,
)
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline, make_pipeline

if TYPE_CHECKING:
    from collections.abc import Callable

FLOAT, TEXT, DOUBLE, INT64 = (
    TensorProto.FLOAT,
    TensorProto.STRING,
    TensorProto.DOUBLE,
    TensorProto.INT64,
)
KINDS = {"height": "number", "width": "number", "a depth": "number"}
DRAW = np.random.default_rng(0)
NUMBERS_OF = DRAW.normal(size=(300, 3)).astype(np.float32)
FRAME = pl.DataFrame(NUMBERS_OF, schema=list(KINDS))
VALUES = (NUMBERS_OF @ np.array([1, -2, 0.5]) + 3).astype(np.float32)
CLASSES = np.digitize(VALUES, [2, 4])


def scores(weights: Any, opset: int = 18, takes: int = FLOAT) -> onnx.ModelProto:
    """A model of one matrix: it is multiplied by weights, the first of which are added."""
    weights = np.asarray(weights, np.float64)
    kept = [
        make_tensor("weights", takes, weights[1:].shape, weights[1:].ravel()),
        make_tensor("first", takes, weights[:1].shape, weights[:1].ravel()),
    ]
    nodes = [
        make_node("MatMul", ["matrix", "weights"], ["product"]),
        make_node("Add", ["product", "first"], ["answers"]),
    ]
    given = [make_tensor_value_info("matrix", takes, [None, len(weights) - 1])]
    told = [make_tensor_value_info("answers", takes, [None, weights.shape[1]])]
    graph = make_graph(nodes, "scores", given, told, kept)
    return make_model(graph, opset_imports=[make_opsetid("", opset)])


def softmax(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same with probabilities."""
    model.graph.node.append(make_node("Softmax", ["answers"], ["shares"], axis=1))
    model.graph.output[0].name = "shares"
    return model


def by_name(model: onnx.ModelProto, names: list[str]) -> onnx.ModelProto:
    """The same with an input for each feature."""
    graph = model.graph
    graph.node.insert(0, make_node("Concat", list(KINDS), ["matrix"], axis=1))
    del graph.input[:]
    graph.input.extend(make_tensor_value_info(name, FLOAT, [None, 1]) for name in names)
    return model


def two_rows(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same as a tracer has seen it: with two rows."""
    graph = model.graph
    graph.initializer.append(make_tensor("shape", INT64, [2], [2, 3]))
    graph.node.insert(0, make_node("Reshape", ["rows", "shape"], ["matrix"]))
    graph.input[0].name = "rows"
    return model


def with_ones(rows: Any) -> Any:
    return np.column_stack([np.ones(len(rows)), np.asarray(rows)])


class Lines(RegressorMixin, BaseEstimator):
    """A linear regression that exports itself."""

    def __init__(self, made: Callable[[Any], Any] = scores) -> None:
        self.made = made

    def fit(self, rows: Any, y: Any) -> Lines:
        self.weights_ = np.linalg.lstsq(with_ones(rows), y)[0]
        return self

    def predict(self, rows: Any) -> Any:
        return with_ones(rows) @ self.weights_

    def to_onnx(self, kinds: Any) -> Any:
        assert len(kinds) == len(self.weights_) - 1
        return self.made(self.weights_[:, None])


class Shares(ClassifierMixin, Lines):
    """A classifier that exports itself."""

    def fit(self, rows: Any, y: Any) -> Shares:
        self.classes_ = np.unique(y)
        super().fit(rows, np.eye(len(self.classes_))[np.asarray(y)] * 4)
        return self

    def predict_proba(self, rows: Any) -> Any:
        raised = np.exp(super().predict(rows))
        return raised / raised.sum(axis=1, keepdims=True)

    def predict(self, rows: Any) -> Any:
        return self.classes_[self.predict_proba(rows).argmax(axis=1)]

    def to_onnx(self, kinds: Any) -> Any:
        assert len(kinds) == len(self.weights_) - 1
        return self.made(self.weights_)


def strayed(pipeline: Pipeline, frame: pl.DataFrame = FRAME, kinds: Any = KINDS) -> gates.Gate:
    """The gate on the parity of a fitted pipeline's export."""
    columns = [its.to_numpy(writable=True) for its in frame.iter_columns()]
    exported = Session(to_onnx(pipeline, kinds))
    said = exported.run(columns)
    assert exported.run([its[:1] for its in columns]).scored.shape[0] == 1
    if said.probabilities is None:
        return gates.export_parity(said.values, pipeline.predict(frame), 1e-4)
    fitted = pipeline.predict_proba(frame)
    return gates.export_parity(
        said.probabilities, fitted, 1e-4, (said.values, pipeline.predict(frame))
    )


def likely(weights: Any) -> bytes:
    """A classifier as bytes, of an earlier opset."""
    return softmax(scores(weights, opset=15)).SerializeToString()


def labelled(weights: Any) -> onnx.ModelProto:
    """A classifier that gives the class, too."""
    model = softmax(scores(weights))
    model.graph.node.append(make_node("ArgMax", ["shares"], ["class"], axis=1, keepdims=0))
    model.graph.output.insert(0, make_tensor_value_info("class", INT64, [None]))
    return model


def zipped(weights: Any) -> onnx.ModelProto:
    """A classifier that gives a map for each row."""
    model = labelled(weights)
    node = make_node(
        "ZipMap", ["shares"], ["maps"], domain="ai.onnx.ml", classlabels_int64s=[0, 1, 2]
    )
    model.graph.node.append(node)
    model.graph.output[1].name = "maps"
    model.opset_import.append(make_opsetid("ai.onnx.ml", 1))
    return model


@pytest.mark.parametrize(
    ("last", "truth"),
    [
        (Lines(), VALUES),
        (Lines(lambda weights: by_name(scores(weights), [*KINDS][::-1])), VALUES),
        (Shares(likely), CLASSES),
        (Shares(labelled), CLASSES),
        (Shares(zipped), CLASSES),
    ],
)
def test_a_last_step_exports_itself(last: Any, truth: Any) -> None:
    exported = to_onnx(pipeline := make_pipeline(last).fit(FRAME, truth), KINDS)
    graph = onnx.load_from_string(exported).graph
    assert [its.name for its in graph.input] == [NUMBERS]
    assert strayed(pipeline).passed
    assert exported == to_onnx(pipeline, KINDS)


class Turned(TransformerMixin, BaseEstimator):
    """A step before the last one that exports itself; it gives more columns than it takes."""

    def fit(self, rows: Any, y: Any = None) -> Turned:
        count = np.shape(rows)[1]
        self.weights_ = np.random.default_rng(count).normal(size=(count + 1, count + 2))
        return self

    def transform(self, rows: Any) -> Any:
        return with_ones(rows) @ self.weights_

    def to_onnx(self, kinds: Any) -> Any:
        return scores(self.weights_)


@pytest.mark.parametrize("last", [Ridge(), RandomForestRegressor(5, random_state=0), Lines()])
def test_a_step_before_it_exports_itself(last: Any) -> None:
    inner = ColumnTransformer(
        [("two", Turned(), ["height", "width"]), ("one", "drop", ["a depth"])]
    )
    for before in (models.counted(KINDS), inner):
        assert strayed(make_pipeline(before, Turned(), last).fit(FRAME, VALUES)).passed


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_it_does_so_after_other_steps_and_inside_of_another_model(task: str) -> None:
    classify = task == "classification"
    own = Shares(likely) if classify else Lines()
    truth = CLASSES if classify else VALUES
    frame = FRAME.with_columns(place=pl.Series(DRAW.choice(["web", "shop", ""], len(FRAME))))
    kinds = {**KINDS, "place": "category"}
    inner = StackingRegressor([("own", own), ("ridge", Ridge())])
    if classify:
        inner = VotingClassifier(
            [("own", own), ("other", LogisticRegression())], voting="soft", flatten_transform=False
        )
    for last in (own, inner):
        pipeline = make_pipeline(models.scaled(kinds), last)
        pipeline[:-1].set_output(transform="default")
        pipeline.steps[0][1].set_params(sparse_threshold=0)
        assert strayed(pipeline.fit(frame, truth), frame, kinds).passed


def test_export_of_the_project_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def own(pipeline: Pipeline, kinds: Any) -> Any:
        last = pipeline.steps[-1][1]
        if isinstance(last, KernelRidge):
            return scores(np.vstack([[0.0], NUMBERS_OF.T @ last.dual_coef_[:, None]]))
        return None

    monkeypatch.setattr(models, "export", own, raising=False)
    assert strayed(make_pipeline(KernelRidge()).fit(FRAME, VALUES)).passed
    assert strayed(make_pipeline(Ridge()).fit(FRAME, VALUES)).passed


@pytest.mark.parametrize(
    ("made", "sentence"),
    [
        (lambda weights: {"weights": weights}, "(dict) will not do"),
        (lambda weights: b"no model", "(bytes) will not do"),
        (lambda weights: by_name(scores(weights), ["height", "size"]), "has the inputs height, si"),
        (lambda weights: scores(weights, takes=DOUBLE), "asked are the features by name, each"),
        (lambda weights: scores(weights[:3]), "Incompatible dimensions"),
        (lambda weights: two_rows(scores(weights)), "cannot be reshaped to the requested shape"),
        (
            lambda weights: labelled(np.hstack([weights] * 3)),
            "answers 1 rows in shape (3,), not (1,).",
        ),
        (lambda weights: scores(np.hstack([weights] * 2)), "in shape (2,), not (1,)."),
    ],
)
def test_an_export_that_lies_is_refused(made: Any, sentence: str) -> None:
    pipeline = make_pipeline(Lines(made)).fit(FRAME, VALUES)
    with pytest.raises(UserError) as refused:
        to_onnx(pipeline, KINDS)
    assert sentence in str(refused.value)
    assert "docs/ops/models.md" in str(refused.value)


def test_a_classifier_says_all_classes() -> None:
    pipeline = make_pipeline(Shares(lambda weights: likely(weights[:, :2]))).fit(FRAME, CLASSES)
    with pytest.raises(UserError, match=r"in shape \(1, 2\), not \(1, 3\)"):
        to_onnx(pipeline, KINDS)


def test_what_is_no_number_is_refused() -> None:
    pipeline = make_pipeline(Lines(lambda weights: scores(weights * np.nan))).fit(FRAME, VALUES)
    gate = strayed(pipeline)
    assert not gate.passed
    assert gate.reason == "The exported model answers some rows with what is no number."


class Forest(RandomForestRegressor):
    """A subclass, which may do anything else."""


@pytest.mark.parametrize(
    ("last", "passes"),
    [
        (HistGradientBoostingRegressor(loss="poisson", max_iter=5), False),
        (CalibratedClassifierCV(RandomForestClassifier(5, random_state=0), cv=2), True),
        (CalibratedClassifierCV(LogisticRegression(), cv=2), True),
        (KNeighborsRegressor(), True),
        (KNeighborsRegressor(weights="distance"), False),  # of a row that it has learnt
        (
            StackingRegressor([("a", Ridge()), ("b", RandomForestRegressor(3, random_state=0))]),
            True,
        ),
        (Ridge(), True),
    ],
)
def test_parity_judges_what_skl2onnx_makes(last: Any, passes: bool) -> None:
    """Some models are converted wrongly, without an error."""
    truth = CLASSES.clip(0, 1) if hasattr(last, "predict_proba") else np.abs(VALUES)
    pipeline = make_pipeline(models.counted(KINDS), last).fit(FRAME, truth)
    assert strayed(pipeline).passed == passes


@pytest.mark.parametrize("last", [Forest(3), KernelRidge()])
def test_what_nobody_converts_leads_to_the_page(last: Any) -> None:
    pipeline = make_pipeline(models.counted(KINDS), last).fit(FRAME, VALUES)
    with pytest.raises(UserError, match=type(last).__name__) as refused:
        to_onnx(pipeline, KINDS)
    assert "docs/ops/models.md" in str(refused.value)
    assert "\n" not in str(refused.value)


class Booster(BaseEstimator):
    """A model of a library whose converter is not installed."""

    __module__ = "lightgbm.sklearn"

    def fit(self, rows: Any, y: Any) -> Booster:
        return self


def test_a_missing_converter_is_named() -> None:
    with pytest.raises(UserError, match="uv add --group train onnxmltools"):
        to_onnx(Pipeline([("last", Booster())]), KINDS)


class Column(Lines):
    """A regression that answers in one column, as CatBoost says classes."""

    def predict(self, rows: Any) -> Any:
        return super().predict(rows)[:, None]


def test_answers_in_one_column_are_taken() -> None:
    contract = SimpleNamespace(task="regression")
    pipeline = make_pipeline(Column()).fit(FRAME, VALUES)
    said = train.predict(pipeline, cast("Any", contract), FRAME)
    assert np.abs(said.values - VALUES).max() < 1e-4


class One(Lines):
    """A regression that gives one number, of however many rows."""

    def predict(self, rows: Any) -> Any:
        return super().predict(rows)[:1]


def test_a_number_for_all_rows_is_none_for_each() -> None:
    contract = SimpleNamespace(task="regression")
    pipeline = make_pipeline(One()).fit(FRAME, VALUES)
    with pytest.raises(ValueError, match=r"predict must give one number for each row"):
        train.predict(pipeline, cast("Any", contract), FRAME)


def test_a_classifier_without_probabilities_is_named() -> None:
    contract = SimpleNamespace(task="classification", classes=("a", "b", "c"))
    pipeline = make_pipeline(RidgeClassifier()).fit(FRAME, CLASSES)
    with pytest.raises(UserError, match=r"RidgeClassifier in ml/model\.py gives no probabilities"):
        train.predict(pipeline, cast("Any", contract), FRAME)
