"""The rendered pipelines, run: every script of every job, each job in a clone of its own."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from project import Project, all_passed, keep_to
from servers import StandIn, stand_in
from workflows import GitHub, GitLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from workflows import Job


@pytest.fixture
def world() -> Iterator[StandIn]:
    """What lies outside the pipeline: a database of vulnerabilities, the host's interface."""
    with stand_in(StandIn()) as server:
        yield server


def clone(project: Project, folder: Path, environment: dict[str, str]) -> Project:
    """A clone with a proposed change on a branch, as a runner checks it out."""
    project.run("git", "clone", "--quiet", str(project.root), str(folder))
    copy = Project(folder, {**project.environment, **environment})
    copy.run("git", "switch", "--quiet", "--create", "change")
    keep_to(copy, "linear")
    copy.run("git", "commit", "--quiet", "--no-verify", "--all", "--message", "Train one model")
    return copy


def work(
    project: Project, jobs: list[Job], folder: Path, environment: dict[str, str]
) -> dict[str, str]:
    """Run the jobs one after the other, handing on what they leave for those that need them.

    Returns:
        What the last script of each job printed.
    """
    said = {}
    for job in jobs:
        root = folder / job.name
        if job.checkout:
            runner = clone(project, root, environment)
        else:
            root.mkdir()
            runner = Project(root, {**project.environment, **environment})
        for name in job.needs:
            shutil.copytree(folder / f"{name} artifacts", root, dirs_exist_ok=True)
        for step in job.steps:
            shell = Project(root, {**runner.environment, **step.variables})
            said[job.name] = shell.run("bash", "-eo", "pipefail", "-c", step.script)
        kept = folder / f"{job.name} artifacts"
        kept.mkdir()
        for pattern in job.artifacts:
            for path in root.glob(pattern.rstrip("/")):
                copy = shutil.copytree if path.is_dir() else shutil.copy2
                copy(path, kept / path.name)
    return said


def variables(project: Project, world: StandIn, environment: Path) -> dict[str, str]:
    """What a runner's machine gives every job; all jobs share one environment of Python."""
    return {
        "CI": "true",
        "UV_PROJECT_ENVIRONMENT": str(project.install(environment)),
        "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
        "PIP_AUDIT_OSV_URL": f"{world.address}/v1/query",
    }


def test_the_github_workflow_runs(sample: Project, world: StandIn, tmp_path: Path) -> None:
    summary = tmp_path / "summary.md"
    environment = variables(sample, world, tmp_path / "environment")
    environment["GITHUB_STEP_SUMMARY"] = str(summary)
    contexts = {
        "always()": "true",
        "github.event_name": "pull_request",
        "github.base_ref": "main",
        "github.ref_name": "change",
        "github.event.repository.default_branch": "main",
        "github.event.pull_request.head.repo.fork": "false",
    }
    jobs = list(GitHub(sample.root / ".github" / "workflows" / "ci.yml", contexts).jobs())
    said = work(sample, jobs, tmp_path, environment)
    assert list(said) == ["check", "test", "train", "audit"]
    assert all_passed(said["test"])
    assert "| ROC AUC |" in summary.read_text()
    assert list((tmp_path / "train artifacts" / "reports" / "plots").iterdir())
    assert any('"numpy"' in body for path, body in world.asked if path == "/v1/query")


@pytest.mark.exhaustive
def test_the_gitlab_pipeline_runs(
    trained: Callable[[str], Project], world: StandIn, tmp_path: Path
) -> None:
    project = trained("regression")
    environment = variables(project, world, tmp_path / "environment")
    cache = project.run("uv", "cache", "dir").strip()
    settings = {
        "CI_PIPELINE_SOURCE": "merge_request_event",
        "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
        "CI_API_V4_URL": world.address,
        "CI_PROJECT_ID": "7",
        "CI_MERGE_REQUEST_IID": "1",
        "REPORT_TOKEN": "a secret",
        "UV_CACHE_DIR": cache,
        "UV_LINK_MODE": "hardlink",
    }
    jobs = list(GitLab(project.root / ".gitlab-ci.yml", settings).jobs())
    said = work(project, jobs, tmp_path, environment)
    assert list(said) == ["check", "test", "audit", "train", "note"]
    assert all_passed(said["test"])
    notes = [body for path, body in world.asked if path.endswith("/merge_requests/1/notes")]
    assert len(notes) == 1
    assert "| R2 |" in notes[0] or "| R² |" in notes[0]
