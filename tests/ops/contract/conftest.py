"""The fixtures of a project's own tests, for what must hold of `ops/` whatever the contract."""

from __future__ import annotations

import shutil
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING

import pytest
from my_model.ops.project import Project
from overlay import under_test

if TYPE_CHECKING:
    from pathlib import Path

_spec = spec_from_file_location("project_conftest", under_test() / "tests" / "conftest.py")
assert _spec
assert _spec.loader
_conftest = module_from_spec(_spec)
_spec.loader.exec_module(_conftest)
globals().update({name: its for name, its in vars(_conftest).items() if not name.startswith("_")})


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that has run nothing yet, and is the current folder."""
    project: Project = _conftest.new_project(tmp_path / "a project", monkeypatch)
    return project


@pytest.fixture
def project(trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the trained project, to do with as one likes; it is the current folder."""
    copy = Project(shutil.copytree(trained.root, tmp_path / "project"))
    monkeypatch.chdir(copy.root)
    return copy
