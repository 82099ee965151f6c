"""What Copier accepts without a word, and should not stand in copier.yml."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from typing import Any

import pytest
from copier._template import Template as CopierTemplate
from copier._user_data import Question
from render import ROOT, choices, closed, configuration, questions, reserved_names

ASKED = [
    "project_name",
    "project_description",
    "package_name",
    "user_name",
    "user_email",
    "license",
    "python_version",
    "sample",
    "ci",
    "storage",
    "serving",
    "monitoring",
    "deploy",
]
NEEDS_TRUST = {"_tasks", "_jinja_extensions"}
READ_AS = {"_migrations": "migration_tasks"}
"""What Copier calls a setting that it does not call by its name."""


def test_the_questions_are_the_promised_ones_in_order() -> None:
    assert list(questions()) == ASKED


@pytest.mark.parametrize("setting", [key for key in configuration() if key.startswith("_")])
def test_every_setting_is_known_and_needs_no_trust(setting: str) -> None:
    own = READ_AS.get(setting, setting.removeprefix("_"))
    assert hasattr(CopierTemplate, own)
    assert setting not in NEEDS_TRUST


def test_a_migration_needs_trust_of_those_who_cross_it_only() -> None:
    assert all("version" in migration for migration in configuration().get("_migrations", ()))


@pytest.mark.parametrize("name", [key for key in configuration() if not key.startswith("_")])
def test_every_question_is_complete(name: str) -> None:
    question: dict[str, Any] = configuration()[name]
    assert question.keys() <= {field.name for field in fields(Question)}
    assert {"type", "default", "help"} <= question.keys()
    assert re.search(r"[.?]\Z", question["help"]), "help is a sentence"


@pytest.mark.parametrize("name", ASKED)
def test_every_answer_is_held_to_something(name: str) -> None:
    question = questions()[name]
    if name in closed():
        assert question["default"] in choices(name)
    else:
        assert "validator" in question


@pytest.mark.parametrize("name", [name for name in ASKED if "validator" in questions()[name]])
def test_no_pattern_lets_a_trailing_newline_through(name: str) -> None:
    for pattern in re.findall(r"regex_search\('(.*?)'\)", questions()[name]["validator"]):
        assert pattern.startswith(r"\\A")
        assert pattern.endswith(r"\\Z")


def test_every_excluded_path_exists() -> None:
    """A path that was renamed in template/ but not here would be rendered for everybody."""
    conditional = [line for line in configuration()["_exclude"] if line.startswith("{{")]
    paths = [re.findall(r"'(/[^']*)'", line) for line in conditional]
    assert all(len(found) == 1 for found in paths)
    for (path,) in paths:
        matches = [*ROOT.glob(f"template{path}"), *ROOT.glob(f"template{path}.jinja")]
        assert matches, f"nothing in template/ is called {path}"


def test_no_package_can_hide_the_standard_library() -> None:
    names = {name for name in sys.stdlib_module_names if re.match(r"[a-z][a-z0-9_]*\Z", name)}
    assert names <= reserved_names()


def test_few_files_are_templated() -> None:
    """Static first: a file with an answer in it can neither be linted nor run where it lies.

    Those that need only the package's name, tests and the notebook, are not counted.
    """
    named = {"tests", "notebooks"}
    templated = [path for path in ROOT.glob("template/**/*.jinja") if not named & {*path.parts}]
    assert len(templated) < 15
    assert not [path for path in ROOT.glob("template/**/*") if "raw %}" in path.name]
