"""Hold every row to the contract, and set aside those that break it, with the reason."""

import shutil
from collections import Counter
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import dataframely as dy
import polars as pl

from .. import contract as contracts
from ..contract import KEPT, LARGEST, TEXT
from ..errors import UserError
from ..files import replacing, write_json
from ..project import Project
from ..schema_rules import expressions
from ..settings import Settings
from ..wording import listed, shortened
from . import parallel, parquet
from .parsing import as_text

NAMED_RULES = 5
EXAMPLES = 3
EXAMPLES_FROM = 1_000
EXAMPLE_WIDTH = 40

GOOD, BROKEN, HASHES = "good", "broken.parquet", "hashes.parquet"  # what is made of a part
HASH = "hash"
AT_ONCE = 20_000_000


class Checked(NamedTuple):
    """Rows that keep the contract, and rows that break it."""

    good: pl.DataFrame
    """The contract's columns."""
    bad: pl.DataFrame
    """The same columns as text, as they came, and `rule`."""
    counts: dict[str, int]
    """How many rows break each rule, the most broken rule first."""
    kept: pl.Series
    """For each row that came in, whether it keeps the contract."""


def run(project: Project) -> None:
    """Write `data/valid.parquet/`, `data/quarantine.parquet/` and `reports/validation.json`.

    A UserError if more rows break the contract than `params.yaml` allows; quarantine and report are
    there all the same.
    """
    limit = Settings.load(project.params).validation.quarantine
    # A rule that looks at several rows, or may, sees all of them at once.
    whole = any(rule.batch or rule.obstacle for rule in contracts.load().rules)
    parts = [project.raw] if whole else parquet.parts(project.raw)
    sizes = [parquet.count(part) for part in parts]
    with parquet.scratch(project.data / ".validate") as made:
        lacking = Counter[str]()
        for left_out in parallel.map(hold, parts, into=made, rows=sizes):
            lacking.update(left_out)
        rules = Rules(pl.read_parquet_schema(parquet.parts(project.raw)[0]))
        broken = pl.scan_parquet(sorted(made.glob(f"*/{BROKEN}")))
        counts = rules.counts(broken)
        with replacing(project.quarantine) as aside:
            parquet.write({aside: rules.quarantine(broken, counts)})
        hashes = pl.scan_parquet(sorted(made.glob(f"*/{HASHES}")))
        rows, bad = (int(its.select(pl.len()).collect().item()) for its in (hashes, broken))
        if not rows:
            raise UserError(f"No row has a value in {listed([*lacking])}; look at the data.")
        report = {
            "rows": rows,
            "valid": rows - bad,
            "quarantined": bad,
            "share": bad / rows,
            "rules": counts,
            "duplicates": rows - _different(hashes, rows),
            **({"dropped": lacking} if lacking else {}),
        }
        write_json(project.reports / "validation.json", report)
        if bad > limit * rows or bad == rows:
            raise UserError(
                f"{bad:,} of {rows:,} rows break the contract, and validation.quarantine in "
                f"params.yaml allows {limit:.2%}: {rules.described(broken, counts)}. They lie in "
                f"{project.quarantine.relative_to(project.root)}; mend the data or ml/schema.py."
            )
        parquet.gather(made, GOOD, project.valid)
    print(f"validate: {rows - bad:,} of {rows:,} rows keep the contract.")
    for rule, count in counts.items():
        print(f"validate: in quarantine for breaking {rule}: {count:,}.")
    for name, count in lacking.items():
        print(f"validate: left out for want of {name}: {count:,}.")


def hold(part: Path, folder: Path) -> dict[str, int]:
    """Hold the rows of a part to the contract; how many were left out for want of which column.

    Those that keep it go to `GOOD`, those that break it to `BROKEN`, as `Rules.mark` leaves them,
    and a hash of each to `HASHES`, all in `folder`.
    """
    required = contracts.words("REQUIRED", contracts.SOURCE.read_text("utf-8"))
    rows, lacking = complete(pl.scan_parquet(part), required)
    found = rows.collect_schema().names()
    rules = Rules(found)
    marked = rules.mark(rows)
    names = [c.name for c in contracts.load().columns if c.role != "identifier"]
    hashes = rows.select(pl.struct(names).hash().alias(HASH))
    aside = {BROKEN: marked.filter(~pl.col(KEPT)), HASHES: hashes}
    sinks = [parquet.sink(its, folder / name) for name, its in aside.items()]
    pl.collect_all(sinks, engine="streaming")
    good = folder / GOOD
    uncut = any(parquet.count(it) > parquet.PART_ROWS for it in parquet.parts(part))
    if parquet.count(folder / BROKEN) or lacking or found != rules.names or uncut:
        parquet.write({good: marked.filter(KEPT).select(rules.names)})
    else:
        good.mkdir()
        for it in parquet.parts(part):
            shutil.copyfile(it, good / it.name)
    return lacking


def complete(rows: pl.LazyFrame, required: Collection[str]) -> tuple[pl.LazyFrame, dict[str, int]]:
    """Leave out rows without any value where one is required, and count them by column."""
    found = {*rows.collect_schema()}
    empty = {
        name: pl.all_horizontal(pl.col({name, name + TEXT} & found).is_null())
        for name in required
        if name in found  # else the contract does not know the column, or not any more
    }
    if not empty:
        return rows, {}
    sums = [its.sum().alias(name) for name, its in empty.items()]
    counts = rows.select(sums).collect(engine="streaming").row(0, named=True)
    lacking = {name: count for name, count in counts.items() if count}
    return rows.filter(~pl.any_horizontal(empty.values())), lacking


def check(frame: pl.DataFrame, *, labelled: bool = True) -> Checked:
    """Hold rows, as `parsing.parse` leaves them, to the contract.

    Where the target is not among them (`labelled`), no rule asks for it, and a row is judged by
    itself: rules that compare rows, such as a primary key, are not asked.
    """
    rules = Rules(frame.columns, labelled=labelled)
    marked = rules.mark(frame.lazy()).collect()
    kept = marked[KEPT]
    bad = marked.filter(~kept).lazy()
    counts = rules.counts(bad)
    good = frame.select(rules.names).filter(kept)
    return Checked(good, rules.quarantine(bad, counts).collect(), counts, kept)


class Rules:
    """What rows are held to: the rules of `ml/schema.py`, and that every value could be read.

    Where a value could not be read, the other rules about its column say nothing. `inf` refuses
    what is infinite to the model, whose numbers are float32.
    """

    def __init__(self, found: Collection[str], *, labelled: bool = True) -> None:
        """Take the columns of the rows, `<name>|text` among them; see `check`."""
        contract, columns = contracts.load(), contracts.schema().columns()
        self.names = [item.name for item in (contract.columns if labelled else contract.inputs)]
        absent = () if labelled else {*columns}.difference(self.names)
        self._absent = [pl.lit(None, columns[name].dtype).alias(name) for name in absent]
        unread = {name: pl.col(name + TEXT) for name in self.names if name + TEXT in found}
        self._texts = {name: as_text(pl.col(name), columns[name].dtype) for name in self.names}
        self._texts |= {name: pl.coalesce(text, self._texts[name]) for name, text in unread.items()}
        silent = set() if labelled else {rule.name for rule in contract.rules if rule.batch}
        if not labelled:
            silent |= {f"{name}|nullability" for name in absent}
        self._rules: dict[str, pl.Expr] = {}
        for name, keeps in expressions(contracts.schema()).items():
            column = name.rpartition("|")[0]
            if name not in silent:
                unreadable = unread[column].is_not_null() if column in unread else False
                self._rules[name] = (keeps | unreadable).fill_null(value=True)
        single = {
            f"{name}|{rule}": keeps for name in self.names for rule, keeps in _single(columns[name])
        }
        if labelled and (weight := contract.with_role("weight")):
            single[f"{weight.name}|weight"] = pl.col(weight.name) >= 0
        self._rules |= {name: rule.fill_null(value=True) for name, rule in single.items()}
        self._rules |= {f"{name}|dtype": text.is_null() for name, text in unread.items()}

    def mark(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Add for every rule, under its name, whether a row keeps it, and as `KEPT` for all."""
        marked = rows.with_columns(self._absent).with_columns(**self._rules)
        return marked.with_columns(pl.all_horizontal(pl.lit(True), *self._rules).alias(KEPT))

    def counts(self, broken: pl.LazyFrame) -> dict[str, int]:
        """How many marked rows break each rule that is broken, the most broken one first."""
        if not self._rules:
            return {}
        sums = [(~pl.col(rule)).sum() for rule in self._rules]
        counts = broken.select(sums).collect(engine="streaming").row(0, named=True)
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return {rule: count for rule, count in ranked if count}

    def quarantine(self, broken: pl.LazyFrame, counts: Collection[str]) -> pl.LazyFrame:
        """Marked rows as text, as they came, and those of the rules `counts` that they break."""
        named = [
            pl.when(~pl.col(rule)).then(pl.lit(rule)) for rule in self._rules if rule in counts
        ]
        rule = pl.concat_str(named or pl.lit(""), separator="; ", ignore_nulls=True)
        texts = [text.alias(name) for name, text in self._texts.items()]
        return broken.select(*texts, rule.alias(unused("rule", self._texts)))

    def described(self, broken: pl.LazyFrame, counts: dict[str, int]) -> str:
        """The rules that are broken most, with counts and examples."""
        named = [
            f"{rule} {count:,} times{self._examples(broken, rule)}"
            for rule, count in list(counts.items())[:NAMED_RULES]
        ]
        more = len(counts) - len(named)
        return ", ".join(named) + (f" and {more} more rules" if more > 0 else "")

    def _examples(self, broken: pl.LazyFrame, rule: str) -> str:
        """Some of the values that break a rule; nothing where they are but missing."""
        roots = [name.removesuffix(TEXT) for name in self._rules[rule].meta.root_names()]
        names = [name for name in dict.fromkeys(roots) if name in self._texts]
        rows = (
            broken.filter(~pl.col(rule))
            .select(self._texts[name].alias(name) for name in names)
            .head(EXAMPLES_FROM)
            .collect(engine="streaming")
            .unique(maintain_order=True)
            .head(EXAMPLES)
        )
        shown = [
            " with ".join(
                f"{name} = {'missing' if value is None else repr(shortened(value, EXAMPLE_WIDTH))}"
                for name, value in row.items()
            )
            for row in rows.iter_rows(named=True)
        ]
        return f" (such as {', '.join(shown)})" if names else ""


def _single(column: dy.Column) -> Iterator[tuple[str, pl.Expr]]:
    """The rule that numbers fit into single precision, of a column that has any."""
    item, values = pl.element().abs() <= LARGEST, pl.col(column.name)
    match column.dtype:
        case pl.List(inner=inner) if inner.is_float():
            yield "inner_inf", values.list.eval(item).list.all()
        case pl.Array(inner=inner) if inner.is_float():
            yield "inner_inf", values.arr.eval(item).arr.all()
        case dtype if dtype.is_float():
            yield "inf", values.abs() <= LARGEST


def unused(name: str, columns: Collection[str]) -> str:
    """A name for a column beside the others."""
    return name if name not in columns else unused(f"__{name}", columns)


def _different(hashes: pl.LazyFrame, number: int) -> int:
    """How many of this number of hashes differ; at most so many as `AT_ONCE` are held."""
    turns = -(-number // AT_ONCE)
    some = (hashes.filter(pl.col(HASH) % turns == turn).unique() for turn in range(turns))
    return sum(its.select(pl.len()).collect(engine="streaming").item() for its in some)
