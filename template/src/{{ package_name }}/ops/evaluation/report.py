"""`ops report`: what changed, in Markdown for a job's summary or a note on a change.

No host of repositories shows a picture that is not uploaded first, but they draw Mermaid: the plots
here are such charts, of the same findings as the pictures in `reports/plots`.
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
from . import cards, metrics
from .document import Block, Code, Section, Table, markdown, shortened
from .findings import Record, folds
from .gates import number

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
        counted = read_json(project.reports / "validation.json")
        findings = {
            path.stem: read_json(path) for path in sorted(project.reports.glob("findings/*.json"))
        }
    except FileNotFoundError:
        raise UserError("There is nothing to report yet: run `make train` first.") from None
    if (
        git.output(project.root, "rev-parse", "--verify", "--quiet", f"{against}^{{commit}}")
        is None
    ):
        if against != "HEAD":
            raise UserError(f"git knows no revision {against}; fetch it, or name another one.")
        before: dict[str, Any] = {}
    else:
        before = at_revision(project.root, against, "reports/metrics.json")
    score = metrics.find(manifest["score"])
    return markdown(
        "",
        [
            Section(
                f"Model report: {project.name}", [_headline(manifest, values, before, against)]
            ),
            Section("Metrics", [_compared(values, before, against)]),
            Section("Gates", [cards.verdicts(manifest)]),
            Section("Selection", [_selection(manifest, findings["validation"], score)]),
            Section("Rows", [_rows(counted, values)]),
        ],
    ) + "".join(f"\n{chart}\n" for chart in charts(findings, score))


def at_revision(root: Path, revision: str, path: str) -> dict[str, Any]:
    """A JSON file of the project as it was at a revision; empty if it was not there."""
    text = git.output(root, "show", f"{revision}:./{path}")
    try:
        found = json.loads(text or "{}")
    except json.JSONDecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def charts(findings: Mapping[str, list[Record]], score: metrics.Score) -> list[str]:
    """Mermaid charts of what was found."""
    drawn = []
    if findings.get("roc"):
        grid = np.linspace(0, 1, CHART_POINTS)
        drawn.append(
            _chart(
                "ROC curve"
                + (", mean of the classes" if len(_classes(findings["roc"])) > 1 else ""),
                'x-axis "false positive rate" 0 --> 1',
                'y-axis "true positive rate" 0 --> 1',
                line=_mean_roc(findings["roc"], grid),
            )
        )
    worth = [max(record["importance"], 0.0) for record in findings["importance"]]
    drawn.append(
        _bars(
            "Importance of columns",
            [record["column"] for record in findings["importance"][:MOST_BARS]],
            [100 * value / (sum(worth) or 1.0) for value in worth[:MOST_BARS]],
            "percent of all importance",
        )
    )
    known = [record for record in findings["slices"] if record["score"] is not None]
    if known:
        shown = known[:MOST_BARS]
        drawn.append(
            _bars(
                f"Weakest of {len(known)} slices" if len(known) > len(shown) else "Slices",
                [record["slice"] for record in shown],
                [record["score"] for record in shown],
                score.label,
            )
        )
    points = [r for r in findings["learning_curve"] if r["score"] is not None]
    if len(points) > 1:
        drawn.append(
            _chart(
                "Learning curve",
                f'x-axis "rows learnt from" [{", ".join(str(point["rows"]) for point in points)}]',
                f'y-axis "{_label(score.label)}"',
                line=[point["score"] for point in points],
            )
        )
    return drawn


def _headline(
    manifest: Mapping[str, Any], values: Mapping[str, Any], before: Mapping[str, Any], against: str
) -> str:
    score = metrics.find(manifest["score"])
    refused = [gate["name"] for gate in manifest["gates"] if not gate["passed"]]
    verdict = f"Refused by {', '.join(refused)}." if refused else "Every gate passed."
    now, then = values.get(score.name), before.get(score.name)
    if now is None:
        compared = f"{score.label} is undefined on this holdout."
    elif then is None:
        compared = f"{score.label} is {number(now)}; at {against} there is none to compare with."
    else:
        compared = (
            f"{score.label} is {number(now)}, and was {number(then)} at {against}: "
            f"{_change(score, now, then)}."
        )
    return f"{verdict} {compared}"


def _compared(values: Mapping[str, Any], before: Mapping[str, Any], against: str) -> Table:
    rows = []
    for name, now in values.items():
        known = [score for score in metrics.SCORES if score.name == name]
        if not known:
            continue
        then = before.get(name)
        change = "new" if then is None else _change(known[0], now, then)
        rows.append((known[0].label, number(now), "" if then is None else number(then), change))
    return Table(("score", "now", against, "change"), rows)


def _change(score: metrics.Score, now: float, then: float) -> str:
    """How much better or worse, in the score's own units."""
    if now == then:
        return "the same"
    better = (now < then) == score.loss
    return f"{'better' if better else 'worse'} by {number(abs(now - then))}"


def _selection(
    manifest: Mapping[str, Any], validation: Sequence[Record], score: metrics.Score
) -> Table:
    chosen = manifest["model"]["kind"]
    return Table(
        ("model", f"{score.label} in cross-validation"),
        [
            (
                f"{model} (chosen)" if model == chosen else model,
                number(sum(values) / len(values)) if values else "undefined",
            )
            for model, values in folds(validation).items()
        ],
    )


def _rows(counted: Mapping[str, Any], values: Mapping[str, Any]) -> Block:
    rows = [
        ("read", f"{counted['rows']:,}"),
        ("in quarantine", f"{counted['quarantined']:,}"),
        *((Code(rule), f"{count:,}") for rule, count in counted["rules"].items()),
        ("learnt from", f"{values['rows_train']:,}"),
        ("judged on", f"{values['rows_holdout']:,}"),
    ]
    return Table(("rows", "count"), rows)


def _classes(records: Sequence[Record]) -> list[str]:
    return list(dict.fromkeys(record["class"] for record in records))


def _mean_roc(records: Sequence[Record], grid: Any) -> list[float]:
    """The share found at each share of false alarms, in the mean over the classes."""
    curves = []
    for name in _classes(records):
        points = [record for record in records if record["class"] == name]
        across = np.array([point["false positive rate"] for point in points])
        up = np.array([point["true positive rate"] for point in points])
        last = np.searchsorted(across, grid, side="right") - 1
        reach = np.append(across[1:], 1.0)[last] - across[last]
        rise = np.append(up[1:], 1.0)[last] - up[last]
        part = np.divide(grid - across[last], reach, out=np.zeros_like(grid), where=reach > 0)
        curves.append(up[last] + part * rise)
    return [float(value) for value in np.mean(curves, axis=0)]


def _bars(title: str, names: Sequence[str], values: Sequence[float], measure: str) -> str:
    labels = ", ".join(f'"{_label(name)}"' for name in names)
    low, high = min(0.0, *values), max(0.0, *values)
    return _chart(
        title,
        f"x-axis [{labels}]",
        f'y-axis "{_label(measure)}" {low:.4g} --> {high or 1:.4g}',
        bar=values,
        direction=" horizontal",
    )


def _chart(
    title: str,
    across: str,
    up: str,
    line: Sequence[float] = (),
    bar: Sequence[float] = (),
    direction: str = "",
) -> str:
    kind, values = ("bar", bar) if bar else ("line", line)
    drawn = ", ".join(f"{value:.4g}" for value in values)
    return "\n".join(
        (
            "```mermaid",
            f"%%{{init: {json.dumps(LOOKS)}}}%%",
            f"xychart-beta{direction}",
            f'  title "{title}"',
            f"  {across}",
            f"  {up}",
            f"  {kind} [{drawn}]",
            "```",
        )
    )


def _label(name: str) -> str:
    """A name that Mermaid takes between quotes."""
    plain = "".join(c if c.isalnum() or c in " .,:_-+*/()=<>≤≥²%'" else " " for c in name)
    return shortened(plain, LONGEST_NAME) or "?"
