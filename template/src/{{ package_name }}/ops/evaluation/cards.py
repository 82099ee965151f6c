"""The model card and the data card, filled in by the run.

They hold what the data and the run can say. No clock, no commit and no id: the registry adds
those, and the same run gives the same bytes. How they look stands in `*_card.md.j2`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from . import metrics
from .diagnostics import Record, folds
from .gates import number, share
from .page import HERE, markdown, page

CAPTIONS = {
    "roc.png": "ROC curve",
    "precision_recall.png": "Precision and recall",
    "confusion.png": "Confusion matrix",
    "calibration.png": "Calibration",
    "predictions.png": "Predicted and true values",
    "residuals.png": "Residuals",
    "errors.png": "Distribution of the errors",
    "models.png": "The models compared, fold by fold",
    "learning_curve.png": "Learning curve",
    "importance.png": "Importance of columns",
    "slices.png": "Scores by slice",
}

MOST_SLICES = 10
MOST_COLUMNS = 15
MOST_EXAMPLES = 3
MOST_NAMES = 12

SMALL = 200
"""A holdout of fewer rows is called small."""
RARE = 20
"""A class with fewer rows in the holdout is called rare."""
MISSING = 0.2
"""A column that lacks a larger share of its values is mentioned."""
MISCALIBRATED = 0.05
"""Probabilities that are off by more, on average, are mentioned."""
DOMINANT = 0.8
"""A column with a larger share of all importance is mentioned."""
CLIMBING = 0.01
"""A learning curve that gains more with the last rows is called unfinished."""

Manifest = Mapping[str, Any]
Diagnostics = Mapping[str, list[Record]]


def write(
    project: Mapping[str, Any],
    manifest: Manifest,
    diagnostics: Diagnostics,
    validation: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> dict[str, str]:
    """Write both cards, as Markdown and as HTML, by file name.

    Args:
        project: the `[project]` table of `pyproject.toml`.
        manifest: the bundle's.
        diagnostics: by name, as the functions of `diagnostics` make them.
        validation: what the stage `validate` counted.
        pictures: by file name; the Markdown links them in `../plots/`.
    """
    about = {"name": project["name"], "purpose": project.get("description", "")}
    written = {}
    for card, values in (
        ("model", model_card(manifest, diagnostics) | {"pictures": pictures}),
        ("data", data_card(manifest) | {"validation": validation}),
    ):
        text = markdown(HERE / f"{card}_card.md.j2", manifest=manifest, **about, **values)
        written[f"{card}.md"] = text
        written[f"{card}.html"] = page(f"{card.title()} card: {about['name']}", text, pictures)
    return written


def model_card(manifest: Manifest, diagnostics: Diagnostics) -> dict[str, Any]:
    """What the template says of the model beside what stands in the manifest."""
    score = metrics.find(manifest["score"])
    target = next(c["name"] for c in manifest["contract"]["columns"] if c["role"] == "target")
    return {
        "label": score.label,
        "find": metrics.find,
        "span": _span,
        "target": target,
        "summary": _summary(manifest, score, target),
        "gates": manifest["gates"],
        "captions": CAPTIONS,
        "models": folds(diagnostics["validation"]),
        "importance": diagnostics["importance"][:MOST_COLUMNS],
        "worth": share if score.loss else "{:.4f}".format,
        "weaknesses": weaknesses(manifest, diagnostics),
        "slices": diagnostics["slices"][:MOST_SLICES],
    }


def data_card(manifest: Manifest) -> dict[str, Any]:
    """What the template says of the data beside what stands in the manifest."""
    return {
        "allowed": _allowed,
        "content": _content,
        "target": None if manifest["classes"] else _distribution(manifest["profile"]["target"]),
        "sensitive": _sensitive(manifest),
        "warnings": _warnings(manifest),
    }


def weaknesses(manifest: Manifest, diagnostics: Diagnostics) -> list[str]:
    """What a user of the model should know of its limits, one sentence each."""
    score = metrics.find(manifest["score"])
    found = [f"Refused: {gate['reason']}" for gate in manifest["gates"] if not gate["passed"]]
    rows = manifest["data"]["rows"]["holdout"]
    low, high = manifest["intervals"][score.name]
    if rows < SMALL and low is not None:
        found.append(
            f"The holdout has only {rows} rows: {score.label} could as well be {number(low)} "
            f"or {number(high)}."
        )
    truth = Counter[str]()
    for record in diagnostics.get("confusion", ()):
        truth[record["truth"]] += record["rows"]
    found += [
        f"The class {name} has only {count} rows in the holdout, so little is known of it."
        for name, count in truth.items()
        if count < RARE
    ]
    worse = [r for r in diagnostics["slices"] if r["loss"] > r["baseline loss"]]
    if worse:
        worst = max(worse, key=lambda record: record["loss"] - record["baseline loss"])
        found.append(
            f"Where {worst['slice']} ({worst['rows']:,} rows) it does no better than the trivial "
            f"baseline: loss {number(worst['loss'])} against {number(worst['baseline loss'])}."
        )
    bins = diagnostics.get("calibration", ())
    total = sum(record["rows"] for record in bins)
    if total:
        off = sum(abs(r["stated"] - r["observed"]) * r["rows"] for r in bins) / total
        if off > MISCALIBRATED:
            found.append(
                f"Its probabilities are off by {number(off)} on average: use them to rank, "
                "and with care as chances."
            )
    positive = [max(record["importance"], 0.0) for record in diagnostics["importance"]]
    if len(positive) > 1 and positive[0] > DOMINANT * sum(positive):
        found.append(
            f"It leans almost wholly on {diagnostics['importance'][0]['column']}: make sure that "
            "this column is known when a prediction is asked for."
        )
    curve = [record for record in diagnostics["learning_curve"] if record["score"] is not None]
    if len(curve) > 1:
        before, last = curve[-2:]
        if score.gain(last["score"], before["score"]) > CLIMBING:
            found.append(
                f"The learning curve still climbs from {before['rows']:,} to {last['rows']:,} "
                "rows: more rows would probably help."
            )
    if sensitive := _sensitive(manifest, "feature"):
        found.append(f"It learns from what is marked as sensitive: {listed(sensitive)}.")
    return found


def verdicts(gates: Sequence[Mapping[str, Any]]) -> str:
    """What each gate said, and why, as Markdown."""
    return markdown(HERE / "gates.md.j2", gates=gates)


def _summary(manifest: Manifest, score: metrics.Score, target: str) -> str:
    what = (
        f"It tells {listed(manifest['classes'])} apart"
        if manifest["classes"]
        else "It estimates a number"
    )
    value, trivial = manifest["metrics"].get(score.name), manifest["baseline"].get(score.name)
    rows = f"{manifest['data']['rows']['holdout']:,} rows"
    if value is None:
        reached = f"Its {score.label} on the holdout is undefined."
    else:
        against = "" if trivial is None else f", against {number(trivial)} of a trivial baseline"
        reached = f"Its {score.label} on {rows} is {number(value)}{against}."
    refused = [gate["name"] for gate in manifest["gates"] if not gate["passed"]]
    verdict = f"It was refused by {listed(refused)}." if refused else "It passed every gate."
    return f"{what}: the column {target}. {reached} {verdict}"


def _span(values: Sequence[float | None]) -> str:
    """From the least to the greatest of some numbers; empty if there are none."""
    known = [value for value in values if value is not None]
    return f"{number(min(known))} to {number(max(known))}" if known else ""


def _content(seen: Mapping[str, Any]) -> str:
    """What the values of a column are like, by its part of the profile."""
    if seen["kind"] == "text":
        words = seen["words"]
        return f"{words['mean']:.0f} words on average" if words["counts"] else "nothing"
    if "other" in seen:
        common = list(seen["counts"].items())[:MOST_EXAMPLES]
        rest = seen["distinct"] - len(common)
        named = ", ".join(f"{value} ({count:,})" for value, count in common)
        return named + (f", and {rest:,} more" if rest > 0 else "")
    if seen["kind"] == "boolean":
        return ", ".join(f"{value} ({count:,})" for value, count in seen["counts"].items())
    if not seen["counts"]:
        return "nothing"
    low, high = seen["minimum"], seen["maximum"]
    if seen["kind"] == "time":
        first, last = (datetime.fromtimestamp(value, UTC).date() for value in (low, high))
        return f"{first} to {last}"
    return f"{_plain(low)} to {_plain(high)}, on average {_plain(seen['mean'])}"


def _distribution(target: Mapping[str, Any]) -> str:
    """What the numbers that a regression learns are like."""
    spread = ""
    if "minimum" in target:
        spread = f", from {_plain(target['minimum'])} to {_plain(target['maximum'])}"
    return (
        f"The target is {_plain(target['mean'])} on average{spread}, with a standard deviation "
        f"of {_plain(target['deviation'])}."
    )


def _warnings(manifest: Manifest) -> list[str]:
    """What a user of the data should mind, one sentence each."""
    profile = manifest["profile"]
    rows = profile["rows"]
    found = [
        f"{share(seen['missing'] / rows)} of {name} are missing."
        for name, seen in profile["columns"].items()
        if seen["missing"] > MISSING * rows
    ]
    if manifest["classes"]:
        found += [
            f"The class {name} has only {count:,} rows to learn from."
            for name, count in profile["target"].items()
            if count < RARE
        ]
    if sensitive := _sensitive(manifest):
        found.append(f"Marked as sensitive: {listed(sensitive)}.")
    return found


def _allowed(column: Mapping[str, Any]) -> str:
    if column["kind"] == "boolean":
        return ""
    if column["choices"]:
        return f"one of {listed([str(choice) for choice in column['choices']])}"
    bounds = (
        ("minimum", "≥"),
        ("minimum_exclusive", ">"),
        ("maximum", "≤"),
        ("maximum_exclusive", "<"),
    )
    limits = [f"{sign} {column[name]}" for name, sign in bounds if column[name] is not None]
    if column["pattern"]:
        limits.append(f"matches {column['pattern']}")
    return ", ".join(limits)


def _sensitive(manifest: Manifest, *roles: str) -> list[str]:
    """The columns that are marked as sensitive, of all roles or of some."""
    return [
        column["name"]
        for column in manifest["contract"]["columns"]
        if column["sensitive"] and (not roles or column["role"] in roles)
    ]


def _plain(value: float) -> str:
    """A number of the data, with four digits at most."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"


def listed(names: Sequence[str]) -> str:
    """Names in a sentence: "a, b and c", or the first ones and how many more."""
    shown = list(names[:MOST_NAMES])
    if len(names) > MOST_NAMES:
        return f"{', '.join(shown)} and {len(names) - MOST_NAMES} more"
    return " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else "".join(shown)
