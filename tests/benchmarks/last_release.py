"""What a change of the template costs or gains: the last release beside the working tree."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from functools import partial
from textwrap import fill
from typing import TYPE_CHECKING

from history import RELEASES
from render import ROOT, Template
from render import run as call

from . import ten_million
from .contenders import PROGRAMS, ours
from .measuring import Row, compare, measure, rows
from .scoring import ROWS, SCRIPTS
from .serving import BATCH, LOADS, Bench, Record, middle
from .trained import Trained
from .training import Contest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from .measuring import Cost

TREE = "this tree"
VERSION, COMMIT = list(RELEASES.items())[-1]
TEXT = """\
The default project of {version}, the last release, beside that of this tree: the same answers, data
and parameters, each in an environment of its own, in turn. Ratios are to the release; for requests,
more than 1 is faster, for all else, less than 1 is. {rows:,} rows of 30 numbers are scored; ten
million rows of twelve columns go through ingest, validate and split. A lone row is held to rules
across columns by polars, and each caller to limits, which 0.4.0 had not. Median of {runs};
`make train` ran once.
"""


@dataclass(frozen=True)
class Comparison:
    """The part of the page."""

    title: str
    runs: int
    served: Mapping[str, Record]
    work: Mapping[str, list[Row]]

    def markdown(self) -> str:
        """One table of requests, one of what a service takes, one of work."""
        text = TEXT.format(version=VERSION, rows=ROWS, runs=self.runs)
        lines = [f"## {self.title}", "", fill(text, 100, break_on_hyphens=False), ""]
        before, after = self.served[VERSION], self.served[TREE]
        lines += [
            f"| requests/s | {VERSION} | {TREE} | ratio | p99, ms |",
            "|---|---:|---:|---:|---:|",
        ]
        for load in LOADS:
            old, new = before.speeds[load], after.speeds[load]
            lines.append(
                f"| {load} | {old.per_second:,.0f} | {new.per_second:,.0f} "
                f"| {new.per_second / old.per_second:.2f} | {old.p99:,.2f} to {new.p99:,.2f} |"
            )
        lines += ["", f"| the service | {VERSION} | {TREE} | ratio |", "|---|---:|---:|---:|"]
        for name, old_value, new_value in (
            ("start to first answer, s", before.start, after.start),
            ("memory, MB", before.small.resident, after.small.resident),
            ("memory after batches, MB", before.large.resident, after.large.resident),
            (f"`/health` while all send {BATCH:,} rows, p99 in ms", before.health, after.health),
        ):
            lines.append(
                f"| {name} | {old_value:.2f} | {new_value:.2f} | {new_value / old_value:.2f} |"
            )
        lines += ["", "| work | seconds | ratio | processor seconds | ratio | peak memory, MB |"]
        lines += ["|---|---:|---:|---:|---:|---:|"]
        for title, table in self.work.items():
            for row in table:
                cost = row.cost
                lines.append(
                    f"| {title}, {row.name} | {cost.seconds:.1f} | {row.ratio:.2f} "
                    f"| {cost.processor_seconds:.1f} | {row.processor_ratio:.2f} "
                    f"| {cost.megabytes:,.0f} |"
                )
        return "\n".join([*lines, ""])


def run(folder: Path, runs: int) -> Comparison:
    """Compare the last release with the tree in all that a user waits for."""
    place = folder / "last-release"
    shutil.rmtree(place, ignore_errors=True)
    contests = {
        VERSION: Contest(place / "before", _released(place / "before" / "template")),
        TREE: Contest(place / "after"),
    }
    work = {  # a second training has nothing to do
        title: rows(compare({name: getattr(its, step) for name, its in contests.items()}, times))
        for title, step, times in (("`make setup`", "set_up", runs), ("`make train`", "train", 1))
    }
    projects = {
        name: Trained(its.project, {**its.variables, "MLFLOW_DISABLE_TELEMETRY": "true"})
        for name, its in contests.items()
    }
    served = _serve(place, projects, runs)
    for kind in ("parquet", "csv"):
        scored = {name: partial(_score, its, place, kind) for name, its in projects.items()}
        work[f"`ops score`, {kind}"] = rows(compare(scored, runs))
    work["ten million rows, csv"] = rows(compare(_stages(place, contests), 1))
    return Comparison("Beside the last release", runs, served, work)


def _released(source: Path) -> Template:
    source.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "-C", str(ROOT), "archive", COMMIT], check=True, capture_output=True
    )
    subprocess.run(["tar", "-x", "-C", str(source)], check=True, input=archive.stdout)
    return Template(source)


def _serve(place: Path, projects: Mapping[str, Trained], runs: int) -> dict[str, Record]:
    """Load both services by turns, with the same rows."""
    tree = projects[TREE]  # what is served is the same pipeline, fitted by either
    fit = (tree.bin / "python", PROGRAMS / "fit.py", place, str(BATCH))
    call(*fit, cwd=tree.root, env=tree.variables)
    told = json.loads((place / "rows.json").read_text())
    records: dict[str, list[Record]] = {name: [] for name in projects}
    for _ in range(runs):
        for name, project in projects.items():
            bench = Bench(
                place, ours(project, told["columns"]), told["rows"], told["probabilities"]
            )
            records[name].append(bench.measure(project.root / "data" / "served"))
    return {name: middle(each) for name, each in records.items()}


def _score(project: Trained, place: Path, kind: str) -> Cost:
    source = place / f"rows.{kind}"
    if not source.exists():
        make = (project.bin / "python", SCRIPTS / "make.py", str(ROWS), place)
        call(*make, cwd=project.root, env=project.variables)
    target = project.root.parent / f"scored.{kind}"
    target.unlink(missing_ok=True)
    command = (project.bin / "ops", "score", source, target)
    return measure(*command, cwd=project.root, env=project.variables)


def _stages(place: Path, contests: Mapping[str, Contest]) -> dict[str, partial[Cost]]:
    """Both projects with the contract of the orders, to take ten million of them."""
    stages = {}
    for name, contest in contests.items():
        project = contest.project.with_name("orders")
        shutil.copytree(contest.project, project, symlinks=True)
        for file in ("schema.py", "source.py"):
            shutil.copyfile(ten_million.SCRIPTS / file, project / "src" / "my_model" / "ml" / file)
        call("uv", "sync", "--quiet", cwd=project, env=contest.variables)
        python = project / ".venv" / "bin" / "python"
        if not (place / "orders.csv").exists():
            measure(
                python, ten_million.SCRIPTS / "make.py", str(ten_million.ROWS), place, cwd=place
            )
        stages[name] = partial(ten_million.stages, project, place / "orders.csv", contest.variables)
    return stages
