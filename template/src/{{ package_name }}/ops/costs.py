"""`ops costs`: what a training, a million answers and a month of the log cost.

Each stage notes what it took beside its outputs, which are the same whatever that was.
The run of a version keeps the sums. Prices stand in `params.yaml`.
"""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from math import nan

from .files import read_json, write_json
from .prediction_log import files, micros
from .project import Project
from .registry.tracking import connected
from .settings import Costs, Settings
from .wording import number, table

REQUEST = 0.0002  # processor seconds of a request beside the model, by the template's benchmarks
HOUR, GIGABYTE, DAY, MONTH = 3600, 1e9, 86_400e6, 30.4  # seconds, bytes, microseconds, days
SECONDS, PEAK, STORED = "cost.processor_seconds", "cost.peak_bytes", "cost.stored_bytes"


def note(project: Project, stage: str) -> None:
    """Keep what this process took; Windows does not tell."""
    if sys.platform == "win32":
        return
    from resource import RUSAGE_CHILDREN, RUSAGE_SELF, getrusage

    used = [getrusage(RUSAGE_SELF), getrusage(RUSAGE_CHILDREN)]
    peak = max(its.ru_maxrss for its in used) * (1 if sys.platform == "darwin" else 1024)
    took = {SECONDS: sum(its.ru_utime + its.ru_stime for its in used), PEAK: peak}
    write_json(project.costs / f"{stage}.json", took)


def spent(project: Project) -> dict[str, float]:
    """What the stages took when each ran last, as far as it is known here, and what they left."""
    took = [read_json(it) for it in project.costs.glob("*.json")]
    left = [it for folder in (project.data, project.bundle) for it in folder.rglob("*.*")]
    stored = sum(it.stat().st_size for it in left if project.served not in it.parents)
    if not took:
        return {STORED: stored}
    seconds, peak = sum(it[SECONDS] for it in took), max(it[PEAK] for it in took)
    return {SECONDS: seconds, PEAK: peak, STORED: stored}


def run(project: Project) -> None:
    """Print what the newest version costs, what the one before it did, and what the log does."""
    prices = Settings.load(project.params).costs
    with connected(project) as store:
        newest = store.versions()[:-3:-1]
        told = [_costs(store.known(it).metrics, prices) for it in newest]
    if not told:
        return print("Nothing is registered yet: run `make train`.")
    rows = []
    for name in told[0]:
        values = [its[name] for its in told]
        change = f"{values[0] / values[1] - 1:+.0%}" if values[1:] and values[1] > 0 else "-"
        rows.append((name, *map(number, values), change))
    print(table(("", *(f"version {it.number}" for it in newest), "change"), rows))
    folders = (project.served / log for log in ("predictions", "feedback", "shadow"))
    if logs := [it for folder in folders for it in files(folder)]:
        days = max(1.0, (micros(datetime.now(UTC)) - min(it.until for it in logs)) / DAY + 1)
        month = sum(it.path.stat().st_size for it in logs) / days * MONTH / GIGABYTE
        price = f"{number(month * prices.gigabyte_month)} {prices.currency}"
        print(f"A month of the log: {number(month)} GB, {price} for each month it is kept.")


def _costs(metrics: Mapping[str, float], prices: Costs) -> dict[str, float]:
    """What a version costs, by what was measured of it; nan for what was not."""
    seconds, peak, stored = (metrics.get(name, nan) for name in (SECONDS, PEAK, STORED))
    answers = 1e6 * (metrics.get("gate.latency", nan) / 1000 + REQUEST)
    return {
        "a training: processor seconds": seconds,
        "a training: peak memory, GB": peak / GIGABYTE,
        f"a training: kWh at {prices.watts:g} watts a core": seconds / HOUR * prices.watts / 1000,
        f"a training: {prices.currency}": seconds / HOUR * prices.processor_hour,
        "data and model: GB": stored / GIGABYTE,
        f"data and model: {prices.currency} a month": stored / GIGABYTE * prices.gigabyte_month,
        "a million answers: processor seconds": answers,
        f"a million answers: {prices.currency}": answers / HOUR * prices.processor_hour,
    }
