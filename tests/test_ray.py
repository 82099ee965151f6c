"""A Ray cluster on Kubernetes: its manifests, and a job on machines of its image."""

from __future__ import annotations

import os
import re
import shlex
import shutil
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from containers import container, copy, created, podman, said, until
from project import Project, change_params
from render import ROOT, run
from test_kubernetes import build, hold_to_guards, named
from walks import Walker, steps

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from loose_ends import Manifest

JOBS = ("train", "tune", "score")
IMAGE = "localhost/of-a-ray-cluster"
IMAGE_OF_WORKERS = f"{IMAGE}-worker"
PATIENT = ("timeout", "600")
"""How long a job may take."""
GUARDED = (
    *("--read-only", "--read-only-tmpfs=false", "--tmpfs=/tmp:mode=1777", "--cap-drop=all"),
    *("--security-opt=no-new-privileges", "--shm-size=1g", "--restart=on-failure"),
    *("--env=RAY_AUTH_MODE=token", f"--env=RAY_AUTH_TOKEN={'7' * 64}"),
)
"""What a machine may do, and who it lets in."""


@pytest.fixture(scope="module")
def folder(rendered: Callable[..., Path]) -> Path:
    """What is rendered for it."""
    return rendered(deploy="[kubernetes]") / "deploy" / "ray"


@pytest.fixture(scope="module")
def manifests(folder: Path) -> list[Manifest]:
    """What kubectl builds of it."""
    return build(folder)


@pytest.fixture(scope="module")
def pods(manifests: list[Manifest]) -> dict[str, Manifest]:
    """Those of what is built."""
    return machines(manifests)


def machines(manifests: list[Manifest]) -> dict[str, Manifest]:
    """The pods that KubeRay makes, as far as the manifest says."""
    spec = named(manifests, "RayCluster", "ray")["spec"]
    (workers,) = spec["workerGroupSpecs"]
    return {"head": spec["headGroupSpec"]["template"], "worker": workers["template"]}


def test_the_pods_keep_the_schema_of_kubernetes(
    pods: dict[str, Manifest], manifests: list[Manifest], tmp_path: Path
) -> None:
    core = [it for it in manifests if it["kind"] != "RayCluster"]
    core += [
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, **pod}
        for name, pod in pods.items()
    ]
    file = tmp_path / "manifests.yaml"
    file.write_text(yaml.safe_dump_all(core))
    assert "WARN" not in run("kubernetes-validate", "--strict", file, cwd=tmp_path)
    assert {it["kind"] for it in core} == {"ConfigMap", "NetworkPolicy", "Pod"}


def test_the_pods_are_guarded(pods: dict[str, Manifest], manifests: list[Manifest]) -> None:
    for pod in pods.values():
        hold_to_guards(pod)
    assert "envFrom" not in pods["worker"]["spec"]["containers"][0]
    assert pods["worker"]["spec"]["automountServiceAccountToken"] is False
    cluster = named(manifests, "RayCluster", "ray")
    assert cluster["spec"]["authOptions"] == {"mode": "token"}
    policy = named(manifests, "NetworkPolicy", "ray")["spec"]
    assert policy["podSelector"]["matchLabels"] == {"ray.io/cluster": cluster["metadata"]["name"]}


def test_a_cluster_has_the_version_that_the_project_asks_for(manifests: list[Manifest]) -> None:
    wanted = (ROOT / "template" / "pyproject.toml.jinja").read_text()
    oldest = named(manifests, "RayCluster", "ray")["spec"]["rayVersion"].removesuffix(".0")
    assert f'"ray[default]>={oldest},' in wanted


@pytest.mark.parametrize("name", JOBS)
def test_a_job_finds_the_cluster_and_what_it_runs(
    folder: Path, manifests: list[Manifest], pods: dict[str, Manifest], name: str
) -> None:
    spec = job(folder, name)
    cluster = named(manifests, "RayCluster", "ray")["metadata"]["name"]
    assert spec["clusterSelector"] == {"ray.io/cluster": cluster}
    assert spec["activeDeadlineSeconds"] > 0
    mounted = {
        mount["mountPath"]: mount["subPath"]
        for mount in pods["head"]["spec"]["containers"][0]["volumeMounts"]
        if "subPath" in mount
    }
    command = shlex.split(spec["entrypoint"])[0]
    held = named(manifests, "ConfigMap", command)["data"]
    assert mounted == {f"/usr/local/bin/{command}": command}
    assert held == {command: (folder / command).read_text()}


def test_the_page_leads_to_what_is_built(rendered: Callable[..., Path], tmp_path: Path) -> None:
    """Without a cluster: what only kubectl makes is made, and files are those that are there."""
    root = shutil.copytree(rendered(deploy="[kubernetes]"), tmp_path / "project")
    (tmp_path / "cluster.env").write_text("REPOSITORY=https://example.org/project.git\n")
    walker = Walker(root, dict(os.environ), {"sha256:...": f"sha256:{'7' * 64}"})
    for step in steps(root / "docs" / "ops" / "ray.md"):
        if step.kind == "diff":
            walker.take(step)
        elif step.text.startswith(("kubectl create namespace", "kubectl create secret")):
            run("bash", "-c", f"{step.text} --dry-run=client", cwd=root)
        elif file := re.search(r"--(?:filename|kustomize) (\S+)", step.text):
            assert (root / file[1]).exists()
    for pod in machines(build(root / "deploy" / "ray")).values():
        (its,) = pod["spec"]["containers"]
        assert its["image"] == f"registry/name-worker@sha256:{'7' * 64}"


def job(folder: Path, name: str) -> dict[str, Any]:
    """What a job is to do."""
    spec: dict[str, Any] = yaml.safe_load((folder / f"{name}.yaml").read_text())["spec"]
    return spec


@pytest.fixture
def project(sample: Project, tmp_path: Path) -> Project:
    """A copy of the project whose repository and data others reach, and the image of machines."""
    project = copy(sample, tmp_path / "project", IMAGE=IMAGE)
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "data").mkdir()
    project.run("uv", "run", "dvc", "remote", "modify", "storage", "url", "/shared/data")
    change_params(project, {"model: blend": "model: linear"})
    project.commit("Let others reach the data", "--no-verify")
    project.run("git", "clone", "--quiet", "--bare", ".", str(shared / "project.git"))
    project.run("make", "image-worker")
    return project


def own(shared: Path, owner: int) -> None:
    """Let it be of who runs in a container, or of who runs the tests (0)."""
    volume = f"--volume={shared}:/shared"
    change = ("--user=0", "--entrypoint=chown", IMAGE_OF_WORKERS, "-R", str(owner), "/shared")
    podman("run", "--rm", volume, *change)


@pytest.mark.exhaustive
def test_a_job_trains_on_machines_of_the_image(project: Project) -> None:
    """As KubeRay starts them, on machines that share no disk; only the head has the project."""
    shared, folder = project.root.parent / "shared", project.root / "deploy" / "ray"
    who = {"NAME": "Cluster", "EMAIL": "cluster@example.org"}
    secret = {
        "REPOSITORY": "/shared/project.git",
        **{f"GIT_{it}_{key}": its for it in ("AUTHOR", "COMMITTER") for key, its in who.items()},
    }
    head = (
        *("--hostname=head", "--network-alias=head", f"--volume={shared}:/shared"),
        f"--volume={folder}/in-project:/usr/local/bin/in-project:ro",
        *(f"--env={name}={its}" for name, its in secret.items()),
    )
    start = ("ray", "start", "--block", "--disable-usage-stats")
    own(shared, 10001)
    with ExitStack() as stack:
        guarded = (*GUARDED, f"--network={stack.enter_context(created('network'))}")
        first = stack.enter_context(
            container(
                *guarded, *head, IMAGE_OF_WORKERS, *start, "--head", "--port=6379", "--num-cpus=0"
            )
        )
        until(lambda: "Ray runtime started" in said(first))
        stack.enter_context(
            container(*guarded, IMAGE_OF_WORKERS, *start, "--address=head:6379", "--num-cpus=2")
        )
        entry = shlex.split(job(folder, "train")["entrypoint"])
        told = podman("exec", first, *PATIENT, "ray", "job", "submit", "--", *entry)
        assert "Review the branch ops/cluster." in told, told
        assert "Ray works" in told, told
    own(shared, 0)
    project.run("git", "fetch", "--quiet", str(shared / "project.git"), "ops/cluster")
    changed = project.run("git", "diff", "--name-only", "HEAD", "FETCH_HEAD").split()
    assert "dvc.lock" in changed
    assert {path.partition("/")[0] for path in changed} <= {"dvc.lock", "reports"}
