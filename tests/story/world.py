"""What the story needs of the project's own simulator and models; it runs in the project.

python world.py mails FOLDER   writes the mails of the story to FOLDER
python world.py judge FOLDER VERSIONS   prints the accuracy of versions, from what they scored, and
                               of a model that learnt without limit
python world.py shuffle        shuffles the target of the rows to learn from
"""

import json
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from my_model.ml import source
from my_model.ml.features import features
from my_model.ml.source import AFTER, BEFORE, World
from my_model.ops import contract as contracts
from my_model.ops.bundle import Bundle
from my_model.ops.contract import FOLD
from my_model.ops.files import replacing
from my_model.ops.pipeline import parquet, train
from my_model.ops.project import Project
from my_model.ops.settings import Settings

BEGIN = datetime(2026, 1, 1)  # noqa: DTZ001  the contract's times have no zone
DAYS = 15
"""Simulated days in a window."""

JUDGED = 20_000
UNLIMITED = 40_000
"""Mails of the changed world that a model needs to learn all that there is to learn."""


def mails(folder: Path, plan: dict[str, int]) -> None:
    """Write the windows of the story and of the control run, and the mails that judge."""
    changed = AFTER._replace(begins=BEGIN + timedelta(days=DAYS * plan["before"]))
    for name, worlds in (("story", (BEFORE, changed)), ("control", (BEFORE,))):
        for window in range(plan["windows"]):
            rows = drawn(plan["rows"] + plan["spare"], window, worlds, len(name))
            write(folder / name / f"{window}.jsonl", rows.sample(fraction=1, shuffle=True, seed=1))
    rows = source.simulate(JUDGED, changed.begins, days=365, seed=999, worlds=(changed,))
    rows.select(pl.exclude("queue")).write_parquet(folder / "judged.parquet")
    rows.select("queue").write_parquet(folder / "truth.parquet")


def drawn(rows: int, window: int, worlds: tuple[World, ...], seed: int) -> pl.DataFrame:
    """The mails of one window."""
    start = BEGIN + timedelta(days=DAYS * window)
    return source.simulate(rows, start, DAYS, seed=1000 * seed + window, worlds=worlds)


def write(path: Path, rows: pl.DataFrame) -> None:
    """One line for each mail, as the service takes it, and its queue at the end."""
    path.parent.mkdir(parents=True, exist_ok=True)
    times = pl.col("arrived_at").dt.to_string("iso:strict")
    rows.with_columns(times).write_ndjson(path)


def judge(folder: Path, versions: list[str]) -> None:
    """Judge what versions scored, and a model that learnt as the champion, from very many mails."""
    project = Project.find()
    settings, contract = Settings.load(project.params), contracts.load()
    champion = Bundle(project.champion).manifest["model"]
    frame = source.simulate(UNLIMITED, AFTER.begins, days=365, seed=998, worlds=(AFTER,))
    folds = np.arange(len(frame)) * settings.split.folds // len(frame)
    rows = train.Rows(contract, typed(frame).with_columns(pl.Series(FOLD, folds)), settings)
    own = {name: its for name, its in champion["parameters"].items() if name != "half_life"}
    with train.threads(rows):
        pipeline = rows.fit(champion["kind"], own, np.arange(len(frame)))
    judged = pl.concat(
        [pl.read_parquet(folder / f"{name}.parquet") for name in ("judged", "truth")],
        how="horizontal",
    )
    made = features(contract.arrays(judged), contract.text)
    said = train.predict(pipeline, contract, train.frame_of(made, rows.kinds))
    truth = contract.labels(typed(judged))
    accuracy = {}
    for version in versions:
        scored = pl.read_parquet(folder / f"scored-{version}.parquet")
        predicted = contract.labels(typed(scored.select(queue="prediction")))
        accuracy[version] = float(np.mean(predicted == truth))
    print(
        json.dumps(
            {
                "accuracy": accuracy,
                "kind": champion["kind"],
                "limit": float(np.mean(said.values == truth)),
                "best": [source.best_accuracy(world) for world in (BEFORE, AFTER)],
            }
        )
    )


def typed(frame: pl.DataFrame) -> pl.DataFrame:
    """The queue in the contract's type."""
    return frame.with_columns(pl.col("queue").cast(contracts.schema().columns()["queue"].dtype))


def shuffle() -> None:
    """Give the rows to learn from the queues of others."""
    path = Project.find().train
    rows = pl.read_parquet(path)
    rows = rows.with_columns(pl.col("queue").shuffle(seed=13))
    with replacing(path) as aside:
        parquet.write({aside: rows.lazy()})


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    known: dict[str, Any] = {
        "mails": mails,
        "judge": judge,
        "shuffle": shuffle,
    }
    known[verb](*map(Path, arguments[:1]), *map(json.loads, arguments[1:]))
