"""`ops report`: what changed, in Markdown for a job's summary or a note on a change."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from .. import git
from ..bundle import MANIFEST
from ..errors import UserError
from ..files import read_json
from ..project import Project
from . import metrics
from .diagnostics import folds
from .page import HERE, markdown

MOST_BARS = 12


def run(project: Project, against: str = "HEAD") -> None:
    """Print the report of the last training, compared with the revision `against`."""
    sys.stdout.write(report(project, against))


def report(project: Project, against: str) -> str:
    """The report as Markdown."""
    try:
        manifest = read_json(project.bundle / MANIFEST)
        values = read_json(project.reports / "metrics.json")
        validation = read_json(project.reports / "validation.json")
        diagnostics = {
            path.stem: read_json(path) for path in sorted(project.reports.glob("findings/*.json"))
        }
    except FileNotFoundError:
        raise UserError("There is nothing to report yet: run `make train` first.") from None
    earlier = metrics_at(project.root, against)
    score = metrics.of(manifest)
    worth = np.maximum([record["importance"] for record in diagnostics["importance"]], 0.0)
    return markdown(
        HERE / "report.md.j2",
        name=project.name,
        manifest=manifest,
        score=score,
        now=values.get(score.name),
        before=earlier.get(score.name),
        against=against,
        scores=[
            (known, values[known.name], earlier.get(known.name))
            for known in metrics.scores_of(manifest["task"], costs=())
            if known.name in values
        ],
        validation=validation,
        models=folds(diagnostics["validation"]),
        found=diagnostics,
        most=MOST_BARS,
        worth=(100 * worth / (worth.sum() or 1.0))[:MOST_BARS].tolist(),
    )


def metrics_at(root: Path, revision: str) -> dict[str, Any]:
    """`reports/metrics.json` as it was at a revision; empty if it was not there.

    A UserError if git knows no such revision; the first `HEAD` may be yet to come.
    """
    named = ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if git.output(root, *named) is None and revision != "HEAD":
        raise UserError(f"git knows no revision {revision}; fetch it, or name another one.")
    try:
        text = git.content(root, "reports/metrics.json", revision)
        found: dict[str, Any] = json.loads(text or "{}")
    except json.JSONDecodeError:
        return {}
    return found
