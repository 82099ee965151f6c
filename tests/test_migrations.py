"""Releases that move files, remove files and drop a choice: projects with edits cross them."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING, Any

import fleet
import pytest
import yaml
from copier import Settings, run_update
from copier.errors import UnsafeTemplateError
from migrations import MIGRATIONS
from render import ROOT, Template, configuration, read, run
from test_update import begin, commit, files

if TYPE_CHECKING:
    from pathlib import Path

ANSWERED = ".copier-answers.yml"
ANSWERS: dict[str, Any] = {"serving": False, "ci": "gitlab", "python_version": "3.11"}
MARKER = "<<<<<<< before updating"

DATA, ROWS = "docs/ops/data.md", "docs/ops/rows.md"
MODELS, KINDS = "docs/ops/models.md", "docs/ops/kinds.md"
PIPELINE, STAGES = "docs/ops/pipeline.md", "docs/ops/stages.md"
SCORING, SCORES = "docs/ops/scoring.md", "docs/ops/scores.md"
OWNERS, PEOPLE, WHOSE = (f"docs/ops/{name}.md" for name in ("ownership", "people", "whose"))
TEST, WAY_TEST = "tests/ops/test_smoke.py", "tests/ops/test_way.py"
ERRORS, FAULTS = (f"src/my_model/ops/{name}.py" for name in ("errors", "faults"))
SETTINGS, CHOSEN = (f"src/my_model/ops/{name}.py" for name in ("settings", "chosen"))
GONE, EDITOR = ".dvcignore", ".editorconfig"

TABLE = f"""
MIGRATIONS["2.0.0"] = Migration(
    moved={{
        "{DATA}": "{ROWS}",
        "{MODELS}": "{KINDS}",
        "{OWNERS}": "{PEOPLE}",
        "{PIPELINE}": "{STAGES}",
        "{SCORING}": "{SCORES}",
        "{TEST}": "{WAY_TEST}",
        "src/*/ops/errors.py": "src/*/ops/faults.py",
        "src/*/ops/settings.py": "src/*/ops/chosen.py",
    }},
    removed=("{GONE}", "{EDITOR}"),
    answers={{"python_version": {{"3.11": "3.12"}}}},
)
"""
LATER = f"""
MIGRATIONS["3.0.0"] = Migration(
    moved={{"{PEOPLE}": "{WHOSE}"}}, answers={{"python_version": {{"3.12": "3.13"}}}}
)
"""


def test_each_has_the_block_that_is_told() -> None:
    assert configuration()["_migrations"] == yaml.safe_load(blocks())["_migrations"]


def blocks(*versions: str) -> str:
    """What docs/develop.md tells to write into copier.yml, for all releases and some more."""
    page = (ROOT / "docs" / "develop.md").read_text()
    found = re.search(r"^ *```yaml\n( *_migrations:\n)(.*?)^ *```$", page, re.MULTILINE | re.DOTALL)
    assert found
    every = [*MIGRATIONS, *versions]
    block = found[1] + "".join(re.sub(r"\d\.\d\.\d", version, found[2]) for version in every)
    return textwrap.dedent(block)


def change(path: Path, old: str, new: str) -> None:
    """Replace words that a file holds, where they come first."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Template:
    """Four releases: the working tree, one that moves much, one that moves again, a plain one."""
    del isolated
    made = Template.of(read(), tmp_path_factory.mktemp("migrations")).release("v1.0.0")
    inside, table = made.source / "template", made.source / "hooks" / "migrations.py"
    settings = made.source / "copier.yml"
    own = settings.read_text()

    for old, new in ((DATA, ROWS), (MODELS, KINDS), (OWNERS, PEOPLE), (PIPELINE, STAGES)):
        (inside / old).rename(inside / new)
    (inside / SCORING).rename(inside / SCORES)
    (inside / f"{TEST}.jinja").rename(inside / f"{WAY_TEST}.jinja")
    (package,) = (inside / "src").iterdir()
    (package / "ops/errors.py").rename(package / "ops/faults.py")
    (package / "ops/settings.py").rename(package / "ops/chosen.py")
    for name in (ROWS, PEOPLE, KINDS, STAGES):
        with (inside / name).open("a") as file:
            file.write("\nThe template's new end.\n")
    for name in (GONE, EDITOR):
        (inside / name).unlink()
    table.write_text(table.read_text() + TABLE)
    changed = own.replace('["3.11", "3.12", "3.13"]', '["3.12", "3.13"]')
    assert changed != own
    settings.write_text(changed + "---\n" + blocks("2.0.0"))
    made.release("v2.0.0")

    (inside / PEOPLE).rename(inside / WHOSE)
    with (inside / WHOSE).open("a") as file:
        file.write("And an end after that.\n")
    table.write_text(table.read_text() + LATER)
    changed = changed.replace('["3.12", "3.13"]', '["3.13"]').replace('"3.12"', '"3.13"')
    settings.write_text(changed + "---\n" + blocks("2.0.0", "3.0.0"))
    made.release("v3.0.0")
    return made.release("v3.1.0")


def update(project: Path, to: str | None = None, *, trust: bool) -> None:
    """Update as `copier update --defaults`, with or without `--trust`."""
    run_update(
        project,
        defaults=True,
        overwrite=True,
        unsafe=trust,
        quiet=True,
        vcs_ref=to,
        settings=Settings(),
    )


def migrate(template: Template, project: Path, *words: str) -> str:
    """What the newest release's script says; it must end well."""
    script = template.source / "hooks" / "migrate.py"
    return run(sys.executable, script, project, *words, cwd=template.source)


def state(project: Path) -> str:
    """All that git says of a project's files, tracked or not."""
    said = run("git", "status", "--porcelain", "--untracked-files=all", cwd=project)
    return said + run("git", "diff", "HEAD", cwd=project) + (project / ANSWERED).read_text()


def edit(project: Path) -> None:
    """What people did, in a way for each thing that may happen to a file."""
    change(project / DATA, "# ", "# Our own: ")
    change(project / OWNERS, "# ", "# Our own: ")
    change(project / TEST, '"""', '"""Our own. ')
    change(project / ERRORS, '"""', '"""Our own. ')
    (project / ERRORS).chmod(0o755)
    with (project / PIPELINE).open("a") as file:
        file.write("\nOur own end.\n")
    (project / MODELS).unlink()
    (project / SETTINGS).write_bytes(b"not\0text\n")
    change(project / SCORING, "# ", "# Our own: ")
    (project / SCORES).write_text("# Scores of our team\n")
    change(project / GONE, "# ", "# Our own: ")


@pytest.fixture(scope="module", params=[".", "services/prices"])
def before(
    request: pytest.FixtureRequest, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """A repository with an edited project of the first release, and where in it that lies."""
    repository, folder = tmp_path_factory.mktemp("lived-in"), str(request.param)
    template.render(repository / folder, ANSWERS, "v1.0.0")
    edit(repository / folder)
    begin(repository)
    return repository, folder


@pytest.fixture(scope="module")
def after(
    template: Template, before: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The same project, updated over both migrations at once."""
    repository, folder = before
    copy = tmp_path_factory.mktemp("updated") / "copy"
    shutil.copytree(repository, copy)
    update(copy / folder, trust=True)
    assert template
    return copy / folder


def test_without_trust_it_is_refused_and_nothing_changes(
    template: Template, before: tuple[Path, str]
) -> None:
    assert template
    project = before[0] / before[1]
    untouched = state(project)
    with pytest.raises(UnsafeTemplateError, match="migrations"):
        update(project, trust=False)
    assert state(project) == untouched


def test_a_dry_run_tells_and_changes_nothing(template: Template, before: tuple[Path, str]) -> None:
    project = before[0] / before[1]
    untouched = state(project)
    said = migrate(template, project)
    assert state(project) == untouched
    for sentence in (
        "python_version: '3.11' becomes python_version: \"3.12\"",
        'python_version: "3.12" becomes python_version: "3.13"',
        f"{DATA} was edited: that goes into {ROWS}",
        f"{OWNERS} was edited: that goes into {WHOSE}",
        f"{MODELS} was deleted here, and so {KINDS} does not come",
        f"{ERRORS} was edited: that goes into {FAULTS}",
        f"{GONE} was edited, and stays: the template leaves it to you now",
    ):
        assert f"migrate: {sentence}.\n" in said
    assert EDITOR not in said


@pytest.mark.parametrize(
    ("old", "new", "theirs"),
    [
        (DATA, ROWS, "The template's new end."),
        (OWNERS, WHOSE, "And an end after that."),
        (TEST, WAY_TEST, "from my_model.ops.cli import STAGES, main"),
        (ERRORS, FAULTS, ""),
    ],
)
def test_an_edit_lives_on_in_the_new_file(after: Path, old: str, new: str, theirs: str) -> None:
    text = (after / new).read_text()
    assert text.count("Our own") == 1
    assert theirs in text
    assert MARKER not in text
    assert not (after / old).exists()
    assert not (after / PEOPLE).exists()


def test_a_program_stays_one(after: Path) -> None:
    assert (after / FAULTS).stat().st_mode & 0o111
    assert not (after / CHOSEN).stat().st_mode & 0o111


def test_edits_of_the_same_lines_conflict(after: Path) -> None:
    text = (after / STAGES).read_text()
    assert text.count(MARKER) == 1
    assert "Our own end." in text
    assert "The template's new end." in text
    stages = run("git", "ls-files", "--unmerged", "--", STAGES, cwd=after).splitlines()
    shown = [run("git", "cat-file", "-p", line.split()[1], cwd=after) for line in stages]
    assert ["Our own" in it for it in shown] == [False, True, False]
    assert ["new end" in it for it in shown] == [False, False, True]


def test_what_was_deleted_does_not_come_back(after: Path) -> None:
    assert not (after / MODELS).exists()
    assert not (after / KINDS).exists()


def test_a_file_of_their_own_is_not_overwritten(after: Path) -> None:
    assert "# Scores of our team" in (after / SCORES).read_text()
    assert "# Our own" in (after / SCORING).read_text()


def test_what_is_no_text_stays_beside_the_new_file(after: Path) -> None:
    assert (after / SETTINGS).read_bytes() == b"not\0text\n"
    assert "class Settings" in (after / CHOSEN).read_text()


def test_of_removed_files_the_edited_ones_stay(after: Path) -> None:
    assert "# Our own" in (after / GONE).read_text()
    assert not (after / EDITOR).exists()


def test_an_answer_gets_the_choice_that_replaces_its_own(after: Path) -> None:
    assert re.search(r"^python_version: '?3\.13'?$", (after / ANSWERED).read_text(), re.MULTILINE)


def test_a_second_time_is_harmless(template: Template, after: Path) -> None:
    once = state(after)
    for version in ("2.0.0", "3.0.0"):
        for stage in ("before", "after"):
            migrate(template, after, f"--stage={stage}", f"--version={version}")
    assert state(after) == once


def test_an_untouched_project_becomes_a_fresh_render(template: Template, tmp_path: Path) -> None:
    project = template.render(tmp_path / "project", ANSWERS, "v1.0.0")
    begin(project)
    update(project, "v2.0.0", trust=True)
    assert files(project) == files(
        template.render(tmp_path / "fresh", ANSWERS | {"python_version": "3.12"}, "v2.0.0")
    )
    change(project / PEOPLE, "# ", "# Our own: ")
    commit(project, "Update")
    with pytest.raises(UnsafeTemplateError):
        update(project, trust=False)
    update(project, trust=True)
    assert "# Our own" in (project / WHOSE).read_text()
    assert MARKER not in (project / WHOSE).read_text()
    commit(project, "Update again")
    assert migrate(template, project) == ""
    update(project, trust=False)
    assert run("git", "status", "--porcelain", cwd=project) == ""


def test_a_fleet_trusts_by_version_and_finds_nothing_lost(
    template: Template, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    project = template.render(tmp_path / "project", ANSWERS, "v1.0.0")
    change(project / DATA, "# ", "# Our own: ")
    change(project / GONE, "# ", "# Our own: ")
    begin(project)

    def asked(*trust: str) -> tuple[fleet.Finding, ...]:
        change = fleet.Change({}, trusted=frozenset(trust), push=True)
        return tuple(fleet.each([str(project)], change, 1))

    for trust in (("2.0.0", "3.0.0"), ("2.0.0", "3.1.0")):
        (found,) = asked(*trust)
        assert found.state == "untrusted"
        assert "the migration of 2.0.0, 3.0.0, which runs code" in found.message
        assert "--trust 2.0.0 --trust 3.0.0 --trust 3.1.0" in found.message
    (found,) = asked("2.0.0", "3.0.0", "3.1.0")
    assert (found.state, found.conflicts) == ("updated", [])
    assert "# Our own" in run("git", "show", f"template/3.1.0:{ROWS}", cwd=project)
    assert "# Our own" in run("git", "show", f"template/3.1.0:{GONE}", cwd=project)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("nowhere",), 2, "nowhere is no folder: name a project."),
        (("plain",), 2, "has committed no .copier-answers.yml: name a project."),
        (("lost", "--version=7.0.0"), 2, "No migration belongs to 7.0.0"),
        (("nameless",), 2, "main is no version of the template: write it like 1.2.0."),
        (("lost",), 1, "nothing is lost"),
    ],
)
def test_what_goes_wrong_is_told(
    template: Template, words: tuple[str, ...], code: int, sentence: str, tmp_path: Path
) -> None:
    begin_with = {"lost": "v1.0.9", "nameless": "main", "plain": None}
    for name, commit_of in begin_with.items():
        (tmp_path / name).mkdir()
        if commit_of:
            answers = f"_commit: {commit_of}\n_src_path: {template.source}\n"
            (tmp_path / name / ANSWERED).write_text(answers)
            begin(tmp_path / name)
    script = template.source / "hooks" / "migrate.py"
    done = subprocess.run(
        [sys.executable, script, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == code
    assert sentence in done.stderr.splitlines()[-1]
