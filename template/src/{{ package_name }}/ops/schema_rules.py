"""The rules of `ml/schema.py` that no column's own declaration says: across columns, or checks.

They stay polars expressions. A bundle holds their names, their columns, and a digest of how they
are written, never the expressions; whoever holds rows to them takes those of `ml/schema.py`.

All that is asked of dataframely beyond what it promises is here: `PRIVATE` names it.
"""

import hashlib
import inspect
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import msgspec

from .user_code import syntax

if TYPE_CHECKING:
    import dataframely as dy
    import polars as pl

PRIVATE = ("_validation_rules", "_sampling_overrides")
"""What a schema of dataframely has no public name for; `Row` overrides the second."""

LENGTHS = ("min_length", "max_length")
DECLARED = (
    *("nullability", "min", "max", "min_exclusive", "max_exclusive", "is_in", "regex"),
    *("inf", "nan", *LENGTHS),
)
"""The rules that a `Column` of the contract says by itself."""

INNER = "inner_"
"""Before the rules that an array's column declares of each item."""

UNRULED = "the model was made before services could check its contract; run `make train`"


@dataclass(frozen=True)
class Rule:
    """One rule, by the name under which validation counts the rows that break it."""

    name: str
    column: str | None
    """The column that it belongs to; None for a rule across columns."""
    columns: tuple[str, ...]
    """The columns that it looks at."""
    batch: bool = False
    """Whether it compares rows with each other, and so says nothing about one row."""
    digest: str = ""
    """Of how it is written in `ml/schema.py`; empty if a release before 0.5.0 compiled it."""
    obstacle: str | None = None
    """Why no service can hold a row to it, if none can."""

    @property
    def label(self) -> str:
        """Its name without the column's."""
        return self.name if self.column is None else self.name[len(self.column) + 1 :]


def from_manifest(rules: Collection[Mapping[str, Any]] | None) -> tuple[Rule, ...]:
    """The rules of a bundle, of whichever format.

    Format 1 compiled every rule, those of the columns too, and knew no lengths of a column.
    """
    if rules is None:
        return (Rule("a rule", None, (), obstacle=UNRULED),)
    found = []
    for values, rule in zip(rules, msgspec.convert(rules, list[Rule]), strict=True):
        if "expression" not in values:
            found.append(rule)
        elif rule.column is None or rule.label not in DECLARED or rule.label in LENGTHS:
            found.append(replace(rule, obstacle=None))
    return tuple(found)


@lru_cache(maxsize=8)
def expressions(schema: "type[dy.Schema]") -> "dict[str, pl.Expr]":
    """What is true of a row that keeps a rule, or unknown, for every rule of a schema."""
    rules = schema._validation_rules(with_cast=False)
    return {name: rule.expr for name, rule in rules.items()}


def sampling_overrides(schema: "type[dy.Schema]") -> "dict[str, pl.Expr]":
    """How a schema says that rows of it are made, by column."""
    return schema._sampling_overrides()


def compile_rules(schema: "type[dy.Schema]") -> tuple[Rule, ...]:
    """Every rule of a schema but those that its columns declare."""
    found = []
    columns = schema.columns()
    for name, expression in expressions(schema).items():
        column, _, label = name.rpartition("|")
        if column and label.removeprefix(INNER) in DECLARED:
            continue
        used = tuple(dict.fromkeys(expression.meta.root_names()))
        separable = row_by_row(expression)
        obstacle = None
        if separable is None or not used:
            obstacle = "polars cannot tell which columns or rows it looks at"
        found.append(
            Rule(
                name=name,
                column=column if column in columns else None,
                columns=used,
                batch=separable is False,
                digest=digest(schema, column or name),
                obstacle=obstacle,
            )
        )
    return tuple(found)


def row_by_row(expression: "pl.Expr") -> bool | None:
    """Whether an expression judges each row by itself; None if polars cannot tell."""
    import polars as pl

    try:
        if not expression.meta.is_row_separable():
            return False
    except pl.exceptions.PolarsError:  # a Python function, or a selector of columns
        return None
    parts = [row_by_row(part) for part in expression.meta.pop()]
    return False if False in parts else None if None in parts else True


def digest(schema: "type[dy.Schema]", member: str) -> str:
    """Sixteen hexadecimal digits that change with how a rule, or a column's check, is written.

    What counts is the syntax of the modules that declare the schema, without comments and
    docstrings, and without its other columns and rules: constants and helpers beside them count.
    Unlike a printed expression it is the same in every release of polars.
    """
    import dataframely as dy

    names = {rule for rule in expressions(schema) if "|" not in rule}
    names |= {n for n in dir(schema) if isinstance(getattr(schema, n), dy.Column)}
    attributes = {n for n in names if getattr(getattr(schema, n, None), "name", n) == member}
    declaring = [base for base in schema.__mro__ if issubclass(base, dy.Schema)][:-1]
    modules = dict.fromkeys(inspect.getmodule(base) for base in declaring)
    texts = [syntax(inspect.getsource(it), names - attributes) if it else "" for it in modules]
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:16]
