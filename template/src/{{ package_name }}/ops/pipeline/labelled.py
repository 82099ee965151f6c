"""Rows beside the source: they were answered first, and their truth came later.

They lie in `data/labelled`, one Parquet file for each time that some were taken in, all of it text
as a source may be. Two columns tell where a row comes from.
"""

import polars as pl

from ..contract import Contract
from ..project import Project

PREDICTION = "__prediction_id"
LABELLED = "__labelled_at"
"""When the truth was told, in UTC."""


def scan(project: Project) -> pl.LazyFrame | None:
    """Everything that was taken in, in the order of the truths; None if nothing was.

    Where the truth of a prediction was told again, the newest counts.
    """
    files = sorted(project.labelled.glob("*.parquet"))
    if not files:
        return None
    rows = pl.concat(map(pl.scan_parquet, files), how="diagonal")
    ordered = rows.sort(LABELLED, PREDICTION, maintain_order=True)
    return ordered.unique(PREDICTION, keep="last", maintain_order=True)


def rows(project: Project, contract: Contract) -> pl.LazyFrame | None:
    """The same as a source would yield it: what nobody had asked for is missing."""
    found = scan(project)
    if found is None:
        return None
    names = found.collect_schema().names()
    if contract.target.name in names:
        found = found.drop_nulls(contract.target.name)  # a truth that was taken back
    missing = [column.name for column in contract.columns if column.name not in names]
    known = found.drop(PREDICTION, LABELLED)
    return known.with_columns(pl.lit(None, pl.String).alias(name) for name in missing)
