"""What the service answered, joined with what became of it: rows to learn from.

The newest truth of a prediction counts. What was taken in before is not taken again, unless its
truth was told otherwise since. Both logs are read part by part, and what is found waits on disk: so
memory holds the ids of what was taken in before, and no more than about `MOST` new truths.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
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

MOST = 1_000_000
"""New truths that are held in memory at once; for more of them, both logs are read again."""


class Labelled(NamedTuple):
    """What the logs offer.

    Attributes:
        rows: new rows, all of it text, as `pipeline.labelled` reads them.
        taken: how many these are.
        undeclared: how many new truths the contract does not allow, by truth.
        unanswered: how many new truths are of predictions that are not in the log.
    """

    rows: pl.LazyFrame
    taken: int
    undeclared: Counter[str]
    unanswered: int


def unlogged(contract: Contract) -> list[str]:
    """Columns that every row must have and that no log has: those that are sensitive."""
    return [column.name for column in contract.inputs if column.sensitive and not column.nullable]


@contextmanager
def gathered(project: Project, contract: Contract) -> Iterator[Labelled]:
    """Join new truths with the rows that they are about; the rows last as long as the block."""
    feedback, taken = project.served / "feedback", _taken(project, contract.target)
    parts = 1 + sum(map(len, _told(feedback, taken))) // MOST
    count, unanswered, undeclared = 0, 0, Counter[str]()
    aside = project.root / ".dvc" / "tmp"
    aside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=aside, ignore_cleanup_errors=True) as folder:
        for part in range(parts):
            mine = pl.col(ID).hash() % parts == part
            truths = _new([frame.filter(mine) for frame in _told(feedback, taken)])
            fits = _is_allowed(contract) | pl.col(TRUTH).is_null()
            allowed, refused = truths.filter(fits), truths.filter(~fits)
            undeclared.update(refused[TRUTH].to_list())
            unanswered += len(allowed)
            for rows in _answered(project.served / "predictions", contract, allowed):
                rows.write_parquet(Path(folder) / f"{count:012}.parquet")
                count += len(rows)
        yield Labelled(pl.scan_parquet(folder), count, undeclared, unanswered - count)


def destination(project: Project) -> Path:
    """A new file for rows that are taken in now."""
    return project.labelled / f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}.parquet"


def write(rows: pl.LazyFrame, path: Path) -> None:
    """Write rows that were gathered."""
    with replacing(path) as aside:
        parquet.write({aside: rows})


def _told(folder: Path, taken: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """What was told of predictions, but for what was told before their truth was taken in."""
    reader = Reader({ID: pl.String, TRUTH: pl.String})
    for frame in reader.since(folder):
        known = frame.drop_nulls(ID).join(taken, on=ID, how="left", maintain_order="left")
        yield known.filter(pl.col("since").is_null() | (pl.col(TIME) > pl.col("since")))


def _new(told: Sequence[pl.DataFrame]) -> pl.DataFrame:
    """The newest truth of each prediction: `id`, `time`, `truth`; null if it was taken back.

    What was taken in before is left out, unless its truth is another one now.
    """
    schema = {ID: pl.String, TIME: pl.Int64, TRUTH: pl.String}
    if not told:
        return pl.DataFrame(schema=schema)
    is_new = pl.col(TRUTH).ne_missing(pl.col("before"))
    return newest(pl.concat(told)).filter(is_new).select(*schema)


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


def _answered(folder: Path, contract: Contract, truths: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """The rows that the truths are about, part by part; each once, though logs may be copied."""
    names = [column.name for column in contract.inputs if not column.sensitive]
    reader = Reader({ID: pl.String, "inputs": pl.Struct(dict.fromkeys(names, pl.String))})
    wanted = truths.rename({TIME: LABELLED}).with_row_index("place")
    missing = np.ones(len(wanted), dtype=np.bool_)
    for file in files(folder):
        if not missing.any():
            break
        for frame in reader.frames(file):
            found = frame.unique(ID).join(wanted, on=ID)
            rows = found.filter(pl.Series(missing[found["place"]], dtype=pl.Boolean))
            missing[rows["place"]] = False
            yield rows.sort(TIME, ID).select(
                pl.col(ID).alias(PREDICTION),
                pl.from_epoch(LABELLED, time_unit="us").alias(LABELLED),
                *(pl.col("inputs").struct.field(name) for name in names),
                pl.col(TRUTH).alias(contract.target.name),
            )
