"""Podman, as a person would type it, and the images that compose.yaml names."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import yaml
from project import Project
from render import ROOT
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

STAND_INS = ROOT / "tests" / "stand-ins"
COMPOSE = [ROOT / "template" / name for name in ("compose.yaml", "compose.monitoring.yaml")]
PATIENCE = 120
"""Seconds that something in a container may take to start."""

REGISTRY = """\
version: 0.1
storage: {{filesystem: {{rootdirectory: "{folder}"}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""

Found = TypeVar("Found")


def podman(*arguments: str | Path) -> str:
    """Run podman to its end and give what it printed for a program to read."""
    command = ["podman", *map(str, arguments)]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, (
        f"{command} ended with {done.returncode}: {done.stdout}{done.stderr}"
    )
    return done.stdout.strip()


def parts() -> dict[str, dict[str, Any]]:
    """The parts of both compose files, by name."""
    services: dict[str, dict[str, Any]] = {}
    for path in COMPOSE:
        services |= yaml.safe_load(path.read_text())["services"]
    return services


def image(part: str) -> str:
    """The image that a part runs: here, or pulled, or else its stand-in; or to be built."""
    its = parts()[part]
    if "build" in its:
        return ""
    reference: str = its["image"]
    for command in (["image", "exists", reference], ["pull", "--quiet", reference]):
        if subprocess.run(["podman", *command], capture_output=True, check=False).returncode == 0:
            return reference
    target = reference.rpartition("/")[2].partition(":")[0]
    podman("build", "--quiet", "--target", target, "--tag", reference, STAND_INS)
    return reference


def copy(project: Project, root: Path, **environment: str) -> Project:
    """A copy of a project that a test may change, whose make speaks to podman."""
    shutil.copytree(project.root, root, ignore=shutil.ignore_patterns(".venv*"), symlinks=True)
    tools = {"ENGINE": "podman", "COMPOSE": "podman-compose"}
    path = os.pathsep.join([project.environment["PATH"], str(ROOT / ".venv" / "bin")])
    shared = {"UV_PROJECT_ENVIRONMENT": str(project.root / ".venv"), "UV_NO_SYNC": "1"}
    return Project(root, {**project.environment, **tools, **shared, "PATH": path, **environment})


def documented(volume: str, port: int = 8080) -> list[str]:
    """How the documents run an image; here it stays to be looked at, on a free port of its own.

    Podman makes more folders writable than the documents ask for; Docker does not.
    """
    page = (ROOT / "template" / "docs" / "ops" / "containers.md").read_text()
    found = re.search(r"^docker run --rm ((?:.+\\\n)*.+) NAME$", page, re.MULTILINE)
    assert found, "containers.md does not say how to run the image"
    own = found[1].replace("\\\n", "").replace(":8080:8080", f"::{port}")
    return ["--read-only-tmpfs=false", *own.replace("predictions:", f"{volume}:").split()]


@contextmanager
def created(kind: str) -> Iterator[str]:
    """A new volume or network; it is gone afterwards."""
    name = podman(kind, "create")
    try:
        yield name
    finally:
        podman(kind, "rm", "--force", name)


@contextmanager
def container(*arguments: str | Path) -> Iterator[str]:
    """A container that runs in the background; it is gone afterwards."""
    name = podman("run", "--detach", *arguments)
    try:
        yield name
    finally:
        podman("rm", "--force", "--volumes", name)


def address(container: str, port: int = 8080) -> str:
    """Where a container's port is published."""
    return "http://" + podman("port", container, f"{port}/tcp").splitlines()[0]


def said(container: str) -> str:
    """Everything that a container wrote to its terminal."""
    return podman("logs", container)


def ask(address: str, body: object = None) -> tuple[int, Any]:
    """Get, or post JSON; gives the status and what was answered, read if it is JSON."""
    data = None if body is None else json.dumps(body).encode()
    request = Request(address, data, {"Content-Type": "application/json"})  # noqa: S310 (ours)
    try:
        with urlopen(request, timeout=10) as answer:  # noqa: S310 (the address is ours)
            status, text = answer.status, answer.read().decode()
    except HTTPError as error:
        status, text = error.code, error.read().decode()
    try:
        return status, json.loads(text)
    except ValueError:
        return status, text


def until(look: Callable[[], Found], patience: float = PATIENCE) -> Found:
    """Look again and again until there is something; gives what there is."""
    deadline = time.monotonic() + patience
    while True:
        try:
            found, trouble = look(), None
        except (OSError, AssertionError) as error:
            found, trouble = None, error
        if found:
            return found
        assert time.monotonic() < deadline, f"nothing after {patience} s: {trouble}"
        time.sleep(0.2)


def healthy(container: str) -> bool:
    """Whether a container's own check finds it well."""
    return not podman("healthcheck", "run", container)


def ready(address: str) -> bool:
    """Whether a service answers with its model."""
    return ask(f"{address}/ready")[0] == 200


def rows(project: Project, number: int) -> list[dict[str, Any]]:
    """Rows that the model has never seen, as a caller would send them."""
    code = (
        "import json, polars, sys\n"
        "names = [column['name'] for column in json.load(open('models/champion/manifest.json'))"
        "['contract']['columns'] if column['role'] != 'target']\n"
        "frame = polars.read_parquet('data/holdout.parquet')\n"
        f"print(json.dumps(frame.select(names).head({number}).to_dicts(), default=str))"
    )
    found: list[dict[str, Any]] = json.loads(project.run("uv", "run", "python", "-c", code))
    return found


@contextmanager
def registry(folder: Path) -> Iterator[str]:
    """A registry of images on this machine, by its address; it is gone afterwards.

    The folder then also holds `registries.conf`, which lets Podman speak to it without TLS.
    """
    port = free_port()
    address, settings = f"127.0.0.1:{port}", folder / "registry.yml"
    settings.write_text(REGISTRY.format(folder=folder / "registry", port=port))
    insecure = f'[[registry]]\nlocation = "{address}"\ninsecure = true\n'
    (folder / "registries.conf").write_text(insecure)
    with (folder / "registry.log").open("w") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(settings)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        until(lambda: urlopen(f"http://{address}/v2/", timeout=10))
        yield address
    finally:
        process.terminate()
        process.wait(30)
