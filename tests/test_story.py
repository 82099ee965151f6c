"""The story of `make story`, told once: what the loop promises, measured from end to end."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import asdict
from typing import TYPE_CHECKING

import pytest
from project import apart
from render import ROOT
from story import loop as stories
from story import picture, screens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Project
    from story.loop import Story

REFUSED = 3


PICTURES = ROOT / "docs" / "pictures"

CALM = 3
"""Windows in which nothing changes; all of them where every case is asked for."""


@pytest.fixture(scope="module")
def calm(exhaustive: bool) -> int:  # noqa: FBT001  a fixture
    """How many windows the control run looks at."""
    return stories.WINDOWS if exhaustive else CALM


@pytest.fixture(scope="module")
def teller(
    trained: Callable[[str], Project], calm: int, tmp_path_factory: pytest.TempPathFactory
) -> stories.Teller:
    """Who has told it."""
    folder = tmp_path_factory.mktemp("story")
    mail = apart(trained("mail"), folder / "project")
    told = stories.Teller(stories.Project(mail.root, mail.environment), folder, calm)
    told.tell()
    return told


@pytest.fixture(scope="module")
def story(teller: stories.Teller) -> Story:
    """What happened."""
    return teller.story


def test_without_a_change_nothing_is_retrained(story: Story, calm: int) -> None:
    assert len(story.control) == calm
    assert "retrain" not in [window.decision for window in story.control]
    assert "retrain" not in [window.decision for window in story.windows[: stories.BEFORE]]


def test_a_change_is_noticed_within_one_window_and_decided_within_two(story: Story) -> None:
    first, second = story.windows[stories.BEFORE : stories.BEFORE + 2]
    assert first.decision != "none"
    assert second.decision == "retrain"
    assert stories.BEFORE + 1 in story.trained
    assert first.accuracy < story.windows[0].accuracy - 0.3


def test_the_loop_recovers_what_was_lost(story: Story) -> None:
    """Against a model of the same kind that learnt from the new world without limit."""
    before, after = story.best
    assert story.limit == pytest.approx(after, abs=0.02), "the limit is a good model"
    assert story.accuracy["1"] < story.limit - 0.3, "much was lost"
    assert story.recovered >= 0.95
    last = story.windows[-1]
    assert last.accuracy > story.windows[0].accuracy - 0.05
    assert abs(story.windows[0].accuracy - before) < 0.05


def test_once_recovered_nothing_is_retrained(story: Story) -> None:
    after = max(story.trained) + 1
    assert after < stories.WINDOWS - 1
    assert "retrain" not in [window.decision for window in story.windows[after:]]


def test_a_challenger_from_shuffled_queues_is_refused(story: Story) -> None:
    assert story.refused_with == REFUSED
    assert "refused" in story.refusal


def test_a_rollback_restores_the_earlier_answers_exactly(story: Story) -> None:
    assert story.restored


def test_no_request_is_dropped(story: Story) -> None:
    assert story.asked > 100
    assert story.dropped == 0


def test_the_picture_is_drawn_of_it(story: Story) -> None:
    drawn = picture.draw(asdict(story), stories.BEFORE)
    marks = ET.fromstring(drawn).iter()  # noqa: S314  drawn by the line above
    texts = [mark.text or "" for mark in marks if mark.tag.endswith("text")]
    assert [text for text in texts if text.startswith("version")] == [
        f"version {version}" for version in story.trained.values()
    ]
    assert texts.count("retrain") == sum(w.decision == "retrain" for w in story.windows)
    assert len(drawn) < 20_000


def test_the_pictures_show_the_pages_of_today(teller: stories.Teller, tmp_path: Path) -> None:
    """`make story` takes them anew."""
    taken = screens.take(teller.project, teller.folder, tmp_path)
    assert {f"{name}.png" for name in taken} == {path.name for path in PICTURES.iterdir()}
    for name, screen in taken.items():
        assert screen.outline == screens.outline(PICTURES / f"{name}.png"), name
        screen.write(tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size < 100_000
