"""Reading the log of the service: many files, several writers, and only a part of one at a time.

A file's name begins with its day (UTC), and no row in it is later: so the newest are found without
opening the rest. A line that is not what it should be is counted and passed over; the half
of one at a file's end is passed over; a value that is not of its column's type, as another
version of the model may have taken it, is missing.
"""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import polars as pl
from numpy.typing import NDArray

from .bundle import Prediction
from .contract import Column, Contract, padded

PART = 2 * 1024**2
"""Bytes that are read at once; a longer line is read whole."""

EVER = 2**62
"""Later than every time of a row."""

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class File:
    """A file of the log, and no row in it is later than `until` (microseconds since 1970)."""

    path: Path
    until: int


def files(folder: Path, since: int = -1) -> list[File]:
    """The files of a log that may hold rows after `since`, the newest first."""
    every = [File(path, _until(path.name)) for path in folder.glob("*.jsonl")]
    found = [file for file in every if file.until > since]
    return sorted(found, key=lambda file: (file.until, file.path.name), reverse=True)


def micros(moment: datetime) -> int:
    """Microseconds since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(micros: int) -> datetime:
    """The inverse of `micros`."""
    return EPOCH + timedelta(microseconds=micros)


class Reader:
    """Reads the files of one log, part by part, as frames of one schema.

    Attributes:
        unreadable: lines that were no objects with a time, so far.
    """

    def __init__(self, schema: dict[str, Any]) -> None:
        """Read these fields; all others are skipped, and what is absent is null."""
        self._schema = {"time": pl.String, **schema}
        self.unreadable = 0

    def frames(self, file: File) -> Iterator[pl.DataFrame]:
        """A file's rows; `time` is a whole number of microseconds since 1970, and never null."""
        try:
            with file.path.open("rb") as lines:
                rest = b""
                while part := lines.read(PART):
                    whole, newline, rest = (rest + part).rpartition(b"\n")
                    if newline:
                        yield self._timed(self._parsed(whole))
        except FileNotFoundError:  # somebody moved it: what is older is theirs
            return

    def since(
        self, folder: Path, time: int = -1, more: Callable[[], bool] = bool
    ) -> Iterator[pl.DataFrame]:
        """The rows of all files that may hold some after a time, the newest first; and `more`."""
        for file in files(folder):
            if file.until <= time and not more():
                break
            yield from self.frames(file)

    def _timed(self, frame: pl.DataFrame) -> pl.DataFrame:
        form = "%Y-%m-%dT%H:%M:%S%.f%:z"
        time = pl.col("time").str.to_datetime(form, time_unit="us", strict=False)
        timed = frame.with_columns(time.dt.epoch("us")).drop_nulls("time")
        self.unreadable += len(frame) - len(timed)
        return timed

    def _parsed(self, lines: bytes) -> pl.DataFrame:
        """Parse lines; where one cannot be parsed, halve by halve until it stands alone."""
        try:
            return pl.read_ndjson(BytesIO(lines), schema=self._schema, ignore_errors=True)
        except pl.exceptions.PolarsError:
            pass
        many = lines.split(b"\n")
        if len(many) == 1:
            self.unreadable += bool(lines.strip())
            return pl.DataFrame(schema=self._schema)
        half = len(many) // 2
        parts = (b"\n".join(many[:half]), b"\n".join(many[half:]))
        return pl.concat([self._parsed(part) for part in parts])


def predictions(contract: Contract, columns: tuple[Column, ...]) -> dict[str, Any]:
    """The schema of a line of predictions, as far as it is looked at."""
    schema: dict[str, Any] = {
        "id": pl.String,
        "version": pl.String,
        "inputs": pl.Struct({column.name: _dtype(column) for column in columns}),
    }
    return schema | answer(contract)


def answer(contract: Contract) -> dict[str, Any]:
    """The part of such a schema that a model says."""
    schema: dict[str, Any] = {"prediction": feedback(contract)["truth"]}
    if contract.classes:
        schema["probabilities"] = pl.Struct(dict.fromkeys(contract.classes, pl.Float64))
    elif contract.task == "recommendation":
        schema["items"] = pl.List(pl.Struct({"item": pl.String, "score": pl.Float32}))
    return schema


def feedback(contract: Contract) -> dict[str, Any]:
    """The schema of a line of feedback."""
    return {"id": pl.String, "truth": pl.Float64 if contract.task == "regression" else pl.String}


def told_in(contract: Contract, labels: pl.Series) -> NDArray[Any]:
    """Labels of a log: positions of the classes, -1 for none of them; or numbers, or items."""
    if not contract.classes:
        return labels.to_numpy()
    places = range(len(contract.classes))
    return labels.replace_strict(contract.classes, places, default=-1).to_numpy()


def said_in(contract: Contract, lines: pl.DataFrame, unknown: float = math.nan) -> Prediction:
    """What a model says in lines of `predictions`, as exactly as the model itself does."""
    if "items" in lines.columns:
        listed = lines["items"]
        lengths = listed.list.len().fill_null(0).to_numpy()
        known = listed.drop_nulls().explode(empty_as_null=False).struct.unnest()
        width = lengths.max(initial=1)
        return Prediction(*(padded(its.to_numpy(), lengths, width) for its in known.iter_columns()))
    if not contract.classes:
        return Prediction(lines["prediction"].cast(pl.Float32).to_numpy(), None)
    shares = lines["probabilities"].struct.unnest().select(contract.classes).cast(pl.Float32)
    return Prediction(told_in(contract, lines["prediction"]), shares.fill_null(unknown).to_numpy())


def refusals(folder: Path, since: int) -> Iterator[tuple[int, str, int, list[tuple[str, int]]]]:
    """Refused requests after a time: when, by which version, how many rows, and for which rules."""
    schema = {"version": pl.String, "rows": pl.Int64, "violations": pl.String}
    for frame in Reader(schema).since(folder, since):
        for time, version, rows, violations in frame.filter(pl.col("time") > since).iter_rows():
            broken = [
                (f"{field}|{rule}" if field else rule, count)
                for field, rule, count in json.loads(violations or "[]")
            ]
            yield time, version or "", rows or 0, broken


def newest(truths: pl.DataFrame) -> pl.DataFrame:
    """Of each row, by `id`, what was told last; null if that was taken back."""
    ordered = truths.sort("time", maintain_order=True)
    return ordered.unique("id", keep="last", maintain_order=True)


def _until(name: str) -> int:
    """The end of the day that a file's name begins with; without one, it may hold any row."""
    try:
        day = datetime.strptime(name[:9], "%Y%m%dT").replace(tzinfo=UTC)
    except ValueError:
        return EVER
    return micros(day + timedelta(days=1))


def _dtype(column: Column) -> Any:
    """The type to read a column's values by: as numbers, or as the text that they were."""
    if column.item:
        return pl.List(_dtype(column.item))
    if column.kind == "number":
        return pl.Float64
    if column.kind == "boolean":
        return pl.Boolean
    if column.kind == "category" and "Int" in column.dtype:
        return pl.Int64
    return pl.String
