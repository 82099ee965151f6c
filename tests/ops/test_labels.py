"""Ground truth that comes late, for few rows, or for those alone that were answered in some way."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from deliveries import UNDATED, VERSION, champion, frame, said
from my_model.ops.bundle import Bundle
from my_model.ops.evaluation import metrics
from my_model.ops.files import write_json
from my_model.ops.monitoring import run
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.report import registry
from my_model.ops.settings import Monitoring, Settings
from prometheus_client import generate_latest
from streams import CHANGES, CLASSES, Rows, draw

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.monitoring.report import Report
    from streams import Array

ROWS = 200
"""Of a window."""
START = datetime(2026, 3, 2, tzinfo=UTC)
STEP = timedelta(seconds=50)
"""Between two rows: a window of 200 is as long as one of a thousand at 8,640 a day."""
DRAW = np.random.default_rng(3)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "REPLICATES", 100)


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    learnt = draw("independent", None, 1, rows=5_000, history=1, windows=0).learnt
    project, _ = champion(tmp_path_factory.mktemp("champion"), learnt, UNDATED)
    return Reference(Bundle(project.champion), VERSION)


def came(windows: int, rows: int = ROWS, seed: int = 2) -> Rows:
    """What comes in, and nothing changes."""
    return draw("independent", None, seed, rows=rows * windows, history=0, windows=1).windows[0]


def some(rows: Rows, share: float) -> Array:
    """Some rows, by chance."""
    return np.random.default_rng(len(rows)).random(len(rows)) < share


def flipped(rows: Rows, since: int) -> Rows:
    """Rows whose truth is the other class from some row on, for a third of them."""
    wrong = some(rows, 1 / 3) & (np.arange(len(rows)) >= since)
    other = np.where(rows.truth == CLASSES[0], CLASSES[1], CLASSES[0])
    return Rows(rows.time, rows.columns, rows.late, np.where(wrong, other, rows.truth))


def serve(
    served: Path,
    rows: Rows,
    labelled: Array | bool = True,
    delay: timedelta = timedelta(hours=1),
    step: timedelta = STEP,
) -> datetime:
    """Log rows, and the truth of those that are labelled as far as it has come by the last one."""
    logged = pl.DataFrame(
        {
            "id": [DRAW.bytes(12).hex() for _ in range(len(rows))],
            "time": [START + place * step for place in range(len(rows))],
            "version": VERSION,
            "inputs": frame(rows).select(it.name for it in UNDATED.inputs).to_struct(),
            "prediction": np.array(CLASSES)[(rows.late <= 0.5).astype(int)],
            "probabilities": said(rows).to_struct(),
            "truth": rows.truth,
            "labelled": np.broadcast_to(labelled, len(rows)),
        }
    )
    now = START + len(rows) * step
    told = logged.filter(pl.col("labelled")).with_columns(pl.col("time") + delay)
    parts = {
        "predictions": logged.drop("truth", "labelled"),
        "feedback": told.filter(pl.col("time") <= now).select("id", "time", "truth"),
    }
    for name, part in parts.items():
        (served / name).mkdir(parents=True)
        for (day,), its in part.group_by(pl.col("time").dt.date()):
            lines = its.with_columns(pl.col("time").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f+00:00"))
            lines.write_ndjson(served / name / f"{day:%Y%m%d}T000000.000000Z-0a0a0a0a.jsonl")
    return now


def look(served: Path, seen: Reference, now: datetime, window: int | str = ROWS) -> Report:
    """Look at a log, and leave what the next look goes on from."""
    report = run.look(served, seen, Settings(monitoring=Monitoring(window=window)), now)
    write_json(served / "monitoring" / "monitoring.json", report.to_dict())
    return report


def test_labels_that_come_days_late_are_judged(tmp_path: Path, seen: Reference) -> None:
    """0.4.0 read no further than 24 windows, and all of these are younger."""
    delay, rows = timedelta(days=3), came(40)
    now = serve(tmp_path / "calm", rows, delay=delay)
    calm = look(tmp_path / "calm", seen, now)
    assert calm.outcome.decision == "none"
    assert calm.outcome.reasons[-1].startswith("The score is that of ")
    assert sum(it.score is not None for it in calm.verdicts) >= 5
    assert not any(it.findings for it in calm.verdicts)
    assert calm.delay == delay.total_seconds()
    assert look(tmp_path / "calm", seen, now).to_dict() == calm.to_dict()
    assert calm.page()
    serve(tmp_path / "worse", flipped(rows, 8 * ROWS), delay=delay)
    worse = look(tmp_path / "worse", seen, now)
    assert worse.outcome.decision == "retrain"
    assert "the model is worse than on the holdout (" in worse.outcome.action


def test_what_was_known_before_a_change_says_nothing_of_it(tmp_path: Path, seen: Reference) -> None:
    rows, moved = came(37), CHANGES["shift"](np.random.default_rng(0), came(3, seed=4), 1.0)
    assert moved
    columns = {
        name: np.append(values, moved.columns[name]) for name, values in rows.columns.items()
    }
    late, truth = np.append(rows.late, moved.late), np.append(rows.truth, moved.truth)
    both = Rows(np.append(rows.time, moved.time), columns, late, truth)
    now = serve(tmp_path / "late", both, delay=timedelta(days=3))
    assert look(tmp_path / "late", seen, now).outcome.decision == "retrain"
    # Four labels of the windows that moved, in a pool with those before them.
    serve(tmp_path / "few", both, labelled=np.arange(len(both)) % 150 == 0)
    assert look(tmp_path / "few", seen, now).outcome.decision == "retrain"
    serve(tmp_path / "known", both, delay=timedelta(0))
    known = look(tmp_path / "known", seen, now).outcome
    assert known.decision == "alert"
    assert "The score has not fallen" in known.action


def test_few_labels_are_pooled_over_windows(tmp_path: Path, seen: Reference) -> None:
    """Of each window eight are known; 0.4.0 judged none."""
    rows = came(40)
    few = some(rows, 0.04)
    now = serve(tmp_path / "calm", rows, few)
    report = look(tmp_path / "calm", seen, now)
    assert report.outcome.decision == "none"
    pattern = r"The score is that of 1\d\d labelled rows of 1[1-4] windows, 2026-03-\d\d to 2026-"
    assert re.match(pattern, report.outcome.reasons[-1])
    assert "the newest of them has fewer than 100" in report.outcome.reasons[-1]
    assert b"monitor_score{" in exposition(report)
    serve(tmp_path / "worse", flipped(rows, 16 * ROWS), few)
    assert look(tmp_path / "worse", seen, now).outcome.decision == "retrain"


def exposition(report: Report) -> bytes:
    """What Prometheus would read."""
    return generate_latest(registry(report))


@pytest.mark.parametrize(
    ("labelled", "step", "decision", "sentence"),
    [
        (60, 150, "alert", "fewer than 100 rows are labelled, 60 in all windows together"),
        (60, 50, "none", "fewer than 100 rows are labelled, 60 in all windows together"),
        (400, 150, "alert", "The score is that of 200 labelled rows, 2026-03-02 to 2026-03-02."),
        (0, 150, "none", "fewer than 100 rows are labelled, 0 in all windows together"),
    ],
)
def test_a_score_that_is_long_unknown_is_to_be_looked_at(
    tmp_path: Path, seen: Reference, labelled: int, step: int, decision: str, sentence: str
) -> None:
    """A week at 50 seconds is 60 windows; where no truth ever comes, none is missed."""
    rows = came(30)
    spread = np.arange(len(rows)) % 100 == 0 if labelled == 60 else np.arange(len(rows)) < labelled
    now = serve(tmp_path, rows, spread, step=timedelta(seconds=step))
    outcome = look(tmp_path, seen, now).outcome
    assert outcome.decision == decision
    assert sentence in outcome.reasons[-1]
    if decision == "alert":
        assert outcome.action.startswith("See where ground truth stays: ")


@pytest.mark.parametrize("more", [1, 90, 190])
def test_a_window_that_takes_longer_than_a_week_is_no_news(
    tmp_path: Path, seen: Reference, more: int
) -> None:
    """Wherever in the fifth one the look falls, ground truth comes as it ever did."""
    now = serve(tmp_path, came(1, rows=4 * ROWS + more), step=timedelta(days=11) / ROWS)
    assert look(tmp_path, seen, now).outcome.decision == "none"


def test_small_windows_by_time_are_told_for_what_they_are(tmp_path: Path, seen: Reference) -> None:
    """0.4.0 said that no window was whole yet."""
    now = serve(tmp_path / "calm", came(1, rows=600))
    report = look(tmp_path / "calm", seen, now, "1h")
    (said, known) = report.outcome.reasons
    assert said.startswith("8 windows have ended, all of fewer than 100 rows: inputs are not ")
    assert known.startswith("The score is that of 169 labelled rows of 3 windows, 2026-03-02 to ")
    serve(tmp_path / "worse", flipped(came(1, rows=600), 0))
    assert look(tmp_path / "worse", seen, now, "1h").outcome.decision == "retrain"


CHOSEN = {
    "those called late": lambda late: late > 0.5,
    "the doubtful": lambda late: np.abs(late - 0.5) < 0.2,
    "the sure": lambda late: np.abs(late - 0.5) > 0.3,
}


@pytest.mark.parametrize("chosen", CHOSEN)
def test_labels_that_are_no_random_sample_are_not_judged(
    tmp_path: Path, seen: Reference, chosen: str
) -> None:
    """0.4.0 found 17 to 30 of 30 windows violated."""
    rows = came(30)
    now = serve(tmp_path, rows, CHOSEN[chosen](rows.late))
    report = look(tmp_path, seen, now)
    assert report.outcome.decision == "none"
    assert not any(verdict.findings for verdict in report.verdicts)
    assert b"monitor_score{" not in exposition(report)
    assert "The score is not known: labelled rows are no random sample" in report.markdown()


def test_labels_of_every_class_are_weighed(tmp_path: Path, seen: Reference) -> None:
    """Where one class is labelled ten times as often as the other."""
    rows = came(24)
    often = np.where(rows.late > 0.5, some(rows, 1.0), some(rows, 0.1))
    now = serve(tmp_path / "calm", rows, often)
    report = look(tmp_path / "calm", seen, now)
    assert report.outcome.decision == "none"
    assert not any(verdict.findings for verdict in report.verdicts)
    assert "weighed" in report.outcome.reasons[-1]
    expected = metrics.value(
        metrics.find("log_loss"), UNDATED.labels(frame(rows)), said(rows).to_numpy()
    )
    scores = [verdict.score for verdict in report.verdicts if verdict.score]
    assert len(scores) >= 3
    inside = [scored.low <= expected <= scored.high for scored in scores]
    assert np.mean(inside) > 0.8
    serve(tmp_path / "worse", flipped(rows, 8 * ROWS), often)
    assert look(tmp_path / "worse", seen, now).outcome.decision == "retrain"
