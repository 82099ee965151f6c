"""What the service answered, joined with what became of it: rows to learn from.

The newest truth of a prediction counts. What was taken in before is not taken again, unless its
truth was told otherwise since. Both logs are read part by part; what is held are the truths that
are new, and their rows.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import polars as pl

from .. import contract as contracts
from ..contract import Column, Contract
from ..files import replacing
from ..pipeline import labelled, parquet
from ..pipeline.labelled import LABELLED, PREDICTION
from ..pipeline.parsing import read
from ..prediction_log import Reader, files, newest
from ..project import Project

ID, TIME, TRUTH = "id", "time", "truth"
"""How the logs call them."""


class Labelled(NamedTuple):
    """What the logs offer.

    Attributes:
        rows: new rows, all of it text, as `pipeline.labelled` reads them.
        undeclared: how many new truths the contract does not allow, by truth.
        unanswered: how many new truths are of predictions that are not in the log.
    """

    rows: pl.DataFrame
    undeclared: Mapping[str, int]
    unanswered: int


def unlogged(contract: Contract) -> list[str]:
    """Columns that every row must have and that no log has: those that are sensitive."""
    return [column.name for column in contract.inputs if column.sensitive and not column.nullable]


def gather(project: Project, contract: Contract) -> Labelled:
    """Join new truths with the rows that they are about."""
    truths = _told(project.served / "feedback", _taken(project, contract.target))
    fits = _is_allowed(contract) | pl.col(TRUTH).is_null()
    allowed, refused = truths.filter(fits), truths.filter(~fits)[TRUTH].value_counts(sort=True)
    rows = _answered(project.served / "predictions", contract, allowed)
    return Labelled(rows, dict(refused.iter_rows()), len(allowed) - len(rows))


def destination(project: Project) -> Path:
    """A new file for rows that are taken in now."""
    return project.labelled / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.parquet"


def write(rows: pl.DataFrame, path: Path) -> None:
    """Write rows that were gathered."""
    with replacing(path) as aside:
        parquet.write({aside: rows.lazy()})


def _told(folder: Path, taken: pl.DataFrame) -> pl.DataFrame:
    """The newest truth of each prediction: `id`, `time`, `truth`; null if it was taken back.

    What was taken in before is left out, unless its truth is another one now.
    """
    reader = Reader({ID: pl.String, TRUTH: pl.String})
    schema = {ID: pl.String, TIME: pl.Int64, TRUTH: pl.String}
    parts = [pl.DataFrame(schema=schema).join(taken, on=ID, how="left")]
    for frame in reader.since(folder):
        told = frame.select(*schema).drop_nulls(ID)
        known = told.join(taken, on=ID, how="left", maintain_order="left")
        parts.append(known.filter(pl.col("since").is_null() | (pl.col(TIME) > pl.col("since"))))
    is_new = pl.col(TRUTH).ne_missing(pl.col("before"))
    return newest(pl.concat(parts)).filter(is_new).select(*schema)


def _taken(project: Project, target: Column) -> pl.DataFrame:
    """The truths that were taken in before."""
    found = labelled.scan(project)
    if found is None:
        return pl.DataFrame(schema={ID: pl.String, "before": pl.String, "since": pl.Int64})
    known = target.name in found.collect_schema()
    truth = pl.col(target.name) if known else pl.lit(None, pl.String)
    since = pl.col(LABELLED).dt.epoch("us")
    return found.select(pl.col(PREDICTION).alias(ID), before=truth, since=since).collect()


def _is_allowed(contract: Contract) -> pl.Expr:
    """Whether a truth, which is text, is a value of the target."""
    target = contract.target
    value = read(pl.col(TRUTH), pl.String(), contracts.schema().columns()[target.name].dtype)
    if target.choices is not None and target.dtype != "Enum":
        return value.is_in(target.choices).fill_null(value=False)
    return value.is_not_null()


def _answered(folder: Path, contract: Contract, truths: pl.DataFrame) -> pl.DataFrame:
    """The rows that the truths are about, in the order in which they were answered."""
    names = [column.name for column in contract.inputs if not column.sensitive]
    inputs = pl.Struct(dict.fromkeys(names, pl.String))
    reader = Reader({ID: pl.String, "inputs": inputs})
    wanted = truths.rename({TIME: LABELLED})
    found = [pl.DataFrame(schema={ID: pl.String, TIME: pl.Int64, "inputs": inputs})]
    missing = len(wanted)
    for file in files(folder):
        if not missing:
            break
        for frame in reader.frames(file):
            found.append(frame.select(found[0].columns).join(wanted, on=ID, how="semi"))
            missing -= len(found[-1])
    answered = pl.concat(found).unique(ID).sort(TIME, ID).join(wanted, on=ID, how="left")
    return answered.select(
        pl.col(ID).alias(PREDICTION),
        pl.from_epoch(LABELLED, time_unit="us").alias(LABELLED),
        *(pl.col("inputs").struct.field(name) for name in names),
        pl.col(TRUTH).alias(contract.target.name),
    )
