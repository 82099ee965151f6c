"""Fleets of real projects: rendered, edited, and brought to the next release."""

from __future__ import annotations

import functools
import json
import re
import shutil
import sys
from typing import TYPE_CHECKING, Any

import fleet
import pytest
from documents import commands
from render import ROOT, Template, outline, run

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[..., tuple[int, str]]

PAGE = ROOT / "docs" / "fleet.md"
HOST = "git+https://github.com/copier-mlops/copier-mlops"
ANSWERED = ".copier-answers.yml"
FEW = {"serving": False, "ci": "gitlab"}  # what renders fastest
MIGRATION = '\n_migrations:\n  - version: 2.0.0\n    command: "touch migrated"\n'


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Template:
    """Three releases: the working tree, one that changes and deletes files, one that migrates."""
    del isolated
    made = Template.of(outline(), tmp_path_factory.mktemp("fleet") / "template")
    inside = made.source / "template"
    made.release("v1.0.0")
    change(inside / ".editorconfig", "root = true", "root = true # said anew")
    (inside / ".dvcignore").unlink()
    made.release("v1.1.0")
    with (made.source / "copier.yml").open("a") as file:
        file.write(MIGRATION)
    return made.release("v2.0.0")


@pytest.fixture(scope="module")
def world(template: Template) -> Path:
    """A folder of repositories, each with its own story."""
    folder = template.source.parent / "projects"
    project = functools.partial(template.render, answers=FEW, version="v1.0.0")

    repository(project(folder / "clean"))
    with (folder / "clean" / "Makefile").open("a") as file:
        file.write("\nours: ## what only we do\n\t@echo ours\n")
    change(folder / "clean" / "params.yaml", "trials: 30", "trials: 3")
    repository(folder / "clean")

    change(project(folder / "edited") / ".editorconfig", "root = true", "root = false")
    change(folder / "edited" / "Makefile", ".DEFAULT_GOAL := help\n", "")
    (folder / "edited" / "CODEOWNERS").unlink()
    repository(folder / "edited")

    with (project(folder / "losing") / ".dvcignore").open("a") as file:
        file.write("what only we ignore\n")
    repository(folder / "losing")

    project(folder / "many" / "services" / "prices")
    change(project(folder / "many" / "mails") / ".editorconfig", "root = true", "root = false")
    repository(folder / "many")

    change(project(folder / "lost") / ANSWERED, "_commit: v1.0.0", "_commit: v1.0.7")
    repository(folder / "lost")

    (folder / "other").mkdir()
    (folder / "other" / "README.md").write_text("no project of ours\n")
    repository(folder / "other")

    (folder / "torn").mkdir()
    (folder / "torn" / ANSWERED).write_text("package_name: [\n")
    repository(folder / "torn")
    return folder


@pytest.fixture
def copied(world: Path, tmp_path: Path) -> Path:
    """The folder of repositories, to push to."""
    return shutil.copytree(world, tmp_path / "projects", symlinks=True)


def change(path: Path, old: str, new: str) -> None:
    """Replace a text that is there."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def repository(folder: Path) -> None:
    """Commit everything in a folder."""
    run("git", "init", "--quiet", cwd=folder)
    run("git", "add", "--all", cwd=folder)
    run("git", "commit", "--quiet", "--message", "Our own", cwd=folder)


def state(folder: Path) -> dict[str, str]:
    """What must stay as it is in each repository: its branch, its commit, its work tree."""
    return {
        path.name: run("git", "status", "--porcelain", "--branch", cwd=path)
        + run("git", "log", "-1", "--format=%H", cwd=path)
        for path in folder.iterdir()
    }


def branches(path: Path) -> list[str]:
    """The branches of the fleet in a repository."""
    listed = run("git", "branch", "--list", "template/*", "--format=%(refname:short)", cwd=path)
    return listed.split()


def shown(path: Path, branch: str, file: str) -> str:
    """A file as a branch has it."""
    return run("git", "show", f"{branch}:{file}", cwd=path)


@pytest.fixture
def ask(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Ask:
    """Type a command, and get its exit code and what it printed."""

    def typed(*words: str | Path) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["fleet.py", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            fleet.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out + said.err

    return typed


def named(answer: str) -> dict[str, dict[str, Any]]:
    """The findings in a JSON answer, by project."""
    found = json.loads(answer)
    return {
        f"{it['repository'].rsplit('/', 1)[-1]}:{it['folder']}".removesuffix(":."): it
        for it in found
    }


def test_status_tells_how_each_project_stands(world: Path, ask: Ask) -> None:
    code, said = ask("status", world, "--json")
    found = named(said)
    assert code == 1
    assert {name: it["state"] for name, it in found.items()} == {
        "clean": "behind",
        "edited": "behind",
        "losing": "behind",
        "many:mails": "behind",
        "many:services/prices": "behind",
        "lost": "failed",
        "other": "none",
        "torn": "failed",
    }
    clean = found["clean"]
    assert (clean["version"], clean["behind"]) == ("1.0.0", 2)
    assert clean["drift"] == {"edited": [], "deleted": [], "missing": {}}
    assert clean["updated"] == run("git", "log", "-1", "--format=%cs", cwd=world / "clean").strip()
    assert clean["answers"] == {
        "license": "MIT",
        "python_version": "3.12",
        "sample": "breast-cancer",
        "ci": "gitlab",
        "storage": "folder",
        "serving": False,
    }
    assert found["edited"]["drift"] == {
        "edited": [".editorconfig"],
        "deleted": ["CODEOWNERS"],
        "missing": {"Makefile": [".DEFAULT_GOAL := help"]},
    }
    code, said = ask("status", world / "clean", world / "edited")
    assert code == 3
    assert re.search(
        r"^edited +behind +1\.0\.0 +2 +\S+\n    drift: 1 edited, 1 deleted, 1 line missing\n",
        said,
        re.MULTILINE,
    )
    assert max(map(len, said.splitlines())) <= 100


def test_a_current_fleet_is_fine(template: Template, tmp_path: Path, ask: Ask) -> None:
    repository(template.render(tmp_path / "current", FEW))
    assert ask("status", tmp_path)[0] == 0
    code, said = ask("update", tmp_path, "--push")
    assert (code, "has it already" in said) == (0, True)
    assert branches(tmp_path / "current") == []


def test_an_update_makes_nothing_unless_asked(world: Path, ask: Ask) -> None:
    before = state(world)
    code, said = ask("update", world, "--to", "1.1.0", "--json")
    found = named(said)
    assert code == 1
    assert {name: it["state"] for name, it in found.items()} == {
        "clean": "would update",
        "edited": "conflicts",
        "losing": "conflicts",
        "many:mails": "conflicts",
        "many:services/prices": "would update",
        "lost": "failed",
        "other": "none",
        "torn": "failed",
    }
    assert found["edited"]["conflicts"] == [
        {"path": ".editorconfig", "reason": "both changed line 2"}
    ]
    assert found["losing"]["conflicts"] == [{"path": ".dvcignore", "reason": fleet.TAKEN}]
    assert found["many:mails"]["conflicts"][0]["path"] == "mails/.editorconfig"
    assert state(world) == before
    assert [branches(path) for path in world.iterdir()] == [[]] * 7


def test_branches_are_pushed_and_nothing_else_is_touched(copied: Path, ask: Ask) -> None:
    before = state(copied)
    branch = "template/1.1.0"
    (copied / "clean" / "a file that nobody committed").touch()
    clean, many, edited = (copied / name for name in ("clean", "many", "edited"))
    code, _ = ask("update", clean, many, edited, "--to", "1.1.0", "--push")
    assert code == 3
    assert [branches(path) for path in (clean, many, edited)] == [[branch], [branch], []]
    (clean / "a file that nobody committed").unlink()
    assert state(copied) == before
    assert "# said anew" in shown(clean, branch, ".editorconfig")
    assert "what only we do" in shown(clean, branch, "Makefile")
    assert "trials: 3\n" in shown(clean, branch, "params.yaml")
    assert "_commit: v1.1.0" in shown(clean, branch, ANSWERED)
    assert ".dvcignore" not in run("git", "ls-tree", "--name-only", branch, cwd=clean).split()
    changed = run("git", "diff", "--name-only", "HEAD", branch, cwd=many).split()
    assert {name.rpartition("/")[0] for name in changed} == {"services/prices"}

    code, said = ask("update", clean, "--to", "1.1.0", "--push")
    assert (code, f"the branch {branch} is there already" in said) == (0, True)


def test_conflicts_are_kept_on_a_branch_that_says_so(copied: Path, ask: Ask) -> None:
    asked = ("update", copied / "edited", copied / "many", "--to", "1.1.0")
    assert ask(*asked, "--push", "--keep-conflicts")[0] == 3
    assert branches(copied / "edited") == ["template/1.1.0-conflicts"]
    assert branches(copied / "many") == ["template/1.1.0", "template/1.1.0-conflicts-mails"]
    markers = "<<<<<<< before updating"
    assert markers in shown(copied / "edited", "template/1.1.0-conflicts", ".editorconfig")
    clean = run(
        "git", "grep", "-c", "^<<<<<<<", "template/1.1.0-conflicts-mails", cwd=copied / "many"
    )
    assert clean == "template/1.1.0-conflicts-mails:mails/.editorconfig:1\n"


def test_a_migration_runs_only_when_its_release_is_trusted(copied: Path, ask: Ask) -> None:
    clean = copied / "clean"
    for trust in ((), ("--trust", "1.1.0")):
        code, said = ask("update", clean, "--push", *trust)
        assert (code, branches(clean)) == (3, [])
        assert "it crosses the migration of 2.0.0" in said
    assert ask("update", clean, "--push", "--trust", "2.0.0")[0] == 0
    assert "migrated" in run("git", "ls-tree", "--name-only", "template/2.0.0", cwd=clean).split()


def test_an_answer_is_given_to_all(copied: Path, ask: Ask) -> None:
    many = copied / "many"
    assert ask("set", "ci=github", many, "--push")[0] == 0
    branch = "template/ci-github"
    listed = run("git", "ls-tree", "-r", "--name-only", branch, cwd=many).split()
    for folder in ("mails", "services/prices"):
        answers = shown(many, branch, f"{folder}/{ANSWERED}")
        assert "ci: github" in answers
        assert "_commit: v1.0.0" in answers
        assert f"{folder}/.github/workflows/ci.yml" in listed
        assert f"{folder}/.gitlab-ci.yml" not in listed
    code, said = ask("set", "ci=gitlab", copied / "clean")
    assert (code, "has it already" in said) == (0, True)
    code, said = ask("set", "ci=perhaps", copied / "clean")
    assert code == 1
    code, said = ask("set", "colour=red", copied / "clean")
    assert (code, "does not ask `colour`" in said) == (1, True)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("set", "package_name=other", "."), "`package_name` is fixed"),
        (("set", "sample=none", "."), "`sample` is fixed"),
        (("set", "_src_path=gh:x/y", "."), "`_src_path` is Copier's own"),
        (("set", "serving=false"), "at least one NAME=VALUE and one repository"),
        (("set", "."), "at least one NAME=VALUE and one repository"),
        (("status", "nowhere"), "nowhere is not there"),
        (("status", "empty"), "empty is no git repository and holds none"),
        (("update", ".", "--to", "newest"), "newest is no version"),
        (("update", ".", "--trust", "all"), "all is no version"),
    ],
)
def test_a_mistake_is_one_sentence(
    words: tuple[str, ...],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    ask: Ask,
) -> None:
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    code, said = ask(*words)
    assert code == 2
    assert sentence in said
    assert said.startswith("fleet: ")
    assert said.count("\n") == 1


def test_a_fleet_is_named_by_paths_folders_lists_and_addresses(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "folder" / name).mkdir(parents=True)
        run("git", "init", "--quiet", cwd=tmp_path / "folder" / name)
    run("git", "init", "--quiet", "--bare", tmp_path / "bare.git", cwd=tmp_path)
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "all.txt").write_text(
        "# the team's\n../folder # both\n\n../bare.git\nhttps://example.org/x.git\ngit@example.org:y\n"
    )
    assert fleet.repositories(["lists/all.txt", "folder/a"], tmp_path) == [
        str(tmp_path / "folder" / "a"),
        str(tmp_path / "folder" / "b"),
        str(tmp_path / "bare.git"),
        "https://example.org/x.git",
        "git@example.org:y",
    ]


def test_no_credentials_are_shown(ask: Ask) -> None:
    code, said = ask("status", "http://ada:s3cr3t@127.0.0.1:9/repository.git", "--json")
    assert (code, "s3cr3t" in said) == (1, False)
    assert named(said)["repository.git"]["repository"] == "http://127.0.0.1:9/repository.git"


def test_every_documented_command_runs(copied: Path, tmp_path: Path) -> None:
    """As a reader types them, in an environment that uv makes of what the script declares."""
    for path in copied.iterdir():
        if path.name != "clean":
            shutil.rmtree(path)
    (tmp_path / "fleet.txt").write_text("projects/clean\n")
    (tmp_path / "hooks").symlink_to(ROOT / "hooks")
    codes = {}
    for command in (it for it in commands(PAGE.read_text()) if "fleet" in it):
        here = command.replace(HOST, str(ROOT))
        codes[command] = int(run("bash", "-c", f"{here} >&2; echo $?", cwd=tmp_path).split()[-1])
    assert any(HOST in command for command in codes)
    assert set(codes.values()) <= {0, 3}, codes
    assert branches(copied / "clean") == ["template/1.1.0", "template/python-version-3-13"]


def test_what_a_project_is_made_of_is_told_in_its_own_words(
    world: Path, tmp_path: Path, ask: Ask
) -> None:
    """A source that only one machine reaches, one that is gone, one without tags, a bare commit."""
    folder = tmp_path / "odd"
    sources = {
        "relative": ("_src_path: .+", "_src_path: ../template", "no address that everybody"),
        "gone": ("_src_path: .+", f"_src_path: {tmp_path}/gone", "its template cannot be cloned"),
        "untagged": (
            "_commit: .+",
            "_commit: 1a2b3c4",
            "`_commit` is 1a2b3c4, which is no release",
        ),
    }
    for name, (line, other, _) in sources.items():
        run("git", "clone", "--quiet", world / "clean", folder / name, cwd=tmp_path)
        path = folder / name / ANSWERED
        path.write_text(re.sub(line, other, path.read_text()))
        run("git", "commit", "--quiet", "--all", "--message", "Odd", cwd=folder / name)
    found = named(ask("status", folder, "--json")[1])
    for name, (_, _, sentence) in sources.items():
        assert found[name]["state"] == "failed"
        assert sentence in found[name]["message"]


def test_only_what_was_done_is_told_as_done(copied: Path, ask: Ask) -> None:
    clean = copied / "clean"
    run("git", "checkout", "--quiet", "--detach", cwd=clean)
    asked = ("update", clean, "--to", "1.1.0")
    said = ask(*asked)[1]
    assert re.search(r"^clean +would update +1\.0\.0$", said, re.MULTILINE)
    assert "would make the branch template/1.1.0" in said
    assert "its HEAD is detached" in said
    said = ask(*asked, "--push")[1]
    assert re.search(r"^clean +updated +1\.0\.0$", said, re.MULTILINE)
    assert "    made the branch template/1.1.0" in said
    assert "opened" not in said


def test_no_line_is_too_wide(world: Path, ask: Ask) -> None:
    for asked in (("status", world), ("update", world), ("set", "python_version=3.13", world)):
        said = ask(*asked)[1]
        assert max(map(len, said.splitlines())) <= 100, said
