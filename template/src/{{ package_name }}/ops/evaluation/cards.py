"""The model card and the data card, filled in by the run.

They hold what the data and the run can say. No clock, no commit and no id: the registry adds
those, and the same run gives the same bytes.
"""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from . import metrics
from .document import Bullets, Code, Commands, Pictures, Section, Table, markdown, page
from .findings import Record, folds
from .gates import number, share

CAPTIONS = {
    "roc.png": "ROC curve",
    "precision_recall.png": "Precision and recall",
    "confusion.png": "Confusion matrix",
    "calibration.png": "Calibration",
    "predictions.png": "Predicted and true values",
    "residuals.png": "Residuals",
    "errors.png": "Distribution of the errors",
}

MOST_SLICES = 10
MOST_COLUMNS = 15
MOST_EXAMPLES = 3

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
Findings = Mapping[str, list[Record]]


def write(
    project: Mapping[str, Any],
    manifest: Manifest,
    findings: Findings,
    validation: Mapping[str, Any],
    pictures: Mapping[str, bytes],
) -> dict[str, str]:
    """Write both cards, as Markdown and as HTML, by file name.

    Args:
        project: the `[project]` table of `pyproject.toml`.
        manifest: the bundle's.
        findings: by name, as the functions of `findings` make them.
        validation: what the stage `validate` counted.
        pictures: by file name; the Markdown links them in `../plots/`.
    """
    name = str(project["name"])
    purpose = str(project.get("description", ""))
    written = {}
    for file, title, sections in (
        ("model", f"Model card: {name}", model_card(purpose, manifest, findings, pictures)),
        ("data", f"Data card: {name}", data_card(purpose, manifest, validation)),
    ):
        written[f"{file}.md"] = markdown(title, sections, "../plots/")
        written[f"{file}.html"] = page(title, sections, pictures)
    return written


def model_card(
    purpose: str, manifest: Manifest, findings: Findings, pictures: Mapping[str, bytes]
) -> list[Section]:
    """What the model is for, what it can do, and where it is weak."""
    score = metrics.find(manifest["score"])
    target = next(c["name"] for c in manifest["contract"]["columns"] if c["role"] == "target")
    rows = manifest["data"]["rows"]
    refused = [gate for gate in manifest["gates"] if not gate["passed"]]
    what = (
        f"It tells {_enumerated(manifest['classes'])} apart: the column {target}."
        if manifest["classes"]
        else f"It estimates a number: the column {target}."
    )
    verdict = (
        "It passed every gate."
        if not refused
        else f"It was refused by {_enumerated([gate['name'] for gate in refused])}."
    )
    how = [
        ("task", manifest["task"]),
        ("target", Code(target)),
        ("model", manifest["model"]["kind"]),
        *(
            (name, Code(json.dumps(value)))
            for name, value in manifest["model"]["parameters"].items()
        ),
        ("learnt from", f"{rows['train']:,} rows"),
        ("judged on", f"{rows['holdout']:,} rows that it has never seen"),
        ("format", "ONNX, the whole pipeline with its preprocessing"),
    ]
    shown = {name: caption for name, caption in CAPTIONS.items() if name in pictures}
    return [
        Section("", [purpose, f"{what} {_headline(manifest, score)} {verdict}"]),
        Section("How well it does", [_metrics(manifest), Pictures(shown)]),
        Section(
            "Gates",
            [
                verdicts(manifest),
                (
                    "Two more are asked when the model is registered: that it is no worse than the "
                    "champion, and that it answers a single row quickly enough."
                ),
            ],
        ),
        Section("What it is", [Table(("", ""), how)]),
        Section("How it was chosen", _choice(manifest, findings, score, pictures)),
        Section("What it looks at", _importance(findings, score, pictures)),
        Section("Where it is weak", _weaknesses(manifest, findings, score, pictures)),
        Section("How to reproduce it", _reproduction(manifest)),
    ]


def data_card(purpose: str, manifest: Manifest, validation: Mapping[str, Any]) -> list[Section]:
    """What the rows are, what is meant by them, and what was seen in them."""
    columns = manifest["contract"]["columns"]
    rows, period = manifest["data"]["rows"], manifest["data"]["period"]
    size = [
        ("rows read", f"{validation['rows']:,}"),
        ("rows in quarantine", f"{validation['quarantined']:,}"),
        ("rows that repeat another one", f"{validation['duplicates']:,}"),
        ("rows to learn from", f"{rows['train']:,}"),
        ("rows to judge by", f"{rows['holdout']:,}"),
        *((f"period, {part}", f"{low} to {high}") for part, (low, high) in (period or {}).items()),
        ("contract", Code(manifest["fingerprint"])),
        *(
            (f"SHA-256, {part}", Code(digest))
            for part, digest in manifest["data"]["sha256"].items()
        ),
    ]
    rules = validation["rules"]
    broken = (
        [
            Table(
                ("rule", "rows"),
                [(Code(rule), f"{count:,}") for rule, count in rules.items()],
            )
        ]
        if rules
        else ["Every row kept the contract."]
    )
    return [
        Section("", [purpose]),
        Section("Size", [Table(("", ""), size)]),
        Section(
            "What is meant",
            [
                (
                    "The contract, as src declares it in ml/schema.py. A row that breaks it goes to "
                    "quarantine."
                ),
                Table(
                    ("column", "type", "role", "may be missing", "sensitive", "allowed"),
                    [
                        (
                            Code(column["name"]),
                            column["dtype"] + (" (text)" if column["kind"] == "text" else ""),
                            column["role"].replace("_", " "),
                            _yes(column["nullable"]),
                            _yes(column["sensitive"]),
                            _allowed(column),
                        )
                        for column in columns
                    ],
                ),
            ],
        ),
        Section("What broke the contract", broken),
        Section("What was seen", _profile(manifest)),
        Section("What to mind", [_data_weaknesses(manifest)]),
    ]


def verdicts(manifest: Manifest) -> Table:
    """What each gate said, and why."""
    return Table(
        ("gate", "verdict", "why"),
        [
            (
                gate["name"],
                "skipped" if gate["skipped"] else "passed" if gate["passed"] else "refused",
                gate["reason"],
            )
            for gate in manifest["gates"]
        ],
    )


def weaknesses(manifest: Manifest, findings: Findings) -> list[str]:
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
    truth: dict[str, int] = {}
    for record in findings.get("confusion", ()):
        truth[record["truth"]] = truth.get(record["truth"], 0) + record["rows"]
    found += [
        f"The class {name} has only {count} rows in the holdout, so little is known of it."
        for name, count in truth.items()
        if count < RARE
    ]
    worse = [r for r in findings["slices"] if r["loss"] > r["baseline loss"]]
    if worse:
        worst = max(worse, key=lambda record: record["loss"] - record["baseline loss"])
        found.append(
            f"Where {worst['slice']} ({worst['rows']:,} rows) it does no better than the trivial "
            f"baseline: loss {number(worst['loss'])} against {number(worst['baseline loss'])}."
        )
    bins = findings.get("calibration", ())
    total = sum(record["rows"] for record in bins)
    if total:
        off = sum(abs(r["stated"] - r["observed"]) * r["rows"] for r in bins) / total
        if off > MISCALIBRATED:
            found.append(
                f"Its probabilities are off by {number(off)} on average: use them to rank, "
                "and with care as chances."
            )
    positive = [max(record["importance"], 0.0) for record in findings["importance"]]
    if len(positive) > 1 and positive[0] > DOMINANT * sum(positive):
        found.append(
            f"It leans almost wholly on {findings['importance'][0]['column']}: make sure that "
            "this column is known when a prediction is asked for."
        )
    curve = [record for record in findings["learning_curve"] if record["score"] is not None]
    if len(curve) > 1:
        before, last = curve[-2:]
        if score.gain(last["score"], before["score"]) > CLIMBING:
            found.append(
                f"The learning curve still climbs from {before['rows']:,} to {last['rows']:,} "
                "rows: more rows would probably help."
            )
    sensitive = [
        c["name"]
        for c in manifest["contract"]["columns"]
        if c["sensitive"] and c["role"] == "feature"
    ]
    if sensitive:
        found.append(f"It learns from what is marked as sensitive: {_enumerated(sensitive)}.")
    return found


def _headline(manifest: Manifest, score: metrics.Score) -> str:
    value, trivial = manifest["metrics"].get(score.name), manifest["baseline"].get(score.name)
    if value is None:
        return f"Its {score.label} on the holdout is undefined."
    against = "" if trivial is None else f", against {number(trivial)} of a trivial baseline"
    return f"Its {score.label} on {manifest['data']['rows']['holdout']:,} rows is {number(value)}{against}."


def _metrics(manifest: Manifest) -> Table:
    rows = []
    for name, value in manifest["metrics"].items():
        score = metrics.find(name)
        low, high = manifest["intervals"][name]
        trivial = manifest["baseline"].get(name)
        rows.append(
            (
                score.label,
                number(value),
                "" if low is None else f"{number(low)} to {number(high)}",
                "" if trivial is None else number(trivial),
                "lower" if score.loss else "higher",
            )
        )
    return Table(("score", "model", "95% interval", "trivial baseline", "better is"), rows)


def _choice(
    manifest: Manifest, findings: Findings, score: metrics.Score, pictures: Mapping[str, bytes]
) -> list[str | Table | Pictures]:
    rows = [
        (
            f"{model} (chosen)" if model == manifest["model"]["kind"] else model,
            number(sum(values) / len(values)) if values else "undefined",
            f"{number(min(values))} to {number(max(values))}" if values else "",
        )
        for model, values in folds(findings["validation"]).items()
    ]
    shown = {
        "models.png": "The models compared, fold by fold",
        "learning_curve.png": "Learning curve",
    }
    return [
        f"By {score.label} in cross-validation on the training rows; the holdout had no say.",
        Table(("model", "mean", "over the folds"), rows),
        Pictures({name: text for name, text in shown.items() if name in pictures}),
    ]


def _importance(
    findings: Findings, score: metrics.Score, pictures: Mapping[str, bytes]
) -> list[str | Table | Pictures]:
    lost = f"{score.label} lost"
    return [
        (
            f"How much {score.label} is lost on the holdout when the values of one column are "
            "shuffled. Columns that say the same thing share their worth."
        ),
        Pictures({"importance.png": "Importance of columns"}),
        Table(
            ("column", lost, "±"),
            [
                (
                    Code(record["column"]),
                    _worth(score, record["importance"]),
                    _worth(score, record["deviation"]),
                )
                for record in findings["importance"][:MOST_COLUMNS]
            ],
        ),
    ]


def _weaknesses(
    manifest: Manifest, findings: Findings, score: metrics.Score, pictures: Mapping[str, bytes]
) -> list[str | Table | Bullets | Pictures]:
    blocks: list[str | Table | Bullets | Pictures] = [
        Bullets(weaknesses(manifest, findings) or ["The holdout shows no particular weakness."])
    ]
    if findings["slices"]:
        blocks.append(
            Table(
                ("slice", "rows", score.label, "loss", "loss of the trivial baseline"),
                [
                    (
                        Code(record["slice"]),
                        f"{record['rows']:,}",
                        "" if record["score"] is None else number(record["score"]),
                        number(record["loss"]),
                        number(record["baseline loss"]),
                    )
                    for record in findings["slices"][:MOST_SLICES]
                ],
            )
        )
    if "slices.png" in pictures:
        blocks.append(Pictures({"slices.png": "Scores by slice"}))
    return blocks


def _reproduction(manifest: Manifest) -> list[str | Table | Commands]:
    return [
        "Check out the commit that holds this card (the registry names it), then:",
        Commands(["uv sync --locked", "uv run dvc pull", "uv run dvc repro"]),
        Table(
            ("", ""),
            [
                *((f"data, {part}", Code(d)) for part, d in manifest["data"]["sha256"].items()),
                ("contract", Code(manifest["fingerprint"])),
                *((name, Code(version)) for name, version in manifest["libraries"].items()),
            ],
        ),
    ]


def _profile(manifest: Manifest) -> list[str | Table]:
    profile = manifest["profile"]
    private = {c["name"] for c in manifest["contract"]["columns"] if c["sensitive"]}
    rows = [
        (
            Code(name),
            share(seen["missing"] / profile["rows"]) if profile["rows"] else "",
            *(_seen(seen) if name not in private else ("", "not shown: sensitive")),
        )
        for name, seen in profile["columns"].items()
    ]
    return [
        (
            f"In the {profile['rows']:,} rows that the profile was taken from. It refuses no row; "
            "later rows are compared with it."
        ),
        Table(("column", "missing", "distinct", "what it holds"), rows),
        _target(manifest),
    ]


def _seen(seen: Mapping[str, Any]) -> tuple[str, str]:
    """How many distinct values a column has, and what they are like."""
    if seen["kind"] == "text":
        words = seen["words"]
        return "", f"{words['mean']:.0f} words on average" if words["counts"] else "nothing"
    if "other" in seen:
        common = list(seen["counts"].items())[:MOST_EXAMPLES]
        rest = seen["distinct"] - len(common)
        named = ", ".join(f"{value} ({count:,})" for value, count in common)
        return f"{seen['distinct']:,}", named + (f", and {rest:,} more" if rest > 0 else "")
    if seen["kind"] == "boolean":
        return "", ", ".join(f"{value} ({count:,})" for value, count in seen["counts"].items())
    if not seen["counts"]:
        return "", "nothing"
    low, high = seen["minimum"], seen["maximum"]
    if seen["kind"] == "time":
        first, last = (datetime.fromtimestamp(value, UTC).date() for value in (low, high))
        return "", f"{first} to {last}"
    return "", f"{_plain(low)} to {_plain(high)}, on average {_plain(seen['mean'])}"


def _target(manifest: Manifest) -> str | Table:
    target = manifest["profile"]["target"]
    if manifest["classes"]:
        rows = manifest["profile"]["rows"]
        return Table(
            ("class", "rows", "share"),
            [(Code(name), f"{count:,}", share(count / rows)) for name, count in target.items()],
        )
    spread = ""
    if "minimum" in target:
        spread = f", from {_plain(target['minimum'])} to {_plain(target['maximum'])}"
    return (
        f"The target is {_plain(target['mean'])} on average{spread}, with a standard deviation "
        f"of {_plain(target['deviation'])}."
    )


def _data_weaknesses(manifest: Manifest) -> str | Bullets:
    columns, profile = manifest["contract"]["columns"], manifest["profile"]
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
    sensitive = [column["name"] for column in columns if column["sensitive"]]
    if sensitive:
        found.append(f"Marked as sensitive: {_enumerated(sensitive)}.")
    return Bullets(found) if found else "Nothing stands out."


def _allowed(column: Mapping[str, Any]) -> str:
    if column["kind"] == "boolean":
        return ""
    if column["choices"]:
        return f"one of {_enumerated([str(choice) for choice in column['choices']])}"
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


def _worth(score: metrics.Score, value: float) -> str:
    return share(value) if score.loss else f"{value:.4f}"


def _plain(value: float) -> str:
    """A number of the data, with four digits at most."""
    return f"{value:,.0f}" if 1000 <= abs(value) < 1e12 else f"{value:.4g}"


def _yes(value: bool) -> str:
    return "yes" if value else ""


def _enumerated(names: Sequence[str], most: int = 12) -> str:
    """Names in a sentence: "a, b and c", or the first ones and how many more."""
    shown = list(names[:most])
    if len(names) > most:
        return f"{', '.join(shown)} and {len(names) - most} more"
    return " and ".join((", ".join(shown[:-1]), shown[-1])) if len(shown) > 1 else "".join(shown)
