"""`ops monitor`: false alarms and detections as they are measured, and logs of every kind."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from my_model.ops.bundle import FORMAT, MANIFEST, Bundle
from my_model.ops.contract import Column, Contract
from my_model.ops.evaluation import metrics
from my_model.ops.evaluation.interval import interval
from my_model.ops.evaluation.profile import calibration, profile
from my_model.ops.files import write_json
from my_model.ops.monitoring.decision import Verdict, decide
from my_model.ops.monitoring.reference import Reference
from my_model.ops.monitoring.run import judge
from my_model.ops.monitoring.window import Window
from my_model.ops.settings import Monitoring

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[Any]

VERSION = "1"
LEARNT, HELD_OUT = 3_000, 1_000
ROWS = 1_000
"""Of a window."""
STREAMS = 100
LIMITS = Monitoring()
DAY = 86_400_000_000
"""Microseconds."""

QUEUES = ("cards", "loans", "savings")
WORDS = np.array([f"word{n}" for n in range(300)] + [f"news{n}" for n in range(300)])
OFTEN = 1 / (np.arange(300) + 5.0)
OFTEN /= OFTEN.sum()


def column(name: str, kind: Any, dtype: str, **more: Any) -> Column:
    return Column(
        **{"name": name, "kind": kind, "dtype": dtype, "role": "feature", "nullable": True}
        | {"sensitive": False}
        | more
    )


INPUTS = (
    column("amount", "number", "Float64"),
    column("age", "number", "Int64"),
    column("channel", "category", "String"),
    column("country", "category", "String"),
    column("member", "boolean", "Bool"),
    column("body", "text", "String"),
    column("secret", "category", "String", sensitive=True),
    column("arrived", "time", "Datetime"),
)
BY_QUEUE = Contract(
    (*INPUTS, column("queue", "category", "Enum", role="target", choices=QUEUES, nullable=False))
)
BY_NUMBER = Contract((*INPUTS, column("price", "number", "Float64", role="target")))


@dataclass(frozen=True)
class World:
    """What rows are like; each change of the world is another value of a field."""

    shift: float = 0.0
    """Of the amount, in standard deviations."""
    scale: float = 1.0
    missing: float = 0.02
    """The share of ages that is missing."""
    beyond: float = 0.0
    """The share of amounts that lie where none did."""
    new_channel: float = 0.0
    web: float = 0.5
    """The share of channels that is the web."""
    members: float = 0.3
    vocabulary: float = 0.0
    """The share of words that nobody wrote before."""
    words: int = 20
    """In a text, on average."""
    mixed_up: float = 0.0
    """The share of the first queue's rows that belong to the second now."""
    renamed: float = 0.0
    """The share of truths that have a label of their own."""
    leaning: float = 0.0
    """How much more the model says the first queue."""
    refused: float = 0.0
    """The share of rows that break the contract."""
    bold: float = 1.0
    """How much the model exaggerates."""


def rows(draw: np.random.Generator, world: World, count: int) -> pl.DataFrame:
    """Rows of the log with the truth; the model says what is true of the unchanged world."""
    amount = draw.gamma(4, 10, count) * world.scale + 20 * world.shift
    amount = np.where(draw.random(count) < world.beyond, 1_000, amount)
    age = draw.normal(45, 12, count).round()
    member = draw.random(count) < world.members
    rest = (1 - world.web) * np.array([0.6, 0.4])
    channel = draw.choice(["web", "phone", "post"], count, p=[world.web, *rest])
    channel = np.where(draw.random(count) < world.new_channel, "app", channel)
    country = draw.choice(["at", "ch", "de", "fr", "li"], count, p=[0.3, 0.2, 0.4, 0.098, 0.002])
    lengths = draw.poisson(world.words, count)
    chosen = draw.choice(300, lengths.sum(), p=OFTEN)
    chosen += 300 * (draw.random(len(chosen)) < world.vocabulary)
    bodies = np.split(WORDS[chosen], np.cumsum(lengths)[:-1])
    scores = np.stack(
        [world.leaning + amount / 25, 1 + 1.5 * member, 2 + (channel == "web") - 0.0 * age], axis=1
    )
    chances = np.exp(1.5 * scores)
    chances /= chances.sum(axis=1, keepdims=True)
    place = (draw.random(count)[:, None] > chances.cumsum(axis=1)).sum(axis=1)
    place = np.where((place == 0) & (draw.random(count) < world.mixed_up), 1, place)
    truth = np.array(QUEUES, dtype=object)[place]
    truth = np.where(draw.random(count) < world.renamed, "wallet", truth)
    said = chances**world.bold
    said /= said.sum(axis=1, keepdims=True)
    return pl.DataFrame(
        {
            "id": [f"{n:024x}" for n in draw.integers(0, 2**62, count)],
            "time": np.arange(count),
            "version": [VERSION] * count,
            "inputs": pl.DataFrame(
                {
                    "amount": amount,
                    "age": pl.Series(
                        np.where(draw.random(count) < world.missing, np.nan, age)
                    ).fill_nan(None),
                    "channel": channel,
                    "country": country,
                    "member": member,
                    "body": [" ".join(words) for words in bodies],
                    "arrived": ["2026-01-01"] * count,
                }
            ).to_struct(),
            "prediction": np.array(QUEUES)[said.argmax(axis=1)],
            "probabilities": pl.DataFrame(said, schema=list(QUEUES)).to_struct(),
            "truth": truth,
            "told": np.arange(count) + DAY,
        }
    )


def manifest(learnt: pl.DataFrame, held_out: pl.DataFrame) -> dict[str, Any]:
    """What training writes of such rows, as far as a look at the log reads it."""

    def arrays(frame: pl.DataFrame) -> dict[str, Array]:
        inputs = (
            frame["inputs"]
            .struct.unnest()
            .with_columns(pl.col("arrived").str.to_datetime(), pl.lit("s").alias("secret"))
        )
        return BY_QUEUE.arrays(inputs)

    answers = held_out["probabilities"].struct.unnest().to_numpy().astype(np.float32)
    places = {name: place for place, name in enumerate(QUEUES)}
    truth = np.array([places[label] for label in held_out["truth"]])
    labels = np.array([places[label] for label in learnt["truth"]])
    scores = metrics.scores_of("classification")
    chosen = [score for score in scores if score.name in ("log_loss", "accuracy")]
    return {
        "format": FORMAT,
        "contract": BY_QUEUE.to_dict(),
        "score": "log_loss",
        "metrics": {score.name: metrics.value(score, truth, answers) for score in chosen},
        "intervals": metrics.intervals(chosen, truth, answers, 7),
        "calibration": calibration(truth, answers),
        "profile": profile(BY_QUEUE, arrays(learnt), labels, answers),
        "data": {"rows": {"train": len(learnt), "holdout": len(held_out)}},
    }


def reference(folder: Path, draw: np.random.Generator) -> Reference:
    """A champion that was trained in the unchanged world."""
    folder.mkdir(exist_ok=True)
    told = manifest(rows(draw, World(), LEARNT), rows(draw, World(), HELD_OUT))
    write_json(folder / MANIFEST, told)
    return Reference(Bundle(folder), VERSION)


def verdict(seen: Reference, draw: np.random.Generator, world: World, count: int = ROWS) -> Verdict:
    """The verdict on a window of the world."""
    window = Window(seen, 0, count)
    window.add(rows(draw, world, count))
    if world.refused:
        window.refuse(int(draw.binomial(count, world.refused)), [("age|min", 1)])
    return judge(window, LIMITS, seed=7)
