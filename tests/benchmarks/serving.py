"""How fast the service answers, beside other servers of the same model."""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import chain
from math import nan
from statistics import median, quantiles
from textwrap import fill
from typing import TYPE_CHECKING, NamedTuple
from urllib.request import urlopen

from render import run as call

from .contenders import OURS, PROGRAMS, Memory, contenders
from .trained import trained

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from .contenders import Contender, Rows, Server

SECONDS, WARM_SECONDS, MOST_SECONDS = 6.0, 2.0, 25.0
"""How long a load lasts, what comes before it, and how long it lasts for the slowest."""

STARTS = 3
TOLERANCE = 1e-4
BATCH, ALONE = 1_000, 100
"""Rows in a large request, and how many are compared one by one."""


class Load(NamedTuple):
    """What a server is asked: so many rows at once, by so many callers."""

    rows: int
    connections: int

    def __str__(self) -> str:
        """As it is called on the page."""
        rows = "single rows" if self.rows == 1 else f"{self.rows:,} rows a request"
        return f"{rows}, {self.connections} connection{'s'[: self.connections > 1]}"


LOADS = (Load(1, 1), Load(1, 32), Load(1, 256), Load(BATCH, 4))
AIMED = LOADS[1]

TEXT = """\
All servers score with the very same fitted pipeline, that of the trained default project (a scaler
and a logistic regression of 30 numbers), on Python {python}, and with one worker. `ops serve` is as
it is rendered: it holds each row to the contract, writes each answered row to its log, and counts;
its log is held to what was answered. MLflow serves the pipeline saved by
`mlflow.sklearn.save_model`, as it does by default. BentoML and LitServe batch what waits, once with
the pipeline on a pandas frame as their documents show, and once with the champion's ONNX file on
numpy, which is this project's work and the fastest that they can have. None of the others holds
rows to more than their types, or keeps them; MLflow alone writes an access log. All have uvloop and
httptools.

Before it is timed, each server's probabilities are held to those of the pipeline, within
{tolerance:g}. Each is loaded alone by wrk in one thread on the same machine, in a closed loop over
connections that stay open, for {seconds:.0f} seconds after a warm-up (longer where 256 callers
wait for a slow one). A ratio says how many times as many `ops serve` answers. wrk took at most
{share:.0%} of one core; the load average was {busy:.1f} before. Memory is the resident set of all
processes of a server after the single rows, then after the batches, then with shared pages
counted once. A start is the median of three.
"""


class Speed(NamedTuple):
    """How a server answers under one load; times in milliseconds."""

    per_second: float
    p50: float
    p99: float


@dataclass
class Record:
    """All that is measured of one server."""

    speeds: dict[Load, Speed]
    start: float
    small: Memory
    """After all single rows."""
    large: Memory
    """After the batches, too."""
    health: float = nan
    """The 99th percentile of `/health` while many callers send large requests, in milliseconds."""


@dataclass(frozen=True)
class Comparison:
    """The part of the page."""

    title: str
    text: str
    records: Mapping[str, Record]

    def _paragraphs(self) -> Iterator[str]:
        for paragraph in self.text.split("\n\n"):
            yield fill(paragraph, 100, break_on_hyphens=False)
            yield ""

    def markdown(self) -> str:
        """One table for each load, and one for what a server takes."""
        lines = [f"## {self.title}", "", *self._paragraphs()]
        ours = self.records[OURS]
        for load in LOADS:
            lines += [
                f"| {load} | requests/s | ratio | p50, ms | p99, ms |",
                "|---|---:|---:|---:|---:|",
            ]
            for name, record in self.records.items():
                speed = record.speeds[load]
                ratio = ours.speeds[load].per_second / speed.per_second
                lines.append(
                    f"| {name} | {speed.per_second:,.0f} | {ratio:.2f} "
                    f"| {speed.p50:,.2f} | {speed.p99:,.2f} |"
                )
            lines.append("")
        lines += [
            "| | start to first answer, s | memory, MB | after batches | shared counted once |",
            "|---|---:|---:|---:|---:|",
        ]
        for name, record in self.records.items():
            small, large = record.small, record.large
            lines.append(
                f"| {name} | {record.start:.2f} | {small.resident:,.0f} "
                f"| {large.resident:,.0f} | {large.proportional:,.0f} |"
            )
        return "\n".join([*lines, ""])


def run(folder: Path, runs: int) -> Comparison:
    """Compare the service with other servers of the same fitted pipeline."""
    if shutil.which("wrk") is None:
        sys.exit("The load comes from wrk, which is not here; install it, as by `apt install wrk`.")
    project = trained(folder)
    place = folder / "serving"
    place.mkdir(exist_ok=True)
    python = project.bin / "python"
    call(python, PROGRAMS / "fit.py", place, str(BATCH), cwd=project.root, env=project.variables)
    said = json.loads((place / "rows.json").read_text())
    rows, expected = said["rows"], said["probabilities"]
    version = "import platform; print(platform.python_version())"
    running = call(python, "-c", version, cwd=place).strip()
    servers = contenders(place, project, said["columns"])
    busy = os.getloadavg()[0]
    rounds: dict[str, list[Record]] = defaultdict(list)
    share = 0.0
    for number in range(runs):
        for contender in servers:
            print(f"  {number + 1}/{runs} {contender.name}", flush=True)
            log = project.root / "data" / "served" if contender.name == OURS else None
            bench = Bench(place, contender, rows, expected)
            rounds[contender.name].append(bench.measure(log))
            share = max(share, bench.share)
    records = {name: middle(each) for name, each in rounds.items()}
    times = "One run." if runs == 1 else f"Medians of {runs} interleaved runs."
    text = TEXT.format(tolerance=TOLERANCE, seconds=SECONDS, share=share, busy=busy, python=running)
    return Comparison("Serving", f"{text}\n{aims(records)} {times}", records)


class Bench:
    """One server under all loads."""

    def __init__(self, place: Path, contender: Contender, rows: Rows, expected: Rows) -> None:
        """Write the requests down, as wrk takes them."""
        self.contender = contender
        self.rows = rows
        self.expected = expected
        self.answered = 0
        self.share = 0.0
        """Of a processor, the most that wrk took."""
        self.requests = {1: place / "single.txt", BATCH: place / "batch.txt"}
        single = [contender.body([row]) for row in rows]
        self.requests[1].write_bytes(b"\n".join(single) + b"\n")
        self.requests[BATCH].write_bytes(contender.body(rows) + b"\n")

    def measure(self, log: Path | None) -> Record:
        """Start the server a few times, hold its answers to the pipeline's, and load it.

        Raises:
            SystemExit: if it answers wrongly or not at all, or leaves an answered row out of its
                log.
        """
        if log:
            shutil.rmtree(log, ignore_errors=True)
        starts = []
        for _ in range(STARTS - 1):
            begun = time.perf_counter()
            with self.contender.started() as server:
                server.first(self.rows[:1])
                starts.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        with self.contender.started() as server:
            server.first(self.rows[:1])
            starts.append(time.perf_counter() - begun)
            self.compare(server)
            speeds = {load: self.load(server, load) for load in LOADS if load.rows == 1}
            small = server.memory()
            speeds |= {load: self.load(server, load) for load in LOADS if load.rows > 1}
            large = server.memory()
            health = self.health(server) if log else nan
        if log:
            files = log.glob("predictions/*.jsonl")
            kept = sum(file.read_bytes().count(b"\n") for file in files)
            shutil.rmtree(log)
            if kept < self.answered:
                sys.exit(f"{kept:,} of {self.answered:,} answered rows are in the log.")
        return Record(speeds, median(starts), small, large, health)

    def health(self, server: Server) -> float:
        """Ask `/health` again and again while all callers send large requests."""
        times: list[float] = []
        over = threading.Event()

        def probe() -> None:
            while not over.wait(0.02):
                begun = time.perf_counter()
                with urlopen(f"http://127.0.0.1:{server.port}/health") as answer:
                    answer.read()
                times.append(time.perf_counter() - begun)

        thread = threading.Thread(target=probe)
        thread.start()
        try:
            self._wrk(server, Load(BATCH, AIMED.connections), SECONDS)
        finally:
            over.set()
            thread.join()
        return quantiles(times, n=100)[-1] * 1_000

    def compare(self, server: Server) -> None:
        """Hold the server's answers to what the pipeline said.

        Raises:
            SystemExit: if one is different.
        """
        singly = [server.ask([row])[0] for row in self.rows[:ALONE]]
        for answers in (singly, server.ask(self.rows)):
            pairs = zip(chain(*answers), chain(*self.expected), strict=len(answers) == BATCH)
            worst = max(abs(answer - wanted) for answer, wanted in pairs)
            if not worst < TOLERANCE:
                sys.exit(f"{self.contender.name} differs from the pipeline by {worst}.")

    def load(self, server: Server, load: Load) -> Speed:
        """Let wrk ask; a slow server long enough to answer each caller some times."""
        warm = self._wrk(server, load, WARM_SECONDS)
        enough = 4 * load.connections / max(warm["answered"] / warm["seconds"], 1.0)
        told = self._wrk(server, load, min(max(SECONDS, enough), MOST_SECONDS))
        speed = Speed(told["answered"] / told["seconds"], told["p50"], told["p99"])
        print(f"    {load}: {speed.per_second:,.0f}/s, {speed.p50} ms, {speed.p99} ms", flush=True)
        return speed

    def _wrk(self, server: Server, load: Load, seconds: float) -> dict[str, float]:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        printed = call(
            *("wrk", "--threads", "1", "--connections", str(load.connections)),
            *("--duration", f"{seconds:.0f}s", "--timeout", "120s"),
            *("--script", PROGRAMS / "requests.lua"),
            *(server.address, "--", self.requests[load.rows]),
            cwd=self.requests[1].parent,
        )
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        told: dict[str, float] = json.loads(printed.splitlines()[-1])
        if told["failed"] or not told["answered"]:
            ended = server.process.poll()
            sys.exit(f"{self.contender.name} (exit code {ended}), {load}: {printed}")
        took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        self.share = max(self.share, took / told["seconds"])
        self.answered += int(told["answered"]) * load.rows
        # What was asked before wrk left is answered before this.
        server.ask(self.rows[:1])
        return told


def middle(records: Sequence[Record]) -> Record:
    """The medians of all that was measured."""
    speeds = {
        load: Speed(*map(median, zip(*(each.speeds[load] for each in records), strict=True)))
        for load in LOADS
    }
    start = median(each.start for each in records)
    small, large = (
        Memory(*map(median, zip(*each, strict=True)))
        for each in zip(*((each.small, each.large) for each in records), strict=True)
    )
    return Record(speeds, start, small, large, median(each.health for each in records))


def aims(records: Mapping[str, Record]) -> str:
    """What was aimed at, and what was reached."""
    ours = records[OURS]
    fast = ours.speeds[AIMED]
    others = {name: each.speeds[AIMED] for name, each in records.items() if name != OURS}

    def times(server: str) -> str:
        return " and ".join(
            f"{fast.per_second / speed.per_second:.0f} ({name.rpartition(', ')[2]})"
            for name, speed in others.items()
            if server in name
        )

    waits = " and ".join(f"{speed.p50:.1f}" for name, speed in others.items() if "Bento" in name)
    return (
        f"The aims and what was reached, at 32 connections: 100 times `mlflow models serve`: "
        f"{times('mlflow')}; 15 times BentoML: {times('BentoML')}; p99 below BentoML's p50: "
        f"{fast.p99:.1f} ms and {waits} ms; less than 120 MB: {ours.small.resident:.0f} MB; "
        f"the first answer in less than 1.5 seconds: {ours.start:.2f}; `/health` in less than 100 "
        f"ms (p99) while all send {BATCH:,} rows: {ours.health:.0f} ms."
    )
