"""How long the test suite takes: read from what the last `make test` left, for it takes long."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from textwrap import fill
from xml.etree import ElementTree as ET

from render import ROOT

REPORT = ROOT / "build" / "tests.xml"
SLOWEST = 10
TEXT = """\
The whole suite, as `make test` ran it last: {tests:,} tests in {minutes:.0f} minutes. Slow tests
render projects, install them, train them and run what they are documented to do; what several of
them share counts where it is first asked for. These {slowest} take {share:.0%} of the time of all.\
"""


@dataclass(frozen=True)
class Suite:
    """The suite's part of the page.

    Attributes:
        seconds: what each test took with what it asked for, by its name; the slowest first.
        total: the seconds from the first to the last.
    """

    seconds: dict[str, float]
    total: float
    title: str = "The test suite"

    def markdown(self) -> str:
        """The section as it stands on the page."""
        slowest = list(self.seconds.items())[:SLOWEST]
        text = TEXT.format(
            tests=len(self.seconds),
            minutes=self.total / 60,
            slowest=len(slowest),
            share=sum(seconds for _, seconds in slowest) / sum(self.seconds.values()),
        )
        table = [f"| `{name}` | {seconds:.0f} |" for name, seconds in slowest]
        head = ["| | seconds |", "|---|---:|"]
        return "\n".join([f"## {self.title}", "", fill(text, 100), "", *head, *table, ""])


def run(folder: Path, runs: int) -> Suite:
    """Read the report of the last run.

    Raises:
        SystemExit: if it is not there, or of a part of the suite, or of one that failed.
    """
    del folder, runs
    if not REPORT.exists():
        sys.exit("There is no report of the suite: run `make test` first.")
    (suite,) = ET.parse(REPORT).getroot()  # noqa: S314 (our own)
    cases = suite.findall("testcase")
    ran = {case.get("classname", "").rpartition(".")[2] for case in cases}
    if missing := {path.stem for path in Path(ROOT, "tests").glob("test_*.py")} - ran:
        sys.exit(f"The last run left out {', '.join(sorted(missing))}: run all of `make test`.")
    if any(suite.get(count) != "0" for count in ("failures", "errors", "skipped")):
        sys.exit("The last run of the suite failed: mend it, then run `make test`.")
    seconds = {
        f"{case.get('classname', '').rpartition('.')[2]}::{case.get('name')}": float(
            case.get("time", 0)
        )
        for case in cases
    }
    ordered = dict(sorted(seconds.items(), key=lambda its: its[1], reverse=True))
    return Suite(ordered, float(suite.get("time", 0)))
