"""Projects of every release so far, updated to the working tree."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from copier import Settings, run_update
from history import RELEASES
from ownership import owner
from render import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from render import Template

# What people may have answered. An old release asked fewer questions; the new ones have defaults.
ANSWERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "own data": {"sample": "none", "license": "Proprietary", "python_version": "3.11"},
    "gitlab": {"ci": "gitlab", "sample": "diabetes", "project_name": "Wie groß? 🦊"},
}


def begin(project: Path) -> None:
    """Commit a render."""
    run("git", "init", "--quiet", cwd=project)
    commit(project, "Begin")


def commit(project: Path, message: str) -> None:
    """Commit everything in a project."""
    run("git", "add", "--all", cwd=project)
    run("git", "commit", "--quiet", "--message", message, cwd=project)


def update(project: Path, **options: Any) -> None:  # noqa: ANN401  whatever Copier takes
    """Take the newest release, as `copier update --defaults` does, without trust by default."""
    settings = {"defaults": True, "overwrite": True, "quiet": True, "settings": Settings()}
    run_update(project, **{**settings, **options})


def files(project: Path) -> dict[str, str]:
    """Everything that a render holds, besides what is the people's own."""
    return {
        name: path.read_text(encoding="utf-8")
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
        if owner(name := path.relative_to(project).as_posix()) != "yours"
    }


def test_every_release_has_a_commit() -> None:
    assert list(RELEASES)[:2] == ["0.1.0", "0.2.0"]
    for number in RELEASES.values():
        run("git", "cat-file", "-e", f"{number}^{{commit}}", cwd=ROOT)


@pytest.mark.parametrize(("version", "profile"), list(product(RELEASES, ANSWERS)))
def test_an_untouched_project_becomes_a_fresh_render(
    version: str, profile: str, history: Template, tmp_path: Path
) -> None:
    answers: Mapping[str, Any] = ANSWERS[profile]
    project = history.render(tmp_path / "project", answers, f"v{version}")
    begin(project)
    own = {path: path.read_text() for path in project.glob("src/*/ml/*.py")}
    update(project)
    assert files(project) == files(history.render(tmp_path / "fresh", answers))
    assert own == {path: path.read_text() for path in project.glob("src/*/ml/*.py")}
    commit(project, "Update")
    update(project)
    assert run("git", "status", "--porcelain", cwd=project) == ""
