"""Where one window ends and the next begins.

Windows by count end with the row that fills them, or with the last row of the same moment. They
are not cut anew from run to run: each run goes on where the windows of the last one ended. Windows
by time end at whole multiples of it since 1970 (UTC).
"""

import re
from collections.abc import Iterable, Sequence
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .log import File, Reader

Moments = NDArray[np.int64]
"""Microseconds since 1970."""

SHOWN = 24
"""As many whole windows are shown: the newest."""

LEAST_ROWS, MOST_ROWS = 100, 1_000_000
"""Of a window by count; of fewer rows nothing can be said, for more there are windows by time."""

UNITS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}
"""Seconds."""


def span(text: str) -> timedelta | None:
    """Read a time such as `12h` or `7d` (minutes, hours, days, weeks); None if it is none."""
    found = re.fullmatch(r"([1-9]\d{0,5})\s?([mhdw])", text.strip())
    return found and timedelta(seconds=int(found[1]) * UNITS[found[2]])


def size(window: int | str) -> int | timedelta:
    """A window's size: rows or a time.

    Raises:
        UserError: if `monitoring.window` is neither.
    """
    text = str(window).strip()
    if text.isdecimal():
        if LEAST_ROWS <= int(text) <= MOST_ROWS:
            return int(text)
    elif (found := span(text)) is not None:
        return found
    raise UserError(
        f"params.yaml: monitoring.window is {window!r}; give it rows, from {LEAST_ROWS} to "
        f"{MOST_ROWS:,}, or a time such as 12h or 7d."
    )


def by_time(length: timedelta, first: int, now: int) -> Moments:
    """The ends of whole windows up to now, preceded by where the first begins."""
    step = length // timedelta(microseconds=1)
    last = now // step
    begin = max(first // step, last - SHOWN)
    # A window holds what is later than one edge and not later than the next.
    return np.arange(begin, last + 1, dtype=np.int64) * step - 1


def by_count(rows: int, files: Sequence[File], known: Moments) -> Moments:
    """The same for windows of so many rows.

    Args:
        rows: in a window.
        files: of the log, the newest first.
        known: the edges of an earlier run, the last one being the end of its last whole window.
    """
    most = rows * (SHOWN + 1)
    since = int(known[-1]) if len(known) else -1
    times = newest(files, since, most)
    if not len(known) or len(times) == most:
        # Nothing is known, or so much came since then that the old windows are out of sight.
        known = times[:1] - 1
    edges = [*known.tolist()]
    place = int(np.searchsorted(times, edges[-1], side="right")) if edges else 0
    while place + rows <= len(times):
        edges.append(int(times[place + rows - 1]))
        place = int(np.searchsorted(times, edges[-1], side="right"))
    return np.array(edges[-SHOWN - 1 :], dtype=np.int64)


def newest(files: Iterable[File], since: int, most: int) -> Moments:
    """The times of the newest rows after `since`, in order; no more than `most`."""
    times = np.empty(0, dtype=np.int64)
    reader = Reader({})
    for file in files:
        if file.until <= since or (len(times) == most and file.until <= times[0]):
            break
        for frame in reader.frames(file):
            found = frame["time"].to_numpy()
            times = np.sort(np.concatenate([times, found[found > since]]))[-most:]
    return times
