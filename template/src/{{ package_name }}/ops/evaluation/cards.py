"""The model card and the data card, filled in by the run.

They hold what the data and the run can say. No clock, no commit and no id: the registry adds
those, and the same run gives the same bytes. `*_card.md.j2` takes what it says from the manifest
and the findings; what must be computed is here.
"""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..wording import listed, share
from . import metrics
from .diagnostics import Record, folds
from .page import HERE, Markdown, markdown, page

MOST_EXAMPLES = 3  # values of a category that are named

MISCALIBRATED = 0.05  # probabilities that are off by more, on average, are mentioned
DOMINANT = 0.8  # a column with a larger share of all importance is mentioned
CLIMBING = 0.01  # a learning curve that gains more with the last rows is called unfinished

UNTOLD = "What it is for stands in `docs/use-case.md`, and on its card in the registry."

Manifest = Mapping[str, Any]
Diagnostics = Mapping[str, Sequence[Record]]


def write(
    project: Mapping[str, Any],
    manifest: Manifest,
    diagnostics: Diagnostics,
    validation: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> dict[str, str]:
    """Write both cards, as Markdown and as HTML, by file name.

    `project` is the table of `pyproject.toml`, `validation` what the stage of that name counted.
    The Markdown links the pictures in `../plots/`.
    """
    name = str(project["name"])
    about = {"name": name, "purpose": project.get("description", ""), "manifest": manifest}
    described = {"allowed": _allowed, "content": _content, "plain": _plain}
    written = {}
    for card, values in (
        ("model", {**model_card(manifest, diagnostics), "pictures": pictures}),
        ("data", {**described, "validation": validation}),
    ):
        text = markdown(HERE / f"{card}_card.md.j2", **about, **values)
        written[f"{card}.md"] = text
        written[f"{card}.html"] = page(f"{card.title()} card: {name}", text, pictures)
    return written


def told(name: str, reports: Path, answers: Mapping[str, str | None]) -> dict[str, str]:
    """The model card in `reports/` of a project, with what its people say it is for."""
    text = (reports / "cards" / "model.md").read_text("utf-8")
    text = text.replace(UNTOLD, markdown(HERE / "use_case.md.j2", answers=answers).strip())
    pictures = {path.name: path.read_bytes() for path in (reports / "plots").glob("*.png")}
    return {"model.md": text, "model.html": page(f"Model card: {name}", text, pictures)}


def model_card(manifest: Manifest, diagnostics: Diagnostics) -> dict[str, Any]:
    """What the template says of the model beside what stands in the manifest."""
    score, bins = metrics.of(manifest), diagnostics.get("calibration", ())
    lost = [record for record in diagnostics["slices"] if (record["excess"] or 0.0) > 0]
    off = sum(abs(record["stated"] - record["observed"]) * record["rows"] for record in bins)
    off /= sum(record["rows"] for record in bins) or 1
    columns = diagnostics["importance"]
    worth = [max(record["importance"], 0.0) for record in columns]
    alone = len(worth) > 1 and worth[0] > DOMINANT * sum(worth)
    last = [it for it in diagnostics["learning_curve"] if it["score"] is not None][-2:]
    climbs = len(last) == 2 and score.gain(last[1]["score"], last[0]["score"]) > CLIMBING
    return {
        "untold": Markdown(UNTOLD),
        "score": score,
        "find": metrics.find,
        "found": diagnostics,
        "models": folds(diagnostics["validation"]),
        "worth": share if score.loss else "{:.4f}".format,
        "weakest": max(lost, key=lambda record: record["excess"], default=None),
        "miscalibration": off if off > MISCALIBRATED else None,
        "dominant": columns[0]["column"] if alone else None,
        "climb": last if climbs else None,
    }


def verdicts(gates: Sequence[Mapping[str, Any]]) -> str:
    """What each gate said, and why, as Markdown."""
    return markdown(HERE / "gates.md.j2", gates=gates)


def _allowed(column: Mapping[str, Any]) -> str:
    if item := column.get("item"):
        least, most = column["min_length"] or 0, column["max_length"]
        count = f"{most}" if least == most else f"{least} to {most}"
        each = ", ".join(filter(None, [_allowed(item), "or missing" if item["nullable"] else ""]))
        return f"{count} items{f', each {each}' if each else ''}"
    if column["kind"] == "boolean":
        return ""
    if column["choices"]:
        return f"one of {listed([str(choice) for choice in column['choices']])}"
    signs = {"minimum": "≥", "minimum_exclusive": ">", "maximum": "≤", "maximum_exclusive": "<"}
    limits = [f"{sign} {column[name]}" for name, sign in signs.items() if column[name] is not None]
    if column["pattern"]:
        limits.append(f"matches {column['pattern']}")
    return ", ".join(limits)


def _content(seen: Mapping[str, Any]) -> str:
    """What the values of a column are like, by its part of the profile."""
    if words := seen.get("words"):
        what = "words" if seen["kind"] == "text" else "items"
        return f"{words['mean']:.0f} {what} on average" if words["counts"] else "nothing"
    if seen["kind"] == "array":
        known = share(seen["known share"]["mean"]) if seen["items"]["counts"] else "none"
        return f"{_content({'kind': 'number', **seen['items']})}, {known} known"
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


def _plain(value: float) -> str:
    """A number of the data, with four digits at most."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"
