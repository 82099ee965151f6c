"""What things cost: measured by the stages, kept by the run, told at one's own prices."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING

import polars as pl
import pytest
from copies import answer, client, ops, run, set_params
from my_model.ops.files import read_json
from my_model.ops.wording import number

if TYPE_CHECKING:
    from my_model.ops.project import Project

STAGES = {"ingest", "validate", "split", "train", "evaluate"}


def cells(told: str, name: str) -> list[str]:
    """What a line of the table says after its name."""
    (line,) = (its for its in told.splitlines() if its.startswith(name))
    return re.split(r"\s{2,}", line)[1:]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows does not tell what a process took")
def test_what_a_training_takes_is_kept_and_told_beside_the_version_before(whole: Project) -> None:
    notes = whole.root / ".dvc" / "tmp" / "costs"
    took = {path.stem: read_json(path) for path in notes.glob("*.json")}
    assert took.keys() == STAGES
    seconds = sum(its["cost.processor_seconds"] for its in took.values())
    peak = max(its["cost.peak_bytes"] for its in took.values())
    set_params(whole, "train", linear={"regularization": 0.5})
    set_params(whole, "costs", currency="CHF", processor_hour=3600, gigabyte_month=1e9, watts=1000)
    assert run(whole, "dvc", "repro").returncode == 0
    ops(whole, "register")
    first, second = (
        client(whole).get_run(client(whole).get_model_version(whole.name, its).run_id)
        for its in ("1", "2")
    )
    assert first.data.metrics["cost.processor_seconds"] == pytest.approx(seconds)
    assert first.data.metrics["cost.peak_bytes"] == peak
    assert 1e4 < first.data.metrics["cost.stored_bytes"] < 1e8
    answer(whole, pl.DataFrame({"x": range(1000)}))
    (log,) = (whole.served / "predictions").glob("*.jsonl")

    told = ops(whole, "costs")

    new, old, change = cells(told, "a training: processor seconds")
    assert float(old) == pytest.approx(seconds, abs=0.001)
    assert float(new) == pytest.approx(second.data.metrics["cost.processor_seconds"], abs=0.001)
    assert change.endswith("%")
    assert cells(told, "a training: CHF")[:2] == [new, old]  # an hour costs 3600
    kilowatts = [float(its) for its in cells(told, "a training: kWh at 1000 watts")[:2]]
    assert kilowatts == pytest.approx([float(new) / 3600, float(old) / 3600], abs=0.001)
    latency = second.data.metrics["gate.latency"]
    answers = cells(told, "a million answers: processor seconds")[0]
    assert float(answers.replace(",", "")) == pytest.approx(1000 * latency + 200, rel=0.01)
    size = 30.4 * log.stat().st_size  # of one day
    assert (
        f"A month of the log: {number(size / 1e9)} GB, {number(size)} CHF for each month it" in told
    )


def test_a_version_of_which_less_is_known_is_told_of_as_well(project: Project) -> None:
    set_params(project, "costs", currency="USD")
    told = ops(project, "costs")
    assert cells(told, "a training: USD") == ["undefined", "-"]
    assert float(cells(told, "data and model: GB")[0]) > 0
