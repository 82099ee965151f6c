"""What a column of the contract takes from a request: a JSON type, and what a value is held to.

JSON types are strict: a number is a number, a boolean a boolean, a time ISO 8601 text.
"""

import ctypes
import math
import operator
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime
from functools import partial
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from pydantic_core import SchemaValidator, core_schema

from ..contract import EXACT, FALSE, LARGEST, TRUE, Column
from ..schema_rules import INNER

Check = Callable[[Any], bool]
"""Whether a value that is there keeps a rule."""

INTEGERS = {f"Int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)}
INTEGERS |= {f"UInt{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)}
"""The least and the greatest value of each type of whole number."""

MOST = 2**63 - 1
"""The greatest bound that msgspec takes."""

TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"([T ]([01][0-9]|2[0-3]):[0-9]{2}(:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:?[0-9]{2})?)?)?"
)
"""The ways of ISO 8601 to write a time that ingest reads too."""

SINGLE_DIGIT = re.compile(r"(?<![0-9.])(?=[0-9](?![0-9]))")
"""Where a zero is missing in a time such as 2024-1-31 8:30."""

NANOSECONDS = datetime(1677, 9, 21, 0, 12, 43, 145225), datetime(2262, 4, 11, 23, 47, 16, 854775)
"""From when to when they can be counted in 64 bits."""


BOUNDS: dict[str, tuple[str, str, Callable[[Any, Any], bool], str]] = {
    "ge": ("min", "minimum", operator.le, "{} or more"),
    "gt": ("min_exclusive", "minimum_exclusive", operator.lt, "more than {}"),
    "le": ("max", "maximum", operator.ge, "{} or less"),
    "lt": ("max_exclusive", "maximum_exclusive", operator.gt, "less than {}"),
}
"""For each bound as msgspec calls it: its rule; its field in a column; what then holds between the
bound and a value; and what is said of it."""


class Unread(Exception):
    """A value cannot be read as its column's type; of an array, the item at `place`."""

    place: int | None = None


class Rule(NamedTuple):
    """What a column asks of each value that is there."""

    keeps: Check
    phrase: str
    """What a value must be, or each item of an array."""
    each: Check | None = None
    """Whether an item of an array keeps it; None if it is one of the whole value."""

    def culprit(self, value: Any) -> int | None:
        """The place of the first item that breaks it; None if it is one of the whole value."""
        if self.each is None:
            return None
        return next(place for place, item in enumerate(value) if not self.each(item))


class Reading(NamedTuple):
    """How the values of one column are read, missing ones aside."""

    column: Column
    phrase: str
    """What a value must be to be read at all."""
    json: Any
    """The type that a JSON value must have."""
    bounded: Any
    """The same with its bounds, as far as the decoder of JSON can hold a value to them."""
    convert: Callable[[Any], Any] | None
    """From such a value to one of the column's type; None if it is one."""
    rules: Mapping[str, Rule]
    """What a value is held to, by the names of the rules."""
    unproven: tuple[Check, ...]
    """Those that a value may break that has the bounded type."""
    item: "Reading | None" = None
    """How each item of an array is read."""

    @property
    def takes_text(self) -> bool:
        """Whether a JSON value of the column is text."""
        return self.column.kind in ("text", "time") or self.column.dtype in ("String", "Enum")

    def read(self, value: Any) -> Any:
        """Read a JSON value; `Unread` if it is of another type."""
        if self.item:
            return self._items(self.item, value)
        # Writers of JSON that know one type of number put a point into whole ones, too.
        whole = isinstance(value, float) and abs(value) < EXACT
        try:
            taken = msgspec.convert(value, self.json, strict=not whole)
        except msgspec.ValidationError:
            raise Unread from None
        return self.convert(taken) if self.convert else taken

    def _items(self, item: "Reading", value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise Unread
        read = []
        for place, each in enumerate(value):
            try:
                read.append(None if each is None else item.read(each))
            except Unread as error:
                error.place = place
                raise
        if self.column.dtype == "Array" and len(read) != self.column.width:
            raise Unread
        return read


def reading(column: Column) -> Reading:
    """How the values of a column are read."""
    if column.item:
        item = column.item
        if item.dtype == "Float32":  # a few double numbers more are taken so
            item = replace(item, dtype="Float64")
        return _array(column, reading(item))
    dtype = dtype_of(column)
    rules = _rules(column, dtype)
    bounds = {
        word: bound
        for word, (_, field, _, _) in BOUNDS.items()
        if _is_number(bound := getattr(column, field))
    }

    def within(least: float, most: float) -> Meta:
        """The bounds; of `ge` and `gt` there may be but one, and so of `le` and `lt`."""
        low = {} if "gt" in bounds else {"ge": least}
        high = {} if "lt" in bounds else {"le": most}
        return Meta(**{**low, **high, **bounds})

    phrase = "text"
    json: Any = str
    bounded: Any = None
    convert: Callable[[Any], Any] | None = None
    proven: Collection[str] = ()
    if dtype in INTEGERS:
        least, most = INTEGERS[dtype]
        phrase = f"a whole number from {least} to {most}"
        json = Annotated[int, Meta(ge=least, le=most) if most <= MOST else Meta(ge=least)]
        if column.choices is not None:
            bounded, proven = Literal[column.choices], ["is_in"]
        elif most > MOST:
            convert = partial(_at_most, most)
        elif all(isinstance(bound, int) for bound in bounds.values()):
            bounded, proven = Annotated[int, within(least, most)], rules.keys()
    elif dtype == "Enum":
        phrase, json = f"one of {_listed(column)}", Literal[column.choices]
    elif dtype == "Bool":
        phrase, json = "true or false", bool
    elif column.kind == "time":
        day, time = "a date, such as 2024-01-31", "a date and time, such as 2024-01-31T08:30:00Z"
        phrase = day if dtype == "Date" else time
        convert = partial(_time, dtype)
    elif dtype == "Float32":
        phrase, json, convert = "a number", int | float, single
    elif dtype == "Float64":
        phrase, json = "a number", float
        bounded, proven = Annotated[float, within(-LARGEST, LARGEST)], set(rules)
        if any(abs(bound) > LARGEST for bound in bounds.values()):
            proven.remove("inf")
    unproven = tuple(rule.keeps for name, rule in rules.items() if name not in proven)
    return Reading(column, phrase, json, bounded or json, convert, rules, unproven)


def _array(column: Column, item: Reading) -> Reading:
    """How arrays are read, given how their items are."""
    least, most = column.min_length or 0, column.width
    rules = {
        INNER + name: _of_each(_lax(its.keeps), its.phrase) for name, its in item.rules.items()
    }
    held = item.bounded
    if item.column.nullable:
        held |= None
    else:
        rules[INNER + "nullability"] = _of_each(lambda it: it is not None, "not null")
    count = str(most)
    if column.dtype == "List":
        rules |= _lengths(column, len, "items")
        count = f"{least} to {most}"
    return Reading(
        column,
        f"a list of {count} items, each {item.phrase}",
        list,
        Annotated[list.__class_getitem__(held), Meta(min_length=least, max_length=most)],
        partial(_converted, item.convert) if item.convert else None,
        rules,
        tuple(_of_each(_lax(keeps), "").keeps for keeps in item.unproven),
        item,
    )


def _lax(keeps: Check) -> Check:
    """The same, and of what is missing nothing is asked."""
    return lambda item: item is None or keeps(item)


def _of_each(each: Check, phrase: str) -> Rule:
    """What is asked of each item."""
    return Rule(lambda items: all(map(each, items)), phrase, each)


def _converted(convert: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return [None if item is None else convert(item) for item in items]


def dtype_of(column: Column) -> str:
    """The type of a column's values; that of any whole or any fractional type is the widest."""
    return {"Integer": "Int64", "Float": "Float64"}.get(column.dtype, column.dtype)


def _rules(column: Column, dtype: str) -> dict[str, Rule]:
    """What a value is held to, by the names of the rules."""
    rules = {
        name: Rule(partial(holds, _bound(bound, dtype)), phrase.format(bound))
        for name, field, holds, phrase in BOUNDS.values()
        if (bound := getattr(column, field)) is not None
    }
    if dtype.startswith("Float"):
        rules["inf"] = Rule(
            lambda number: abs(number) <= LARGEST, f"from -{LARGEST:.3g} to {LARGEST:.3g}"
        )
    elif column.choices is not None and dtype not in ("Bool", "Enum"):
        rules["is_in"] = Rule(frozenset(column.choices).__contains__, f"one of {_listed(column)}")
    rules |= _lengths(column, lambda text: len(text.encode()), "bytes")
    if column.pattern is not None:  # its engine is polars' own
        schema = core_schema.str_schema(pattern=column.pattern, regex_engine="rust-regex")
        matches = SchemaValidator(schema).isinstance_python
        rules["regex"] = Rule(matches, f"text that matches {column.pattern}")
    return rules


def _lengths(column: Column, length: Callable[[Any], int], unit: str) -> dict[str, Rule]:
    """How long a text or a list may be."""
    least, most = column.min_length, column.max_length
    rules = {}
    if least is not None:
        rules["min_length"] = Rule(lambda it: length(it) >= least, f"at least {least} {unit} long")
    if most is not None:
        rules["max_length"] = Rule(lambda it: length(it) <= most, f"at most {most} {unit} long")
    return rules


def _listed(column: Column) -> str:
    return ", ".join(str(choice) for choice in column.choices or ())


def _bound(bound: Any, dtype: str) -> Any:
    """A bound as a value of its column's type."""
    if isinstance(bound, str):
        moment = datetime.fromisoformat(bound)
        return moment.date() if dtype == "Date" else moment
    return single(bound) if dtype == "Float32" and bound is not None else bound


def _is_number(bound: Any) -> bool:
    return isinstance(bound, int | float) and math.isfinite(bound)


def _at_most(most: int, value: int) -> int:
    if value > most:
        raise Unread
    return value


def single(value: float) -> float:
    """A number rounded to single precision, and once; beyond its range it is infinite."""
    if isinstance(value, int) and EXACT < abs(value) < 2**64:
        return float(np.array(value).astype(np.float32))
    return ctypes.c_float(value).value


def _time(dtype: str, text: str) -> date:
    """A date, or a time without zone; one with a zone becomes UTC."""
    if not TIME.fullmatch(text):
        raise Unread
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            moment = moment.astimezone(UTC).replace(tzinfo=None)
    except (ValueError, OverflowError):
        raise Unread from None
    if dtype == "Date":
        if moment.time() != datetime.min.time():
            raise Unread
        return moment.date()
    if dtype == "Datetime[ns]" and not NANOSECONDS[0] <= moment <= NANOSECONDS[1]:
        raise Unread
    if dtype == "Datetime[ms]":
        return moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)
    return moment


def respelt(reading: Reading, value: Any) -> Any:
    """Read a value as releases before 0.5.0 did: text might stand for any, and any for text.

    It is of the column's type, and None for blank text; `Unread` if it says nothing in this type.
    """
    if not isinstance(value, str | int | float):
        raise Unread
    dtype = dtype_of(reading.column)
    if dtype in ("String", "Enum") and not isinstance(value, str):
        value = msgspec.json.encode(value).decode()
    if dtype == "String":
        return value
    if reading.column.kind == "time" and isinstance(value, str):
        value = SINGLE_DIGIT.sub("0", value)
    if isinstance(value, str):
        value = value.strip()
        if value == "" or value.lower() == "nan":
            return None
    word = str(value).lower()
    if reading.json is bool and word in (*TRUE, *FALSE):
        return word in TRUE
    try:
        number = int(value) if isinstance(value, bool) else value
        taken = msgspec.convert(number, reading.json, strict=False)
    except msgspec.ValidationError:
        raise Unread from None
    return reading.convert(taken) if reading.convert else taken
