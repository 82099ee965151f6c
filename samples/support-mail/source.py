"""Where the rows come from: a simulator of customers' mails to a bank. No mail here is real.

A mail is about one topic. Given the topic, its words, channel, country and the customer's tier
are drawn independently of each other from the tables of a `World`. Vocabularies overlap, and some
mails are filed under another topic than their own. As every chance is known, so is the accuracy
that no model can exceed: `best_accuracy` computes 0.863 for the world that `load` draws from, and
0.880 for the one that follows it. A score near those is a good one; a better one is luck, or a leak.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[Any]
Shares = Sequence[float]

TOPICS = ("accounts", "cards", "insurance", "loans", "payments", "savings")
THINGS = {
    "accounts": "current account, joint account, bank statement, account number, login, overdraft",
    "cards": "debit card, credit card, replacement card, PIN, contactless limit, card reader",
    "insurance": "home cover, travel cover, policy, premium, claim, no-claims bonus",
    "loans": "mortgage, car loan, instalment, repayment plan, credit check, interest rate",
    "payments": "bank transfer, standing order, direct debit, refund, payee, receipt",
    "savings": "savings plan, fixed deposit, interest rate, savings bonus, fund, maturity date",
}
NEW_THINGS = {
    "accounts": "current account, shared space, insights page, passkey, direct debit, buffer",
    "cards": "virtual card, tap to pay, metal card, passcode, freeze button, spending limit",
    "insurance": "home cover, trip protection, policy, premium, claim, bundle discount",
    "loans": "mortgage, car loan, pay-later plan, savings bonus, affordability check, rate offer",
    "payments": "instant transfer, split bill, payment link, refund, contact, top-up",
    "savings": "pot, portfolio, round-up, index fund, share plan, standing order",
}
TROUBLES = {
    "accounts": "shows the wrong amount, is locked, cannot be changed, is gone from the overview",
    "cards": "was declined, has not arrived, is locked, was charged twice, has run out",
    "insurance": "has run out, is dearer than agreed, is still being checked, has not arrived",
    "loans": "was declined, is dearer than agreed, is still being checked, is not what I signed",
    "payments": "was declined, has not arrived, was charged twice, shows the wrong amount",
    "savings": "shows the wrong amount, cannot be changed, has run out, is not what I signed",
}
CHANNELS = {
    "app": (0.2, 0.3, 0.1, 0.1, 0.3, 0.1),
    "form": (0.3, 0.3, 0.4, 0.4, 0.3, 0.3),
    "mail": (0.5, 0.4, 0.5, 0.5, 0.4, 0.6),
}
COUNTRIES = {
    "AT": (0.2, 0.2, 0.2, 0.1, 0.2, 0.2),
    "CH": (0.1, 0.1, 0.1, 0.2, 0.1, 0.3),
    "DE": (0.5, 0.5, 0.6, 0.5, 0.4, 0.4),
    "FR": (0.2, 0.2, 0.1, 0.2, 0.3, 0.1),
}
TIERS = {
    "basic": (0.7, 0.6, 0.5, 0.5, 0.6, 0.4),
    "plus": (0.2, 0.3, 0.3, 0.4, 0.3, 0.3),
    "premium": (0.1, 0.1, 0.2, 0.1, 0.1, 0.3),
}
SUBJECTS = ("My {thing}", "Question about my {thing}", "Urgent: {thing}", "Help, please", "Again")
GREETINGS = ("Hello,", "Dear team,", "Good morning,", "Hi there,", "To whom it may concern,")
SENTENCES = (
    "My {thing} {trouble}.",
    "Since last week my {thing} {trouble}.",
    "I was told that my {thing} {trouble}.",
    "Can you explain why my {thing} {trouble}?",
    "It seems that my {thing} {trouble}, and nobody could help.",
)
CLOSINGS = ("Thank you.", "Please call me back.", "Kind regards", "I am waiting.", "Best wishes")


VOLUME = (0.22, 0.2, 0.12, 0.14, 0.2, 0.12)
OVERLAP = 0.3
"""The share of words that say nothing of the topic, as they are drawn from those of all topics."""
MISFILED = 0.04
"""The share of mails in the queue of another topic, each other one alike."""


class World(NamedTuple):
    """What a mail depends on from one moment on, as far as it may change."""

    begins: datetime
    things: Mapping[str, str] = THINGS
    channels: Mapping[str, Shares] = CHANNELS
    missing: float = 0.02
    """The share of mails without a subject, and of those without a country."""
    renamed: Mapping[str, str] = {}
    """The queue of a topic, where it is not called as the topic is."""


BEFORE = World(begins=datetime(2024, 1, 1))
AFTER = World(
    begins=datetime(2026, 1, 1),
    things=NEW_THINGS,
    channels=CHANNELS | {"chat": (0.3, 0.6, 0.2, 0.2, 0.6, 0.3)},
    missing=0.1,
    renamed={"cards": "wallet", "payments": "wallet", "savings": "investing"},
)
"""Words are new or change sides, a channel opens, fields go missing, two queues are merged and a
third is renamed. For one change at a time: `BEFORE._replace(begins=..., things=NEW_THINGS)`."""


def load(root: Path) -> pl.LazyFrame:
    """Read all rows, as they come; `root` is the project's folder.

    6,000 simulated mails of the two years before the world changes.
    """
    return simulate(6000, BEFORE.begins, days=731, seed=7).lazy()


def simulate(
    rows: int, start: datetime, days: int, seed: int, worlds: Sequence[World] = (BEFORE, AFTER)
) -> pl.DataFrame:
    """Draw the mails of some days, in order; each world but the first holds once it has begun."""
    draw = np.random.default_rng(seed)
    times = arrivals(draw, rows, start, days)
    changes = np.array([world.begins for world in worlds[1:]], dtype=times.dtype)
    turn = np.searchsorted(changes, times, side="right")
    return pl.concat(mails(draw, worlds[its], times[turn == its])[0] for its in np.unique(turn))


def best_accuracy(world: World, rows: int = 200_000, seed: int = 7) -> float:
    """The accuracy of whoever knows the world's tables and always names the likeliest queue.

    The chances of the queues follow exactly from what a mail says (Bayes' rule); drawn are only
    the mails over which the chance of the likeliest is averaged.
    """
    draw = np.random.default_rng(seed)
    chances = mails(draw, world, arrivals(draw, rows, world.begins, days=365))[1]
    return float(chances.max(axis=1).mean())


def arrivals(draw: np.random.Generator, rows: int, start: datetime, days: int) -> Array:
    """Draw moments, in order: few at night and at weekends, most in winter."""
    dates = np.datetime64(start, "D") + np.arange(days)
    counted = dates.astype(np.int64)  # since a Thursday in January
    season = 1 + 0.3 * np.cos(counted * (2 * np.pi / 365.25))
    volume = season * np.where((counted + 3) % 7 < 5, 1, 0.4)
    day = draw.choice(dates, rows, p=volume / volume.sum()).astype("datetime64[us]")
    seconds = np.clip(draw.normal(13, 4, rows) * 3600, 0, 86_399).astype("timedelta64[s]")
    return np.sort(day + seconds)


def mails(draw: np.random.Generator, world: World, times: Array) -> tuple[pl.DataFrame, Array]:
    """Draw the mails that arrive at `times`.

    Returns:
        The rows, and the chances of the world's queues, in alphabetical order, given all that
        each row says: shape (rows, queues).
    """
    rows = len(times)
    topics = Topics(draw, rows)
    things, troubles = by_topic(world.things), by_topic(TROUBLES)
    everyone = np.full(rows, True)

    def pick(texts: Sequence[str]) -> list[str]:
        return [texts[it] for it in draw.integers(0, len(texts), rows)]

    subjects, blank = pick(SUBJECTS), draw.random(rows) < world.missing
    about = topics.tell(things, ~blank & np.array(["{thing}" in text for text in subjects], bool))
    parts, length = [pick(GREETINGS)], draw.integers(1, 4, rows)
    for turn in range(3):
        named = topics.tell(things, turn < length), topics.tell(troubles, turn < length)
        parts.append(
            [
                text.format(thing=thing, trouble=trouble) if thing else ""
                for text, thing, trouble in zip(pick(SENTENCES), *named, strict=True)
            ]
        )
    parts.append(pick(CLOSINGS))
    frame = pl.DataFrame(
        {
            "subject": [
                None if none else text.format(thing=thing)
                for text, thing, none in zip(subjects, about, blank, strict=True)
            ],
            "body": [" ".join(filter(None, texts)) for texts in zip(*parts, strict=True)],
            "channel": topics.tell(world.channels, everyone),
            "country": topics.tell(COUNTRIES, draw.random(rows) >= world.missing),
            "tier": topics.tell(TIERS, everyone),
            "arrived_at": times,
            "queue": topics.file(world),
        }
    )
    return frame, topics.chances(world)


class Topics:
    """The topics of some mails, and what the mails tell of them."""

    def __init__(self, draw: np.random.Generator, rows: int) -> None:
        """Draw the topics; nothing is told yet."""
        self.draw, self.rows = draw, rows
        self.drawn = draw.choice(len(TOPICS), rows, p=VOLUME)
        self.logs = np.tile(np.log(VOLUME), (rows, 1))  # log P(topic, all that was told)

    def tell(self, table: Mapping[str, Shares], told: Array) -> list[str | None]:
        """Draw a name for each mail by its topic's shares; None where it is not told."""
        shares = np.array(list(table.values()))
        sums = (shares / shares.sum(axis=0)).cumsum(axis=0)
        found = (sums[:-1, self.drawn] < self.draw.random(self.rows)).sum(axis=0)
        self.logs[told] += np.log(shares / shares.sum(axis=0))[found[told]]
        names = list(table)
        return [names[it] if its else None for it, its in zip(found, told, strict=True)]

    def file(self, world: World) -> list[str]:
        """Draw the queue of each mail: its topic's, or by mistake that of another one."""
        mistakes = self.draw.random(self.rows) < MISFILED
        steps = mistakes * self.draw.integers(1, len(TOPICS), self.rows)
        return [queues(world)[it] for it in (self.drawn + steps) % len(TOPICS)]

    def chances(self, world: World) -> Array:
        """The chance of each queue given what was told: by Bayes' rule, and by mistake."""
        topics = np.exp(self.logs)
        topics /= topics.sum(axis=1, keepdims=True)
        filed = (1 - MISFILED) * topics + MISFILED * (1 - topics) / (len(TOPICS) - 1)
        names = queues(world)
        joined: Array = filed @ np.equal.outer(names, sorted(set(names)))
        return joined


def queues(world: World) -> list[str]:
    """The queue of each topic."""
    return [world.renamed.get(topic, topic) for topic in TOPICS]


def by_topic(words: Mapping[str, str]) -> dict[str, Shares]:
    """Shares of words: those of a topic alike, but for the overlap."""
    own = {topic: words[topic].split(", ") for topic in TOPICS}
    every = sorted({word for its in own.values() for word in its})
    return {
        word: [
            OVERLAP / len(every) + (1 - OVERLAP) * (word in its) / len(its) for its in own.values()
        ]
        for word in every
    }
