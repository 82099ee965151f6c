"""Rows as a request brings them: decoded, typed, and held to the contract, without a data frame.

A row is read as ingest reads one line of a JSON lines file, and it breaks the rules that
validation says it breaks. Two ways lead there. A typed decoder takes nearly every row in
microseconds; what it does not take goes the exact way, which knows every spelling of a value and
says what is wrong. What the first way takes, the second takes with equal values.
"""

import json
import math
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import cached_property
from itertools import chain, islice, product
from operator import itemgetter
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from ..contract import EXACT, FALSE, TRUE, Column, Contract
from ..errors import UserError
from ..rules import BLANK, FLOATS, INTEGERS, Rule
from ..rules.evaluation import evaluator, rounded_integer, to_float32
from ..rules.patterns import Pattern

MOST_VIOLATIONS = 100
"""As many violations are listed at most; all rows are looked at all the same."""

LONGEST_SHOWN = 200
"""As many characters of a value are repeated in a refusal at most."""

EXAMPLE_CHOICES, EXAMPLE_ATTEMPTS = 8, 2_000
"""How many values of a column, and how many rows of them, are tried for an example."""


class Violation(msgspec.Struct):
    """One value, or one row, that breaks a rule of the contract."""

    row: int
    """The place of the row in the request, from 0."""
    field: str | None
    """The column; None where the rule is about several."""
    rule: str
    value: Any
    """The value as it came; for a rule about several columns, an object of theirs."""
    message: str


class Malformed(Exception):
    """The body is no row and no list of rows; says why in a sentence."""


class TooMany(Exception):
    """There are more rows than are taken at once; says so in a sentence."""


class Refusal(Exception):
    """Rows break the contract.

    Attributes:
        violations: what the caller is told, at most `MOST_VIOLATIONS` of them.
        rows: how many rows break it.
        counts: how many of them break which rule of which column.
    """

    def __init__(self, violations: list[Violation], found: Sequence[Violation] = ()) -> None:
        """Take what is wrong with the rows: what is told of it, and all where that is more."""
        super().__init__(f"{len(violations)} violations of the contract")
        self.violations = violations
        found = found or violations
        self.rows = len({violation.row for violation in found})
        self.counts = Counter((violation.field, violation.rule) for violation in found)


class Rows(NamedTuple):
    """Rows that keep the contract."""

    many: bool
    """Whether the request brought a list."""
    records: list[tuple[Any, ...]]
    """A float, int, bool, str, datetime or date, or None, for each of the contract's inputs."""


class _Unread(Exception):
    """A value cannot be read as its column's type."""


class Reader:
    """Reads rows of one contract."""

    def __init__(self, contract: Contract, most_rows: int) -> None:
        """Compile the contract.

        Args:
            contract: of the bundle that is served.
            most_rows: how many rows a request may bring.

        Raises:
            UserError: if the contract has a rule that cannot be checked without polars.
        """
        if not contract.rules:
            raise UserError(
                "The model was made before services could check its contract; "
                "run `uv run dvc repro --force` and `make train`."
            )
        if rule := next((rule for rule in contract.rules if rule.obstacle), None):
            raise UserError(
                f"No service can hold a row to the rule {rule.name} in ml/schema.py: "
                f"{rule.obstacle}; state it in another way and run `make train`."
            )
        self._contract, self._most_rows = contract, most_rows
        columns = contract.inputs
        self._names = [column.name for column in columns]
        self._places = {name: place for place, name in enumerate(self._names)}
        self._readings = [_reading(column) for column in columns]
        missing_target = f"{contract.target.name}|nullability"
        self._rules = [
            (rule, evaluator(rule.expression, self._places))
            for rule in contract.rules
            if rule.expression is not None and rule.name != missing_target
        ]
        loose = _struct([(column.name, Any, None) for column in columns])
        self._loose = msgspec.json.Decoder(loose)
        self._apart = msgspec.json.Decoder(list[msgspec.Raw])
        quick = _Quick(columns, [rule for rule, _ in self._rules])
        self._one, self._many = quick.decoders()
        self._conversions = [
            (self._places[name], self._readings[self._places[name]]) for name in quick.converted
        ]
        self._checks = [
            evaluate for rule, evaluate in self._rules if rule.name not in quick.implied
        ]
        self._arrays = _Arrays(contract)
        self._sentences = {
            key: sentence for column in columns for key, sentence in _sentences(column).items()
        }

    def read(self, body: bytes) -> Rows:
        """Decode one row, or a list of rows, and hold them to the contract.

        Raises:
            Malformed: if the body is neither, or the list is empty.
            TooMany: if there are more rows than are taken at once.
            Refusal: if a row breaks the contract.
        """
        many = body[:1] == b"[" or body.lstrip(b" \t\r\n")[:1] == b"["
        try:
            if not body.isascii():
                body.decode()
            if not many:
                return Rows(False, [self._record(self._one.decode(body))])
            rows = self._many.decode(body)
            if 0 < len(rows) <= self._most_rows:
                return Rows(True, [self._record(row) for row in rows])
        except UnicodeDecodeError:
            raise Malformed("The body is not UTF-8.") from None
        except (msgspec.DecodeError, RecursionError, _Unread):
            pass
        return Rows(many, self._exact_records(body, many))

    def _record(self, row: msgspec.Struct) -> tuple[Any, ...]:
        """The values of a row that the typed decoder took; raises `_Unread` if it breaks a rule."""
        record = msgspec.structs.astuple(row)
        if self._conversions:
            values = list(record)
            for place, reading in self._conversions:
                if values[place] is not None:
                    values[place] = reading(values[place])
            record = tuple(values)
        for evaluate in self._checks:
            if evaluate(record) is False:
                raise _Unread
        return record

    def _exact_records(self, body: bytes, many: bool) -> list[tuple[Any, ...]]:
        """Read rows in the exact way, and say what is wrong with them."""
        records: list[tuple[Any, ...]] = []
        violations: list[Violation] = []
        try:
            bodies: Sequence[Any] = self._apart.decode(body) if many else [body]
            if not bodies:
                raise Malformed("The list of rows is empty.")
            if len(bodies) > self._most_rows:
                raise TooMany(f"{len(bodies)} rows came; at most {self._most_rows} are taken.")
            for number, one in enumerate(bodies):
                try:
                    records.append(self._record(self._one.decode(one)))
                except (msgspec.DecodeError, _Unread):
                    came = msgspec.structs.astuple(self._loose.decode(one))
                    record, broken = self._exactly(number, came)
                    records.append(record)
                    violations += broken
        except RecursionError:
            raise Malformed("The body is nested too deeply.") from None
        except msgspec.DecodeError as error:
            raise Malformed(f"The body is no row and no list of rows: {error}.") from None
        if violations:
            raise Refusal(violations[:MOST_VIOLATIONS], violations)
        return records

    def _exactly(
        self, number: int, came: tuple[Any, ...]
    ) -> tuple[tuple[Any, ...], list[Violation]]:
        """Read one row in the exact way, and say what is wrong with it."""
        values, unread = [], set()
        for name, reading, value in zip(self._names, self._readings, came, strict=True):
            try:
                values.append(None if value is None else reading(value))
            except _Unread:
                values.append(None)
                unread.add(name)
        record = tuple(values)
        broken = [
            rule
            for rule, evaluate in self._rules
            if rule.column not in unread and evaluate(record) is False
        ]
        if not unread and not broken:
            return record, []
        shown = {name: _shown(value) for name, value in zip(self._names, came, strict=True)}
        violations = [
            Violation(number, name, "dtype", shown[name], self._sentences[name, "dtype"])
            for name in self._names
            if name in unread
        ]
        return record, violations + [self._violation(number, rule, shown) for rule in broken]

    def _violation(self, number: int, rule: Rule, shown: Mapping[str, Any]) -> Violation:
        if rule.column is None:
            value = {name: shown[name] for name in rule.columns if name in shown}
            of = f" for {', '.join(value)}" if value else ""
            return Violation(
                number, None, rule.name, value, f"The rule {rule.name} does not hold{of}."
            )
        name = rule.name[len(rule.column) + 1 :]
        sentence = self._sentences.get((rule.column, name), f"{rule.column} breaks {name}.")
        return Violation(number, rule.column, name, shown.get(rule.column), sentence)

    def arrays(self, records: Sequence[tuple[Any, ...]]) -> dict[str, NDArray[Any]]:
        """The model's input columns as `Contract.arrays` makes them of the same rows."""
        return self._arrays.made(records)

    def schema(self) -> dict[str, Any]:
        """A JSON Schema (2020-12) of one row, for people and for tools; it refuses no good row."""
        columns = self._contract.inputs
        schema: dict[str, Any] = {
            "type": "object",
            "properties": {column.name: described(column) for column in columns},
            "required": [column.name for column in columns if not column.nullable],
        }
        example = self._example
        return schema if example is None else {**schema, "examples": [example]}

    @cached_property
    def _example(self) -> dict[str, Any] | None:
        """A row that keeps the contract, if one is found among a few values of each column."""
        chosen: list[list[Any]] = []
        missing = (None,) * len(self._names)
        for place, column in enumerate(self._contract.inputs):
            good = []
            matching = [
                Pattern(rule.expression[1][2]).shortest()
                for rule, _ in self._rules
                if rule.column == column.name
                and rule.expression
                and rule.expression[0] == "matches"
            ]
            for value in chain(_candidates(column), matching):
                row = (*missing[:place], value, *missing[place + 1 :])
                broken = self._exactly(0, row)[1]
                if all(violation.field != column.name for violation in broken):
                    good.append(value)
            good.sort(key=lambda value: value is None)
            chosen.append(good[:EXAMPLE_CHOICES])
        first = [values[0] if values else None for values in chosen]
        tied = sorted(
            {self._places[n] for rule, _ in self._rules if rule.column is None
             for n in rule.columns if n in self._places}
        )  # fmt: skip
        for values in islice(product(*(chosen[place] for place in tied)), EXAMPLE_ATTEMPTS):
            for place, value in zip(tied, values, strict=True):
                first[place] = value
            if not self._exactly(0, tuple(first))[1]:
                return dict(zip(self._names, first, strict=True))
        return None


def described(column: Column) -> dict[str, Any]:
    """The JSON Schema of what a column takes, its other spellings among it."""
    dtype = _dtype(column)
    allowed: list[str] = ["string", "number", "boolean"]
    if column.kind == "time" or dtype == "Bool":
        allowed = ["string"] if column.kind == "time" else ["boolean", "string", "number"]
    elif dtype in INTEGERS or dtype in FLOATS:
        allowed = ["number", "string", "boolean"]
    if column.nullable:
        allowed.append("null")
    schema: dict[str, Any] = {
        "title": column.name,
        "description": _meaning(column),
        "type": allowed,
    }
    if dtype in INTEGERS or dtype == "Float64":
        # In single precision a number just outside is rounded to its bound.
        bounds = {
            "minimum": column.minimum,
            "maximum": column.maximum,
            "exclusiveMinimum": column.minimum_exclusive,
            "exclusiveMaximum": column.maximum_exclusive,
        }
        schema |= {
            name: bound
            for name, bound in bounds.items()
            if bound is not None and math.isfinite(float(bound))
        }
    if column.choices is not None and column.kind != "boolean":
        schema["examples"] = list(column.choices)
    return schema


def _meaning(column: Column) -> str:
    """What a column takes, in a sentence."""
    dtype = _dtype(column)
    if column.choices is not None and column.kind != "boolean":
        meaning = "One of " + ", ".join(str(choice) for choice in column.choices)
    elif column.kind == "time":
        meaning = "A date" if dtype == "Date" else "A date and time; one with a zone becomes UTC"
    elif dtype in INTEGERS:
        meaning = "A whole number"
    else:
        meaning = {"number": "A number", "boolean": "True or false"}.get(column.kind, "Text")
    if column.pattern is not None:
        meaning += f" that matches {column.pattern}"
    if column.kind == "time":
        bounds = [
            ("from", column.minimum),
            ("after", column.minimum_exclusive),
            ("until", column.maximum),
            ("before", column.maximum_exclusive),
        ]
        meaning += "".join(f", {word} {bound}" for word, bound in bounds if bound is not None)
    return meaning + (", or null." if column.nullable else ".")


def _sentences(column: Column) -> dict[tuple[str, str], str]:
    """What is said of a value that breaks one of the usual rules."""
    name, dtype = column.name, _dtype(column)
    kind = {
        "number": "a number",
        "boolean": "true or false",
        "time": "a date" if dtype == "Date" else "a date and time, such as 2024-01-31T08:30:00Z",
    }.get(column.kind, "text")
    if dtype in INTEGERS:
        low, high = INTEGERS[dtype]
        kind = f"a whole number from {low} to {high}"
    choices = ", ".join(str(choice) for choice in column.choices or ())
    if dtype == "Enum":
        kind = f"one of {choices}"
    rules = {
        "dtype": f"be {kind}",
        "min": f"be {column.minimum} or more",
        "max": f"be {column.maximum} or less",
        "min_exclusive": f"be more than {column.minimum_exclusive}",
        "max_exclusive": f"be less than {column.maximum_exclusive}",
        "is_in": f"be one of {choices}",
        "regex": f"match {column.pattern}",
        "nullability": "not be missing",
        "inf": "be finite",
    }
    return {(name, rule): f"{name} must {what}." for rule, what in rules.items()}


def _candidates(column: Column) -> Iterator[Any]:
    """Values of a column, the most telling first; some may break its rules."""
    if column.choices is not None:
        yield from column.choices
        return
    if column.kind == "time":
        days = [datetime(2024, 1, 31, 8, 30), datetime(2024, 6, 15), datetime(2020, 1, 1)]
        bounds = (
            column.minimum,
            column.minimum_exclusive,
            column.maximum,
            column.maximum_exclusive,
        )
        for bound in bounds:
            if isinstance(bound, str):
                moment = datetime.fromisoformat(bound)
                days.append(moment)
                for step in (DAY, -DAY):
                    with suppress(OverflowError):
                        days.append(moment + step)
        whole = _dtype(column) == "Date"
        yield from (day.date().isoformat() if whole else day.isoformat() for day in days)
    elif column.dtype == "String":
        yield from ("text", "a", "A", "1", "abc", "ABC", "12345", "a@b.org", "text " * 10, "")
    else:
        low, high = (
            next((b for b in bounds if isinstance(b, int | float)), None)
            for bounds in (
                (column.minimum, column.minimum_exclusive),
                (column.maximum, column.maximum_exclusive),
            )
        )
        numbers: list[float] = [1, 10, 100, 0, 0.5, -1, 1000]
        if low is not None and high is not None:
            numbers = [low / 2 + high / 2, low, high, *numbers]
        elif low is not None:
            numbers += [low + 1, low, 2 * low]
        elif high is not None:
            numbers += [high - 1, high, high / 2]
        whole = _dtype(column) in INTEGERS
        finite = [number for number in numbers if math.isfinite(number)]
        yield from (math.floor(number) if whole else number for number in finite)
    if column.nullable:
        yield None


def _shown(value: Any) -> Any:
    """A value as it came, but no longer than is of use, and as every JSON parser can take it."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…"
    if isinstance(value, list | dict):
        text = json.dumps(value, ensure_ascii=False)
        return msgspec.Raw(text.encode()) if len(text) <= LONGEST_SHOWN else _shown(text)
    if isinstance(value, int) and not -LONGEST <= value < LONGEST:
        return _shown(str(value))
    return value


def _struct(fields: Sequence[tuple[Any, ...]]) -> type[msgspec.Struct]:
    """A type of row; columns may have names that no attribute can have."""
    return msgspec.defstruct(
        "Row",
        [(f"column_{place}", *field[1:]) for place, field in enumerate(fields)],
        rename={f"column_{place}": field[0] for place, field in enumerate(fields)},
        kw_only=True,
        gc=False,
    )


BOUNDS = ("ge", "gt", "le", "lt")
LONGEST = 2**63
"""The typed decoder takes bounds below this."""


class _Quick:
    """The typed decoder: a subset of what the exact way takes, with equal values.

    Attributes:
        implied: the names of the rules that every row keeps that it takes.
        converted: the columns that it leaves as they came, for a reading to convert.
    """

    def __init__(self, columns: Sequence[Column], rules: Sequence[Rule]) -> None:
        """Find for each column the narrowest type that its rules allow."""
        self.implied: set[str] = set()
        self.converted: list[str] = []
        self._fields = [
            self._field(column, [rule for rule in rules if rule.column == column.name])
            for column in columns
        ]

    def decoders(self) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
        """Decoders of a row and of a list of rows."""
        row = _struct(self._fields)
        rows: Any = list.__class_getitem__(row)
        return msgspec.json.Decoder(row), msgspec.json.Decoder(rows)

    def _field(self, column: Column, rules: Sequence[Rule]) -> tuple[Any, ...]:
        dtype = _dtype(column)
        bounds: dict[str, Any] = {}
        kind: Any
        if dtype in INTEGERS:
            low, high = INTEGERS[dtype]
            kind, bounds = int, {"ge": max(low, -LONGEST), "le": min(high, LONGEST - 1)}
        elif dtype in FLOATS:
            # A whole number is rounded to single precision from all of its digits.
            kind = float if dtype == "Float64" else int | float
        elif dtype == "Bool":
            kind = bool
        else:
            kind = Literal[column.choices] if dtype == "Enum" else str
        if dtype == "Float32" or column.kind == "time":
            self.converted.append(column.name)
        optional = True
        for rule in rules:
            match rule.expression:
                case ("is_not_null", ("column", _, _)):
                    optional = False
                    if column.kind == "time":  # blank text is a time that is missing
                        continue
                case ("not", ("is_infinite" | "is_nan", ("column", "Float64", _))):
                    pass  # JSON has no such numbers
                case (operation, ("column", "Float64", _), ("value", "Float64", float(limit))) if (
                    operation in BOUNDS and not bounds
                ):
                    bounds[operation] = limit
                case _:
                    continue
            self.implied.add(rule.name)
        if bounds:
            kind = Annotated[kind, msgspec.Meta(**bounds)]
        return (column.name, kind | None, None) if optional else (column.name, kind)


class _Arrays:
    """Makes arrays of records: numbers all at once, which is quicker by far."""

    def __init__(self, contract: Contract) -> None:
        """Sort the columns by kind."""
        kinds = {column.name: column.kind for column in contract.features}
        columns = list(enumerate(contract.inputs))
        numbers = [
            (place, column)
            for place, column in columns
            if kinds.get(column.name) in ("number", "boolean")
        ]
        self._names = [column.name for _, column in columns if column.name in kinds]
        self._numbers = [column.name for _, column in numbers]
        places = [place for place, _ in numbers]
        self._all = len(places) == len(columns)
        self._pick = picker(places)
        self._wide = [
            (row, place)
            for row, (place, column) in enumerate(numbers)
            if _dtype(column) in ("Int64", "UInt64")
        ]
        self._others = [
            (column.name, place, column.kind)
            for place, column in columns
            if kinds.get(column.name, "number") not in ("number", "boolean")
        ]

    def made(self, records: Sequence[tuple[Any, ...]]) -> dict[str, NDArray[Any]]:
        """Arrays of shape (rows,) by the names of the columns."""
        made: dict[str, NDArray[Any]] = {}
        if self._numbers:
            rows = records if self._all else [self._pick(record) for record in records]
            with np.errstate(over="ignore"):
                table = np.array(rows, np.float32).reshape(len(records), len(self._numbers))
            matrix = np.ascontiguousarray(table.T)
            for row, place in self._wide:
                # Beyond this, a whole number would be rounded twice on its way.
                if (np.abs(matrix[row]) >= EXACT).any():
                    matrix[row] = [
                        math.nan
                        if record[place] is None
                        else rounded_integer(record[place], "Float32")
                        for record in records
                    ]
            made.update(zip(self._numbers, matrix, strict=True))
        for name, place, kind in self._others:
            values = [record[place] for record in records]
            if kind == "time":
                made[name] = np.array(values, "datetime64[us]")
            else:
                texts = ["" if value is None else str(value) for value in values]
                made[name] = np.array(texts, object)
        if self._others:
            return {name: made[name] for name in self._names}
        return made


def picker(places: Sequence[int]) -> Callable[[tuple[Any, ...]], tuple[Any, ...]]:
    """What takes some of the values of a record."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda record: tuple(record[place] for place in places)


def _dtype(column: Column) -> str:
    """The type of a column's values; a column of any whole or any fractional type has the widest."""
    return {"Integer": "Int64", "Float": "Float64"}.get(column.dtype, column.dtype)


def _reading(column: Column) -> Callable[[Any], Any]:
    """How a value of a column is read; raises `_Unread` where that cannot be done."""
    dtype = _dtype(column)
    if dtype == "String":
        return _text
    if dtype == "Enum":
        return _category(frozenset(str(choice) for choice in column.choices or ()))
    if dtype == "Bool":
        return _boolean
    if dtype in INTEGERS:
        return _integer(*INTEGERS[dtype])
    if dtype in FLOATS:
        return _float32 if dtype == "Float32" else _float64
    times = {"Date": _day, "Datetime[ms]": _coarse, "Datetime[ns]": _fine}
    return times.get(dtype, _instant)


def _text(value: Any) -> str:
    """A value as text, in the way that polars writes it."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return _written(value)
    raise _Unread


def _written(value: float) -> str:
    text = repr(value)
    digits, _, exponent = text.partition("e-")
    if not exponent:
        return text
    if int(exponent) > 5:
        return f"{digits}e-{int(exponent)}"
    return f"{value:.{int(exponent) + len(digits.replace('-', '').replace('.', '')) - 1}f}"


def _category(choices: frozenset[str]) -> Callable[[Any], str | None]:
    def read(value: Any) -> str | None:
        text = _text(value)
        if text in choices:
            return text
        bare = text.strip(BLANK)
        if bare in choices:
            return bare
        if not bare:
            return None
        raise _Unread

    return read


def _boolean(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    word = _text(value).strip(BLANK).lower()
    if word in TRUE:
        return True
    if word in FALSE:
        return False
    if not word:
        return None
    raise _Unread


WHOLE = re.compile(r"[+-]?[0-9]+")
DECIMAL = re.compile(
    r"[+-]?(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?|inf(?:inity)?|nan)", re.IGNORECASE
)


def _integer(low: int, high: int) -> Callable[[Any], int | None]:
    def whole(value: float) -> int:
        if not (abs(value) <= EXACT and value == math.floor(value)):
            raise _Unread
        return within(int(value))

    def within(value: int) -> int:
        if low <= value <= high:
            return value
        raise _Unread

    def read(value: Any) -> int | None:
        if isinstance(value, int):
            return within(int(value))
        if isinstance(value, float):
            return whole(value)
        bare = _text(value).strip(BLANK)
        if not bare:
            return None
        if WHOLE.fullmatch(bare):
            if bare[0] == "-" and low == 0:
                return whole(float(bare))
            number = _digits(bare)
            return number if low <= number <= high else whole(float(bare))
        return whole(_decimal(bare))

    return read


def _digits(text: str) -> int:
    sign, digits = (text[0], text[1:]) if text[0] in "+-" else ("+", text)
    digits = digits.lstrip("0")
    if len(digits) > 40:
        raise _Unread
    return int(sign + (digits or "0"))


def _decimal(bare: str) -> float:
    if not DECIMAL.fullmatch(bare):
        raise _Unread
    return float(bare)


def _float64(value: Any) -> float | None:
    if isinstance(value, int | float):
        return float(value)
    bare = _text(value).strip(BLANK)
    number = _decimal(bare) if bare else math.nan
    return None if math.isnan(number) else number


def _float32(value: Any) -> float | None:
    if isinstance(value, int):
        return rounded_integer(value, "Float32")
    number = _float64(value)
    if number is None:
        return None
    if isinstance(value, str) and number and math.isfinite(number):
        # Rounded once from the text: an odd last digit stands for those that a double lacks.
        exact, nearest = Decimal(value.strip(BLANK)), Decimal(number)
        if exact != nearest and struct.pack("<d", number)[0] % 2 == 0:
            number = math.nextafter(number, math.inf if exact > nearest else -math.inf)
    return to_float32(number)


_SPACE = f"[{BLANK}]*+"
_PAIR = f"{_SPACE}([0-9]{{1,2}}+)"
_ZONE = f"{_SPACE}(?:[Zz]|([+\\-−])([0-9]{{2}})[:{BLANK}]*+([0-5][0-9])?)"
TIME = re.compile(
    f"{_SPACE}([+-][0-9]++|[0-9]{{1,4}}+)-{_PAIR}-{_PAIR}"
    f"(?:{_PAIR}:{_PAIR}(?::{_PAIR}(?:\\.([0-9]++))?({_ZONE})?)?)?"
)
"""What polars reads in the formats that ingest tries; it takes digits and never gives them back."""


def _instant(value: Any) -> datetime | None:
    """A time, without zone; one with a zone becomes UTC."""
    bare = _text(value).strip(BLANK)
    if not bare:
        return None
    found = TIME.fullmatch(bare.replace("T", " ", 1))
    if not found:
        raise _Unread
    year, month, day, hour, minute, second, fraction, _, sign, hours, minutes = found.groups()
    leap = second == "60"
    try:
        moment = datetime(
            int(year[:6]) if len(year) < 7 else 0,
            int(month),
            int(day),
            int(hour or 0),
            int(minute or 0),
            59 if leap else int(second or 0),
            int((fraction or "0")[:6].ljust(6, "0")),
        )
        if leap:
            moment += timedelta(seconds=1)
        if sign:
            offset = timedelta(hours=int(hours), minutes=int(minutes or 0))
            if offset >= DAY:
                raise _Unread
            moment = moment - offset if sign == "+" else moment + offset
    except (ValueError, OverflowError):
        raise _Unread from None
    return moment


DAY = timedelta(days=1)


def _day(value: Any) -> date | None:
    moment = _instant(value)
    if moment is None:
        return None
    if moment != datetime(moment.year, moment.month, moment.day):
        raise _Unread
    return moment.date()


def _coarse(value: Any) -> datetime | None:
    """A time in whole milliseconds."""
    moment = _instant(value)
    return moment and moment.replace(microsecond=moment.microsecond // 1_000 * 1_000)


FIRST, LAST = datetime(1677, 9, 21, 0, 12, 43, 145225), datetime(2262, 4, 11, 23, 47, 16, 854775)


def _fine(value: Any) -> datetime | None:
    """A time of which nanoseconds can be counted in 64 bits."""
    moment = _instant(value)
    if moment is not None and not FIRST <= moment <= LAST:
        raise _Unread
    return moment
