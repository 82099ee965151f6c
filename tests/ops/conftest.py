"""Tests of `ops/`, module by module, straight from the template: no render, one environment.

The package is called `my_model` (overlay.py), and the contract is that of the first sample; with
PROJECT in the environment, it is the package and the contract of the project in that folder.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from overlay import SOURCE, activate, under_test, variables
from render import ROOT
from render import run as finish
from sharing import once

PROJECT = under_test()
activate(PROJECT)

from copies import client, copied, git, module, ops, run, set_params  # noqa: E402  they import the package
from my_model.ops import cli  # noqa: E402
from my_model.ops import contract as contracts  # noqa: E402
from my_model.ops.project import Project  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import dataframely as dy


def pytest_configure(config: pytest.Config) -> None:
    """Let MLflow use what SQLAlchemy has deprecated; all other warnings stay errors."""
    config.addinivalue_line("filterwarnings", "ignore::sqlalchemy.exc.SADeprecationWarning")


@pytest.fixture(scope="module", autouse=True)
def _processes() -> Iterator[None]:
    """Let processes that these tests start run the package's own code, and those of others not."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables(PROJECT).items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def trained(isolated: None) -> Project:
    """A project that is trained, registered and committed; tests leave it as it is.

    It is kept under `build/` until something of the package changes, for commands run its copy.
    """
    del isolated
    if "PROJECT" in os.environ:
        return Project(PROJECT)
    digest = hashlib.sha256(PROJECT.name.encode())
    for path in sorted(SOURCE.rglob("*.py")):
        digest.update(path.read_bytes())
    return Project(once(ROOT / "build" / "trained" / digest.hexdigest()[:16], _train))


def _train(root: Path) -> None:
    shutil.copytree(PROJECT, root, ignore=shutil.ignore_patterns("__pycache__"))
    project = Project(root)
    finish("git", "init", "--quiet", cwd=root)
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Begin")
    repro = run(project, "dvc", "repro")
    assert repro.returncode == 0, repro.stdout
    ops(project, "register")
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--message", "Train")


@pytest.fixture(scope="session")
def registered(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project whose first version is champion."""
    project = copied(trained, tmp_path_factory.mktemp("registered"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(project.root)
        assert cli.main(["register"]) == 0
    return project


@pytest.fixture
def project(registered: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy with a champion, which is the current folder.

    Making a store takes MLflow seconds, copying one does not.
    """
    project = copied(registered, tmp_path / "a project")
    shutil.copyfile(registered.root / "mlflow.db", project.root / "mlflow.db")
    for name in ("mlartifacts", "models/champion"):
        shutil.copytree(registered.root / name, project.root / name)
    monkeypatch.chdir(project.root)
    return project


@pytest.fixture
def unregistered(registered: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy with a trained bundle, which is the current folder, and an empty registry."""
    project = copied(registered, tmp_path / "a project")
    monkeypatch.chdir(project.root)
    shutil.copyfile(registered.root / "mlflow.db", project.root / "mlflow.db")
    client(project).delete_registered_model(project.name)
    return project


@pytest.fixture(scope="session")
def base(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of everything but the environment, whose training costs little; it has a champion."""
    root = tmp_path_factory.mktemp("retraining") / "a project"
    ignored = shutil.ignore_patterns(".venv*", "mlflow.db*", "mlartifacts", "served", ".*_cache")
    project = Project(shutil.copytree(trained.root, root, ignore=ignored, symlinks=True))
    set_params(project, "train", model="linear")
    set_params(project, "split", folds=2)
    repro = run(project, "dvc", "repro")
    assert repro.returncode == 0, repro.stdout
    git(project, "add", "--all")
    git(project, "commit", "--quiet", "--no-verify", "--message", "Train quickly")
    ops(project, "register")
    return project


@pytest.fixture
def whole(base: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of it, to do with as one likes; its service has told nothing yet."""
    monkeypatch.setenv("PREDICTIONS", "")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Project(shutil.copytree(base.root, tmp_path / "a project", symlinks=True))


@pytest.fixture
def schema(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], type[dy.Schema]]:
    """Makes a schema of the text of a module, and puts it in the place of the project's."""

    def make(text: str) -> type[dy.Schema]:
        row: type[dy.Schema] = module(text, tmp_path, monkeypatch).Row
        monkeypatch.setattr(contracts, "schema", lambda: row)
        return row

    return make
