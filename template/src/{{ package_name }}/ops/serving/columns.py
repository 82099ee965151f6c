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
    """A value cannot be read as its column's type."""


class Rule(NamedTuple):
    """What a column asks of each value that is there."""

    keeps: Check
    phrase: str
    """What a value must be."""


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
        """Read a JSON value.

        Raises:
            Unread: if it is of another type.
        """
        if self.item:
            if not isinstance(value, list) or self._is_of_wrong_length(value):
                raise Unread
            return [None if each is None else self.item.read(each) for each in value]
        # Writers of JSON that know one type of number put a point into whole ones, too.
        whole = isinstance(value, float) and abs(value) < EXACT
        try:
            taken = msgspec.convert(value, self.json, strict=not whole)
        except msgspec.ValidationError:
            raise Unread from None
        return self.convert(taken) if self.convert else taken

    def culprit(self, rule: str, came: Any) -> int | None:
        """The place of the first item of an array that breaks a rule, or cannot be read."""
        for place, value in enumerate(came if self.item and isinstance(came, list) else ()):
            try:
                if not self._keeps(rule, value):
                    return place
            except Unread:
                return place
        return None

    def _is_of_wrong_length(self, value: list[Any]) -> bool:
        return self.column.dtype == "Array" and len(value) != self.column.width

    def _keeps(self, rule: str, value: Any) -> bool:
        """Whether an item keeps a rule that an array has of each; raises `Unread`."""
        if value is None or self.item is None:
            return rule != INNER + "nullability"
        read, its = self.item.read(value), self.item.rules.get(rule.removeprefix(INNER))
        return not rule.startswith(INNER) or its is None or its.keeps(read)


def reading(column: Column) -> Reading:
    """How the values of a column are read."""
    if column.item:
        single = column.item.dtype == "Float32"  # a few double numbers more are taken so
        return _array(
            column, reading(replace(column.item, dtype="Float64") if single else column.item)
        )
    dtype = dtype_of(column)
    rules = _rules(column, dtype)
    bounds = {
        word: bound
        for word, (_, field, _, _) in BOUNDS.items()
        if _is_number(bound := getattr(column, field))
    }
    convert: Callable[[Any], Any] | None = None
    proven: Collection[str] = ()
    json: Any = {"Bool": bool, "Float64": float, "Float32": int | float}.get(dtype, str)
    bounded = json
    if dtype in INTEGERS:
        least, most = INTEGERS[dtype]
        json = bounded = Annotated[int, Meta(ge=least, le=most) if most <= MOST else Meta(ge=least)]
        if column.choices is not None:
            bounded, proven = Literal[column.choices], ["is_in"]
        elif most > MOST:
            convert = partial(_at_most, most)
        elif all(isinstance(bound, int) for bound in bounds.values()):
            # Of `ge` and `gt` there may be but one, and so of `le` and `lt`.
            low = {} if "gt" in bounds else {"ge": least}
            high = {} if "lt" in bounds else {"le": most}
            bounded, proven = Annotated[int, Meta(**{**low, **high, **bounds})], rules.keys()
    elif dtype == "Enum":
        json = bounded = Literal[column.choices]
    elif column.kind == "time":
        convert = partial(_time, dtype)
    elif dtype == "Float32":
        convert = _single
    elif dtype == "Float64":
        low = {} if "gt" in bounds else {"ge": -LARGEST}
        high = {} if "lt" in bounds else {"le": LARGEST}
        bounded, proven = Annotated[float, Meta(**{**low, **high, **bounds})], set(rules)
        if any(abs(bound) > LARGEST for bound in bounds.values()):
            proven.remove("inf")
    unproven = tuple(rule.keeps for name, rule in rules.items() if name not in proven)
    return Reading(column, _type(column, dtype), json, bounded, convert, rules, unproven)


def _array(column: Column, item: Reading) -> Reading:
    """How arrays are read, given how their items are."""
    least, most = column.min_length or 0, column.width
    rules = {
        f"{INNER}{name}": _of_each(rule.keeps, rule.phrase) for name, rule in item.rules.items()
    }
    held = item.bounded
    if item.column.nullable:
        held |= None
    else:
        rules[INNER + "nullability"] = Rule(lambda items: None not in items, "without null")
    count = str(most)
    if column.dtype == "List":
        rules["min_length"] = Rule(
            lambda items: len(items) >= least, f"at least {least} items long"
        )
        rules["max_length"] = Rule(lambda items: len(items) <= most, f"at most {most} items long")
        count = f"{least} to {most}"
    return Reading(
        column,
        f"a list of {count} items, each {item.phrase}",
        list,
        Annotated[list.__class_getitem__(held), Meta(min_length=least, max_length=most)],
        partial(_converted, item.convert) if item.convert else None,
        rules,
        tuple(_of_each(keeps, "").keeps for keeps in item.unproven),
        item,
    )


def _of_each(keeps: Check, phrase: str) -> Rule:
    """What is asked of each item that is there."""
    return Rule(lambda items: all(it is None or keeps(it) for it in items), f"each {phrase}")


def _converted(convert: Callable[[Any], Any], items: list[Any]) -> list[Any]:
    return [None if item is None else convert(item) for item in items]


def dtype_of(column: Column) -> str:
    """The type of a column's values; that of any whole or any fractional type is the widest."""
    return {"Integer": "Int64", "Float": "Float64"}.get(column.dtype, column.dtype)


def _type(column: Column, dtype: str) -> str:
    """What a value of a column must be to be read."""
    if dtype in INTEGERS:
        return "a whole number from {} to {}".format(*INTEGERS[dtype])
    if dtype == "Enum":
        return f"one of {_listed(column)}"
    if dtype == "Date":
        return "a date, such as 2024-01-31"
    if column.kind == "time":
        return "a date and time, such as 2024-01-31T08:30:00Z"
    return {"number": "a number", "boolean": "true or false"}.get(column.kind, "text")


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
    if (shortest := column.min_length) is not None:
        phrase = f"at least {shortest} bytes long"
        rules["min_length"] = Rule(lambda text: len(text.encode()) >= shortest, phrase)
    if (longest := column.max_length) is not None:
        phrase = f"at most {longest} bytes long"
        rules["max_length"] = Rule(lambda text: len(text.encode()) <= longest, phrase)
    if column.pattern is not None:  # its engine is polars' own
        schema = core_schema.str_schema(pattern=column.pattern, regex_engine="rust-regex")
        matches = SchemaValidator(schema).isinstance_python
        rules["regex"] = Rule(matches, f"text that matches {column.pattern}")
    return rules


def _listed(column: Column) -> str:
    return ", ".join(str(choice) for choice in column.choices or ())


def _bound(bound: Any, dtype: str) -> Any:
    """A bound as a value of its column's type."""
    if isinstance(bound, str):
        moment = datetime.fromisoformat(bound)
        return moment.date() if dtype == "Date" else moment
    return _single(bound) if dtype == "Float32" and bound is not None else bound


def _is_number(bound: Any) -> bool:
    return isinstance(bound, int | float) and math.isfinite(bound)


def _at_most(most: int, value: int) -> int:
    if value > most:
        raise Unread
    return value


def _single(value: float) -> float:
    """A number rounded to single precision, and once; beyond its range it is infinite."""
    if isinstance(value, int) and abs(value) > EXACT and abs(value) <= MOST:
        return float(np.int64(value).astype(np.float32))
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

    Returns:
        A value of the column's type; None for blank text.

    Raises:
        Unread: if it says nothing in this type.
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
