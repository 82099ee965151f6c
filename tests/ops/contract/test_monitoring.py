"""`ops monitor`: nothing to do, a fault upstream, and a score that asks for a new model."""

import json
import shutil
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from my_model.ops.bundle import Bundle
from my_model.ops.cli import main
from my_model.ops.contract import FOLD, Contract
from my_model.ops.files import read_json
from my_model.ops.project import Project

WINDOW = 200


@pytest.fixture
def served(project: Project) -> Project:
    """The trained project, its model in service, judged by small windows."""
    shutil.copytree(project.bundle, project.champion)
    parameters = json.loads(project.params.read_text(encoding="utf-8"))
    parameters["monitoring"] = {"window": WINDOW}
    project.params.write_text(json.dumps(parameters), encoding="utf-8")
    return project


def serve(project: Project, contract: Contract, rows: int, lost: int = 0, wrong: int = 0) -> None:
    """Log rows like those of the training with their truth.

    The last ones come without any value, or with the truth of others.
    """
    known = pl.concat([pl.read_parquet(project.train).drop(FOLD), pl.read_parquet(project.holdout)])
    draw = np.random.default_rng(3)
    frame = known[draw.integers(0, len(known), rows).tolist()]
    bundle = Bundle(project.champion)
    said = bundle.predict(contract.arrays(frame))
    truths = frame[contract.target.name].to_list()
    version, start = bundle.origin.version, datetime.now(UTC) - timedelta(seconds=rows)
    lines: dict[str, list[str]] = {"predictions": [], "feedback": []}
    for place, row in enumerate(frame.to_dicts()):
        head = {
            "id": draw.bytes(12).hex(),
            "time": (start + timedelta(seconds=place)).isoformat(),
        }
        del row[contract.target.name]
        other = place if place < rows - wrong else 2 * rows - wrong - 1 - place
        inputs = dict.fromkeys(row) if place >= rows - lost else row
        answer = said.values[place].item()
        line = {**head, "version": version, "inputs": inputs, "prediction": answer}
        if said.probabilities is not None:
            line["prediction"] = (contract.target.choices or ())[answer]
            chances = said.probabilities[place].tolist()
            line["probabilities"] = dict(zip(contract.classes, chances, strict=True))
        lines["predictions"].append(json.dumps(line, default=str))
        lines["feedback"].append(json.dumps({**head, "truth": truths[other]}))
    for name, written in lines.items():
        folder = project.served / name
        folder.mkdir(parents=True)
        (folder / "all.jsonl").write_text("\n".join(written) + "\n", encoding="utf-8")


def test_rows_like_those_of_the_training_ask_for_nothing(
    served: Project, contract: Contract
) -> None:
    serve(served, contract, 4 * WINDOW + 1)
    assert main(["monitor"]) == 0
    found = read_json(served.served / "monitoring" / "monitoring.json")
    assert found["decision"] == "none"
    assert [window["rows"] for window in found["windows"]] == [WINDOW] * 4 + [1]
    assert all(window["labelled"] == window["rows"] for window in found["windows"])


@pytest.mark.parametrize(
    ("change", "decision", "code", "action"),
    [("lost", "alert", 4, "Look upstream: 100.0% of "), ("wrong", "retrain", 5, "Train a new ")],
)
def test_a_fault_is_looked_for_upstream_and_a_fallen_score_asks_for_a_new_model(
    served: Project, contract: Contract, change: str, decision: str, code: int, action: str
) -> None:
    serve(served, contract, 4 * WINDOW, **{change: 2 * WINDOW})
    with pytest.raises(SystemExit) as ended:
        main(["monitor", "--exit-code"])
    assert ended.value.code == code
    folder = served.served / "monitoring"
    found = read_json(folder / "monitoring.json")
    assert [window["violated"] for window in found["windows"]] == [False, False, True, True, False]
    assert f'monitor_decision{{decision="{decision}"}} 1.0' in (folder / "metrics.prom").read_text()
    assert f"Decision: {decision}." in (folder / "report.html").read_text(encoding="utf-8")
    (first, *_) = (folder / "summary.md").read_text(encoding="utf-8").splitlines()
    assert first.startswith(f"## {action}")


def test_without_a_log_there_is_nothing_to_do(
    served: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["monitor"]) == 0
    assert "There are no requests." in capsys.readouterr().out
    assert read_json(served.served / "monitoring" / "monitoring.json")["windows"] == []


def test_without_a_champion_there_is_nothing_to_compare_with(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["monitor"]) == 2
    assert "make train" in capsys.readouterr().err
