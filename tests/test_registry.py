"""The registry on a server, as teams have it: the real one, over HTTP, with files through it."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from project import Project

PATIENCE = 120
"""Seconds that MLflow may take to install its page and to start."""


@pytest.fixture
def server(sample: Project, tmp_path: Path) -> Iterator[str]:
    """An MLflow server that keeps both runs and files, from the environment of `make ui`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    sample.run("uv", "sync", "--quiet", "--only-group", "ui", UV_PROJECT_ENVIRONMENT=".venv-ui")
    command = ["uv", "run", "--only-group", "ui", "mlflow", "server", "--workers", "1"]
    places = [
        f"--backend-store-uri=sqlite:///{tmp_path}/server.db",
        f"--artifacts-destination={tmp_path}/files",
    ]
    process = subprocess.Popen(
        [*command, "--host=127.0.0.1", f"--port={port}", *places],
        cwd=sample.root,
        env={**sample.environment, **quiet, "UV_PROJECT_ENVIRONMENT": ".venv-ui"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    address = f"http://127.0.0.1:{port}"
    try:
        wait(process, f"{address}/health")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)


def wait(process: subprocess.Popen[bytes], address: str) -> None:
    """Wait until a server answers."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        assert process.poll() is None, f"the server ended with {process.returncode}"
        try:
            with urlopen(address, timeout=5):  # noqa: S310  the address is ours
                return
        except (URLError, OSError):
            time.sleep(0.2)
    pytest.fail(f"{address} did not answer in {PATIENCE} seconds")


def test_a_server_holds_versions_and_files(sample: Project, server: str, tmp_path: Path) -> None:
    """All verbs, from a copy that has the trained bundle but no registry of its own."""
    root = tmp_path / "a clone"
    names = shutil.ignore_patterns(".venv*", "mlflow.db*", "mlartifacts", "champion")
    shutil.copytree(sample.root, root, ignore=names, symlinks=True)
    python = sample.root / ".venv" / "bin" / "python"

    def ops(*arguments: str) -> str:
        command = [str(python), "-m", "my_model.ops.cli", *arguments]
        return sample.run(*command, cwd=root, MLFLOW_TRACKING_URI=server)

    assert "Version 1 (champion) is registered" in ops("register")
    assert "Version 1 (champion) is this very model" in ops("register")
    assert not (root / "mlflow.db").exists()
    assert not (root / "mlartifacts").exists()

    bundle = {path.name: path.read_bytes() for path in (root / "models/bundle").iterdir()}
    shutil.rmtree(root / "models")
    assert "Version 1 was already the champion" in ops("promote", "1")
    fetched = {path.name: path.read_bytes() for path in (root / "models/champion").iterdir()}
    assert fetched.pop("version.json")
    assert fetched == bundle
    assert "the first champion" in ops("history")
