"""Time and memory of commands, several contenders in turn."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import astuple, dataclass
from statistics import median
from tempfile import TemporaryFile
from textwrap import fill
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


@dataclass(frozen=True)
class Cost:
    """What work took: time, that of the processors, and the memory of its largest process."""

    seconds: float = 0.0
    processor_seconds: float = 0.0
    megabytes: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        """What two pieces of work take, one after the other."""
        return Cost(
            self.seconds + other.seconds,
            self.processor_seconds + other.processor_seconds,
            max(self.megabytes, other.megabytes),
        )


@dataclass(frozen=True)
class Row:
    """One contender's line of a table: its costs as multiples of the reference's, and as such."""

    name: str
    ratio: float
    processor_ratio: float
    cost: Cost


class Part(Protocol):
    """One benchmark's part of the page, under a title of its own."""

    @property
    def title(self) -> str:
        """What no other part is called."""

    def markdown(self) -> str:
        """The part as it stands on the page."""


@dataclass(frozen=True)
class Section:
    """A part that is one table of what work took."""

    title: str
    text: str
    runs: int
    rows: list[Row]
    memory: bool = False

    def markdown(self) -> str:
        """The section as it stands on the page."""
        head, rule = (
            "| | seconds | ratio | processor seconds | ratio |",
            "|---|---:|---:|---:|---:|",
        )
        if self.memory:
            head, rule = f"{head} peak memory, MB |", f"{rule}---:|"
        times = "One run." if self.runs == 1 else f"Medians of {self.runs} interleaved runs."
        text = fill(f"{self.text} {times}", 100, break_on_hyphens=False)
        lines = [f"## {self.title}", "", text, "", head, rule]
        for row in self.rows:
            cost = row.cost
            line = f"| {row.name} | {cost.seconds:.1f} | {row.ratio:.2f} "
            line += f"| {cost.processor_seconds:.1f} | {row.processor_ratio:.2f} |"
            lines.append(f"{line} {cost.megabytes:,.0f} |" if self.memory else line)
        return "\n".join([*lines, ""])


def measure(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end.

    Raises:
        SystemExit: if it fails, with what it printed.
    """
    with TemporaryFile() as said:
        started = time.perf_counter()
        process = subprocess.Popen(
            [str(part) for part in command],
            cwd=cwd,
            env=dict(env or os.environ),
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            said.seek(0)
            sys.exit(f"{command} ended with {process.returncode}:\n{said.read().decode()}")
    unit = 1 if sys.platform == "darwin" else 1024
    return Cost(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6)


def compare(contenders: Mapping[str, Callable[[], Cost]], runs: int) -> dict[str, Cost]:
    """Let each contender work in turn, `runs` times over; give the medians.

    Turn by turn, so that a busy minute of the machine falls on all of them.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in contenders}
    for number in range(runs):
        for name, work in contenders.items():
            cost = work()
            costs[name].append(cost)
            print(
                f"  {number + 1}/{runs} {name}: {cost.seconds:.2f} s, {cost.megabytes:.0f} MB",
                flush=True,
            )
    return {
        name: Cost(*(median(values) for values in zip(*map(astuple, each), strict=True)))
        for name, each in costs.items()
    }


def rows(costs: Mapping[str, Cost]) -> list[Row]:
    """Lines of a table, with times as multiples of those of the first one."""
    base = next(iter(costs.values()))
    return [
        Row(
            name,
            cost.seconds / base.seconds,
            cost.processor_seconds / base.processor_seconds,
            cost,
        )
        for name, cost in costs.items()
    ]
