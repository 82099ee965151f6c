"""`ops doctor`: what it says of a sound project, and of one in which a single thing is broken."""

from __future__ import annotations

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

SEEN = (".git", ".dvc", ".python-version", "uv.lock", "src", "README.md")
"""What doctor looks at, beside what registering reads."""


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
    """A project with all that the real one has."""
    for name in SEEN:
        source, target = trained.root / name, project.root / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("cache", "tmp"))
        else:
            shutil.copyfile(source, target)
    git(project, "restore", ".")
    return project


def git(project: Project, *arguments: str) -> None:
    """Let git do something in a project."""
    subprocess.run(["git", *arguments], cwd=project.root, check=True, capture_output=True)


def missing(check: Callable[[Project], Iterator[doctor.Finding]], project: Project) -> list[str]:
    """The subjects of which one check says that something is to be done."""
    return [finding.subject for finding in check(project) if finding.remedy]


def test_a_trained_project_lacks_nothing(
    trained: Project, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.root / "src")
    assert cli.main(["doctor"]) == 0, capsys.readouterr().out
    said = capsys.readouterr().out.splitlines()
    assert said[-1] == "All is well."
    assert all(line.startswith("ok ") for line in said[:-1])
    assert len(said) > len(doctor.CHECKS)


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
        (doctor.ownership, "ownership", partial(replace, "Makefile", "\n# project-specific", "")),
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
        (doctor.registry, "champion", partial(remove, "models/champion")),
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
    name = "src/my_model/ops/settings.py"
    remove(name, sound)
    assert f"`git restore {name}`" in said(doctor.layout, sound)
    git(sound, "commit", "--quiet", "--no-verify", "--all", "--message", "Away with it")
    told = said(doctor.layout, sound)
    assert f"{name} is not here, and src/my_model/ops/" in told
    assert f"`git log --diff-filter=D -- {name}` names the commit that took it" in told


def test_a_change_to_what_is_kept_current_is_told_and_is_no_fault(sound: Project) -> None:
    assert "as the last update left it" in said(doctor.ownership, sound)
    write("src/my_model/ops/ours.py", "OURS = 1\n", sound)
    replace("dvc.yaml", "Read the rows", "Read all rows", sound)
    git(sound, "add", "--all")
    git(sound, "commit", "--quiet", "--no-verify", "--message", "Ours")
    told = said(doctor.ownership, sound)
    assert "changed since the last update: dvc.yaml, src/my_model/ops/ours.py" in told
    assert missing(doctor.ownership, sound) == []


def test_a_lock_that_does_not_fit(sound: Project) -> None:
    replace("pyproject.toml", '"numpy>=2.2,<3"', '"numpy>=2.2,<3",\n  "packaging"', sound)
    findings = {finding.subject: finding for finding in doctor.environment(sound)}
    assert findings["lock"].remedy == "run `uv lock`"


def test_an_index_without_upload_times(sound: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    remove("uv.lock", sound)
    server = HTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"http://127.0.0.1:{server.server_port}/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    for name in ("UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_INDEX", "UV_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)
    try:
        (finding,) = doctor.environment(sound)
    finally:
        server.shutdown()
        server.server_close()
    assert "tells no upload times" in finding.state
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


def test_a_full_disk(sound: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    assert missing(doctor.disk, sound) == []
    monkeypatch.setattr(doctor, "ENOUGH_DISK", 2**60)
    assert missing(doctor.disk, sound) == ["disk"]


@pytest.mark.usefixtures("sound")
def test_it_works_before_anything_is_installed() -> None:
    """With an interpreter that has none of the project's libraries."""
    bare = Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}"
    command = [str(bare), "-I", "-c", BARE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert "contract     cannot be read without numpy; run `make setup`" in done.stdout
    assert "Traceback" not in done.stderr


def test_outside_of_a_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["doctor"]) == 2
    assert "is not inside a project" in capsys.readouterr().err
