"""Tests that run in the environment of a rendered project, after its first training.

`tests/test_run.py` starts them; the current folder is the project, and its package is
`my_model`. They are here, and not in the project, because a user's suite should stay quick.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pytest
from copies import git, ops, run, set_params
from mlflow import MlflowClient
from my_model.ops import cli, tracking
from my_model.ops.project import Project

sys.path.append(str(Path(__file__).parents[1]))  # servers.py is for these tests too


def pytest_configure(config: pytest.Config) -> None:
    """Let MLflow use what SQLAlchemy has deprecated; all other warnings stay errors."""
    config.addinivalue_line("filterwarnings", "ignore::sqlalchemy.exc.SADeprecationWarning")


def copied(trained: Project, root: Path) -> Project:
    """What registering reads, in a folder of its own."""
    files = ("pyproject.toml", "dvc.yaml", "dvc.lock", "params.yaml")
    for name in (*files, "data/train.parquet", "data/holdout.parquet"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(trained.root / name, root / name)
    for name in ("models/bundle", "reports"):
        shutil.copytree(trained.root / name, root / name)
    return Project(root)


def client(project: Project) -> MlflowClient:
    """MLflow itself, to look at what `ops` left there."""
    return MlflowClient(tracking.address(project))


@pytest.fixture(scope="session")
def trained() -> Project:
    """The project that this runs in."""
    return Project.find()


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
