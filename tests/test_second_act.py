"""The second act of `make story`, told once: what the loop must not learn from."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from overlay import ANSWERS
from project import Project
from story import loop, second
from streams import CYCLE

if TYPE_CHECKING:
    from render import Template
    from story.second import Act

EVERY = 3
"""Windows between two looks; one where every case is asked for."""


@pytest.fixture(scope="module")
def act(
    template: Template,
    machine: dict[str, str],
    exhaustive: bool,  # noqa: FBT001  a fixture
    tmp_path_factory: pytest.TempPathFactory,
) -> Act:
    """What happened."""
    folder = tmp_path_factory.mktemp("act")
    project = Project(template.render(folder / "project", ANSWERS | {"sample": "none"}), machine)
    project.run("make", "setup")
    project.warm()
    told = loop.Project(project.root, project.environment)
    return second.Teller(told, folder, 1 if exhaustive else EVERY).tell()


def test_a_season_that_comes_back_is_no_news(act: Act) -> None:
    assert len(act.season) >= CYCLE // EVERY
    assert set(act.season) == {"none"}


def test_of_another_unit_people_are_told_and_nothing_is_trained(act: Act) -> None:
    assert act.fault == "alert"
    assert re.match(r"Look upstream: distance is 2\.\d+ times what it was", act.advice)
    assert "not needed" in act.if_needed


def test_wrong_labels_are_refused_by_the_name_of_who_told_them(act: Act) -> None:
    assert act.wrong > 100
    assert "partner" in act.refusal
    assert "depot" not in act.refusal
    assert re.search(r"ops labels exclude --key '?partner'? ", act.refusal)


def test_without_them_the_model_learns(act: Act) -> None:
    assert re.search(r"^Version 2 \(champion\) is registered", act.retrained, re.MULTILINE)


def test_what_was_taken_back_is_not_learnt(act: Act) -> None:
    assert f"took in {len(act.sure):,} labelled rows" in act.retrained
