"""Versions that are trained again, with the real git and DVC."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from copies import feed, git, ops, run, set_params, state
from my_model.ops import dvc
from my_model.ops.project import Project
from my_model.ops.registry import reproduction, tracking

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where temporary folders are made."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def cached(project: Project) -> set[str]:
    """Every file in DVC's cache."""
    return {str(path) for path in (project.root / ".dvc" / "cache").rglob("*")}


def tag(project: Project, number: int, **tags: str | None) -> None:
    """Change what the registry tells of a version."""
    with tracking.connected(project) as store:
        version = store.version(number)
        assert version
        store.tag(version, **{key.replace("_", "."): value for key, value in tags.items()})


def test_a_version_comes_out_again_and_leaves_no_trace(whole: Project, scratch: Path) -> None:
    before, kept = state(whole), cached(whole)
    said = ops(whole, "reproduce", "champion")
    assert "Version 1 is reproduced. The same are the rows to learn from (" in said
    assert said.count("Running stage") == 5
    assert state(whole) == before
    assert cached(whole) == kept
    assert list(scratch.iterdir()) == []


def test_rows_and_labels_that_no_commit_has_come_out_again(whole: Project) -> None:
    """Also where the cache is lost, and the remote has them."""
    told = feed(whole) | feed(whole, label="unclear")
    said = ops(whole, "retrain", "--declare", "diagnosis=unclear")
    assert f"took in {len(told)} labelled rows" in said
    said = ops(whole, "reproduce", "2")
    assert "of changes that were kept with it" in said
    assert "Version 2 is reproduced" in said
    assert run(whole, "dvc", "push").returncode == 0
    shutil.rmtree(whole.root / ".dvc" / "cache")
    assert "Version 2 is reproduced" in ops(whole, "reproduce", "v2")
    assert not (whole.root / ".dvc" / "cache" / "files").exists()


def test_what_differs_is_said(whole: Project) -> None:
    set_params(whole, "train", linear={"regularization": 0.01})
    assert run(whole, "dvc", "repro").returncode == 0
    ops(whole, "register")
    tag(whole, 2, git_changes=None)
    said = ops(whole, "reproduce", "2", code=3)
    assert "of changes that nobody has kept: it is tried without them" in said
    assert "Version 2 is not what comes out:" in said
    assert "- the bundle: " in said
    assert "- model.parameters.regularization is 1.0, and was 0.01" in said
    assert "- metrics.log_loss is " in said
    assert "- model.onnx has other bytes" in said
    assert "the rows to learn from" not in said
    assert "more differences" in said


@pytest.mark.parametrize(("own", "theirs"), [("1", "1"), ("2", "1"), ("2", ""), ("", "")])
def test_other_packages_are_installed_beside_it(
    own: str, theirs: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The packages of this environment do where both have one lock, or none."""
    project, copy = Project(tmp_path / "project"), Project(tmp_path / "copy")
    for root, lock in ((project.root, own), (copy.root, theirs)):
        root.mkdir()
        if lock:
            (root / "uv.lock").write_text(lock)
    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(dvc, "run", lambda *_, **options: asked.append(options))
    monkeypatch.setenv("PYTHONPATH", "elsewhere")
    reproduction.train(project, copy, tmp_path / "beside")
    (options,) = asked
    variables = options["variables"]
    if own == theirs:
        assert variables == {"PYTHONPATH": f"{copy.root / 'src'}{os.pathsep}elsewhere"}
    else:
        assert options["command"] == ("uv", "run", "--locked", "dvc")
        assert variables["UV_PROJECT_ENVIRONMENT"] == str(tmp_path / "beside")


def test_what_cannot_be_reproduced_is_one_sentence(whole: Project) -> None:
    before = state(whole)
    assert "There is no alias or version 7" in ops(whole, "reproduce", "7", code=2)
    tag(whole, 1, git_commit="0" * 40)
    assert "git does not know the commit 000000000000" in ops(whole, "reproduce", "1", code=2)
    tag(whole, 1, git_commit="none")
    assert "trained where there was no commit yet" in ops(whole, "reproduce", "1", code=2)
    first = git(whole, "rev-list", "--max-parents=0", "HEAD").strip()
    tag(whole, 1, git_commit=first, git_changes="lost")
    assert "The changes of version 1 are gone" in ops(whole, "reproduce", "1", code=2)
    tag(whole, 1, git_commit=git(whole, "rev-parse", "HEAD").strip(), git_changes=None)
    after = state(whole)
    assert {**after, "versions": ""} == {**before, "versions": ""}
