"""Deployments of real images, on a machine that stands in for a cluster."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from containers import ask, copy, podman, ready, rows, until
from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import Project

IMAGE = "localhost/of-a-deployment"
NAMES = {
    "first": "",
    "second": "LABEL second=true",
    "bad": 'ENTRYPOINT ["false"]',
}
"""Images, each by what it has beside that of `make image`."""
LOGGED = """
import json, pathlib
for path in pathlib.Path("/predictions/predictions").glob("*.jsonl"):
    for line in path.read_text().splitlines():
        print(json.loads(line)["id"])
"""
BALANCER = """
global
    maxconn 500
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout check 5s
listen service
    bind 127.0.0.1:{port}
    option httpchk GET /ready
    default-server check inter 1s fall 2 rise 1
"""
"""What stands for a Service: it asks who is ready, and tries nothing twice."""
WORKERS = 4


def free(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as probes:
        sockets = [
            probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [listening.getsockname()[1] for listening in sockets]


@pytest.fixture(scope="module")
def project(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project with a cluster, whose pods need not drain for long."""
    folder = tmp_path_factory.mktemp("deployment")
    cluster, tools = folder / "cluster", folder / "bin"
    cluster.mkdir()
    tools.mkdir()
    launcher = f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/stand-ins/kubectl.py "$@"\n'
    (tools / "kubectl").write_text(launcher)
    (tools / "kubectl").chmod(0o755)
    path = os.pathsep.join([str(tools), sample.environment["PATH"]])
    real = str(Path(sys.executable).with_name("kubectl"))
    variables = {"IMAGE": IMAGE, "CLUSTER": str(cluster), "KUBECTL": real, "PATH": path}
    project = copy(sample, folder / "project", **variables)
    for file in project.root.glob("deploy/kubernetes/environments/*/kustomization.yaml"):
        said = file.read_text()
        file.write_text(
            said.replace("LOG_LEVEL=info\n", "LOG_LEVEL=info\n      - DRAIN_SECONDS=5\n")
        )
    demand(project, seconds=2, p95_ms=60_000)
    project.commit("Drain briefly, and bear little")
    project.run("make", "image")
    try:
        yield project
    finally:
        for played in cluster.glob("*/*.json"):
            podman("pod", "rm", "--force", "--time=0", played.stem)
        podman("volume", "rm", "--force", "predictions", "temporary")


@pytest.fixture(scope="module")
def images(project: Project) -> dict[str, str]:
    """Each image by its digest."""
    for name, more in NAMES.items():
        file = project.root.parent / name
        file.write_text(f"FROM {IMAGE}\n{more}\n")
        podman("build", "--quiet", "--format=docker", f"--file={file}", f"--tag={IMAGE}-{name}")
    digests = {
        name: podman("image", "inspect", "--format={{.Digest}}", f"{IMAGE}-{name}")
        for name in NAMES
    }
    assert len({*digests.values()}) == len(NAMES)
    return {name: f"{IMAGE}-{name}@{digest}" for name, digest in digests.items()}


def demand(project: Project, **limits: float) -> None:
    """Let staging bear something else."""
    file = project.root / "deploy" / "load.yaml"
    asked = yaml.safe_load(file.read_text())
    asked["staging"] |= limits
    file.write_text(yaml.safe_dump(asked))


def state(project: Project, environment: str) -> dict[str, Any]:
    """What git holds of an environment."""
    name = f"deploy/state/{environment}.yaml"
    found: dict[str, Any] = yaml.safe_load(project.run("git", "show", f"HEAD:{name}"))
    return found


def told(project: Project) -> dict[str, str]:
    """What `make deployed` says, by environment."""
    lines = project.run("make", "deployed").splitlines()
    return dict(line.split(maxsplit=1) for line in lines)


@contextmanager
def balanced(folder: Path, ports: list[int]) -> Iterator[str]:
    """HAProxy in front of whatever listens on these ports; gives its address."""
    (port,) = free(1)
    servers = "".join(f"    server at-{it} 127.0.0.1:{it}\n" for it in ports)
    settings = folder / "haproxy.cfg"
    settings.write_text(BALANCER.format(port=port) + servers)
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "install haproxy"
    with subprocess.Popen([found, "-f", settings], stderr=subprocess.DEVNULL) as balancer:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            balancer.terminate()


@contextmanager
def load(address: str, row: object) -> Iterator[tuple[Counter[int], list[str]]]:
    """Callers who ask again and again; gives how they were answered, and the ids that they got."""
    statuses: Counter[int] = Counter()
    ids: list[str] = []
    enough = Event()

    def call() -> None:
        while not enough.is_set():
            status, answer = ask(f"{address}/predict", row)
            statuses[status] += 1
            if status == 200:
                ids.append(answer["prediction_id"])

    with ThreadPoolExecutor(WORKERS) as callers:
        asked = [callers.submit(call) for _ in range(WORKERS)]
        try:
            yield statuses, ids
        finally:
            enough.set()
    for each in asked:
        each.result()


def test_a_change_goes_from_one_environment_to_the_next_and_back(
    project: Project, images: dict[str, str]
) -> None:
    """The first to dev, the second to dev and staging, a bad one to dev, production back."""
    assert told(project) == dict.fromkeys(
        ("canary", "dev", "production", "staging"), "nothing was deployed"
    )
    said = project.refuse("make", "deploy", "ENVIRONMENT=dev", code=2)
    assert "It is not said which image: DIGEST=registry/name@sha256:... names one." in said
    said = project.refuse("make", "deploy", "ENVIRONMENT=staging", "FROM=dev", code=2)
    assert "Nothing was deployed to dev yet." in said
    for name in ("first", "second"):
        project.run("make", "deploy", "ENVIRONMENT=dev", f"DIGEST={images[name]}")
        assert state(project, "dev")["image"] == images[name]
    said = project.run("make", "deploy", "ENVIRONMENT=staging", "FROM=dev")
    assert re.search(r"staging: [\d,]+ answers in 2 s, 0 lost, p95 [\d,]+ ms", said)
    assert state(project, "staging").items() >= {"image": images["second"], "model": 1}.items()

    bad = ("--image", images["bad"], "--seconds", "5")
    said = project.refuse("uv", "run", "ops", "deploy", "dev", *bad, code=3)
    assert "dev runs" in said
    assert "exceeded its progress deadline" in said
    assert state(project, "dev")["image"] == images["second"]

    demand(project, seconds=1, p95_ms=0.001)
    project.commit("Bear nothing")
    to_staging = ("make", "deploy", "ENVIRONMENT=staging")
    said = project.refuse(*to_staging, f"DIGEST={images['first']}", code=2)
    assert "deploy/load.yaml allows for 0 lost and 0.001 ms; staging runs" in said
    assert state(project, "staging")["image"] == images["second"]
    demand(project, seconds=1, p95_ms=60_000)
    project.commit("Bear a little")

    lines = told(project)
    assert lines["production"] == "nothing was deployed"
    for name in ("dev", "staging"):
        shown = images["second"].split("sha256:")[1][:12]
        assert shown in lines[name]
        pods = {"dev": 1, "staging": 2}[name]
        assert lines[name].endswith(f"as git says, ready: {pods}, version: 1"), lines[name]


def test_production_is_replaced_under_load_and_goes_back(
    project: Project, images: dict[str, str], tmp_path: Path
) -> None:
    """Two pods, one after the other: every call is answered, and every answer is logged."""
    ports = free(4)
    place = f"PORTS={','.join(map(str, ports))}"
    first, second = (f"DIGEST={images[name]}" for name in ("first", "second"))
    project.run("make", "deploy", "ENVIRONMENT=production", first, place)
    (row,) = rows(project, 1)
    with balanced(tmp_path, ports) as service:
        # Until its first checks, it takes ports for pods that are not there yet.
        until(lambda: all(ready(service) for _ in range(20)))
        with load(service, row) as (statuses, ids):
            until(lambda: len(ids) > 50)
            project.run("make", "deploy", "ENVIRONMENT=production", second, place)
            until(lambda: len(ids) > 500)
    assert set(statuses) == {200}, statuses
    assert told(project)["production"].endswith("as git says, ready: 2, version: 1")

    project.run("make", "rollback", "ENVIRONMENT=production", place)
    assert (
        state(project, "production").items() >= {"image": images["first"], "rollback": True}.items()
    )
    assert told(project)["production"].endswith("as git says, ready: 2, version: 1")
    once_more = ("make", "rollback", "ENVIRONMENT=production")
    assert "git knows of nothing" in project.refuse(*once_more, code=2)

    mounted = ("--volume=predictions:/predictions", "--entrypoint=python")
    logged = Counter(podman("run", "--rm", *mounted, f"{IMAGE}-first", "-c", LOGGED).split())
    assert {logged[it] for it in ids} == {1}


def test_what_runs_beside_git_is_told(project: Project, images: dict[str, str]) -> None:
    assert images["second"] == state(project, "dev")["image"]
    (pod,) = (project.root.parent / "cluster" / "my-model-dev").glob("*.json")
    podman("pod", "stop", pod.stem)
    said = project.refuse("uv", "run", "ops", "deployed", "dev", code=3)
    assert "nothing of it is ready" in said
    podman("pod", "start", pod.stem)
    until(lambda: "as git says" in project.run("uv", "run", "ops", "deployed", "dev"))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ((), "ENVIRONMENT is not set: there are canary, dev, production and staging."),
        (("ENVIRONMENT=prod",), "There is no environment prod"),
        (("ENVIRONMENT=staging", "DIGEST=model"), "model is no image with a digest"),
        (("ENVIRONMENT=staging", "VERSION=7"), "staging serves the model in its image"),
    ],
)
def test_a_mistake_is_one_sentence(
    project: Project, images: dict[str, str], given: tuple[str, ...], sentence: str
) -> None:
    del images
    said = project.refuse("make", "deploy", *given, code=2)
    assert f"ops deploy: {sentence}" in said
    assert project.changes() == set()
