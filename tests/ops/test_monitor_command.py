"""What people type, night after night: `ops monitor` and `ops retrain --if-needed`."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pytest
from deliveries import CONTRACT, UNDATED, champion, in_office, log
from my_model.ops.cli import main
from my_model.ops.files import read_json, write_text
from my_model.ops.monitoring.run import EXIT_CODES
from streams import Rows, draw

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.contract import Contract
    from my_model.ops.project import Project

ROWS = 400
"""Of a window."""
NIGHTS = 8


@dataclass(frozen=True)
class Loop:
    """A project whose champion learnt from independent rows, and what its monitor says."""

    project: Project
    contract: Contract = UNDATED

    def monitor(self, *windows: Rows) -> tuple[str, str]:
        """Log rows, look, and tell the decision and what is to be done."""
        log(self.project, windows, self.contract)
        with pytest.raises(SystemExit) as ended:
            main(["monitor", "--exit-code"])
        found = read_json(self.project.served / "monitoring" / "monitoring.json")
        assert ended.value.code == EXIT_CODES[found["decision"]]
        return found["decision"], found["action"]


@pytest.fixture
def loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Loop:
    """A project in which nothing has come in yet; it is the current folder."""
    monkeypatch.setenv("PREDICTIONS", "")
    monkeypatch.chdir(tmp_path)
    return begun(tmp_path, draw("independent", None, 2, rows=ROWS, history=10, windows=0).learnt)


def begun(folder: Path, learnt: Rows, contract: Contract = UNDATED) -> Loop:
    """A project whose champion learnt from some rows."""
    project, _ = champion(folder, learnt, contract)
    in_office(project)
    write_text(project.params, f"monitoring:\n  window: {ROWS}\n")
    return Loop(project, contract)


def came(change: str | None = None, windows: int = 4, since: int = 2) -> list[Rows]:
    """Windows of rows, of which the later ones are changed."""
    asked = {"rows": ROWS, "history": 10, "windows": windows, "since": since}
    return draw("independent", change, 2, **asked).windows


def test_calm_rows_ask_for_nothing(loop: Loop) -> None:
    assert loop.monitor(*came()) == ("none", "Nothing to do.")
    reasons = read_json(loop.project.served / "monitoring" / "monitoring.json")["reasons"]
    assert "There is no data/labelled here" in reasons[-1]
    loop.project.labelled.mkdir()
    loop.monitor()
    assert (
        reasons[:-1] == read_json(loop.project.served / "monitoring" / "monitoring.json")["reasons"]
    )


@pytest.mark.parametrize(
    ("change", "action"),
    [
        ("category renamed", "Look upstream: area has central station where it had station, since"),
        ("category vanished", r"Look upstream: what comes in has moved \(area\), since"),
        (
            "column permuted",
            r"Look upstream: (minutes|distance) no longer goes with the other columns, since",
        ),
    ],
)
def test_faults_upstream_alert_and_train_nothing(
    loop: Loop, change: str, action: str, capsys: pytest.CaptureFixture[str]
) -> None:
    decision, said = loop.monitor(*came(change))
    assert decision == "alert"
    assert re.match(action, said)
    assert main(["retrain", "--if-needed"]) == 0
    assert "not needed" in capsys.readouterr().out


def spiked(rows: Rows, change: str) -> Rows:
    """Rows of which a number has one value in all of them, or in every fifth."""
    minutes = rows.columns["minutes"]
    if change == "stuck":
        return rows.having(minutes=np.full(len(rows), minutes[0]))
    return rows.having(minutes=np.where(np.arange(len(rows)) % 5, minutes, -1.0))


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    ("change", "action"),
    [
        ("stuck", r"Look upstream: 100\.0% of minutes are \d+\.\d+, since"),
        ("gap", r"Look upstream: 20\.0% of minutes are -1\.000, since"),
    ],
)
def test_one_value_in_many_rows_alerts_whether_or_not_the_score_is_known(
    loop: Loop, change: str, action: str, told: bool
) -> None:
    calm = came()
    log(loop.project, [*calm[:2], *(spiked(rows, change) for rows in calm[2:])], UNDATED)
    if not told:
        shutil.rmtree(loop.project.served / "feedback")
    decision, said = loop.monitor()
    assert decision == "alert"
    assert re.match(action, said)


@pytest.mark.parametrize("kind", ["seasonal", "autocorrelated"])
@pytest.mark.parametrize("told", [True, False])
def test_a_mixture_of_units_is_no_season(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, told: bool
) -> None:
    """Windows of one year lie far apart, and none has kelvin in three rows of ten."""
    monkeypatch.setenv("PREDICTIONS", "")
    monkeypatch.chdir(tmp_path)
    stream = draw(kind, None, 2, rows=ROWS, history=30, windows=4)
    loop = begun(tmp_path, stream.learnt, CONTRACT)
    assert loop.monitor(*stream.windows[:2])[0] == "none"

    def mixed(rows: Rows) -> Rows:
        warm = rows.columns["temperature"]
        return rows.having(temperature=warm + np.where(np.arange(ROWS) % 10 < 3, 273.15, 0))

    log(loop.project, [*stream.windows[:2], *map(mixed, stream.windows[2:])], CONTRACT)
    if not told:
        shutil.rmtree(loop.project.served / "feedback")
    decision, said = loop.monitor()
    assert decision == "alert"
    assert re.match(
        r"Look upstream: temperature is K, and was °C in 30\.0% of the rows, since", said
    )


def test_a_shift_of_few_whole_numbers_is_no_fault(loop: Loop) -> None:
    """Many rows have one value each, and had before."""

    def in_tens(rows: Rows, by: float = 0.0) -> Rows:
        return rows.having(temperature=np.round(rows.columns["temperature"], -1) + 100 + by)

    learnt = draw("independent", None, 2, rows=ROWS, history=10, windows=0).learnt
    loop = begun(loop.project.root, in_tens(learnt))
    calm = came()
    shifted = [in_tens(rows, 10.0) for rows in calm[2:]]
    log(loop.project, [*map(in_tens, calm[:2]), *shifted], UNDATED)
    shutil.rmtree(loop.project.served / "feedback")
    decision, said = loop.monitor()
    assert decision == "retrain", said
    assert "temperature" in said


def test_rows_that_are_sent_twice_alert(loop: Loop) -> None:
    calm = came()
    twice = [rows.at(np.arange(ROWS) // 2) for rows in calm[2:]]
    decision, said = loop.monitor(*calm[:2], *twice)
    assert decision == "alert"
    assert "of the rows repeat others, since" in said


def test_a_shift_that_does_no_harm_trains_nothing_however_long_it_lasts(
    loop: Loop, capsys: pytest.CaptureFixture[str]
) -> None:
    """0.4.0 asked for a new model eight nights in a row, though the score stood."""
    calm = came(windows=2 + NIGHTS)
    shifted = [
        rows.having(temperature=rows.columns["temperature"] + 5) if place > 1 else rows
        for place, rows in enumerate(calm)
    ]
    loop.project.train.unlink()  # as in a cluster: columns are not compared together, for time
    for night in range(NIGHTS):
        log(loop.project, shifted[: 3 + night], UNDATED)
        assert main(["retrain", "--if-needed"]) == 0
        said = capsys.readouterr().out
        assert "not needed, for `ops monitor` decides: alert." in said
        assert "The score has not fallen, so train nothing." in said
