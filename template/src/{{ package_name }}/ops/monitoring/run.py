"""`ops monitor`: look at the log, decide, and tell people, dashboards and `ops retrain`."""

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, date, datetime
from pathlib import Path
from time import sleep
from typing import Any

import polars as pl
from msgspec.structs import replace
from prometheus_client import write_to_textfile

from .. import prediction_log as log
from ..errors import UserError
from ..files import read_json, write_json, write_text
from ..pipeline import labelled
from ..privacy import expire
from ..project import Project
from ..serving.locations import Unavailable, fetch, locate
from ..settings import Monitoring, Settings, span, with_values
from . import multivariate, windows
from .decision import decide, judge, judgeable
from .pools import pooled
from .reference import Reference
from .report import FORMAT, Report, registry

FOLDER = "monitoring"  # below what the service keeps
ACCEPTED = 1.5  # times what was found: as far may go what is accepted
NONE_EXCLUDED = "There is no data/labelled here: labels that were excluded count as all others do."
EXIT_CODES = {"none": 0, "alert": 4, "retrain": 5}  # what `ops monitor --exit-code` ends with


def run(project: Project, exit_code: bool = False, every: str | None = None) -> None:
    """Look once, or again and again.

    Args:
        project: whose log is looked at.
        exit_code: whether the decision is the exit code.
        every: look again after this time, such as `1h`, for ever; what fails is tried again.

    A UserError if there is no champion, or a setting or the time will not do.
    """
    if every is not None:
        pause = span(every)
        if pause is None:
            raise UserError(f"--every is {every}; give it a time such as 30m or 1h.")
        while True:
            try:
                _look(project)
            except Exception as error:  # noqa: BLE001  the next look may fare better
                print(f"ops monitor: {error}", file=sys.stderr, flush=True)
            sleep(pause.total_seconds())
    report = _look(project)
    if exit_code:
        sys.exit(EXIT_CODES[report.outcome.decision])


def monitor(project: Project, settings: Settings) -> Report:
    """Look at the log, write what was found to `monitoring/` beside it, and decide.

    What is too old goes before. A UserError without champion, or if `monitoring.window` is amiss.
    """
    expire(project, settings)
    with _reference(project) as reference:
        excluded = labelled.excluded_in_log(project)
        report = look(project.served, reference, settings, excluded=excluded)
    if report.labelled and not project.labelled.exists():
        report.outcome.reasons.append(NONE_EXCLUDED)
    folder = project.served / FOLDER
    write_text(folder / "report.html", report.page())
    write_text(folder / "summary.md", report.markdown())
    write_to_textfile(str(folder / "metrics.prom"), registry(report))
    write_json(folder / "monitoring.json", report.to_dict())
    return report


def look(
    served: Path,
    reference: Reference,
    settings: Settings,
    now: datetime | None = None,
    excluded: pl.Expr | None = None,
) -> Report:
    """Look at the log in a folder, and write nothing.

    Args:
        served: what the service keeps.
        reference: what the rows are compared with.
        settings: which windows, and how far the world may move.
        now: the time by which windows by time may have ended.
        excluded: which labels are wrong, see `labelled.excluded_in_log`; None if none is.
    """
    at = now or datetime.now(UTC)
    limits = _holding(settings.monitoring, reference.version, at.date())
    known = _edges(served / FOLDER / "monitoring.json", limits)
    found = windows.read(served, reference, limits.size, known, log.micros(at), excluded)
    pools, said, late = pooled(found)
    newest = {pool.windows[-1]: pool for pool in pools}
    shown = [window for window in found.windows if window.shown or window in newest]
    verdicts = [judge(window, limits, settings.seed, newest.get(window)) for window in shown]
    together = multivariate.compare(served, reference, judgeable(verdicts), limits)
    outcome = decide(verdicts, limits, late)
    outcome.reasons.extend(filter(None, [said, reference.lost]))
    return Report(at, limits, reference, outcome, verdicts, found, together)


def accept(project: Project, column: str, reason: str, until: str | None) -> None:
    """Let a column, or a check that has none, be as the last look found it, until a day at most.

    The next champion ends it. A UserError if nothing was found of it, or `until` is no day to come.
    """
    path, day = project.served / FOLDER / "monitoring.json", None
    told: dict[str, Any] = read_json(path, {"windows": []})
    findings = [finding for window in told["windows"] for finding in window["findings"]]
    found = [it for it in findings if column == (it["column"] or it["check"])]
    if not found:
        raise UserError(f"The last `ops monitor` found nothing about {column}: name what it found.")
    held = Settings.load(project.params).monitoring.accepted.get(column)
    limits: dict[Any, float] = {**held.limits} if held and held.version == told["version"] else {}
    for it in found:
        limits[it["check"]] = max(limits.get(it["check"], 0.0), ACCEPTED * it["value"])
    if until is not None:
        with suppress(ValueError):
            day = date.fromisoformat(until)
        if day is None or day < datetime.now(UTC).date():
            raise UserError(f"--until is {until}; give it a day to come, such as 2030-12-31.")
    ends = day and day.isoformat()  # as text: DVC takes no dates
    values = {"limits": limits, "reason": reason, "version": told["version"], "until": ends}
    text = project.params.read_text(encoding="utf-8")
    write_text(project.params, with_values(text, "monitoring.accepted", {column: values}))
    print(f"{column} is accepted until {until or 'the next champion'}: commit params.yaml.")


def _holding(limits: Monitoring, version: str, day: date) -> Monitoring:
    """The limits as they are for a champion on a day, with what is accepted then."""
    accepted = {
        name: own
        for name, own in limits.accepted.items()
        if own.version == version and day <= (own.until or day)
    }
    columns = {name: {**limits.columns.get(name, {}), **accepted[name].limits} for name in accepted}
    return replace(limits, accepted=accepted, columns={**limits.columns, **columns})


@contextmanager
def _reference(project: Project) -> Iterator[Reference]:
    """The champion, where the service finds it; a fresh clone takes it from a shared registry."""
    where = os.environ.get("BUNDLE") or str(project.champion)
    shared = os.environ.get("MLFLOW_TRACKING_URI")
    if shared and where == str(project.champion) and not project.champion.exists():
        from ..registry import champion

        champion.located(project, "champion")
    with tempfile.TemporaryDirectory(prefix="bundle-", ignore_cleanup_errors=True) as cache:
        try:
            bundle = fetch(locate(where), Path(cache))
        except Unavailable as error:
            raise UserError(f"There is no champion to compare with: {error}") from None
        yield Reference(bundle, bundle.origin.version, (project.train, project.holdout))


def _edges(path: Path, limits: Monitoring) -> list[int]:
    """Where the windows of the last run lie; none if it had others."""
    try:
        told = read_json(path)
        if told["format"] != FORMAT or told["window"] != limits.window:
            return []
        starts = [window["start"] for window in told["windows"] if window["columns"]]
        return [log.micros(datetime.fromisoformat(start)) for start in starts]
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _look(project: Project) -> Report:
    report = monitor(project, Settings.load(project.params))
    page = project.served / FOLDER / "report.html"
    shown = page.relative_to(project.root) if page.is_relative_to(project.root) else page
    said = "".join(f"\n- {it}" for it in (report.outcome.action, *report.outcome.reasons))
    print(f"Decision: {report.outcome.decision}{said}\nThe report is {shown}.", flush=True)
    return report
