"""The contract: what `ml/schema.py` may declare, and what follows from it."""

import json
from datetime import date, datetime
from types import new_class

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from my_model.ops.contract import Contract, compile_schema
from my_model.ops.errors import UserError

TARGET = {"target": True}
NUMBER = dy.Float64()


class Order(dy.Schema):
    """One order: a column of each kind."""

    amount = dy.Float64(alias="amount (€)", min=0, nullable=True)
    pieces = dy.Int16(min_exclusive=0)
    gift = dy.Bool(nullable=True)
    channel = dy.String(nullable=True, regex="^[a-z]+$", metadata={"sensitive": True})
    region = dy.Int64(nullable=True, metadata={"category": True})
    size = dy.Enum(["s", "m", "l"])
    note = dy.String(nullable=True, metadata={"text": True})
    day = dy.Date(nullable=True, min=date(2020, 1, 1))
    placed = dy.Datetime(metadata={"event_time": True})
    number = dy.Int64(metadata={"identifier": True})
    customer = dy.String(metadata={"group": True})
    returned = dy.Bool(metadata=TARGET)


def contract(**columns: dy.Column) -> Contract:
    return compile_schema(
        new_class("Row", (dy.Schema,), exec_body=lambda body: body.update(columns))
    )


def test_each_column_has_a_kind_and_a_role() -> None:
    assert {
        column.name: (column.kind, column.role) for column in compile_schema(Order).columns
    } == {
        "amount (€)": ("number", "feature"),
        "pieces": ("number", "feature"),
        "gift": ("boolean", "feature"),
        "channel": ("category", "feature"),
        "region": ("category", "feature"),
        "size": ("category", "feature"),
        "note": ("text", "feature"),
        "day": ("time", "feature"),
        "placed": ("time", "event_time"),
        "number": ("number", "identifier"),
        "customer": ("category", "group"),
        "returned": ("boolean", "target"),
    }


def test_a_model_sees_features_and_the_event_time_only() -> None:
    order = compile_schema(Order)
    assert [c.name for c in order.columns if c not in order.features] == [
        "number",
        "customer",
        "returned",
    ]
    assert [c.name for c in order.columns if c not in order.inputs] == ["returned"]
    assert order.text == ("note",)


def test_what_a_column_may_hold_is_kept() -> None:
    order = {column.name: column for column in compile_schema(Order).columns}
    assert [name for name, column in order.items() if column.sensitive] == ["channel"]
    assert not order["pieces"].nullable
    assert order["amount (€)"].nullable
    assert (order["amount (€)"].minimum, order["pieces"].minimum_exclusive) == (0, 0)
    assert order["day"].minimum == "2020-01-01"
    assert order["channel"].pattern == "^[a-z]+$"
    assert order["size"].choices == ("s", "m", "l")


@pytest.mark.parametrize(
    ("target", "task", "classes"),
    [
        (dy.Enum(["no", "yes"], metadata=TARGET), "classification", ("no", "yes")),
        (dy.Bool(metadata=TARGET), "classification", ("false", "true")),
        (dy.Int8(is_in=[3, 1], metadata=TARGET), "classification", ("3", "1")),
        (dy.Int8(metadata=TARGET), "regression", ()),
        (dy.Float32(min=0, metadata=TARGET), "regression", ()),
    ],
)
def test_the_target_decides_the_task(
    target: dy.Column, task: str, classes: tuple[str, ...]
) -> None:
    found = contract(feature=NUMBER, target=target)
    assert (found.task, found.classes) == (task, classes)


def test_a_contract_survives_json() -> None:
    order = compile_schema(Order)
    again = Contract.from_dict(json.loads(json.dumps(order.to_dict())))
    assert again == order
    assert again.fingerprint == order.fingerprint


def test_the_fingerprint_changes_with_the_meaning() -> None:
    target = dy.Bool(metadata=TARGET)
    meanings = [dy.Float64(), dy.Float32(), dy.Float64(min=0), dy.Float64(nullable=True)]
    assert len({contract(a=meaning, b=target).fingerprint for meaning in meanings}) == 4
    assert contract(a=NUMBER, b=target).fingerprint == contract(a=NUMBER, b=target).fingerprint


@pytest.mark.parametrize(
    ("columns", "sentence"),
    [
        ({}, "no data yet: run `uv run ops data use FILE --target COLUMN`"),
        ({"a": NUMBER}, "mark the column to predict"),
        ({"a": dy.Bool(metadata=TARGET), "b": dy.Bool(metadata=TARGET)}, "a, b are all target"),
        ({"a": NUMBER, "b": dy.Bool(nullable=True, metadata=TARGET)}, "b may not be nullable"),
        ({"a": NUMBER, "b": dy.String(metadata=TARGET)}, "b must be an Enum, a Bool, a number"),
        ({"a": NUMBER, "b": dy.Enum(["x"], metadata=TARGET)}, "b needs two classes or more"),
        ({"a": NUMBER, "b": dy.Bool(metadata={"targt": True})}, "b has unknown metadata 'targt'"),
        ({"a": dy.Int8(metadata={"text": True})}, "a is marked as text, so make it a String"),
        ({"a": dy.Float64(metadata={"category": True})}, "a is marked as category"),
        (
            {"a": dy.String(metadata={"group": True, "identifier": True})},
            "a is identifier and group",
        ),
        ({"a": dy.Float64(metadata={"event_time": True})}, "a is the event time, so make it"),
        ({"a": dy.Datetime(time_zone="UTC")}, "a is Datetime.*; use Bool"),
        ({"a": dy.List(dy.Int8())}, "a may be of any length"),
        ({"a": dy.Struct({"b": dy.Int8()})}, r"a is Struct.*; use Bool"),
        (
            {"a": dy.String(metadata={"group": True}), "b": dy.Bool(metadata=TARGET)},
            "no column is left",
        ),
    ],
)
def test_a_mistake_is_named_in_a_sentence(columns: dict[str, dy.Column], sentence: str) -> None:
    with pytest.raises(UserError, match=sentence):
        contract(**columns)


def test_columns_become_arrays_with_gaps_of_their_kind() -> None:
    one = {
        "amount (€)": 1.5,
        "pieces": 2,
        "gift": True,
        "channel": "web",
        "region": 7,
        "size": "m",
        "note": "Fast!",
        "day": date(2024, 2, 29),
        "placed": datetime(2024, 3, 1, 12),
        "number": 1,
        "customer": "c",
        "returned": False,
    }
    dtypes = {name: column.dtype for name, column in Order.columns().items()}
    rows = pl.DataFrame([one, dict.fromkeys(one)], schema=dtypes)
    arrays = compile_schema(Order).arrays(rows)
    numbers = {"amount (€)": 1.5, "pieces": 2, "gift": 1}
    texts = {"channel": "web", "region": "7", "size": "m", "note": "Fast!"}
    times = {"day": "2024-02-29", "placed": "2024-03-01T12:00"}
    assert arrays.keys() == numbers.keys() | texts.keys() | times.keys()
    for name, number in numbers.items():
        assert arrays[name].dtype == np.float32
        np.testing.assert_array_equal(arrays[name], [number, np.nan])
    for name, text in texts.items():
        assert arrays[name].tolist() == [text, ""]
    for name, time in times.items():
        assert arrays[name].dtype == "datetime64[us]"
        np.testing.assert_array_equal(arrays[name], np.array([time, "NaT"], "datetime64[us]"))


@pytest.mark.parametrize(
    ("target", "values", "labels"),
    [
        (dy.Enum(["no", "yes"], metadata=TARGET), ["yes", "no"], [1, 0]),
        (dy.Bool(metadata=TARGET), [True, False], [1, 0]),
        (dy.Int8(is_in=[3, 1], metadata=TARGET), [1, 3], [1, 0]),
        (dy.Int8(metadata=TARGET), [5, -5], [5.0, -5.0]),
    ],
)
def test_labels_are_positions_of_classes_or_numbers(
    target: dy.Column, values: list[object], labels: list[float]
) -> None:
    rows = pl.DataFrame({"target": pl.Series(values, dtype=target.dtype)}, strict=False)
    assert contract(feature=NUMBER, target=target).labels(rows).tolist() == labels
