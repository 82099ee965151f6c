"""The same check, split and score: this project on Ray's processes, and others' engines."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory, TemporaryFile
from typing import TYPE_CHECKING

import psutil
from render import run as call
from servers import free_port

from .environments import environment
from .measuring import Cost, Section, compare, rows
from .ten_million import SCRIPTS, prepare
from .trained import trained

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

PARTS = 8
"""Of a million rows each."""

PROCESSES = (1, 2, 4)
BULK = Path(__file__).parent / "bulk"
OTHERS = {
    "polars": ("by_polars.py", "bare.py"),
    "DuckDB": ("by_duckdb.py", "by_duckdb.py"),
    "PySpark": ("by_spark.py", "by_spark.py"),
}
"""The scripts in other engines: what checks and splits, and what scores."""

PATIENCE, OFTEN = 60.0, 0.2
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled"}
TEXT = """\
{parts} million rows of twelve columns, in as many files, are parsed, held to their contract,
searched for duplicates and split; then as many rows of 30 numbers are scored with one model in
ONNX, in batches of 4,096. The project does it in one process (scoring in two threads), and on a Ray
cluster of one, two and four processes on the same machine, which has two cores; Ray's own start is
not counted. The scripts do as much in polars, DuckDB and PySpark, and leave the same files; they
keep no counts by rule in a report, nothing to go on from where they are killed, and their hash is
another one. Times are those of all processes together, and memory is what they hold together at
most, without the libraries and the store that they share. Ratios are to this project in one
process.\
"""


def run(folder: Path, runs: int) -> Section:
    """Compare the engines."""
    place = folder / "engines"
    place.mkdir(parents=True, exist_ok=True)
    model = trained(folder)
    variables = dict(model.variables)
    project = prepare(place, variables)["project"].parents[2]
    for root in (project, model.root):
        call("uv", "sync", "--quiet", "--group", "cluster", cwd=root, env=variables)
    python = environment(
        place / "others",
        ("duckdb", "numpy", "onnxruntime", "pandas<3", "polars", "pyarrow", "pyspark>=4,<5"),
        project / ".venv" / "bin" / "python",
    )
    orders, unscored = place / f"orders-{PARTS}", place / f"rows-{PARTS}"
    if not orders.exists():
        call(python, SCRIPTS / "parts.py", str(PARTS * 10**6), orders, cwd=place)
    if not unscored.exists():
        unscored.mkdir()
        for number in range(PARTS):
            with TemporaryDirectory(dir=place) as made:
                command = (model.bin / "python", BULK / "make.py", str(10**6), made)
                call(*command, cwd=model.root, env=variables)
                Path(made, "rows.parquet").rename(unscored / f"{number:06}.parquet")
    checked: dict[str, Callable[[], Cost]] = {
        "check and split, here": partial(check, project, orders, variables),
        "score, here": partial(score, model.root, unscored, place, variables),
    }
    for many in PROCESSES:
        name = f"Ray, {many} process{'' if many == 1 else 'es'}"
        checked[f"check and split, {name}"] = partial(check, project, orders, variables, many)
        checked[f"score, {name}"] = partial(score, model.root, unscored, place, variables, many)
    bundle = model.root / "models" / "champion"
    for name, (checking, scoring) in OTHERS.items():
        given = orders if name == "PySpark" else orders / "*.parquet"
        check_it = partial(other, python, place, SCRIPTS / checking, given)
        score_it = partial(other, python, place, BULK / scoring, bundle, unscored)
        checked |= {f"check and split, {name}": check_it, f"score, {name}": score_it}
    costs = compare(checked, runs)
    works = ("check and split", "score")
    table = [
        row
        for work in works
        for row in rows({name: cost for name, cost in costs.items() if name.startswith(work)})
    ]
    return Section("Engines", TEXT.format(parts=PARTS), runs, table, memory=True)


def check(project: Path, orders: Path, variables: Mapping[str, str], processes: int = 0) -> Cost:
    """Let the project's stages do it, here or on a cluster."""
    shutil.rmtree(project / "data", ignore_errors=True)
    (project / "data").mkdir()
    with cluster(project, variables, processes) as (address, others):
        own = {**variables, **address, "ORDERS": str(orders)}
        stages = (
            [project / ".venv" / "bin" / "ops", "stage", stage]
            for stage in ("ingest", "validate", "split")
        )
        return together([[*map(str, stage)] for stage in stages], project, own, others)


def score(
    project: Path, unscored: Path, place: Path, variables: Mapping[str, str], processes: int = 0
) -> Cost:
    """Let `ops score` do it, here or on a cluster."""
    out = place / "scored"
    shutil.rmtree(out, ignore_errors=True)
    with cluster(project, variables, processes) as (address, others):
        command = [str(project / ".venv" / "bin" / "ops"), "score", str(unscored), f"{out}/"]
        return together([command], project, {**variables, **address}, others)


def other(python: Path, place: Path, script: Path, *given: Path) -> Cost:
    """Let somebody else's engine do it."""
    folder = place / "made"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return together([[*map(str, (python, script, *given, folder))]], place)


@contextmanager
def cluster(
    project: Path, variables: Mapping[str, str], processes: int
) -> Iterator[tuple[dict[str, str], list[psutil.Process]]]:
    """A Ray cluster of so many processes, if any: where it is reached, and its first process."""
    if not processes:
        yield {}, []
        return
    port = free_port()
    with TemporaryDirectory(prefix="ray-") as temporary, TemporaryFile() as said:
        command = [str(project / ".venv" / "bin" / "ray"), "start", "--head", "--block"]
        command += ["--port", str(port), "--num-cpus", str(processes), f"--temp-dir={temporary}"]
        command += ["--include-dashboard=false", "--object-store-memory", "1000000000"]
        process = subprocess.Popen(
            command, env={**variables, **QUIET}, stdout=said, stderr=said, cwd=temporary
        )
        try:
            address = f"127.0.0.1:{port}"
            ready = [str(project / ".venv" / "bin" / "ray"), "status", "--address", address]
            deadline = time.monotonic() + PATIENCE
            while subprocess.run(
                ready, env={**variables, **QUIET}, capture_output=True, check=False
            ).returncode:
                if time.monotonic() > deadline:
                    said.seek(0)
                    sys.exit(f"Ray does not start:\n{said.read().decode()}")
            yield {**QUIET, "RAY_ADDRESS": address}, [psutil.Process(process.pid)]
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(PATIENCE)


def together(
    commands: list[list[str]],
    cwd: Path,
    env: Mapping[str, str] | None = None,
    others: list[psutil.Process] | None = None,
) -> Cost:
    """What commands take one after the other, with all processes that work for them."""
    spent, held = dict[int, float](), 0.0
    begun = sum(_spent(it) for other in others or [] for it in _family(other))

    def watch(roots: list[psutil.Process]) -> None:
        nonlocal held
        now = 0.0
        for process in (it for root in roots for it in _family(root)):
            spent[process.pid] = max(spent.get(process.pid, 0.0), _spent(process))
            now += _held(process)
        held = max(held, now)

    started = time.perf_counter()
    for command in commands:
        with TemporaryFile() as said:
            process = subprocess.Popen(
                command,
                cwd=cwd,
                env=None if env is None else dict(env),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            roots = [psutil.Process(process.pid), *(others or [])]
            while process.poll() is None:
                watch(roots)
                time.sleep(OFTEN)
            if process.returncode:
                said.seek(0)
                sys.exit(f"{command} ended with {process.returncode}:\n{said.read().decode()}")
    seconds = time.perf_counter() - started
    watch(others or [])
    return Cost(seconds, sum(spent.values()) - begun, held / 1e6)


def _family(process: psutil.Process) -> list[psutil.Process]:
    """A process and all that it has begun, as far as they are still there."""
    try:
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _spent(process: psutil.Process) -> float:
    """The processor seconds that a process has had by now."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system)


def _held(process: psutil.Process) -> float:
    """The memory of a process that no other one shares, in bytes."""
    try:
        return float(process.memory_full_info().uss)
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0.0
