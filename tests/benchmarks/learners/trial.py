"""What each contender is put through: the same rows to learn from, and the same to be judged by.

    python -m benchmarks.learners.by_ops SETS RUNS FILE

The file has a line of JSON for each data set and run: how well it went, and what it took.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from sklearn.metrics import log_loss, mean_squared_error, r2_score, roc_auc_score

from . import Trial

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Array = NDArray[Any]
    Learner = Callable[[pl.DataFrame, Array, pl.DataFrame], Array]
    """From rows and their target to what is said of other rows: numbers, or probabilities."""

TARGET, NUMBER, CLASSES = ":target", "number", "classes"
HELD_OUT = 0.2


def main(learners: dict[str, Learner]) -> None:
    """Let each learn each data set as often as the command line says."""
    folder, runs, told = Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
    with told.open("w") as file:
        for path in sorted(folder.glob("*.parquet")):
            for run in range(runs):
                for name, learner in learners.items():
                    score, loss, seconds = tried(learner, pl.read_parquet(path), run)
                    trial = Trial(name, path.stem, run, score, loss, seconds)
                    print(json.dumps(trial), file=file, flush=True)


def tried(learner: Learner, rows: pl.DataFrame, run: int) -> tuple[float, float, float]:
    """Score, loss and processor seconds of one contender."""
    order = np.random.default_rng(run).permutation(len(rows))
    held, learn = np.split(order, [round(HELD_OUT * len(rows))])
    truth, features = rows[TARGET].to_numpy(), rows.drop(TARGET)
    began = time.process_time()
    said = learner(features[learn], truth[learn], features[held])
    seconds = time.process_time() - began
    return *judged(truth[held], said), seconds


def judged(truth: Array, said: Array) -> tuple[float, float]:
    """Score and loss of what was said."""
    if said.ndim == 1:
        return float(r2_score(truth, said)), float(mean_squared_error(truth, said))
    classes = range(said.shape[1])
    ranked = [roc_auc_score(truth == it, said[:, it]) for it in classes if (truth == it).any()]
    return float(np.mean(ranked)), float(log_loss(truth, said, labels=list(classes)))
