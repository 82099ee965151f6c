"""The report for people: a page that needs no other file, and its words alone as Markdown."""

from shlex import quote

from ..evaluation.document import Block, Bullets, Code, Pictures, Section, Table
from ..evaluation.document import markdown as written
from ..evaluation.document import page as drawn
from ..evaluation.gates import number, share
from . import pictures
from .decision import Verdict
from .log import moment
from .report import Report

MOST_LABELS = 10
"""Labels that the contract does not know are named, the most frequent first."""

TITLES = {
    "none": "Nothing to do",
    "alert": "Have a look",
    "retrain": "Train a new model",
}


def page(report: Report) -> str:
    """The page of HTML, with its pictures."""
    made = pictures.draw(report)
    shown = Pictures({name: caption for name, (caption, _) in made.items()})
    sections = _sections(report)
    if made:
        sections.insert(1, Section("Pictures", [shown]))
    return drawn(
        TITLES[report.decision], sections, {name: picture for name, (_, picture) in made.items()}
    )


def markdown(report: Report) -> str:
    """The same in words, for a job's summary or a note on a change."""
    head = f"Decision: {report.decision}"
    return written("", [Section(head, _sections(report)[0].blocks), *_sections(report)[1:]])


def _sections(report: Report) -> list[Section]:
    sections = [Section("", _decision(report))]
    if report.judged:
        sections.append(Section("The newest window", _newest(report.judged[-1])))
    if report.verdicts:
        sections.append(Section("Windows", [_windows(report)]))
    return sections


def _decision(report: Report) -> list[Block]:
    blocks: list[Block] = [
        (
            f"Decision: {report.decision}. Version {report.reference.version} is the champion; "
            f"its log was looked at on {report.at:%Y-%m-%d at %H:%M} UTC."
        ),
        Bullets(report.reasons),
    ]
    if report.unknown_labels:
        target = report.reference.contract.target.name
        labels = report.unknown_labels.most_common(MOST_LABELS)
        names = ", ".join(f"{label} ({rows:,})" for label, rows in labels)
        declared = " ".join(f"--declare {quote(f'{target}={label}')}" for label, _ in labels)
        blocks += [
            (
                f"The contract does not know these labels of {target}: {names}. Whoever knows "
                "what they mean declares them, or some of them:"
            ),
            Code(f"uv run ops retrain {declared}"),
        ]
    if report.survey.unreadable:
        blocks.append(f"{report.survey.unreadable:,} lines of the log could not be read.")
    if report.survey.sample < 1:
        blocks.append(f"Of all truths {share(report.survey.sample)} were looked at, by chance.")
    return blocks


def _newest(verdict: Verdict) -> list[Block]:
    window = verdict.window
    blocks: list[Block] = [
        (
            f"{window.rows:,} rows from {_when(window.start)} to {_when(window.end)}; "
            f"{window.refused:,} were refused, and the truth of {window.truths.rows:,} is known."
        )
    ]
    rows = [
        (f.check, Code(f.column or ""), f.test, number(f.value), f"{f.limit:g}", f"{f.p:.1g}")
        for f in verdict.findings
    ]
    if rows:
        blocks.append(Table(("check", "column", "test", "found", "allowed", "by chance"), rows))
    return blocks


def _windows(report: Report) -> Table:
    rows = []
    for verdict in reversed(report.verdicts):
        window = verdict.window
        scored = verdict.score
        rows.append(
            (
                _when(window.end) if window.whole else "not ended",
                f"{window.rows:,}",
                f"{window.truths.rows:,}",
                f"{number(scored.value)} ({number(scored.low)} to {number(scored.high)})"
                if scored
                else "",
                _said(verdict, verdict in report.judged),
            )
        )
    score = report.reference.score.label
    return Table(("until (UTC)", "rows", "truths", score, "violated"), rows)


def _said(verdict: Verdict, judged: bool) -> str:
    if not verdict.window.whole:
        return "not judged yet"
    if not judged:
        return "not judged"
    names = dict.fromkeys(
        f"{found.check} ({found.column})" if found.column else found.check
        for found in verdict.findings
    )
    return ", ".join(names) or "no"


def _when(micros: int) -> str:
    return f"{moment(micros):%Y-%m-%d %H:%M}"
