"""Rows beside the source: they were answered first, and their truth came later.

They lie in `data/labelled`, one Parquet file for each time that some were taken in, all of it text
as a source may be. Columns of their own tell where a row comes from. `excluded.yaml` beside them,
which git keeps, says which labels are not to be learnt.
"""

from datetime import datetime
from typing import Annotated

import msgspec
import polars as pl
from msgspec import Meta

from ..contract import Contract
from ..errors import UserError
from ..project import Project

PREDICTION = "__prediction_id"
LABELLED = "__labelled_at"
"""When the truth was told, in UTC."""
KEY, FILE, EXCLUDED = "__labelled_by", "__file", "__excluded"
"""By whose API key the truth was told; and, in no file: which one it is of, and if it is out."""
EXCLUSIONS = "excluded.yaml"
TAKEN_IN = "%Y%m%dT%H%M%S%fZ"  # how a file is named, by when it was written, in UTC


class Exclusion(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """Labels that are not to be learnt: those that fit everything that is said here of them."""

    reason: str
    by: str = ""
    id: list[str] = []
    file: list[str] = []
    key: list[str] = []
    since: Annotated[datetime, Meta(tz=True)] | None = None
    until: Annotated[datetime, Meta(tz=True)] | None = None

    def fits(self) -> pl.Expr:
        """Whether a row is meant, by the columns of above."""
        named = {PREDICTION: self.id, FILE: self.file, KEY: self.key}
        asked = [pl.col(name).fill_null("").is_in(its) for name, its in named.items() if its]
        told = pl.col(LABELLED).dt.replace_time_zone("UTC")
        asked += [told >= self.since] if self.since else []
        asked += [told < self.until] if self.until else []
        return pl.all_horizontal(asked or [pl.lit(value=False)]).fill_null(value=False)


def exclusions(project: Project, text: str | None = None) -> list[Exclusion]:
    """What `data/labelled/excluded.yaml` says, or this text for it.

    Raises:
        UserError: if it cannot be read, or names a file that is gone: then nobody knows its rows.
    """
    import yaml

    path = project.labelled / EXCLUSIONS
    try:
        text = path.read_text(encoding="utf-8") if text is None and path.exists() else text
        found = msgspec.convert(yaml.safe_load(text or "") or [], list[Exclusion])
    except (yaml.YAMLError, msgspec.ValidationError, UnicodeDecodeError) as error:
        raise UserError(f"{EXCLUSIONS} is no list of exclusions: {error}") from None
    for name in {name for one in found for name in one.file}:
        if not (project.labelled / name).exists():
            raise UserError(f"data/labelled has no {name}, which is excluded: run `make pull`.")
    return found


def excluded(project: Project) -> pl.Expr:
    """Whether a label is not to be learnt."""
    fitting = [one.fits() for one in exclusions(project)]
    return pl.any_horizontal(fitting or [pl.lit(value=False)])


def excluded_in_log(project: Project) -> pl.Expr | None:
    """The same in the service's log, which knows no files, see `from_log`; None if none is."""
    if not exclusions(project):
        return None
    rows, label = scan(project), pl.struct(PREDICTION, LABELLED)
    if rows is None:
        return excluded(project)
    taken = rows.filter(EXCLUDED).select(label.alias(EXCLUDED)).collect().to_series()
    return excluded(project) | label.is_in(taken.implode())


def from_log(told: pl.DataFrame) -> pl.DataFrame:
    """Lines of the service's log with the columns that tell where a label comes from."""
    when = pl.from_epoch("time", time_unit="us")
    names = {PREDICTION: pl.col("id"), LABELLED: when, KEY: pl.col("key"), FILE: pl.lit("")}
    return told.with_columns(**names)


def scan(project: Project) -> pl.LazyFrame | None:
    """Everything that was taken in, in the order of the truths; None if nothing was."""
    files = sorted(project.labelled.glob("*.parquet"))
    if not files:
        return None
    parts = [pl.scan_parquet(file).with_columns(pl.lit(file.name).alias(FILE)) for file in files]
    rows = pl.concat([pl.LazyFrame(schema={KEY: pl.String}), *parts], how="diagonal")
    marked = rows.with_columns(excluded(project).alias(EXCLUDED))
    return marked.sort(LABELLED, PREDICTION, maintain_order=True)


def rows(project: Project, contract: Contract, since: str = "") -> pl.LazyFrame | None:
    """What is to be learnt of later files than `since`, as a source would yield it."""
    found = scan(project)
    if found is None:
        return None
    found = found.filter(~pl.col(EXCLUDED)).unique(PREDICTION, keep="last", maintain_order=True)
    found = found.filter(pl.col(FILE) > since)
    names = found.collect_schema().names()
    if contract.target.name in names:
        found = found.drop_nulls(contract.target.name)  # a truth that was taken back
    missing = [column.name for column in contract.columns if column.name not in names]
    known = found.drop(PREDICTION, LABELLED, KEY, FILE, EXCLUDED)
    added = (pl.lit(None, pl.String).alias(name) for name in missing)
    return weighed(known.with_columns(added), contract)


def weighed(rows: pl.LazyFrame, contract: Contract) -> pl.LazyFrame:
    """Let rows of which no weight is told, as the service asks for none, weigh 1."""
    weight = contract.with_role("weight")
    return rows if weight is None else rows.with_columns(pl.col(weight.name).fill_null("1"))
