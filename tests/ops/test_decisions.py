"""Which class is answered: a threshold or costs, chosen out of fold and the same everywhere."""

from __future__ import annotations

import shutil
from importlib import import_module
from typing import TYPE_CHECKING, Any

import dataframely as dy
import numpy as np
import polars as pl
import pytest
import yaml
from my_model.ops import contract as contracts
from my_model.ops import mlflow_model, scoring
from my_model.ops.bundle import Bundle, decided
from my_model.ops.errors import UserError
from my_model.ops.evaluation import cards, gates, metrics
from my_model.ops.files import read_json, write_json
from my_model.ops.monitoring import checks
from my_model.ops.monitoring.pools import Pool
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.windows import Window
from my_model.ops.pipeline import decisions, train
from my_model.ops.registry import comparison
from my_model.ops.serving.models import Model
from my_model.ops.settings import Settings, Train
from small import COUNTED, judged

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from my_model.ops.project import Project

MISSED = {"ill": {"healthy": 10}}
"""To miss one who is ill costs ten times as much as a false alarm."""


class Visit(dy.Schema):
    """A visit, and what was found."""

    age = dy.Float64()
    dose = dy.Float64()
    found = dy.Enum(["healthy", "ill"], metadata={"target": True})


class Case(dy.Schema):
    """A case of one of three kinds."""

    age = dy.Float64()
    dose = dy.Float64()
    found = dy.Enum(["a", "b", "c"], metadata={"target": True})


class Price(dy.Schema):
    """A price."""

    age = dy.Float64()
    dose = dy.Float64()
    found = dy.Float64(metadata={"target": True})


def visits(rows: int, seed: int, schema: type[dy.Schema] = Visit) -> pl.DataFrame:
    """Visits, of which few find somebody ill."""
    draw = np.random.default_rng(seed)
    age, dose = draw.normal(size=(2, rows))
    level = age + 0.5 * dose + draw.logistic(size=rows)
    place = np.digitize(level, (1.5,) if schema is Visit else (0.0, 1.5))
    kind = schema.columns()["found"].dtype
    names = schema.columns()["found"].dtype.categories if kind == pl.Enum else None
    found = level if names is None else np.array(names)[place]
    return pl.DataFrame(
        {"age": age, "dose": dose, "found": found}, schema_overrides={"found": kind}
    )


def rows_of(schema: type[dy.Schema], rows: int = 900, **values: Any) -> train.Rows:
    frame = visits(rows, 1, schema)
    folds = pl.Series(contracts.FOLD, np.arange(rows) % 3)
    settings = Settings(train=Train(model="linear", **values))
    contract = contracts.compile_schema(schema)
    return train.Rows(contract, frame.with_columns(folds), settings)


def chosen(schema: type[dy.Schema], **values: Any) -> tuple[dict[str, Any], train.Rows]:
    """How classes are chosen by a linear model that was asked for these."""
    rows = rows_of(schema, **values)
    training, _ = train.choose(rows)
    return training, rows


@pytest.fixture(scope="module")
def trained_by_costs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project that was trained and judged with costs; its contract is that of a visit."""
    frames = visits(900, 1), visits(600, 2)
    values = {"model": "linear", "score": "cost", "costs": MISSED}
    with judged(tmp_path_factory.mktemp("costs"), Visit, *frames, values) as project:
        yield project


def cost(truth: Any, said: Any) -> float:
    """What answers cost on average, counted by hand."""
    return float(np.mean(10 * ((truth == 1) & (said == 0)) + ((truth == 0) & (said == 1))))


def test_costs_move_the_threshold_and_everybody_answers_by_it(trained_by_costs: Project) -> None:
    bundle = Bundle(trained_by_costs.bundle)
    told = bundle.manifest["decision"]
    assert told == {"costs": [[0, 1], [10, 0]], "threshold": told["threshold"], "by": "cost"}
    assert 0.02 < told["threshold"] < 0.25  # by exact probabilities 1 / 11
    frame = pl.read_parquet(trained_by_costs.holdout)
    truth, columns = bundle.contract.labels(frame), bundle.contract.arrays(frame)
    said = bundle.predict(columns)
    assert np.array_equal(said.values, said.scored[:, 1] >= np.float32(told["threshold"]))
    assert (said.values != said.scored.argmax(axis=1)).any()

    labels = [bundle.contract.classes[place] for place in said.values]
    assert scoring.answers(bundle, frame)["prediction"].to_list() == labels
    records = frame.select("age", "dose").rows()
    assert [its.prediction for its in Model.load(bundle).score(records)] == labels
    table = import_module("pandas").DataFrame(frame.select("age", "dose").to_dict(as_series=False))
    assert mlflow_model.Model(bundle).predict(table)["prediction"].to_list() == labels

    manifest = bundle.manifest
    assert manifest["metrics"]["cost"] == pytest.approx(cost(truth, said.values), rel=1e-5)
    assert manifest["metrics"]["accuracy"] == pytest.approx(np.mean(said.values == truth), rel=1e-5)
    low, high = manifest["intervals"]["cost"]
    assert low < manifest["metrics"]["cost"] < high
    assert cost(truth, said.values) < cost(truth, said.scored.argmax(axis=1))
    assert manifest["metrics"]["cost"] < manifest["baseline"]["cost"] == np.mean(truth == 0)
    assert manifest["profile"]["prediction"]["classes"]["ill"] == said.values.sum()
    assert all(gate["passed"] for gate in manifest["gates"])

    findings = trained_by_costs.reports / "findings"
    missed = {
        (it["truth"], it["answer"]): it["rows"] for it in read_json(findings / "confusion.json")
    }
    assert missed["ill", "healthy"] == ((truth == 1) & (said.values == 0)).sum()
    card = (trained_by_costs.reports / "cards" / "model.md").read_text()
    assert "which gave the best cost on training rows that it had not learnt from" in card
    assert "(chosen)" in card


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"threshold": 0.3}, "0.300 or more, as `params.yaml` says"),
        ({"threshold": 0.3, "by": "f1"}, "0.300 or more, which gave the best F1 (macro)"),
        ({"costs": [[0, 1], [10, 0]]}, "the class of the least expected cost"),
    ],
)
def test_a_card_says_how_it_decides_whatever_was_asked(
    told: dict[str, Any], says: str, trained_by_costs: Project
) -> None:
    manifest = {**Bundle(trained_by_costs.bundle).manifest, "decision": told}
    findings = trained_by_costs.reports / "findings"
    found = {its.stem: read_json(its) for its in findings.iterdir() if its.stem != "thresholds"}
    made = cards.write(trained_by_costs.metadata, manifest, found, COUNTED, {})
    assert says in made["model.md"]


def test_monitoring_counts_what_was_answered(trained_by_costs: Project) -> None:
    bundle = Bundle(trained_by_costs.bundle)
    frame = pl.read_parquet(trained_by_costs.holdout)
    said = bundle.predict(bundle.contract.arrays(frame))
    lines = pl.select(
        id=pl.int_range(len(frame)),
        version=pl.lit("1"),
        time=pl.lit(0),
        told=pl.lit(0),
        truth=frame["found"].cast(pl.String),
        inputs=frame.select("age", "dose").to_struct(),
        prediction=pl.Series([bundle.contract.classes[place] for place in said.values]),
        probabilities=pl.DataFrame(said.scored, schema=["healthy", "ill"]).to_struct(),
    )
    window = Window(Reference(bundle, "1"), -1, 1)
    window.add(lines)
    ((truth, answers, *_),) = window.known
    pool = Pool([window], truth, answers, np.ones(len(truth)), np.arange(len(truth)), 1.0)
    found = {it.score.name: it for it in checks.scores(pool, 7)}
    assert set(found) == {"cost", "accuracy"}
    for name, scored in found.items():
        assert scored.value == pytest.approx(bundle.manifest["metrics"][name], rel=1e-5)
        assert scored.expected is not None
        assert scored.expected.value == bundle.manifest["metrics"][name]
    predictions, *_ = window.answers.values()
    assert predictions.table[1].sum() == len(frame)
    assert predictions.table[0].tolist() == predictions.table[1].tolist()


def test_each_version_is_compared_by_its_own_threshold(
    trained_by_costs: Project, tmp_path: Path
) -> None:
    shutil.copytree(trained_by_costs.bundle, tmp_path / "plain")
    manifest = read_json(tmp_path / "plain" / "manifest.json")
    del manifest["decision"]
    write_json(tmp_path / "plain" / "manifest.json", manifest)
    frame = pl.read_parquet(trained_by_costs.holdout)
    bundle, plain = Bundle(trained_by_costs.bundle), Bundle(tmp_path / "plain")
    ours, theirs = (comparison.answers(its, bundle.contract, frame) for its in (bundle, plain))
    assert np.array_equal(theirs.values, theirs.scored.argmax(axis=1))
    truth, score = bundle.contract.labels(frame), metrics.of(bundle.manifest)
    gate = gates.regression(score, truth, ours, theirs, 0.01, 7)
    lead = 1 - cost(truth, theirs.values) / cost(truth, ours.values)
    assert gate.passed
    assert gate.value == pytest.approx(lead)
    assert not gates.regression(score, truth, theirs, ours, 0.01, 7).passed


def test_the_baseline_decides_by_the_costs_too(trained_by_costs: Project) -> None:
    """To call everybody ill is what costs ask of somebody who knows nothing."""
    with np.load(trained_by_costs.candidate / "answers.npz") as own:
        assert (own["trivial_values"] == 1).all()


@pytest.mark.parametrize("score", ["f1", "balanced_accuracy"])
def test_a_threshold_is_chosen_by_the_score(score: str) -> None:
    training, rows = chosen(Visit, score=score, threshold="best")
    assert training["decision"]["by"] == score
    said = rows.said["linear"]
    found = {
        name: metrics.value(metrics.find(score), rows.labels, decided(told).answer(said))
        for name, told in (("likeliest", None), ("best", training["decision"]))
    }
    assert found["best"] > found["likeliest"] + 0.02
    assert np.mean(training["validation"]["linear"]) > found["likeliest"]


def test_a_threshold_by_hand_is_taken_and_costs_are_measured() -> None:
    training, rows = chosen(Visit, threshold=0.2, costs=MISSED)
    assert training["decision"] == {"threshold": 0.2, "costs": [[0, 1], [10, 0]]}
    answers = rows.answers("linear", {}, *rows.splits[0])
    assert np.array_equal(answers.values, answers.scored[:, 1] >= np.float32(0.2))


def test_of_several_classes_the_least_expected_cost_is_answered() -> None:
    training, rows = chosen(Case, score="cost", costs={"c": {"a": 20, "b": 5}, "b": {"a": 0}})
    costs = np.array([[0, 1, 1], [0, 0, 1], [20, 5, 0]])
    assert training["decision"] == {"costs": costs.tolist()}
    said = rows.said["linear"]
    answers = decided(training["decision"]).answer(said).values
    expected = [[sum(row[t] * costs[t][a] for t in range(3)) for a in range(3)] for row in said]
    assert np.array_equal(answers, np.argmin(expected, axis=1))
    assert (answers != said.argmax(axis=1)).mean() > 0.2
    by_hand = [np.mean(costs[rows.labels[held], answers[held]]) for _, held in rows.splits]
    assert training["validation"]["linear"] == pytest.approx([-it for it in by_hand])


def test_without_a_wish_the_likeliest_class_is_answered() -> None:
    training, _ = chosen(Visit)
    assert training["decision"] == {}
    assert "cost" not in {score.name for score in metrics.scores_of("classification")}


@pytest.mark.parametrize(
    ("schema", "values", "sentence"),
    [
        (Price, {"threshold": 0.3}, "threshold is 0.3, and found is a number"),
        (Price, {"costs": MISSED}, "costs are of classes, and found is a number"),
        (Case, {"threshold": "best"}, "threshold is best, and found has 3 classes"),
        (Visit, {"costs": {"sick": {"ill": 1}}}, "names sick, and found is one of healthy, ill"),
        (Visit, {"costs": yaml.safe_load("{yes: {no: 3}}")}, "quote a bare yes or no"),
        (Visit, {"costs": {"ill": {"healthy": float("inf")}}}, "costs must be finite"),
        (Visit, {"threshold": "best", "score": "roc_auc"}, "roc_auc does not depend"),
        (Visit, {"score": "cost"}, "score is cost; say in train.costs"),
        (Price, {"score": "cost"}, "No score of a regression is called cost"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence(
    schema: type[dy.Schema], values: Mapping[str, Any], sentence: str
) -> None:
    with pytest.raises(UserError, match=sentence):
        chosen(schema, **values)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"costs": {"ill": {"healthy": -1}}}, "a value of train.costs will not do"),
        ({"threshold": 1.5}, "train.threshold is 1.5"),
        ({"threshold": "worst"}, "expected auto, best or a number"),
    ],
)
def test_what_is_no_cost_and_no_threshold_is_refused(
    tmp_path: Path, values: Mapping[str, Any], sentence: str
) -> None:
    path = tmp_path / "params.yaml"
    path.write_text(yaml.safe_dump({"train": dict(values)}))
    with pytest.raises(UserError, match=sentence):
        Settings.load(path)


def test_rows_that_were_only_learnt_from_have_no_say() -> None:
    """Where rows have a time, the oldest fold is never answered."""
    _, rows = chosen(Visit, costs=MISSED)
    said = rows.said["linear"].copy()
    about = rows.train, rows.contract, "cost"
    few = decisions.choose(*about, rows.labels[300:], said[300:], rows.weights[300:])
    said[:300] = np.nan
    assert decisions.choose(*about, rows.labels, said, rows.weights) == few
