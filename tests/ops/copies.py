"""Whole copies of the project that the tests run in: changed, and killed at work, as one likes.

Their commands run as processes, which import the copy's own package.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.request import urlopen

import numpy as np
import polars as pl
import yaml
from mlflow import MlflowClient
from my_model.ops.files import replacing
from my_model.ops.pipeline import parquet
from my_model.ops.project import Project
from my_model.ops.registry import tracking
from overlay import tools, under_test, variables
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

    import pytest


PATIENCE = 180
"""Seconds that a real server may take to install and to start."""
BEGUN = datetime(2030, 1, 1, tzinfo=UTC)
"""When the first row was answered."""


def copied(trained: Project, root: Path) -> Project:
    """What registering reads, in a folder of its own."""
    root.mkdir(parents=True, exist_ok=True)
    for name in ("Makefile", "pyproject.toml", "dvc.yaml", "dvc.lock", "params.yaml"):
        shutil.copyfile(trained.root / name, root / name)
    for name in ("data/train.parquet", "data/holdout.parquet", "models/bundle", "reports"):
        shutil.copytree(trained.root / name, root / name)
    return Project(root)


def fill(rows: pl.DataFrame, output: Path) -> None:
    """Let an output of the pipeline hold other rows."""
    with replacing(output) as aside:
        parquet.write({aside: rows.lazy()})


def client(project: Project) -> MlflowClient:
    """MLflow itself, to look at what `ops` left there."""
    return MlflowClient(tracking.address(project))


def environment(project: Project) -> dict[str, str]:
    """Let processes import the copy's own package."""
    own = {"PYTHONPATH": str(project.root / "src"), "PREDICTIONS": ""}
    return {**os.environ, **variables(under_test()), **own}


def run(project: Project, *command: str) -> subprocess.CompletedProcess[str]:
    """Run `ops` or `dvc` in the project."""
    return subprocess.run(
        [tools() / command[0], *command[1:]],
        cwd=project.root,
        env=environment(project),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def ops(project: Project, *arguments: str, code: int = 0) -> str:
    """Run a verb that must end with this exit code, and give what it said."""
    done = run(project, "ops", *arguments)
    assert done.returncode == code, done.stdout
    return done.stdout


def git(project: Project, *arguments: str) -> str:
    command = ["git", "-C", str(project.root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextmanager
def registry(trained: Project, root: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """MLflow's own server, from the environment of `make ui`: its database and files in a folder.

    Gives its address and its process.
    """
    address = f"http://127.0.0.1:{free_port()}"
    environment = {
        **os.environ,
        "UV_PROJECT_ENVIRONMENT": ".venv-ui",
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    mlflow = ["uv", "run", "--quiet", "--only-group", "ui", "mlflow"]
    subprocess.run([*mlflow, "--version"], cwd=trained.root, env=environment, check=True)
    command = [
        *(*mlflow, "server", "--workers=1", "--host=127.0.0.1", f"--port={address[17:]}"),
        f"--backend-store-uri=sqlite:///{root}/mlflow.db",
        "--serve-artifacts",
        f"--artifacts-destination={root}/files",
    ]
    with subprocess.Popen(
        command,
        cwd=trained.root,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            deadline = time.monotonic() + PATIENCE
            while time.monotonic() < deadline and not answers(address):
                assert process.poll() is None
                time.sleep(0.2)
            yield address, process
        finally:
            os.killpg(process.pid, signal.SIGKILL)


def answers(address: str) -> bool:
    """Whether a server is up."""
    try:
        with urlopen(f"{address}/health", timeout=5):
            return True
    except OSError:
        return False


def numbers_of(file: str, *arguments: Path) -> list[int]:
    """The numbers that a file of tests prints when it is run as a program."""
    command = [sys.executable, file, *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    return [int(it) for it in done.stdout.split()]


def most_memory() -> int:
    """The most memory that this process has held, in KiB.

    The peak that `resource` tells is the parent's, if that was larger when it started this.
    """
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(peak)


def set_params(project: Project, section: str, **values: object) -> None:
    params = yaml.safe_load(project.params.read_text())
    params[section] = params.get(section, {}) | values
    project.params.write_text(yaml.safe_dump(params))


def tell(project: Project, log: str, lines: list[dict[str, Any]]) -> None:
    """Write lines of a log as a service would, with blanks before some of them."""
    folder = project.served / log
    folder.mkdir(parents=True, exist_ok=True)
    number = len(list(folder.iterdir()))
    text = "".join(f"{'  ' * (place % 2)}{json.dumps(line)}\n" for place, line in enumerate(lines))
    name = f"{BEGUN + timedelta(days=number):%Y%m%dT%H%M%S.%fZ}-0badcafe.jsonl"
    (folder / name).write_text(text)


def answer(project: Project, rows: pl.DataFrame, seed: int = 7) -> list[str]:
    """Log that these rows were answered, and give the ids of the predictions."""
    draw = np.random.default_rng(seed)
    ids = [draw.bytes(12).hex() for _ in range(len(rows))]
    lines = [
        {
            "id": identifier,
            "time": (BEGUN + timedelta(seconds=place)).isoformat(),
            "version": "1",
            "inputs": row,
            "prediction": "benign",
            "probabilities": {"benign": 0.5, "malignant": 0.5},
        }
        for place, (identifier, row) in enumerate(zip(ids, rows.iter_rows(named=True), strict=True))
    ]
    tell(project, "predictions", lines)
    return ids


def learn(project: Project, truths: Mapping[str, Any], day: int = 1, **more: str) -> None:
    """Log the truth of predictions, so many days later."""
    time = (BEGUN + timedelta(days=day)).isoformat()
    lines = [{"id": name, "time": time, "truth": truth, **more} for name, truth in truths.items()]
    tell(project, "feedback", lines)


def new_rows(project: Project, number: int = 60) -> tuple[pl.DataFrame, list[str]]:
    """Rows that are a little unlike those of the source, and their labels."""
    rows = pl.read_parquet(project.valid).sample(number, seed=7)
    moved = rows.drop("diagnosis").select(pl.all() * 1.001)
    return moved, rows["diagnosis"].cast(pl.String).to_list()


def feed(project: Project, number: int = 60, label: str | None = None) -> dict[str, str]:
    """Answer new rows, and tell their truth, or this one label for all of them."""
    rows, truths = new_rows(project, number)
    ids = answer(project, rows, seed=7 if label is None else 8)
    told = dict(zip(ids, truths if label is None else [label] * number, strict=True))
    learn(project, told)
    return told


def state(project: Project) -> dict[str, str]:
    """Everything that a retraining may change, by name."""
    roots = [project.data, project.root / "models", project.reports, project.schema.parent]
    files = [path for root in roots for path in root.rglob("*") if path.is_file()]
    kept = {
        str(path.relative_to(project.root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in [*files, project.root / "dvc.lock"]
        if "__pycache__" not in path.parts
    }
    with tracking.connected(project) as store:
        registry = {"aliases": str(store.aliases()), "versions": str(store.versions())}
    return {
        **kept,
        **registry,
        "index": git(project, "ls-files", "--stage"),
        "status": git(project, "status", "--porcelain"),
    }


def module(text: str, folder: Path, patch: pytest.MonkeyPatch) -> ModuleType:
    """A module of some text, written to a folder."""
    path = folder / f"schema{len(list(folder.iterdir()))}.py"
    path.write_text(text)
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    made = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, path.stem, made)
    spec.loader.exec_module(made)
    return made
