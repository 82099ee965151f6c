"""Hold every row to the contract, and set aside those that break it, with the reason."""

import copy
import shutil
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import dataframely as dy
import polars as pl

from .. import contract as contracts
from ..errors import UserError
from ..files import replacing, write_json
from ..project import Project
from ..settings import Settings
from . import parquet
from .parsing import TEXT

NAMED_RULES = 5
EXAMPLES = 3
EXAMPLES_FROM = 1_000
EXAMPLE_WIDTH = 40


class Checked(NamedTuple):
    """Rows that keep the contract, and rows that break it.

    Attributes:
        good: the contract's columns.
        bad: the same columns as text, as they came, and `rule`.
        counts: how many rows break each rule, the most broken rule first.
        kept: for each row that came in, whether it keeps the contract.
    """

    good: pl.DataFrame
    bad: pl.DataFrame
    counts: dict[str, int]
    kept: pl.Series


def run(project: Project) -> None:
    """Write `data/valid.parquet`, `data/quarantine.parquet` and `reports/validation.json`.

    Raises:
        UserError: if more rows break the contract than `params.yaml` allows; the quarantine and
            the report are there all the same.
    """
    limit = Settings.load(project.params).validation.quarantine
    names = [column.name for column in contracts.load().columns]
    raw = pl.scan_parquet(project.raw)
    found = raw.collect_schema().names()
    schema = _schema(found)
    filtered = schema.filter(raw)
    with TemporaryDirectory(dir=project.data, prefix=".validate-") as folder:
        failures = Path(folder, "failures.parquet")
        filtered.failure.sink_parquet(failures, engine="streaming")
        broken = _Broken(pl.scan_parquet(failures), schema, names)
        with replacing(project.quarantine) as aside:
            parquet.write({aside: broken.quarantine()})
        rows, bad = parquet.count(project.raw), parquet.count(failures)
        report = {
            "rows": rows,
            "valid": rows - bad,
            "quarantined": bad,
            "share": bad / rows,
            "rules": broken.counts,
            "duplicates": _duplicates(raw),
        }
        write_json(project.reports / "validation.json", report)
        if bad > limit * rows or bad == rows:
            raise UserError(
                f"{bad:,} of {rows:,} rows break the contract, and validation.quarantine in "
                f"params.yaml allows {limit:.2%}: {broken.described()}. They lie in "
                f"{project.quarantine.relative_to(project.root)}; mend the data or ml/schema.py."
            )
    with replacing(project.valid) as aside:
        if bad or found != names:
            parquet.write({aside: filtered.result.select(names)})
        else:
            shutil.copyfile(project.raw, aside)
    print(f"validate: {rows - bad:,} of {rows:,} rows keep the contract.")
    for rule, count in broken.counts.items():
        print(f"validate: in quarantine for breaking {rule}: {count:,}.")


def check(frame: pl.DataFrame, *, labelled: bool = True) -> Checked:
    """Hold rows, as `parsing.parse` leaves them, to the contract.

    Args:
        frame: the contract's columns and, beside those that had to be parsed, `<name>|text`.
        labelled: whether the target is among them. If not, no rule asks for it, and a row is
            judged by itself: rules that compare rows, such as a primary key, are not asked.
    """
    contract = contracts.load()
    names = [column.name for column in (contract.columns if labelled else contract.inputs)]
    schema = _schema(frame.columns, labelled=labelled)
    if not labelled:
        target = schema.columns()[contract.target.name]
        frame = frame.with_columns(pl.lit(None, target.dtype).alias(contract.target.name))
    about_many = [rule.name for rule in contract.rules if rule.batch and not labelled]
    rules = {name: keeps for name, keeps in _rules(schema).items() if name not in about_many}
    marked = frame.with_columns(**rules)
    every = pl.repeat(True, pl.len())
    kept = marked.select(pl.all_horizontal(every, *rules)).to_series()
    bad = marked.filter(~kept)
    breaking = [name for name in rules if not bad[name].all()]
    broken = _Broken(bad.select(*frame.columns, *breaking).lazy(), schema, names)
    good = frame.select(names).filter(kept)
    return Checked(good, broken.quarantine().collect(), broken.counts, kept)


class _Broken:
    """Rows that break the contract: their columns, and a truth value for every rule.

    Where a value could not be read, the other rules about its column say nothing.
    """

    def __init__(self, rows: pl.LazyFrame, schema: type[dy.Schema], names: Sequence[str]) -> None:
        """Take rows that broke `schema`, and the names of the columns that they came with."""
        self.rows = rows
        self.schema = schema
        found, columns = rows.collect_schema().names(), schema.columns()
        unread = {name: pl.col(name + TEXT) for name in names if name + TEXT in found}
        self.texts = {name: pl.col(name).cast(pl.String) for name in names}
        self.texts |= {name: pl.coalesce(text, self.texts[name]) for name, text in unread.items()}
        self.breaks: dict[str, pl.Expr] = {}
        for rule in (name for name in found if name not in columns):
            column = rule.rpartition("|")[0]
            readable = unread[column].is_null() if column in unread else True
            self.breaks[rule.replace(f"{TEXT}|check__dtype", "|dtype")] = ~pl.col(rule) & readable

    @cached_property
    def counts(self) -> dict[str, int]:
        """How many rows break each rule that is broken, the most broken one first."""
        if not self.breaks:
            return {}
        sums = [breaks.sum().alias(rule) for rule, breaks in self.breaks.items()]
        counts = self.rows.select(sums).collect(engine="streaming").row(0, named=True)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return {rule: count for rule, count in ranked if count}

    def quarantine(self) -> pl.LazyFrame:
        """The rows as text, as they came, and the rules that they break."""
        rules = [pl.when(breaks).then(pl.lit(rule)) for rule, breaks in self.breaks.items()]
        rule = pl.concat_str(rules or pl.lit(""), separator="; ", ignore_nulls=True)
        texts = [text.alias(name) for name, text in self.texts.items()]
        return self.rows.select(*texts, rule.alias(rule_column(self.texts)))

    def described(self) -> str:
        """The rules that are broken most, with counts and examples."""
        named = [
            f"{rule} {count:,} times{self._examples(rule)}"
            for rule, count in list(self.counts.items())[:NAMED_RULES]
        ]
        more = len(self.counts) - len(named)
        return ", ".join(named) + (f" and {more} more rules" if more > 0 else "")

    def _examples(self, rule: str) -> str:
        """Some of the values that break a rule; nothing where they are but missing."""
        names = [name for name in self._columns(rule) if name in self.texts]
        rows = (
            self.rows.filter(self.breaks[rule])
            .select(self.texts[name].alias(name) for name in names)
            .head(EXAMPLES_FROM)
            .collect(engine="streaming")
            .unique(maintain_order=True)
            .head(EXAMPLES)
        )
        shown = [
            " with ".join(f"{name} = {_short(value)}" for name, value in row.items())
            for row in rows.iter_rows(named=True)
        ]
        return f" (such as {', '.join(shown)})" if names else ""

    def _columns(self, rule: str) -> list[str]:
        """The columns that a rule looks at."""
        column = rule.rpartition("|")[0]
        if column:
            return [column]
        if rule == "primary_key":
            return self.schema.primary_key()
        declared: Any = getattr(self.schema, rule)
        names: list[str] = declared.validation_fn(self.schema).meta.root_names()
        return names


def _schema(found: Iterable[str], *, labelled: bool = True) -> type[dy.Schema]:
    """The schema of rows that have the columns `found`, `<name>|text` among them.

    A value that stands in `<name>|text` breaks a rule. Rows without labels have a target that is
    missing throughout, which no rule objects to.
    """
    return _view(contracts.schema(), contracts.load().target.name, tuple(found), labelled=labelled)


@lru_cache(maxsize=8)
def _view(
    row: type[dy.Schema], target: str, found: tuple[str, ...], *, labelled: bool
) -> type[dy.Schema]:
    """See `_schema`."""
    columns = row.columns()
    members: dict[str, dy.Column] = {
        f"{TEXT}{number}": dy.String(alias=name, nullable=True, check={"dtype": pl.Expr.is_null})
        for number, name in enumerate(name for name in found if name not in columns)
    }
    if not labelled:
        attribute = next(name for name in dir(row) if getattr(row, name) is columns[target])
        members[attribute] = copy.copy(columns[target])
        members[attribute].nullable = True
    metaclass: Any = type(row)
    view: type[dy.Schema] = metaclass(row.__name__, (row,), members)
    return view


@lru_cache(maxsize=8)
def _rules(schema: type[dy.Schema]) -> dict[str, pl.Expr]:
    """What is true of a row that keeps a rule, by the rule's name."""
    rules = schema._validation_rules(with_cast=False)
    return {name: rule.expr.fill_null(value=True) for name, rule in rules.items()}


def rule_column(names: Collection[str]) -> str:
    """How the column with the broken rules is called beside the columns `names`."""
    return "rule" if "rule" not in names else "__rule"


def _duplicates(rows: pl.LazyFrame) -> int:
    """How many rows repeat an earlier one, identifiers aside; eight bytes a row are held."""
    names = [c.name for c in contracts.load().columns if c.role != "identifier"]
    hashes = rows.select(pl.struct(names).hash()).collect(engine="streaming").to_series()
    return len(hashes) - hashes.n_unique()


def _short(value: str | None) -> str:
    if value is None:
        return "missing"
    return repr(value if len(value) <= EXAMPLE_WIDTH else value[: EXAMPLE_WIDTH - 1] + "…")
