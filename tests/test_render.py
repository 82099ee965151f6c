"""Every pair of answers, rendered: files that parse, are formatted, and show no trace of others."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections import Counter
from functools import cache
from itertools import combinations
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from render import ROOT, all_pairs, choices, closed, questions, run, several

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

    from render import Template

OPTIONS = {name: choices(name) for name in closed()}
PAIRS = list(all_pairs(OPTIONS))
LICENSES = {
    "MIT": "MIT License",
    "Apache-2.0": "Apache License",
    "BSD-3-Clause": "BSD 3-Clause License",
    "Proprietary": "All rights reserved",
}
# Words that only a project with this answer may hold, whatever their case.
TRACES: dict[str, dict[Any, str]] = {
    "ci": {"github": r"github|pull request", "gitlab": r"gitlab|merge request"},
    "sample": {
        "breast-cancer": r"breast|benign|malignant",
        "diabetes": r"diabetes",
        "support-mail": r"support-mail|\bbank\b",
        "digits": r"load_digits|1,797",
        "smart-cart": r"simulated carts|catalogue\.csv",
    },
    "serving": {
        True: r"\bserving\b(?!: false)|(ops|make) serve\b|uvicorn|prometheus|docker|grafana"
    },
    "monitoring": {True: r"(ops|make) (monitor|retrain)\b|\bops/(monitoring|retraining)\b"},
    "deploy": {
        "kubernetes": r"kubectl|kustomiz",
        "aws": r"terraform",
        "azure": r"azureml\b|az ml",
        "google": r"make vertex|aiplatform",
    },
    "storage": {
        "s3": r'"dvc-s3\b',
        "gcs": r'"dvc-gs\b',
        "azure": r'"dvc-azure\b',
        "ssh": r'"dvc-ssh\b',
    },
    "license": {"Apache-2.0": r"apache", "BSD-3-Clause": r"\bbsd\b"},
}
# Where a template may lie, wherever its projects do.
SOURCES = re.compile(r'"https://git(hub|lab)\.com/"')


@cache
def texts(project: Path) -> list[tuple[str, str]]:
    """Every file of a render: its path with forward slashes, and what it says."""
    files = [path for path in sorted(project.rglob("*")) if path.is_file()]
    return [(path.relative_to(project).as_posix(), path.read_text("utf-8")) for path in files]


@cache
def holds(pattern: str, name: str, text: str) -> bool:
    """Whether a file or its name says something, but where a template may lie."""
    return bool(re.search(pattern, f"{name}\n{SOURCES.sub('', text)}", re.IGNORECASE))


@cache
def parse(kind: str, text: str) -> None:
    """Read a file as what its name's end says it is; raises what the parser raises.

    Most files are the same in all renders, so each is read once.
    """
    match kind:
        case "py" | "pyi":
            ast.parse(text)
        case "toml":
            tomllib.loads(text)
        case "json" | "ipynb":
            json.loads(text)
        case "yaml" | "yml" | "dvc":
            for _ in yaml.parse(text):
                pass


@pytest.fixture(
    scope="module", params=PAIRS, ids=lambda answers: "-".join(map(str, answers.values()))
)
def answers(request: pytest.FixtureRequest) -> dict[str, Any]:
    """One set of answers out of a few in which any two answers meet."""
    chosen: dict[str, Any] = request.param
    served = chosen["serving"]
    return {
        **chosen,
        "monitoring": served and chosen["monitoring"],
        "deploy": chosen["deploy"] if served else "[]",
    }


@pytest.fixture(scope="module")
def project(rendered: Callable[..., Path], answers: dict[str, Any]) -> Path:
    """The render with those answers; tests must leave it as it is."""
    return rendered(**answers)


def test_any_two_answers_meet() -> None:
    met = Counter(pair for answers in PAIRS for pair in combinations(answers.items(), 2))
    names = combinations(OPTIONS.items(), 2)
    assert set(met) == {
        ((first, one), (second, two))
        for (first, ones), (second, twos) in names
        for one in ones
        for two in twos
    }


def test_every_file_is_plain_text_that_parses(project: Path) -> None:
    for name, text in texts(project):
        parse(name.rpartition(".")[2], text)
        assert "\r" not in text, name
        assert not re.search(r"[ \t]$", text, re.MULTILINE), f"{name}: space at the end of a line"
        assert not text or re.search(r"[^\n]\n\Z", text), f"{name}: one newline ends a file"


def test_nothing_of_the_template_language_is_left(project: Path) -> None:
    names = "|".join([*questions(), "_copier", "_message"])
    for name, text in texts(project):
        if name.endswith(".j2"):  # a template of the project's own
            continue
        assert not re.search(r"\{%", text), name
        assert not re.search(rf"(?<!\$)\{{\{{[^}}]*\b({names})", text), name
        assert not name.endswith(".jinja")


def test_names_are_legal_on_every_system(project: Path) -> None:
    names = [name for name, _ in texts(project)]
    assert max(map(len, names)) < 120
    assert len({name.lower() for name in names}) == len(names)
    for part in {part for name in names for part in name.split("/")}:
        assert re.fullmatch(r"[A-Za-z0-9._-]*[A-Za-z0-9_-]", part), part
        assert not re.match(r"(con|prn|aux|nul|com\d|lpt\d)(\.|\Z)", part, re.IGNORECASE), part


def test_ruff_finds_nothing(project: Path) -> None:
    run("ruff", "format", "--check", "--no-cache", ".", cwd=project)
    run("ruff", "check", "--no-cache", ".", cwd=project)


def test_no_option_leaves_a_trace_of_another(project: Path, answers: dict[str, Any]) -> None:
    for question, words in TRACES.items():
        for answer, pattern in words.items():
            found = {name for name, text in texts(project) if holds(pattern, name, text)}
            given = answers[question]
            if given == answer or (several(question) and answer in given):
                assert found, f"{answer} is nowhere"
            else:
                assert not found, f"{answer} in {sorted(found)}"


def test_the_license_is_the_chosen_one(project: Path, answers: dict[str, Any]) -> None:
    text = (project / "LICENSE").read_text()
    assert "The authors" in text
    assert {name for name, title in LICENSES.items() if title in text} == {answers["license"]}


def test_the_answers_are_recorded(project: Path, answers: dict[str, Any]) -> None:
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    asked = questions().keys() - (set() if answers["serving"] else {"monitoring", "deploy"})
    assert recorded.keys() == {*asked, "_src_path", "_commit"}
    for name in answers.keys() & asked:
        given = answers[name]
        assert recorded[name] == (yaml.safe_load(given) if several(name) else given)
    assert recorded["_commit"] == "v9999.0.0"


def test_only_the_chosen_python_is_named(project: Path, answers: dict[str, Any]) -> None:
    version = answers["python_version"]
    settings = tomllib.loads((project / "pyproject.toml").read_text())
    assert settings["project"]["requires-python"] == f">={version}"
    assert (project / ".python-version").read_text() == f"{version}\n"


def lost(root: Path, documents: Iterable[Path]) -> list[str]:
    """Links to files that are not there."""
    return [
        f"{path.relative_to(root)}: {link}"
        for path in documents
        for link in re.findall(r"\]\(([^)#:\s]+)[^):]*\)", path.read_text())
        if not (path.parent / link).exists()
    ]


def test_links_lead_somewhere(project: Path) -> None:
    assert not lost(project, project.glob("**/*.md"))


def test_links_of_the_template_lead_somewhere() -> None:
    assert not lost(ROOT, [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


def test_git_ignores_nothing_of_the_template() -> None:
    """Copier would leave it out of a render of changes that are not committed."""
    assert run("git", "ls-files", "--cached", "--ignored", "--exclude-standard", cwd=ROOT) == ""


def test_a_render_depends_on_the_answers_alone(
    rendered: Callable[..., Path], template: Template, tmp_path: Path
) -> None:
    again = template.render(tmp_path / "with spaces" / "again", {})
    assert dict(texts(again)) == dict(texts(rendered()))
