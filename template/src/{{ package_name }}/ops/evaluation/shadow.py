"""What a model has shown in the shadow of the champion, on rows that callers asked about.

The service logs what both said of the same ids, and the truth when somebody tells it. Everything
is read as text, so that lines of versions with other classes are no obstacle.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from ..bundle import Bundle, Prediction
from ..contract import Contract
from ..prediction_log import Reader, newest, said_in, told_in
from ..prediction_log import answer as answer_of
from ..project import Project
from ..settings import Settings
from . import gates, metrics
from .gates import Gate
from .metrics import Array

NAME = "shadow"

LEAST_ROWS = 30  # with the truth about fewer rows, nothing is said of the score
MOST_ROWS = 200_000  # of more rows whose truth is known, the newest count


def gate(
    project: Project, settings: Settings, challenger: Bundle, version: int, champion: int
) -> Gate:
    """The challenger must have answered enough rows, failed at none, and lost to nobody on them.

    Where the truth has come, the champion may not be better on the same ids by more than
    `gates.regression`, beyond chance. `version` is the challenger's number.
    """
    asked = settings.registry.shadow_rows
    answered, failed = counted(project.served / "shadow", version)
    said = f"In the shadow, version {version} answered {answered:,} rows"
    if failed:
        return _judged(answered, asked, False, f"{said} and failed at {failed:,}; none is allowed.")
    if answered < asked:
        return _judged(answered, asked, False, f"{said}; {asked:,} are asked.")
    truth, ours, theirs, groups = compared(project.served, challenger.contract, version, champion)
    rows = len(truth)
    if rows < LEAST_ROWS:
        few = f"ground truth has come for {rows}, too few to compare it with the champion"
        return _judged(answered, asked, True, f"{said}; {few}.")
    score, limit = metrics.of(challenger.manifest), settings.gates.regression
    verdict = gates.regression(score, truth, ours, theirs, limit, settings.seed, groups)
    reason = f"{said}; where ground truth has come ({rows:,} rows), {verdict.reason}"
    return replace(verdict, name=NAME, reason=reason)


def counted(folder: Path, version: int) -> tuple[int, int]:
    """How many rows a version has answered in the shadow, and at how many it failed."""
    said = _lines(folder, version, version=pl.String, prediction=pl.String)["prediction"]
    return said.count(), said.null_count()


def compared(
    served: Path, contract: Contract, version: int, champion: int
) -> tuple[Array, Prediction, Prediction, Array | None]:
    """What two versions said of rows whose newest truth is known, the oldest row first.

    Returns:
        The truth, what each said, with probability 0 of classes that it does not know, and the
        rows' groups, see `metrics`.
    """
    truth = newest(_lines(served / "feedback", id=pl.String, truth=pl.String)).drop("time")
    classes, answer = contract.classes, answer_of(contract)
    if classes:
        truth = truth.filter(pl.col("truth").is_in(classes))
    else:
        kind = answer["prediction"]
        truth = truth.with_columns(pl.col("truth").cast(kind, strict=False)).drop_nulls()

    def said(kind: str, number: int, name: str, **more: Any) -> pl.DataFrame:
        fields = {"id": pl.String, "version": pl.String, **answer, **more}
        lines = _lines(served / kind, number, **fields).drop_nulls([*answer])
        lines = lines.filter(pl.col("prediction").is_in(classes)) if classes else lines
        return lines.select("time", "id", *more, pl.struct(*answer).alias(name))

    group = contract.with_role("group")
    if group is not None and group.sensitive:
        group = None  # the log does not tell it
    inputs = {"inputs": pl.Struct({group.name: pl.String})} if group else {}
    frame = (
        said("shadow", version, "ours")
        .drop("time")
        .join(said("predictions", champion, "theirs", **inputs), on="id")
        .join(truth, on="id")
        .sort("time", "id")
        .tail(MOST_ROWS)
    )
    groups = metrics.groups(frame["inputs"].struct.field(group.name)) if group else None
    ours, theirs = (
        said_in(contract, frame[name].struct.unnest(), unknown=0.0) for name in ("ours", "theirs")
    )
    return told_in(contract, frame["truth"]), ours, theirs, groups


def _lines(folder: Path, of: int | None = None, **schema: Any) -> pl.DataFrame:
    """The whole lines of a log, or of a version in it, and these fields of them."""
    wanted = {} if of is None else {"version": str(of)}
    frames = (frame.filter(**wanted) for frame in Reader(schema).since(folder))
    return pl.concat([pl.DataFrame(schema={"time": pl.Int64, **schema}), *frames])


def _judged(answered: int, asked: int, passed: bool, reason: str) -> Gate:
    return Gate(NAME, passed, float(answered), float(asked), reason)
