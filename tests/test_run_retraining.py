"""Continuous training, run: each job of each host's pipeline, in a clone, as a story goes.

A team's project lies in a bare repository, its data in a DVC remote on disk, its models in a store
of MLflow that all clones share; the host's interface is a stand-in. The service answers rows, the
rows change, truth arrives, and what the pipeline proposes is merged.
"""

from __future__ import annotations

import json
import random
import re
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from hosted import Hosted, World, runner
from project import Project, copy_tree, keep_to
from servers import service, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from render import Template

Row = dict[str, Any]

ROWS = """
import json
from pathlib import Path
from my_model.ml import source
print(json.dumps(source.load(Path()).collect().to_dicts()))
"""
WINDOWS = 3
WINDOW = 1000
TARGET = "diagnosis"
COARSE = 24.0
"""The texture beyond which a tumour is unclear, once somebody says so."""
BRANCH = "ops/retrain"
HOSTS = ["github", pytest.param("gitlab", marks=pytest.mark.exhaustive)]


@dataclass(frozen=True)
class Story(Hosted):
    """A team whose models lie in one registry."""

    def champion(self) -> int:
        """The version that the registry calls champion."""
        environment = {**self.variables, "MLFLOW_TRACKING_URI": registry(self.folder)}
        history = Project(self.clones[0], environment).versions()
        found = re.search(r"^(\d+) .*champion", history, re.MULTILINE)
        assert found, history
        return int(found[1])


def registry(folder: Path) -> str:
    """Where the team's models are registered."""
    return f"sqlite:///{folder}/mlflow.db"


@pytest.fixture(scope="module")
def rows(sample: Project) -> list[Row]:
    """Enough rows for some windows, drawn from those of the sample."""
    said = sample.run("uv", "run", "python", "-c", ROWS)
    return random.Random(7).choices(json.loads(said), k=WINDOWS * WINDOW)


@pytest.fixture(scope="module")
def python(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The environment that all jobs share."""
    return sample.install(tmp_path_factory.mktemp("runner") / "python")


@pytest.fixture(scope="module")
def team(sample: Project, python: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The sample as a team has it that keeps to one model."""
    root = copy_tree(sample.root, tmp_path_factory.mktemp("team") / "desk")
    desk = Project(root, {**sample.environment, "UV_PROJECT_ENVIRONMENT": str(python)})
    keep_to(desk, "boosting")
    desk.run("uv", "run", "dvc", "repro")
    desk.commit("Train one model", "--no-verify")
    return desk


@pytest.fixture(params=["github", "gitlab"])
def story(
    request: pytest.FixtureRequest,
    team: Project,
    template: Template,
    python: Path,
    tmp_path: Path,
) -> Iterator[Story]:
    """The team's project on a host, with a remote, pushed, before any pipeline ran."""
    root = copy_tree(team.root, tmp_path / "desk")
    desk = Project(root, team.environment)
    if request.param == "gitlab":
        for folder in (".github", "src/my_model/ops"):
            shutil.rmtree(root / folder)
        answers = {"ci": "gitlab", "package_name": "my_model", "python_version": "3.12"}
        other = template.render(tmp_path / "other", answers)
        shutil.copyfile(other / ".gitlab-ci.yml", root / ".gitlab-ci.yml")
        for folder in (".gitlab", "src/my_model/ops"):
            shutil.copytree(other / folder, root / folder)
    storage = str(tmp_path / "storage")
    desk.run("uv", "run", "dvc", "remote", "modify", "storage", "url", storage)
    desk.run("uv", "run", "dvc", "push")
    desk.commit("Share the data", "--no-verify")
    with stand_in(World()) as world:
        bare = tmp_path / "remotes" / "ada" / "model.git"
        desk.run("git", "clone", "--quiet", "--bare", str(root), str(bare))
        settings = {
            "LOG_URL": str(tmp_path / "served"),
            "MLFLOW_TRACKING_URI": registry(tmp_path),
            "RETRAIN_TOKEN": "a secret",
        }
        variables = runner(desk, tmp_path, world, python)
        yield Story(request.param, "retrain", tmp_path, variables, world, settings)


def answer(project: Project, folder: Path, rows: list[Row], shift: float, label: str) -> None:
    """Let the champion of a clone answer rows, then tell it the truth.

    Args:
        project: the clone.
        folder: where the log goes, and what the service says.
        rows: with the target, in the sample's terms.
        shift: how far every number moves, by its largest; with 0.0 the world is as it was. (A
            factor would look like a new unit, for which nothing is trained.)
        label: what some rows turn out to be, if it is not empty.
    """
    variables = {**project.environment, "PREDICTIONS": str(folder / "served")}
    far = {name: shift * max(row[name] for row in rows) for name in rows[0] if name != TARGET}
    with service(("uv", "run", "ops", "serve"), project.root, folder / "said", variables) as served:
        for start in range(0, len(rows), WINDOW):
            asked = rows[start : start + WINDOW]
            inputs = [
                {name: value + far[name] for name, value in row.items() if name != TARGET}
                for row in asked
            ]
            told = [
                {
                    "prediction_id": answered["prediction_id"],
                    "truth": label if label and row["mean texture"] > COARSE else row[TARGET],
                }
                for answered, row in zip(served.ask("/predict", inputs).body, asked, strict=True)
            ]
            assert served.ask("/feedback", told).status == 202
        assert served.end() == 0


@pytest.mark.parametrize("story", HOSTS, indirect=True)
def test_what_drifts_is_learnt_proposed_merged_and_served(story: Story, rows: list[Row]) -> None:
    """One host's team leaves it to the schedule; the other declares a new diagnosis by hand."""
    declared = "" if story.host == "github" else "unclear"
    promote = story.jobs("push")["promote"]
    clone, _ = story.work(promote)
    assert story.champion() == 1
    answer(clone, story.folder, rows, 0.5, declared)

    retrain = story.jobs("workflow_dispatch" if declared else "schedule")["retrain"]
    by_hand = {"ALWAYS": "true", "DECLARE": f"{TARGET}={declared}"} if declared else {}
    clone, _ = story.work(retrain, **by_hand)
    assert story.champion() == 1
    assert story.git("rev-parse", f"{BRANCH}^") == story.git("rev-parse", "main")
    assert story.git("log", "-1", "--format=%an", BRANCH) == "ada\n"
    changed = set(story.git("diff", "--name-only", "main", BRANCH).split())
    reports = ("gates", "metrics", "validation")
    expected = {"dvc.lock", *(f"reports/{name}.json" for name in reports)}
    (data, *schema) = sorted(changed - expected)
    assert expected < changed
    assert re.fullmatch(r"data/labelled/.+\.parquet\.dvc", data)
    assert schema == (["src/my_model/ml/schema.py"] if declared else [])

    (proposal,) = story.world.proposals
    text = proposal.get("body") or proposal["description"]
    assert "Version 2 " in text
    told = [
        "| champion regression | passed |",
        "Decision: retrain",
        "| ROC AUC | ",
        "| worst slice | passed |",
        "```mermaid",
        "<summary>Model card</summary>",
        "## How to reproduce it",
    ]
    assert [part for part in told if part not in text] == []
    assert "](" not in text

    # the same again: the open one is written anew
    Project(clone.root, {**clone.environment, **retrain.steps[-1].variables}).run("make", "propose")
    assert story.world.methods == ["POST", "PATCH" if story.host == "github" else "PUT"]
    assert story.world.proposals[1]["title"] == proposal["title"]

    story.git("update-ref", "refs/heads/main", BRANCH)  # what a merge without more commits does
    story.work(promote)
    assert story.champion() == 2

    # a merge that is reverted is undone
    clone = story.clone()
    clone.run("git", "fetch", "--quiet", "--depth=2", "origin", "main")
    clone.run("git", "switch", "--quiet", "--create", "revert")
    clone.run("git", "revert", "--no-edit", "HEAD")
    clone.run("git", "push", "--quiet", "origin", "HEAD:main")
    story.work(promote)
    assert story.champion() == 1


@pytest.mark.parametrize("story", HOSTS, indirect=True)
def test_what_does_not_drift_changes_nothing(story: Story, rows: list[Row]) -> None:
    clone, _ = story.work(story.jobs("push")["promote"])
    answer(clone, story.folder, rows, 0.0, "")
    _, said = story.work(story.jobs("schedule")["retrain"])
    assert "nothing to propose" in said
    assert story.world.proposals == []
    assert BRANCH not in story.git("branch", "--list")


def test_a_failure_opens_one_issue(story: Story) -> None:
    """Here there is no log to fetch."""
    with pytest.raises(AssertionError, match=r"make: \*\*\* .*: log\]"):
        story.work(story.jobs("schedule")["retrain"])
    by_hand = story.jobs("workflow_dispatch")["retrain"]
    for name in ("LOG_URL", "MLFLOW_TRACKING_URI"):
        with pytest.raises(AssertionError, match=f"{name} is not set: let it be "):
            story.work(by_hand, **{name: ""})
    notify = story.jobs("schedule", failed=True)["notify"]
    assert not notify.checkout
    for _ in range(2):
        story.work(notify)
    (issue,) = story.world.issues
    assert "Retraining failed" in issue
    assert "https://example.org/" in issue
