"""`ops monitor`: every window is looked at as the newest one, two days after it ended."""

from __future__ import annotations

from datetime import UTC, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from deliveries import champion, log
from my_model.ops.monitoring.run import look
from my_model.ops.settings import Monitoring, Settings

from .trial import main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams import Stream

LATER = timedelta(days=2)
"""Truths come in a day after their rows."""


def alarms(stream: Stream, kind: str, first: int) -> Iterator[dict[str, bool]]:
    """Whether it is decided that something be done of what is violated, by which cycle is set."""
    rules = {"`ops monitor`": "none"}
    if kind == "seasonal":
        rules["`ops monitor`, `cycle: year`"] = "year"
    rows = len(stream.windows[0])
    with TemporaryDirectory() as folder:
        project, reference = champion(Path(folder), stream.learnt)
        for place in range(first, len(stream.windows)):
            seen = stream.windows[: place + 1]
            log(project, seen)
            now = seen[-1].time[-1].item().replace(tzinfo=UTC) + LATER
            raised = {}
            for rule, cycle in rules.items():
                settings = Settings(monitoring=Monitoring(window=rows, cycle=cycle))
                report = look(project.served, reference, settings, now)
                outcome = report.outcome
                raised[rule] = outcome.decision != "none" and outcome.violated > 0
            yield raised


if __name__ == "__main__":
    main(alarms)
