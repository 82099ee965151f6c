"""Experiments of DVC, as the page on the pipeline has people type them."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import yaml
from copies import git, run
from my_model.ops.bundle import Bundle
from my_model.ops.files import read_json
from my_model.ops.registry import tracking
from render import ROOT
from walks import steps

if TYPE_CHECKING:
    from my_model.ops.project import Project


def test_an_experiment_is_run_shown_applied_and_registered(whole: Project) -> None:
    """Between its run and its return the project is as it was committed, without a model."""
    page = steps(ROOT / "template" / "docs" / "ops" / "pipeline.md")
    typed = [step.text.split()[2:] for step in page if step.section == "Experiments"]
    begin, show, back, register = typed

    def type_(*command: str) -> str:
        done = run(whole, *command)
        assert done.returncode == 0, done.stdout
        return done.stdout

    said = type_(*begin)
    assert "Running stage 'train'" in said
    assert "Stage 'split' didn't change, skipping" in said
    tried, score = Bundle(whole.bundle).digest, read_json(whole.reports / "metrics.json")
    git(whole, "checkout", "--", ".")
    shutil.rmtree(whole.bundle)
    shown = type_(*show, "--csv")
    (row,) = [line for line in shown.splitlines() if "smoother" in line]
    assert re.search(r"\b0\.1\b", row)
    assert str(score["roc_auc"]) in row

    type_(*back)
    assert Bundle(whole.bundle).digest == tried
    assert read_json(whole.reports / "metrics.json") == score
    params = yaml.safe_load(whole.params.read_text())
    assert params["train"]["linear"] == {"regularization": 0.1}
    type_(*register)
    with tracking.connected(whole) as store:
        newest = store.versions()[-1]
        assert (newest.digest, newest.number) == (tried, 2)
