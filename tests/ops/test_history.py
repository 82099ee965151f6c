"""Limits that a champion's history teaches: calm streams stay silent, gross faults are found."""

from __future__ import annotations

import shutil
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from my_model.ops.bundle import FORMAT, MANIFEST, Bundle, Decision
from my_model.ops.contract import Column, Contract, Kind, Role
from my_model.ops.evaluation import metrics
from my_model.ops.evaluation.distributions import history, unpacked
from my_model.ops.evaluation.profile import calibration, profile
from my_model.ops.files import read_json, write_json
from my_model.ops.monitoring.decision import decide, judge
from my_model.ops.monitoring.history import CYCLES
from my_model.ops.monitoring.pools import pooled
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.report import Report
from my_model.ops.monitoring.windows import Log, Window
from my_model.ops.pipeline import evaluate
from my_model.ops.pipeline.labelled import LABELLED, PREDICTION
from my_model.ops.project import Project
from my_model.ops.settings import Monitoring, Settings
from scipy.signal import lfilter
from sklearn.datasets import load_diabetes
from streams import BEGUN, CLASSES, FLAGS, KINDS, NUMBERS, Rows, chances, draw, labels
from vega_datasets import local_data

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.monitoring.checks import Verdict
    from numpy.typing import NDArray

    Array = NDArray[Any]

ROWS, PAST = 400, 24
"""Of a window, and windows that were learnt from."""

FAULTS = ("unit changed", "category renamed", "values missing", "category vanished")


def column(name: str, kind: Kind, dtype: str, role: Role = "feature") -> Column:
    return Column(name, dtype, kind, role, nullable=True, sensitive=False)


CONTRACT = Contract(
    (
        column("time", "time", "Datetime", "event_time"),
        *(column(name, "number", "Float64") for name in NUMBERS),
        column("area", "category", "String"),
        column("rain", "boolean", "Bool"),
        replace(column("late", "category", "Enum", "target"), choices=CLASSES),
    )
)


def arrays(rows: Rows) -> dict[str, Array]:
    """Rows as the model sees them."""
    numbers = {name: rows.columns[name].astype(np.float32) for name in (*NUMBERS, *FLAGS)}
    return {"time": rows.time.astype("datetime64[us]"), "area": rows.columns["area"], **numbers}


def said(rows: Rows) -> Array:
    return np.stack([rows.late, 1 - rows.late], axis=1).astype(np.float32)


def manifest(rows: Rows) -> dict[str, Any]:
    """What training writes of rows in the order of their time."""
    cut = len(rows) * 4 // 5
    learnt, held_out = rows.at(slice(0, cut)), rows.at(slice(cut, None))
    truth, held = ((part.truth == CLASSES[1]).astype(np.int64) for part in (learnt, held_out))
    answers, score = said(held_out), metrics.find("log_loss")
    told = profile(CONTRACT, arrays(rows), truth, answers)
    told["history"] = history(CONTRACT, told, arrays(rows), Decision().answer(said(rows)))
    return {
        "format": FORMAT,
        "contract": CONTRACT.to_dict(),
        "score": score.name,
        "metrics": {score.name: metrics.value(score, held, answers)},
        "intervals": metrics.intervals([score], held, answers, 7),
        "calibration": calibration(held, answers),
        "interval": None,
        "profile": told,
    }


def champion(folder: Path, rows: Rows) -> Reference:
    """A champion that was made of such rows."""
    folder.mkdir(exist_ok=True)
    write_json(folder / MANIFEST, manifest(rows))
    return Reference(Bundle(folder), "1")


def frame(rows: Rows) -> pl.DataFrame:
    """Rows as the log has them, whose truth is not known."""
    answers, nothing = said(rows), pl.Series([None] * len(rows))
    numbers = {name: pl.Series(rows.columns[name]).fill_nan(None) for name in NUMBERS}
    inputs = {"time": pl.Series(rows.time).dt.to_string("iso:strict"), **numbers}
    rest = {"area": rows.columns["area"].tolist(), "rain": rows.columns["rain"] > 0}
    return pl.DataFrame(
        {
            "id": [str(place) for place in range(len(rows))],
            "time": np.arange(len(rows)),
            "version": ["1"] * len(rows),
            "inputs": pl.DataFrame({**inputs, **rest}).to_struct(),
            "prediction": np.array(CLASSES)[answers.argmax(axis=1)],
            "probabilities": pl.DataFrame(answers, schema=list(CLASSES)).to_struct(),
            "truth": nothing.cast(pl.String),
            "told": nothing.cast(pl.Int64),
        }
    )


def watched(seen: Reference, rows: Rows, limits: Monitoring) -> Verdict:
    window = Window(seen, 0, 1)
    window.add(frame(rows))
    return judge(window, limits, seed=7)


def note(seen: Reference, limits: Monitoring) -> str:
    """What the report says of where limits come from."""
    return Report(datetime.now(UTC), limits, seen, decide([], limits)).markdown()


def by(shift: float, rows: Rows) -> Rows:
    """Warmer by so many degrees."""
    return rows.having(temperature=rows.columns["temperature"] + shift)


LIMITS = Monitoring(window=ROWS)


@pytest.mark.parametrize("kind", KINDS)
def test_a_calm_stream_stays_silent_and_each_gross_fault_is_found(
    tmp_path: Path, kind: str, exhaustive: bool
) -> None:
    calm, alarms = 0, Counter[str]()
    for rows, seed in product((200, 500, 1_000), range(7)) if exhaustive else [(ROWS, 0)]:
        past, limits = max(PAST, 12_000 // rows), Monitoring(window=rows)
        stream = draw(kind, None, seed, rows=rows, history=past, windows=5)
        seen = champion(tmp_path / "bundle", stream.learnt)
        for window in stream.windows:
            found = watched(seen, window, limits).came
            calm += 1
            alarms.update(f"{rows} {seed} {it.check} {it.column}" for it in found)
        for fault in FAULTS if rows >= ROWS else FAULTS[:-1]:
            changed = draw(kind, fault, seed, rows=rows, history=past, windows=5)
            found = watched(seen, changed.windows[4], limits).came
            assert {finding.column for finding in found} & {"distance", "area"}, fault
    assert len(alarms) < 0.01 * calm, alarms


def test_a_trend_is_silent_for_a_while_and_then_alarms(tmp_path: Path) -> None:
    stream = draw("trending", None, 2, rows=ROWS, history=PAST, windows=PAST)
    seen = champion(tmp_path / "bundle", stream.learnt)
    came = [bool(watched(seen, stream.windows[place], LIMITS).came) for place in (0, 1, 2, 23)]
    assert came == [False, False, False, True]


def recurring(
    cycle: str, each: float, cycles: int, later: int, alike: float = 0.2, seed: int = 3
) -> Rows:
    """Warm and cold once in so many rows, each so far like the one before; and some rows more."""
    start = np.random.default_rng(seed)
    count = int(each * cycles) + later
    numbers = {name: start.normal(10, 2, count) for name in NUMBERS}
    season = -5 * np.cos(2 * np.pi * np.arange(count) / each)
    chance = start.normal(0, 3 * np.sqrt(1 - alike**2), count)
    weather = lfilter([1], [1, -alike], chance)
    numbers["temperature"] = 10 + season + weather
    area = np.array(["north", "south"], dtype=object)[start.integers(0, 2, count)]
    columns = {**numbers, "area": area, "rain": (start.random(count) < 0.3).astype(np.float64)}
    late = chances(columns)
    time = BEGUN + np.arange(count) * np.timedelta64(int(1e6 * CYCLES[cycle] / each), "us")
    return Rows(time, columns, late, labels(start.random(count) < late))


@pytest.mark.parametrize(("cycle", "each", "cycles"), [("year", 365.25, 6), ("week", 320.0, 32)])
def test_what_comes_back_is_compared_with_the_same_part_of_other_cycles(
    tmp_path: Path, cycle: str, each: float, cycles: int
) -> None:
    rows, past = recurring(cycle, each, cycles, 800), int(each * cycles)
    seen, drifts = champion(tmp_path / "bundle", rows.at(slice(0, past))), {}
    for name in ("none", cycle):
        limits, drifts[name] = Monitoring(window=100, cycle=name), []  # type: ignore[arg-type]
        for begin in range(past, past + 800, 100):
            window = rows.at(slice(begin, begin + 100))
            assert not watched(seen, window, limits).came
            came = watched(seen, by(2.0, window), limits).came
            drifts[name] += [it for it in came if it.column == "temperature"]
    assert len(drifts["none"]) == 0
    assert len(drifts[cycle]) >= 5
    assert all(f"in other {cycle}s" in it.sentence for it in drifts[cycle])
    assert f"the same part of other {cycle}s" in note(seen, limits)
    assert "left out" in note(seen, Monitoring(window=1_000, cycle="day"))


@pytest.mark.parametrize("years", [6, 14])
def test_each_year_shows_what_is_usual_in_its_season(tmp_path: Path, years: int) -> None:
    """Days that are half like the day before.

    Held to two of six years one of eight was found, and two where more windows widened the limit.
    """
    rows, past = recurring("year", 365.25, years, 800, alike=0.5, seed=2), int(years * 365.25)
    seen, limits = (
        champion(tmp_path / "bundle", rows.at(slice(0, past))),
        Monitoring(window=100, cycle="year"),
    )
    windows = [rows.at(slice(begin, begin + 100)) for begin in range(past, past + 800, 100)]
    assert not any(watched(seen, window, limits).came for window in windows)
    assert sum(bool(watched(seen, by(2.0, window), limits).came) for window in windows) >= 5


def test_a_second_shift_after_a_retraining_is_found(tmp_path: Path) -> None:
    stream = draw("independent", None, 4, rows=ROWS, history=PAST, windows=12)
    taken = [by(8.0, rows) for rows in stream.windows[:8]]
    parts = [stream.learnt, *taken]
    columns = {
        name: np.concatenate([part.columns[name] for part in parts]) for name in taken[0].columns
    }
    time, late, truth = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("time", "late", "truth")
    )
    seen = champion(tmp_path / "bundle", Rows(time, columns, late, truth))
    for shift, wanted in ((8.0, False), (16.0, True), (0.0, True)):
        found = watched(seen, by(shift, stream.windows[10]), LIMITS).came
        assert ("temperature" in {finding.column for finding in found}) == wanted, shift


def test_with_little_history_inputs_alert_and_never_ask_for_a_model(tmp_path: Path) -> None:
    decisions = {}
    for past in (3, PAST):
        stream = draw("independent", "shift", 6, rows=ROWS, history=past, windows=7)
        seen = champion(tmp_path / "bundle", stream.learnt)
        verdicts = [watched(seen, rows, LIMITS) for rows in stream.windows[4:]]
        assert verdicts[-1].came
        decisions[past] = decide(verdicts, LIMITS).decision
        assert ("too few rows" in note(seen, LIMITS)) == (past == 3)
    assert decisions == {3: "alert", PAST: "retrain"}


@pytest.mark.parametrize(("fault", "decision"), [("stuck", "alert"), ("vanished", "retrain")])
def test_a_flag_that_is_stuck_in_a_season_is_looked_for_upstream(
    tmp_path: Path, fault: str, decision: str
) -> None:
    """What merely comes no more was renamed nowhere."""
    stream = draw("seasonal", None, 6, rows=1_000, history=PAST, windows=7)
    seen, limits = champion(tmp_path / "bundle", stream.learnt), Monitoring(window=1_000)
    changed = [
        it.having(rain=np.zeros(len(it)))
        if fault == "stuck"
        else it.at(it.columns["area"] != "south")
        for it in stream.windows[4:]
    ]
    verdicts = [watched(seen, rows, limits) for rows in (*stream.windows[:4], *changed)]
    found = decide(verdicts, limits)
    assert found.decision == decision
    assert found.action.startswith("Look upstream: rain has false where it had true") == (
        fault == "stuck"
    )


def test_a_finding_tells_what_history_allows(tmp_path: Path) -> None:
    stream = draw("seasonal", None, 1, rows=ROWS, history=PAST, windows=1)
    seen = champion(tmp_path / "bundle", stream.learnt)
    found = watched(seen, by(40.0, stream.windows[0]), LIMITS).came
    drift = next(it for it in found if (it.check, it.column) == ("drift", "temperature"))
    assert drift.limit > LIMITS.psi
    assert drift.windows == PAST
    assert f"{PAST} windows of history allow {drift.limit:.2g}." in drift.sentence
    assert drift.to_dict()["windows"] == PAST
    assert f"Limits come from {PAST} windows" in note(seen, LIMITS)


def test_limits_are_half_as_much_again_as_history_shows(tmp_path: Path) -> None:
    """A stretch of history is unlike all else: by a share of 0.1, and by this PSI."""
    stream = draw("independent", None, 1, rows=ROWS, history=PAST, windows=1)
    past, now, place = stream.learnt, stream.windows[0], np.arange(ROWS * PAST)
    unlike = np.isin(place // ROWS, range(5, 9))  # a window lies in there, wherever it begins

    def told(rows: Rows, fair: Array, missing: Array) -> Rows:
        """Shares of the rows, spread evenly."""
        spread = np.arange(len(rows)) * (np.sqrt(5) - 1) / 2 % 1
        area = np.where(spread < fair, "fair", "poor").astype(object)
        temperature = np.where(spread < missing, np.nan, rows.columns["temperature"])
        return rows.having(area=area, temperature=temperature)

    learnt = told(past, np.where(unlike, 0.8, 0.5), np.where(unlike, 0.12, 0.02))
    seen = champion(tmp_path / "bundle", learnt)
    found = watched(seen, told(now, np.array(0.99), np.array(0.3)), LIMITS).came
    limits = {(it.check, it.column): it.limit for it in found}
    psi = 0.3 * np.log(0.8 / 0.5) - 0.3 * np.log(0.2 / 0.5)
    assert limits["missing", "temperature"] == pytest.approx(1.5 * 0.1, rel=0.05)
    assert limits["drift", "area"] == pytest.approx(2.25 * psi, rel=0.05)


def test_the_more_columns_history_decides_on_the_further_each_may_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of twenty columns, each with days like those before, one in thirty windows had one beyond."""
    names = tuple(f"sensor {place}" for place in range(20))
    numbers = (column(name, "number", "Float64") for name in names)
    contract = Contract((CONTRACT.columns[0], *numbers, *CONTRACT.columns[-3:]))
    monkeypatch.setitem(globals(), "CONTRACT", contract)
    monkeypatch.setitem(globals(), "NUMBERS", names)
    for seed in (6, 8, 9):
        start, kept = np.random.default_rng(seed), np.exp(-1 / 300)
        rows = draw("independent", None, seed, rows=ROWS, history=PAST, windows=6)
        shape = len(names), ROWS * (PAST + 6)
        level = lfilter([1], [1, -kept], start.normal(0, np.sqrt(1 - kept**2), shape))
        values = level + start.normal(0, 0.7, shape)

        def part(its: Rows, begin: int, values: Array = values) -> Rows:
            own = dict(zip(names, values[:, begin : begin + len(its)], strict=True))
            return replace(
                its, columns={**own, "area": its.columns["area"], "rain": its.late > 0.5}
            )

        seen = champion(tmp_path / "bundle", part(rows.learnt, 0))
        windows = [part(its, ROWS * (PAST + place)) for place, its in enumerate(rows.windows)]
        assert not any(watched(seen, window, LIMITS).came for window in windows), seed
        far = replace(
            windows[0], columns={**windows[0].columns, names[0]: values[0, :ROWS] * 2.2 + 9}
        )
        assert names[0] in {it.column for it in watched(seen, far, LIMITS).came}


def test_a_category_that_comes_in_bursts_may_stay_away(tmp_path: Path) -> None:
    """Two in a hundred rows, all in every fourth window: none in one window means nothing."""
    stream = draw("independent", None, 1, rows=ROWS, history=PAST, windows=1)
    came = stream.learnt
    place, start = np.arange(len(came)), np.random.default_rng(2)
    burst = (place // ROWS % 4 == 0) & (start.random(len(came)) < 0.12)
    area = np.where(burst, "fair", came.columns["area"]).astype(object)
    seen = champion(tmp_path / "bundle", came.having(area=area))
    assert not watched(seen, stream.windows[0], LIMITS).came
    evenly = np.where(start.random(len(came)) < 0.03, "fair", came.columns["area"]).astype(object)
    seen = champion(tmp_path / "bundle", came.having(area=evenly))
    (found,) = watched(seen, stream.windows[0], LIMITS).came
    assert (found.check, found.column) == ("vanished categories", "area")


def real(numbers: list[Any], area: Any, rain: Any, time: Any) -> Rows:
    """Real columns in place of drawn ones; the model knows nothing of them."""
    start = np.random.default_rng(7)
    columns = {name: np.asarray(its, float) for name, its in zip(NUMBERS, numbers, strict=True)}
    columns |= {"area": np.asarray(area, object), "rain": np.asarray(rain, float)}
    late = start.uniform(0.2, 0.8, len(time))
    return Rows(np.asarray(time, "M8[us]"), columns, late, labels(start.random(len(time)) < late))


def gross(rows: Rows) -> dict[str, Rows]:
    """Rows with each gross fault."""
    warm, area = rows.columns["temperature"], rows.columns["area"]
    most = Counter(area).most_common(1)[0][0]
    lost = np.arange(len(rows)) % 7 == 0
    return {
        "unit changed": rows.having(temperature=warm * 1.8 + 32),
        "category renamed": rows.having(area=np.where(area == most, "other", area).astype(object)),
        "values missing": rows.having(temperature=np.where(lost, np.nan, warm)),
        "category vanished": rows.at(area != most),
    }


@pytest.mark.parametrize("cities", [("seattle", "sf"), ("sf", "seattle")])
def test_hours_of_real_weather_are_calm_and_each_gross_fault_in_them_is_found(
    tmp_path: Path, cities: tuple[str, str]
) -> None:
    """Nine months of hours, and the three after them: autumn is no alarm, Fahrenheit is one."""
    here, there = (getattr(local_data, f"{city}_temps")() for city in cities)
    warm, other = ((its["temp"].to_numpy() - 32) / 1.8 for its in (here, there))
    change = np.diff(warm, prepend=warm[0])
    parts = np.array(["night", "morning", "afternoon", "evening"])
    area = parts[here["date"].dt.hour.to_numpy() // 6]
    rows = real([other, change, warm], area, change < 0, here["date"])
    begin, missed = 6_570, Counter[str]()
    seen, limits = champion(tmp_path / "bundle", rows.at(slice(0, begin))), Monitoring(window=100)
    for at in range(begin, len(rows) - 99, 100):
        window = rows.at(slice(at, at + 100))
        assert watched(seen, window, limits).came == [], at
        for fault, changed in gross(window).items():
            found = {it.column for it in watched(seen, changed, limits).came}
            missed[fault] += not found & {"temperature", "area"}
    assert not +missed


def test_three_years_of_real_days_alert_and_ask_for_no_model(tmp_path: Path) -> None:
    """Eleven hundred days are too few for limits of windows of a hundred."""
    days = local_data.seattle_weather()
    numbers = [days[name] for name in ("precipitation", "wind", "temp_max")]
    rows = real(numbers, days["weather"], days["precipitation"] > 0, days["date"])
    seen, limits = champion(tmp_path / "bundle", rows.at(slice(0, 1_096))), Monitoring(window=100)
    windows = [rows.at(slice(at, at + 100)) for at in (1_096, 1_196, 1_296)]
    assert decide([watched(seen, it, limits) for it in windows], limits).decision == "alert"
    for fault, changed in gross(windows[1]).items():
        found = {it.column for it in watched(seen, changed, limits).came}
        assert found & {"temperature", "area"}, fault


def test_real_rows_that_are_independent_are_calm_and_each_gross_fault_in_them_is_found(
    tmp_path: Path,
) -> None:
    """Patients with diabetes, shuffled: half of them teach what is usual, others come in."""
    table, target = load_diabetes(return_X_y=True, scaled=False)
    sex = np.where(table[:, 1] > 1, "first", "second")
    rows = real([*table[:, [0, 3, 2]].T], sex, target > 140, np.arange(len(table)))
    (tmp_path / "bundle").mkdir()
    for seed in range(5):
        rows = rows.at(np.random.default_rng(seed).permutation(len(rows)))
        told = manifest(rows.at(slice(0, 242)))
        del told["profile"]["history"]
        write_json(tmp_path / "bundle" / MANIFEST, told)
        seen = Reference(Bundle(tmp_path / "bundle"), "1")
        for window in (rows.at(slice(242, 342)), rows.at(slice(342, 442))):
            assert watched(seen, window, LIMITS).came == []
            for fault, changed in gross(window).items():
                found = {it.column for it in watched(seen, changed, LIMITS).came}
                assert found & {"temperature", "area"}, fault


@pytest.mark.parametrize("role", ["group", "identifier"])
def test_rows_of_one_group_count_as_one(tmp_path: Path, role: Role) -> None:
    """Each client has habits, and twenty rows: 25 clients are no 500 rows."""
    columns = column("client", "category", "String", role), column("distance", "number", "Float64")
    contract, start = Contract((*columns, CONTRACT.target)), np.random.default_rng(5)

    def clients(count: int) -> pl.DataFrame:
        distance = start.normal(0, 1, count).repeat(20) + start.normal(0, 0.1, 20 * count)
        names = [f"{distance[0]} {place // 20}" for place in range(20 * count)]
        return pl.DataFrame({"client": names, "distance": distance})

    learnt = contract.arrays(past := clients(300))
    answers, truth = np.full((len(past), 2), 0.5, np.float32), np.zeros(len(past), np.int64)
    told = profile(contract, learnt, truth, answers)
    told["groups"] = past["client"].n_unique()
    made = {**manifest(draw("independent", None, 1).learnt), "contract": contract.to_dict()}
    write_json(tmp_path / MANIFEST, {**made, "profile": told})
    seen, found = Reference(Bundle(tmp_path), "1"), 0
    for place in range(8):
        window, came = Window(seen, 0, 1), clients(25)
        log = frame(draw("independent", None, place, rows=len(came), history=1, windows=0).learnt)
        window.add(log.with_columns(inputs=came.to_struct()))
        found += any(it.column == "distance" for it in judge(window, LIMITS, seed=7).came)
    assert found == 0 if role == "group" else found > 4


@pytest.mark.parametrize("role", ["group", "identifier"])
def test_ground_truth_of_one_group_counts_as_one(tmp_path: Path, role: Role) -> None:
    """Each client is late or not, twenty times: 25 clients are no 500 labels."""
    columns = column("client", "category", "String", role), column("distance", "number", "Float64")
    contract, start = Contract((*columns, CONTRACT.target)), np.random.default_rng(5)

    def clients(count: int, late: float = 0.7) -> tuple[pl.DataFrame, Array]:
        names = start.random(count).astype(str).repeat(20)
        inputs = pl.DataFrame({"client": names, "distance": np.ones(20 * count)})
        return inputs, (start.random(count) > late).astype(np.int64).repeat(20)

    (past, truth), score = clients(300), metrics.find("log_loss")
    answers = np.tile(np.array([0.7, 0.3], np.float32), (len(past), 1))
    alike = metrics.groups(past["client"]) if role == "group" else None
    told = profile(contract, contract.arrays(past), truth, answers)
    described = {
        "contract": contract.to_dict(),
        "profile": told | {"groups": past["client"].n_unique()},
        "metrics": {score.name: metrics.value(score, truth, answers)},
        "intervals": metrics.intervals([score], truth, answers, 7, alike),
        "calibration": calibration(truth, answers),
    }
    write_json(tmp_path / MANIFEST, {**manifest(draw("independent", None, 1).learnt), **described})
    seen, log = Reference(Bundle(tmp_path), "1"), Log()
    log.windows = [Window(seen, place, place + 1) for place in range(24)]
    for place, window in enumerate(log.windows):
        came, known = clients(25, 0.7 if place < 20 else 0.2)
        chances = pl.DataFrame(answers[: len(came)], schema=list(CLASSES))
        rows = frame(draw("independent", None, place, rows=len(came), history=1, windows=0).learnt)
        window.add(
            rows.with_columns(
                id=pl.lit(f"{place} ") + pl.col("id"),
                inputs=came.to_struct(),
                prediction=pl.lit(CLASSES[0]),
                probabilities=chances.to_struct(),
                truth=pl.Series(np.array(CLASSES)[known]),
                told=pl.col("time"),
            )
        )
    pools, *_ = pooled(log)
    *calm, fallen = (
        {it.check for it in judge(pool.windows[-1], LIMITS, 7, pool).true or ()} for pool in pools
    )
    assert "score" in fallen
    assert len(calm) == (5 if role == "group" else 23)
    alarms = sum(map(bool, calm[:20]))
    assert alarms == 0 if role == "group" else alarms > 4
    few = pooled(Log(log.windows[:3]))[1]
    assert ("fewer than 100 groups are labelled, 75 in" in few) == (role == "group")


def test_what_was_taken_in_last_is_the_reference_where_rows_have_no_time(
    trained: Project, tmp_path: Path
) -> None:
    """A shift that lasts and does no harm asked for a new model night after night."""
    project = Project(tmp_path)
    shutil.copytree(trained.data, project.data)
    shutil.copytree(trained.candidate, project.candidate)
    moved = pl.col("mean texture", "worst texture") + 15
    valid = pl.read_parquet(trained.valid).with_columns(moved)
    taken, later = valid.gather_every(2), valid.gather_every(2, 1)
    told = taken.select(
        pl.int_range(pl.len()).cast(pl.String).alias(PREDICTION),
        pl.from_epoch(pl.int_range(pl.len())).cast(pl.Datetime("us")).alias(LABELLED),
        pl.all().cast(pl.String),
    )
    project.labelled.mkdir(exist_ok=True)
    told.write_parquet(project.labelled / "taken.parquet")
    held = pl.concat([pl.read_parquet(project.holdout).select(taken.columns), taken[::2]])
    holdout = evaluate.Holdout(project, Settings(), held)
    described, contract = evaluate.describe(holdout), holdout.contract
    newest = described["profile"]["newest"]
    assert (newest["rows"], newest["prediction"]["rows"]) == (len(taken), len(taken[::2]))
    answers = pl.DataFrame(
        holdout.answer(contract.arrays(later)).scored, schema=list(contract.classes)
    )
    log = frame(draw("independent", None, 1, rows=len(later), history=1, windows=0).learnt)
    inputs = later.select(column.name for column in contract.inputs)
    said = np.array(contract.classes)[answers.to_numpy().argmax(axis=1)]
    answered = {"prediction": pl.Series(said), "probabilities": answers.to_struct()}
    log = log.with_columns(inputs=inputs.to_struct(), **answered)
    came = {}
    for part in ("newest", "all"):
        write_json(tmp_path / MANIFEST, {**read_json(trained.bundle / MANIFEST), **described})
        seen = Reference(Bundle(tmp_path), "1")
        window = Window(seen, 0, 1)
        window.add(log)
        came[part] = {it.column for it in judge(window, LIMITS, seed=7).came}
        described["profile"].pop("newest", None)
    assert came["newest"] == set()
    assert {"mean texture", "worst texture"} <= came["all"]


def test_a_history_takes_little_room_however_many_rows_there_are() -> None:
    rows = draw("independent", None, 1, rows=1_000, history=30).learnt
    told = manifest(rows)["profile"]["history"]
    counts = unpacked(told["counts"]["area"], len(told["times"]))
    assert counts.shape == (720, 8)
    assert counts[:, 0].sum() == told["rows"] == 30_000
    known, every = np.unique(rows.columns["area"], return_counts=True)
    assert sorted(counts[:, 2:].sum(axis=0)) == sorted([*every, 0])
    assert len(known) == 5
    assert sum(map(len, told["counts"].values())) < 60_000
