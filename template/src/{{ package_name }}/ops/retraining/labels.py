"""What the service answered, joined with what became of it: rows to learn from.

The newest truth of a prediction counts. What was taken in before is not taken again, unless its
truth was told otherwise since. Both logs are read part by part, and what is found waits on disk: so
memory holds no more than about `MOST` truths, and as many of those that were taken in before.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import numpy as np
import polars as pl

from .. import contract as contracts
from ..contract import Column, Contract
from ..files import replacing
from ..pipeline import labelled, parquet
from ..pipeline.labelled import EXCLUDED, FILE, KEY, LABELLED, PREDICTION
from ..pipeline.parsing import read
from ..prediction_log import EVER, Reader, newest
from ..project import Project

ID, TIME, TRUTH = "id", "time", "truth"
"""How the logs call them."""

MOST = 500_000
"""Truths that are held in memory at once; for more of them, both logs are read again."""


class Labelled(NamedTuple):
    """What the logs offer."""

    rows: pl.LazyFrame  # new ones, all of it text, as `pipeline.labelled` reads them
    taken: int  # how many these are
    undeclared: Counter[str]  # how many new truths the contract does not allow, by truth
    unanswered: int  # how many new truths are of predictions that are not in the log


def unlogged(contract: Contract) -> list[str]:
    """Columns that every row must have and that no log has: those that are sensitive."""
    return [column.name for column in contract.inputs if column.sensitive and not column.nullable]


@contextmanager
def gathered(project: Project, contract: Contract) -> Iterator[Labelled]:
    """Join new truths with the rows that they are about; the rows last as long as the block."""
    told = partial(_told, project.served / "feedback", labelled.excluded(project))
    before = labelled.scan(project)
    taken = 0 if before is None else before.select(pl.len()).collect().item()
    parts = 1 + max(taken, sum(map(len, told()))) // MOST
    count, unanswered, undeclared = 0, 0, Counter[str]()
    aside = project.root / ".dvc" / "tmp"
    aside.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=aside, ignore_cleanup_errors=True) as folder:
        for part in range(parts):
            mine = pl.col(ID).hash() % parts == part
            known = _taken(before, contract.target, mine)
            truths = _new([frame.filter(mine) for frame in told()], known)
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
    return project.labelled / f"{datetime.now(UTC):{labelled.TAKEN_IN}}.parquet"


def write(rows: pl.LazyFrame, path: Path) -> None:
    """Write rows that were gathered."""
    with replacing(path) as aside:
        parquet.sink(rows, aside).collect(engine="streaming")


def _told(folder: Path, excluded: pl.Expr) -> Iterator[pl.DataFrame]:
    """What was told of predictions, unless it is excluded."""
    reader = Reader({ID: pl.String, TRUTH: pl.String, "key": pl.String})
    for frame in reader.since(folder):
        told = labelled.from_log(frame.drop_nulls(ID)).filter(~excluded)
        yield told.drop(FILE, "key")


def _new(told: Sequence[pl.DataFrame], taken: pl.DataFrame) -> pl.DataFrame:
    """The newest truth of each prediction; null if it was taken back.

    What was taken in before is left out, unless its truth was told otherwise since.
    """
    if not told:
        text, time = dict.fromkeys((ID, TRUTH, PREDICTION, KEY), pl.String), pl.Datetime("us")
        return pl.DataFrame(schema={**text, LABELLED: time})
    later = pl.col("since").is_null() | (pl.col(TIME) > pl.col("since"))
    is_new = pl.col(TRUTH).ne_missing(pl.col("before"))
    known = newest(pl.concat(told)).join(taken, on=ID, how="left", maintain_order="left")
    return known.filter(later & is_new).drop(TIME, "before", "since")


def _taken(found: pl.LazyFrame | None, target: Column, mine: pl.Expr) -> pl.DataFrame:
    """The truths that were taken in before, of some predictions."""
    if found is None:
        return pl.DataFrame(schema={ID: pl.String, "before": pl.String, "since": pl.Int64})
    known = target.name in found.collect_schema()
    truth = pl.col(target.name) if known else pl.lit(None, pl.String)
    before, since = pl.when(~pl.col(EXCLUDED)).then(truth), pl.col(LABELLED).dt.epoch("us")
    own = found.with_columns(pl.col(PREDICTION).alias(ID)).filter(mine)
    newest = own.unique(ID, keep="last", maintain_order=True)
    return newest.select(ID, before=before, since=since).collect()


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
    inputs = pl.Struct(dict.fromkeys(names, pl.String))
    reader, truth = Reader({ID: pl.String, "inputs": inputs}), pl.col(TRUTH)
    values = [pl.col("inputs").struct.field(name) for name in names]
    columns = [PREDICTION, LABELLED, KEY, *values, truth.alias(contract.target.name)]
    # A truth that was taken back needs no row of a log, which may be gone.
    gone = truths.filter(truth.is_null()).with_columns(pl.lit(None, inputs).alias("inputs"))
    yield gone.select(columns)
    wanted = truths.filter(truth.is_not_null()).with_row_index("place")
    missing = np.ones(len(wanted), dtype=np.bool_)
    for frame in reader.since(folder, EVER, lambda: bool(missing.any())):
        found = frame.unique(ID).join(wanted, on=ID)
        rows = found.filter(pl.Series(missing[found["place"]], dtype=pl.Boolean))
        missing[rows["place"]] = False
        yield rows.sort(TIME, ID).select(columns)
