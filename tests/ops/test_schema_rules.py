"""Rules that stay polars expressions: named in the bundle, taken from the schema at hand."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from types import new_class
from typing import TYPE_CHECKING, Any

import dataframely as dy
import polars as pl
import pytest
from my_model.ops import contract as contracts
from my_model.ops import schema_rules as rules
from my_model.ops.errors import UserError
from my_model.ops.schema_rules import Rule
from my_model.ops.serving.requests import Reader
from my_model.ops.serving.row_rules import RowRules

if TYPE_CHECKING:
    from collections.abc import Callable

SCHEMA = '''
"""A contract."""

import dataframely as dy
import polars as pl

MOST = 5


class Row(dy.Schema):
    """A row."""

    low = dy.Float64(min=0)
    high = dy.Float64(alias="hi gh", nullable=True)
    even = dy.Int64(check=lambda c: c % 2 == 0)
    y = dy.Bool(metadata={"target": True})

    @dy.rule()
    def ordered(cls) -> pl.Expr:
        """One line."""
        return cls.low.col <= pl.col("hi gh")

    @dy.rule()
    def near(cls) -> pl.Expr:
        return pl.col("hi gh") - cls.low.col < MOST
'''


def test_dataframely_has_the_names_that_are_not_promised() -> None:
    class Row(dy.Schema):
        a = dy.Int64(primary_key=True, min=3)

        @dy.rule()
        def even(cls) -> pl.Expr:  # noqa: N805
            return pl.col("a") % 2 == 0

        @classmethod
        def _sampling_overrides(cls) -> dict[str, pl.Expr]:
            return {"a": pl.lit(1)}

    assert all(hasattr(dy.Schema, name) for name in rules.PRIVATE)
    found = rules.expressions(Row)
    assert set(found) == {"even", "primary_key", "a|nullability", "a|min"}
    verdict = pl.DataFrame({"a": [1, 2, 4]}).select(found["even"] & found["a|min"])
    assert verdict["a"].to_list() == [False, False, True]
    assert list(rules.sampling_overrides(Row)) == ["a"]
    assert list(rules.sampling_overrides(dy.Schema)) == []


def test_a_bundle_holds_names_and_columns_and_no_expression(
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    contract = contracts.compile_schema(schema(SCHEMA))
    assert {(rule.name, rule.column, rule.columns, rule.batch) for rule in contract.rules} == {
        ("ordered", None, ("low", "hi gh"), False),
        ("near", None, ("hi gh", "low"), False),
        ("even|check", "even", ("even",), False),
    }
    text = json.dumps(contract.to_dict())
    assert contracts.Contract.from_dict(json.loads(text)) == contract
    assert all(set(rule) == set(asdict(Rule("", None, ()))) for rule in json.loads(text)["rules"])


@pytest.mark.parametrize(
    ("before", "after", "changed"),
    [
        ('"""One line."""', "", set()),
        ('"""One line."""', '"""Two lines,\n\n        really."""  # why', set()),
        ("low = dy.Float64(min=0)", "low = dy.Float64(min=1, nullable=True)", set()),
        ("    y = ", "    more = dy.String()\n    y = ", set()),
        ("cls.low.col <= pl", "cls.low.col < pl", {"ordered"}),
        ("MOST = 5", "MOST = 6", {"ordered", "near", "even|check"}),
        ("c % 2 == 0", "c % 2 == 1", {"even|check"}),
    ],
)
def test_a_digest_changes_with_how_a_rule_is_written_and_with_nothing_else(
    schema: Callable[[str], type[dy.Schema]], before: str, after: str, changed: set[str]
) -> None:
    old = contracts.compile_schema(schema(SCHEMA))
    assert SCHEMA.count(before) == 1
    new = contracts.compile_schema(schema(SCHEMA.replace(before, after)))
    digests = {rule.name: rule.digest for rule in new.rules}
    assert {rule.name for rule in old.rules if digests[rule.name] != rule.digest} == changed
    if not changed:
        assert RowRules.of(old)
        return
    with pytest.raises(UserError, match=r"ml/schema\.py states it in another way by now"):
        RowRules.of(old)


@pytest.mark.parametrize(
    ("before", "after", "obstacle"),
    [
        ("def near", "def close", "rule near: ml/schema.py has none of that name"),
        ("low = dy.Float64(min=0)", "low = dy.Int64()", "low is of another type by now"),
    ],
)
def test_a_bundle_whose_rules_are_no_more_is_not_served(
    schema: Callable[[str], type[dy.Schema]], before: str, after: str, obstacle: str
) -> None:
    contract = contracts.compile_schema(schema(SCHEMA))
    schema(SCHEMA.replace(before, after))
    with pytest.raises(UserError, match=obstacle):
        Reader(contract)


def test_a_rule_that_came_since_is_not_asked(schema: Callable[[str], type[dy.Schema]]) -> None:
    contract = contracts.compile_schema(schema(SCHEMA))
    schema(SCHEMA + "\n    @dy.rule()\n    def new(cls):\n        return pl.lit(False)\n")
    assert Reader(contract).read(b'{"low": 1, "hi gh": 2, "even": 2}').records


def test_without_polars_only_a_contract_without_rules_is_served(
    schema: Callable[[str], type[dy.Schema]], monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = contracts.compile_schema(schema(SCHEMA))
    monkeypatch.setitem(sys.modules, "polars", None)
    with pytest.raises(UserError, match=r"ordered.*polars is not installed.*group `rules`"):
        Reader(contract)
    assert Reader(replace(contract, rules=())).read(b'{"low": 1, "even": 2}').records


def test_rules_that_compare_rows_hold_no_row_by_itself() -> None:
    def spread(row: Any) -> pl.Expr:
        return row.a.col < row.a.col.max().over("b")

    members = {
        "a": dy.Int64(unique=True),
        "b": dy.Int64(primary_key=True),
        "spread": dy.rule()(spread),
        "y": dy.Bool(metadata={"target": True}),
    }
    row = new_class("Row", (dy.Schema,), exec_body=lambda body: body.update(members))
    contract = contracts.compile_schema(row)
    assert {rule.name for rule in contract.rules if rule.batch} == {
        "a|unique",
        "primary_key",
        "spread",
    }
    assert Reader(contract).read(b'[{"a": 1, "b": 1}, {"a": 1, "b": 1}]').many


a, b, text, moment = pl.col("a"), pl.col("b"), pl.col("text"), pl.col("moment")


@pytest.mark.parametrize(
    ("expression", "separable"),
    [
        (a >= b, True),
        ((a - b).abs() / 2 + pl.lit(1) > 0, True),
        (a.is_in([1, 2]) | a.is_between(0, b), True),
        (pl.when(a > 0).then(b).otherwise(None).is_null(), True),
        (pl.all_horizontal(a > 0, text.str.contains("^x$")), True),
        (moment.dt.truncate("1h") == moment, True),
        (pl.max_horizontal(a, b).cast(pl.String).str.len_chars() < 3, True),
        (pl.coalesce(a, b).clip(0, 1) > 0, True),
        (a > a.mean(), False),
        (pl.len() > 1, False),
        (a.is_unique(), False),
        (a > a.shift(), False),
        ((a > 0).any(), False),
        (a.sum().over(text) > 0, False),
        (a.is_in(b.implode()), False),
        (a.cum_sum() + b > 0, False),
        (pl.when(a.max() > 1).then(b > 0), False),
        (a.rank() > 1, False),
        (a.map_elements(bool, pl.Boolean), None),
        (pl.all_horizontal(pl.all().is_not_null()), None),
    ],
    ids=str,
)
def test_polars_tells_what_compares_rows(expression: pl.Expr, separable: bool | None) -> None:
    assert rules.row_by_row(expression) is separable


def test_what_polars_cannot_look_into_is_kept_with_the_reason_and_not_served() -> None:
    members = {
        "a": dy.String(check={"odd": lambda c: c.map_elements(len, pl.Int64) % 2 == 1}),
        "y": dy.Bool(metadata={"target": True}),
    }
    row = new_class("Row", (dy.Schema,), exec_body=lambda body: body.update(members))
    contract = contracts.compile_schema(row)
    (rule,) = contract.rules
    assert (rule.name, rule.columns, rule.batch) == ("a|check__odd", ("a",), False)
    with pytest.raises(UserError, match=r"^No service can hold a row to a\|check__odd: polars"):
        Reader(contract)


FORMAT_1 = [
    ("low|min", "low", ["low"]),
    ("low|nullability", "low", ["low"]),
    ("even|check", "even", ["even"]),
    ("ordered", None, ["low", "hi gh"]),
]


def test_rules_of_format_1_are_those_of_the_same_name_at_hand(
    schema: Callable[[str], type[dy.Schema]],
) -> None:
    told = contracts.compile_schema(schema(SCHEMA)).to_dict()
    told["rules"] = [
        {"name": name, "column": column, "columns": columns, "batch": False, "obstacle": None}
        | {"expression": ["ge", ["column", "Float64", "low"], ["value", "Float64", 0.0]]}
        for name, column, columns in FORMAT_1
    ]
    for column in told["columns"]:
        del column["min_length"], column["max_length"]
    del told["missing"]
    contract = contracts.Contract.from_dict(json.loads(json.dumps(told)))
    assert [rule.name for rule in contract.rules] == ["even|check", "ordered"]
    reader = Reader(contract)
    assert reader.read(b'{"low": 1, "hi gh": 9, "even": 2}').records
    assert reader.rules
    (broken,) = reader.rules.broken([(2.0, 1.0, 3)]) or []
    assert [rule.name for rule in broken] == ["even|check", "ordered"]
    schema(SCHEMA.replace("def ordered", "def in_order"))
    with pytest.raises(UserError, match=r"ml/schema\.py has none of that name"):
        Reader(contract)


def test_a_bundle_from_before_there_were_rules_is_not_served() -> None:
    old = contracts.compile_schema(contracts.schema()).to_dict()
    del old["rules"]
    with pytest.raises(UserError, match="made before services could check its contract"):
        Reader(contracts.Contract.from_dict(old))
