"""`ops report`: what changed, in Markdown for a job's summary or a note on a change.

No host of repositories shows a picture that is not uploaded first, but they draw Mermaid: the plots
here are such charts, of the same diagnostics as the pictures in `reports/plots`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .. import git
from ..bundle import MANIFEST
from ..errors import UserError
from ..files import read_json
from ..project import Project
from . import metrics
from .diagnostics import Record, folds
from .gates import number
from .page import HERE, markdown, shortened

CHART_POINTS = 41
"""A curve is drawn through as many points; a chart has no other way to say where they lie."""

MOST_BARS = 12

LOOKS = {
    "themeVariables": {"xyChart": {"plotColorPalette": "#0072b2"}},
    "xyChart": {"width": 760, "height": 400, "showDataLabel": True},
}
"""How charts look: the blue of the pictures, as wide as a summary, with numbers in the bars."""

LONGEST_NAME = 28


def run(project: Project, against: str = "HEAD") -> None:
    """Print the report of the last training, compared with the revision `against`.

    Raises:
        UserError: if nothing was trained yet, or git knows no such revision.
    """
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
    before = metrics_at(project.root, against)
    score = metrics.find(manifest["score"])
    return markdown(
        HERE / "report.md.j2",
        name=project.name,
        manifest=manifest,
        against=against,
        label=score.label,
        headline=_headline(manifest, values.get(score.name), before.get(score.name), against),
        scores=[
            (known, values[known.name], before.get(known.name))
            for known in metrics.scores_of(manifest["task"])
            if known.name in values
        ],
        change=_change,
        gates=manifest["gates"],
        models=folds(diagnostics["validation"]),
        validation=validation,
        charts=charts(diagnostics, score),
    )


def metrics_at(root: Path, revision: str) -> dict[str, Any]:
    """`reports/metrics.json` as it was at a revision; empty if it was not there.

    Raises:
        UserError: if git knows no such revision; the first `HEAD` may be yet to come.
    """
    named = ("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}")
    if git.output(root, *named) is None and revision != "HEAD":
        raise UserError(f"git knows no revision {revision}; fetch it, or name another one.")
    try:
        found = json.loads(git.output(root, "show", f"{revision}:./reports/metrics.json") or "{}")
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def charts(diagnostics: Mapping[str, list[Record]], score: metrics.Score) -> list[str]:
    """Mermaid charts of the diagnostics."""
    drawn = []
    if curves := diagnostics.get("roc"):
        classes = dict.fromkeys(record["class"] for record in curves)
        title = "ROC curve, mean of the classes" if len(classes) > 1 else "ROC curve"
        axes = 'x-axis "false positive rate" 0 --> 1', 'y-axis "true positive rate" 0 --> 1'
        drawn.append(_chart(title, *axes, "line", _mean_roc(curves, list(classes))))
    ranked = diagnostics["importance"]
    whole = sum(max(record["importance"], 0.0) for record in ranked) or 1.0
    drawn.append(
        _bars(
            "Importance of columns",
            [record["column"] for record in ranked[:MOST_BARS]],
            [100 * max(record["importance"], 0.0) / whole for record in ranked[:MOST_BARS]],
            "percent of all importance",
        )
    )
    slices = [record for record in diagnostics["slices"] if record["score"] is not None]
    if slices:
        drawn.append(
            _bars(
                f"Weakest of {len(slices)} slices" if len(slices) > MOST_BARS else "Slices",
                [record["slice"] for record in slices[:MOST_BARS]],
                [record["score"] for record in slices[:MOST_BARS]],
                score.label,
            )
        )
    points = [record for record in diagnostics["learning_curve"] if record["score"] is not None]
    if len(points) > 1:
        sizes = ", ".join(str(point["rows"]) for point in points)
        axes = f'x-axis "rows learnt from" [{sizes}]', f"y-axis {_quoted(score.label)}"
        drawn.append(_chart("Learning curve", *axes, "line", [point["score"] for point in points]))
    return drawn


def _headline(
    manifest: Mapping[str, Any], now: float | None, before: float | None, against: str
) -> str:
    label = metrics.find(manifest["score"]).label
    refused = [gate["name"] for gate in manifest["gates"] if not gate["passed"]]
    verdict = f"Refused by {', '.join(refused)}." if refused else "Every gate passed."
    if now is None:
        return f"{verdict} {label} is undefined on this holdout."
    if before is None:
        there = f"at {against} there is none to compare with"
        return f"{verdict} {label} is {number(now)}; {there}."
    change = _change(metrics.find(manifest["score"]), now, before)
    return f"{verdict} {label} is {number(now)}, and was {number(before)} at {against}: {change}."


def _change(score: metrics.Score, now: float, before: float | None) -> str:
    """How much better or worse, in the score's own units."""
    if before is None:
        return "new"
    if now == before:
        return "the same"
    better = (now < before) == score.loss
    return f"{'better' if better else 'worse'} by {number(abs(now - before))}"


def _mean_roc(records: Sequence[Record], classes: Sequence[str]) -> list[float]:
    """The share found at each share of false alarms, in the mean over the classes."""
    grid = np.linspace(0, 1, CHART_POINTS)
    curves = []
    for name in classes:
        points = [record for record in records if record["class"] == name]
        across = [point["false positive rate"] for point in points]
        curves.append(np.interp(grid, across, [point["true positive rate"] for point in points]))
    return [float(value) for value in np.mean(curves, axis=0)]


def _bars(title: str, names: Sequence[str], values: Sequence[float], measure: str) -> str:
    low, high = min(0.0, *values), max(0.0, *values)
    return _chart(
        title,
        f"x-axis [{', '.join(map(_quoted, names))}]",
        f"y-axis {_quoted(measure)} {low:.4g} --> {high or 1:.4g}",
        "bar",
        values,
        " horizontal",
    )


def _chart(
    title: str, across: str, up: str, kind: str, values: Sequence[float], direction: str = ""
) -> str:
    return "\n".join(
        (
            "```mermaid",
            f"%%{{init: {json.dumps(LOOKS)}}}%%",
            f"xychart-beta{direction}",
            f'  title "{title}"',
            f"  {across}",
            f"  {up}",
            f"  {kind} [{', '.join(f'{value:.4g}' for value in values)}]",
            "```",
        )
    )


def _quoted(name: str) -> str:
    """A name as Mermaid takes it."""
    plain = "".join(c if c.isalnum() or c in " .,:_-+*/()=<>≤≥²%'" else " " for c in name)
    return f'"{shortened(plain, LONGEST_NAME) or "?"}"'
