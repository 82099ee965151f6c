"""Repositories that were never rendered, in the shapes that people have, are adopted."""

from __future__ import annotations

import functools
import re
import sys
import tomllib
from typing import TYPE_CHECKING, Any

import adopt
import pytest
from commands import unmerged
from documents import commands
from render import ROOT, Template, outline, run
from test_update import update

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Ask = Callable[..., tuple[int, str]]

PAGE = ROOT / "docs" / "adopt.md"
HOST = "git+https://github.com/copier-mlops/copier-mlops"
NOTEBOOK = '{"cells": [{"source": ["import mlflow"]}], "metadata": {}, "nbformat": 4}\n'
TERMS = "Copyright (c) 2021, Ada Lovelace\n\nPermission is hereby granted, free of charge, ...\n"

# What people have, by its shape: the files, what is recognised, answers, and what conflicts.
SHAPES: dict[str, tuple[dict[str, str], list[str], dict[str, str], set[str]]] = {
    "cookiecutter-data-science 1": (
        {
            "LICENSE": TERMS,
            "Makefile": "data: requirements\n\tpython src/data/make_dataset.py\n",
            "README.md": "# Churn\n\nOur own words.\n",
            ".gitignore": "__pycache__/\n/data/\n.env\n*.log\n",
            "data/raw/churn.csv": "age,churned\n30,yes\n",
            "data/interim/.gitkeep": "",
            "data/processed/.gitkeep": "",
            "models/.gitkeep": "",
            "notebooks/1.0-ada-first-look.ipynb": NOTEBOOK,
            "references/.gitkeep": "",
            "reports/figures/.gitkeep": "",
            "requirements.txt": "scikit-learn\n",
            "setup.py": "from setuptools import setup\nsetup(name='src', author='Alan Turing')\n",
            "src/__init__.py": "",
            "src/data/make_dataset.py": "ROWS = 1\n",
            "src/features/build_features.py": "WIDTH = 2\n",
            "src/models/train_model.py": "DEPTH = 3\n",
            "src/visualization/visualize.py": "COLOUR = 4\n",
            "tests/test_environment.py": "",
            ".gitlab-ci.yml": "test:\n  script: [make test]\n",
        },
        ["cookiecutter-data-science", "MLflow", "notebooks", "scripts"],
        {"license": "MIT", "user_name": "Ada Lovelace", "ci": "gitlab", "package_name": "churn"},
        {"Makefile", ".gitlab-ci.yml"},
    ),
    "cookiecutter-data-science 2": (
        {
            "Makefile": "lint:\n\truff check\n",
            "pyproject.toml": '[project]\nname = "prices"\nrequires-python = "~=3.11.0"\n',
            ".gitignore": "/data/\n*.parquet\n",
            "data/raw/houses.parquet": "not looked into",
            "data/external/.gitkeep": "",
            "docs/mkdocs.yml": "site_name: prices\n",
            "house_prices/__init__.py": "",
            "house_prices/features.py": "WIDTH = 2\n",
            "house_prices/modeling/train.py": "DEPTH = 3\n",
            "models/.gitkeep": "",
            ".github/workflows/lint.yml": "on: push\n",
        },
        ["cookiecutter-data-science"],
        {
            "project_name": "prices",
            "package_name": "house_prices",
            "python_version": "3.11",
            "ci": "github",
            "license": "Proprietary",
        },
        {"Makefile", "pyproject.toml"},
    ),
    "a package of Poetry": (
        {
            "pyproject.toml": (
                '[tool.poetry]\nname = "churn-model"\nlicense = "MIT"\n'
                'authors = ["Grace Hopper <grace@example.org>"]\n\n'
                '[tool.poetry.dependencies]\npython = "^3.12"\n'
            ),
            "src/churn_model/__init__.py": '"""Ours."""\n',
        },
        ["no shape that is known"],
        {
            "project_name": "churn-model",
            "package_name": "churn_model",
            "user_name": "Grace Hopper",
            "user_email": "grace@example.org",
            "license": "MIT",
            "python_version": "3.12",
        },
        {"pyproject.toml", "src/churn_model/__init__.py"},
    ),
    "notebooks and scripts": (
        {
            "Untitled.ipynb": NOTEBOOK.replace("mlflow", "pandas"),
            "train.py": "print('trained')\n",
            "utils.py": "",
            "mails.csv": "text,queue\nhello,sales\n",
        },
        ["notebooks", "scripts"],
        {"license": "Proprietary", "ci": "github", "user_email": "ada@example.org"},
        set(),
    ),
    "a DVC pipeline": (
        {
            "dvc.yaml": "stages:\n  train:\n    cmd: python prepare.py\n    deps: [prepare.py]\n",
            "params.yaml": "prepare:\n  share: 0.2\n",
            ".dvc/config": "[core]\n    remote = ours\n",
            ".dvcignore": "scratch/\n",
            "data/rows.csv.dvc": "outs:\n- path: rows.csv\n",
            "prepare.py": "",
            "setup.py": "setup(python_requires='!=3.12.*, < 3.14,>=3.13')\n",
        },
        ["a DVC pipeline", "scripts"],
        {"python_version": "3.13"},
        {"dvc.yaml", "params.yaml", ".dvc/config", ".dvcignore"},
    ),
    "MLflow": (
        {
            "src/mails/__init__.py": '"""Ours."""\n',
            "src/mails/train.py": "import mlflow\n\nmlflow.autolog()\n",
            "mlruns/0/meta.yaml": "experiment_id: '0'\n",
            "environment.yml": "dependencies:\n  - python=3.9\n",
            "LICENSE": "GNU GENERAL PUBLIC LICENSE\nCopyright (C) [year] [name of the author]\n",
            "setup.cfg": "[metadata]\nname = mail-router\nauthor = Grace Hopper\n",
            "setup.py": "setup(author_email='grace@example.org')\n",
        },
        ["MLflow", "scripts"],
        {
            "project_name": "mail-router",
            "package_name": "mails",
            "user_name": "Grace Hopper",
            "user_email": "grace@example.org",
            "python_version": "3.11",
            "license": "Proprietary",
        },
        {"src/mails/__init__.py"},
    ),
}


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Template:
    """Two releases: the working tree, and one that says a line anew."""
    del isolated
    made = Template.of(outline(), tmp_path_factory.mktemp("adopt") / "template")
    made.release("v1.0.0")
    with (made.source / "template" / ".editorconfig").open("a") as file:
        file.write("# said anew\n")
    return made.release("v1.1.0")


@pytest.fixture
def ask(
    template: Template, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Ask:
    """Type a command, and get its exit code and what it printed."""

    def typed(*words: str | Path) -> tuple[int, str]:
        given = ["adopt.py", *map(str, words), "--template", str(template.source)]
        monkeypatch.setattr(sys, "argv", given)
        with pytest.raises(SystemExit) as ended:
            adopt.main()
        said = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, said.out + said.err

    return typed


def planted(folder: Path, files: dict[str, str]) -> Path:
    """A repository of two commits with these files."""
    run("git", "init", "--quiet", folder, cwd=folder.parent)
    for number, (name, content) in enumerate(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
        if number in {0, len(files) - 1}:
            run("git", "add", "--all", "--force", cwd=folder)
            run("git", "commit", "--quiet", "--message", f"Our own: {name}", cwd=folder)
    return folder


def with_submodule(repository: Path, place: str) -> Path:
    """The repository, with another one in it, whose code nobody has put into shape."""
    other = planted(repository.with_name("other"), {"read.py": "import os,sys\n"})
    add = ("-c", "protocol.file.allow=always", "submodule", "--quiet", "add")
    run("git", *add, other, place, cwd=repository)
    run("git", "commit", "--quiet", "--message", "Theirs, too", cwd=repository)
    return repository


def state(repository: Path) -> str:
    """Everything that git knows of a repository, and its work tree."""
    return "".join(
        run("git", *command, cwd=repository)
        for command in (("show-ref",), ("status", "--porcelain", "--branch", "--ignored"))
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_a_repository_is_adopted_and_then_updated(shape: str, tmp_path: Path, ask: Ask) -> None:
    files, kinds, answers, conflicts = SHAPES[shape]
    repository = planted(tmp_path / "churn", files)
    history = run("git", "log", "--format=%H", cwd=repository).split()
    before = state(repository)

    code, said = ask(repository, "--vcs-ref", "v1.0.0")
    assert (code, state(repository)) == (0, before)
    assert said.startswith(f"churn: {', '.join(kinds)}\n")
    for name, value in answers.items():
        assert re.search(rf"^  {name} +{re.escape(value)}  ", said, re.MULTILINE), said
    assert set(re.findall(r"^  (\S+): conflicts", said, re.MULTILINE)) == conflicts
    assert "Nothing was changed" in said

    code, said = ask(repository, "--vcs-ref", "v1.0.0", "--apply")
    assert code == (3 if conflicts else 0)
    assert set(unmerged(repository)) == conflicts
    for name in conflicts:
        assert "<<<<<<< HEAD" in (repository / name).read_text()
        run("git", "checkout", "--ours", "--", name, cwd=repository)
        run("git", "add", name, cwd=repository)
    if conflicts:
        run("git", "commit", "--quiet", "--no-edit", cwd=repository)
    assert run("git", "status", "--porcelain", cwd=repository) == ""
    log = run("git", "log", "--format=%H %B", "-z", cwd=repository).split("\0")
    assert log[0].partition(" ")[2].strip() == "Adopt the template, release v1.0.0"
    assert [line.split()[0] for line in log[1:] if line] == history

    update(repository)
    assert unmerged(repository) == []
    assert (repository / ".editorconfig").read_text().endswith("# said anew\n")
    for name, content in files.items():
        if name == ".gitignore":
            kept = {*content.splitlines()} - {"/data/"}  # which would hide files of the template
            assert kept <= {*(repository / name).read_text().splitlines()}
        else:
            assert (repository / name).read_text() == content, name


def test_the_report_says_where_files_belong(tmp_path: Path, ask: Ask) -> None:
    files, *_ = SHAPES["cookiecutter-data-science 1"]
    _, said = ask(planted(tmp_path / "churn", files))
    for path, sentence in {
        "data/raw/churn.csv": "`ops data use` reads it and writes src/churn/ml/schema.py",
        "notebooks/1.0-ada-first-look.ipynb": "stays: notebooks/ is yours",
        "src/data/make_dataset.py": "src/churn/ml/source.py: where rows come from",
        "src/features/build_features.py": "src/churn/ml/features.py: what the model sees",
        "src/models/train_model.py": "src/churn/ml/model.py: the models",
        "requirements.txt, setup.py": "pyproject.toml, by `uv add`",
    }.items():
        assert re.search(rf"^  {re.escape(path)}\n    {re.escape(sentence)}", said, re.MULTILINE)
    assert "README.md: yours is kept" in said
    assert ".gitignore: the template's lines, and yours below them" in said
    files, *_ = SHAPES["a DVC pipeline"]  # with a stage of the same name as the template's
    _, said = ask(planted(tmp_path / "pipeline", files))
    assert "under names and with outputs of their own" in said
    assert adopt.Repository.at(tmp_path / "pipeline").data() == []  # only DVC has its rows
    files, *_ = SHAPES["cookiecutter-data-science 2"]
    _, said = ask(planted(tmp_path / "prices", files), "-d", "ci=gitlab")
    assert "src/house_prices/: two packages of one name would hide each other" in said
    assert re.search(r"^  ci +gitlab +you$", said, re.MULTILINE)


def test_what_a_repository_tells_amiss_is_dropped_or_said(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Guesses that the template refuses, names of another spelling, code of other habits."""
    monkeypatch.setenv("GIT_AUTHOR_EMAIL", "7+ada@users.noreply.example.org")
    files = {
        ".github/PULL_REQUEST_TEMPLATE.md": "Ours.\n",
        ".gitignore": "/notebooks/\n/.github/*\n*.log\n",
        ".python-version": "3.14\n",
        "LICENSE.txt": "The copyright notice and this permission notice shall be included.\n",
        "a/pyproject.toml": "",
        "b/package.json": "",
        "data/raw/my rows.csv": "age,churned\n30,yes\n",
        "models/__init__.py": "",
        "models/net.py": "import os,sys\n",
        "src/churn/__init__.py": "",
        "tests/test_net.py": "import os,sys\n",
    }
    repository = with_submodule(planted(tmp_path / "churn", files), "vendor/read")
    _, said = ask(repository)
    assert re.search(
        r"^Not taken: package_name=models, from the package models/\. Choose", said, re.MULTILINE
    )
    assert re.search(r"^  user_name +Ada Lovelace +the last commit$", said, re.MULTILINE)
    assert "noreply" not in said
    assert ".python-version says 3.14, which is above what the template has" in said
    assert "LICENSE.txt: the template calls it LICENSE; keep one of them" in said
    assert "the template calls it .github/pull_request_template.md" in said
    assert "src/churn/__init__.py: the template's, for yours is empty" in said
    assert "Several projects lie in it (a/, b/)" in said

    code, said = ask(repository, "--apply")
    assert code == 3
    assert unmerged(repository) == [".python-version"]
    assert "ops data use 'data/raw/my rows.csv' --target" in said
    assert "git commit --message" in said
    run("git", "checkout", "--theirs", "--", ".python-version", cwd=repository)
    ignored = (repository / ".gitignore").read_text().splitlines()
    assert ("*.log" in ignored, {"/notebooks/", "/.github/*"} & {*ignored}) == (True, set())
    settings = tomllib.loads((repository / "pyproject.toml").read_text())["tool"]
    assert settings["ruff"]["extend-exclude"] == ["models", "tests", "vendor"]
    assert settings["mypy"]["exclude"] == ["^models", "^tests", "^vendor"]
    run(
        "ruff",
        "check",
        "--no-cache",
        "--force-exclude",
        "models",
        "tests",
        "vendor",
        cwd=repository,
    )


def test_what_is_advised_can_be_typed_and_an_old_python_is_said(tmp_path: Path) -> None:
    *_, use, _, _ = adopt.done([], ["-my rows.csv"])
    assert use == "  uv run ops data use './-my rows.csv' --target COLUMN"
    theirs = planted(tmp_path / "old", {"setup.py": "setup(python_requires='>=3.9, <3.11')\n"})
    where = "setup.py says 3.9, which is below what the template has"
    assert adopt.derived(adopt.Repository.at(theirs))["python_version"] == ("3.11", where)


BSD = (
    "Copyright (c) 2020-2024, The Churn Authors. All rights reserved.\n\nNeither the name of ...\n"
)


@pytest.mark.parametrize(
    ("files", "answers"),
    [
        (
            {"LICENSE": "YEAR: 2023\nCOPYRIGHT HOLDER: A. Lovelace\n", "LICENSE.md": TERMS},
            {"license": "MIT", "user_name": "Ada Lovelace"},
        ),
        ({"LICENSE-MIT": TERMS, "LICENSE-OTHER": "Public\n"}, {"license": "MIT"}),
        ({"Licence": BSD}, {"license": "BSD-3-Clause", "user_name": "The Churn Authors"}),
        (
            {"LICENSE": "All rights reserved.\n", "LICENSE-3rd-party.txt": TERMS},
            {"license": "Proprietary"},
        ),
    ],
)
def test_the_licence_may_lie_in_several_files(
    tmp_path: Path, ask: Ask, files: dict[str, str], answers: dict[str, str]
) -> None:
    _, said = ask(planted(tmp_path / "churn", files))
    for name, value in answers.items():
        assert re.search(rf"^  {name} +{re.escape(value)}  ", said, re.MULTILINE), said


def test_no_line_hides_what_the_project_will_make(tmp_path: Path, ask: Ask) -> None:
    """The lines of Kedro, and of people who keep neither locks nor reports."""
    lines = ["data/**", "!data/**/", "*.lock", "/reports", "*.csv", "*.dvc", "conf/local/**"]
    repository = planted(tmp_path / "churn", {".gitignore": "\n".join([*lines, ""])})
    assert ask(repository, "--apply")[0] == 0
    kept = {*(repository / ".gitignore").read_text().splitlines()}
    assert {"*.csv", "conf/local/**"} <= kept
    made = ["uv.lock", "dvc.lock", "data/source.csv.dvc", "reports/metrics.json"]
    for name in made:
        with pytest.raises(AssertionError):  # git says that it ignores none of them
            run("git", "check-ignore", "--quiet", "--no-index", name, cwd=repository)


def _none(folder: Path) -> None:
    folder.mkdir()


def _inside(folder: Path) -> None:
    planted(folder.parent, {"README.md": "larger\n"})
    folder.mkdir()


def _dirty(folder: Path) -> None:
    (planted(folder, {"README.md": "ours\n"}) / "new.py").touch()


def _empty(folder: Path) -> None:
    run("git", "init", "--quiet", folder, cwd=folder.parent)


def _branch(folder: Path) -> None:
    run("git", "branch", adopt.BRANCH, cwd=planted(folder, {"README.md": "ours\n"}))


def _ignored(folder: Path) -> None:
    planted(folder, {".gitignore": "Makefile\n"})
    (folder / "Makefile").write_text("ours\n")


def _link(folder: Path) -> None:
    folder.mkdir()
    (folder / "data").symlink_to("/mnt/share")
    planted(folder, {"train.py": ""})


def _submodule(folder: Path) -> None:
    with_submodule(planted(folder, {"train.py": ""}), "notebooks")


def _sha256(folder: Path) -> None:
    run("git", "init", "--quiet", "--object-format=sha256", folder, cwd=folder.parent)
    planted(folder, {"train.py": ""})


REFUSALS: dict[str, tuple[Any, str]] = {
    "no repository": (_none, "is no git repository"),
    "a folder of one": (_inside, "lies inside a repository: name its root"),
    "uncommitted": (_dirty, "holds changes that are not committed"),
    "empty": (_empty, "holds no committed file"),
    "adopted": (_branch, "has a branch adopt-template already"),
    "rendered": (
        functools.partial(planted, files={".copier-answers.yml": "_commit: v1\n"}),
        "was rendered already: run `make template-update` there",
    ),
    "ignored": (_ignored, "Makefile is yours, but git ignores it"),
    "a file for a folder": (
        functools.partial(planted, files={"src": "ours\n"}),
        "src is a file on one side and a folder on the other",
    ),
    "a submodule": (_submodule, "notebooks is a submodule on one side and a folder on the other"),
    "SHA-256": (_sha256, "names its objects by SHA-256, which Copier's updates cannot"),
    "a link": (_link, "data is a link, and the template has one of that name"),
    "a folder for a file": (
        functools.partial(planted, files={"Makefile/notes.md": "ours\n"}),
        "Makefile is a file on one side and a folder on the other",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_what_cannot_be_adopted_is_refused_in_a_sentence(
    case: str, tmp_path: Path, ask: Ask
) -> None:
    prepare, sentence = REFUSALS[case]
    folder = tmp_path / "larger" / "churn"
    folder.parent.mkdir()
    prepare(folder)
    code, said = ask(folder, "--apply")
    assert (code, said.count("\n")) == (2, 1)
    assert said.startswith("adopt: ")
    assert sentence in said


def test_a_failure_leaves_the_repository_as_it_was(
    tmp_path: Path, ask: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    repository = planted(tmp_path / "churn", {"README.md": "ours\n", ".gitignore": "*.log\n"})
    before = state(repository)
    for name in ("user.name", "user.email"):
        run("git", "config", name, "", cwd=repository)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    assert ask(repository, "--apply", "-d", "user_name=Ada")[0] == 2
    assert state(repository) == before


def test_every_documented_command_runs(tmp_path: Path, template: Template) -> None:
    """As a reader types them, in an environment that uv makes of what the script declares."""
    planted(tmp_path / "churn", SHAPES["notebooks and scripts"][0])
    (tmp_path / "hooks").symlink_to(ROOT / "hooks")
    typed = [command for command in commands(PAGE.read_text()) if "adopt" in command]
    assert any("--apply" in command for command in typed)
    assert any(HOST in command for command in typed)
    for command in typed:
        here = command.replace(HOST, str(ROOT))
        run("bash", "-c", f"{here} --template '{template.source}'", cwd=tmp_path)
    branch = run("git", "branch", "--show-current", cwd=tmp_path / "churn")
    assert branch == f"{adopt.BRANCH}\n"
