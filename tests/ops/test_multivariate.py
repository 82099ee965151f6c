"""All columns of a window at once: what no check of a single column sees, and what is no alarm."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from deliveries import CONTRACT, UNDATED, champion, column, frame, log
from my_model.ops.contract import Contract
from my_model.ops.monitoring import multivariate, run
from my_model.ops.monitoring.checks import Verdict
from my_model.ops.monitoring.windows import Window
from my_model.ops.settings import Accepted, Monitoring, Settings
from streams import draw

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.monitoring.reference import Reference
    from streams import Rows, Stream

ROWS = 300
"""Of a window."""
LIMITS = Monitoring()


@pytest.fixture(autouse=True)
def _few_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut the history into few windows, for the sake of time."""
    monkeypatch.setattr(multivariate, "PIECES", 6)


def stream(kind: str, change: str | None = None, **more: int) -> Stream:
    """Two windows, the second of them changed."""
    return draw(kind, change, 2, rows=ROWS, windows=2, since=1, **more)


def compared(
    root: Path,
    learnt: Rows,
    windows: list[Rows],
    contract: Contract = CONTRACT,
    limits: Monitoring = LIMITS,
) -> tuple[str, list[Verdict]]:
    """What is said of the windows, and their verdicts."""
    project, reference = champion(root, learnt, contract)
    log(project, windows, contract)
    verdicts = [verdict(reference, rows) for rows in windows]
    return multivariate.compare(project.served, reference, verdicts, limits), verdicts


def verdict(reference: Reference, rows: Rows) -> Verdict:
    first, last = (int(moment.astype("int64")) for moment in rows.time[[0, -1]])
    return Verdict(Window(reference, first - 1, last))


@pytest.mark.parametrize(("kind", "contract"), [("independent", UNDATED), ("seasonal", CONTRACT)])
def test_a_column_of_the_wrong_rows_is_found_and_named(
    tmp_path: Path, kind: str, contract: Contract
) -> None:
    told = stream(kind, "column permuted")
    said, (before, after) = compared(tmp_path, told.learnt, told.windows, contract)
    assert before.came == []
    (found,) = after.came
    assert (found.check, found.test) == ("multivariate", "domain classifier")
    assert found.column in ("minutes", "distance")
    assert found.windows == (multivariate.PIECES if contract is CONTRACT else 0)
    assert found.value > 0.2
    assert 0.04 <= found.limit < 0.1
    assert found.p < 1e-4
    assert "minutes" in found.sentence.partition("most of all by")[2]
    assert found.sentence.startswith(said.removeprefix("Columns taken together: ").rstrip("."))


def test_another_unit_in_a_tenth_of_the_rows_is_found_and_named(tmp_path: Path) -> None:
    """Too few rows for an AUC: at a tenth it is 0.55 where each of them is told without fail."""
    told = draw("independent", "unit changed in a tenth", 2, rows=1000, windows=2, since=1)
    _, (before, after) = compared(tmp_path, told.learnt, told.windows, UNDATED)
    assert before.came == []
    (found,) = after.came
    assert (found.check, found.column) == ("multivariate", "distance")
    assert 0.04 <= found.limit <= found.value < 0.1
    assert "of the rows look as 1% of training rows do" in found.sentence


def test_what_is_accepted_takes_no_part(tmp_path: Path) -> None:
    told = stream("independent", "column permuted")
    known = Monitoring(accepted={"minutes": Accepted({}, "joined anew", "1")})
    _, verdicts = compared(tmp_path, told.learnt, told.windows, UNDATED, known)
    assert not any(verdict.came for verdict in verdicts)


def test_what_is_like_the_history_is_told_in_one_fit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows of history, and those before the newest, cost nothing on a calm day."""
    fits: list[int] = []
    tell = multivariate._tell

    def counted(others: pl.DataFrame, now: pl.DataFrame) -> list[float]:
        fits.append(len(now))
        return tell(others, now)

    monkeypatch.setattr(multivariate, "_tell", counted)
    calm = stream("seasonal")
    said, verdicts = compared(tmp_path, calm.learnt, calm.windows)
    assert fits == [ROWS]
    assert not any(verdict.came for verdict in verdicts)
    assert said.startswith("Columns taken together: ")


def test_history_that_holds_such_windows_makes_them_no_alarm(tmp_path: Path) -> None:
    """The same column was in the wrong rows every other month of the history."""
    told = stream("seasonal", "column permuted")
    minutes, after = told.learnt.columns["minutes"].copy(), np.random.default_rng(1)
    for at in range(0, len(minutes), 2 * ROWS):
        minutes[at : at + ROWS] = after.permutation(minutes[at : at + ROWS])
    learnt = told.learnt.having(minutes=minutes)
    said, verdicts = compared(tmp_path, learnt, told.windows)
    assert not any(verdict.came for verdict in verdicts)
    assert float(said.partition("(")[2][:4]) > 0.6


def test_columns_that_tell_the_time_are_left_out(tmp_path: Path) -> None:
    calm = stream("seasonal")
    _, reference = champion(tmp_path, calm.learnt)
    columns = multivariate._compared(reference, LIMITS)
    both = [frame(rows).select(columns) for rows in (calm.learnt, calm.windows[0])]
    (_, now), *history = multivariate._pairs(reference, *both)
    assert now.columns == ["distance", "minutes", "area", "rain"]
    assert len(history) == multivariate.PIECES
    assert {len(rows) for _, rows in history} == {ROWS}


def test_rows_of_one_group_are_not_independent(tmp_path: Path) -> None:
    """Each client has habits, and the newest window has clients of its own: nothing changed."""
    after = np.random.default_rng(4)
    every = stream("independent")
    clients = len(every.learnt) // 20 + ROWS // 2
    habits = after.normal(size=(clients, 3))

    def with_clients(rows: Rows, who: np.ndarray) -> Rows:
        names = ("distance", "minutes", "temperature")
        values = habits[who].T + 0.01 * after.normal(size=(3, len(who)))
        more = dict(zip(names, values, strict=True)) | {"client": who.astype(str).astype(object)}
        return replace(rows, columns={**rows.columns, **more})

    learnt = with_clients(every.learnt, np.arange(len(every.learnt)) // 20)
    window = with_clients(every.windows[0], clients - 1 - np.arange(ROWS) // 2)
    grouped = Contract((*UNDATED.columns, column("client", "category", "String", role="group")))
    for contract, found in ((grouped, 0), (UNDATED, 1)):
        root = tmp_path / str(found)
        said, (judged,) = compared(root, learnt, [window], contract)
        assert len(judged.came) == found, said


@pytest.mark.parametrize("why", ["other rows", "no rows", "few rows", "no window", "one column"])
def test_without_what_it_takes_it_is_said(tmp_path: Path, why: str) -> None:
    told = stream("seasonal", "column permuted", history=1 if why == "few rows" else 12)
    contract = Contract((CONTRACT.columns[0], *CONTRACT.columns[-2:]))
    contract = contract if why == "one column" else CONTRACT
    project, reference = champion(tmp_path, told.learnt, contract)
    if why == "other rows":
        pl.read_parquet(project.holdout).head(9).write_parquet(project.holdout)
    if why == "no rows":
        project.train.unlink()
    log(project, [] if why == "no window" else told.windows, contract)
    verdicts = [verdict(reference, rows) for rows in told.windows]
    said = multivariate.compare(project.served, reference, verdicts, LIMITS)
    assert said == multivariate.NOT_DONE
    assert not any(verdict.came for verdict in verdicts)


def test_the_report_tells_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BUNDLE", raising=False)
    monkeypatch.delenv("PREDICTIONS", raising=False)
    told = stream("independent", "column permuted")
    project, reference = champion(tmp_path, told.learnt, UNDATED)
    log(project, told.windows, UNDATED)
    settings = Settings(monitoring=Monitoring(window=ROWS))
    report = run.look(project.served, reference, settings)
    assert report.together in report.markdown()
    assert report.together in json.dumps(report.to_dict())
    checks = {finding.check: finding.sentence for finding in report.judged[-1].came}
    assert checks["multivariate"] in report.outcome.reasons
