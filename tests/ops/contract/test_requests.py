"""The door of the service: it takes what validation takes, and refuses what that refuses."""

import io
import json
from contextlib import suppress
from datetime import date
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from my_model.ops import sampling
from my_model.ops.contract import Contract
from my_model.ops.pipeline.parsing import parse
from my_model.ops.pipeline.validate import check as validated
from my_model.ops.serving.requests import Reader, Refusal
from my_model.ops.serving.settings import Strictness
from starlette.exceptions import HTTPException

MOST_ROWS = 5_000

Broken = set[tuple[str | None, str]]
"""Fields and rules."""


@pytest.fixture(scope="module")
def reader(contract: Contract) -> Reader:
    """Reads rows of the project's contract."""
    return Reader(contract, Strictness(MOST_ROWS))


@pytest.fixture(scope="module")
def inputs(rows: pl.DataFrame, contract: Contract) -> pl.DataFrame:
    """Rows that keep the contract, without the target; JSON has no number that is infinite."""
    numbers = [name for name, dtype in rows.schema.items() if dtype.is_float()]
    finite = rows.filter(pl.all_horizontal(True, pl.col(numbers).is_finite().fill_null(True)))
    return finite.head(MOST_ROWS).drop(contract.target.name)


@pytest.fixture(scope="module")
def samples(contract: Contract) -> list[dict[str, Any]]:
    """Rows made from the contract, as a client writes them."""
    return as_json(sampling.sample(20, 11).drop(contract.target.name))


def as_json(rows: pl.DataFrame) -> list[dict[str, Any]]:
    """Rows as a client writes them: times as text."""
    return [
        {
            name: value.isoformat() if isinstance(value, date) else value
            for name, value in row.items()
        }
        for row in rows.to_dicts()
    ]


def refused(reader: Reader, row: dict[str, Any]) -> Broken:
    """What a row is refused for at the door."""
    try:
        reader.read(json.dumps(row).encode())
    except Refusal as refusal:
        return {(violation.field, violation.rule) for violation in refusal.violations}
    return set()


def refused_by_validation(contract: Contract, row: dict[str, Any]) -> Broken:
    """The same, where the row is the only line of a JSON lines file."""
    known = {name: None if value in contract.missing else value for name, value in row.items()}
    frame = pl.read_ndjson(io.BytesIO(json.dumps(known).encode()))
    checked = validated(parse(frame.lazy(), labelled=False).rows.collect(), labelled=False)
    names = [column.name for column in contract.columns]
    broken: Broken = set()
    for rule in checked.counts:
        column = next((name for name in names if rule.startswith(name + "|")), None)
        broken.add((column, rule if column is None else rule[len(column) + 1 :]))
    return broken


VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**80), 2**80),
    st.integers(-300, 300),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.integers().map(str),
    st.floats().map(str),
    st.datetimes().map(str),
    st.dates().map(str),
    st.sampled_from(
        ["", " ", "yes", "F", " 1.0", "2024-01-31T08:30:00Z", "2024-02-30", "10000-01-01"]
    ),
)
"""Values as JSON has them, many of which are wrong in most columns."""


def test_good_rows_are_read_to_the_values_that_training_saw(
    reader: Reader, contract: Contract, inputs: pl.DataFrame
) -> None:
    read = reader.read(json.dumps(as_json(inputs)).encode())
    assert read.many
    assert read.records == inputs.rows()
    made = reader.arrays(read.records)
    for name, values in contract.arrays(inputs).items():
        assert made[name].dtype == values.dtype
        np.testing.assert_array_equal(made[name], values)


def test_a_row_by_itself_is_read_as_among_others(reader: Reader, inputs: pl.DataFrame) -> None:
    rows = as_json(inputs.head(50))
    alone = [reader.read(json.dumps(row).encode()) for row in rows]
    assert not any(read.many for read in alone)
    assert [read.records[0] for read in alone] == inputs.head(50).rows()


@settings(deadline=None, derandomize=True, max_examples=80)
@given(st.data())
def test_rows_are_refused_for_the_rules_that_validation_names(
    reader: Reader, contract: Contract, samples: list[dict[str, Any]], data: st.DataObject
) -> None:
    names = [column.name for column in contract.inputs]
    row = dict(data.draw(st.sampled_from(samples)))
    changed = data.draw(st.lists(st.sampled_from(names), max_size=3, unique=True))
    row |= {name: data.draw(VALUES) for name in changed}
    at_the_door, by_validation = refused(reader, row), refused_by_validation(contract, row)
    # Text may stand for a number in a file, and not in a request.
    strict = {field for field, rule in at_the_door if rule == "dtype"}
    columns = {rule.name: set(rule.columns) for rule in contract.rules}
    for broken in (at_the_door, by_validation):
        for field, rule in list(broken):
            if field in strict or (field is None and columns[rule] & strict):
                broken.remove((field, rule))
    assert at_the_door == by_validation


def test_what_is_missing_is_null_and_what_is_unknown_is_named(
    reader: Reader, contract: Contract, inputs: pl.DataFrame
) -> None:
    row = as_json(inputs.head(1))[0]
    name = contract.inputs[0].name
    absent = {key: value for key, value in row.items() if key != name}
    assert refused(reader, absent) == refused(reader, {**row, name: None})
    unknown = reader.read(json.dumps({**row, "never heard of": {"a": [1]}}).encode())
    assert (unknown.records, unknown.unknown) == (inputs.head(1).rows(), {"never heard of"})
    slip = {**absent, f"{name}s": row[name]}
    assert (name, "unknown_field") in refused(reader, slip)


def test_lists_and_objects_are_no_values(
    reader: Reader, contract: Contract, inputs: pl.DataFrame
) -> None:
    row = as_json(inputs.head(1))[0]
    for column in contract.inputs:
        for value in ([], [1], {}, {"a": None}):
            assert (column.name, "dtype") in refused(reader, {**row, column.name: value})


@settings(deadline=None, derandomize=True)
@given(st.binary(max_size=60))
def test_no_bytes_lead_to_anything_else(reader: Reader, body: bytes) -> None:
    for whole in (body, b"[" + body + b"]", b'{"a": "' + body + b'"}'):
        with suppress(HTTPException, Refusal):
            assert reader.read(whole).records


def test_there_are_limits(reader: Reader) -> None:
    with pytest.raises(HTTPException, match=f"^413: At most {MOST_ROWS:,} rows"):
        reader.read(json.dumps([{}] * (MOST_ROWS + 1)).encode())
    with pytest.raises(HTTPException, match=r"^400: .* empty"):
        reader.read(b"[]")


def test_the_description_of_a_row_names_every_column(reader: Reader, contract: Contract) -> None:
    assert list(reader.schema()["properties"]) == [column.name for column in contract.inputs]


def test_an_example_keeps_the_contract(reader: Reader, contract: Contract) -> None:
    rows = sampling.golden(contract, {})
    assert rows is not None
    assert not refused(reader, sampling.example(rows))
