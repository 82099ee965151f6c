"""Scores, gates, slices, profile, pictures, cards and report: values and verdicts."""

from __future__ import annotations

import html
import io
import json
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from importlib import import_module
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import polars as pl
import pytest
from my_model.ops import mlflow_model
from my_model.ops.bundle import Bundle, Prediction
from my_model.ops.contract import Column, Contract
from my_model.ops.errors import UserError
from my_model.ops.evaluation import (
    cards,
    diagnostics,
    gates,
    metrics,
    page,
    plots,
    profile,
    report,
    slices,
)
from my_model.ops.evaluation.profile import interval
from my_model.ops.files import read_json
from my_model.ops.pipeline import evaluate
from my_model.ops.project import Project
from sklearn import metrics as sklearn

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from my_model.ops.evaluation.slices import Slice
    from numpy.typing import NDArray

    Array = NDArray[Any]

HOSTILE = 'a|b `c` $d$ <script>alert("e")</script> *f* @all\n# g'
OF_CLASSES, OF_NUMBERS = (
    {score.name for score in metrics.SCORES if score.task == task}
    for task in ("classification", "regression")
)
AUC, R2, RMSE, MAE = (metrics.find(name) for name in ("roc_auc", "r2", "rmse", "mae"))


def classified(classes: int, rows: int = 400, seed: int = 0) -> tuple[Array, Array]:
    """Truth and somewhat informed probabilities with ties, as float32."""
    draw = np.random.default_rng(seed)
    truth = draw.integers(0, classes, rows)
    likely = draw.normal(size=(rows, classes)) + 1.2 * np.eye(classes)[truth]
    likely = np.exp(likely.round(1))
    return truth, (likely / likely.sum(axis=1, keepdims=True)).astype(np.float32)


def estimated(rows: int = 400, seed: int = 0) -> tuple[Array, Array]:
    """Truth and somewhat informed numbers."""
    draw = np.random.default_rng(seed)
    truth = draw.normal(50, 10, rows)
    return truth, (truth + draw.normal(0, 5, rows)).astype(np.float32)


BY_SCIKIT_LEARN: dict[str, Callable[[Array, Array], float]] = {
    "roc_auc": lambda y, p: (
        sklearn.roc_auc_score(y, p[:, 1])
        if p.shape[1] == 2
        else sklearn.roc_auc_score(y, p / p.sum(axis=1, keepdims=True), multi_class="ovr")
    ),
    "average_precision": lambda y, p: (
        sklearn.average_precision_score(y, p[:, 1])
        if p.shape[1] == 2
        else sklearn.average_precision_score(np.eye(p.shape[1])[y], p)
    ),
    "accuracy": lambda y, p: sklearn.accuracy_score(y, p.argmax(axis=1)),
    "balanced_accuracy": lambda y, p: sklearn.balanced_accuracy_score(y, p.argmax(axis=1)),
    "f1": lambda y, p: sklearn.f1_score(y, p.argmax(axis=1), average="macro"),
    "log_loss": lambda y, p: sklearn.log_loss(y, p / p.sum(axis=1, keepdims=True)),
    "brier": lambda y, p: (
        sklearn.brier_score_loss(y, p[:, 1])
        if p.shape[1] == 2
        else float(np.square(p - np.eye(p.shape[1])[y]).sum(axis=1).mean())
    ),
    "r2": sklearn.r2_score,
    "rmse": sklearn.root_mean_squared_error,
    "mae": sklearn.mean_absolute_error,
    "mape": sklearn.mean_absolute_percentage_error,
    "median_absolute_error": sklearn.median_absolute_error,
}


@pytest.mark.parametrize("rows", [400, 401])
@pytest.mark.parametrize("classes", [0, 2, 3, 10])
def test_every_score_agrees_with_scikit_learn(classes: int, rows: int) -> None:
    truth, answers = classified(classes, rows) if classes else estimated(rows)
    for score in metrics.scores_of("classification" if classes else "regression"):
        expected = BY_SCIKIT_LEARN[score.name](truth, answers.astype(np.float64))
        assert metrics.value(score, truth, answers) == pytest.approx(expected, abs=1e-6), score.name


def test_every_score_is_in_the_table() -> None:
    """But for those of lists of items, which test_recommendation.py compares."""
    scores = [score for score in metrics.SCORES if score.task != "recommendation"]
    assert {score.name for score in scores} == set(BY_SCIKIT_LEARN)


@pytest.mark.parametrize("classes", [0, 2, 4])
def test_a_weight_counts_as_so_many_rows(classes: int) -> None:
    truth, answers = classified(classes, 60) if classes else estimated(60)
    times = np.random.default_rng(1).integers(0, 4, 60)
    for score in metrics.scores_of("classification" if classes else "regression"):
        weighted = metrics.prepare(score, truth, answers)(times.astype(np.float64))
        repeated = metrics.value(score, np.repeat(truth, times), np.repeat(answers, times, axis=0))
        assert weighted == pytest.approx(repeated), score.name


def test_scores_worked_out_by_hand() -> None:
    truth = np.array([0, 0, 1, 1])
    answers = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])
    value = {s.name: metrics.value(s, truth, answers) for s in metrics.scores_of("classification")}
    assert value["roc_auc"] == 0.75
    assert value["average_precision"] == pytest.approx(0.5 * 1 + 0.5 * 2 / 3)
    assert value["accuracy"] == value["balanced_accuracy"] == 0.75
    assert value["f1"] == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert value["brier"] == pytest.approx((0.01 + 0.16 + 0.4225 + 0.04) / 4)
    assert value["log_loss"] == pytest.approx(-np.log([0.9, 0.6, 0.35, 0.8]).mean())


def test_a_class_that_the_holdout_lacks_takes_no_part() -> None:
    truth, answers = classified(3)
    absent = np.insert(answers, 1, 0.0, axis=1)
    shifted = np.where(truth > 0, truth + 1, truth)
    for name in (*sorted(OF_CLASSES - {"f1"}), "f1"):
        score = metrics.find(name)
        known = metrics.value(score, truth, answers)
        assert metrics.value(score, shifted, absent) == pytest.approx(known), score.name
    absent[0] = (0, 1, 0, 0)  # one row is said to be of that class: one mistake, and no class lost
    assert known - 0.01 < metrics.value(metrics.find("f1"), shifted, absent) <= known


@pytest.mark.parametrize(
    ("truth", "answers", "undefined"),
    [
        (np.zeros(5, np.int64), np.full((5, 2), 0.5), {"roc_auc", "average_precision"}),
        (np.zeros(0, np.int64), np.zeros((0, 2)), OF_CLASSES),
        (np.array([0, 1]), np.array([[0.5, 0.5], [np.nan, 1.0]]), OF_CLASSES),
        (np.ones(5), np.ones(5), {"r2"}),
        (np.ones(1), np.zeros(1), {"r2"}),
        (np.ones(2), np.array([1.0, np.inf]), OF_NUMBERS),
    ],
)
def test_what_has_no_meaning_is_nan(truth: Array, answers: Array, undefined: set[str]) -> None:
    scores = metrics.scores_of("classification" if answers.ndim == 2 else "regression")
    found = {score.name for score in scores if np.isnan(metrics.value(score, truth, answers))}
    assert found == undefined


def test_losses_of_rows_add_up_to_the_score() -> None:
    truth, answers = classified(3)
    mean = metrics.losses(AUC, truth, answers).mean()
    assert mean == pytest.approx(metrics.value(metrics.find("log_loss"), truth, answers))
    truth, answers = estimated()
    mean = metrics.losses(R2, truth, answers).mean()
    assert mean**0.5 == pytest.approx(metrics.value(RMSE, truth, answers))


def test_a_score_for_comparison_grows_as_the_model_gets_better() -> None:
    truth, answers = estimated()
    close = Prediction((truth + (answers - truth) / 2).astype(np.float32), None)
    for score in metrics.scores_of("regression"):
        better, worse = (
            metrics.worth(score, truth, prediction, np.ones(len(truth)))
            for prediction in (close, Prediction(answers, None))
        )
        assert better > worse
        turn = -1 if score.loss else 1
        assert score.gain(turn * better, turn * worse) > 0 > score.gain(turn * worse, turn * better)


def test_a_loss_is_gained_on_as_a_share_and_a_score_as_a_difference() -> None:
    assert AUC.gain(0.75, 0.5) == 0.25
    assert RMSE.gain(30.0, 40.0) == 0.25


def test_auto_is_a_score() -> None:
    assert metrics.find("auto", task="classification").name == "roc_auc"
    assert metrics.find("auto", task="regression").name == "r2"
    assert metrics.find("log_loss", task="classification").name == "log_loss"


def mean_of(values: Array) -> Callable[[Array], list[metrics.Measure]]:
    """A measurement whose bootstrap is known."""
    return lambda chosen: [lambda weights: float(np.average(values[chosen], weights=weights))]


def test_a_bootstrap_strays_as_much_as_theory_says(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.random.default_rng(0).normal(size=900)
    assert metrics.replicates(mean_of(values), 900, 1).std() == pytest.approx(1 / 30, rel=0.1)
    monkeypatch.setattr(metrics, "BOOTSTRAP_ROWS", 200)
    assert metrics.replicates(mean_of(values), 900, 1).std() == pytest.approx(1 / 30, rel=0.15)


def test_rows_of_a_group_are_drawn_together(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.repeat(np.random.default_rng(0).normal(size=100), 9)
    groups = np.repeat([f"g{n}" for n in range(100)], 9)
    spread = metrics.replicates(mean_of(values), 900, 1, groups).std()
    assert spread == pytest.approx(values.std() / 10, rel=0.1)
    monkeypatch.setattr(metrics, "BOOTSTRAP_ROWS", 450)
    spread = metrics.replicates(mean_of(values), 900, 1, groups).std()
    assert spread == pytest.approx(values.std() / 10, rel=0.2)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    accuracy = metrics.find("accuracy")
    covered = 0
    for trial in range(60):
        hit = np.random.default_rng(trial).random(150) < 0.8
        answers = np.stack([hit, ~hit], axis=1).astype(np.float32)
        low, high = metrics.intervals([accuracy], np.zeros(150, int), answers, trial)["accuracy"]
        covered += low <= 0.8 <= high
    assert covered >= 53


def test_a_model_must_beat_the_trivial_baseline() -> None:
    good = gates.baseline_gain(AUC, 0.56, 0.5, 0.02)
    bad = gates.baseline_gain(AUC, 0.512, 0.5, 0.02)
    worse = gates.baseline_gain(AUC, 0.4, 0.5, 0.02)
    assert (good.passed, bad.passed, worse.passed) == (True, False, False)
    assert bad.value == pytest.approx(0.012)
    assert bad.reason == (
        "ROC AUC 0.512 improves on the trivial baseline's 0.500 by 0.012; 0.020 is asked."
    )
    assert "worse than the trivial baseline's 0.500 by 0.100" in worse.reason
    assert gates.baseline_gain(RMSE, 30.0, 40.0, 0.02).passed
    assert not gates.baseline_gain(RMSE, 39.9, 40.0, 0.02).passed


def test_a_model_of_shuffled_labels_is_refused_and_an_honest_one_is_not() -> None:
    truth, answers = classified(2)
    shuffled = np.random.default_rng(1).permutation(answers)
    for given, passed in ((answers, True), (shuffled, False)):
        value = metrics.value(AUC, truth, given)
        assert gates.baseline_gain(AUC, value, 0.5, 0.1).passed is passed


def test_a_minimum_is_held_only_when_it_is_set() -> None:
    assert gates.minimum_score(AUC, 0.1, None).skipped
    assert gates.minimum_score(AUC, 0.8, 0.8).passed
    assert not gates.minimum_score(AUC, 0.79, 0.8).passed
    assert gates.minimum_score(RMSE, 49.0, 50.0).passed
    assert not gates.minimum_score(RMSE, 51.0, 50.0).passed


def test_an_export_must_answer_as_the_fitted_model() -> None:
    _, answers = classified(3)
    assert gates.export_parity(answers, answers, 1e-4).value == 0
    assert gates.export_parity(answers + np.float32(5e-5), answers, 1e-4).passed
    wrong = answers.copy()
    wrong[7, 1] += 0.01
    assert not gates.export_parity(wrong, answers, 1e-4).passed
    assert not gates.export_parity(answers[:, :2], answers, 1e-4).passed
    _, numbers = estimated()
    large = numbers.astype(np.float64) * 1e6
    assert gates.export_parity(large * (1 + 1e-6), large, 1e-4).passed
    assert not gates.export_parity(large * (1 + 1e-3), large, 1e-4).passed


def test_an_export_must_say_the_same_classes() -> None:
    fitted = np.array([[0.7, 0.3], [0.2, 0.8], [0.500001, 0.499999]])
    said = np.array([0, 1, 0])
    assert gates.export_parity(fitted, fitted, 1e-4, (said, said)).passed
    assert gates.export_parity(fitted, fitted, 1e-4, (said, np.array([0, 1, 1]))).passed
    gate = gates.export_parity(fitted, fitted, 1e-4, (said, np.array([1, 1, 1])))
    assert not gate.passed
    assert "another class than the fitted one for 1 of 3 rows" in gate.reason


def test_a_row_must_be_scored_in_time() -> None:
    assert gates.latency(0.05, 20).passed
    slow = gates.latency(31.5, 20)
    assert not slow.passed
    assert slow.reason == (
        "One row is scored in 31.500 ms; 20 ms is allowed. Name a faster model in params.yaml, "
        "under train.model."
    )
    assert "Of its members forest takes the longest." in gates.latency(31.5, 20, "forest").reason


def lost(parts: list[Slice], losses: Array, baseline: Array) -> list[dict[str, Any]]:
    """Slices of rows in which a model and the trivial baseline lose so much."""
    rows = len(losses)
    return slices.measure(parts, MAE, np.zeros(rows), losses, baseline, np.ones(rows))


def test_what_is_not_a_number_passes_no_gate() -> None:
    nan = float("nan")
    truth, answers = classified(2)
    broken = np.full_like(answers, nan)
    part = [("a = b", np.arange(100))]
    loss = metrics.losses(AUC, truth, answers)
    for gate in (
        gates.baseline_gain(AUC, nan, 0.5, 0.02),
        gates.baseline_gain(AUC, 0.9, nan, 0.02),
        gates.minimum_score(AUC, nan, 0.1),
        gates.worst_slice(lost(part, np.full(400, nan), loss), 0.05),
        gates.export_parity(broken, answers, 1e-4),
        gates.export_parity(broken, broken, 1e-4),
        gates.regression(AUC, truth, broken, answers, 0.01, 1),
        gates.latency(nan, 20),
    ):
        assert not gate.passed, gate.name
        assert gate.value is None
        assert json.loads(json.dumps(gate.to_dict(), allow_nan=False))["value"] is None


def rivals(trial: int, champion: float, rows: int = 150) -> tuple[Array, Array, Array]:
    """Truth, and the answers of two models: one errs by 1, its champion by `champion`."""
    draw = np.random.default_rng(trial)
    truth = draw.normal(size=rows)
    return truth, truth + draw.normal(0, 1, rows), truth + draw.normal(0, champion, rows)


def test_an_equal_model_is_hardly_ever_refused_and_a_worse_one_is() -> None:
    refused = {
        champion: sum(
            not gates.regression(RMSE, *rivals(trial, champion), 0.01, trial).passed
            for trial in range(100)
        )
        for champion in (1.0, 0.7)
    }
    assert refused[1.0] <= 5
    assert refused[0.7] >= 95


def test_a_worse_classifier_is_refused_by_how_much_it_is_worse() -> None:
    truth, answers = classified(2, 600)
    worse = np.random.default_rng(1).permutation(answers)
    gate = gates.regression(AUC, truth, worse, answers, 0.01, 1)
    assert not gate.passed
    assert gate.value == pytest.approx(
        metrics.value(AUC, truth, answers) - metrics.value(AUC, truth, worse)
    )
    assert re.search(r"worse by 0\.\d{3}, and by at least 0\.\d{3} with 95% confid", gate.reason)
    assert gates.regression(AUC, truth, answers, worse, 0.01, 1).passed
    assert gates.regression(AUC, truth, answers, answers, 0.0, 1).value == 0


def right(share: float, rows: int = 2000) -> Array:
    """Answers to the truth 0, of which this share is right; those that are wrong are the last."""
    wrong = np.arange(rows) >= share * rows
    return np.column_stack([~wrong, wrong]).astype(np.float64)


def test_losses_that_are_small_one_by_one_are_bounded_together() -> None:
    truth, score = np.zeros(2000, np.int64), metrics.find("accuracy")
    first, second, third = (right(share) for share in (0.9, 0.891, 0.88))
    assert gates.regression(score, truth, second, first, 0.01, 1).passed
    assert gates.regression(score, truth, third, second, 0.01, 1).passed
    gate = gates.regression(score, truth, third, second, 0.01, 1, earlier={"version 3": first})
    assert not gate.passed
    assert gate.value == pytest.approx(0.02)
    assert "accuracy 0.880 against version 3's 0.900: worse by 0.020" in gate.reason
    assert "`uv run ops promote champion` accepts the loss." in gate.reason
    assert gates.regression(score, truth, second, third, 0.01, 1, earlier={"v": second}).passed


def test_many_champions_refuse_an_equal_model_no_more_often_than_one() -> None:
    refused = 0
    for trial in range(40):
        truth, challenger, champion = rivals(trial, 1.0)
        draw = np.random.default_rng(trial + 1000)
        earlier = {str(n): truth + draw.normal(0, 1, len(truth)) for n in range(8)}
        gate = gates.regression(RMSE, truth, challenger, champion, 0.01, trial, earlier=earlier)
        refused += not gate.passed
    assert refused <= 4


@pytest.mark.parametrize(("rows", "least", "most"), [(400, 5, 60), (40_000, 100, 100)])
def test_the_gate_says_how_likely_it_sees_a_loss(rows: int, least: int, most: int) -> None:
    """The share that it says is the share of such models that it refuses."""
    truth = np.zeros(rows, np.int64)

    def gate(trial: int, accuracy: float) -> gates.Gate:
        draw = np.random.default_rng(trial)
        hits = draw.random((2, rows)) < [[accuracy], [0.8]]
        ours, theirs = (np.column_stack([hit, ~hit]) for hit in hits)
        return gates.regression(metrics.find("accuracy"), truth, ours, theirs, 0.01, trial)

    found = re.search(rf"On {rows:,} rows a loss of 0.030 is seen with (\d+)%", gate(0, 0.8).reason)
    assert found
    assert least <= int(found[1]) <= most
    trials = 60 if rows < 1000 else 2
    refused = sum(not gate(trial, 0.77).passed for trial in range(trials))
    assert 100 * refused / trials == pytest.approx(int(found[1]), abs=12)


def test_a_gain_is_asked_for_where_one_is_set() -> None:
    truth, score = np.zeros(2000, np.int64), metrics.find("accuracy")
    champion = right(0.9)

    def gate(challenger: Array, asked: float) -> gates.Gate:
        return gates.regression(score, truth, challenger, champion, 0.01, 1, improvement=asked)

    assert gate(right(0.93), 0.0).passed
    assert gate(right(0.93), 0.01).passed
    refused = gate(right(0.93), 0.03)
    assert not refused.passed
    assert re.search(r"it is better by 0\.02\d or more; over 0\.030 is asked", refused.reason)
    assert not gate(champion, 0.0).passed
    assert not gate(champion * np.nan, 0.0).passed


def test_a_slice_that_is_lost_is_refused_by_name() -> None:
    draw = np.random.default_rng(0)
    parts = [(f"country = {n}", np.arange(n * 50, n * 50 + 50)) for n in range(8)]
    baseline = draw.exponential(1.0, 400)
    losses = baseline * 0.4
    assert gates.worst_slice(lost(parts, losses, baseline), 0.05).passed
    losses[parts[3][1]] += 1.5
    gate = gates.worst_slice(lost(parts, losses, baseline), 0.05)
    assert not gate.passed
    assert gate.reason.startswith("In country = 3 (50 rows) the loss ")
    few = gates.worst_slice([], 0.05)
    assert few.passed
    assert few.skipped


def test_chance_refuses_hardly_any_slice() -> None:
    refused = 0
    for trial in range(60):
        draw = np.random.default_rng(trial)
        parts = [(f"a = {n}", np.arange(n * 40, n * 40 + 40)) for n in range(10)]
        model, baseline = draw.exponential(1.0, (2, 400))
        refused += not gates.worst_slice(lost(parts, model, baseline), 0.05).passed
    assert refused <= 3


def column(name: str, kind: str, role: str = "feature", **values: object) -> Column:
    """A column of a contract."""
    types = {"number": "Float64", "boolean": "Bool", "time": "Datetime"}
    return msgspec.convert(
        {
            "name": name,
            "dtype": types.get(kind, "String"),
            "kind": kind,
            "role": role,
            "nullable": True,
            "sensitive": False,
            **values,
        },
        Column,
    )


def arrays(rows: int = 300) -> dict[str, Array]:
    """One array of each kind."""
    draw = np.random.default_rng(0)
    number = draw.normal(size=rows).astype(np.float32)
    number[: rows // 5] = np.nan
    return {
        "number": number,
        "few": np.arange(rows, dtype=np.float32) % 3,
        "boolean": np.where(np.arange(rows) % 4, 1, 0).astype(np.float32),
        "category": np.array([("", "x", "y", "z|z")[n % 4] for n in range(rows)], dtype=object),
        "text": np.array([" ".join(["word"] * (n % 11)) for n in range(rows)], dtype=object),
        "time": np.datetime64("2024-01-01", "us") + np.arange(rows) * np.timedelta64(1, "D"),
    }


KINDS = ("number", "number", "boolean", "category", "text", "time")


def contract(classes: tuple[str, ...] = ()) -> Contract:
    """A contract for `arrays`."""
    columns = [column(name, kind) for name, kind in zip(arrays(), KINDS, strict=True)]
    kind = "category" if classes else "number"
    return Contract((*columns, column("target", kind, "target", choices=classes or None)))


def test_slices_cut_each_kind_of_column() -> None:
    cut = slices.slices(contract().features, arrays())
    named: dict[str, dict[str, int]] = {}
    for name, rows in cut:
        whose, _, value = name.partition(" ")
        named.setdefault(whose, {})[value] = len(rows)
    assert named["few"] == {"= 0": 100, "= 1": 100, "= 2": 100}
    assert named["boolean"] == {"= false": 75, "= true": 225}
    assert named["category"] == {"= x": 75, "= y": 75, "= z|z": 75, "missing": 75}
    assert list(named["number"].values()) == [80, 80, 80, 60]
    assert list(named["time"]) == [
        "below 2024-04-10",
        "2024-04-10 to 2024-07-19",
        "from 2024-07-19",
    ]
    assert sum(count for value, count in named["text"].items() if value != "missing") == 272
    assert min(len(rows) for _, rows in cut) >= 27 + 3


def test_sensitive_columns_are_cut_whatever_their_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slices, "MOST_COLUMNS", 2)
    columns = [column("few", "number"), column("boolean", "boolean")]
    columns += [column("category", "category", sensitive=True)]
    cut = slices.slices(columns, arrays(), order=["boolean", "few"])
    assert list(dict.fromkeys(name.partition(" ")[0] for name, _ in cut)) == ["category", "boolean"]


def test_three_rows_make_no_slice() -> None:
    some = {name: values[:3] for name, values in arrays().items()}
    assert slices.slices(contract().features, some) == []


def test_a_profile_tells_what_was_there() -> None:
    truth, answers = classified(2, 300)
    made = profile.profile(contract(("no", "yes")), arrays(), truth, answers)
    assert made == json.loads(json.dumps(made, allow_nan=False))
    seen = made["columns"]
    assert seen["few"]["edges"] == [0.0, 1.0]
    assert seen["few"]["counts"] == [100, 100, 100]
    assert (seen["number"]["missing"], sum(seen["number"]["counts"])) == (60, 240)
    assert set(seen["number"]["counts"]) == {12}
    assert seen["boolean"]["counts"] == {"false": 75, "true": 225}
    assert seen["category"] == {
        "kind": "category",
        "missing": 75,
        "distinct": 3,
        "counts": {"x": 75, "y": 75, "z|z": 75},
        "other": 0,
    }
    assert seen["text"]["missing"] == 28
    assert (seen["text"]["rows"], seen["text"]["tokens"]) == (150, {"word": 136})
    assert seen["text"]["unfamiliar"]["counts"] == [136]
    assert seen["text"]["unfamiliar"]["mean"] == 0
    assert seen["time"]["minimum"] == pytest.approx(1704067200, rel=1e-5)
    assert sum(made["target"].values()) == sum(made["prediction"]["classes"].values()) == 300
    assert sum(made["prediction"]["probabilities"]["yes"]["counts"]) == 300


def test_the_edges_of_a_profile_give_its_own_counts() -> None:
    values = np.random.default_rng(0).gamma(1, 10, 5000).astype(np.float32).round(1)
    made = profile.numbers(values)
    positions = np.searchsorted(made["edges"], values.astype(np.float64), side="left")
    assert np.bincount(positions).tolist() == made["counts"]


def test_a_profile_stays_small() -> None:
    many = np.array([f"{n} " + "v" * 500 for n in range(20_000)], dtype=object)
    made = profile.describe(column("a", "category"), many)
    assert (made["distinct"], made["other"]) == (20_000, 20_000)
    assert len(json.dumps(profile.describe(column("a", "text"), many))) < 5_000


def test_a_profile_tells_of_what_is_sensitive_only_how_much_is_missing() -> None:
    for kind, values in zip(KINDS, arrays().values(), strict=True):
        told = profile.describe(column("a", kind), values)
        private = profile.describe(column("a", kind, sensitive=True), values)
        assert private == {"kind": kind, "missing": told["missing"]}


def test_calibration_counts_every_row_once() -> None:
    for classes in (2, 5):
        truth, answers = classified(classes)
        records = diagnostics.calibration(truth, answers)
        assert sum(record["rows"] for record in records) == 400
        assert all(record["low"] <= record["observed"] <= record["high"] for record in records)
    assert len(diagnostics.calibration(truth[:3], answers[:3])) == 1


def test_only_columns_that_the_model_looks_at_are_important() -> None:
    truth, answers = estimated()
    columns = {"unused": np.arange(400.0), "used": answers, "half": truth}
    records = diagnostics.importance(
        lambda given: given["used"] * 0.8 + given["half"] * 0.2, columns, truth, R2, 1
    )
    assert [record["column"] for record in records] == ["used", "half", "unused"]
    assert records[0]["importance"] > 1 > records[1]["importance"] > 0
    assert records[2]["importance"] == records[2]["deviation"] == 0


def test_of_very_many_columns_the_most_telling_ones_are_measured() -> None:
    truth, answers = estimated()
    draw = np.random.default_rng(0)
    columns = {f"unused {n}": draw.normal(size=400) for n in range(300)}
    columns |= {"used": answers, "word": np.array(["a", "b"] * 200, object)}
    asked = []

    def answer(given: Mapping[str, Any]) -> Any:
        asked.append(len(given["used"]))
        return given["used"] + 40 * (given["word"] == "a")

    truth = truth + 40 * (columns["word"] == "a")
    records = diagnostics.importance(answer, columns, truth, R2, 1)
    assert {record["column"] for record in records[:2]} == {"used", "word"}
    assert len(records) == diagnostics.MOST_SHUFFLED
    assert len(asked) == 2 + diagnostics.MOST_SHUFFLED * diagnostics.REPEATS


def drawn(classes: int, names: list[str]) -> dict[str, bytes]:
    """Pictures of a made-up model under given names."""
    score = AUC if classes else R2
    truth, answers = classified(classes) if classes else estimated()
    labels = [*names, *(f"class {n}" for n in range(classes))][:classes]
    parts = [(f"{name} = 1", np.arange(100)) for name in names]
    baseline = np.full_like(answers, 1 / classes) if classes else np.full_like(answers, 50)
    found = {
        "importance": [{"column": n, "importance": 0.1, "deviation": 0.02} for n in names],
        "slices": slices.measure(parts, score, truth, answers, baseline, np.ones(len(truth))),
        "learning_curve": diagnostics.learning_curve(
            [{"rows": 10, "score": 0.6}, {"rows": 90, "score": 0.8}], score
        ),
    }
    if classes:
        found["confusion"] = diagnostics.confusion(truth, answers, labels)
        found["calibration"] = diagnostics.calibration(truth, answers)
    return plots.draw(truth, answers, labels, found, score, 0.8, np.ones(len(truth)))


@pytest.mark.parametrize(("classes", "pictures"), [(0, 5), (10, 7)])
def test_pictures_are_the_same_bytes_again(classes: int, pictures: int) -> None:
    names = [HOSTILE, "_under", "$x$", "名前 😀"]
    made = drawn(classes, names)
    assert len(made) == pictures
    assert all(picture.startswith(b"\x89PNG") for picture in made.values())
    assert not any(word in picture for picture in made.values() for word in (b"Software", b"tIME"))
    if not classes:
        assert drawn(classes, names) == made


TEMPLATE = """\
# {{ name }}

{{ name }}

| {{ name }} | {{ name | code }} |
| --- | --- |
| {{ name }} | {{ name | code }} |

- {{ name }}

![{{ name }}](../plots/dot.png)
"""


def test_a_page_shows_hostile_names_as_they_are(tmp_path: Path) -> None:
    class Reader(HTMLParser):
        tags: set[str]
        sources: list[str]
        text = ""

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.tags.add(tag)
            self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

        def handle_data(self, data: str) -> None:
            self.text += data

    template = tmp_path / "template.md.j2"
    template.write_text(TEMPLATE)
    written = page.markdown(template, name=HOSTILE)
    reader = Reader()
    reader.tags, reader.sources = set(), []
    reader.feed(page.page(HOSTILE, written, {"dot.png": b"\x89PNG"}))
    assert not {"script", "em", "strong", "a"} & reader.tags
    assert reader.sources == ["data:image/png;base64,iVBORw=="]
    assert reader.text.count(HOSTILE.replace("\n", " ")) == 8

    rows = [line for line in written.splitlines() if line.startswith("|")]
    assert len(rows) == 3
    assert all(len(re.findall(r"(?<!\\)\|", row)) == 3 for row in rows)
    plain = re.sub(r"(`+).+?(?<!`)\1(?!`)", "", written.replace("\\`", ""))
    assert not re.search(r"(?<!\\)[<*$]", plain)
    assert "@all" not in plain


def test_a_template_leaves_out_what_is_not_known(tmp_path: Path) -> None:
    template = tmp_path / "template.md.j2"
    template.write_text(
        "{{ none | number }}|{{ none | count }}|{{ 1234 | count }}|{{ 2 | number }}"
    )
    assert page.markdown(template) == "||1,234|2.000\n"


def test_charts_quote_whatever_a_column_is_called(again: Project, tmp_path: Path) -> None:
    project = Project(shutil.copytree(again.root, tmp_path / "copy"))
    for name in ("importance", "slices"):
        path = project.reports / "findings" / f"{name}.json"
        records = read_json(path)
        for record, hostile in zip(records, [HOSTILE, '"', "a" * 99], strict=False):
            record["column" if "column" in record else "slice"] = hostile
        path.write_text(json.dumps(records))
    charts = re.findall(r"(?ms)^```mermaid$.+?^```$", report.report(project, "HEAD"))
    assert len(charts) == 3
    for chart in charts:
        assert chart.startswith("```mermaid\n%%{init:")
        assert chart.count("```") == 2
        for line in chart.splitlines()[3:-1]:
            assert re.fullmatch(r' *[a-z-]+( "[^"]*")?( [\d.e+-]+ --> [\d.e+-]+| \[.*\])?', line)


@pytest.fixture(scope="module")
def again(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What evaluate makes of the trained project's own inputs, in another folder."""
    root = tmp_path_factory.mktemp("another place")
    for name in ("params.yaml", "pyproject.toml", "data", "models/candidate", "reports"):
        if (trained.root / name).is_dir():
            shutil.copytree(trained.root / name, root / name)
        else:
            shutil.copyfile(trained.root / name, root / name)
    for name in ("plots", "cards", "findings"):
        shutil.rmtree(root / "reports" / name)
    project = Project(root)
    evaluate.run(project)
    return project


def test_evaluating_again_gives_the_same_bytes(trained: Project, again: Project) -> None:
    def contents(root: Path) -> dict[str, bytes]:
        folders = (root / "models" / "bundle", root / "reports")
        files = (path for folder in folders for path in folder.rglob("*") if path.is_file())
        return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}

    first, second = contents(trained.root), contents(again.root)
    assert set(first) == set(second)
    assert [name for name in first if first[name] != second[name]] == []


def test_metrics_are_flat_numbers_that_hold_for_the_bundle(again: Project) -> None:
    values = read_json(again.reports / "metrics.json")
    assert all(isinstance(value, int | float) for value in values.values())
    bundle = Bundle(again.bundle)
    rows = pl.read_parquet(again.holdout)
    answers = bundle.predict(bundle.contract.arrays(rows)).scored
    truth = bundle.contract.labels(rows)
    for score in metrics.scores_of(bundle.contract.task):
        assert values[score.name] == pytest.approx(metrics.value(score, truth, answers), rel=1e-4)


def test_cards_stand_alone_and_name_what_counts(again: Project) -> None:
    manifest = read_json(again.bundle / "manifest.json")
    for name in ("model", "data"):
        html = (again.reports / "cards" / f"{name}.html").read_text()
        assert not re.search(r'(src|href)="(?!data:)', html)
        assert "@import" not in html
        text = (again.reports / "cards" / f"{name}.md").read_text()
        for linked in re.findall(r"\]\((.+?)\)", text):
            assert (again.reports / "cards" / linked).resolve().is_file()
        assert manifest["data"]["sha256"]["train"] in text
    model = (again.reports / "cards" / "model.md").read_text()
    for gate in manifest["gates"]:
        assert page.escaped(gate["reason"]) in model
    data = (again.reports / "cards" / "data.md").read_text()
    for item in manifest["contract"]["columns"]:
        assert page.code(item["name"]) in data


def test_a_card_warns_of_what_the_run_saw(again: Project) -> None:
    manifest = read_json(again.bundle / "manifest.json")
    made = {path.stem: read_json(path) for path in again.reports.glob("findings/*.json")}
    manifest["gates"][0] |= {"passed": False, "reason": "It is no better than chance."}
    made["importance"] = [{"column": "one", "importance": 0.9, "deviation": 0.0}]
    made["importance"].append({"column": "two", "importance": 0.1, "deviation": 0.0})
    part = {"slice": "here", "rows": 40, "score": 0.2, "loss": 2.0, "baseline loss": 1.0}
    part["excess"] = 0.5
    made["slices"] = [part]
    validation = read_json(again.reports / "validation.json")
    pictures = {path.name: path.read_bytes() for path in again.reports.glob("plots/*.png")}
    warnings = cards.write(again.metadata, manifest, made, validation, pictures)["model.md"]
    for warning in (
        "Refused: It is no better than chance.",
        "It leans almost wholly on one",
        "Where here (40 rows) it does no better than the trivial baseline",
    ):
        assert warning in warnings


def test_the_report_compares_with_a_revision(
    again: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    def git(*arguments: str) -> None:
        subprocess.run(("git", *arguments), cwd=again.root, check=True, capture_output=True)

    report.run(again, "HEAD")
    assert "there is none to compare with" in capsys.readouterr().out
    git("init")
    git("add", "reports/metrics.json")
    git("commit", "--message", "first")
    path = again.reports / "metrics.json"
    values = read_json(path)
    name = next(iter(values))
    path.write_text(json.dumps(values | {name: values[name] - 0.25}))
    git("commit", "--all", "--message", "worse")
    path.write_text(json.dumps(values))
    report.run(again, "HEAD~1")
    assert ": the same." in capsys.readouterr().out
    report.run(again, "HEAD")
    said = capsys.readouterr().out
    assert "better by 0.250" in said
    assert said.count("```mermaid") >= 3
    with pytest.raises(UserError, match="git knows no revision nowhere"):
        report.run(again, "nowhere")


def test_nothing_can_be_reported_before_a_training(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="run `make train` first"):
        report.run(Project(tmp_path), "HEAD")


LOADED = """
import sys
import mlflow, pandas as pd
model = mlflow.pyfunc.load_model("models/bundle")
answers = model.predict(pd.read_csv(sys.argv[1]))
answers.to_json(sys.argv[2], orient="records", lines=True, double_precision=15)
"""


def test_mlflow_loads_the_bundle_and_answers_alike(trained: Project, tmp_path: Path) -> None:
    bundle = Bundle(trained.bundle)
    rows = pl.read_parquet(trained.holdout).head(20)
    asked, answered = tmp_path / "asked.csv", tmp_path / "answered.jsonl"
    whole = pl.col("worst area").round()  # pandas reads whole numbers of it
    rows = rows.with_columns(whole)
    rows.select(column.name for column in bundle.contract.inputs).write_csv(asked)
    command = (sys.executable, "-W", "ignore", "-c", LOADED)
    subprocess.run((*command, str(asked), str(answered)), cwd=trained.root, check=True)
    answers = pl.read_ndjson(answered)
    expected = bundle.predict(bundle.contract.arrays(rows))
    if expected.probabilities is None:
        np.testing.assert_allclose(answers["prediction"], expected.values, rtol=1e-6)
    else:
        labels = [bundle.contract.classes[value] for value in expected.values]
        assert answers["prediction"].cast(pl.String).to_list() == labels
        np.testing.assert_allclose(answers[:, 1:], expected.probabilities, atol=1e-6)


@pytest.mark.parametrize(
    ("kind", "dtype", "cells", "wanted"),
    [
        ("number", "Float64", ["1", "2"], [1.0, 2.0]),
        ("number", "Int64", ["1", ""], [1.0, None]),
        ("boolean", "Bool", ["True", ""], [1.0, None]),
        ("boolean", "Bool", ["yes", "no"], [1.0, 0.0]),
        ("boolean", "Bool", ["1", "0"], [1.0, 0.0]),
        ("category", "Int64", ["3", ""], ["3", ""]),
        ("text", "String", ["", ""], ["", ""]),
        ("time", "Datetime", ["2024-01-01T05:00:00Z", ""], ["2024-01-01T05:00:00.000000", None]),
        ("time", "Date", ["", ""], [None, None]),
    ],
)
def test_pandas_may_read_a_column_in_its_own_way(
    kind: Any, dtype: str, cells: list[str], wanted: list[Any]
) -> None:
    pandas: Any = import_module("pandas")  # which MLflow brings, and no project asks for
    column = Column("a", dtype, kind, "feature", nullable=True, sensitive=False)
    text = "\n".join(["a,b", *(f"{cell},1" for cell in cells)])
    made = mlflow_model._array(column, pandas.read_csv(io.StringIO(text))["a"])
    missing = made != made  # noqa: PLR0124  NaN and NaT
    values = made.astype(str if kind == "time" else object)
    assert [None if gone else it for it, gone in zip(values, missing, strict=True)] == wanted


def test_an_interval_covers_the_share_that_it_promises() -> None:
    draw = np.random.default_rng(7)
    covered = []
    for _ in range(200):
        found = interval(draw.standard_t(3, 199), np.zeros(199))
        assert found is not None
        assert found["coverage"] == 0.9
        covered.append((np.abs(draw.standard_t(3, 500)) <= found["half_width"]).mean())
    assert 0.89 < np.mean(covered) < 0.92


def test_too_few_rows_promise_no_interval() -> None:
    assert interval(np.zeros(8), np.ones(8)) is None
    assert interval(np.zeros(9), np.ones(9)) == {"coverage": 0.9, "half_width": 1.0}


def test_a_command_can_be_copied_from_a_page() -> None:
    command = "uv run ops retrain --declare 'queue=a|b  `c`'"
    assert command in html.unescape(page.page("A title", page.block(command), {}))


def test_what_is_not_known_is_left_empty(tmp_path: Path) -> None:
    template = tmp_path / "a.md"
    template.write_text("[{{ value }}] {{ name }}")
    assert page.markdown(template, value=None, name="__a_b__") == "[] \\_\\_a_b\\_\\_\n"
