"""The first hour, walked as its reader does."""

from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from containers import copy
from project import Project
from render import ROOT, run
from servers import service, visit
from walks import Walker, steps

if TYPE_CHECKING:
    from pathlib import Path

FIRST_HOUR = ROOT / "docs" / "first-hour.md"
HOST = "git@git.example.org:ml/"


@pytest.fixture(scope="module")
def host(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a team has: a trained project in a repository, and data and models in a shared place."""
    place = tmp_path_factory.mktemp("host")
    author = copy(sample, place / "author")
    author.run("uv", "run", "dvc", "remote", "modify", "storage", "url", str(place / "shared"))
    author.run("git", "commit", "--quiet", "--no-verify", "--all", "--message", "Share the data")
    author.run("make", "push")
    run("git", "clone", "--quiet", "--bare", author.root, place / "my-project.git", cwd=place)
    return place


def newcomer(host: Path, folder: Path, environment: dict[str, str]) -> Walker:
    """Somebody in an empty folder, who reaches the team's host."""
    settings = folder / "gitconfig"
    for name, value in {
        "user.name": "Grace Hopper",
        "user.email": "grace@example.org",
        f"url.{host}/.insteadOf": HOST,
    }.items():
        run("git", "config", "--file", settings, name, value, cwd=folder)
    (folder / "work").mkdir()
    return Walker(folder / "work", {**environment, "GIT_CONFIG_GLOBAL": str(settings)})


def test_the_first_hour_is_walked_as_written(host: Path, sample: Project, tmp_path: Path) -> None:
    walker = newcomer(host, tmp_path, dict(sample.environment))
    said: dict[str, list[str]] = {}
    with ExitStack() as terminals:
        for step in steps(FIRST_HOUR):
            project = Project(walker.place, walker.environment)
            told = said.setdefault(f"{step.section}: {step.text}", [])
            if step.text == "make ui":
                assert "MLflow" in visit(project, step.text)
            elif step.text == "make serve":
                log = tmp_path / "service.log"
                served = terminals.enter_context(
                    service(("make", "serve"), project.root, log, project.environment)
                )
                walker.meant["localhost:8080"] = f"localhost:{served.port}"
            else:
                refused = (step.section, step.text) == ("Meet a gate", "make train") and not told
                told.append(walker.take(step, code=2 if refused else 0))

    (first,) = said["Get the project: make train"]
    assert "Running stage" not in first
    assert "Version 1 (champion)" in first
    (second,) = said["Change a feature: make train"]
    assert "Running stage 'split'" not in second
    assert "Version 2 (champion)" in second
    assert "| ROC AUC |" in said["Change a feature: make report"][0]
    (scored,) = said["Score a file: uv run ops score data/holdout.parquet scores.csv"]
    assert "108 of 108 rows" in scored
    (answered,) = said["Score a file: curl --json @row.json localhost:8080/predict"]
    assert '"model_version":"2"' in answered
    refusal, _ = said["Meet a gate: make train"]
    assert re.search(r"minimum score: ROC AUC is 0\.\d+; at least 0\.999 is asked\.", refusal)
    assert refusal.splitlines()[-1].endswith("Error 3")
    versions = walker.type("uv run ops history")
    assert re.search(r"^2 .* champion ", versions, re.MULTILINE)
    assert re.search(r"^3 .* refused ", versions, re.MULTILINE)

    bare = host / "my-project.git"
    changed = run("git", "diff", "--name-only", "main", "roundness", cwd=bare).split()
    source = "src/my_model/ml/features.py"
    assert {"dvc.lock", "reports/gates.json", "reports/metrics.json", source} == set(changed)
    run("git", "clone", "--quiet", "--branch", "roundness", bare, "review", cwd=tmp_path)
    installed = {"UV_PROJECT_ENVIRONMENT": str(walker.place / ".venv"), "UV_NO_SYNC": "1"}
    pull = ("uv", "run", "dvc", "pull", "evaluate")
    run(*pull, cwd=tmp_path / "review", env={**walker.environment, **installed})
