"""The door of the service: it takes and refuses what ingest and validation take and refuse."""

# ruff: noqa: RUF001  any column, times without zone, letters of all languages

from __future__ import annotations

import datetime as dt
import io
import json
import operator
import random
from dataclasses import replace
from types import new_class
from typing import TYPE_CHECKING, Any

import dataframely as dy
import msgspec
import numpy as np
import polars as pl
import pytest
from my_model.ops import contract as contracts
from my_model.ops.pipeline.parsing import parse
from my_model.ops.pipeline.validate import check
from my_model.ops.serving import requests
from my_model.ops.serving.batching import judged
from my_model.ops.serving.models import Model, Records, Said
from my_model.ops.serving.requests import Reader, Refusal, Violation
from my_model.ops.serving.settings import Strictness
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TARGET = dy.Bool(metadata={"target": True})
MANY = 2_000
ROWS = Strictness(10_000)
"""As many rows a reader takes here."""


def schema(**members: Any) -> type[dy.Schema]:
    """A schema of the given columns and rules, and a target."""
    members["target"] = TARGET
    return new_class("Row", (dy.Schema,), exec_body=lambda body: body.update(members))


def ordered(schema: Any) -> pl.Expr:
    """A rule across columns."""
    return schema.low.col <= schema.high.col


def described(schema: Any) -> pl.Expr:
    """A rule across columns of several types, with nulls of its own meaning."""
    long = schema.note.col.str.len_chars().fill_null(0) >= 3
    return (schema.size.col != "l") | long | (schema.day.col.dt.weekday() > 5)


SCHEMAS: dict[str, type[dy.Schema]] = {
    "every type": schema(
        half=dy.Float32(nullable=True, min=0.1, max_exclusive=100),
        whole=dy.Float64(nullable=True, allow_inf=True, allow_nan=True),
        bounded=dy.Float64(min_exclusive=-1, max=128),
        tiny=dy.Int8(nullable=True),
        small=dy.UInt8(min_exclusive=0, nullable=True),
        wide=dy.Int64(nullable=True),
        widest=dy.UInt64(nullable=True, max_exclusive=2**63),
        flag=dy.Bool(nullable=True),
        code=dy.Int16(nullable=True, is_in=[1, 2, 127], metadata={"category": True}),
        size=dy.Enum(["s", "m", " l", "1", "1.0", "true"], nullable=True),
        note=dy.String(nullable=True, metadata={"text": True}),
        day=dy.Date(nullable=True, min=dt.date(1970, 1, 1)),
        time=dy.Datetime(nullable=True, max=dt.datetime(2024, 6, 1)),
        coarse=dy.Datetime(nullable=True, time_unit="ms", resolution="1h"),
    ),
    "nothing may be missing": schema(
        half=dy.Float32(),
        whole=dy.Float64(),
        wide=dy.Int64(),
        flag=dy.Bool(),
        size=dy.Enum(["s", "m"]),
        note=dy.String(min_length=2, max_length=4),
        day=dy.Date(),
        time=dy.Datetime(),
    ),
    "patterns": schema(
        code=dy.String(regex=r"^[A-Z]{2}-\d{4}$", nullable=True),
        word=dy.String(regex=r"^\w+$", nullable=True),
        mail=dy.String(regex=r"(?i)^[a-z0-9.]+@[a-z]+\.(com|org)$", nullable=True),
    ),
    "checks": schema(
        whole=dy.Int32(
            nullable=True, check={"even": lambda c: c % 2 == 0, "seen": pl.Expr.is_not_null}
        ),
        half=dy.Float64(nullable=True, check=[lambda c: c.is_between(-3, 3), lambda c: c != 0]),
        note=dy.String(nullable=True, check=lambda c: c.str.strip_chars() == c),
        flag=dy.Bool(nullable=True, check=lambda c: c | c.is_null()),
    ),
    "rules across columns": schema(
        low=dy.Float64(nullable=True),
        high=dy.Float32(nullable=True),
        size=dy.Enum(["s", "m", "l"], nullable=True),
        note=dy.String(alias="a | note", nullable=True),
        day=dy.Date(nullable=True),
        ordered=dy.rule()(ordered),
        described=dy.rule()(described),
    ),
}

NUMBERS = [
    *("0", "1", "-1", "2", "127", "128", "-128", "-129", "255", "256", "0.1", "-0.0", "1.5", "1e2"),
    *("99.99999999", "100.0", "0.09999999999", "1e-400", "16777217", "9007199254740993", "1e300"),
    *("9007199254740992.0", "9007199254740994.0", "9223372036854775807", "9223372036854775808"),
    *("-9223372036854775808", "-9223372036854775809", "18446744073709551615", "1.5e-5", "1e16"),
    *("18446744073709551616", "123456789012345678901234567890", "3.4028235677973366e38", "1E+2"),
    *("1152921573326323713", "5e-324", "0.1e1", "1e-7", "123456.7"),
]
TEXTS = [
    *(
        "",
        " ",
        "1",
        " 1.5 ",
        "+7",
        "1e5",
        "inf",
        "-Infinity",
        "nan",
        "NaN",
        "1,5",
        "1_0",
        "0x1",
        "٣",
    ),
    *(
        "true",
        "T",
        "YES",
        "no",
        "1.0",
        "s",
        " m",
        " l",
        "l ",
        "x",
        "AB-1234",
        "AB-1234\n",
        "AB-12345",
    ),
    *(
        "ünïcödé",
        "日本",
        "a\u0301",
        "a\u0000b",
        "\x1c1",
        "a@b.org",
        "ſ@k.COM",
        "\u212a@k.com",
        "ab ",
    ),
    *("2024-02-29", "2023-02-29", "2024-1-5", "2024-01-31T08:30:00Z", "2024-01-31 08:30", "99999"),
    *("2024-01-31T08:30:00.123456789+05:30", "2024-12-31T23:59:60", "1969-12-31T23:59:59.9999999"),
    *("2024-01-31T00:00:00", "10000-01-01", "0000-01-01", "+2024-01-31", "2024-01-31T24:00:00"),
    *(
        "2024-06-01T00:00:00.000001",
        "2024-05-31T22:00:00-02:00",
        "1970-01-01",
        "1.0000000596046448",
    ),
    *("1.000000059604644775390625000000000001", "9" * 400, "-0", "2024-01-31T08:00:00"),
]
VALUES = ["null", "true", "false", "[1]", "{}", "[[]]", *NUMBERS, *map(json.dumps, TEXTS)]


Broken = set[tuple[str | None, str]]
"""Fields and rules."""


def kind(value: str) -> str:
    """What polars makes of a JSON value's column."""
    read = json.loads(value)
    if isinstance(read, int) and not isinstance(read, bool):
        return "Int64" if -(2**63) <= read < 2**63 else "Int128"
    return "nested" if isinstance(read, list | dict) else type(read).__name__


KINDS = {of: [value for value in VALUES if kind(value) == of] for of in map(kind, VALUES)}


def line(row: dict[str, str]) -> str:
    """A row of JSON values as JSON."""
    return "{" + ", ".join(f"{json.dumps(name)}: {value}" for name, value in row.items()) + "}"


def refused(reader: Reader, row: dict[str, str]) -> Broken:
    """What a row is refused for at the door."""
    try:
        reader.read(line(row).encode())
    except Refusal as refusal:
        return {(violation.field, violation.rule) for violation in refusal.violations}
    return set()


def refused_by_validation(
    contract: contracts.Contract, rows: list[dict[str, str]]
) -> tuple[list[Broken], pl.DataFrame]:
    """What rows of one JSON lines file are refused for by validation; and the good ones.

    Of lists and objects ingest takes none.
    """
    nested = [{(n, "dtype") for n, value in row.items() if kind(value) == "nested"} for row in rows]
    lines = [
        line({n: "null" if (n, "dtype") in lost else value for n, value in row.items()})
        for row, lost in zip(rows, nested, strict=True)
    ]
    frame = pl.read_ndjson(io.BytesIO("\n".join(lines).encode()), infer_schema_length=None)
    checked = check(parse(frame.lazy(), labelled=False).rows.collect(), labelled=False)
    names = [column.name for column in contract.columns]
    found = iter(checked.bad["rule"])
    broken: list[Broken] = []
    for kept, lost in zip(checked.kept, nested, strict=True):
        rules: Broken = set()
        for rule in [] if kept else next(found).split("; "):
            column = next((name for name in names if rule.startswith(name + "|")), None)
            if (column, "dtype") not in lost:
                rules.add((column, rule if column is None else rule[len(column) + 1 :]))
        broken.append(rules | lost)
    good = [not rules for rules, kept in zip(broken, checked.kept, strict=True) if kept]
    return broken, checked.good.filter(pl.Series(good, dtype=pl.Boolean))


@pytest.fixture(params=list(SCHEMAS))
def contract(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> contracts.Contract:
    """Each of the schemas in the place of the project's."""
    monkeypatch.setattr(contracts, "schema", lambda: SCHEMAS[request.param])
    return contracts.load()


def files_of(contract: contracts.Contract, reader: Reader) -> Iterator[list[dict[str, str]]]:
    """Rows as they may stand in one file: in each column values of one kind.

    Each column holds every value once; beside it stand values that mostly keep the contract.
    """
    draw = random.Random(5)
    names = [column.name for column in contract.inputs]
    fitting = {
        name: {
            of: [v for v in values if all(name != field for field, _ in refused(reader, {name: v}))]
            for of, values in KINDS.items()
        }
        for name in names
    }
    for name in names:
        for values in KINDS.values():
            chosen = {n: draw.choice([v for v in fitting[n].values() if v]) for n in names}
            yield [{n: v if n == name else draw.choice(chosen[n]) for n in names} for v in values]


def about_others(contract: contracts.Contract, broken: Broken, fields: set[str | None]) -> Broken:
    """The rules that look at none of some fields."""
    columns = {rule.name: set(rule.columns) for rule in contract.rules}
    return {
        (field, rule)
        for field, rule in broken
        if field not in fields and not (field is None and columns[rule] & fields)
    }


def test_rows_are_refused_for_the_rules_that_validation_names(
    contract: contracts.Contract,
) -> None:
    reader = Reader(contract, ROWS)
    taken, frames = [], []
    for rows in files_of(contract, reader):
        expected, good = refused_by_validation(contract, rows)
        for row, rules in zip(rows, expected, strict=True):
            at_the_door = refused(reader, row)
            # Text may stand for a number in a file, and not in a request.
            strict = {field for field, rule in at_the_door if rule == "dtype"}
            assert about_others(contract, at_the_door, strict) == about_others(
                contract, rules, strict
            ), line(row)
        kept = [not refused(reader, row) for row in rows]
        taken += [line(row) for row, its in zip(rows, kept, strict=True) if its]
        good_at_the_door = [its for its, rules in zip(kept, expected, strict=True) if not rules]
        frames.append(good.filter(pl.Series(good_at_the_door, dtype=pl.Boolean)))
    assert len(taken) > 20
    frame = pl.concat(frames)
    many = reader.read(f"[{', '.join(taken)}]".encode())
    assert many.many
    assert many.records == frame.rows()
    assert [reader.read(row.encode()).records[0] for row in taken] == many.records
    arrays = reader.arrays(many.records)
    for name, values in contract.arrays(frame).items():
        assert (arrays[name].dtype, arrays[name].shape) == (values.dtype, values.shape)
        np.testing.assert_array_equal(arrays[name], values)


def test_bounds_at_the_end_of_the_world_do_no_harm() -> None:
    row = schema(
        a=dy.Datetime(min=dt.datetime(9999, 12, 31, 23, 59, 59)),
        b=dy.Date(max=dt.date.min),
        c=dy.Float64(min=3e38),
        d=dy.UInt64(min=2**64 - 1),
        e=dy.Float64(min=-1.7e308, max=-1e38),
        f=dy.Float32(min=3.4e38),
    )
    reader = Reader(contracts.compile_schema(row), Strictness(1))
    row = {"a": "9999-12-31T23:59:59", "b": "0001-01-01", "c": 3e38, "d": 2**64 - 1}
    assert reader.read(json.dumps(row | {"e": -3e38, "f": 3.4e38}).encode()).records
    for name, value in {"a": "9999-12-31", "c": 2e38, "d": 2**64, "e": 0, "f": 3.3e38}.items():
        assert refused(reader, {name: json.dumps(value)}) >= {
            (name, "dtype" if name == "d" else "max" if name == "e" else "min")
        }


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b" ", b"1", b"null", b'"a"', b"true", b"[]", b"[1]", b"[null]", b"[{}, 1]", b"[[]]"),
        *(b"{", b"[{}", b"{}{}", b'{"a": 1,}', b'{"a": NaN}', b'{"a": "\\ud800"}'),
        *(
            b'{"a": "\xff"}',
            b"\xef\xbb\xbf{}",
            b'{"a": "\x00"}',
            b"[" * 100_000,
            b'{"a":' * 100_000,
        ),
        *(
            b'{"x": "\xff"}',
            b'{"x": "\\ud800"}',
            b'{"x": ' + b"[" * 100_000,
            b'{"a": 1' + b"0" * 9999,
        ),
    ],
    ids=lambda body: repr(body[:20]),
)
def test_what_is_no_row_is_malformed(monkeypatch: pytest.MonkeyPatch, body: bytes) -> None:
    monkeypatch.setattr(contracts, "schema", lambda: schema(a=dy.Float64(nullable=True)))
    with pytest.raises(HTTPException, match=r"^400: [^\n]+\.$"):
        Reader(contracts.load(), ROWS).read(body)


def test_no_bytes_lead_anywhere_else(contract: contracts.Contract) -> None:
    reader = Reader(contract, Strictness(3))
    draw = random.Random(6)
    pieces = [
        b'"',
        b"\\",
        b"{",
        b"}",
        b"[",
        b"]",
        b",",
        b"\xff",
        b"\\ud800",
        b"1e999",
        b"-",
        b"\x00",
    ]
    seen = dict.fromkeys(("rows", 400, 413, 422), 0)
    for _ in range(MANY):
        rows = [
            line({c.name: draw.choice(VALUES) for c in contract.inputs if draw.random() < 0.8})
            for _ in range(draw.choice([1, 1, 2, 3, 4]))
        ]
        body = bytearray((rows[0] if len(rows) == 1 else f"[{','.join(rows)}]").encode())
        for _ in range(draw.choice([0, 0, 0, 1, 3])):
            place = draw.randrange(len(body))
            body[place : place + draw.randrange(3)] = draw.choice(pieces)
        try:
            reader.read(bytes(body))
            seen["rows"] += 1
        except HTTPException as refusal:
            seen[refusal.status_code] += 1
        except Refusal as refusal:
            seen[422] += 1
            msgspec.json.decode(msgspec.json.encode(refusal.violations))
    assert min(seen[400], seen[413], seen[422]) > 20, seen


def test_a_refusal_names_a_hundred_violations_of_a_thousand_rows() -> None:
    row = schema(a=dy.Float64(min=0), b=dy.Float64())
    reader = Reader(contracts.compile_schema(row), Strictness(1_000))
    with pytest.raises(Refusal) as refusal:
        reader.read(json.dumps([{"a": 1, "b": 1}, *[{"a": -1, "b": None}] * 999]).encode())
    found = refusal.value.violations
    assert len(found) == 100
    assert refusal.value.rows == 999
    assert refusal.value.counts == {("a", "min"): 999, ("b", "nullability"): 999}
    assert found[0] == Violation(1, "a", "min", -1, "a must be 0 or more.")
    assert found[1] == Violation(1, "b", "nullability", None, "b must not be missing.")
    with pytest.raises(HTTPException, match=r"^413: At most 1,000 rows are taken at once"):
        reader.read(json.dumps([{}] * 1_001).encode())


def test_a_value_is_shown_as_it_came_but_not_at_length() -> None:
    row = schema(a=dy.Int64(), b=dy.Int64(), c=dy.Int64(), d=dy.String(max_length=3))
    reader = Reader(contracts.compile_schema(row), Strictness(1))
    values = {"a": 10**30, "b": [{"x": 2**70}], "c": "y" * 999, "d": "z" * 10**6}
    with pytest.raises(Refusal) as refusal:
        reader.read(json.dumps(values).encode())
    shown = msgspec.json.decode(msgspec.json.encode(refusal.value.violations))
    assert [violation["value"] for violation in shown] == [
        str(10**30),
        [{"x": 2**70}],
        "y" * 200 + "…",
        "z" * 200 + "…",
    ]


def test_keys_may_come_twice_escaped_or_unknown() -> None:
    row = schema(a=dy.Int64(), b=dy.Int64(nullable=True))
    reader = Reader(contracts.compile_schema(row), Strictness(9))
    body = rb' {"z": {"a": [1]}, "\u0061": "x", "a": 7, "b": null, "A": 1} '
    assert reader.read(body) == (False, [(7, None)], {"z", "A"}, 0)
    assert reader.read(b" [" + body + b',{"a": 1}]\n').records == [(7, None), (1, None)]


def test_text_in_place_of_a_number_is_refused_with_a_sentence_that_says_so() -> None:
    row = schema(a=dy.Float64(), b=dy.Bool(), c=dy.Int8(), d=dy.String(), e=dy.Date())
    reader = Reader(contracts.compile_schema(row))
    good = {"a": 1, "b": True, "c": 2.0, "d": "x", "e": "2024-01-31"}
    assert reader.read(json.dumps(good).encode()).records == [
        (1.0, True, 2, "x", dt.date(2024, 1, 31))
    ]
    wrong = {"a": "1", "b": 1, "c": "2", "d": 3, "e": 20240131}
    with pytest.raises(Refusal) as refusal:
        reader.read(json.dumps(wrong).encode())
    assert [(its.rule, its.message) for its in refusal.value.violations] == [
        ("dtype", "a must be a number, and not text."),
        ("dtype", "b must be true or false."),
        ("dtype", "c must be a whole number from -128 to 127, and not text."),
        ("dtype", "d must be text."),
        ("dtype", "e must be a date, such as 2024-01-31."),
    ]


def test_old_spellings_are_read_and_counted_where_types_need_not_be_strict() -> None:
    row = schema(
        a=dy.Float64(nullable=True),
        b=dy.Bool(),
        c=dy.Int8(),
        d=dy.String(),
        e=dy.Date(),
        f=dy.Enum(["s", "m"]),
        g=dy.Enum(["1", "2"], nullable=True),
        h=dy.Datetime(nullable=True),
    )
    reader = Reader(contracts.compile_schema(row), Strictness(9, strict_types=False))
    new = {"a": 1.5, "b": True, "c": 2, "d": "x", "e": "2024-1-31", "f": "s", "g": 2}
    (record,) = reader.read(json.dumps(new | {"h": "2024-1-31 8:30:05.5"}).encode()).records
    day = dt.date(2024, 1, 31)
    assert record[4:] == (day, "s", "2", dt.datetime(2024, 1, 31, 8, 30, 5, 500_000))
    old = {"a": " 1e3", "b": "Yes", "c": "2.0", "d": 1.5, "e": " 2024-01-31", "f": "s "}
    read = reader.read(json.dumps([old, old | {"a": " ", "b": 0, "c": True}]).encode())
    assert [record[:6] for record in read.records] == [
        (1000.0, True, 2, "1.5", day, "s"),
        (None, False, 1, "1.5", day, "s"),
    ]
    assert read.respelt == 12
    for name, value in {"a": "1_0", "b": "maybe", "c": "300", "e": "31.1.2024", "f": "x"}.items():
        assert refused(reader, {n: json.dumps(v) for n, v in (old | {name: value}).items()}) == {
            (name, "dtype")
        }


def test_words_for_missing_mean_missing_in_every_column() -> None:
    row = schema(
        a=dy.Float64(nullable=True),
        b=dy.String(nullable=True),
        c=dy.Enum(["s"], nullable=True),
        d=dy.Int64(),
        e=dy.String(),
    )
    contract = replace(contracts.compile_schema(row), missing=("NA", ""))
    reader = Reader(contract)
    body = json.dumps({"a": "NA", "b": "NA", "c": "", "d": 1, "e": "x"}).encode()
    assert reader.read(body).records == [(None, None, None, 1, "x")]
    for name in ("d", "e"):
        row_ = {"d": "1", "e": '"x"'} | {name: '"NA"'}
        assert refused(reader, row_) == {(name, "nullability")}
    assert fits(reader.schema()["properties"]["a"], "NA")
    assert contracts.words("MISSING", 'import x\nMISSING = ["NA", ""]\n') == ("NA", "")
    assert contracts.words("MISSING", 'MISSING: tuple[str, ...] = ("NA",)') == ("NA",)
    for other in ("", "MISSING = 3", "MISSING = [x]", "MISSING = (", "MISSING: list = []"):
        assert contracts.words("MISSING", other) == ()


@pytest.mark.parametrize("bounds", [{}, {"min": 0}, {"min_exclusive": 0, "max": 1e300}])
@pytest.mark.parametrize("number", ["1e39", "1.7e308", "3.5e38"])
def test_a_number_that_is_infinite_to_the_model_is_refused(
    bounds: dict[str, float], number: str
) -> None:
    row = schema(wide=dy.Float64(**bounds), single=dy.Float32())
    reader = Reader(contracts.compile_schema(row))
    assert reader.read(b'{"wide": 3.4e38, "single": 1}').records == [(3.4e38, 1.0)]
    assert refused(reader, {"wide": number, "single": "1"}) >= {("wide", "inf")}
    assert refused(reader, {"wide": "1", "single": number}) == {("single", "inf")}


def test_a_field_that_may_be_a_slip_is_refused_and_both_names_are_named() -> None:
    row = schema(age=dy.Float64(nullable=True), income=dy.Float64(nullable=True))
    contract = contracts.compile_schema(row)
    body = b'[{"age": 1, "income": 2}, {"Ages": 1, "income": 2, "zip": 3}]'
    with pytest.raises(Refusal) as refusal:
        Reader(contract).read(body)
    said = "Ages is no column, and age is absent; is it age?"
    assert refusal.value.violations == [Violation(1, "age", "unknown_field", "Ages", said)]
    named = Reader(contract).read(b'{"age": 1, "incomes": 3, "income": 2, "zip": 3}')
    assert (named.records, named.unknown) == ([(1.0, 2.0)], {"incomes", "zip"})
    shadow = Reader(contract, Strictness(unknown_fields="ignore"))
    assert shadow.read(body).records == [(1.0, 2.0), (None, 2.0)]
    with pytest.raises(Refusal) as refusal:
        Reader(contract, Strictness(unknown_fields="refuse")).read(b'{"age": 1, "zip": 3}')
    assert refusal.value.violations == [
        Violation(0, None, "unknown_field", "zip", "zip is no column.")
    ]


@pytest.mark.parametrize(
    "envelope",
    [
        '{"data": [{"age": 1}]}',
        '{"features": {"age": 1}}',
        '{"0": {"age": 1}}',
        '{"columns": ["age"], "index": [0], "data": [[1]]}',
        '[{"age": 1}, {"row": {"age": 1}}]',
    ],
)
def test_an_envelope_that_nobody_knows_is_no_row_of_gaps(envelope: str) -> None:
    contract = contracts.compile_schema(schema(age=dy.Float64(nullable=True)))
    with pytest.raises(Refusal) as refusal:
        Reader(contract).read(envelope.encode())
    assert {its.rule for its in refusal.value.violations} == {"unknown_field"}
    assert Reader(contract).read(b"{}").records == [(None,)]


class Counting:
    """A model that counts the rows that it is asked about, and may fail."""

    judge = Model.judge

    def __init__(self, reader: Reader) -> None:
        self.reader = reader
        self.asked: list[Any] = []

    def score(self, records: Records) -> list[Said]:
        self.asked += records
        if (0.0, 7.0) in records:
            raise ValueError("seven")
        return [Said(high) for _, high in records]


def test_a_row_that_breaks_a_rule_across_columns_is_refused_before_the_model_runs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    row = schema(low=dy.Float64(), high=dy.Float64(), ordered=dy.rule()(ordered))
    monkeypatch.setattr(contracts, "schema", lambda: row)
    model: Any = Counting(Reader(contracts.load()))
    good, bad, odd = (0.0, 1.0), (2.0, 1.0), (0.0, 7.0)
    first, second, third = judged(model, [[good, good], [good, bad], [good]])
    assert (first, third) == ([Said(1.0)] * 2, [Said(1.0)])
    assert isinstance(second, Refusal)
    assert second.counts == {(None, "ordered"): 1}
    assert second.violations[0].row == 1
    assert model.asked == [good] * 3
    assert isinstance(judged(model, [[bad]])[0], Refusal)
    failed, kept = judged(model, [[odd], [good]])
    assert (str(failed), kept) == ("seven", [Said(1.0)])


def test_an_early_field_fits_the_description_unless_it_is_refused() -> None:
    contract = contracts.compile_schema(schema(age=dy.Float64()))
    assert "additionalProperties" not in Reader(contract).schema()
    strict = Reader(contract, Strictness(unknown_fields="refuse"))
    assert strict.schema()["additionalProperties"] is False


def test_many_unknown_fields_are_not_all_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[str] = []
    monkeypatch.setattr(requests, "closest", lambda name, **_: compared.append(name) or [])
    row = schema(**{f"column{number}": dy.Float64(nullable=True) for number in range(30)})
    reader = Reader(contracts.compile_schema(row), Strictness(9))
    fields = {f"field{number}": 1 for number in range(5_000)}
    body = json.dumps([{"column0": 1, **fields}] * 3).encode()
    assert len(reader.decode(body).unknown) == 5_000
    assert len(compared) == requests.MOST_COMPARED // 30


def fits(schema: dict[str, Any], value: Any) -> bool:
    """Whether a JSON Schema, of the few words that are used here, takes a value."""
    if "anyOf" in schema:
        return any(fits(its, value) for its in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    whole = isinstance(value, int | float) and not isinstance(value, bool)
    kinds = {
        "string": isinstance(value, str),
        "boolean": isinstance(value, bool),
        "null": value is None,
        "number": whole,
        "integer": whole and value == int(value),
    }
    return kinds[schema["type"]] and all(
        BOUNDS[word](value, schema[word]) for word in BOUNDS.keys() & schema.keys()
    )


BOUNDS: dict[str, Callable[[float, float], bool]] = {
    "minimum": operator.ge,
    "maximum": operator.le,
    "exclusiveMinimum": operator.gt,
    "exclusiveMaximum": operator.lt,
}


def test_no_value_is_good_that_its_schema_refuses(contract: contracts.Contract) -> None:
    reader = Reader(contract)
    described = reader.schema()["properties"]
    assert list(described) == [column.name for column in contract.inputs]
    for name, schema in described.items():
        assert schema["description"].endswith(".")
        for text in VALUES:
            if all(field != name for field, _ in refused(reader, {name: text})):
                assert fits(schema, json.loads(text)), (name, text)
