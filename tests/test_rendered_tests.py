"""The tests that a project carries: few, and those of every release pass with what is here now."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from functools import cache
from typing import TYPE_CHECKING

import pytest
import yaml
from history import RELEASES
from overlay import PACKAGE, overlay
from project import all_passed
from render import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = 900
"""How long all of them may be together."""
OWN = "template/tests/ml"
SOURCE = "template/src/{{ package_name }}/ml"
MODELS = (f"{SOURCE}/features.py", f"{SOURCE}/model.py", "samples/model.py")


@cache
def own_tests(commit: str) -> dict[str, str]:
    """What a release rendered into `tests/ml`, which is the people's own from then on."""
    names = run("git", "ls-tree", "--name-only", f"{commit}:{OWN}", cwd=ROOT).split()
    texts = (run("git", "show", f"{commit}:{OWN}/{name}", cwd=ROOT) for name in names)
    return {
        name.removesuffix(".jinja"): text.replace("{{ package_name }}", PACKAGE)
        for name, text in zip(names, texts, strict=True)
    }


def own_models(commit: str) -> dict[str, str]:
    """What goes with these tests: whoever has them, has these features and models, too."""
    names = run("git", "ls-tree", "-r", "--name-only", commit, cwd=ROOT).splitlines()
    return {
        name.rpartition("/")[2]: run("git", "show", f"{commit}:{name}", cwd=ROOT)
        for name in MODELS
        if name in names
    }


def kinds() -> list[str]:
    """The releases whose tests are not those of an earlier one."""
    seen: list[dict[str, str]] = []
    for commit in RELEASES.values():
        if own_tests(commit) not in seen:
            seen.append(own_tests(commit))
    return [
        next(name for name, commit in RELEASES.items() if own_tests(commit) == its) for its in seen
    ]


def test_they_are_few(rendered: Callable[..., Path]) -> None:
    files = rendered().glob("tests/**/*.py")
    assert sum(len(path.read_text().splitlines()) for path in files) <= LINES


@pytest.mark.parametrize("version", kinds())
def test_those_of_an_earlier_release_pass(version: str, tmp_path: Path) -> None:
    project = tmp_path / "project"
    shutil.copytree(overlay(), project, symlinks=True, ignore=shutil.ignore_patterns("ml", ".git"))
    shutil.copytree(overlay() / "src" / PACKAGE / "ml", project / "src" / PACKAGE / "ml")
    (project / "tests" / "ml").mkdir()
    for name, text in own_tests(RELEASES[version]).items():
        (project / "tests" / "ml" / name).write_text(text)
    for name, text in own_models(RELEASES[version]).items():
        (project / "src" / PACKAGE / "ml" / name).write_text(text)
    (project / "src" / PACKAGE / "ml" / "metrics.py").unlink()  # younger than any of them
    settings = yaml.safe_load((project / "params.yaml").read_text())
    settings["train"] = {"model": "auto"}
    (project / "params.yaml").write_text(yaml.safe_dump(settings))
    variables = {**os.environ, "PYTHONPATH": str(project / "src")}
    variables.pop("PYTEST_XDIST_WORKER", None)
    command = [sys.executable, "-m", "pytest", "-p", "no:xdist", "tests/ml"]
    done = subprocess.run(
        command, cwd=project, env=variables, capture_output=True, text=True, check=False
    )
    assert all_passed(done.stdout), done.stdout
