"""What `make release` writes, and each reason for which it writes nothing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

import pytest
import release
from commands import UserError
from compatibility import against
from history import past
from releases import CHANGELOG, HEADING, number
from render import run
from test_migrations import blocks, change
from versions import History

if TYPE_CHECKING:
    from collections.abc import Callable

TODAY = date(2030, 1, 10)
WORDS = "A release for tests.\n\n- It says what is new.\n"
ML = "template/src/{{ package_name }}/ml"
OPS = "template/src/{{ package_name }}/ops"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Path:
    """The template with all its releases, the newest of them the working tree, and words on top."""
    del isolated
    root = past(tmp_path_factory.mktemp("release")).source
    changelog = root / CHANGELOG
    text = release.UNRELEASED.sub("", changelog.read_text())
    major, minor, _ = max(map(number, HEADING.findall(text))).release
    text = HEADING.sub(f"## {major}.{minor + 1}.0\n\nThe working tree.\n\n\\g<0>", text, count=1)
    changelog.write_text(text)
    commit(root, "Release")
    text = HEADING.sub(f"## Unreleased\n\n{WORDS}\n\\g<0>", text, count=1)
    changelog.write_text(text)
    commit(root, "Words")
    return root


def commit(root: Path, message: str) -> None:
    """Commit everything in a copy of the template."""
    run("git", "add", "--all", "--force", cwd=root)
    run("git", "commit", "--quiet", "--message", message, cwd=root)


@pytest.fixture(scope="module")
def base(template: Path, tmp_path_factory: pytest.TempPathFactory) -> History:
    """The first and the last release, which are rendered once."""
    history = History.of(template, tmp_path_factory.mktemp("base"))
    return replace(history, earlier=[history.earlier[0], history.last])


@pytest.fixture
def tree(template: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    copy = tmp_path / "template"
    shutil.copytree(template, copy)
    return copy


@pytest.fixture
def asked(base: History, tmp_path: Path) -> Callable[..., dict[str, str]]:
    """Ask for a release of a tree, as it is now: what it writes, by path."""

    def ask(tree: Path, version: str, *answers: dict[str, Any]) -> dict[str, str]:
        if run("git", "status", "--porcelain", cwd=tree):
            commit(tree, "Change")
        known = {its.name: its for its in base.earlier}
        history = History.of(tree, Path(mkdtemp(dir=tmp_path)), known)
        history = replace(history, earlier=base.earlier)
        written = release.release(tree, version, history, TODAY, answers or [{}])
        return {path.relative_to(tree).as_posix(): text for path, text in written.items()}

    return ask


def steps(base: History) -> list[str]:
    """The patch, the minor and the major release that follow."""
    major, minor, patch = number(base.last.name).release
    return [f"{major}.{minor}.{patch + 1}", f"{major}.{minor + 1}.0", f"{major + 1}.0.0"]


def refused(asked: Callable[..., dict[str, str]], tree: Path, version: str) -> list[str]:
    """The reasons against a release, which writes nothing."""
    with pytest.raises(UserError) as error:
        asked(tree, version)
    assert run("git", "status", "--porcelain", cwd=tree) == ""
    return str(error.value).splitlines()


def test_it_compares_every_choice_of_every_question(base: History) -> None:
    answers = base.tree.answers()
    default = {name: its["default"] for name, its in base.tree.questions.items()}
    for name in base.tree.questions:
        for choice in base.tree.choices(name):
            assert any((default | its)[name] == choice for its in answers)
    assert {"ci", "serving", "monitoring", "sample", "license"} <= {
        name for it in answers for name in it
    }


def test_a_release_is_written(tree: Path, base: History) -> None:
    """As a person asks for it, with every choice of every question."""
    (tree / "template/docs/ops/new.md").write_text("# New\n")
    for name in ("cli", "doctor", "errors"):
        path = next((tree / OPS).glob(f"{name}.py*"))
        path.write_text(path.read_text() + "# changed\n")
    change(tree / "template/.editorconfig", "root = true\n", "root = true # changed\n")
    change(tree / "template/.gitignore", "\n", "\n# changed\n")
    change(tree / "template/params.yaml.jinja", "trials: 30", "trials: 31")
    with (tree / "template/.gitlab-ci.yml").open("a") as file:
        file.write("# changed\n")
    with (tree / "copier.yml").open("a") as file:
        file.write(
            "\ncolour:\n  type: str\n  help: Which colour?\n"
            "  choices: [red, green]\n  default: red\n"
        )
    change(tree / "copier.yml", '["3.11", "3.12", "3.13"]', '["3.11", "3.12", "3.13", "3.14"]')
    change(tree / CHANGELOG, WORDS, f"{WORDS}\n### By hand\n\n- Paint it.\n")
    commit(tree, "Change")
    version = steps(base)[1]
    before = (tree / CHANGELOG).read_text()
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    command = ("make", "--assume-old=.venv/ready", "release", f"VERSION={version}")
    said = run(*command, cwd=tree, env={**os.environ, "PATH": search})
    assert f"git tag v{version}" in said

    dated = "template/pyproject.toml.jinja"
    old = re.search(r'exclude-newer = "(\S+)T', run("git", "show", f"HEAD:{dated}", cwd=tree))
    assert old
    day = max(date.fromisoformat(old[1]), datetime.now(tz=UTC).date() - timedelta(days=7))
    moved = day > date.fromisoformat(old[1])
    assert f'exclude-newer = "{day}T00:00:00Z"' in (tree / dated).read_text()
    ours = f"## Unreleased\n\n{WORDS}\n### By hand\n\n- Paint it.\n\n"
    text = (tree / CHANGELOG).read_text()
    rest = before.partition(ours)[2]
    assert text.endswith(rest)
    made = text.removesuffix(rest).partition(f"## {version}\n")[2]
    lines = re.sub(r"\n  ", " ", made).splitlines()
    ignored = (tree / "template/.gitignore").read_text().splitlines().index("# changed") + 1
    assert lines[:12] == [
        "",
        "A release for tests.",
        "",
        "- It says what is new.",
        "",
        "### By hand",
        "",
        "- Paint it.",
        "",
        "### What an update brings",
        "",
        "- A new question, `colour` (red by default): Which colour?",
    ]
    pyproject = ", `pyproject.toml`" if moved else ""
    assert lines[12:16] == [
        "- A new choice for `python_version`: 3.14.",
        "- Added: `docs/ops/new.md`.",
        f"- Changed: `.editorconfig`, `.gitignore`, `.gitlab-ci.yml`{pyproject}, `src/*/ops/` (3).",
        "- In new projects only: `params.yaml`.",
    ]
    assert lines[16].startswith("- Conflicts: only in files that changed, where")
    assert f"`.gitignore` line {ignored}" in lines[16]
    assert lines[17:] == ([f"- `exclude-newer` is {day}; it was {old[1]}.", ""] if moved else [""])
    assert max(map(len, made.splitlines())) <= 120
    assert run("git", "diff", "--name-only", cwd=tree).split() == [
        CHANGELOG,
        *([dated] if moved else []),
    ]


def test_what_is_shown_is_what_would_be_written(
    tree: Path, base: History, asked: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    change(tree / "template/.editorconfig", "root = true\n", "root = true # changed\n")
    written = asked(tree, steps(base)[0])
    assert f'exclude-newer = "{TODAY - timedelta(days=7)}T' in written[str(release.DATED)]
    diff = release.shown(tree, {tree / name: text for name, text in written.items()})
    (tmp_path / "diff").write_text("\n".join([*diff, ""]))
    run("git", "apply", tmp_path / "diff", cwd=tree)
    assert written == {name: (tree / name).read_text() for name in written}


def test_the_date_never_goes_back(base: History) -> None:
    dates = release.Dates.of(base.tree, date(2020, 1, 1))
    assert dates.new == dates.old


def mistaken(tree: Path) -> str:
    """What the command says when it refuses."""
    command = [sys.executable, "hooks/release.py", "9.0.0"]
    done = subprocess.run(command, cwd=tree, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    return done.stderr


def test_nothing_is_made_of_what_is_not_committed(tree: Path) -> None:
    (tree / "new").write_text("new")
    assert mistaken(tree) == (
        "release: The work tree holds what is not committed: commit or stash it.\n"
    )


def test_what_cannot_be_rendered_is_told_with_what_is_known_by_then(tree: Path) -> None:
    drop_words(tree)
    with (tree / "template/CODEOWNERS.jinja").open("a") as file:
        file.write("{{ nothing }}\n")
    commit(tree, "Change")
    assert mistaken(tree).splitlines() == [
        f"release: {CHANGELOG} has no `## Unreleased` that says what is new: write it, and commit.",
        "release: The tree cannot be rendered with the defaults: 'nothing' is undefined.",
    ]


def test_a_shallow_clone_has_no_releases(tree: Path, tmp_path: Path) -> None:
    run("git", "clone", "--quiet", "--depth=1", tree.as_uri(), tmp_path / "clone", cwd=tmp_path)
    assert "`git fetch --unshallow`" in mistaken(tmp_path / "clone")


def drop_words(tree: Path) -> None:
    change(tree / CHANGELOG, WORDS, "### By hand\n\n- Paint it.\n")


def rename(tree: Path) -> None:
    (tree / "template/docs/ops/data.md").rename(tree / "template/docs/ops/rows.md")


def delete(tree: Path) -> None:
    (tree / "template/CODEOWNERS.jinja").unlink()


def drop_choice(tree: Path) -> None:
    change(tree / "copier.yml", '["3.11", "3.12", "3.13"]', '["3.12", "3.13"]')


def drop_question(tree: Path) -> None:
    change(tree / "copier.yml", "\nuser_email:\n", "\nuser_email:\n  when: false\n")


def hide_question(tree: Path) -> None:
    change(tree / "copier.yml", "\nuser_email:\n", '\nuser_email:\n  when: "{{ package_name }}"\n')


def own_and_delete(tree: Path) -> None:
    change(tree / "ownership.yml", "  - /README.md\n", "  - /README.md\n  - /CODEOWNERS\n")
    delete(tree)


def take_over(tree: Path) -> None:
    change(tree / "ownership.yml", "  - /README.md\n", "")


def make_binary(tree: Path) -> None:
    (tree / "template/docs/ops/data.md").write_bytes(b"\0")


def change_type(tree: Path) -> None:
    change(tree / "copier.yml", "monitoring:\n  type: bool", "monitoring:\n  type: str")


def drop_default(tree: Path) -> None:
    change(tree / "copier.yml", "  default: authors@example.org\n", "")


def drop_setting(tree: Path) -> None:
    change(tree / OPS / "settings.py", "    trials: AtLeastOne = 30\n", "")


def add_setting_without_default(tree: Path) -> None:
    change(
        tree / OPS / "settings.py", "    seed: Annotated", "    colour: str\n    seed: Annotated"
    )


def track_a_key(tree: Path) -> None:
    change(tree / "template/dvc.yaml.jinja", "      - validation\n", "      - monitoring\n")


def name_a_key(tree: Path) -> None:
    change(tree / "template/dvc.yaml.jinja", "${data.source}", "${data.place}")


def name_an_entry(tree: Path) -> None:
    change(tree / "template/dvc.yaml.jinja", "${data.source}", "${ data.place[0] }")


def run_a_file(tree: Path) -> None:
    (tree / ML / "rows.py").write_text('"""Rows."""\n')
    change(
        tree / "template/dvc.yaml.jinja",
        "cmd: ops stage ingest",
        "cmd: python src/{{ package_name }}/ml/rows.py",
    )


def depend_on_a_file(tree: Path) -> None:
    (tree / ML / "rows.py").write_text('"""Rows."""\n')
    change(
        tree / "template/dvc.yaml.jinja",
        "      - ${data.source}\n",
        "      - ${data.source}\n      - src/{{ package_name }}/ml/rows.py\n",
    )


def need_a_name(tree: Path) -> None:
    change(tree / "samples/model.py", "MODELS = (", "COLOURS = ()\nMODELS = (")
    change(tree / OPS / "pipeline/train.py", "models.MODELS", "models.COLOURS")


def need_an_imported_name(tree: Path) -> None:
    change(tree / OPS / "pipeline/train.py", "import features\n", "import colours, features\n")


def need_a_module(tree: Path) -> None:
    change(tree / OPS / "pipeline/train.py", "from ...ml.features", "from ...ml.traits")


def need_an_argument(tree: Path) -> None:
    change(
        tree / OPS / "pipeline/evaluate.py",
        "features(arrays, self.contract.text)",
        "features(arrays, of=1)",
    )


def need_fewer_arguments(tree: Path) -> None:
    change(tree / OPS / "pipeline/ingest.py", "source.load(project.root)", "source.load()")


GOES = "what people wrote in it would be lost: keep its name, or name it in a migration of"
MOVE = 'MIGRATIONS["VERSION"] = Migration(moved={"docs/ops/data.md": "docs/ops/rows.md"})'
KEEP = 'MIGRATIONS["VERSION"] = Migration(answers={"license": {"MIT": "Proprietary"}})'


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (drop_words, "CHANGELOG.md has no `## Unreleased` that says what is new"),
        (rename, f"docs/ops/data.md is rendered no more, and {GOES}"),
        (delete, f"CODEOWNERS is rendered no more, and {GOES}"),
        (drop_choice, "`python_version` offers 3.11 no more: keep it, or name the choice"),
        (drop_question, "`user_email` is asked no more, and its answers would be lost"),
        (own_and_delete, f"CODEOWNERS is rendered no more, and {GOES}"),
        (take_over, "README.md is the people's own, and an update would change it"),
        (
            make_binary,
            "docs/ops/data.md is a text no more, and what people wrote in it would be lost",
        ),
        (hide_question, "`user_email` is asked on another condition, and Copier drops the answers"),
        (change_type, "`monitoring` has another type than its answers: keep it bool"),
        (drop_default, "`user_email` has no default, and an update would have to ask"),
    ],
)
def test_a_release_is_refused(
    make: Callable[[Path], None],
    sentence: str,
    tree: Path,
    base: History,
    asked: Callable[..., dict[str, str]],
) -> None:
    make(tree)
    reasons = refused(asked, tree, steps(base)[1])
    assert [it for it in reasons if sentence in it and it.endswith(".")]
    assert len(reasons) == (2 if make is drop_default else 1)  # it cannot be rendered either


def test_what_people_have_since_any_release_is_enough(
    template: Path, base: History, tmp_path: Path
) -> None:
    """Of the working tree, whose answers bring every file."""
    known = {its.name: its for its in base.earlier}
    history = History.of(template, tmp_path, known)
    assert against(history, *({"sample": its} for its in history.tree.choices("sample"))) == []


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (drop_setting, "the params.yaml of 0.1.0: params.yaml: unknown key tune.trials"),
        (add_setting_without_default, "the params.yaml of 0.1.0: "),
        (track_a_key, "dvc.yaml tracks `monitoring`, which the params.yaml of 0.1.0 lacks"),
        (name_a_key, "dvc.yaml tracks `data.place`, which the params.yaml of 0.1.0 lacks"),
        (name_an_entry, "dvc.yaml tracks `data.place`, which the params.yaml of 0.1.0 lacks"),
        (run_a_file, "dvc.yaml depends on src/*/ml/rows.py, which 0.1.0 lacks"),
        (depend_on_a_file, "dvc.yaml depends on src/*/ml/rows.py, which 0.1.0 lacks"),
        (need_a_name, "ops/pipeline/train.py needs `COLOURS` in ml/model.py, which 0.1.0 lacks"),
        (
            need_an_imported_name,
            "ops/pipeline/train.py needs `colours` in ml/features.py, which 0.1.0",
        ),
        (need_a_module, "ops/pipeline/train.py needs ml/traits.py, which 0.1.0 lacks"),
        (need_an_argument, "another `features` in ml/features.py (got an unexpected keyword"),
        (need_fewer_arguments, "another `load` in ml/source.py (missing a required argument"),
    ],
)
def test_what_people_lack_since_an_earlier_release_is_found(
    make: Callable[[Path], None], sentence: str, tree: Path, base: History, tmp_path: Path
) -> None:
    make(tree)
    commit(tree, "Change")
    known = {its.name: its for its in base.earlier}
    history = History.of(tree, tmp_path / "work", known)
    (reason,) = against(replace(history, earlier=base.earlier))
    assert sentence in reason


def test_all_reasons_are_told_at_once(
    tree: Path, base: History, asked: Callable[..., dict[str, str]]
) -> None:
    for make in (drop_words, rename, delete, drop_choice):
        make(tree)
    assert len(refused(asked, tree, steps(base)[0])) == 5  # the new file asks for more than a patch


def test_a_version_follows_the_last_one_and_is_no_smaller_than_what_is_new(
    tree: Path, base: History, asked: Callable[..., dict[str, str]]
) -> None:
    patch, minor, major = steps(base)
    change(tree / "template/.editorconfig", "root = true\n", "root = true # changed\n")
    assert f"## {patch}\n" in asked(tree, patch)[CHANGELOG]
    for version in ("99.0.0", base.last.name, "0.0.9", "next"):
        assert refused(asked, tree, version) == [
            f"{version} does not follow {base.last.name}: make it {patch}, {minor}, {major}."
        ]
    (tree / "template/docs/ops/new.md").write_text("# New\n")
    assert refused(asked, tree, patch) == [
        (
            f"{patch} is too small a step for questions, choices or files that are new: "
            f"make it {minor}."
        )
    ]
    assert f"## {major}\n" in asked(tree, major)[CHANGELOG]


def test_what_a_merge_does_not_show_is_told(
    tree: Path, base: History, asked: Callable[..., dict[str, str]]
) -> None:
    """A file that is handed over, and a question whose answers are judged otherwise."""
    change(tree / "ownership.yml", "  - /README.md\n", "  - /README.md\n  - /CODEOWNERS\n")
    change(tree / "copier.yml", "if package_name | length > 50", "if package_name | length > 40")
    written = " ".join(asked(tree, steps(base)[0])[CHANGELOG].split())
    assert "- Yours from now on, and not kept current: `CODEOWNERS`." in written
    assert "- `package_name` is judged otherwise: where an update refuses the answer" in written
    assert "`project_name` is judged otherwise" not in written


def test_what_people_may_have_is_let_through(
    tree: Path, base: History, asked: Callable[..., dict[str, str]], tmp_path: Path
) -> None:
    """A renamed question that reads its old answer; names that are read with a default."""
    drop_question(tree)
    with (tree / "copier.yml").open("a") as file:
        file.write(
            "\naddress:\n  type: str\n  help: At which address?\n"
            "  default: \"{{ user_email | default('a@example.org') }}\"\n"
        )
    (tree / ML / "rows.py").write_text('"""Rows."""\n')
    change(tree / "samples/model.py", "MODELS = (", "COLOURS = ()\nMODELS = (")
    change(tree / OPS / "pipeline/train.py", "models.MODELS", "getattr(models, 'COLOURS', ())")
    written = asked(tree, steps(base)[1])[CHANGELOG]
    assert "`address` (" in written
    assert "- In new projects only: `src/*/ml/model.py`, `src/*/ml/rows.py`.\n" in written
    known = {its.name: its for its in base.earlier}
    history = History.of(tree, tmp_path / "work", known)
    assert against(replace(history, earlier=base.earlier)) == []


def test_a_migration_is_announced_with_what_to_type(
    tree: Path, base: History, asked: Callable[..., dict[str, str]]
) -> None:
    patch, minor, _ = steps(base)
    rename(tree)
    drop_choice(tree)
    (tree / "template/.dvcignore").unlink()
    (tree / ML / "rows.py").write_text('"""Rows."""\n')
    with (tree / "hooks/migrations.py").open("a") as file:
        file.write(
            f'\nMIGRATIONS["{minor}"] = Migration(\n'
            '    moved={"docs/ops/data.md": "docs/ops/rows.md"},\n'
            '    removed=(".dvcignore",),\n'
            '    seeds=("src/*/ml/rows.py",),\n'
            '    answers={"python_version": {"3.11": "3.12"}},\n)\n'
        )
    with (tree / "copier.yml").open("a") as file:
        file.write(f"---\n{blocks(minor)}")
    since = asked(tree, minor)[CHANGELOG].partition(f"## {minor}")[2]
    written = " ".join(since.partition("\n## ")[0].split())
    assert "`src/*/ml/rows.py`" in written.partition("- Changed:")[0]
    assert "In new projects only" not in written
    assert (
        "- **This release has a migration and needs trust**: `docs/ops/data.md` is now "
        "`docs/ops/rows.md`; `.dvcignore` goes; `src/*/ml/rows.py` comes, and is yours; "
        "`python_version` 3.11 is now 3.12. Read "
        "`hooks/migrations.py` and `hooks/migrate.py`, then type "
        f"`make template-update TRUST={minor}`, or where a project has no such target yet "
        f"`uvx copier update --defaults --trust`. For a scheduled update, add {minor} to "
        "`TRUSTED_TEMPLATE_VERSIONS`; for a fleet, give `hooks/fleet.py update` the option "
        f"`--trust {minor}`. Without it, an update refuses and changes nothing."
    ) in written
    (reason,) = [it for it in refused(asked, tree, patch) if "too small" in it]
    assert reason == f"{patch} is too small a step for a migration: make it {minor}."


@pytest.mark.parametrize(
    ("table", "block", "sentence"),
    [
        (MOVE, "", "hooks/migrations.py and copier.yml must both name"),
        ("", blocks("VERSION"), "hooks/migrations.py and copier.yml must both name"),
        ("", "_migrations: [{command: ls}]", "has no version, so every update crosses it"),
        (
            MOVE,
            "_migrations: [{version: VERSION, command: [hooks/migrate.py]}]",
            "must run hooks/migrate.py at both stages",
        ),
        (
            MOVE,
            "_migrations: [{version: VERSION, when: yes, command: [mv]}]",
            "must run hooks/migrate.py at both stages",
        ),
        (
            MOVE.replace("VERSION", "9.8.7"),
            blocks("9.8.7"),
            "The migration of 9.8.7 belongs to no release",
        ),
        (
            MOVE.replace("rows", "lines"),
            blocks("VERSION"),
            "The migration names docs/ops/lines.md, which the tree does not render",
        ),
        (
            MOVE.replace("data", "models"),
            blocks("VERSION"),
            "The migration takes docs/ops/models.md away, and the tree does not",
        ),
        (KEEP, blocks("VERSION"), "The migration replaces MIT, which `license` still offers"),
    ],
)
def test_a_migration_that_does_not_fit_is_refused(  # noqa: PLR0913, PLR0917
    table: str,
    block: str,
    sentence: str,
    tree: Path,
    base: History,
    asked: Callable[..., dict[str, str]],
) -> None:
    version = steps(base)[1]
    rename(tree)
    for name, text in (("hooks/migrations.py", table), ("copier.yml", f"---\n{block or '{}'}")):
        with (tree / name).open("a") as file:
            file.write(f"\n{text.replace('VERSION', version)}\n")
    assert any(sentence in reason for reason in refused(asked, tree, version))
