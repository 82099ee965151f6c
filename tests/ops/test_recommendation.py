"""Recommendations: of items, an open set, from a training to an answer, its truth and the next."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

import dataframely as dy
import msgspec
import numpy as np
import pandas as pd
import polars as pl
import pytest
from my_model.ml import model as models
from my_model.ops import contract as contracts
from my_model.ops import mlflow_model
from my_model.ops import prediction_log as log
from my_model.ops.bundle import Bundle, Prediction, joined
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates, metrics
from my_model.ops.monitoring import run
from my_model.ops.monitoring.reference import Reference
from my_model.ops.scoring import answers
from my_model.ops.serving.models import Model
from my_model.ops.serving.service import Predicted
from my_model.ops.settings import Monitoring, Settings
from onnx import ModelProto, TensorProto, helper, numpy_helper
from sklearn.base import BaseEstimator
from sklearn.metrics import ndcg_score
from sklearn.pipeline import Pipeline, make_pipeline
from small import judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from my_model.ops.monitoring.checks import Verdict
    from my_model.ops.project import Project
    from numpy.typing import NDArray

WORDS = ("tea", "milk", "bread", "jam", "rice", "salt", "soap", "wine")
FOLLOWS = {word: WORDS[(place + 1) % len(WORDS)] for place, word in enumerate(WORDS)}


class Basket(dy.Schema):
    """What is in a basket, and what comes next."""

    history = dy.List(dy.String(), max_length=3)
    next_item = dy.String(metadata={"target": True, "item": True})


class Follower(BaseEstimator):
    """Counts which item follows the last one of a history; the rule counts all alike."""

    def __init__(self, k: int = 3, by_last: bool = True) -> None:
        self.k, self.by_last = k, by_last

    def fit(self, frame: pl.DataFrame, y: NDArray[Any], sample_weight: Any = None) -> Self:
        self.items_ = np.unique(y)
        self.table_ = np.zeros((len(self.items_) + 1, len(self.items_)), np.float32)
        np.add.at(self.table_, (self.places(frame), np.searchsorted(self.items_, y)), 1)
        self.table_ /= len(y)
        return self

    def places(self, frame: pl.DataFrame) -> NDArray[Any]:
        """The row of the table that counts for each history: the last one for what is unknown."""
        first = frame.to_series(0).to_numpy()
        known = np.isin(first, self.items_) & self.by_last
        places = np.searchsorted(self.items_, first).clip(max=len(self.items_) - 1)
        return np.where(known, places, len(self.items_))

    def recommend(self, frame: pl.DataFrame) -> tuple[NDArray[Any], NDArray[Any]]:
        scores = self.table_[self.places(frame)]
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        return self.items_[best], np.take_along_axis(scores, best, axis=1)

    def to_onnx(self, kinds: Mapping[str, str]) -> ModelProto:
        keys = self.items_.tolist() if self.by_last else ["none of them"]
        encode = helper.make_node(
            "LabelEncoder", ["first"], ["place"], domain="ai.onnx.ml", keys_strings=keys,
            values_int64s=range(len(keys)), default_int64=len(self.items_),
        )  # fmt: skip
        node = helper.make_node
        nodes = [
            node("Gather", ["texts", "column"], ["first"], axis=1), encode,
            node("Gather", ["table", "place"], ["scored"], axis=0),
            node("TopK", ["scored", "k"], ["scores", "best"]),
            node("Gather", ["names", "best"], ["items"]),
        ]  # fmt: skip
        values = {"column": np.array(0), "table": self.table_, "k": np.array([self.k])}
        stored = [numpy_helper.from_array(its, name) for name, its in values.items()]
        stored.append(numpy_helper.from_array(self.items_.astype(object), "names"))
        tensor = helper.make_tensor_value_info
        graph = helper.make_graph(
            nodes, "model", [tensor("texts", TensorProto.STRING, [None, len(kinds)])],
            [tensor("scores", TensorProto.FLOAT, None), tensor("items", TensorProto.STRING, None)],
            stored,
        )  # fmt: skip
        opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=9)


def build(model: str, task: str, kinds: Any, parameters: Mapping[str, Any], seed: int) -> Pipeline:
    """What `ml/model.py` would build."""
    assert task == "recommendation"
    return make_pipeline(Follower(by_last=model != "trivial", **parameters))


def baskets(rows: int, seed: int) -> pl.DataFrame:
    """Baskets after which, three times of four, what follows the first item is chosen."""
    draw = np.random.default_rng(seed)
    histories = [
        [str(it) for it in draw.choice(WORDS, size=size)] for size in draw.integers(0, 4, rows)
    ]
    chosen = [
        FOLLOWS[its[0]] if its and draw.random() < 0.75 else str(draw.choice(WORDS))
        for its in histories
    ]
    return pl.DataFrame(
        {"history": histories, "next_item": chosen},
        schema_overrides={"history": pl.List(pl.String)},
    )


@pytest.fixture(scope="module", autouse=True)
def models_of_baskets() -> Iterator[None]:
    """`ml/model.py` as a project of recommendations has it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", build)
        patch.setattr(models, "MODELS", ("follower",))
        patch.setattr(models, "SEARCH", {})
        yield


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that has learnt what comes next."""
    root = tmp_path_factory.mktemp("baskets")
    learnt, kept = baskets(900, 1), baskets(300, 2)
    with judged(root, Basket, learnt, kept, {"model": "auto"}) as made:
        yield made


def test_a_recommender_is_chosen_judged_and_bundled(project: Project) -> None:
    manifest = Bundle(project.bundle).manifest
    assert (manifest["task"], manifest["items"], manifest["score"]) == ("recommendation", 3, "ndcg")
    assert {gate["name"] for gate in manifest["gates"] if not gate["passed"]} == set()
    assert manifest["metrics"].keys() == {"ndcg", "hit_rate"}
    assert manifest["metrics"]["ndcg"] > 2 * manifest["baseline"]["ndcg"]


def test_scores_are_those_of_the_field() -> None:
    draw = np.random.default_rng(0)
    scores = draw.random((50, len(WORDS))).astype(np.float32)
    best = np.argsort(-scores, axis=1)
    said = Prediction(np.array(WORDS)[best[:, :3]], np.take_along_axis(scores, best[:, :3], 1))
    truth = draw.choice(WORDS, 50)
    ours = metrics.value(metrics.find("ndcg"), truth, said)
    assert ours == pytest.approx(ndcg_score(truth[:, None] == np.array(WORDS), scores, k=3))
    hits = [its in row for its, row in zip(truth, said.values, strict=True)]
    assert metrics.value(metrics.find("hit_rate"), truth, said) == pytest.approx(np.mean(hits))
    assert metrics.losses(metrics.find("ndcg"), truth, said).mean() == pytest.approx(1 - ours)


def test_lists_may_differ_where_scores_tie_and_nowhere_else() -> None:
    scores = np.array([[0.9, 0.5, 0.5, 0.1]], np.float32)
    fitted = np.array([["tea", "milk", "bread", "jam"]])

    def passes(*items: str) -> bool:
        labels = np.array([items]), fitted
        return gates.export_parity(scores, scores, 1e-4, labels).passed

    assert passes("tea", "bread", "milk", "jam")
    assert passes("tea", "milk", "bread", "rice")  # as likely as the last one, and left out
    assert not passes("milk", "tea", "bread", "jam")
    assert not passes("rice", "milk", "bread", "jam")


def test_answers_are_logged_and_read_as_they_were_given(project: Project, tmp_path: Path) -> None:
    model = Model.load(Bundle(project.bundle))
    rows = baskets(40, 3).drop("next_item").to_dicts()
    records = model.reader.read(msgspec.json.encode(rows)).records
    said = model.score(records)
    assert said[0].prediction == said[0].items[0].item
    now = "2026-03-01T00:00:00.000001+00:00"
    lines = [
        Predicted(f"{place:024x}", now, "1", *its, inputs=row)
        for place, (row, its) in enumerate(zip(rows, said, strict=True))
    ]
    (tmp_path / "a.jsonl").write_bytes(msgspec.json.Encoder().encode_lines(lines))
    contract = model.bundle.contract
    reader = log.Reader(log.predictions(contract, contract.inputs))
    (frame,) = reader.since(tmp_path)
    own, read = model.bundle.predict(model.reader.arrays(records)), log.said_in(contract, frame)
    assert read.values.tolist() == own.values.tolist()  # noqa: PD011  no pandas
    assert read.scored.tolist() == own.scored.tolist()
    whole = joined([log.said_in(contract, frame.clear()), read])
    assert len(whole) == len(rows)


def test_new_items_are_counted_and_alarm(project: Project, tmp_path: Path) -> None:
    reference = Reference(Bundle(project.bundle), "1")
    rows = baskets(400, 4)
    said = Bundle(project.bundle).predict(reference.contract.arrays(rows))
    items = [
        [{"item": item, "score": score} for item, score in zip(*its, strict=True)]
        for its in zip(said.values.tolist(), said.scored.tolist(), strict=True)  # noqa: PD011  no pandas
    ]
    lines = pl.DataFrame(
        {
            "id": [f"{place:024x}" for place in range(len(rows))],
            "time": "2026-03-01T00:00:00.000001+00:00",
            "version": "1",
            "inputs": rows.select("history").to_struct(),
            "prediction": said.first.astype(str),
            "items": pl.Series(items),
            "truth": rows["next_item"],
        }
    )

    def seen(truth: pl.Expr) -> Verdict:
        for name in ("predictions", "feedback"):
            (tmp_path / name).mkdir(exist_ok=True)
        lines.drop("truth").write_ndjson(tmp_path / "predictions" / "20260301T.jsonl")
        told = lines.select("id", "time", truth.alias("truth"))
        told.write_ndjson(tmp_path / "feedback" / "20260301T.jsonl")
        moment = datetime(2026, 3, 2, tzinfo=UTC)
        monitoring = Monitoring(window="1d")
        report = run.look(tmp_path, reference, Settings(monitoring=monitoring), moment)
        return report.verdicts[-2]

    calm = seen(pl.col("truth"))
    assert calm.findings == []
    assert calm.score is not None
    assert calm.score.value == pytest.approx(reference.expected(calm.score.score).value, abs=0.05)
    new = seen(pl.when(pl.int_range(pl.len()) % 4 == 0).then(pl.lit("kale")).otherwise("truth"))
    checks = {found.check: found.sentence for found in new.findings}
    assert "labels that the model does not know: kale (100)" in checks["unknown labels"]
    assert "score" in checks


@pytest.mark.parametrize(
    ("train", "sentence"),
    [
        ({"model": "blend"}, "train.model is blend, and lists of items have no mean; use auto"),
        ({"threshold": 0.3}, "threshold is 0.3, and next_item is one of an open set of items"),
        ({"costs": {"tea": {"jam": 2}}}, "costs are of classes, and next_item is one of an open"),
        ({"score": "r2"}, "No score of a recommendation is called r2"),
    ],
)
def test_what_makes_no_sense_for_items_is_one_sentence(
    tmp_path: Path, train: dict[str, Any], sentence: str
) -> None:
    with (
        pytest.raises(UserError, match=sentence),
        judged(tmp_path, Basket, baskets(90, 1), baskets(30, 2), {"model": "auto", **train}),
    ):
        pass


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({"a": dy.Float64(), "b": dy.String(metadata={"item": True})}, "for a target that is a"),
        (
            {"a": dy.Float64(), "b": dy.Int64(metadata={"item": True, "target": True})},
            "b is marked as item, which is for a target that is a String",
        ),
        (
            {"a": dy.Float64(), "b": dy.String(metadata={"target": True})},
            "the target b must be an Enum",
        ),
    ],
)
def test_an_item_is_a_target_of_text(columns: dict[str, Any], sentence: str) -> None:
    schema: Any = type("Row", (dy.Schema,), columns)
    with pytest.raises(UserError, match=sentence):
        contracts.compile_schema(schema)


def test_bulk_scoring_and_mlflow_give_items_beside_their_scores(project: Project) -> None:
    rows = baskets(20, 5)
    bundle = Bundle(project.bundle)
    scored = answers(bundle, rows)
    names = ["item_1", "score_1", "item_2", "score_2", "item_3", "score_3"]
    assert scored.columns == names
    assert scored.dtypes == [pl.String, pl.Float32] * 3
    said = bundle.predict(bundle.contract.arrays(rows))
    assert scored["item_2"].to_list() == said.values[:, 1].tolist()  # noqa: PD011  no pandas
    described = json.loads((project.bundle / "MLmodel").read_text())["signature"]["outputs"]
    assert [it["type"] for it in json.loads(described)] == ["string", "float"] * 3
    by_mlflow = mlflow_model.Model(bundle).predict(
        pd.DataFrame({"history": rows["history"].to_list()})
    )
    assert by_mlflow.columns.tolist() == names
    assert by_mlflow["item_1"].tolist() == scored["item_1"].to_list()
