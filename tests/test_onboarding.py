"""The first hour, and the way to production: each page walked as its reader does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections import Counter, defaultdict
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING

import pytest
from cluster import balanced, cluster, free, load
from containers import ask, copy, image, parts, podman, registry, until
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
LOGGED = """
import json, pathlib
for path in pathlib.Path("/predictions/predictions").glob("*.jsonl"):
    for line in path.read_text().splitlines():
        print(json.loads(line)["id"])
"""


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
    assert re.search(r"minimum score: ROC AUC is 0\.\d+; at least 1\.000 is asked\.", refusal)
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
    ports = dict(zip(PORTS, map(str, free(len(PORTS))), strict=True))
    project = copy(sample, tmp_path / NAME, IMAGE="localhost/of-a-walk", **ports)
    overlay = project.root / "deploy/kubernetes/environments/production/kustomization.yaml"
    settings = overlay.read_text().replace("LOG_LEVEL=info", "DRAIN_SECONDS=5")
    overlay.write_text(settings)
    project.commit("Drain briefly", "--no-verify")
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
    pods = ",".join(map(str, free(4)))
    try:
        with (
            cluster(tmp_path / "cluster", project.environment["PATH"]) as variables,
            registry(tmp_path) as images,
        ):
            meant["registry.example.org"] = images
            insecure = str(tmp_path / "registries.conf")
            variables |= {"PORTS": pods, "CONTAINERS_REGISTRIES_CONF": insecure}
            yield Walker(project.root, {**project.environment, **variables}, meant)
    finally:
        project.run("make", "down")
        volumes = podman("volume", "ls", "--quiet", f"--filter=name={NAME}_")
        podman("volume", "rm", "--force", *volumes.split())


@contextmanager
def called(engineer: Walker, command: str, folder: Path) -> Iterator[list[str]]:
    """Callers of production's pods, the page's own among them; gives the ids that others get.

    In the end, each of them was answered whatever he asked.
    """
    pods = {int(port): 1 for port in engineer.environment["PORTS"].split(",")}
    row = json.loads((engineer.place / "row.json").read_text())
    with balanced(folder, pods) as balancer, load(balancer, row) as (statuses, ids):
        engineer.meant["my-model.example.org"] = balancer
        shell = ("bash", "-c", engineer.here(command))
        with subprocess.Popen(
            shell, cwd=engineer.place, env=engineer.environment, start_new_session=True
        ) as caller:
            try:
                until(lambda: len(ids) > 50)
                yield ids
                until(lambda: len(ids) > 500)
                assert caller.poll() is None, "a call was not answered"
            finally:
                if caller.poll() is None:
                    os.killpg(caller.pid, signal.SIGTERM)
    assert set(statuses) == {200}, statuses


def test_the_way_to_production_is_walked_as_written(engineer: Walker, tmp_path: Path) -> None:
    service, alertmanager = (
        f"http://127.0.0.1:{engineer.environment[port]}" for port in ("PORT", "ALERTMANAGER_PORT")
    )

    def answering(name: str, version: str) -> bool:
        status, said = ask(f"{service}/version")
        return status == 200 and said[name] == version

    said = defaultdict[str, list[str]](list)
    with ExitStack() as callers:
        for step in steps(PRODUCTION):
            if step.text.startswith("while "):
                ids = callers.enter_context(called(engineer, step.text, tmp_path))
                continue
            said[step.text].append(engineer.take(step))
            match step.text:
                case "make rollback ENVIRONMENT=production":
                    callers.close()
                case "curl localhost:8080/example > row.json":  # a shadow takes a second to come
                    until(partial(answering, "shadow_version", "2"))
                case 'uv run ops promote --reason "as good in the shadow"':
                    until(partial(answering, "model_version", "2"))
                case 'uv run ops rollback --reason "trying it before we need it"':
                    until(partial(answering, "model_version", "1"))
                case "make monitor":
                    status = ask(f"{alertmanager}/api/v2/status")
                    assert "https://example.org/alerts" in str(status)
    assert engineer.used == engineer.meant.keys()
    answers = (tmp_path / NAME / "answers.txt").read_text()
    assert set(re.findall(r'"model_version":"(\d)"', answers)) == {"1", "2"}
    asked = ids + re.findall(r'"prediction_id":"([^"]+)"', answers)
    mounted = f"--volume={engineer.environment['VOLUMES']}predictions:/predictions"
    command = ("--entrypoint=python", "localhost/of-a-walk", "-c", LOGGED)
    logged = Counter(podman("run", "--rm", mounted, *command).split())
    assert {logged[it] for it in asked} == {1}
    for told, version in zip(said["make deployed"], ("2", "1"), strict=True):
        assert f"as git says, ready: 2, version: {version}" in told
    state = (tmp_path / NAME / "deploy" / "state" / "production.yaml").read_text()
    assert "version: '1'" in state
    assert "rollback: true" in state
    assert '"model_version":"1"' in said["curl --json @row.json localhost:8080/predict"][-1]
    assert "trying it before we need it" in said["uv run ops history"][-1]
    assert "Decision: none" in said["make monitor"][-1]
    assert len(list((tmp_path / NAME / "data" / "served").rglob("*.jsonl"))) >= 2
    assert any((tmp_path / "shared").rglob("*"))
