"""The simulator of mails: what it draws is what it says, and its best accuracy is a true bound."""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from my_model.ml import source
from my_model.ml.source import AFTER, BEFORE, CHANNELS, COUNTRIES, TIERS, TOPICS, TROUBLES, World
from numpy.testing import assert_allclose

if TYPE_CHECKING:
    from collections.abc import Mapping

WORLDS = {"before": BEFORE, "after": AFTER}


@pytest.fixture(scope="module", params=WORLDS.values(), ids=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Each world in turn."""
    its: World = request.param
    return its


@pytest.fixture(scope="module")
def drawn(world: World) -> tuple[pl.DataFrame, Any]:
    """Fifty thousand mails of the world, and the chances of its queues."""
    draw = np.random.default_rng(11)
    return source.mails(draw, world, source.arrivals(draw, 50_000, world.begins, 365))


def share(table: Mapping[str, str], words: list[str], topic: str) -> float:
    """The chance of some words, computed anew from the tables: one factor for each."""
    own = table[topic].split(", ")
    every = {word for its in table.values() for word in its.split(", ")}
    rest = source.OVERLAP / len(every)
    return float(np.prod([rest + (1 - source.OVERLAP) * (w in own) / len(own) for w in words]))


def test_the_chances_are_bayes_rule_over_what_can_be_read(
    world: World, drawn: tuple[pl.DataFrame, Any]
) -> None:
    """Also a proof that the text gives every drawn word away, and nothing else."""
    rows, chances = drawn
    things = "|".join({re.escape(t) for its in world.things.values() for t in its.split(", ")})
    troubles = "|".join({t for its in TROUBLES.values() for t in its.split(", ")})
    names = source.queues(world)
    for row, stated in zip(rows.head(300).iter_rows(named=True), chances, strict=False):
        text = f"{row['subject'] or ''} | {row['body']}"
        sentences = re.findall(rf"[Mm]y ({things}) ({troubles})\b", text)
        about = re.findall(rf"(?:[Mm]y|Urgent:) ({things}) \|", text)
        weights = []
        for topic, volume in zip(TOPICS, source.VOLUME, strict=True):
            weight = volume
            weight *= share(world.things, about + [thing for thing, _ in sentences], topic)
            weight *= share(TROUBLES, [trouble for _, trouble in sentences], topic)
            for name, table in (
                ("channel", world.channels),
                ("country", COUNTRIES),
                ("tier", TIERS),
            ):
                if row[name] is not None:
                    shares = [its[TOPICS.index(topic)] for its in table.values()]
                    weight *= table[row[name]][TOPICS.index(topic)] / sum(shares)
            weights.append(weight)
        topics = np.array(weights) / sum(weights)
        filed = [
            (1 - source.MISFILED) * own + source.MISFILED * (1 - own) / (len(TOPICS) - 1)
            for own in topics
        ]
        expected = [
            sum(p for p, name in zip(filed, names, strict=True) if name == queue)
            for queue in sorted(set(names))
        ]
        assert_allclose(stated, expected, rtol=1e-9)


def test_queues_come_as_often_as_the_chances_say(
    world: World, drawn: tuple[pl.DataFrame, Any]
) -> None:
    rows, chances = drawn
    names = np.array(sorted(set(source.queues(world))))
    came = rows["queue"].to_numpy()[:, None] == names
    assert_allclose(came.mean(axis=0), chances.mean(axis=0), atol=0.008)
    likeliest = chances.argmax(axis=1)
    hit = came[np.arange(len(rows)), likeliest]
    stated = chances.max(axis=1)
    for low in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        some = (stated > low) & (stated <= low + 0.1)
        assert hit[some].mean() == pytest.approx(stated[some].mean(), abs=0.03)


def test_the_best_accuracy_is_the_stated_one() -> None:
    said = re.findall(r"\b0\.\d{3}\b", source.__doc__ or "")
    computed = [source.best_accuracy(world) for world in WORLDS.values()]
    assert [float(number) for number in said] == pytest.approx(computed, abs=0.001)


def test_a_seed_gives_the_same_mails_for_ever() -> None:
    start = datetime(2025, 12, 1)
    rows = source.simulate(500, start, days=62, seed=1)
    assert rows.equals(source.simulate(500, start, days=62, seed=1))
    assert not rows.equals(source.simulate(500, start, days=62, seed=2))
    assert rows["arrived_at"].is_sorted()


def test_the_world_changes_on_its_day() -> None:
    start = datetime(2025, 7, 1)
    rows = source.simulate(6000, start, days=365, seed=3)
    old = rows.filter(pl.col("arrived_at") < AFTER.begins)
    new = rows.filter(pl.col("arrived_at") >= AFTER.begins)
    assert set(old["queue"]) == set(TOPICS)
    assert set(new["queue"]) == {"accounts", "insurance", "investing", "loans", "wallet"}
    assert set(old["channel"]) == set(CHANNELS)
    assert set(new["channel"]) == {*CHANNELS, "chat"}
    for column in ("subject", "country"):
        assert old[column].null_count() / len(old) == pytest.approx(BEFORE.missing, abs=0.01)
        assert new[column].null_count() / len(new) == pytest.approx(AFTER.missing, abs=0.02)
    assert not any("tap to pay" in text for text in old["body"])
    assert any("tap to pay" in text for text in new["body"])


def test_one_change_comes_alone() -> None:
    start = datetime(2025, 7, 1)
    chat = BEFORE._replace(begins=AFTER.begins, channels=AFTER.channels)
    rows = source.simulate(3000, start, days=365, seed=3, worlds=(BEFORE, chat))
    assert "chat" in set(rows["channel"])
    assert set(rows["queue"]) == set(TOPICS)


def test_volume_follows_week_and_year() -> None:
    times = source.simulate(20_000, BEFORE.begins, days=731, seed=5)["arrived_at"]
    weekend = (times.dt.weekday() > 5).mean()
    winter = times.dt.month().is_in([12, 1, 2]).mean()
    summer = times.dt.month().is_in([6, 7, 8]).mean()
    assert weekend == pytest.approx(0.8 / 5.8, abs=0.02)
    assert winter > 1.4 * summer
