"""A column that says how much a row counts: in fits, scores, gates and labels, and at no door."""

from __future__ import annotations

from typing import TYPE_CHECKING

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from my_model.ml import model as models
from my_model.ops import contract as contracts
from my_model.ops import scoring
from my_model.ops.bundle import Bundle, Prediction
from my_model.ops.data.roles import Wish, decide
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates, metrics
from my_model.ops.monitoring.reference import Reference
from my_model.ops.pipeline import labelled, split, train, validate
from my_model.ops.pipeline.parsing import parse
from my_model.ops.retraining import examination
from my_model.ops.serving.models import Model
from my_model.ops.settings import Split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from small import folded, judged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from my_model.ops.project import Project


class Answered(dy.Schema):
    """A person who answered, and how many people he or she stands for."""

    age = dy.Float64()
    income = dy.Float64()
    people = dy.Float64(nullable=True, metadata={"weight": True})
    owns = dy.Enum(["no", "yes"], metadata={"target": True})


def answered(rows: int, seed: int) -> pl.DataFrame:
    """People, of whom those that count for nothing answer the opposite of the others."""
    draw = np.random.default_rng(seed)
    age, income = draw.normal(size=(2, rows))
    people = draw.integers(0, 4, rows).astype(float)
    owns = (age + draw.logistic(scale=0.3, size=rows) > 0) ^ (people == 0)
    return pl.DataFrame(
        {"age": age, "income": income, "people": people, "owns": np.where(owns, "yes", "no")},
        schema_overrides={"owns": Answered.columns()["owns"].dtype},
    )


@pytest.fixture(scope="module")
def weighed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose rows weigh, trained and judged."""
    frames = answered(900, 1), answered(600, 2)
    root = tmp_path_factory.mktemp("weighed")
    with judged(root, Answered, *frames, {"model": "linear", "score": "accuracy"}) as project:
        yield project


def test_scores_are_those_of_rows_that_come_as_often_as_they_weigh(weighed: Project) -> None:
    bundle = Bundle(weighed.bundle)
    frame = pl.read_parquet(weighed.holdout)
    times = frame["people"].cast(pl.Int64).to_numpy()
    truth = bundle.contract.labels(frame)
    said = bundle.predict(bundle.contract.arrays(frame))
    manifest, rows = bundle.manifest, np.repeat(np.arange(len(frame)), times)
    for score in metrics.scores_of("classification"):
        repeated = metrics.value(score, truth[rows], said[rows])
        assert manifest["metrics"][score.name] == pytest.approx(repeated, rel=1e-5), score.name
        low, high = manifest["intervals"][score.name]
        assert low < manifest["metrics"][score.name] < high
    plain = metrics.value(metrics.find("accuracy"), truth, said)
    assert manifest["metrics"]["accuracy"] > plain + 0.1
    assert "Rows weigh by `people`" in (weighed.reports / "cards" / "model.md").read_text()


def test_a_service_is_compared_with_rows_that_all_count_the_same(weighed: Project) -> None:
    """Its log has no weights."""
    bundle, accuracy = Bundle(weighed.bundle), metrics.find("accuracy")
    frame = pl.read_parquet(weighed.holdout)
    said = bundle.predict(bundle.contract.arrays(frame))
    known = Reference(bundle, "1").expected(accuracy)
    assert known is not None
    plain = metrics.value(accuracy, bundle.contract.labels(frame), said)
    assert known.value == pytest.approx(plain, rel=1e-5)
    usual = examination._usual(bundle, bundle.contract)
    assert usual == pytest.approx(1 - plain, rel=1e-4)


def test_nobody_is_asked_for_a_weight(weighed: Project) -> None:
    bundle = Bundle(weighed.bundle)
    assert [column.name for column in bundle.contract.inputs] == ["age", "income"]
    frame = pl.read_parquet(weighed.holdout).select("age", "income")
    parsed = parse(frame.lazy(), labelled=False).rows.collect()
    good = validate.check(parsed, labelled=False).good
    labels = scoring.answers(bundle, good)["prediction"].to_list()
    assert [its.prediction for its in Model.load(bundle).score(frame.rows())] == labels


def rows_of(frame: pl.DataFrame, schema: type[dy.Schema] = Answered) -> train.Rows:
    return train.Rows(contracts.compile_schema(schema), folded(frame))


@pytest.mark.parametrize("model", ["linear", "boosting", "trivial"])
def test_a_model_learns_by_the_weights(model: str) -> None:
    frame = answered(900, 1).with_columns(people=10 * (pl.col("people") == 0))
    rows = rows_of(frame.with_columns(pl.col("people").cast(pl.Float64)))
    plain = rows_of(frame.with_columns(people=pl.lit(1.0)))
    everything = np.arange(len(frame))

    def score(its: train.Rows) -> float:
        said = train.predict(its.fit(model, {}, everything), its.contract, its.features)
        return metrics.worth(metrics.find("log_loss"), rows.labels, said, rows.weights)

    assert score(rows) > score(plain) + (0.5 if model != "trivial" else 0)


def test_a_model_that_takes_no_weights_says_so_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(models, "build", lambda *_: make_pipeline(KNeighborsClassifier()))
    rows = rows_of(answered(300, 1))
    for learn, _ in rows.splits:
        rows.fit("near", {}, learn)
    assert capsys.readouterr().out.count("near weighs all rows the same") == 1


def test_champions_are_compared_by_the_weights() -> None:
    """The challenger is right where it counts."""
    truth = np.zeros(2000, np.int64)
    heavy = np.arange(2000) < 500
    ours, theirs = Prediction(1 - heavy, None), Prediction(heavy.astype(int), None)
    ours, theirs = (Prediction(it.values, np.eye(2)[it.values]) for it in (ours, theirs))
    about = metrics.find("accuracy"), truth, ours, theirs, 0.01, 1
    assert not gates.regression(*about).passed
    weights = np.where(heavy, 10.0, 1.0)
    gate = gates.regression(*about, weights=weights)
    assert gate.passed
    assert gate.value == pytest.approx((1500 - 5000) / 6500)


@pytest.mark.parametrize("kind", [dy.Float64, dy.Int64])
def test_a_weight_is_finite_and_not_negative(
    kind: type[dy.Column], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Row(Answered):
        people = kind(nullable=True, metadata={"weight": True})  # type: ignore[call-arg]

    monkeypatch.setattr(contracts, "schema", lambda: Row)
    frame = answered(4, 1).with_columns(people=pl.Series(["2", "-1", "inf", None]))
    checked = validate.check(parse(frame.lazy()).rows.collect())
    assert checked.kept.to_list() == [True, False, False, True]
    assert checked.counts["people|weight"] == 1
    assert contracts.load().weights(checked.good).tolist() == [2, 1]


def test_labels_of_the_service_weigh_one(monkeypatch: pytest.MonkeyPatch) -> None:
    class Row(Answered):
        people = dy.Float64(metadata={"weight": True})

    monkeypatch.setattr(contracts, "schema", lambda: Row)
    told = answered(3, 1).with_columns(people=pl.Series([None, "3", None], dtype=pl.String))
    rows = parse(labelled.weighed(told.lazy(), contracts.load())).rows.collect()
    assert contracts.load().weights(validate.check(rows).good).tolist() == [1, 3, 1]


class Visited(Answered):
    """The same, by household and day."""

    household = dy.String(metadata={"group": True})
    day = dy.Date(metadata={"event_time": True})


def test_rows_that_count_for_nothing_cannot_judge() -> None:
    contract = contracts.compile_schema(Visited)
    assert [column.name for column in contract.features] == ["age", "income", "day"]
    folds = np.array([split.HELD_OUT, split.HELD_OUT, 0, 1], np.int16)
    for weights, which in (((0, 0, 1, 1), "held out"), ((1, 0, 1, 0), "of fold 1")):
        rows = pl.LazyFrame({"people": weights})
        with pytest.raises(UserError, match=f"All rows {which} have the weight 0 in people"):
            split._check_weights(rows, contract, folds)
    split._check_weights(pl.LazyFrame({"people": [0, 1, 1, None]}), contract, folds)
    assert split.rule(contract, Split())["by"] == "event_time"


def test_what_is_no_weight_is_one_sentence() -> None:
    class Word(Answered):
        people = dy.String(metadata={"weight": True})

    class Two(Answered):
        income = dy.Float64(metadata={"weight": True})

    with pytest.raises(UserError, match="people is the weight of a row, so make it a number"):
        contracts.compile_schema(Word)
    with pytest.raises(UserError, match="are all weight; keep one"):
        contracts.compile_schema(Two)


def test_a_file_is_adopted_with_its_weights() -> None:
    frame = answered(200, 1).with_columns(pl.col("owns").cast(pl.String))
    draft = decide(frame.lazy(), Wish("owns", None, {"people": "weight"}))
    assert [it.name for it in draft.columns if it.role == "weight"] == ["people"]
    with pytest.raises(UserError, match="--weight 'income' must hold numbers of 0 or more"):
        decide(frame.lazy(), Wish("owns", None, {"income": "weight"}))


def test_a_model_that_is_fitted_again_learns_by_the_weights_of_all_rows() -> None:
    """The new rows say the opposite of the first, and count for nothing."""
    frame = answered(900, 1).with_columns(people=(pl.col("people") > 0).cast(pl.Float64))
    rows = rows_of(frame)
    others = rows.others(frame.sort("people"))
    assert others.weights.tolist() == sorted(rows.weights)
    training = {"model": "linear", "parameters": {}, "seed": 7}
    said = train.predict(train.again(others, training), rows.contract, others.features)
    right = said.values == others.labels
    assert right[others.weights > 0].mean() > 0.8
    assert right[others.weights == 0].mean() < 0.3
