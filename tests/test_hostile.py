"""Text that breaks files, on every question that takes text: refused in a sentence, or harmless.

Only a templated file can hold an answer, so these renders are made of nothing else.
"""

from __future__ import annotations

import keyword
import tomllib
from pathlib import Path

import pytest
import yaml
from render import Template, closed, questions, reserved_names, run, working_tree
from test_render import parse, texts

TEXT = [name for name in questions() if name not in closed()]
HOSTILE = {
    "empty": "",
    "spaces": "   ",
    "space at an end": "name ",
    "newline": "one\ntwo",
    "newline at the end": "name\n",
    "carriage return": "one\rtwo",
    "tab": "one\ttwo",
    "line separator": "one\u2028two",
    "next line": "one\x85two",
    "null byte": "one\0two",
    "escape": "\x1b[31mred",
    "right to left": "user\u202egnp.exe",
    "byte order mark": "\ufeffname",
    "double quotes": 'say "yes"',
    "three double quotes": '"""',
    "single quotes": "O'Brien's",
    "backslash": "C:\\new\\table",
    "backslash at the end": "name\\",
    "accents": "Größe Ærøskøbing",
    "other scripts": "機械学習 модель",
    "emoji": "🦊🏳️‍🌈",
    "very long": "long " * 2000 + "name",
    "very long word": "x" * 100,
    "html": "<script>alert(1)</script>",
    "html comment": "<!-- hidden",
    "yaml mapping": "key: value # comment",
    "yaml sequence": "- item",
    "yaml alias": "*anchor",
    "yaml anchor": "&anchor x",
    "yaml tag": "!!python/object:os.system",
    "yaml block": "|",
    "yaml document": "---",
    "yaml merge": "<<: *anchor",
    "yaml percent": "%TAG ! tag:",
    "null": "null",
    "boolean": "true",
    "number": "1e3",
    "sexagesimal": "12:30:45",
    "date": "2020-01-01",
    "braces": "{a: [b",
    "toml table": "[tool.ruff]",
    "jinja expression": "{{ 7 * 7 }}",
    "jinja unfinished": "{{ 7 * 7",
    "jinja block": "{% raw %}",
    "jinja block of this template": "# {% if ci %}",
    "jinja comment": "{# hidden #}",
    "workflow expression": "${{ secrets.TOKEN }}",
    "shell substitution": "$(touch pwned)",
    "shell backticks": "`touch pwned`",
    "shell variable": "$HOME ${HOME}",
    "make function": "$(shell touch pwned)",
    "option": "--help",
    "parent folder": "../../outside",
    "absolute path": "/etc/passwd",
    "format": "%s %(name)s {0} {name}",
    "markdown link": "[click](https://example.org)",
    "markdown heading": "# heading",
    "markdown table": "a | b",
    "upper case": "Model",
    "digit": "1model",
    "dunder": "__init__",
    "two underscores": "a__b",
    "hyphen": "my-model",
    "dot": "my.model",
    "full-width": "\uff4dodel",
    "address": "ada@example.org",
    "address and name": "Ada <ada@example.org>",
    "two addresses": "a@example.org, b@example.org",
    "address with a comment": "ada@example.org # everything",
}


@pytest.fixture(scope="module")
def asking(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A template with the real questions that renders only the answers."""
    files = ["copier.yml", "reserved.yml", "template/.copier-answers.yml.jinja"]
    return Template.of(map(Path, files), tmp_path_factory.mktemp("asking"))


@pytest.fixture(scope="module")
def templated(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """The template without its plain files."""
    files = [
        file
        for file in working_tree()
        if file.parts[0] != "template" or file.suffix == ".jinja" or file.name == "__init__.py"
    ]
    return Template.of(files, tmp_path_factory.mktemp("templated"))


@pytest.fixture(scope="module", params=HOSTILE.values(), ids=list(HOSTILE))
def hostile(request: pytest.FixtureRequest) -> str:
    """One text that somebody might answer."""
    text: str = request.param
    return text


@pytest.fixture(scope="module")
def refusals(
    asking: Template, hostile: str, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What each question says to that text: a sentence, or nothing where it is let through."""
    said = {}
    for question in TEXT:
        destination = tmp_path_factory.mktemp("asked") / "project"
        try:
            asking.render(destination, {question: hostile})
            said[question] = ""
        except ValueError as error:
            said[question] = str(error)
            assert not destination.exists(), "nothing is half-written"
    return said


def test_a_refusal_is_one_sentence(refusals: dict[str, str]) -> None:
    for question, said in refusals.items():
        if said:
            assert said.startswith(f"Validation error for question '{question}': ")
            sentence = said.partition(": ")[2]
            assert sentence.endswith((".", "my_model", "name@example.org.")), sentence
            assert "\n" not in sentence
            assert len(sentence) < 120


def test_what_is_let_through_is_harmless(
    templated: Template,
    hostile: str,
    refusals: dict[str, str],
    tmp_path: Path,
) -> None:
    """It comes back from every parser as it went in, and moves no file."""
    answers = {question: hostile for question, said in refusals.items() if not said}
    project = templated.render(tmp_path / "project", {"package_name": "my_model"} | answers)
    for name, text in texts(project):
        parse(name, text)
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert {question: recorded[question] for question in answers} == answers
    settings = tomllib.loads((project / "pyproject.toml").read_text())["project"]
    assert settings["description"] == recorded["project_description"]
    assert settings["authors"] == [{"name": recorded["user_name"], "email": recorded["user_email"]}]
    assert [path.name for path in tmp_path.iterdir()] == ["project"]
    run("ruff", "format", "--check", "--no-cache", ".", cwd=project)


@pytest.mark.parametrize(
    "name",
    ["class", "json", "sklearn", "ops", "ml", "tests", "con", "match", "true", "_x", "x_", "A"],
)
def test_a_package_cannot_shadow_or_break_an_import(
    asking: Template, tmp_path: Path, name: str
) -> None:
    with pytest.raises(ValueError, match="package"):
        asking.render(tmp_path / "project", {"package_name": name})


def test_no_keyword_can_be_a_package() -> None:
    words = [*keyword.kwlist, *keyword.softkwlist]
    assert {
        word for word in words if word.islower() and word.strip("_") == word
    } <= reserved_names()


@pytest.mark.parametrize(
    ("project_name", "package_name"),
    [
        ("Credit risk, 2nd try", "credit_risk_2nd_try"),
        ("2nd try", "project_2nd_try"),
        ("Statistics", "statistics_project"),
        ("機械学習", "my_project"),
        ("O'Brien -- and  sons", "o_brien_and_sons"),
        ("n" * 80, "n" * 40),
    ],
)
def test_a_package_is_derived_from_any_name(
    asking: Template, tmp_path: Path, project_name: str, package_name: str
) -> None:
    project = asking.render(tmp_path / "project", {"project_name": project_name})
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert recorded["package_name"] == package_name
