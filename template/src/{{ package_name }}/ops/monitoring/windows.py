"""The windows of a log: where one ends and the next begins, and what is counted in each.

Windows by count end with the row that fills them, answered or refused, or with the last row of the
same moment; each run goes on where the windows of the last one ended. Windows by time end at whole
multiples of it since 1970 (UTC). All times are microseconds since 1970.

Memory does not grow with the log. Files are read from the newest back, part by part, and no further
than the windows that are shown; where truths come late or are few, back to where enough are known.
Of a part only counts are kept; of rows whose truth is known, the answer, for 100,000 of them at
most: beyond that a sample, by their ids.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import dropwhile, pairwise
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import prediction_log as log
from ..bundle import Prediction
from ..contract import Contract
from ..evaluation.distributions import add_answers, frequent
from ..evaluation.metrics import Array
from ..pipeline import labelled, parsing
from .reference import Reference

SHOWN = 24  # as many whole windows are shown: the newest
MOST_TRUTHS = 100_000  # truths that are kept in memory
ENOUGH_TRUTHS, ENOUGH_WINDOWS = 1_000, 5  # labelled rows and windows: then no older are looked for
EARLIER = 20 * SHOWN  # windows before those: 24 by 24 twice as long, so that they reach back years


@dataclass(eq=False)
class Window:
    """Counts of the rows from after `start` until `end`; one until `EVER` has not ended."""

    reference: Reference
    start: int
    end: int
    shown: bool = True  # one that is not counts truths alone
    rows = answered = 0  # answered by whichever version, and by the champion
    refused = own = 0  # rows that broke the contract; those that the champion answered or refused
    repeated = 0  # rows with the inputs of another one, which stood near it in the log
    groups = 0  # how many the rows are of, counted part by part of the log
    labelled = 0  # rows whose truth is known, of all versions

    def __post_init__(self) -> None:
        """Begin empty: what came in, and what the champion said, are counted as in the reference.

        Of its answers `kinds` counts those of each kind; of its truths `known` has the truth, what
        it had said, of which kind, and of which unit, and `delays` the seconds until then, both in
        parts. A unit is a group where there are some, else a row.
        """
        self.columns = self.reference.columns() if self.shown else {}
        self.answers = self.reference.answers() if self.shown else {}
        self.kinds, self._times = Counter[int](), np.zeros(2)
        self.violations = Counter[str]()  # which rules were broken, and how often
        self.unknown = Counter[str]()  # labels that the contract does not know, of all versions
        self.known: list[tuple[Array, Prediction, Array, Array]] = []
        self.units = set[int]()
        self.delays: list[NDArray[np.float64]] = []

    @property
    def whole(self) -> bool:
        """Whether it has ended."""
        return self.end < log.EVER

    @property
    def asked(self) -> int:
        """Rows that came in: answered or refused."""
        return self.rows + self.refused

    def add(self, frame: pl.DataFrame) -> None:
        """Count rows of the log.

        Args:
            frame: as `log.predictions` has it; `truth` is null where it is not known, and `told`
                is when it came.
        """
        own = frame.filter(pl.col("version") == self.reference.version)
        said = log.said_in(self.reference.contract, own)
        self.rows += len(frame)
        self.answered += len(own)
        self.own += len(own)
        self._learn(frame["truth"].drop_nulls(), own, said)
        if not self.shown:
            return
        inputs = frame["inputs"].struct.unnest()
        counted = [column for column in self.reference.watched if column.kind != "time"]
        arrays = Contract(tuple(counted)).arrays(inputs)
        time = self.reference.contract.with_role("event_time")
        if time and time.name in self.columns:
            moments = inputs.select(parsing.read(pl.col(time.name), pl.String(), pl.Datetime("us")))
            known = moments.to_series().drop_nulls().to_physical()
            self._times += len(known), float(known.sum()) / 1e6
        for name, column in self.columns.items():
            column.add(arrays[name] if name in arrays else inputs[name].is_null().to_numpy())
        labels = own["prediction"].cast(pl.String).fill_null("").to_numpy()
        add_answers(self.answers, labels, said.scored)
        self.repeated += len(frame) - frame["inputs"].n_unique()
        group = self.reference.group
        self.groups += inputs[group.name].n_unique() if group else 0

    @property
    def at(self) -> float:
        """Around which time its rows lie, in seconds since 1970: the events, if they have one."""
        known, seconds = self._times
        return float(seconds / known if known else self.start / 1e6)

    @property
    def independent(self) -> float:
        """Which share of its rows tells something of its own: of a group one does."""
        return self.groups / self.rows if self.groups else 1.0

    def refuse(self, version: str, rows: int, broken: Sequence[tuple[str, int]]) -> None:
        """Count rows that a version refused, and the rules that they broke."""
        self.refused += rows
        self.own += rows if version == self.reference.version else 0
        for rule, times in broken:
            self.violations[rule] += times
        self.violations = frequent(self.violations)

    def _learn(self, told: pl.Series, own: pl.DataFrame, said: Prediction) -> None:
        """Note the truths, and of the champion's rows what it had said."""
        self.labelled += len(told)
        own, said = own.filter(pl.Series(said.finite)), said[said.finite]
        kinds = self.reference.kinds(said)
        self.kinds += Counter(kinds.tolist())
        known = own["truth"].is_not_null().to_numpy()
        rows = own.filter(known)
        if labels := self.reference.labels:
            strange = told.filter(~told.is_in(labels))
            self.unknown = frequent(self.unknown + Counter(strange.to_list()))
        truths, group = log.told_in(self.reference.contract, rows["truth"]), self.reference.group
        its = (rows["inputs"].struct.field(group.name) if group else rows["id"]).hash()
        self.known.append((truths, said[known], kinds[known], its.to_numpy()))
        self.units.update(its)
        self.delays.append((rows["told"] - rows["time"]).to_numpy() / 1_000_000)


@dataclass
class Log:
    """The windows of a log, and what is known of it as a whole."""

    windows: list[Window] = field(default_factory=list)
    """In order; the last one has not ended. Those not shown come first, if any."""
    newest_prediction: int = -1  # when it was answered; -1 if there is none
    newest_feedback: int = -1  # when it came; -1 too
    sample: float = 1.0  # the share of the truths that is looked at
    unreadable: int = 0  # lines that were not what they should be


def read(
    folder: Path,
    reference: Reference,
    size: int | timedelta,
    known: Sequence[int],
    now: int,
    excluded: pl.Expr | None = None,
) -> Log:
    """Read the log in `folder`.

    Args:
        folder: holds `predictions`, `feedback` and `refusals`, as far as there are any.
        reference: in whose cells is counted.
        size: of a window.
        known: where the windows of an earlier run began and ended, in order.
        now: until when windows by time may have ended.
        excluded: which labels are wrong, see `labelled.excluded_in_log`; None if none is.
    """
    predictions = folder / "predictions"
    if isinstance(size, int):
        edges = _by_count(size, folder, known)
    else:
        step = size // timedelta(microseconds=1)
        # A window holds what is later than one edge and not later than the next.
        edges = [(now // step - back) * step - 1 for back in range(SHOWN, -1, -1)]
    found = Log()
    if not edges:
        return found
    since, length = edges[0], (edges[-1] - edges[0]) / max(len(edges) - 1, 1)
    back = since - np.cumsum(length * 2.0 ** (np.arange(EARLIER) // SHOWN))
    edges = [*np.maximum(back, -1)[::-1].astype(np.int64).tolist(), *edges]
    ends = pairwise([*edges, log.EVER])
    found.windows = [Window(reference, *its, shown=its[0] >= since) for its in ends]
    truths = _truths(folder / "feedback", reference, since, found, excluded)
    missing = len(truths)
    reader = log.Reader(log.predictions(reference.contract, reference.logged))
    more = lambda: missing > 0 and not _enough(found.windows)
    for frame in reader.since(predictions, since, more):
        valid = frame.drop_nulls(["id", "inputs"])
        found.unreadable += len(frame) - len(valid)
        found.newest_prediction = valid["time"].to_numpy().max(initial=found.newest_prediction)
        places = pl.Series(np.searchsorted(edges, valid["time"].to_numpy()) - 1)
        rows = valid.with_columns(pl.col("id").hash(), place=places).filter(places >= 0)
        rows = rows.join(truths, on="id", how="left")
        missing -= rows["truth"].count()
        for its in rows.partition_by("place"):
            found.windows[its["place"][0]].add(its)
    found.unreadable += reader.unreadable
    for time, version, rejected, broken in log.refusals(folder / "refusals", since):
        found.windows[int(np.searchsorted(edges, time)) - 1].refuse(version, rejected, broken)
    if _enough(found.windows[EARLIER:]):
        del found.windows[:EARLIER]
    # Windows that end before the first row tell nothing.
    found.windows = [*dropwhile(lambda window: not window.asked, found.windows)]
    return found


def _enough(windows: Sequence[Window]) -> bool:
    """Whether older rows would tell little more of the champion."""
    most = sum(min(len(window.units), ENOUGH_TRUTHS // ENOUGH_WINDOWS) for window in windows)
    return most >= ENOUGH_TRUTHS or any(2 * window.own < window.asked for window in windows)


def _by_count(rows: int, folder: Path, known: Sequence[int]) -> list[int]:
    """The ends of the newest whole windows, after where the first begins, of so many rows.

    `known` are those of an earlier run.
    """
    most = rows * (SHOWN + 1)
    times = _newest_times(folder, known[-1] if known else -1, most)
    edges = [*known]
    if not known or len(times) == most:
        # Nothing is known, or so much came since then that the old windows are out of sight.
        edges = (times[:1] - 1).tolist()
    place = int(np.searchsorted(times, edges[-1], side="right")) if edges else 0
    while place + rows <= len(times):
        edges.append(int(times[place + rows - 1]))
        place = int(np.searchsorted(times, edges[-1], side="right"))
    return edges[-SHOWN - 1 :]


def _newest_times(folder: Path, since: int, most: int) -> NDArray[np.int64]:
    """The times of the newest rows after `since`, in order; no more than `most`.

    A line of predictions is one row, and one of refusals as many as it says.
    """
    times = np.empty(0, dtype=np.int64)
    reader = log.Reader({"rows": pl.Int64})
    for kind in ("predictions", "refusals"):
        for file in log.files(folder / kind, since):
            if len(times) == most and file.until <= times[0]:
                break
            for frame in reader.frames(file):
                lines = frame.filter(pl.col("time") > since).sort("time")
                rows = pl.col("rows").fill_null(1).clip(0, most)
                lines = lines.filter(rows.cum_sum(reverse=True) - rows < most)
                found = lines["time"].to_numpy().repeat(lines.select(rows)["rows"].to_numpy())
                times = np.sort(np.concatenate([times, found]))[-most:]
    return times


def _truths(
    folder: Path, reference: Reference, since: int, found: Log, excluded: pl.Expr | None
) -> pl.DataFrame:
    """The newest truth of every row: its `id` as a number, `truth`, and when it was `told`."""
    schema = log.feedback(reference.contract)
    reader = log.Reader({**schema, "key": pl.String})
    # Of a string that is kept, polars keeps all those that were read with it.
    kind = pl.Categorical if reference.labels else pl.Float64
    truths = pl.DataFrame(schema={"time": pl.Int64, "id": pl.UInt64, "truth": kind})
    more = lambda: len(truths) < ENOUGH_TRUTHS
    chance = pl.col("id") / 2.0**64
    for frame in reader.since(folder, since, more):
        known = frame.drop_nulls("id")
        known = known if excluded is None else labelled.from_log(known).filter(~excluded)
        told = known.select("time", pl.col("id").hash(), pl.col("truth").cast(kind))
        found.newest_feedback = told["time"].to_numpy().max(initial=found.newest_feedback)
        truths = pl.concat([truths, told.filter(chance < found.sample)])
        while len(truths) > MOST_TRUTHS:
            found.sample /= 2
            truths = log.newest(truths.filter(chance < found.sample))
    found.unreadable += reader.unreadable
    truths = log.newest(truths).drop_nulls("truth").rename({"time": "told"})
    truths = truths.cast({"truth": schema["truth"]})
    if reference.contract.classes:
        # A whole number may have come as a fraction: 1.0 is 1.
        truths = truths.with_columns(pl.col("truth").str.replace(r"^(-?\d+)\.0+$", "$1"))
    return truths
