"""What a model has shown in the shadow of the champion, on rows that callers asked about.

The service logs what both said of the same ids, and the truth when somebody tells it. Everything
is read as text, so that lines of versions with other classes are no obstacle.
"""

from dataclasses import replace
from os import SEEK_END
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import polars as pl

from ..bundle import Bundle
from ..contract import Contract
from ..project import Project
from ..settings import Settings
from . import gates, metrics
from .gates import Gate
from .metrics import Array

NAME = "shadow"

LEAST_ROWS = 30
"""With the truth about fewer rows, nothing is said of the score."""

MOST_ROWS = 200_000
"""Of more rows whose truth is known, the newest count."""


class Compared(NamedTuple):
    """What two versions said of the same rows, as `metrics` takes it, the oldest row first."""

    truth: Array
    ours: Array
    theirs: Array
    """A class that the champion does not know has probability 0 here."""
    groups: Array | None


def gate(
    project: Project, settings: Settings, challenger: Bundle, version: int, champion: int
) -> Gate:
    """The challenger must have answered enough rows, failed at none, and lost to nobody on them.

    Where the truth has come, the champion may not be better on the same ids by more than
    `gates.regression`, beyond chance; see `gates.regression`.

    Args:
        project: whose log is read.
        settings: say how many rows are asked for.
        challenger: the bundle that is judged.
        version: its number.
        champion: the number of the version that it would replace.
    """
    asked = settings.registry.shadow_rows
    answered, failed = counted(project.served / "shadow", version)
    said = f"In the shadow, version {version} answered {answered:,} rows"
    if failed:
        return _judged(answered, asked, False, f"{said} and failed at {failed:,}; none is allowed.")
    if answered < asked:
        return _judged(answered, asked, False, f"{said}; {asked:,} are asked.")
    both = compared(project.served, challenger.contract, version, champion)
    rows = len(both.truth)
    if rows < LEAST_ROWS:
        few = f"the truth has come for {rows}, too few to compare it with the champion"
        return _judged(answered, asked, True, f"{said}; {few}.")
    score = metrics.find(challenger.manifest["score"])
    verdict = gates.regression(
        score,
        both.truth,
        both.ours,
        both.theirs,
        settings.gates.regression,
        settings.seed,
        both.groups,
    )
    reason = f"{said}; where the truth has come ({rows:,} rows), {verdict.reason}"
    return replace(verdict, name=NAME, reason=reason)


def counted(folder: Path, version: int) -> tuple[int, int]:
    """How many rows a version has answered in the shadow, and at how many it failed."""
    known = pl.col("prediction").is_not_null()
    lines = _lines(folder, "version", "prediction").filter(pl.col("version") == str(version))
    found = lines.select(known.sum(), (~known).sum().alias("failed")).collect(engine="streaming")
    answered, failed = found.row(0)
    return int(answered), int(failed)


def compared(served: Path, contract: Contract, version: int, champion: int) -> Compared:
    """Rows that both have answered and whose newest truth is known to the contract."""
    truth = (
        _lines(served / "feedback", "id", "time", "truth")
        .group_by("id")
        .agg(pl.col("truth").sort_by("time").last())
    )
    if contract.classes:
        answer: Any = pl.Struct(dict.fromkeys(contract.classes, pl.Float64))
        field = "probabilities"
        truth = truth.filter(pl.col("truth").is_in(contract.classes))
    else:
        answer, field = pl.Float64, "prediction"
        truth = truth.with_columns(pl.col("truth").cast(pl.Float64, strict=False)).drop_nulls()

    def said(kind: str, number: int, name: str, **more: Any) -> pl.LazyFrame:
        lines = _lines(served / kind, "id", "time", "version", **{field: answer}, **more)
        return lines.filter(pl.col("version") == str(number)).rename({field: name}).drop("version")

    group = contract.with_role("group")
    if group is not None and group.sensitive:
        group = None  # the log does not tell it
    inputs = {"inputs": pl.Struct({group.name: pl.String})} if group else {}
    frame = (
        said("shadow", version, "ours")
        .drop("time")
        .join(said("predictions", champion, "theirs", **inputs), on="id")
        .join(truth, on="id")
        .drop_nulls(["ours", "theirs"])
        .collect(engine="streaming")
        .sort("time", "id")
        .tail(MOST_ROWS)
    )
    groups = metrics.groups(frame["inputs"].struct.field(group.name)) if group else None
    if not contract.classes:
        truths, ours, theirs = (frame[name].to_numpy() for name in ("truth", "ours", "theirs"))
        return Compared(truths, ours, theirs, groups)
    places = frame["truth"].replace_strict(
        contract.classes, range(len(contract.classes)), return_dtype=pl.Int64
    )
    ours, theirs = (
        np.column_stack(
            [frame[name].struct.field(label).fill_null(0.0) for label in contract.classes]
        )
        for name in ("ours", "theirs")
    )
    return Compared(places.to_numpy(), ours, theirs, groups)


def _lines(folder: Path, *texts: str, **others: Any) -> pl.LazyFrame:
    """The whole lines of a log: these fields as text, and others as they are said to be."""
    schema = {**dict.fromkeys(texts, pl.String), **others}
    wholes = [whole for path in sorted(folder.glob("*.jsonl")) if (whole := _whole(path))]
    return pl.concat(
        [pl.LazyFrame(schema=schema), *(pl.scan_ndjson(its, schema=schema) for its in wholes)]
    )


def _whole(path: Path) -> Path | bytes:
    """A file of a log, or what it holds before the half of a line that is being written."""
    with path.open("rb") as file:
        size = file.seek(0, SEEK_END)
        file.seek(max(size - 1, 0))
        if file.read() == b"\n":
            return path
    return path.read_bytes().rpartition(b"\n")[0]


def _judged(answered: int, asked: int, passed: bool, reason: str) -> Gate:
    return Gate(NAME, passed, float(answered), float(asked), reason)
