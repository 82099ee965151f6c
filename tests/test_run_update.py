"""Projects of every release, worked on, updated, and run: what an update leaves is whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from edits import develop, resolve
from history import RELEASES
from project import Project, all_passed, orders
from test_update import begin, commit, update

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from render import Template

# One for each release, in turn; where `data` is, `ops data use` of that release reads it.
PROFILES: list[dict[str, Any]] = [
    {"sample": "none", "data": ("--target", "Kündigung?", "--text", "note", "--time", "placed on")},
    {"sample": "breast-cancer"},
    {"sample": "diabetes", "ci": "gitlab"},
]
# By default the last release, which most have.
RUNS = [
    pytest.param(
        version,
        PROFILES[turn % len(PROFILES)],
        marks=[] if turn == len(RELEASES) - 1 else pytest.mark.exhaustive,
    )
    for turn, version in enumerate(RELEASES)
]


@pytest.mark.parametrize(("version", "profile"), RUNS)
def test_an_updated_project_runs(
    version: str,
    profile: Mapping[str, Any],
    history: Template,
    machine: Mapping[str, str],
    tmp_path: Path,
) -> None:
    answers = {name: its for name, its in profile.items() if name != "data"}
    answers |= {"package_name": "my_model"}
    root = history.render(tmp_path / "project", answers, f"v{version}")
    project = Project(root, machine)
    if "data" in profile:
        project.run("make", "setup")
        orders(root / "orders.csv")
        project.run("uv", "run", "ops", "data", "use", "orders.csv", *profile["data"])
        (root / "orders.csv").unlink()
        # Without hooks: what they say of an old release's code, with the tools of today, is past.
        commit(root, "Use our data", "--no-verify")
    else:
        begin(root)
    develop(root)
    update(root)
    resolve(root)
    commit(root, "Update", "--no-verify")

    project.run("uv", "lock", "--upgrade")
    project.run("make", "setup")
    project.warm()
    project.run("make", "check")
    assert all_passed(project.run("make", "test"))
    assert "Version 1 (champion) is registered" in project.run("make", "train")
    assert "ours" in project.run("make", "ours")
    commit(root, "Train")  # which our hook sees, as the template's do
