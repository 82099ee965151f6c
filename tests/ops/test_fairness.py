"""Groups that must not be worse off: found by name, measured, gated, shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from copies import set_params
from my_model.ops.bundle import Prediction
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates, metrics, slices
from my_model.ops.files import read_json
from my_model.ops.pipeline import evaluate
from sklearn.metrics import accuracy_score

if TYPE_CHECKING:
    from my_model.ops.project import Project

ACCURACY, RMSE = metrics.find("accuracy"), metrics.find("rmse")
ROWS = 2_000
FRAME = pl.DataFrame(
    {
        "age": [None, *(n % 90 for n in range(1, ROWS))],
        "sex": ["f" if n % 3 else "m" for n in range(ROWS)],
        "pay 2": np.linspace(0, 1, ROWS),
    }
)


def said(wrong: np.ndarray) -> tuple[np.ndarray, Prediction]:
    """Truth of two classes, and answers that are wrong in some rows."""
    truth = np.arange(ROWS) % 2
    answers = np.where(wrong, 1 - truth, truth)
    return truth, Prediction(answers, np.eye(2, dtype=np.float32)[answers])


def test_a_group_is_a_condition_or_the_values_of_a_column() -> None:
    declared = {"old": "age >= 65", "rich men": "\"pay 2\" > 0.5 AND sex = 'm'", "sex": "sex"}
    found = slices.groups(declared, FRAME)
    assert [*found] == ["old", "rich men", "sex f", "sex m"]
    assert found["old"].sum() == FRAME.filter(pl.col("age") >= 65).height
    assert found["rich men"].sum() == FRAME.filter(pl.col("pay 2") > 0.5, sex="m").height
    assert (found["sex f"] == ~found["sex m"]).all()
    assert [*slices.groups(declared, FRAME.clear())] == ["old", "rich men", "sex"]


@pytest.mark.parametrize("told", ["age >", "wage > 1", "sex > 3", "SELECT 1", ""])
def test_what_is_no_condition_is_told_in_a_sentence(told: str) -> None:
    with pytest.raises(UserError, match=r"params\.yaml: gates\.groups\.old is "):
        slices.groups({"old": told}, FRAME)


def test_each_group_is_measured_beside_all_others() -> None:
    old = slices.groups({"old": "age >= 65"}, FRAME)
    inside = old["old"]
    truth, answers = said(inside & (np.arange(ROWS) % 4 == 0))
    (record,) = slices.beside_others(old, ACCURACY, truth, answers, 7, None, np.ones(ROWS))
    score = accuracy_score(truth[inside], answers.values[inside])
    assert (record["rows"], record["score"]) == (inside.sum(), pytest.approx(score, abs=1e-6))
    assert (record["others"], record["gap"]) == (1.0, pytest.approx(1 - score, abs=1e-6))
    spread = np.sqrt(score * (1 - score) / inside.sum())
    assert record["deviation"] == pytest.approx(spread, rel=0.15)
    assert record["gap interval"][0] < record["gap"] < record["gap interval"][1]
    weights = np.where(answers.values == truth, 1.0, 0.0)
    (same,) = slices.beside_others(old, ACCURACY, truth, answers, 7, None, weights)
    assert (same["score"], same["gap"]) == (1.0, 0.0)


def test_a_group_that_is_worse_off_is_refused_and_chance_is_not() -> None:
    groups, draw = (
        slices.groups({"old": "age >= 65", "sex": "sex"}, FRAME),
        np.random.default_rng(0),
    )
    verdicts = []
    for harm in (0.0, 0.3):
        chance = np.where(groups["old"], 0.1 + harm, 0.1)
        truth, answers = said(draw.random(ROWS) < chance)
        measured = slices.beside_others(groups, ACCURACY, truth, answers, 7, None, np.ones(ROWS))
        verdicts.append(gates.fairness(ACCURACY, measured, 0.05))
    fair, unfair = verdicts
    assert (fair.passed, unfair.passed) == (True, False)
    assert unfair.reason.startswith(
        "Of 3 groups the furthest behind is old (550 rows): accuracy 0."
    )
    assert "of all other rows: worse by 0.2" in unfair.reason
    assert unfair.reason.endswith("with 95% confidence; 0.050 is allowed.")


def test_of_a_loss_the_gap_is_a_share_of_it() -> None:
    truth = np.zeros(ROWS)
    rows = slices.groups({"men": "sex = 'm'"}, FRAME)
    answers = Prediction(np.where(rows["men"], 2.0, 1.0).astype(np.float32), None)
    measured = slices.beside_others(rows, RMSE, truth, answers, 7, None, np.ones(ROWS))
    assert measured[0]["gap"] == 0.5
    gate = gates.fairness(RMSE, measured, 0.05)
    assert (gate.passed, gate.value) == (False, 0.5)
    assert "2.000 against 1.000 of all other rows: worse by 50.0%" in gate.reason


@pytest.mark.parametrize("told", ["age > 200", "age IS NULL", "1 = 1", '"pay 2"'])
def test_a_group_of_which_nothing_can_be_said_is_refused(told: str) -> None:
    truth, answers = said(np.zeros(ROWS, dtype=bool))
    rows = slices.groups({"some": told}, FRAME)
    measured = slices.beside_others(rows, ACCURACY, truth, answers, 7, None, np.ones(ROWS))
    gate = gates.fairness(ACCURACY, measured, 0.05)
    assert not gate.passed
    assert gate.reason.startswith("Too little is known of some (")


def test_evaluation_judges_them_by_name(whole: Project) -> None:
    set_params(whole, "gates", groups={"large": '"mean radius" > 15'}, group_gap=-1)
    evaluate.run(whole)
    (record,) = read_json(whole.reports / "findings" / "groups.json")
    gate = read_json(whole.reports / "gates.json")["fairness"]
    assert (gate["passed"], gate["value"]) == (False, record["gap"])
    card = (whole.reports / "cards" / "model.md").read_text()
    row = f"| `large` | {record['rows']} | {record['score']:.3f} |"
    assert row in card.partition("## Who must not be worse off")[2]
