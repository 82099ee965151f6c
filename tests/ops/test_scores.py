"""What a project says of good models in ml/metrics.py: its scores, losses and gates, everywhere."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from copies import copied
from documents import examples
from my_model.ml import metrics as own
from my_model.ops import contract as contracts
from my_model.ops.bundle import MANIFEST, Bundle
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates, metrics, report, slices
from my_model.ops.files import read_json, write_json
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.run import look
from my_model.ops.pipeline import evaluate, train
from my_model.ops.registry import comparison, tracking
from my_model.ops.settings import Settings, Train
from render import ROOT
from sklearn import metrics as sklearn
from small import folded
from test_evaluation import classified, estimated

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from my_model.ops.project import Project
    from numpy.typing import NDArray

    Array = NDArray[Any]

MATRIX = [[0, 1], [5, 0]]


def price(truth: Array, answers: Array) -> Array:
    """A loss, row by row."""
    prices: Array = np.array(MATRIX)[truth, answers]
    return prices


def hits(truth: Array, answers: Array) -> Array:
    """A score, row by row."""
    return np.asarray(answers == truth)


def share(truth: Array, answers: Array) -> float:
    """The same for all rows at once."""
    return float(np.mean(answers == truth))


def surest(truth: Array, answers: Array, probabilities: Array) -> Array:
    """A loss that looks at probabilities."""
    return 1 - probabilities.max(axis=1)


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let ml/metrics.py say something."""

    def change(**names: object) -> None:
        for name, value in names.items():
            monkeypatch.setattr(own, name, value)

    return change


def test_what_the_file_makes_agrees_with_scikit_learn(says: Callable[..., None]) -> None:
    says(LOSSES={"pinball": own.pinball(0.9)}, SCORES={"f1 again": own.f_beta(1)})
    truth, answers = classified(3)
    again, known = (metrics.find(name) for name in ("f1 again", "f1"))
    expected = metrics.value(known, truth, answers)
    assert metrics.value(again, truth, answers) == pytest.approx(expected)
    truth, answers = estimated()
    expected = sklearn.mean_pinball_loss(truth, answers, alpha=0.9)
    assert metrics.value(metrics.find("pinball"), truth, answers) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "task", "close"),
    [
        ("rocauc", "classification", "roc_auc"),
        ("RMSE", "regression", "rmse"),
        ("tardy", "regression", "tardyness"),
        ("anything", "regression", "auto, r2, rmse, mae, mape, median"),
        ("roc_auc", "regression", "auto, r2, rmse"),
    ],
)
def test_a_wrong_name_is_one_sentence_with_the_closest(
    name: str, task: Any, close: str, says: Callable[..., None]
) -> None:
    says(LOSSES={"tardyness": lambda truth, answers: np.abs(truth - answers)})
    said = (
        rf"No score of a {task} is called {name}: train.score in params.yaml may be {close}.*, or "
    )
    with pytest.raises(UserError, match=said):
        metrics.find(name, task=task)
    assert metrics.find("tardyness", task="regression").name == "tardyness"


@pytest.mark.parametrize("name", ["accuracy", "auto", "cost", "a/b", " a", ""])
def test_a_name_that_is_taken_or_hostile_is_refused(name: str, says: Callable[..., None]) -> None:
    says(SCORES={name: hits})
    with pytest.raises(UserError, match=r"is taken, or no plain name"):
        metrics.scores_of(None)


def test_a_project_without_the_file_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(own, "SCORES", {"hits": hits})
    monkeypatch.setattr(metrics, "PACKAGE", tmp_path)
    truth, answers = classified(2)
    assert metrics.scores_of(None) == [*metrics.SCORES]
    assert asked(truth, answers) == []
    assert metrics.losses(metrics.find("roc_auc"), truth, answers).shape == truth.shape


def test_one_number_and_one_for_each_row_mean_the_same(says: Callable[..., None]) -> None:
    says(SCORES={"by row": hits, "at once": share})
    truth, answers = classified(2, 200)
    both = [metrics.find(name) for name in ("by row", "at once")]
    fractions = np.random.default_rng(3).random(200)
    for weights in (np.ones(200), np.random.default_rng(2).multinomial(200, [1 / 200] * 200)):
        values = [metrics.prepare(it, truth, answers)(weights.astype(float)) for it in both]
        assert values[0] == pytest.approx(values[1])
    values = [metrics.prepare(it, truth, answers)(fractions) for it in both]
    assert values[0] == pytest.approx(values[1], abs=0.02)
    one, other = metrics.intervals(both, truth, answers, 7).values()
    assert one == pytest.approx(other)
    assert one[0] < share(truth, answers.argmax(axis=1)) < one[1]
    assert np.isnan(metrics.prepare(both[1], truth, answers)(np.zeros(200)))


@pytest.mark.parametrize("wrong", [lambda y, p, q: q, lambda y, p: "good", lambda y, p: y[:-1]])
def test_a_score_of_another_shape_is_one_sentence(
    wrong: Callable[..., Any], says: Callable[..., None]
) -> None:
    says(SCORES={"odd": wrong})
    with pytest.raises(UserError, match=r"ml/metrics.py: odd must give one number, or one for"):
        metrics.value(metrics.find("odd"), *classified(2))


def test_the_loss_of_rows_is_that_of_the_score(says: Callable[..., None]) -> None:
    """A quantile is judged by pinball: by squares its best answer is worse than the mean."""
    truth, _ = estimated()
    high = np.full(len(truth), np.quantile(truth, 0.9))
    central = np.full(len(truth), truth.mean())
    says(LOSSES={"pinball": own.pinball(0.9)})
    pinball, part = metrics.find("pinball"), [("a = b", np.arange(300))]
    said = truth, high, central, np.ones(len(truth))
    (record,) = slices.measure(part, pinball, *said)
    assert gates.worst_slice([record], 0.05).passed
    assert not gates.worst_slice(slices.measure(part, metrics.find("r2"), *said), 0.05).passed
    assert record["score"] == pytest.approx(record["loss"])

    says(LOSSES={"price": price}, LOSS="price")
    truth, answers = classified(2)
    found = metrics.losses(metrics.find("roc_auc"), truth, answers)
    assert found.tolist() == [MATRIX[y][p] for y, p in zip(truth, answers.argmax(1), strict=True)]
    says(LOSSES={"surest": surest, "at once": lambda y, p: float(np.mean(y))}, LOSS="auto")
    unsure = metrics.losses(metrics.find("surest"), truth, answers)
    assert unsure == pytest.approx(1 - answers.max(axis=1))
    likely = metrics.losses(metrics.find("at once"), truth, answers)
    assert likely.tolist() == metrics.losses(metrics.find("log_loss"), truth, answers).tolist()
    says(LOSS="accuracy")
    with pytest.raises(UserError, match=r"LOSS is accuracy, which tells no loss of each row"):
        metrics.losses(metrics.find("roc_auc"), truth, answers)


class Wait(dy.Schema):
    """How long a call waited."""

    before = dy.Float64()
    seconds = dy.Float64(metadata={"target": True})


def test_the_baseline_answers_the_number_that_loses_least(says: Callable[..., None]) -> None:
    says(LOSSES={"pinball": own.pinball(0.9)})
    seconds = np.random.default_rng(1).exponential(size=300)
    frame = folded(pl.DataFrame({"before": range(300), "seconds": seconds}))
    wanted = {"pinball": np.quantile(seconds, 0.9), "mae": np.median(seconds), "r2": seconds.mean()}
    for score, number in wanted.items():
        rows = train.Rows(contracts.compile_schema(Wait), frame, Settings(train=Train(score=score)))
        said = rows.fit("trivial", {}, np.arange(300)).predict(rows.features)
        assert said == pytest.approx(np.full(300, number))


def test_a_loss_below_nothing_is_gained_on_the_right_way() -> None:
    """Profit, as a negative loss."""
    loss = metrics.find("rmse")
    assert loss.gain(-3.0, -2.0) == 0.5
    assert loss.gain(-1.0, -2.0) == -0.5
    assert loss.gain(-1.0, 0.0) == np.inf


def asked(truth: Array, *answers: Array) -> list[gates.Gate]:
    """What the gates say of a model, and of its champion."""
    scores = metrics.scores_of("classification" if answers[0].ndim == 2 else "regression")
    return gates.own(
        scores, truth, {}, np.ones(len(truth)), *(metrics.told(said) for said in answers)
    )


def test_gates_are_asked_where_what_they_ask_for_is_known(says: Callable[..., None]) -> None:
    def braver(answers: Array, champion_answers: Array) -> tuple[Any, str]:
        return answers.std() > champion_answers.std(), "It is\nbraver."

    truth, answers = estimated()
    says(GATES={"no surprise": own.most(0.01, 10.0), "braver": braver})
    (gate,) = asked(truth, answers)
    assert (gate.name, gate.passed) == ("no surprise", False)
    assert gate.reason.endswith("are off by more than 10; 1.0% may be.")
    (gate,) = asked(truth, answers, answers / 2)
    assert (gate.name, gate.passed, gate.reason) == ("braver", True, "It is braver.")
    json.dumps(gate.to_dict())


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        (
            lambda truth, rival: (True, ""),
            "asks for rival; there are truth, columns, weights, answers, ",
        ),
        (lambda *truth: (True, ""), r"asks for \*truth; there are truth, columns, "),
        (lambda truth: True, "must return a boolean and a sentence"),
        (lambda truth: (truth, "It is so."), "must return a boolean and a sentence"),
    ],
)
def test_a_gate_that_is_none_is_one_sentence(
    gate: Callable[..., Any], said: str, says: Callable[..., None]
) -> None:
    says(GATES={"odd": gate})
    with pytest.raises(UserError, match=f"ml/metrics.py: odd {said}"):
        asked(np.ones(3), np.ones(3))


def test_what_the_document_shows_runs(says: Callable[..., None]) -> None:
    told = dict(vars(own))
    for example in examples((ROOT / "template" / "docs" / "ops" / "scores.md").read_text()):
        exec(example, told)  # noqa: S102  it is ours
    says(SCORES=told["SCORES"], GATES={**told["GATES"], "recall": told["recall"]})
    truth, answers = classified(2)
    assert metrics.find("f2", task="classification").name == "f2"
    (gate,) = asked(truth, answers, answers)
    assert (gate.name, gate.passed) == ("recall", True)


@pytest.fixture(scope="module")
def judged(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project, whose people judge by what a mistake costs, and have a gate."""
    project = copied(trained, tmp_path_factory.mktemp("costs"))
    for name in ("models/candidate", "pyproject.toml"):
        copy = shutil.copytree if (trained.root / name).is_dir() else shutil.copyfile
        copy(trained.root / name, project.root / name)
    training = read_json(project.candidate / "training.json")
    write_json(project.candidate / "training.json", {**training, "score": "price"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own, "LOSSES", {"price": price})
        patch.setattr(own, "SCORES", {"hits": share})
        patch.setattr(own, "GATES", {"seen": seen})
        evaluate.run(project)
    return project


def seen(
    truth: Array, answers: Array, scores: Mapping[str, float], columns: Mapping[str, Array]
) -> tuple[bool, str]:
    """A gate that asks for everything."""
    assert {len(values) for values in columns.values()} == {len(truth)} == {len(answers)}
    return scores["price"] < 1, f"A row costs {scores['price']:.3f}."


def test_own_scores_losses_and_gates_are_in_all_that_a_training_tells(
    judged: Project, says: Callable[..., None]
) -> None:
    said = Bundle(judged.bundle).manifest
    assert said["score"] == "price"
    assert said["metrics"]["hits"] == said["metrics"]["accuracy"]
    assert (
        said["intervals"]["price"][0] <= said["metrics"]["price"] <= said["intervals"]["price"][1]
    )
    by_name = {gate["name"]: gate for gate in said["gates"]}
    assert by_name["seen"]["passed"]
    assert "price 0." in by_name["baseline gain"]["reason"]
    assert read_json(judged.reports / "gates.json")["seen"]["reason"].startswith("A row costs 0.")
    assert "baseline_price" in read_json(judged.reports / "metrics.json")
    card = (judged.reports / "cards" / "model.md").read_text()
    assert "Its price on " in card
    assert "| price |" in card
    assert "| seen | passed | A row costs 0." in card
    loss = read_json(judged.reports / "findings" / "slices.json")[0]
    assert loss["loss"] == loss["score"]
    says(LOSSES={"price": price}, SCORES={"hits": share})
    assert "price" in report.report(judged, "HEAD")
    says(SCORES={"odd": lambda truth, answers: float("nan")})
    with pytest.raises(UserError, match=r"ml/metrics.py: odd of what the model answers to .* no n"):
        evaluate.run(judged)


def test_a_champion_is_compared_by_an_own_score(
    project: Project, says: Callable[..., None]
) -> None:
    def dearer(
        scores: Mapping[str, float],
        champion_scores: Mapping[str, float],
        champion_probabilities: Array,
    ) -> tuple[bool, str]:
        assert champion_probabilities.ndim == 2
        return scores["price"] <= champion_scores["price"], "It costs no more."

    says(LOSSES={"price": price}, GATES={"dearer": dearer, "seen": seen})
    path = project.bundle / MANIFEST
    write_json(path, {**read_json(path), "score": "price"})
    with tracking.connected(project) as store:
        verdicts, evidence = comparison.judge(
            store, Settings(), Bundle(project.bundle), store.version(1)
        )
    assert {gate.name: gate.passed for gate in verdicts} == {
        "champion regression": True, "dearer": True, "latency": True,
    }  # fmt: skip
    assert verdicts[0].reason.startswith("price 0.")
    assert evidence["champion"]["value"] >= 0


def test_monitoring_says_that_a_score_is_gone(judged: Project, says: Callable[..., None]) -> None:
    bundle = Bundle(judged.bundle)
    says(LOSSES={"price": price})
    known = Reference(bundle, "1")
    assert (known.score and known.score.name, known.lost) == ("price", "")
    assert [score.name for score in known.scores] == ["price", "accuracy"]
    says(LOSSES={})
    gone = Reference(bundle, "1")
    assert gone.lost.startswith("The champion's score cannot be measured. No score is called price")
    assert [score.name for score in gone.scores] == ["accuracy"]
    found = look(judged.root / "nowhere", gone, Settings())
    assert gone.lost in found.outcome.reasons
    assert gone.lost in found.markdown()
