"""The sample `support-mail`: simulated, said to be so, and as hard as it says."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING

import pytest
from project import all_passed, asked
from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable

    from project import Project


@pytest.fixture(scope="module")
def mail(trained: Callable[[str], Project]) -> Project:
    """The project that begins with the mails; tests leave it as it is."""
    return trained("mail")


def test_the_simulator_draws_what_it_says(mail: Project) -> None:
    assert all_passed(asked(mail, "mail/simulator.py"))


def test_wherever_it_shows_it_is_said_to_be_simulated(mail: Project) -> None:
    places = [mail.root / "README.md", *mail.root.glob("src/*/ml/s*.py"), ROOT / "copier.yml"]
    assert len(places) == 4
    for place in places:
        assert re.search("simulat", place.read_text(), re.IGNORECASE), place


def test_the_model_comes_near_the_best_accuracy_and_not_beyond(mail: Project) -> None:
    source = next(mail.root.glob("src/*/ml/source.py")).read_text()
    best = float(re.findall(r"\b0\.\d{3}\b", source)[0])
    metrics = json.loads((mail.root / "reports" / "metrics.json").read_text())
    chance = (best * (1 - best) / metrics["rows_holdout"]) ** 0.5
    assert best - 0.03 < metrics["accuracy"] < best + 2 * chance
