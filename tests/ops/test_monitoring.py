"""`ops monitor`: false alarms and detections as they are measured, and logs of every kind."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from html.parser import HTMLParser
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import yaml
from copies import most_memory, numbers_of
from deliveries import in_office
from dvc.parsing.context import Context
from my_model.ops import cli
from my_model.ops.bundle import FORMAT, MANIFEST, Bundle
from my_model.ops.contract import Column, Contract, Kind
from my_model.ops.errors import UserError
from my_model.ops.evaluation import distributions, metrics
from my_model.ops.evaluation.profile import calibration, describe, interval, profile
from my_model.ops.files import read_json, write_json, write_text
from my_model.ops.monitoring import drift, run, windows
from my_model.ops.monitoring.decision import Decision, decide, judge
from my_model.ops.monitoring.pools import pooled
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.report import GAUGES, registry
from my_model.ops.monitoring.windows import Window
from my_model.ops.project import Project
from my_model.ops.settings import Monitoring, Settings
from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families
from scipy import stats

if TYPE_CHECKING:
    from my_model.ops.monitoring.checks import Verdict
    from my_model.ops.monitoring.report import Report
    from numpy.typing import NDArray

    Array = NDArray[Any]

VERSION = "1"
LEARNT, HELD_OUT = 3_000, 1_000
ROWS = 1_000
"""Of a window."""
CALM_WINDOWS = 8
REPLICATES = 100
"""Of a bootstrap, for the sake of time: fewer give wider guesses at an interval, not narrower."""
POOL = 30_000
"""Rows of each world, from which streams are drawn."""
LIMITS = Monitoring()
DAY = 86_400_000_000
"""Microseconds."""
MANY = 40_000
"""Rows that are labelled a day."""
STARTS = count()
"""Of windows, one after another."""

QUEUES = ("cards", "loans", "savings")
WORDS = np.array([f"word{n}" for n in range(300)] + [f"news{n}" for n in range(300)])
OFTEN = 1 / (np.arange(300) + 5.0)
OFTEN /= OFTEN.sum()


def column(name: str, kind: Kind, dtype: str, *, sensitive: bool = False) -> Column:
    return Column(name, dtype, kind, "feature", nullable=True, sensitive=sensitive)


INPUTS = (
    column("amount", "number", "Float64"),
    column("age", "number", "Int64"),
    column("channel", "category", "String"),
    column("country", "category", "String"),
    column("member", "boolean", "Bool"),
    column("body", "text", "String"),
    column("secret", "category", "String", sensitive=True),
    column("arrived", "time", "Datetime"),
)
BY_QUEUE = Contract(
    (*INPUTS, replace(column("queue", "category", "Enum"), role="target", choices=QUEUES))
)
BY_NUMBER = Contract((*INPUTS, replace(column("price", "number", "Float64"), role="target")))


@dataclass(frozen=True)
class World:
    """What rows are like; each change of the world is another value of a field."""

    shift: float = 0.0
    """Of the amount, in standard deviations."""
    scale: float = 1.0
    missing: float = 0.02
    """The share of ages that is missing."""
    beyond: float = 0.0
    """The share of amounts that lie where none did."""
    new_channel: float = 0.0
    web: float = 0.5
    """The share of channels that is the web."""
    members: float = 0.3
    vocabulary: float = 0.0
    """The share of words that nobody wrote before."""
    words: int = 10
    """In a text, on average."""
    mixed_up: float = 0.0
    """The share of the first queue's rows that belong to the second now."""
    renamed: float = 0.0
    """The share of truths that have a label of their own."""
    leaning: float = 0.0
    """How much more the model says the first queue."""
    refused: float = 0.0
    """The share of rows that break the contract."""
    bold: float = 1.0
    """How much the model exaggerates."""


def rows(draw: np.random.Generator, world: World, count: int) -> pl.DataFrame:
    """Rows of the log with the truth; the model says what is true of the unchanged world."""
    amount = draw.gamma(4, 10, count) * world.scale + 20 * world.shift
    amount = np.where(draw.random(count) < world.beyond, 1_000, amount)
    age = draw.normal(45, 12, count).round()
    member = draw.random(count) < world.members
    rest = (1 - world.web) * np.array([0.6, 0.4])
    channel = draw.choice(["web", "phone", "post"], count, p=[world.web, *rest])
    channel = np.where(draw.random(count) < world.new_channel, "app", channel)
    country = draw.choice(["at", "ch", "de", "fr", "li"], count, p=[0.3, 0.2, 0.4, 0.098, 0.002])
    lengths = draw.poisson(world.words, count)
    chosen = draw.choice(300, lengths.sum(), p=OFTEN)
    chosen += 300 * (draw.random(len(chosen)) < world.vocabulary)
    bodies = np.split(WORDS[chosen], np.cumsum(lengths)[:-1])
    scores = np.stack(
        [world.leaning + amount / 25, 1 + 1.5 * member, 2 + (channel == "web") - 0.0 * age], axis=1
    )
    chances = np.exp(1.5 * scores)
    chances /= chances.sum(axis=1, keepdims=True)
    place = (draw.random(count)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    place = np.where((place == 0) & (draw.random(count) < world.mixed_up), 1, place)
    truth = np.array(QUEUES, dtype=object)[place]
    truth = np.where(draw.random(count) < world.renamed, "wallet", truth)
    said = chances**world.bold
    said /= said.sum(axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "id": [f"{n:024x}" for n in draw.integers(0, 2**62, count)],
            "time": np.arange(count),
            "version": [VERSION] * count,
            "inputs": pl.DataFrame(
                {
                    "amount": amount,
                    "age": pl.Series(
                        np.where(draw.random(count) < world.missing, np.nan, age)
                    ).fill_nan(None),
                    "channel": channel,
                    "country": country,
                    "member": member,
                    "body": [" ".join(words) for words in bodies],
                    "arrived": ["2026-01-01"] * count,
                }
            ).to_struct(),
            "prediction": np.array(QUEUES)[said.argmax(axis=1)],
            "probabilities": pl.DataFrame(said, schema=list(QUEUES)).to_struct(),
            "truth": truth,
            "told": np.arange(count) + DAY,
        }
    )


def manifest(learnt: pl.DataFrame, held_out: pl.DataFrame, contract: Contract) -> dict[str, Any]:
    """What training writes of such rows, as far as a look at the log reads it."""
    names = ("log_loss", "accuracy") if contract.classes else ("r2",)
    scores = [metrics.find(name) for name in names]
    truth = labels(held_out, contract)
    answers = held_out["prediction"].to_numpy()
    if contract.classes:
        answers = held_out["probabilities"].struct.unnest().to_numpy()
    answers = answers.astype(np.float32)
    described = profile(contract, arrays(learnt, contract), labels(learnt, contract), answers)
    return {
        "format": FORMAT,
        "contract": contract.to_dict(),
        "score": names[0],
        "metrics": {score.name: metrics.value(score, truth, answers) for score in scores},
        "intervals": metrics.intervals(scores, truth, answers, 7),
        "calibration": calibration(truth, answers) if contract.classes else None,
        "interval": None if contract.classes else interval(truth, answers),
        "profile": described,
        "data": {"sha256": dict.fromkeys(("train", "holdout"), "gone")},
    }


def arrays(frame: pl.DataFrame, contract: Contract) -> dict[str, Array]:
    """What the model would see of rows of the log."""
    known = (pl.col("arrived").str.to_datetime(), pl.lit("s").alias("secret"))
    return contract.arrays(frame["inputs"].struct.unnest().with_columns(*known))


def labels(frame: pl.DataFrame, contract: Contract) -> Array:
    """The truth, as `Contract.labels` has it."""
    if not contract.classes:
        return frame["truth"].to_numpy()
    return np.array([contract.classes.index(label) for label in frame["truth"]])


def champion(
    folder: Path, learnt: pl.DataFrame, held_out: pl.DataFrame, contract: Contract = BY_QUEUE
) -> Reference:
    """A champion that was trained on such rows."""
    folder.mkdir(exist_ok=True)
    write_json(folder / MANIFEST, manifest(learnt, held_out, contract))
    return Reference(Bundle(folder), VERSION)


@cache
def pool(world: World) -> pl.DataFrame:
    """Many rows of a world."""
    return rows(np.random.default_rng(11), world, POOL)


def drawn(draw: np.random.Generator, world: World, count: int) -> pl.DataFrame:
    """Some of them; a row may come twice."""
    return pool(world)[draw.integers(0, POOL, count)]


def judged(window: Window) -> Verdict:
    """The verdict on a window, and on its own ground truth."""
    pools, *_ = pooled(windows.Log([window]))
    return judge(window, LIMITS, 7, *pools)


def watched(
    seen: Reference,
    draw: np.random.Generator,
    world: World,
    count: int = ROWS,
    *,
    told: bool = True,
) -> Verdict:
    """The verdict on a window of the world, with or without the truth."""
    start = next(STARTS) * count
    window = Window(seen, start, start + count)
    frame = drawn(draw, world, count)
    window.add(frame if told else frame.with_columns(truth=pl.lit(None, pl.String)))
    if world.refused:
        window.refuse(VERSION, int(draw.binomial(count, world.refused)), [("age|min", 1)])
    return judged(window)


CALM = World()
CHANGES = {
    "a number moves": World(shift=0.6),
    "a number spreads": World(scale=1.6),
    "values go missing": World(missing=0.15),
    "numbers lie where none did": World(beyond=0.1),
    "a new category": World(new_channel=0.1),
    "another mix of categories": World(web=0.2),
    "another share of truths": World(members=0.6),
    "words that nobody wrote": World(vocabulary=0.2),
    "longer texts": World(words=15),
    "rows that are refused": World(refused=0.12),
    "the model answers otherwise": World(leaning=0.8),
    "the same means another class": World(mixed_up=0.8),
    "labels that nobody knew": World(renamed=0.15),
    "a model that exaggerates": World(bold=2.5),
}
NEED_TRUTH = list(CHANGES)[-3:]
LIKE_FAULTS = ("a number spreads", "values go missing", "rows that are refused")
"""What nobody trains for, but looks upstream."""


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REPLICATES", REPLICATES)


@pytest.fixture
def count(exhaustive: bool) -> int:
    """Streams of each kind."""
    return 100 if exhaustive else 6


def streams(tmp_path: Path, count: int) -> list[tuple[Reference, np.random.Generator]]:
    """Champions, each trained on rows of its own, and the draws that follow."""
    begun = []
    for seed in range(count):
        draw = np.random.default_rng(seed)
        learnt, held_out = drawn(draw, CALM, LEARNT), drawn(draw, CALM, HELD_OUT)
        begun.append((champion(tmp_path / "bundle", learnt, held_out), draw))
    return begun


def test_streams_without_and_with_every_drift(tmp_path: Path, quick: None, count: int) -> None:
    del quick
    alarms, noticed = 0, dict.fromkeys(CHANGES, 0)
    for seen, draw in streams(tmp_path, count):
        calm = [watched(seen, draw, CALM) for _ in range(CALM_WINDOWS)]
        decisions = [decide(calm[: end + 1], LIMITS).decision for end in range(CALM_WINDOWS)]
        alarms += "retrain" in decisions
        for name, world in CHANGES.items():
            told = name in NEED_TRUTH
            after = [watched(seen, draw, world, told=told) for _ in range(2)]
            decision = decide([*calm[:2], *after], LIMITS).decision
            noticed[name] += decision == ("alert" if name in LIKE_FAULTS else "retrain")
    assert alarms < 0.05 * count
    assert min(noticed.values()) >= 0.95 * count, noticed


def test_few_rows_to_compare_with_alarm_no_more(tmp_path: Path, quick: None, count: int) -> None:
    """The sample has 455 rows to learn from, and 114 to be judged by."""
    del quick
    alarms = 0
    for seed in range(count):
        draw = np.random.default_rng(seed)
        learnt, held_out = drawn(draw, CALM, 455), drawn(draw, CALM, 114)
        seen = champion(tmp_path / "bundle", learnt, held_out)
        calm = [watched(seen, draw, CALM) for _ in range(4)]
        alarms += any(
            decide(calm[: end + 1], LIMITS).decision == "retrain" for end in range(len(calm))
        )
    assert alarms < 0.05 * count


def certain(count: int, wrong: float) -> pl.DataFrame:
    """Rows of which the model is certain, and a share of which it is wrong about."""
    chances = pl.DataFrame(np.tile([0.98, 0.01, 0.01], (count, 1)), schema=list(QUEUES))
    truth = pl.when(some(wrong)).then(pl.lit("loans")).otherwise(pl.lit("cards"))
    answered = {"prediction": pl.lit("cards"), "probabilities": chances.to_struct()}
    return calm_rows(count).with_columns(**answered, truth=truth)


@pytest.mark.parametrize(("wrong", "violated"), [(0.05, False), (0.2, True)])
def test_a_small_holdout_that_was_easy_is_no_surer_for_it(
    tmp_path: Path, wrong: float, violated: bool
) -> None:
    """One of its hundred rows was hard, where five are to be expected: that is luck."""
    held_out = certain(100, 0.001)
    seen = champion(tmp_path / "bundle", calm_rows(320), held_out)
    window = Window(seen, 0, 1_000)
    window.add(certain(1_000, wrong))
    found = judged(window).true
    assert bool(found) == violated, found


def test_more_or_fewer_rows_are_no_drift(tmp_path: Path, quick: None) -> None:
    """Windows by time hold what a season brings."""
    del quick
    draw = np.random.default_rng(5)
    seen = champion(tmp_path / "bundle", drawn(draw, CALM, LEARNT), drawn(draw, CALM, HELD_OUT))
    year = [int(2_000 + 1_800 * np.sin(month / 2)) for month in range(24)]
    assert min(year) < 250
    verdicts = [watched(seen, draw, CALM, count) for count in year]
    assert decide(verdicts, LIMITS).decision == "none"
    assert sum(bool(verdict.findings) for verdict in verdicts) <= 1


def inputs(**fields: pl.Expr) -> pl.Expr:
    """The inputs of rows, with some of them changed after the model answered."""
    return pl.col("inputs").struct.with_fields(**fields)


def sequence(seen: Reference, *frames: pl.DataFrame) -> list[Verdict]:
    """The verdicts on windows of a day, of which the rows are given."""
    verdicts = []
    for day, frame in enumerate(frames):
        window = Window(seen, day * DAY, (day + 1) * DAY)
        window.add(frame)
        verdicts.append(judged(window))
    return verdicts


def untold(frame: pl.DataFrame) -> pl.DataFrame:
    """The rows, before anybody knows the truth of them."""
    return frame.with_columns(truth=pl.lit(None, pl.String))


def some(share: float) -> pl.Expr:
    """Whether a row is among a share of them."""
    return pl.int_range(pl.len()) % 1_000 < 1_000 * share


FAULTS = {
    r"amount is 2\.\d+ times what it was": inputs(amount=pl.field("amount") * 2.2),
    r"amount is 1/\d,?\d\d\d of what it was": inputs(amount=pl.field("amount") / 1_000),
    "age is .* times": inputs(age=pl.field("age") * 12),
    "age is °F, and was °C": inputs(age=pl.field("age") * 1.8 + 32),
    "age is K, and was °C": inputs(age=pl.field("age") + 273.15),
    "amount is of the other sign": inputs(amount=-pl.field("amount")),
    "channel has WEB where it had web": inputs(channel=pl.field("channel").replace("web", "WEB")),
    "channel has web where it had phone": inputs(
        channel=pl.field("channel").replace("phone", "web")
    ),
    "member has false where it had true": inputs(member=pl.field("member") & pl.lit(value=False)),
    r"amount is (9\d\d\.\d+|1,\d\d\d) times what it was in 30\.\d% of the rows": inputs(
        amount=pl.field("amount") * pl.when(some(0.3)).then(1_000.0).otherwise(1.0)
    ),
    r"amount is 1/(9\d\d\.\d+|1,\d\d\d) of what it was in \d\d\.\d% of the rows": inputs(
        amount=pl.field("amount") / pl.when(some(0.3)).then(1_000.0).otherwise(1.0)
    ),
    r"age is K, and was °C in 2\d\.\d% of the rows": inputs(
        age=pl.field("age") + pl.when(some(0.3)).then(273.15).otherwise(0.0)
    ),
    "1[56].*% of age are missing": inputs(age=pl.when(~some(0.14)).then(pl.field("age"))),
}
MOVES = {
    "a number": inputs(amount=pl.field("amount") + 15),
    "the mix of a category": inputs(
        channel=pl.when(~some(0.4)).then(pl.field("channel")).otherwise(pl.lit("post"))
    ),
    "a category of another share": inputs(
        channel=pl.when(~some(0.1)).then(pl.field("channel")).otherwise(pl.lit("app"))
    ),
}


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize("sentence", FAULTS)
def test_what_looks_like_a_fault_is_looked_for_upstream(
    seen: Reference, sentence: str, told: bool
) -> None:
    """0.4.0 trained on a new unit, a renamed category and lost values."""
    calm = [calm_rows(ROWS, seed) for seed in range(4)]
    changed = [frame.with_columns(FAULTS[sentence]) for frame in calm[2:]]
    changed = changed if told else [untold(frame) for frame in changed]
    found = decide(sequence(seen, *calm[:2], *changed), LIMITS)
    assert found.decision == "alert"
    assert re.match(rf"Look upstream: .*{sentence}.*, since 1970-01-03 00:00 UTC", found.action)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("change", MOVES)
def test_a_change_asks_for_a_model_unless_the_score_stands(seen: Reference, change: str) -> None:
    calm = [calm_rows(ROWS, seed) for seed in range(4)]
    changed = [frame.with_columns(MOVES[change]) for frame in calm[2:]]
    stands = decide(sequence(seen, *calm[:2], *changed), LIMITS)
    assert stands.decision == "alert"
    assert "The score has not fallen" in stands.action
    unknown = decide(sequence(seen, *calm[:2], *map(untold, changed)), LIMITS)
    assert unknown.decision == "retrain"
    assert unknown.action.startswith("Train a new model: what comes in has moved (")
    first = decide(sequence(seen, *calm[:2], untold(changed[0])), LIMITS)
    assert first.decision == "alert"
    assert first.action.startswith("Have a look, and train nothing yet")


@pytest.mark.usefixtures("quick")
def test_a_fallen_score_asks_for_a_model_unless_a_fault_is_to_be_mended(seen: Reference) -> None:
    calm = [calm_rows(ROWS, seed) for seed in range(4)]
    wrong = [frame.with_columns(truth=pl.col("truth").shuffle(3)) for frame in calm[2:]]
    found = decide(sequence(seen, *calm[:2], *wrong), LIMITS)
    assert found.decision == "retrain"
    assert found.action.startswith("Train a new model: the model is worse than on the holdout (")
    assert decide(sequence(seen, *calm[:3], wrong[1]), LIMITS).decision == "alert"
    (unit, *_) = FAULTS.values()
    both = [frame.with_columns(unit) for frame in wrong]
    assert decide(sequence(seen, *calm[:2], *both), LIMITS).decision == "alert"
    (*_, move) = MOVES.values()
    more = [frame.with_columns(move) for frame in both]
    assert decide(sequence(seen, *calm[:2], *more), LIMITS).decision == "retrain"
    stands = [frame.with_columns(unit).with_columns(move) for frame in calm[2:]]
    assert decide(sequence(seen, *calm[:2], *stands), LIMITS).decision == "alert"


@pytest.mark.usefixtures("quick")
def test_what_comes_bit_by_bit_is_no_fault(seen: Reference) -> None:
    calm = [untold(calm_rows(ROWS, seed)) for seed in range(6)]
    gone = [
        frame.with_columns(inputs(age=pl.when(~some(0.03 * day)).then(pl.field("age"))))
        for day, frame in enumerate(calm)
    ]
    found = decide(sequence(seen, *gone), LIMITS)
    assert found.decision == "retrain"
    assert "moved (age), since" in found.action


def test_rows_that_come_again_and_again_are_a_fault(seen: Reference) -> None:
    calm = [untold(calm_rows(ROWS, seed)) for seed in range(5)]
    assert decide(sequence(seen, *calm), LIMITS).decision == "none"
    twice = [pl.concat([frame[:500]] * 2) for frame in calm[3:]]
    found = decide(sequence(seen, *calm[:3], *twice), LIMITS)
    assert found.decision == "alert"
    assert re.match(
        r"Look upstream: 5\d\.\d% of the rows repeat others, since 1970-01-04", found.action
    )


START = datetime(2026, 3, 2, tzinfo=UTC)
NOW = START + timedelta(days=60)
SMALL = Settings(monitoring=Monitoring(window=200))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    draw = np.random.default_rng(3)
    learnt, held_out = drawn(draw, CALM, LEARNT), drawn(draw, CALM, HELD_OUT)
    return champion(tmp_path_factory.mktemp("champion") / "bundle", learnt, held_out)


def write(
    served: Path,
    frame: pl.DataFrame,
    start: datetime = START,
    step: timedelta = timedelta(minutes=1),
    writer: str = "0a0a0a0a",
) -> pl.DataFrame:
    """Log rows, one after another, and the truth of each a day later; gives what was logged."""
    draw = np.random.default_rng([int(start.timestamp()), int(writer, 16)])
    begun = pl.lit(start).dt.cast_time_unit("us")
    stamped = frame.with_columns(
        pl.Series("id", [draw.bytes(12).hex() for _ in range(len(frame))]),
        time=begun + pl.int_range(len(frame)) * step,
    )
    parts = {
        "predictions": stamped.drop("truth", "told"),
        "feedback": stamped.select("id", pl.col("time") + timedelta(days=1), "truth"),
    }
    for name, part in parts.items():
        for (day,), some in part.group_by(pl.col("time").dt.date(), maintain_order=True):
            file = served / name / f"{day:%Y%m%d}T000000.000000Z-{writer}.jsonl"
            file.parent.mkdir(parents=True, exist_ok=True)
            text = pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00")
            with file.open("ab") as lines:
                some.with_columns(time=text).write_ndjson(lines)
    return stamped


def look(served: Path, seen: Reference, settings: Settings = SMALL, now: datetime = NOW) -> Report:
    """Look at a log, and leave what the next look goes on from."""
    report = run.look(served, seen, settings, now)
    write_json(served / "monitoring" / "monitoring.json", report.to_dict())
    return report


def exposition(report: Report) -> str:
    """What Prometheus would read."""
    return generate_latest(registry(report)).decode()


def violated(report: Report) -> list[bool]:
    """Whether each whole window is."""
    return [bool(verdict.findings) for verdict in report.verdicts if verdict.window.whole]


def shapes(report: Report) -> list[tuple[int, int]]:
    """Rows and truths of each window."""
    return [(verdict.window.rows, verdict.window.labelled) for verdict in report.verdicts]


def calm_rows(count: int, seed: int = 1) -> pl.DataFrame:
    return drawn(np.random.default_rng(seed), CALM, count)


def test_a_log_without_drift_asks_for_nothing_and_one_with_drift_for_a_model(
    tmp_path: Path, seen: Reference
) -> None:
    write(tmp_path, calm_rows(1000))
    report = look(tmp_path, seen)
    assert report.outcome.decision == "none"
    assert shapes(report) == [(200, 200)] * 5 + [(0, 0)]
    changed = drawn(np.random.default_rng(2), World(shift=1.0, renamed=0.3), 400)
    write(tmp_path, changed, START + timedelta(days=1))
    report = look(tmp_path, seen)
    assert report.outcome.decision == "retrain"
    assert violated(report) == [False] * 5 + [True] * 2
    for what in ("windows", "windows with ground truth"):
        head = f"2 of the last 3 {what} are violated, the newest among them."
        assert head in report.outcome.reasons
    assert report.unknown_labels["wallet"] == sum(changed["truth"] == "wallet")
    assert report.delay == 86_400


def test_one_window_is_to_be_looked_at(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(600))
    write(
        tmp_path, drawn(np.random.default_rng(2), World(shift=1.5), 200), START + timedelta(days=1)
    )
    report = look(tmp_path, seen)
    assert report.outcome.decision == "alert"
    assert "2 ask for a new model" in report.outcome.reasons[0]


def test_windows_go_on_where_they_ended(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(450))
    first = look(tmp_path, seen)
    write(tmp_path, calm_rows(300), START + timedelta(days=1))
    second = look(tmp_path, seen)
    assert [rows for rows, _ in shapes(first)] == [200, 200, 50]
    assert [rows for rows, _ in shapes(second)] == [200, 200, 200, 150]
    ends = [
        [verdict.window.end for verdict in report.verdicts if verdict.window.whole]
        for report in (first, second)
    ]
    assert ends[1][:2] == ends[0]


def test_a_row_that_comes_late_is_counted_where_it_belongs(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(450))
    look(tmp_path, seen)
    write(tmp_path, calm_rows(7), START + timedelta(hours=1), writer="0b0b0b0b")
    assert [rows for rows, _ in shapes(look(tmp_path, seen))] == [207, 200, 50]


def test_rows_of_one_moment_are_not_parted(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(150))
    write(tmp_path, calm_rows(500), START + timedelta(hours=3), timedelta(0))
    write(tmp_path, calm_rows(210), START + timedelta(hours=4))
    assert [rows for rows, _ in shapes(look(tmp_path, seen))] == [650, 200, 10]


def test_windows_by_time_end_at_whole_multiples(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(1000), START + timedelta(hours=1), timedelta(minutes=10))
    settings = Settings(monitoring=Monitoring(window="2d"))
    report = look(tmp_path, seen, settings, START + timedelta(days=7))
    assert sum(rows for rows, _ in shapes(report)) == 1000
    starts = {verdict.window.start % (2 * DAY) for verdict in report.verdicts}
    assert starts == {2 * DAY - 1}
    assert [verdict.window.rows for verdict in report.verdicts[1:3]] == [288, 288]
    assert not report.verdicts[-1].window.whole


def test_several_writers_are_one_log(tmp_path: Path, seen: Reference) -> None:
    for writer in ("0a0a0a0a", "0b0b0b0b", "0c0c0c0c"):
        write(tmp_path, calm_rows(200), writer=writer)
    report = look(tmp_path, seen)
    assert [rows for rows, _ in shapes(report)] == [201, 201, 198]
    assert report.labelled == 1


def test_old_files_are_not_read(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(200 * 27), START, timedelta(minutes=10))
    for name in ("predictions", "feedback"):
        for file in sorted((tmp_path / name).iterdir())[:2]:
            file.write_text("no JSON\n")
    report = look(tmp_path, seen)
    assert (len(violated(report)), report.log.unreadable) == (24, 0)


def test_what_is_no_line_of_the_log_is_counted(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(400))
    file = next((tmp_path / "predictions").iterdir())
    odd = [
        "no JSON", "[1, 2]", "{}", '{"id": "a", "time": "yesterday"}', '{"id": "\\ud800"',
        "", "   ",
    ]  # fmt: skip
    with file.open("a") as lines:
        lines.write("\n".join(odd) + '\n    {"id": "torn')
    report = look(tmp_path, seen)
    assert [rows for rows, _ in shapes(report)] == [200, 200, 0]
    assert report.log.unreadable == 5


def test_rows_of_another_contract_are_read_as_far_as_they_go(
    tmp_path: Path, seen: Reference
) -> None:
    """A version that took text for a number, and knew other columns and classes."""
    write(tmp_path, calm_rows(200))
    file = next((tmp_path / "predictions").iterdir())
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    for line in lines[:150]:
        line["version"] = "0"
        line["inputs"] = {"amount": "much", "age": "old", "member": "yes", "more": [1]}
        line["prediction"], line["probabilities"] = 7, {"other": 1.0}
    write_text(file, "".join(json.dumps(line) + "\n" for line in lines))
    report = look(tmp_path, seen)
    window = report.verdicts[0].window
    assert (window.rows, window.answered) == (200, 50)
    amount = window.columns["amount"]
    assert amount.missing[distributions.NOW] == 150
    assert amount.rows[distributions.NOW] == 200
    assert report.outcome.decision == "none"
    assert report.outcome.reasons[0] == (
        "Version 1, the champion, has not answered a whole window yet."
    )


def test_the_newest_truth_counts(tmp_path: Path, seen: Reference) -> None:
    logged = write(tmp_path, calm_rows(200))
    assert look(tmp_path, seen).verdicts[0].true == []
    wrong = logged.with_columns(truth=pl.lit("cards"))
    later = pl.lit("2026-03-05T00:00:00+00:00")
    wrong.select("id", later.alias("time"), "truth").write_ndjson(
        tmp_path / "feedback" / "20260305T000000.000000Z-0d0d0d0d.jsonl"
    )
    found = look(tmp_path, seen).verdicts[0]
    assert found.window.labelled == 200
    assert found.true
    assert {finding.check for finding in found.true} >= {"score", "calibration"}


def test_a_truth_that_is_taken_back_is_not_known(tmp_path: Path, seen: Reference) -> None:
    logged = write(tmp_path, calm_rows(200)).head(40)
    back = logged.select("id", time=pl.lit("2026-03-05T00:00:00+00:00"), truth=None)
    back.write_ndjson(tmp_path / "feedback" / "20260305T000000.000000Z-0d0d0d0d.jsonl")
    assert look(tmp_path, seen).verdicts[0].window.labelled == 160


def test_few_truths_are_not_judged(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(200))
    file = next((tmp_path / "feedback").iterdir())
    write_text(file, "".join(file.read_text().splitlines(keepends=True)[:49]))
    report = look(tmp_path, seen)
    assert report.verdicts[0].true is None
    assert report.labelled == pytest.approx(49 / 200)
    assert report.outcome.reasons[-1] == (
        "The score is not known: fewer than 100 rows are labelled, 49 in all windows together."
    )


def refuse(served: Path, requests: int, count: int, version: str = VERSION) -> None:
    """Log refused requests of as many rows, four hours apart."""
    (served / "refusals").mkdir()
    broken = [["age", "min", count - 10], [None, "older", 10]]
    lines = [
        {
            "time": (START + timedelta(hours=1 + 4 * hour)).isoformat(),
            "version": version,
            "rows": count,
            "violations": broken,
        }
        for hour in range(requests)
    ]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    write_text(served / "refusals" / "20260302T000000.000000Z-0a0a0a0a.jsonl", text)


def test_refused_rows_are_said_with_their_rules(tmp_path: Path, seen: Reference) -> None:
    write(tmp_path, calm_rows(400))
    refuse(tmp_path, 2, 60)
    report = look(tmp_path, seen)
    assert report.outcome.decision == "alert"
    assert "Look upstream: 27.1% of the rows are refused, since " in report.outcome.action
    assert [verdict.window.refused for verdict in report.verdicts] == [60, 60, 0]
    assert [verdict.window.asked for verdict in report.verdicts] == [200, 221, 99]
    sentence = (
        "27.1% of the rows were refused, for they broke the contract: age|min (50), older (10)."
    )
    assert sentence in report.outcome.reasons


@pytest.mark.parametrize("window", [1000, "12h"])
def test_rows_that_are_all_refused_are_judged(
    tmp_path: Path, seen: Reference, window: int | str
) -> None:
    """0.4.0 saw no window in them, and decided for none."""
    refuse(tmp_path, 30, 100)
    report = look(
        tmp_path, seen, Settings(monitoring=Monitoring(window=window)), START + timedelta(days=6)
    )
    assert report.outcome.decision != "none"
    assert len(report.judged) >= 3
    assert "100.0% of the rows were refused" in report.outcome.reasons[1]
    assert "monitor_refused_share 1.0" in exposition(report)
    assert report.page()


def test_what_another_version_refused_says_nothing_of_the_champion(
    tmp_path: Path, seen: Reference
) -> None:
    refuse(tmp_path, 30, 100, version="0")
    report = look(tmp_path, seen)
    assert report.outcome.decision == "none"
    assert "has not answered" in report.outcome.reasons[0]


def test_of_many_truths_a_sample_is_looked_at(
    tmp_path: Path, seen: Reference, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(windows, "MOST_TRUTHS", 1_000)
    write(tmp_path, calm_rows(4_000))
    report = look(tmp_path, seen, Settings(monitoring=Monitoring(window=2_000)))
    known = sum(verdict.window.labelled for verdict in report.verdicts)
    assert report.log.sample < 1
    assert 100 < known <= 1_000
    assert report.labelled == pytest.approx(1, abs=0.2)


def test_memory_does_not_grow_with_the_log(tmp_path: Path) -> None:
    """Ten times the rows, in windows that are shown, and the truth of these and of many others."""
    champion(tmp_path / "bundle", calm_rows(LEARNT), calm_rows(HELD_OUT))
    peaks = []
    for days in (2, 20):
        served = tmp_path / f"{days} days"
        write(served, calm_rows(2_000 * days), step=timedelta(seconds=86_400 / 2_000))
        for file in (served / "feedback").iterdir():
            time = json.loads(file.read_text().partition("\n")[0])["time"]
            ids = np.random.default_rng(days).bytes(12 * MANY).hex()
            others = pl.DataFrame({"id": [ids[at : at + 24] for at in range(0, 24 * MANY, 24)]})
            with file.open("ab") as lines:
                others.with_columns(time=pl.lit(time), truth=pl.lit("x" * 40)).write_ndjson(lines)
        counted, peak = numbers_of(__file__, served, tmp_path / "bundle")
        assert counted == 2_000 * days
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 25 * 1024, peaks


def look_and_weigh(served: Path, bundle: Path) -> None:
    """Print the rows that are counted, and the most memory that was held, in KiB."""
    windows.MOST_TRUTHS = 20_000
    seen = Reference(Bundle(bundle), VERSION)
    settings = Settings(monitoring=Monitoring(window="1d"))
    report = run.look(served, seen, settings, START + timedelta(days=20))
    rows = sum(verdict.window.rows for verdict in report.verdicts)
    print(rows, most_memory())  # noqa: T201


def test_statistics_are_those_of_scipy() -> None:
    draw = np.random.default_rng(0)
    for cells in (2, 3, 8, 21):
        table = draw.integers(20, 90, (2, cells))
        chance = stats.chi2_contingency(table, correction=False).pvalue
        assert drift.chi_square(table) == pytest.approx(chance, rel=1e-9)
        values = [np.repeat(np.arange(cells), counts) for counts in table]
        both = stats.mannwhitneyu(*values, method="asymptotic", use_continuity=False)
        delta = abs(2 * both.statistic / (len(values[0]) * len(values[1])) - 1)
        assert drift.rank_sum(table) == pytest.approx((delta, both.pvalue), rel=1e-9)
    for hits, rows in (((40, 70), (300, 310)), ((0, 60), (3000, 260)), ((97, 40), (100, 50))):
        (chance,) = drift.shares(np.array(hits)[:, None], np.array(rows))
        table = np.array([hits, np.subtract(rows, hits)])
        if stats.contingency.expected_freq(table).min() >= 5:
            assert chance == pytest.approx(stats.chi2_contingency(table).pvalue, rel=1e-9)
        else:
            sides = [stats.fisher_exact(table, side).pvalue for side in ("less", "greater")]
            assert chance == pytest.approx(2 * min(sides), rel=1e-6)
    assert drift.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


def test_the_psi_of_one_distribution_is_about_zero() -> None:
    draw = np.random.default_rng(0)
    found, shares = [], np.full(20, 0.05)
    for _ in range(200):
        samples = draw.multinomial(400, shares), draw.multinomial(900, shares)
        p, q = ((counts + 0.5) / (counts.sum() + 10) for counts in samples)
        found.append(((q - p) * np.log(q / p)).sum() - 19 * (1 / 400 + 1 / 900))
        assert drift.psi(np.array(samples)) == pytest.approx(max(0.0, found[-1]))
    assert abs(np.mean(found)) < 0.01
    moved = [draw.multinomial(400, shares), draw.multinomial(900, np.append(0.43, [0.03] * 19))]
    expected = ((0.43 - 0.05) * np.log(0.43 / 0.05)) + 19 * ((0.03 - 0.05) * np.log(0.03 / 0.05))
    assert drift.psi(np.array(moved)) == pytest.approx(expected, rel=0.15)


@pytest.mark.parametrize(
    ("then", "now", "together"),
    [
        ([500, 480, 1, 2, 17], [510, 470, 20, 0, 0], [[500, 480, 17, 3], [510, 470, 0, 20]]),
        ([500, 480, 1], [510, 470, 0], [[500, 481], [510, 470]]),
        ([3, 2], [1, 4], [[5], [5]]),
    ],
)
def test_rare_categories_are_counted_together(
    then: list[int], now: list[int], together: list[list[int]]
) -> None:
    assert drift.pooled(np.array([then, now])).tolist() == together


@pytest.mark.parametrize(
    ("then", "now", "together"),
    [
        ([0, *[4] * 7, 0], [0, *[9] * 7, 0], [[8, 8, 12], [18, 18, 27]]),
        ([0, 30, 30, 0], [1, 20, 20, 19], [[30, 30, 0], [21, 20, 19]]),
        ([0, 100, 0], [30, 70, 0], [[100, 0], [70, 30]]),
        ([0, 0, 0], [30, 70, 0], [[0], [100]]),
    ],
)
def test_neighbouring_bins_are_counted_together(
    then: list[int], now: list[int], together: list[list[int]]
) -> None:
    assert drift.merged(np.array([then, now])).tolist() == together


def test_what_prometheus_reads_is_named_and_documented(
    tmp_path: Path, seen: Reference, trained: Project
) -> None:
    write(tmp_path, drawn(np.random.default_rng(2), World(shift=1.0, renamed=0.3), 600))
    report = look(tmp_path, seen)
    families = {
        family.name: family for family in text_string_to_metric_families(exposition(report))
    }
    assert set(families) == {f"monitor_{name}" for name in GAUGES}
    assert all(family.type == "gauge" for family in families.values())
    decided = {
        sample.labels["decision"]: sample.value for sample in families["monitor_decision"].samples
    }
    assert decided == {"none": 0, "alert": 0, "retrain": 1}
    page_of_metrics = (trained.root / "docs" / "ops" / "monitoring.md").read_text()
    assert all(f"`{name}" in page_of_metrics for name in families)


class Resources(HTMLParser):
    """What a page would fetch, and what its tables say."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.pictures = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href") and value is not None:
                inside = value.startswith("data:image/png;base64,")
                self.pictures += inside
                self.fetched += [] if inside else [value]
        assert tag not in ("script", "link")


def test_the_page_needs_no_other_file_and_is_safe(tmp_path: Path, seen: Reference) -> None:
    changed = drawn(np.random.default_rng(2), World(shift=1.0, vocabulary=0.4), 600)
    hostile = '<script>alert("$x$")</script>'
    changed = changed.with_columns(
        truth=pl.lit(hostile),
        inputs=pl.col("inputs").struct.with_fields(channel=pl.lit(hostile)),
    )
    write(tmp_path, calm_rows(600))
    write(tmp_path, changed, START + timedelta(days=1))
    text = look(tmp_path, seen).page()
    parser = Resources()
    parser.feed(text)
    assert parser.fetched == []
    assert parser.pictures >= 5
    assert "&lt;script&gt;alert" in text


def priced(frame: pl.DataFrame, noise: float = 5.0, error: float = 0.0) -> pl.DataFrame:
    """Rows with a price in place of a queue; the model knows all of it but the noise."""
    amount = frame["inputs"].struct.field("amount").to_numpy()
    chance = np.random.default_rng(len(frame)).normal(0, noise, len(frame))
    return frame.drop("probabilities").with_columns(
        prediction=pl.Series(2 * amount), truth=pl.Series(2 * amount + chance + error)
    )


@pytest.fixture
def project_of_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project whose champion says a number and an interval; it is the current folder."""
    (tmp_path / "models").mkdir()
    project = Project(tmp_path)
    champion(project.champion, *(priced(calm_rows(1_000, seed)) for seed in (2, 3)), BY_NUMBER)
    in_office(project)
    write_text(project.params, "monitoring:\n  window: 200\n")
    monkeypatch.chdir(tmp_path)
    return project


def test_a_regression_is_watched_too(tmp_path: Path) -> None:
    learnt, held_out = priced(calm_rows(LEARNT, 2)), priced(calm_rows(HELD_OUT, 3))
    seen = champion(tmp_path / "bundle", learnt, held_out, BY_NUMBER)
    write(tmp_path, priced(calm_rows(600)))
    report = look(tmp_path, seen)
    assert report.outcome.decision == "none"
    assert report.verdicts[0].score is not None
    assert report.verdicts[0].score.value == pytest.approx(0.98, abs=0.01)
    write(tmp_path, priced(calm_rows(400, 4), noise=15, error=10), START + timedelta(days=1))
    report = look(tmp_path, seen)
    assert report.outcome.decision == "retrain"
    newest = report.judged[-1]
    assert {finding.check for finding in newest.findings} == {"score", "coverage"}
    assert "windows with ground truth" in report.outcome.reasons[0]
    assert "monitor_score_expected" in exposition(report)
    assert report.page()


@pytest.mark.parametrize(("noise", "decision"), [(1.0, "none"), (9.0, "retrain")])
def test_intervals_that_cover_more_than_promised_break_no_promise(
    project_of_numbers: Project, noise: float, decision: Decision
) -> None:
    """Nine in ten of the ground truth lay within them: now nearly all do, or hardly two thirds."""
    write(project_of_numbers.served, priced(calm_rows(1_000, 4), noise))
    with pytest.raises(SystemExit) as ended:
        cli.main(["monitor", "--exit-code"])
    told = read_json(project_of_numbers.served / "monitoring" / "monitoring.json")
    assert (told["decision"], ended.value.code) == (decision, run.EXIT_CODES[decision])
    found = [{it["check"] for it in window["findings"]} for window in told["windows"][:5]]
    assert ["coverage" in checks for checks in found] == [decision == "retrain"] * 5


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    ("others", "error", "scored", "decision"),
    [(0.0, 0.0, 0, "none"), (0.1, 0.0, 4, "none"), (0.1, 25.0, 4, "retrain")],
)
def test_numbers_that_are_labelled_where_they_are_large_are_weighed_or_not_judged(
    tmp_path: Path, others: float, error: float, scored: int, decision: str
) -> None:
    seen = champion(tmp_path / "bundle", *(priced(calm_rows(1_000, n)) for n in (2, 3)), BY_NUMBER)
    log = windows.Log()
    for place in range(4):
        frame = priced(calm_rows(1_000, 4 + place), error=error)
        told = (frame["prediction"] > 80) | some(others)
        log.windows.append(Window(seen, place * DAY, (place + 1) * DAY))
        log.windows[-1].add(frame.with_columns(truth=pl.when(told).then(pl.col("truth"))))
    pools, said, _ = pooled(log)
    newest = {it.windows[-1]: it for it in pools}
    verdicts = [judge(window, LIMITS, 7, newest.get(window)) for window in log.windows]
    assert len(pools) == scored
    assert ("weighed" if scored else "The score is not known: labelled rows are no random") in said
    assert decide(verdicts, LIMITS).decision == decision


def test_bundles_of_earlier_releases_are_compared_with_as_far_as_they_go(tmp_path: Path) -> None:
    told = manifest(calm_rows(LEARNT, 2), calm_rows(HELD_OUT, 3), BY_QUEUE)
    del told["calibration"], told["profile"]["columns"]["body"]["unfamiliar"]
    (tmp_path / "bundle").mkdir()
    write_json(tmp_path / "bundle" / MANIFEST, told)
    seen = Reference(Bundle(tmp_path / "bundle"), VERSION)
    write(tmp_path, calm_rows(400))
    write(
        tmp_path, drawn(np.random.default_rng(2), World(shift=1.5), 400), START + timedelta(days=1)
    )
    report = look(tmp_path, seen)
    assert violated(report) == [False, False, True, True]
    assert report.page()


def test_where_events_have_a_time_the_newest_rows_are_compared_with(tmp_path: Path) -> None:
    moved = drawn(np.random.default_rng(2), World(shift=1.5), HELD_OUT)
    told = manifest(calm_rows(LEARNT), calm_rows(HELD_OUT, 3), BY_QUEUE)
    newest = {
        column.name: describe(column, arrays(moved, BY_QUEUE)[column.name])
        for column in BY_QUEUE.features
    }
    told["profile"]["newest"] = {"rows": HELD_OUT, "columns": newest}
    (tmp_path / "bundle").mkdir()
    write_json(tmp_path / "bundle" / MANIFEST, told)
    seen = Reference(Bundle(tmp_path / "bundle"), VERSION)
    write(tmp_path, drawn(np.random.default_rng(4), World(shift=1.5), 200))
    came = {finding.column for finding in look(tmp_path, seen).verdicts[0].came}
    assert "amount" not in came


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project's log in which a number has moved, and its settings with a comment."""
    for name in ("pyproject.toml", "dvc.yaml"):
        (tmp_path / name).touch()
    write_text(tmp_path / "params.yaml", "monitoring:\n  window: 200 # rows\n")
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path)
    write(project.served, calm_rows(400))
    changed = untold(calm_rows(400, 2)).with_columns(MOVES["a number"])
    write(project.served, changed, START + timedelta(days=1))
    return project


def now(project: Project, seen: Reference, at: datetime = NOW) -> Report:
    """What a look at the log of a project finds, by its settings."""
    return look(project.served, seen, Settings.load(project.params), at)


@pytest.mark.usefixtures("quick")
def test_what_is_accepted_alarms_when_it_goes_further_or_a_champion_comes(
    log: Project, seen: Reference, capsys: pytest.CaptureFixture[str]
) -> None:
    assert now(log, seen).outcome.decision == "retrain"
    assert cli.main(["monitor", "accept", "amount", "--reason", "prices rose"]) == 0
    said = capsys.readouterr().out
    assert said == "amount is accepted until the next champion: commit params.yaml.\n"
    report = now(log, seen)
    assert report.outcome.decision == "none"
    assert "- `amount`, until the next champion: prices rose" in report.markdown()
    accepted = log.params.read_text()
    assert "window: 200 # rows" in accepted
    write_text(log.params, accepted.replace("version: '1'", "version: '0'"))
    assert now(log, seen).outcome.decision == "retrain"
    write_text(log.params, accepted)
    further = untold(calm_rows(400, 3)).with_columns(inputs(amount=pl.field("amount") + 60))
    write(log.served, further, START + timedelta(days=2))
    report = now(log, seen)
    assert report.outcome.decision == "retrain"
    assert {found.column for found in report.judged[-1].came} == {"amount"}
    assert cli.main(["monitor", "accept", "amount", "--reason", "again"]) == 0
    assert now(log, seen).outcome.decision == "none"


@pytest.mark.usefixtures("quick")
def test_what_is_accepted_until_a_day_is_found_after_it(log: Project, seen: Reference) -> None:
    now(log, seen)
    arguments = ("monitor", "accept", "amount", "--reason", "a sale", "--until")
    assert cli.main([*arguments, "2030-02-28"]) == 0
    Context(yaml.safe_load(log.params.read_text()))  # as DVC reads all of it, which takes no dates
    assert now(log, seen, datetime(2030, 2, 28, 23, tzinfo=UTC)).outcome.decision == "none"
    assert now(log, seen, datetime(2030, 3, 1, tzinfo=UTC)).outcome.decision == "retrain"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("amount", "--until", "soon"), "--until is soon; give it a day to come, such as 2030-"),
        (("amount", "--until", "2026-01-01"), "--until is 2026-01-01; give it a day to come"),
        (("age",), "The last `ops monitor` found nothing about age: name what it found."),
    ],
)
def test_what_cannot_be_accepted_is_refused(
    log: Project,
    seen: Reference,
    arguments: tuple[str, ...],
    sentence: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    now(log, seen)
    before = log.params.read_text()
    assert cli.main(["monitor", "accept", *arguments, "--reason", "known"]) == 2
    assert sentence in capsys.readouterr().err
    assert log.params.read_text() == before


@pytest.mark.usefixtures("quick")
def test_a_column_may_have_limits_of_its_own(log: Project, seen: Reference) -> None:
    own = "  columns: {amount: {drift: 9, out of range: 0.5}}\n"
    write_text(log.params, log.params.read_text() + own)
    assert now(log, seen).outcome.decision == "none"


@pytest.mark.parametrize("window", ["99", 0, "7", "2000000", "1y", "-3d", "", "d"])
def test_a_window_that_will_not_do_is_refused(window: int | str) -> None:
    with pytest.raises(UserError, match=r"monitoring\.window"):
        Monitoring(window=window).size  # noqa: B018  it is asked for


@pytest.mark.parametrize(
    ("window", "wanted"),
    [(250, 250), ("1000", 1000), ("12h", timedelta(hours=12)), ("2w", timedelta(weeks=2))],
)
def test_windows_are_rows_or_a_time(window: int | str, wanted: int | timedelta) -> None:
    assert Monitoring(window=window).size == wanted


def test_what_fails_is_tried_again(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 1:
            moved.rename(project.champion)
        else:
            raise KeyboardInterrupt

    moved = project.champion.rename(project.root / "elsewhere")
    monkeypatch.setattr(run, "sleep", pause)
    assert cli.main(["monitor", "--every", "30m"]) == 130
    said = capsys.readouterr()
    assert "There is no champion" in said.err
    assert said.out.startswith("Decision: none\n- Nothing to do.\n- There are no requests.")
    assert pauses == [1800, 1800]
    assert read_json(project.served / "monitoring" / "monitoring.json")["decision"] == "none"


def test_a_pause_that_is_no_time_is_refused(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    del project
    assert cli.main(["monitor", "--every", "often"]) == 2
    assert "30m or 1h" in capsys.readouterr().err


if __name__ == "__main__":
    look_and_weigh(*map(Path, sys.argv[1:]))
