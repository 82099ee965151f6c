"""The first hour, and the way to production: each page walked as its reader does."""

from __future__ import annotations

import os
import re
import socket
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import pytest
from containers import ask, copy, image, parts, podman, until
from project import Project
from render import ROOT, run
from servers import service, visit
from test_containers import PORTS
from walks import Walker, steps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_HOUR = ROOT / "docs" / "first-hour.md"
PRODUCTION = ROOT / "docs" / "production.md"
HOST = "git@git.example.org:ml/"
NAME = f"of-a-walk-{os.getpid()}"


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
            if step.text == "make setup":
                project.warm()

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


@pytest.fixture
def engineer(host: Path, sample: Project, tmp_path: Path) -> Iterator[Walker]:
    """Somebody with a clone of a trained project, and ports of their own; all is taken down."""
    with ExitStack() as probes:
        sockets = [probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in PORTS]
        free = [str(listening.getsockname()[1]) for listening in sockets]
    ports = dict(zip(PORTS, free, strict=True))
    project = copy(sample, tmp_path / NAME, IMAGE="localhost/of-a-walk", **ports)
    project.run("git", "remote", "add", "origin", str(host / "my-project.git"))
    project.run("git", "push", "--quiet", "--set-upstream", "origin", "HEAD:production")
    project.run("git", "config", "push.default", "upstream")
    for part in parts():
        image(part)
    meant = {
        "localhost:8080": f"localhost:{ports['PORT']}",
        "localhost:5000": f"localhost:{ports['REGISTRY_PORT']}",
        # There is no bucket here.
        "s3://bucket/folder": str(tmp_path / "shared"),
        # podman-compose cannot copy.
        "docker compose cp service:": f"podman cp {NAME}_service_1:",
    }
    try:
        yield Walker(project.root, dict(project.environment), meant)
    finally:
        project.run("make", "down")
        volumes = podman("volume", "ls", "--quiet", f"--filter=name={NAME}_")
        podman("volume", "rm", "--force", *volumes.split())


def test_the_way_to_production_is_walked_as_written(engineer: Walker, tmp_path: Path) -> None:
    service, alertmanager = (
        f"http://127.0.0.1:{engineer.environment[port]}" for port in ("PORT", "ALERTMANAGER_PORT")
    )

    def answering(name: str, version: str) -> bool:
        status, said = ask(f"{service}/version")
        return status == 200 and said[name] == version

    said: dict[str, str] = {}
    for step in steps(PRODUCTION):
        said[step.text] = engineer.take(step)
        match step.text:
            case "curl localhost:8080/example > row.json":  # a shadow takes a second to come
                until(partial(answering, "shadow_version", "2"))
            case 'uv run ops promote --reason "as good in the shadow"':
                until(partial(answering, "model_version", "2"))
            case 'uv run ops rollback --reason "trying it before we need it"':
                until(partial(answering, "model_version", "1"))
            case "make monitor":
                assert "https://example.org/alerts" in str(ask(f"{alertmanager}/api/v2/status")[1])
    assert engineer.used == engineer.meant.keys()
    assert '"model_version":"1"' in said["curl --json @row.json localhost:8080/predict"]
    assert "trying it before we need it" in said["uv run ops history"]
    assert "Decision: none" in said["make monitor"]
    assert len(list((tmp_path / NAME / "data" / "served").rglob("*.jsonl"))) >= 2
    assert any((tmp_path / "shared").rglob("*"))
