"""`ops doctor`: what it says of a sound project, and of one in which a single thing is broken."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from my_model.ops import cli, doctor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from my_model.ops.project import Project

SEEN = (".git", ".dvc", ".python-version", "src", "README.md", ".copier-answers.yml", "Makefile")
"""What doctor looks at, beside what registering reads."""

PYPROJECT = """\
[project]
name = "sound"
version = "0.1.0"
requires-python = ">=3.11"
dependencies = []

[tool.uv]
exclude-newer = "2026-11-15T00:00:00Z"
"""

BARE = """
import runpy, sys
sys.path.insert(0, "src")
sys.argv = ["ops", "doctor"]
runpy.run_module("my_model.ops.cli", run_name="__main__")
"""


class Index(BaseHTTPRequestHandler):
    """A package index that tells no upload times, and has one release of everything."""

    def do_GET(self) -> None:
        """List the one release."""
        name = self.path.strip("/").rpartition("/")[2].replace("-", "_")
        page = f"<a href='/{name}-9.0-py3-none-any.whl'>{name}-9.0-py3-none-any.whl</a>"
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(f"<html><body>{page}</body></html>".encode())

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@pytest.fixture
def sound(trained: Project, project: Project) -> Project:
    """A project with all that a person's has, set up."""
    for name in SEEN:
        source, target = trained.root / name, project.root / name
        if source.is_dir():
            ignored = shutil.ignore_patterns("cache", "tmp", "__pycache__")
            shutil.copytree(source, target, ignore=ignored, dirs_exist_ok=True)
        else:
            shutil.copyfile(source, target)
    git(project, "restore", ".")
    hook = project.root / ".git" / "hooks" / "pre-commit"
    hook.parent.mkdir(exist_ok=True)
    hook.touch()
    return project


@pytest.fixture
def locked(sound: Project) -> Project:
    """A project with few dependencies, and a lock."""
    write("pyproject.toml", PYPROJECT, sound)
    subprocess.run(["uv", "lock", "--quiet"], cwd=sound.root, check=True)
    return sound


def git(project: Project, *arguments: str) -> None:
    """Let git do something in a project."""
    subprocess.run(["git", *arguments], cwd=project.root, check=True, capture_output=True)


def missing(check: Callable[[Project], Iterator[doctor.Finding]], project: Project) -> list[str]:
    """The subjects of which one check says that something is to be done."""
    return [finding.subject for finding in doctor.found(check, project) if finding.remedy]


def remove(name: str, project: Project) -> None:
    path = project.root / name
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()


def write(name: str, text: str, project: Project) -> None:
    (project.root / name).write_text(text)


def replace(name: str, old: str, new: str, project: Project) -> None:
    text = (project.root / name).read_text()
    assert old in text
    write(name, text.replace(old, new), project)


@pytest.mark.parametrize(
    ("check", "subject", "spoil"),
    [
        (doctor.layout, "layout", partial(remove, "params.yaml")),
        (doctor.layout, "layout", partial(remove, "src/my_model/ml/features.py")),
        (doctor.layout, "layout", partial(remove, "src/my_model/ops/evaluation/gates.py")),
        (doctor.layout, "layout", partial(remove, "src/my_model/ops/serving")),
        (doctor.layout, "layout", partial(remove, ".copier-answers.yml")),
        (doctor.layout, "layout", partial(write, ".python-version", "3.9\n")),
        (
            doctor.layout,
            "layout",
            partial(replace, ".copier-answers.yml", "name: my_model", "name: theirs"),
        ),
        (
            doctor.ownership,
            "ownership",
            partial(write, "dvc.yaml", "<<<<<<< before updating\n=======\n"),
        ),
        (doctor.python, "python", partial(write, ".python-version", "3.9\n")),
        (doctor.repository, "repository", partial(remove, ".git")),
        (doctor.repository, "hooks", partial(remove, ".git/hooks/pre-commit")),
        (doctor.storage, "dvc", partial(remove, ".dvc/config")),
        (doctor.storage, "remote", partial(replace, ".dvc/config", "remote = storage", "")),
        (
            doctor.storage,
            "remote",
            partial(replace, ".dvc/config", "url = storage", "url = /dev/null/storage"),
        ),
        (doctor.storage, "data", partial(write, "data/source.csv.dvc", "outs: []\n")),
        (doctor.contract, "contract", partial(write, "params.yaml", "seeds: 7\n")),
    ],
)
def test_one_broken_thing_is_found(
    sound: Project,
    check: Callable[[Project], Iterator[doctor.Finding]],
    subject: str,
    spoil: Callable[[Project], None],
) -> None:
    assert missing(check, sound) == []
    spoil(sound)
    assert subject in missing(check, sound)


def said(check: Callable[[Project], Iterator[doctor.Finding]], project: Project) -> str:
    """What one check prints of a project."""
    return "\n".join(f"{finding.state}; {finding.remedy}" for finding in check(project))


def test_what_is_not_here_is_brought_back_as_it_is_told(sound: Project) -> None:
    """Whether or not a commit took it."""
    name = "src/my_model/ops/settings.py"
    for commit in (False, True):
        remove(name, sound)
        if commit:
            git(sound, "commit", "--quiet", "--no-verify", "--all", "--message", "Away with it")
        told = said(doctor.layout, sound)
        assert f"{name} is not here" in told
        (command,) = re.findall(r"`git (checkout .*?)`", told)
        git(sound, *command.split())
        assert missing(doctor.layout, sound) == []


def test_what_an_update_takes_is_not_missed(sound: Project) -> None:
    """Before it is committed, and after."""
    remove("src/my_model/ops/settings.py", sound)
    replace(".copier-answers.yml", "_src_path: ", "_src_path: new/", sound)
    assert missing(doctor.layout, sound) == []
    git(sound, "commit", "--quiet", "--no-verify", "--all", "--message", "Update")
    assert missing(doctor.layout, sound) == []


def test_a_lock_that_does_not_fit(locked: Project) -> None:
    assert "lock" not in missing(doctor.environment, locked)
    replace("pyproject.toml", "[]", '["packaging"]', locked)
    told = said(doctor.environment, locked)
    assert "needs to be updated" in told
    assert "; run `uv lock`" in told


def test_an_index_without_upload_times(sound: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    write("pyproject.toml", PYPROJECT.replace("[]", '["packaging"]'), sound)
    server = HTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    for name in ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    try:
        finding, absent = doctor.environment(sound)
    finally:
        server.shutdown()
        server.server_close()
    assert absent.remedy == "run `make setup`"
    assert "is missing an upload date" in finding.state
    assert "exclude-newer" in finding.remedy


def test_git_knows_nobody(sound: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    assert missing(doctor.repository, sound) == ["user.name", "user.email"]


def test_a_machine_without_git_and_uv(
    sound: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert missing(doctor.tools, sound) == []
    monkeypatch.setenv("PATH", str(tmp_path))
    assert missing(doctor.tools, sound) == ["git", "uv"]
    assert [*doctor.environment(sound), *doctor.repository(sound)] == []
    (tmp_path / "uv").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "uv").chmod(0o755)
    assert missing(doctor.tools, sound) == ["git", "uv"]


def test_a_registry_that_does_not_answer(sound: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    assert missing(doctor.registry, sound) == ["registry"]


@pytest.mark.usefixtures("sound")
def test_it_works_before_anything_is_installed() -> None:
    """With an interpreter that has none of the project's libraries."""
    bare = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    command = [str(bare), "-I", "-S", "-c", BARE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "contract     cannot be read without msgspec; run `make setup`" in done.stdout
    assert "Traceback" not in done.stderr


def test_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) == 2
    assert "is not inside a project" in capsys.readouterr().err
