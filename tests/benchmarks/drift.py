"""False alarms and detections of `ops monitor` and of others, on the same seeded streams."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import mean
from textwrap import fill
from typing import TYPE_CHECKING

from render import ROOT
from render import run as call
from streams import CHANGES

from .detectors.trial import CALM, KINDS, Trial
from .environments import environment
from .trained import trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

TESTS = ROOT / "tests"
OTHERS: Mapping[str, Sequence[str]] = {
    "by_evidently": ("evidently==0.7.23", "pandas==2.3.3", "numpy==2.4.6", "scipy==1.17.1"),
    "by_river": ("river==0.26.1", "numpy==2.4.6", "scipy==1.17.1"),
    "by_tests": ("scipy==1.17.1", "numpy==2.4.6"),
}
"""What each is run with, in an environment of its own."""

TEXT = """\
Seeded streams (`tests/streams.py`) of three numbers, a category, a flag, a model's probabilities
and the truth, which is drawn by them: 30 windows of 500 rows to learn from, and twelve after them,
a year of months. {calm} calm streams of each kind, so {windows} windows, tell how many calm windows
alarm. Of each change there are {runs} streams, changed from the fifth window on: the share of them
that alarm from there on, and the changed window that does first, on average. Where calm windows
alarm as well, it says little that a change is found. The limits of `ops monitor` were set on
streams of these kinds: that flatters it.

`ops monitor` looks after each month, with `window: 500` and all else as it is rendered; `alert` and
`retrain` are alarms where anything is violated, not where only ground truth stays away; it comes a
day late. Where a category has vanished, windows are full a little later. A season is looked at with
`cycle: year` as well. The others have the same columns, the answers, and at once whether each was
wrong. {evidently} compares each window with all rows learnt from, by the methods and limits of its
`DataDriftPreset`: by default half of the columns must drift; any column is the stricter reading.
ADWIN, of {river}, has its defaults too: one for each number, flag and category, for missing values,
answers and errors, all of which have read the rows learnt from; any of them alarms. KS for numbers
and chi-square for the rest, of {scipy}, compare each window with all rows learnt from: p is 0.01 at
most, after Bonferroni. Each contender has an environment of its own.
"""


@dataclass(frozen=True)
class Comparison:
    """The part of the page."""

    title: str
    runs: int
    trials: Sequence[Trial]

    def markdown(self) -> str:
        """One table of each kind of streams: false alarms first, then what was found."""
        names = (name for wanted in OTHERS.values() for name in wanted[:1])
        evidently, river, scipy = (name.replace("==", " ") for name in names)
        calm = CALM * self.runs
        told = {"evidently": evidently, "river": river, "scipy": scipy}
        text = TEXT.format(calm=calm, windows=12 * calm, runs=self.runs, **told)
        lines = [f"## {self.title}"]
        for part in text.split("\n\n"):
            lines += ["", fill(part, 100, break_on_hyphens=False)]
        for kind in KINDS:
            lines += ["", *self._table(kind)]
        return "\n".join([*lines, ""])

    def _table(self, kind: str) -> list[str]:
        cells: dict[str | None, dict[str, list[list[bool]]]] = defaultdict(dict)
        for it in self.trials:
            for rule, alarms in it.alarms.items():
                if it.kind == kind:
                    cells[it.change].setdefault(rule, []).append(alarms)
        rules = list(cells[None])
        lines = [f"| {kind} | {' | '.join(rules)} |", "|---|" + "---:|" * len(rules)]
        silent = (f"{mean(map(mean, cells[None][rule])):.1%}" for rule in rules)
        lines.append(f"| calm windows that alarm | {' | '.join(silent)} |")
        every = {rule: [its for name in CHANGES for its in cells[name][rule]] for rule in rules}
        for name, row in [*((name, cells[name]) for name in CHANGES), ("all changes", every)]:
            lines.append(f"| {name} | {' | '.join(found(row[rule]) for rule in rules)} |")
        return lines


def found(streams: Sequence[Sequence[bool]]) -> str:
    """In which share of streams there was an alarm, and in which window on average."""
    first = [alarms.index(True) + 1 for alarms in streams if any(alarms)]
    share = f"{len(first) / len(streams):.0%}"
    return f"{share}, {mean(first):.1f}" if first else share


def run(folder: Path, runs: int) -> Comparison:
    """Let all contenders work at once: what they find does not depend on time."""
    place = folder / "drift"
    place.mkdir(exist_ok=True)
    project = trained(folder)
    ours = project.bin / "python"
    pythons = {
        "by_ops": ours,
        **{name: environment(place / name, OTHERS[name], ours) for name in OTHERS},
    }
    path = os.pathsep.join([str(TESTS), str(TESTS / "ops")])
    env = {**project.variables, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}

    def work(name: str) -> list[Trial]:
        module, told = f"benchmarks.detectors.{name}", place / f"{name}.jsonl"
        call(pythons[name], "-m", module, str(runs), told, cwd=place, env=env)
        return [Trial(*json.loads(line)) for line in told.read_text().splitlines()]

    with ThreadPoolExecutor() as threads:
        parts = list(threads.map(work, pythons))
    return Comparison("Drift, beside others", runs, [it for part in parts for it in part])
