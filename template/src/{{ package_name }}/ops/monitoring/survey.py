"""From the files of the log to counts by window, in memory that does not grow with the log.

Files are read from the newest back, part by part, and no further than the windows that are shown.
Of a part only counts are kept; of rows whose truth is known, the answer, for a million of them at
most: beyond that a sample, by the digits of their ids, which are random.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from . import log, windows
from .log import Reader
from .reference import Reference
from .window import Window

MOST_TRUTHS = 1_000_000
"""Truths that are kept in memory."""

DIGITS = 8
"""Hexadecimal digits of an id that choose the sample."""


@dataclass
class Survey:
    """The windows of a log, and what is known of it as a whole."""

    windows: list[Window] = field(default_factory=list)
    """In order; the last one has not ended."""
    newest_prediction: int | None = None
    """Microseconds since 1970; None if there is none."""
    newest_feedback: int | None = None
    sample: float = 1.0
    """The share of the truths that is looked at."""
    unreadable: int = 0
    """Lines that were not what they should be."""


def survey(
    folder: Path, reference: Reference, size: int | str, known: Sequence[datetime], now: datetime
) -> Survey:
    """Read the log in `folder`.

    Args:
        folder: holds `predictions`, `feedback` and `refusals`, as far as there are any.
        reference: in whose cells is counted.
        size: of a window, as `monitoring.window` has it.
        known: where the windows of an earlier run began and ended, in order.
        now: until when windows by time may have ended.
    """
    files = log.files(folder / "predictions")
    found = Survey()
    edges = _edges(files, windows.size(size), known, log.micros(now))
    if not len(edges):
        return found
    found.windows = [Window(reference, start, end) for start, end in pairwise(edges.tolist())]
    found.windows.append(Window(reference, int(edges[-1]), log.EVER, whole=False))
    truths = _truths(folder / "feedback", reference, int(edges[0]), found)
    columns = reference.watched
    reader = Reader(log.predictions(reference.contract, columns))
    for file in files:
        if file.until <= edges[0]:
            break
        for frame in reader.frames(file):
            valid = frame.drop_nulls(["id", "inputs"])
            found.unreadable += len(frame) - len(valid)
            latest = valid["time"].max()
            if isinstance(latest, int):
                found.newest_prediction = max(latest, found.newest_prediction or latest)
            share_out(found.windows, valid.join(truths, on="id", how="left"))
    found.unreadable += reader.unreadable
    for file in log.files(folder / "refusals"):
        if file.until <= edges[0]:
            break
        for time, rows, broken in log.refusals(file):
            place = int(np.searchsorted(edges, time, side="left")) - 1
            if place >= 0:
                found.windows[place].refuse(rows, broken)
    return found


def share_out(shown: Sequence[Window], frame: pl.DataFrame) -> None:
    """Give each window its rows; what is older than the first is left out."""
    edges = np.array([window.start for window in shown])
    place = np.searchsorted(edges, frame["time"].to_numpy(), side="left") - 1
    for window in np.unique(place[place >= 0]):
        shown[window].add(frame.filter(pl.Series(place == window)))


def _edges(
    files: Sequence[log.File], size: int | object, known: Sequence[datetime], now: int
) -> windows.Moments:
    """Where whole windows begin and end; empty if there is no row."""
    if isinstance(size, int):
        return windows.by_count(size, files, np.array([log.micros(k) for k in known], np.int64))
    first = _first(files)
    if first is None:
        return np.empty(0, dtype=np.int64)
    return windows.by_time(size, first, now)  # type: ignore[arg-type]


def _first(files: Sequence[log.File]) -> int | None:
    """The time of the first row of the oldest file that has one."""
    reader = Reader({})
    for file in reversed(files):
        for frame in reader.frames(file):
            earliest = frame["time"].min()
            if isinstance(earliest, int):
                return earliest
    return None


def _truths(folder: Path, reference: Reference, since: int, found: Survey) -> pl.DataFrame:
    """The newest truth of every row: `id`, `truth`, and when it was `told`."""
    reader = Reader(log.feedback(reference.contract))
    parts = [pl.DataFrame(schema={"told": pl.Int64, **log.feedback(reference.contract)})]
    for file in log.files(folder):
        if file.until <= since:
            break
        for frame in reader.frames(file):
            told = frame.rename({"time": "told"}).drop_nulls()
            latest = told["told"].max()
            if isinstance(latest, int):
                found.newest_feedback = max(latest, found.newest_feedback or latest)
            parts.append(_sampled(told, found.sample))
            if sum(map(len, parts)) > MOST_TRUTHS:
                parts = [_newest(parts)]
                while len(parts[0]) > MOST_TRUTHS // 2:
                    found.sample /= 2
                    parts = [_sampled(parts[0], found.sample)]
    found.unreadable += reader.unreadable
    truths = _newest(parts)
    if reference.contract.classes:
        # A whole number may have come as a fraction: 1.0 is 1.
        truths = truths.with_columns(pl.col("truth").str.replace(r"^(-?\d+)\.0+$", "$1"))
    return truths


def _newest(parts: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """What was told last of each row."""
    return pl.concat(parts).sort("told").unique("id", keep="last")


def _sampled(truths: pl.DataFrame, share: float) -> pl.DataFrame:
    """The rows whose ids are in the sample."""
    if share == 1.0:
        return truths
    digits = pl.col("id").str.slice(0, DIGITS).str.to_integer(base=16, strict=False)
    return truths.filter(digits < share * 16**DIGITS)
