"""Machines as people have them: settings of git, accounts, files that git leaves out."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from gitconfig import hostile as hostile_git
from my_model.ops import cli, command, doctor, git, setup, template, updating
from my_model.ops.errors import UserError
from my_model.ops.hosting import github, proposal
from my_model.ops.project import Project
from my_model.ops.registry import lineage, reproduction
from my_model.ops.registry.tracking import Version
from overlay import tools, under_test
from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = "x,y\n" + "".join(f"{row / 7:.3f},{'yes' if row % 3 else 'no'}\n" for row in range(60))
HABITS = "data/\n*.lock\nnotebooks/\nmodels/\nlib/\ndocs/\nmonitoring/\n*.json\n*.html\n*.swp\n"


def typed(root: Path, *arguments: str) -> str:
    """What git says to somebody with no settings but a name."""
    plain = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    name = ("-c", "user.name=Ada", "-c", "user.email=ada@example.org")
    done = subprocess.run(
        ["git", *name, *arguments],
        cwd=root,
        env={**os.environ, **plain},
        check=True,
        capture_output=True,
        text=True,
    )
    return done.stdout.strip()


@pytest.fixture
def hostile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of git that suit a person's eyes and habits, and hooks that fail."""
    for name, value in hostile_git(tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    """A project as it is rendered, without git."""
    ignored = shutil.ignore_patterns("__pycache__", ".tools")
    return Project(shutil.copytree(under_test(), tmp_path / "größte Häuser", ignore=ignored))


@pytest.fixture
def begun(bare: Project) -> Project:
    """The same, committed."""
    typed(bare.root, "init", "--quiet", "--initial-branch", "main")
    typed(bare.root, "add", "--all")
    typed(bare.root, "commit", "--quiet", "--message", "Begin")
    return bare


@pytest.mark.usefixtures("hostile")
def test_setup_begins_a_repository_under_any_settings(
    bare: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    setup.run(bare)
    assert "left to core.hooksPath" in capsys.readouterr().out
    assert typed(bare.root, "branch", "--show-current") == "trunk"
    assert typed(bare.root, "log", "-1", "--format=%s") == f"Begin {bare.name}"
    assert typed(bare.root, "status", "--porcelain") == ""


@pytest.mark.usefixtures("hostile")
def test_what_a_version_had_beside_its_commit_is_had_again(begun: Project, tmp_path: Path) -> None:
    """The patch is whole, and the clone that it is applied to is that of the commit."""
    root = begun.root
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("seed: 7", "seed: 8  "))
    (root / "src" / "my_model" / "ml" / "größe.py").write_text("WIDTH = 1\n")
    changes = lineage.changes(root)
    assert changes
    commit = typed(root, "rev-parse", "HEAD")
    tags = {"git.commit": commit, "git.dirty": "true"}
    version = Version(1, "run", datetime.now(tz=UTC), tags)
    copy = reproduction.checkout(begun, version, changes, tmp_path / "copy")
    assert copy.params.read_text() == params.read_text()
    assert (copy.root / "src" / "my_model" / "ml" / "größe.py").is_file()
    assert b"\r\n" not in (copy.root / "Makefile").read_bytes()


@pytest.mark.usefixtures("hostile")
def test_a_proposal_is_committed_and_pushed_as_it_is_told(begun: Project, tmp_path: Path) -> None:
    (begun.root / "new.md").write_text("new\n")
    message = "Retrain\n\n# Reasons\n\nThe data drifted.\n# ------------------------ >8"
    commit = proposal.commit(begun.root, ["new.md"], message)
    assert commit
    assert typed(begun.root, "log", "-1", "--format=%B", commit) == message
    typed(tmp_path, "init", "--quiet", "--bare", "host.git")
    typed(begun.root, "tag", "ours", "--message", "ours", commit)
    target = (str(tmp_path / "host.git"), f"{commit}:refs/heads/it")
    command.output(begun.root, "git", "push", "--quiet", *target)
    assert typed(tmp_path / "host.git", "for-each-ref", "--format=%(refname)") == "refs/heads/it"


@pytest.mark.usefixtures("hostile")
def test_data_are_adopted_under_any_settings(
    begun: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "größe.csv"
    file.write_text(ROWS)
    monkeypatch.chdir(begun.root)
    assert cli.main(["data", "use", str(file), "--target", "y"]) == 0
    ml = "src/my_model/ml"
    staged = ["data/source.csv.dvc", "params.yaml", f"{ml}/schema.py", f"{ml}/source.py"]
    assert typed(begun.root, "diff", "--cached", "--name-only").splitlines() == staged
    assert typed(begun.root, "diff", "--name-only") == ""


@pytest.mark.usefixtures("hostile")
def test_names_are_read_as_they_are(begun: Project) -> None:
    name = "docs/ops/größe.md"
    (begun.root / name).write_text("<<<<<<< before updating\n")
    assert template.conflicts(begun.root) == [name]
    assert lineage._dirty(begun.root)
    assert re.fullmatch(r"[0-9a-f]{7,}", doctor._last_update(begun.root))


def test_a_persons_gitignore_keeps_nothing_out(
    bare: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make setup` commits the same files, whatever their people never commit elsewhere."""
    (bare.root / "uv.lock").touch()
    expected = tmp_path / "expected"
    shutil.copytree(bare.root, expected)
    typed(expected, "init", "--quiet")
    typed(expected, "add", "--all")
    (tmp_path / "habits").write_text(HABITS)
    config = f"[core]\n    excludesFile = {tmp_path}/habits\n    hooksPath = /dev/null\n"
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    (bare.root / "src" / "my_model" / "ml" / ".model.py.swp").touch()
    setup.run(bare)
    assert typed(bare.root, "ls-files").splitlines() == typed(expected, "ls-files").splitlines()


def test_what_a_gitignore_keeps_out_is_named(
    bare: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the project's own does not say otherwise, as that of an earlier release."""
    (bare.root / ".gitignore").write_text("/.venv/\n")
    (tmp_path / "habits").write_text("ml/\nMakefile\n.idea/\n")
    (bare.root / ".idea").mkdir()
    (bare.root / ".idea" / "it.xml").touch()
    config = f"[core]\n    excludesFile = {tmp_path}/habits\n    hooksPath = /dev/null\n"
    (tmp_path / "config").write_text(config)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    with pytest.raises(UserError, match=r"`git add --force Makefile src/my_model/ml/\S+") as error:
        setup.run(bare)
    assert ".idea" not in str(error.value)
    told = [it.state for it in doctor.repository(bare) if it.remedy == "run `make setup`"]
    assert any(it.startswith("your own gitignore keeps Makefile, ") for it in told)
    (command,) = re.findall(r"`git (add .*?)`", str(error.value))
    typed(bare.root, *command.split())
    setup.run(bare)
    assert git.left_out(bare.root) == []


@pytest.mark.parametrize("ask", [cli.main, doctor.repository])
def test_a_repository_of_another_account_is_told_from_none(
    begun: Project,
    ask: Callable[..., object],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")  # git's own way to try it
    monkeypatch.chdir(begun.root)
    if ask is cli.main:
        assert cli.main(["setup"]) == 2
        said = capsys.readouterr().err
    else:
        (finding,) = doctor.found(doctor.repository, begun)
        said = finding.remedy
    assert "if you trust it, run `git config --global --add safe.directory " in said
    assert begun.root.name in said


@pytest.mark.parametrize("verb", ["history", "data use"])
def test_an_account_needs_no_name(
    project: Project, begun: Project, verb: str, tmp_path: Path
) -> None:
    """As in a container that runs as any number: DVC and MLflow ask for a name."""
    words, root = [verb], project.root
    if verb == "data use":
        (tmp_path / "rows.csv").write_text(ROWS)
        words, root = ["data", "use", str(tmp_path / "rows.csv"), "--target", "y"], begun.root
    names = {"LOGNAME", "USER", "LNAME", "USERNAME"}
    done = subprocess.run(
        ["unshare", "--user", "--map-user=54321", tools() / "ops", *words],
        cwd=root,
        env={name: value for name, value in os.environ.items() if name not in names},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


def test_a_shallow_clone_is_told_how_to_be_whole(begun: Project, tmp_path: Path) -> None:
    version = Version(1, "run", datetime.now(tz=UTC), {"git.commit": "0" * 40})
    with pytest.raises(UserError, match="--unshallow"):
        reproduction.checkout(begun, version, None, tmp_path / "copy")


def test_an_image_can_be_read_whatever_the_mask_of_its_builder() -> None:
    """The service is no owner of its files, and may read them."""
    text = (ROOT / "template" / "Dockerfile.jinja").read_text()
    copied = re.findall(r"^COPY (?!--from)(.*)", text, re.MULTILINE)
    assert copied
    assert all(line.startswith("--chmod=755 ") for line in copied)


def test_a_project_in_a_larger_repository_is_told_where_pipelines_run(
    begun: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    root = begun.root / "services" / "prices"
    shutil.copytree(under_test(), root, ignore=shutil.ignore_patterns("__pycache__", ".tools"))
    setup.run(Project(root))
    assert "pipelines: run only from its root; docs/ops/ci.md says how" in capsys.readouterr().out


def test_a_proposal_is_for_the_branch_that_is_worked_on(
    begun: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed(begun.root, "switch", "--quiet", "--create", "trunk")
    monkeypatch.chdir(begun.root)
    monkeypatch.delenv("GITHUB_REF_NAME", raising=False)
    monkeypatch.setenv("GITHUB_REPOSITORY", "ada/model")
    monkeypatch.setenv("TOKEN", "a secret")
    assert github.host("TOKEN").branch == "trunk"


@pytest.mark.parametrize(
    ("source", "commit"),
    [
        ("../template", "v1.2.0"),
        ("/nowhere/template", "v1.2.0"),
        ("template.tar.gz", "v1.2.0"),
        ("gh:copier-mlops/copier-mlops", "1a2b3c4"),
        ("https://example.org/template.git", "None"),
    ],
)
def test_a_template_without_releases_is_told_in_a_sentence(
    tmp_path: Path, source: str, commit: str
) -> None:
    with pytest.raises(UserError, match=f"names no release .*_src_path: {source}"):
        template.releases(tmp_path, {"_src_path": source, "_commit": commit})


def test_a_project_without_git_cannot_be_updated(bare: Project) -> None:
    answers = "_commit: v1.2.0\n_src_path: gh:us/template\npackage_name: my_model\n"
    (bare.root / ".copier-answers.yml").write_text(answers)
    with pytest.raises(UserError, match="not in git, and an update needs that"):
        updating.update(bare, ())


def test_a_home_that_cannot_be_written_needs_another_cache(
    bare: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/proc/home")
    for name in ("UV_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    (lock, _) = doctor.environment(bare)
    assert "Failed to initialize cache" in lock.state
    assert lock.remedy.startswith("set UV_CACHE_DIR")


def test_names_need_no_locale(bare: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LANG", "LC_CTYPE", "PYTHONUTF8", "PYTHONIOENCODING"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LC_ALL", "C")
    command = [sys.executable, "-m", "my_model.ops.cli", "history"]
    done = subprocess.run(command, cwd=bare.root, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
