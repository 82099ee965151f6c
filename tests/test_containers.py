"""The image and the compose file, built and run as a person would."""

from __future__ import annotations

import json
import os
import re
import shutil
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl
import pytest
import yaml
from cluster import free
from containers import (
    address,
    ask,
    container,
    copy,
    created,
    documented,
    healthy,
    image,
    parts,
    podman,
    ready,
    rows,
    said,
    until,
)
from render import ROOT
from test_kubernetes import build, named, with_components

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from project import Project

IMAGE = "localhost/of-a-test"
ADDED_MEGABYTES, RULES_MEGABYTES = 150, 220
"""What the service may add to Python's own image, which has some 125; and polars, for rules."""
RULES = {"polars", "polars-runtime-32", "dataframely"}
"""What rules across columns need."""

INSIDE = r"""
import importlib.metadata, json, os, pathlib, re, shutil
print(json.dumps({
    "user": [os.getuid(), os.getgid()],
    "packages": {
        re.sub(r"[-_.]+", "-", its.name).lower(): its.version
        for its in importlib.metadata.distributions()
    },
    "tools": [name for name in ("gcc", "cc", "g++", "ld", "git", "uv") if shutil.which(name)],
    "files": sorted(str(path) for path in pathlib.Path("/app").glob("*")),
    "stale": [str(path) for path in pathlib.Path("/app/.venv/lib").rglob("my_model/**/*.py")
              if not list(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))],
    "sbom": json.loads(pathlib.Path("/app/sbom.json").read_text()),
}))
"""
NAME = f"of-a-test-{os.getpid()}"
"""Of the parts of compose.yaml: what a run that was killed has left is in nobody's way."""
PORTS = ("PORT", "REGISTRY_PORT", "PROMETHEUS_PORT", "ALERTMANAGER_PORT", "GRAFANA_PORT")
LOGGED = """
import pathlib
for path in sorted(pathlib.Path("/predictions/predictions").glob("*.jsonl")):
    print(path.read_text(), end="")
"""
EARS = """
import http.server
class Ears(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        print(self.rfile.read(int(self.headers["Content-Length"])).decode(), flush=True)
        self.send_response(200)
        self.end_headers()
    def log_message(self, *_):
        pass
http.server.HTTPServer(("0.0.0.0", 9000), Ears).serve_forever()
"""


@pytest.fixture(scope="module")
def shipped(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project that only its owner may read, as by umask 077; its image is built."""
    project = copy(sample, tmp_path_factory.mktemp("shipped") / "project", IMAGE=IMAGE)
    project.run("chmod", "--recursive", "go=", ".")
    project.run("make", "image")
    return project


@pytest.fixture(scope="module")
def lean(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The image of a champion whose contract has no rules across columns."""
    name = f"{IMAGE}-lean"
    project = copy(sample, tmp_path_factory.mktemp("lean") / "project", IMAGE=name)
    champion = project.root / "models" / "champion"
    manifest = json.loads((champion / "manifest.json").read_text())
    manifest["contract"]["rules"] = []
    (champion / "manifest.json").write_text(json.dumps(manifest))
    (champion / "version.json").unlink()  # it holds a digest of what was registered
    project.run("make", "image")
    return name


def look(name: str) -> dict[str, Any]:
    """What a process finds in an image."""
    run = ("run", "--rm", "--network=none", "--entrypoint=python", name, "-c", INSIDE)
    found: dict[str, Any] = json.loads(podman(*run))
    return found


def added(project: Project, name: str) -> float:
    """The megabytes that an image has beyond Python's own."""
    dockerfile = (project.root / "Dockerfile").read_text()
    base = re.findall(r"^ARG PYTHON=(.+)$", dockerfile, re.MULTILINE)[0]
    sizes = [json.loads(podman("image", "inspect", it))[0]["Size"] for it in (name, base)]
    return float(sizes[0] - sizes[1]) / 1e6


@pytest.fixture(scope="module")
def inside(shipped: Project) -> dict[str, Any]:
    """What a process finds in the image."""
    del shipped
    return look(IMAGE)


def test_the_image_holds_what_the_lock_says_and_no_more(
    shipped: Project, inside: dict[str, Any]
) -> None:
    groups = ("--no-default-groups", "--group=rules")
    locked = shipped.run("uv", "export", "--quiet", *groups, "--no-hashes")
    wanted = dict(re.findall(r"^([a-z][\w.-]*)==([^ ;\n]+)", locked, re.MULTILINE))
    found = inside["packages"]
    assert {name: found.get(name) for name in wanted} == wanted
    assert found.keys() - wanted.keys() <= {"my-model", "pip", "setuptools", "wheel"}
    assert not wanted.keys() & {"scikit-learn", "mlflow-skinny", "dvc"}
    assert inside["tools"] == []
    assert inside["files"] == ["/app/.venv", "/app/models", "/app/sbom.json"]
    assert inside["stale"] == []


def test_the_image_tells_what_it_is_made_of(shipped: Project, inside: dict[str, Any]) -> None:
    bill = inside["sbom"]
    listed = {part["name"]: part["version"] for part in bill["components"]}
    assert bill["bomFormat"] == "CycloneDX"
    assert listed.items() <= inside["packages"].items()
    assert {"numpy", "onnxruntime", "starlette"} <= listed.keys()
    (about,) = json.loads(podman("image", "inspect", IMAGE))
    assert about["Labels"] == {
        **about["Labels"],
        "org.opencontainers.image.title": "my_model",
        "org.opencontainers.image.revision": shipped.run("git", "rev-parse", "HEAD").strip(),
        "sbom": "/app/sbom.json",
    }


def test_the_image_is_small_and_runs_as_nobody(shipped: Project, inside: dict[str, Any]) -> None:
    assert added(shipped, IMAGE) < ADDED_MEGABYTES + RULES_MEGABYTES
    assert inside["user"] == [10001, 10001]


def test_without_rules_across_columns_the_image_has_no_polars(
    shipped: Project, inside: dict[str, Any], lean: str
) -> None:
    found = look(lean)
    assert found["packages"].keys() == inside["packages"].keys() - RULES
    assert inside["packages"].keys() >= RULES
    assert added(shipped, lean) < ADDED_MEGABYTES
    with created("volume") as log, container(*documented(log), lean) as name:
        until(lambda: ready(address(name)))


def test_the_image_is_built_by_the_uv_that_is_tested(shipped: Project) -> None:
    dockerfile = (shipped.root / "Dockerfile").read_text()
    pinned = re.findall(r"^FROM \S+/uv:([\d.]+) AS uv$", dockerfile, re.MULTILINE)
    tested = re.findall(r"^uv==([\d.]+)$", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    assert pinned == tested


def test_without_a_champion_there_is_no_image(sample: Project, tmp_path: Path) -> None:
    project = copy(sample, tmp_path / "project")
    shutil.rmtree(project.root / "models")
    assert "run make train first" in project.refuse("make", "image", code=2)


def test_the_image_answers_and_loses_nothing(shipped: Project) -> None:
    """Read-only, without capabilities, as nobody; what it answered outlives it."""
    asked = rows(shipped, 50)
    with created("volume") as log:
        with container(*documented(log), IMAGE) as name:
            service = address(name)
            until(lambda: ready(service))
            assert healthy(name)
            status, answers = ask(f"{service}/predict", asked)
            assert status == 200
            assert len(answers) == len(asked)
            assert ask(f"{service}/predict", {**asked[0], "mean radius": -1})[0] == 422
            podman("stop", "--time=20", name)
            assert podman("inspect", name, "--format={{.State.ExitCode}}") == "0", said(name)
        mounted = f"--volume={log}:/predictions"
        written = podman("run", "--rm", mounted, "--entrypoint=python", IMAGE, "-c", LOGGED)
    lines = [json.loads(line) for line in written.splitlines()]
    told = {answer["prediction_id"]: answer["prediction"] for answer in answers}
    assert {line["id"]: line["prediction"] for line in lines} == told
    assert [line["inputs"] for line in lines] == asked


def test_the_image_serves_what_is_mounted_where_a_host_says(shipped: Project) -> None:
    """As SageMaker starts it (`serve`), and on Vertex AI's port, with two workers."""
    shipped.run("chmod", "--recursive", "a+rX", "models")  # a host's is for all to read
    variables = ("BUNDLE=/mounted/champion", "AIP_HTTP_PORT=9999", "WORKERS=2")
    options = [f"--volume={shipped.root}/models:/mounted:ro", *map("--env={}".format, variables)]
    with (
        created("volume") as log,
        container(*documented(log, 9999), *options, IMAGE, "serve") as name,
    ):
        service = address(name, 9999)
        until(lambda: ready(service))
        assert ask(f"{service}/ping")[0] == 200
        assert ask(f"{service}/invocations", rows(shipped, 1))[0] == 200
        assert "/mounted/champion" in said(name)


def at(project: Project, port: str) -> str:
    """Where a part of compose.yaml is published."""
    return f"http://127.0.0.1:{project.environment[port]}"


def hurry(folder: Path) -> None:
    """Let intervals be short, and name a receiver as the runbook says."""
    for rules in folder.glob("alerts*.yml"):
        rules.write_text(re.sub(r"for: \d+[mh]", "for: 1s", rules.read_text()))
    watching = folder.parent / "compose.monitoring.yaml"
    watching.write_text(watching.read_text().replace("--every=1h", "--every=1m"))
    prometheus = folder / "prometheus.yml"
    prometheus.write_text(prometheus.read_text().replace("_interval: 15s", "_interval: 1s"))
    alertmanager = folder / "alertmanager.yml"
    settings = re.sub(r"group_(wait|interval): \w+", r"group_\1: 1s", alertmanager.read_text())
    receiver = "    webhook_configs:\n      - url: http://ears:9000\n"
    alertmanager.write_text(settings + receiver)


@pytest.fixture(scope="module")
def up(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project after `make up`, whose alerts do not wait."""
    ports = dict(zip(PORTS, map(str, free(len(PORTS))), strict=True))
    root = tmp_path_factory.mktemp("up") / NAME
    project = copy(sample, root, IMAGE=f"{IMAGE}-up", **ports)
    hurry(root / "monitoring")
    shutil.copytree(root / "models" / "champion", root / "models" / "challenger")
    for part in parts():
        image(part)
    try:
        project.run("make", "up")
        yield project
    finally:
        project.run("make", "down")
        volumes = podman("volume", "ls", "--quiet", f"--filter=name={NAME}_")
        podman("volume", "rm", "--force", *volumes.split())


@contextmanager
def listening() -> Iterator[Callable[[], str]]:
    """Someone whom Alertmanager tells; gives a function of all that was heard."""
    network = (f"--network={NAME}_default", "--network-alias=ears", "--entrypoint=python")
    with container(*network, f"{IMAGE}-up", "-c", EARS) as ears:
        yield partial(said, ears)


def test_every_part_comes_up_by_itself(up: Project) -> None:
    for part in parts():
        until(partial(healthy, f"{NAME}_{part}_1"))
    until(lambda: ready(at(up, "PORT")))


def test_the_monitor_reads_what_the_champion_learnt_from(up: Project) -> None:
    """Without these rows it cannot compare the columns together."""
    command = "import polars; print(len(polars.read_parquet('data/train.parquet')))"
    said = podman("exec", f"{NAME}_monitor_1", "python", "-c", command)
    assert int(said) == len(pl.read_parquet(up.root / "data" / "train.parquet"))


def test_every_part_is_guarded(up: Project) -> None:
    del up
    for part in parts():
        (about,) = json.loads(podman("inspect", f"{NAME}_{part}_1"))
        assert about["HostConfig"]["ReadonlyRootfs"], part
        assert not about["EffectiveCaps"], part
        assert "no-new-privileges" in about["HostConfig"]["SecurityOpt"], part
        assert about["Config"]["User"] not in ("", "root", "0"), part
        published = (about["HostConfig"]["PortBindings"] or {}).values()
        assert {place["HostIp"] for places in published for place in places} <= {"127.0.0.1"}, part


def query(project: Project, expression: str) -> list[dict[str, Any]]:
    """What the real Prometheus finds."""
    prometheus = at(project, "PROMETHEUS_PORT")
    status, answer = ask(f"{prometheus}/api/v1/query?query={quote(expression)}")
    assert status == 200, f"{expression}: {answer}"
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found


def test_every_picture_shows_something(up: Project) -> None:
    service = at(up, "PORT")
    until(lambda: ready(service))
    asked = rows(up, 20)

    def shown(panel: dict[str, Any]) -> list[dict[str, Any]]:
        assert ask(f"{service}/predict", asked)[0] == 200
        assert ask(f"{service}/predict", {**asked[0], "mean radius": -1})[0] == 422
        return answers(up, panel)

    for panel in pictures(up, "service"):
        assert until(partial(shown, panel)), panel["title"]


def pictures(project: Project, board: str) -> list[dict[str, Any]]:
    """The panels of a dashboard."""
    path = project.root / "monitoring" / "grafana" / "dashboards" / f"{board}.json"
    panels: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return panels


def answers(project: Project, panel: dict[str, Any]) -> list[dict[str, Any]]:
    """What Prometheus says to a panel."""
    expressions = [target["expr"] for target in panel["targets"]]
    return [
        row
        for expression in expressions
        for row in query(project, expression.replace("$__rate_interval", "10s"))
    ]


def test_a_drift_reaches_a_person(up: Project) -> None:
    """Other cells than those of the training, and their truth: seen, told, and in every picture."""
    service = at(up, "PORT")
    until(lambda: ready(service))
    some = rows(up, 100)
    far = {name: max(row[name] for row in some) for name in some[0]}
    # A factor would look like a new unit, for which nothing is trained.
    other = [{name: value + far[name] for name, value in row.items()} for row in some]
    with listening() as heard:
        for _ in range(3):  # a window is a thousand rows
            status, said = ask(f"{service}/predict", other * 10)
            assert status == 200
            truths = [{"prediction_id": it["prediction_id"], "truth": "benign"} for it in said]
            assert ask(f"{service}/feedback", truths)[0] == 202
        until(lambda: '"alertname":"Drift"' in heard() and '"decision":"retrain"' in heard())
        until(lambda: '"alertname":"ScoreDropped"' in heard())
    for panel in pictures(up, "model"):
        assert until(partial(answers, up, panel)), panel["title"]


def test_the_monitor_of_a_cluster_finds_that_drift(up: Project) -> None:
    """The pod of its CronJob, as kubectl builds it, on the volume that the service writes to."""
    kubernetes = up.root / "deploy" / "kubernetes"
    manifests = build(with_components(kubernetes, "dev", "log-claim", "monitoring"))
    pod = named(manifests, "CronJob", "monitor")["spec"]["jobTemplate"]["spec"]["template"]
    (monitor,) = pod["spec"]["containers"]
    monitor["image"] = f"{IMAGE}-up-monitor"
    for mounted in (*pod["spec"]["volumes"], *monitor["volumeMounts"]):
        mounted["name"] = f"{NAME}_{mounted['name']}"
        if "persistentVolumeClaim" in mounted:
            mounted["persistentVolumeClaim"]["claimName"] = mounted["name"]
    pod["metadata"]["name"] = name = f"{NAME}-hourly"
    played = up.root.parent / "monitor.yaml"
    settings = named(manifests, "ConfigMap", "settings")
    played.write_text(yaml.safe_dump_all([settings, {"apiVersion": "v1", "kind": "Pod", **pod}]))
    try:
        podman("kube", "play", "--quiet", "--network=none", played)
        code = podman("wait", f"{name}-monitor")
        assert (code, "Decision: retrain" in said(f"{name}-monitor")) == ("0", True)
    finally:
        podman("pod", "rm", "--force", "--ignore", name)


def test_alerts_reach_a_person(up: Project) -> None:
    """Real ones: of a champion that is broken, then of a service that is gone."""
    service = at(up, "PORT")
    until(lambda: ready(service))
    model = up.root / "models" / "champion" / "model.onnx"
    whole = model.read_bytes()
    with listening() as heard:
        model.write_bytes(b"broken")
        until(lambda: '"alertname":"ReloadFailing"' in heard())
        assert ask(f"{service}/predict", rows(up, 1))[0] == 200
        model.write_bytes(whole)
        podman("stop", f"{NAME}_service_1")
        until(lambda: '"alertname":"ServiceDown"' in heard())
    podman("start", f"{NAME}_service_1")
    until(lambda: ready(service))


def test_the_registry_feeds_the_service(up: Project) -> None:
    """A champion that the server of compose.yaml holds, by one setting."""
    until(partial(healthy, f"{NAME}_registry_1"))
    registry = at(up, "REGISTRY_PORT")
    assert "Version 1 (champion)" in up.run(
        "uv", "run", "ops", "register", MLFLOW_TRACKING_URI=registry
    )
    shutil.rmtree(up.root / "models")
    (up.root / "models" / "champion").mkdir(parents=True)
    up.run("make", "up", BUNDLE="http://registry:5000/my-model@champion")
    service = at(up, "PORT")
    until(lambda: ready(service))
    assert ask(f"{service}/version")[1]["model_version"] == "1"
