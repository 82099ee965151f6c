"""Deployments of real images, on a machine that stands in for a cluster."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from cluster import cluster
from containers import ask, copy, podman, ready, registry, rows, until
from test_image_pipeline import github
from workflows import GitLab

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from project import Project
    from workflows import Job

IMAGE = "localhost/of-a-deployment"
MUTE = """
import http.server as web, os
class Mute(web.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers(); self.wfile.write(b"{}")
web.HTTPServer(("127.0.0.1", int(os.environ["PORT"])), Mute).serve_forever()
"""
"""A service that says it is ready, and takes no rows."""
NAMES = {
    "first": "",
    "second": "LABEL second=true",
    "bad": 'ENTRYPOINT ["false"]',
    "mute": f"ENTRYPOINT {json.dumps(['python', '-c', MUTE])}\nCMD []",
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
    with cluster(folder / "cluster", sample.environment["PATH"]) as variables:
        project = copy(sample, folder / "project", IMAGE=IMAGE, **variables)
        for file in project.root.glob("deploy/kubernetes/environments/*/kustomization.yaml"):
            said = file.read_text()
            file.write_text(
                said.replace("LOG_LEVEL=info\n", "LOG_LEVEL=info\n      - DRAIN_SECONDS=5\n")
            )
        demand(project, seconds=2, p95_ms=60_000)
        project.commit("Drain briefly, and bear little")
        project.run("make", "image")
        yield project


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
    assert state(project, "staging").items() >= {"image": images["second"], "version": "1"}.items()

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

    mounted = (
        f"--volume={project.environment['VOLUMES']}predictions:/predictions",
        "--entrypoint=python",
    )
    logged = Counter(podman("run", "--rm", *mounted, f"{IMAGE}-first", "-c", LOGGED).split())
    assert {logged[it] for it in ids} == {1}


def test_what_runs_beside_git_is_told(project: Project, images: dict[str, str]) -> None:
    assert images["second"] == state(project, "dev")["image"]
    (pod,) = Path(project.environment["CLUSTER"], "my-model-dev").glob("*.json")
    podman("pod", "stop", pod.stem)
    said = project.refuse("uv", "run", "ops", "deployed", "dev", code=3)
    assert "nothing of it is ready" in said
    podman("pod", "start", pod.stem)
    until(lambda: "as git says" in project.run("uv", "run", "ops", "deployed", "dev"))


@pytest.mark.parametrize("host", ["github", pytest.param("gitlab", marks=pytest.mark.exhaustive)])
def test_the_pipeline_delivers_what_it_has_published(
    host: str,
    project: Project,
    images: dict[str, str],
    rendered: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """From dev to staging to production; what takes no rows does not come further than dev."""
    bare = tmp_path / "remote.git"
    project.run("git", "clone", "--quiet", "--bare", str(project.root), str(bare))
    pipeline = project.root
    if host == "gitlab":
        pipeline = rendered(deploy="[kubernetes]", ci="gitlab")
    python = str(project.install(tmp_path / "environment"))

    def published(name: str) -> str:
        """Push an image to the registry; gives it by its digest there."""
        there = f"{address}/ada/model:{name}"
        digest = tmp_path / "digest"
        image = images[name].partition("@")[0]
        podman("push", "--quiet", "--tls-verify=false", f"--digestfile={digest}", image, there)
        return f"{address}/ada/model@{digest.read_text()}"

    def deliver(job: Job) -> subprocess.CompletedProcess[str]:
        """Do what a job does, in a clone of its own."""
        root = Path(tempfile.mkdtemp(dir=tmp_path)) / job.name
        project.run("git", "clone", "--quiet", str(bare), str(root))
        project.run("git", "-C", str(root), "checkout", "--quiet", "--detach")
        own = {
            **project.environment,
            "UV_PROJECT_ENVIRONMENT": python,
            "CONTAINERS_REGISTRIES_CONF": str(tmp_path / "registries.conf"),
        }
        own.pop("UV_NO_SYNC")
        for step in job.steps:
            done = subprocess.run(
                ["bash", "-eo", "pipefail", "-c", step.script],
                cwd=root,
                env={**own, **step.variables},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            if done.returncode:
                break
        return done

    with registry(tmp_path) as address:
        good, mute = (published(name) for name in ("second", "mute"))
        for job in delivering(host, pipeline, good):
            done = deliver(job)
            assert done.returncode == 0, done.stdout
        log = project.run("git", "-C", str(bare), "log", "--format=%s", "-3", "main")
        places = [line.removeprefix("Deploy to ").partition(":")[0] for line in log.splitlines()]
        assert places == ["production", "staging", "dev"]
        dev = delivering(host, pipeline, mute)[0]
        done = deliver(dev)
        assert done.returncode == 2
        assert "The service answers /predict with 501; dev runs" in done.stdout
        assert project.run("git", "-C", str(bare), "log", "--format=%s", "-3", "main") == log
        shown = good.split("sha256:")[1][:12]
        project.run("git", "pull", "--quiet", str(bare), "main")
        assert f"@{shown}" in told(project)["dev"]
        assert told(project)["dev"].endswith("as git says, ready: 1, version: 1")


def delivering(host: str, project: Path, image: str) -> list[Job]:
    """The jobs that deploy an image which the pipeline has published, in their order."""
    if host == "github":
        jobs = github(
            project, "push", **{"vars.DEPLOY": "true", "needs.publish.outputs.image": image}
        )
        return [job for job in jobs if job.name != "publish"]
    settings = {
        **dict.fromkeys(("CI_COMMIT_BRANCH", "CI_DEFAULT_BRANCH"), "main"),
        **dict.fromkeys(("GITLAB_USER_NAME", "GITLAB_USER_EMAIL", "DEPLOY_TOKEN"), "ada"),
        "CI_PIPELINE_SOURCE": "push",
        "DEPLOY": "true",
        "image": image,
    }
    jobs = list(GitLab(project / ".gitlab-ci.yml", settings).jobs())
    return [job for job in jobs if job.name in {"dev", "staging", "production"}]


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
