"""The models of new projects beside LightGBM's and CatBoost's defaults, on the same rows."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from statistics import mean, median
from textwrap import fill
from typing import TYPE_CHECKING

from render import ROOT
from render import run as call

from .environments import environment
from .learners import Trial
from .trained import trained

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TESTS = ROOT / "tests"
LIBRARIES = (
    *("lightgbm==4.7.0", "catboost==1.2.10", "scikit-learn==1.9.1", "polars==2.1.0"),
    *("pandas==3.1.1", "numpy==2.4.6", "statsmodels==0.15.0", "vega-datasets==0.9.0"),
)
"""The environment of the others, and of the data sets."""

TEXT = """\
{sets} data sets that scikit-learn, statsmodels and vega-datasets ship; {runs} times a fifth is held
out, other rows each time. This project does what `make train` does, with `params.yaml` as it is
rendered: cross-validation of four models, the blend's weights, the learning curve, the fit of what
is chosen. {lightgbm} has its defaults, {catboost} too, with 500 iterations; both are told the
categories, fit once and predict. Scores are ROC AUC, of each class against the others, or R²;
losses are log loss or the mean squared error. A rank is the mean over all runs, 1 the best.
Processor seconds are medians.
"""


@dataclass(frozen=True)
class Comparison:
    """The part of the page."""

    title: str
    runs: int
    trials: Sequence[Trial]

    def markdown(self) -> str:
        """One table: each data set, and the means of all."""
        lightgbm, catboost = (it.replace("==", " ") for it in LIBRARIES[:2])
        learners = sorted({it.learner for it in self.trials}, key=str.casefold)[::-1]
        sets = sorted({it.rows for it in self.trials})
        told = {"lightgbm": lightgbm, "catboost": catboost, "sets": len(sets), "runs": self.runs}
        ranks = ranked(self.trials)
        lines = [
            f"## {self.title}",
            "",
            fill(TEXT.format(**told), 100, break_on_hyphens=False),
            "",
            f"| score, loss, processor seconds | {' | '.join(learners)} |",
            "|---|" + "---:|" * len(learners),
        ]
        for name in sets:
            cells = []
            for learner in learners:
                own = [it for it in self.trials if (it.learner, it.rows) == (learner, name)]
                seconds = median(it.processor_seconds for it in own)
                score, loss = mean(it.score for it in own), mean(it.loss for it in own)
                cells.append(f"{score:.3f}, {loss:.3g}, {seconds:.1f}")
            lines.append(f"| {name} | {' | '.join(cells)} |")
        for measure, its in ranks.items():
            cells = [f"{mean(its[learner]):.2f}" for learner in learners]
            lines.append(f"| mean rank by {measure} | {' | '.join(cells)} |")
        spent = [
            sum(it.processor_seconds for it in self.trials if it.learner == learner) / self.runs
            for learner in learners
        ]
        lines.append(f"| processor seconds, all | {' | '.join(f'{it:.1f}' for it in spent)} |")
        return "\n".join([*lines, ""])


def ranked(trials: Sequence[Trial]) -> dict[str, dict[str, list[float]]]:
    """By score and by loss, the ranks of each contender; who is equal shares them."""
    contests: dict[tuple[str, int], list[Trial]] = defaultdict(list)
    for trial in trials:
        contests[trial.rows, trial.run].append(trial)
    ranks: dict[str, dict[str, list[float]]] = {"score": {}, "loss": {}}
    for contest in contests.values():
        for measure, sign in (("score", -1), ("loss", 1)):
            values = [sign * round(getattr(it, measure), 6) for it in contest]
            for it, own in zip(contest, values, strict=True):
                better, alike = sum(v < own for v in values), values.count(own)
                ranks[measure].setdefault(it.learner, []).append(better + (alike + 1) / 2)
    return ranks


def run(folder: Path, runs: int) -> Comparison:
    """Let each contender learn, one after the other."""
    place = folder / "models"
    place.mkdir(exist_ok=True)
    project = trained(folder)
    ours = project.bin / "python"
    others = environment(place / "libraries", LIBRARIES, ours)
    env = {**project.variables, "PYTHONPATH": str(TESTS), "OMP_WAIT_POLICY": "passive"}
    sets, trials = place / "sets", []
    call(others, "-m", "benchmarks.learners.sets", sets, cwd=place, env=env)
    for name, python in (("by_libraries", others), ("by_ops", ours)):
        told = place / f"{name}.jsonl"
        module = f"benchmarks.learners.{name}"
        call(python, "-m", module, sets, str(runs), told, cwd=project.root, env=env)
        trials += [Trial(*json.loads(line)) for line in told.read_text().splitlines()]
    return Comparison("Models, beside other libraries", runs, trials)
