"""Training where the world changes: old rows weigh less, and no date is learnt."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import datetime, timedelta
from importlib import reload
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import dataframely as dy
import my_model
import numpy as np
import polars as pl
import pytest
from my_model.ml import model as models
from my_model.ops import contract as contracts
from my_model.ops.errors import UserError
from my_model.ops.pipeline import recency, split
from my_model.ops.pipeline import train as training
from my_model.ops.settings import Settings, Split, Train
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_info, threadpool_limits

if TYPE_CHECKING:
    from collections.abc import Collection

    from my_model.ml.features import Columns
    from my_model.ops.contract import Contract
    from my_model.ops.project import Project

START = datetime(2024, 1, 1)
DAYS = 600
ROWS = 2400
JUDGED = Train(score="accuracy")


class Trip(dy.Schema):
    """A trip, and whether it was late."""

    left = dy.Datetime(metadata={"event_time": True})
    length = dy.Float64()
    wind = dy.Float64()
    late = dy.Enum(["no", "yes", "never"], metadata={"target": True})


def trips(seed: int, turns: float, rows: int = ROWS) -> pl.DataFrame:
    """Trips in order; from the share `turns` of them on, what made them late keeps them in time."""
    draw = np.random.default_rng(seed)
    length, wind = draw.normal(size=(2, rows))
    sign = np.where(np.arange(rows) < turns * rows, 1, -1)
    late = draw.random(rows) < 1 / (1 + np.exp(-3 * sign * (length + 0.5 * wind)))
    days = np.sort(draw.uniform(0, DAYS, rows))
    return pl.DataFrame(
        {
            "left": [START + timedelta(days=day) for day in days],
            "length": length,
            "wind": wind,
            "late": np.where(late, "yes", "no"),
        },
        schema_overrides={"late": Trip.columns()["late"].dtype},
    )


def rows_of(
    frame: pl.DataFrame, contract: Contract | None = None, train: Train = JUDGED
) -> training.Rows:
    """Training rows of trips, in their folds; none are held out here."""
    contract = contract or contracts.compile_schema(Trip)
    folds = pl.Series(contracts.FOLD, np.arange(len(frame)) * 5 // len(frame))
    return training.Rows(contract, frame.with_columns(folds), Settings(train=train))


def test_threads_that_wait_leave_the_processors_to_others(monkeypatch: pytest.MonkeyPatch) -> None:
    for kept in (None, "active"):
        if kept:
            monkeypatch.setenv("OMP_WAIT_POLICY", kept)
        else:
            monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        reload(my_model)
        assert os.environ["OMP_WAIT_POLICY"] == (kept or "passive")


def test_as_many_threads_fit_as_a_container_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)
    monkeypatch.setattr(pl, "thread_pool_size", lambda: 3)
    for rows, columns, most in ((20_000, 10, 1), (20_001, 10, 3), (5_000, 41, 3)):
        few: Any = SimpleNamespace(labels=range(rows), kinds=range(columns))
        with training.threads(few):
            assert {pool["num_threads"] for pool in threadpool_info()} == {most}


def test_a_fold_takes_no_more_threads_on_whichever_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of a cluster is told to by the task itself."""
    rows, seen = rows_of(trips(1, 1.0, 600)), set()
    fit = training.Rows.fit

    def watched(*given: Any) -> Any:
        seen.update(pool["num_threads"] for pool in threadpool_info())
        return fit(*given)

    monkeypatch.setattr(training.Rows, "fit", watched)
    with threadpool_limits(3):
        rows.answers("linear", {}, *rows.splits[0])
    assert seen == {1}


def test_many_columns_are_judged_on_one_fold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "MANY_COLUMNS", 3)
    rows = rows_of(trips(1, 1.0, 600))
    ((learn, _),) = rows.splits
    curve = training.learning_curve(rows, "linear", {}, None)
    assert [point["rows"] for point in curve] == [len(learn) // 4, len(learn) // 2, len(learn)]


@pytest.mark.parametrize(
    ("enough", "turns"), [(1, 1), (120, 1), (121, 2), (360, 3), (600, 5), (9000, 5)]
)
def test_as_many_folds_judge_as_hold_enough_rows_if_they_are_not_in_time(
    enough: int, turns: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "ENOUGH_ROWS", enough)
    contract, frame = contracts.compile_schema(Trip), trips(1, 1.0, 600)
    timeless = [replace(it, role="feature") for it in contract.columns if it.name == "left"]
    timeless += [it for it in contract.columns if it.name != "left"]
    for its, folds in ((contract, 4), (replace(contract, columns=tuple(timeless)), turns)):
        assert len(rows_of(frame, its).splits) == folds


def test_a_feature_that_is_made_infinite_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def features(columns: Columns, text: Collection[str] = ()) -> dict[str, Any]:
        return {"wind": columns["wind"], "ratio": columns["length"] / np.float32(0)}

    monkeypatch.setattr(training, "features", features)
    with np.errstate(divide="ignore"), pytest.raises(UserError, match="makes infinite ratio; use"):
        rows_of(trips(1, 1.0, 600))


def accuracy(rows: training.Rows, half_life: float | None, judge: pl.DataFrame) -> float:
    """Of a linear model that learns from all the rows, on others."""
    pipeline = rows.fit("linear", {}, np.arange(len(rows.labels)), half_life)
    judged = rows_of(judge)
    said = training.predict(pipeline, rows.contract, judged.features.select(list(rows.kinds)))
    return float(np.mean(said.values == judged.labels))


def test_after_a_change_of_the_world_it_forgets_and_recovers() -> None:
    rows = rows_of(trips(1, turns=0.85))
    after = trips(2, turns=0)
    best = accuracy(rows_of(trips(3, turns=0)), None, after)
    half_life = recency.choose(rows, "linear", {})
    assert half_life is not None
    assert accuracy(rows, None, after) < 0.3
    assert accuracy(rows, half_life, after) > best - 0.03
    never = rows_of(trips(1, turns=0.85), train=Train(half_life="none", score="accuracy"))
    assert recency.choose(never, "linear", {}) is None


def test_where_nothing_changes_it_does_not_forget() -> None:
    chosen = [recency.choose(rows_of(trips(seed, turns=1)), "linear", {}) for seed in range(10, 20)]
    assert chosen == [None] * len(chosen)


def test_a_half_life_that_is_set_is_taken() -> None:
    rows = rows_of(trips(4, turns=1), train=Train(half_life=30.0))
    assert recency.choose(rows, "linear", {}) == 30


def test_a_weight_halves_with_every_half_life() -> None:
    ages = np.array([0.0, 30.0, 60.0, 1e6])
    weights = recency.weights(ages, 30)
    assert weights.mean() == pytest.approx(1)
    assert weights / weights[0] == pytest.approx([1, 0.5, 0.25, recency.LEAST])


def test_a_row_without_a_time_is_as_old_as_the_oldest() -> None:
    times = pl.Series([None, START, START + timedelta(days=2)])
    assert recency.ages(times).tolist() == [2, 2, 0]
    dates = pl.Series([START, START + timedelta(days=2)]).cast(pl.Date)
    assert recency.ages(dates).tolist() == [2, 0]


def test_a_class_that_is_forgotten_keeps_its_place() -> None:
    frame = trips(5, turns=1)
    first = pl.lit("never", dtype=frame.schema["late"])
    old = pl.int_range(pl.len()) < 40
    rows = rows_of(frame.with_columns(late=pl.when(old).then(first).otherwise("late")))
    pipeline = rows.fit("linear", {}, np.arange(len(rows.labels)), 5.0)
    said = training.predict(pipeline, rows.contract, rows.features)
    assert said.probabilities is not None
    assert said.probabilities.shape == (ROWS, 3)
    assert np.isfinite(said.probabilities).all()


def test_a_model_that_takes_no_weights_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def build(*_: object) -> object:
        return make_pipeline(KNeighborsClassifier())

    monkeypatch.setattr(models, "build", build)
    rows = rows_of(trips(1, turns=0.85))
    assert recency.choose(rows, "linear", {}) is None
    assert capsys.readouterr().out == (
        "linear weighs all rows the same: its last step takes no sample_weight.\n"
    )


def test_without_an_event_time_rows_have_no_age(trained: Project) -> None:
    frame = pl.read_parquet(trained.train)
    rows = training.Rows(contracts.load(), frame)
    assert not rows.passing
    assert recency.choose(rows, "linear", {}) is None
    asked = Settings(train=Train(half_life=30.0))
    with pytest.raises(UserError, match=r"train.half_life is 30.0, and rows have no age"):
        recency.choose(training.Rows(contracts.load(), frame, asked), "linear", {})


def test_dates_and_seasons_that_came_once_are_left_out() -> None:
    rows = rows_of(trips(6, turns=1))
    assert rows.passing == ["left days", "left month"]
    assert {"left weekday", "left hour"} < set(rows.kinds)
    start = pl.lit(START)
    rows = rows_of(trips(6, turns=1).with_columns(left=start + (pl.col("left") - start) * 8))
    assert rows.passing == ["left days"], "thirteen years hold a season in every fold"
    assert "left month" in rows.kinds


def test_a_class_that_came_late_is_learnt_and_judged() -> None:
    frame = trips(7, turns=1)
    came = pl.int_range(pl.len()) >= 0.85 * ROWS
    new = pl.lit("never", dtype=frame.schema["late"])
    contract = contracts.compile_schema(Trip)
    late = frame.with_columns(late=pl.when(came & (pl.col("wind") > 0)).then(new).otherwise("late"))
    for rows, held in ((frame, 0.2), (late, 0.075)):
        folds = split.assign(rows.lazy(), contract, Split(holdout=0.2))
        assert np.mean(folds == split.HELD_OUT) == pytest.approx(held, abs=0.01)
        assert (np.diff(np.where(folds == split.HELD_OUT, 99, folds)) >= 0).all()
    learnt = late.filter(folds != split.HELD_OUT)["late"].to_list().count("never")
    assert learnt == pytest.approx(0.5 * (late["late"] == "never").sum(), abs=1)


def test_one_late_row_moves_nothing_beyond_a_quarter_of_the_holdout() -> None:
    frame = trips(8, turns=1)
    last = pl.int_range(pl.len()) == ROWS - 1
    new = pl.lit("never", dtype=frame.schema["late"])
    rows = frame.with_columns(late=pl.when(last).then(new).otherwise("late"))
    folds = split.assign(rows.lazy(), contracts.compile_schema(Trip), Split(holdout=0.2))
    assert np.mean(folds == split.HELD_OUT) == pytest.approx(0.05, abs=0.01)
