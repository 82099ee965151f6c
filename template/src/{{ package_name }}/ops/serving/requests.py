"""The rows of a request: decoded, typed, and held to the contract.

msgspec decodes a row into the types, bounds and closed sets of its columns in one pass; patterns
and times come after it. What that does not take is read once more, value by value, to say what is
wrong with it. Rules across columns are for `RowRules`, for many rows at once.
"""

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache, partial
from http import HTTPStatus
from itertools import islice
from operator import itemgetter
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.exceptions import HTTPException

from ..contract import EXACT, Column, Contract, padded
from ..wording import closest
from .columns import Reading, Unread, reading, respelt, single
from .row_rules import BrokenRules, RowRules
from .settings import Strictness

MOST_VIOLATIONS = 100
"""As many violations are listed at most; all rows are looked at all the same."""

LONGEST_SHOWN = 200
"""As many characters of a value are repeated in a refusal at most."""

MOST_COMPARED = 3_000
"""How many unknown fields times columns are compared: it takes some microseconds for each."""

UNKNOWN_FIELD = "unknown_field"
"""The rule that a row breaks by a field that the contract does not know."""

Record = tuple[Any, ...]
"""A float, int, bool, str, datetime or date, or None, for each of the contract's inputs."""

RAW_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
FIELDS = msgspec.json.Decoder(dict[str, Any], float_hook=float)  # 1e400 is infinite
BODIES = msgspec.json.Decoder(list[msgspec.Raw])


class Violation(msgspec.Struct):
    """One value, or one row, that breaks a rule of the contract."""

    row: int
    """The place of the row in the request, from 0."""
    field: str | None
    """The column; None where the rule is about several."""
    rule: str
    value: Any
    """The value as it came; for a rule about several columns, an object of what was read."""
    message: str


class Refusal(Exception):
    """Rows break the contract.

    Attributes:
        violations: what the caller is told, at most `MOST_VIOLATIONS` of them.
        rows: how many rows break it.
        counts: how many of them break which rule of which column.
        kept: the rows that were read, in their places; None for one that breaks the contract.
    """

    def __init__(self, found: Sequence[Violation], records: Sequence[Record] = ()) -> None:
        """Take all that is wrong with the rows, and what was read of them."""
        self.violations = list(found[:MOST_VIOLATIONS])
        super().__init__(f"violations of the contract: {len(self.violations)}")
        broken = {violation.row for violation in found}
        self.rows = len(broken)
        self.kept = [None if n in broken else record for n, record in enumerate(records)]
        self.counts = Counter((violation.field, violation.rule) for violation in found)


class Rows(NamedTuple):
    """Rows that keep what the contract says of their columns."""

    many: bool
    """Whether the request brought a list."""
    records: list[Record]
    unknown: frozenset[str] = frozenset()
    """The fields that the contract does not know."""
    respelt: int = 0
    """How many values came in a spelling of releases before 0.5.0."""


class Reader:
    """Reads rows of one contract."""

    def __init__(self, contract: Contract, strictness: Strictness | None = None) -> None:
        """Prepare for a contract; a UserError if its rules cannot be evaluated here."""
        self._strictness = strictness or Strictness()
        columns = contract.inputs
        self._names = [column.name for column in columns]
        self.known = frozenset(self._names)
        self._missing = frozenset(contract.missing)
        self._readings = [reading(column) for column in columns]
        self._close = lru_cache(1_000)(partial(closest, names=self._names, most=len(self._names)))
        self.row_type = _row_type(
            self._readings, strict=self._strictness.unknown_fields != "ignore"
        )
        self._one = msgspec.json.Decoder(self.row_type)
        self._many = msgspec.json.Decoder(list.__class_getitem__(self.row_type))
        self._lenient = msgspec.json.Decoder(_row_type(self._readings, strict=False))
        self._finish = [
            (place, its)
            for place, its in enumerate(self._readings)
            if its.convert or its.unproven or (self._missing and its.takes_text)
        ]
        self.rules = RowRules.of(contract)
        self.arrays = _Arrays(contract).made

    def read(self, body: bytes) -> Rows:
        """Decode rows, see `decode`, and hold them to the rules across columns, too."""
        rows = self.decode(body)
        for refusal in self.refusals([rows.records]):
            if refusal:
                raise refusal
        return rows

    def decode(self, body: bytes) -> Rows:
        """Decode one row, or a list of rows, and hold them to what their columns say.

        Raises:
            HTTPException: if the body is neither, or the list is empty or too long.
            Refusal: if a row breaks the contract.
        """
        many = body[:1] == b"[" or body.lstrip(b" \t\r\n")[:1] == b"["
        try:
            if not body.isascii():
                body.decode()
            if not many:
                return Rows(False, [self._record(self._one.decode(body))])
            if body.count(b"{") > self._strictness.max_rows:
                count_rows(body, self._strictness.max_rows)
            rows = self._many.decode(body)
            if 0 < len(rows) <= self._strictness.max_rows:
                return Rows(True, [self._record(row) for row in rows])
        except UnicodeDecodeError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The body is not UTF-8.") from None
        except (msgspec.DecodeError, RecursionError, Unread):
            pass
        try:
            return self._one_by_one(body, many)
        except RecursionError:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The body is nested too deeply.") from None
        except msgspec.DecodeError as error:
            said = f"The body is no row and no list of rows: {error}."
            if b"NaN" in body or b"Infinity" in body:
                said += " JSON has no NaN and no Infinity; send null for what is missing."
            raise HTTPException(HTTPStatus.BAD_REQUEST, said) from None

    def _record(self, row: msgspec.Struct) -> Record:
        """The values of a row that the decoder took; raises `Unread` if it breaks a rule."""
        record = msgspec.structs.astuple(row)
        if not self._finish:
            return record
        values = list(record)
        for place, its in self._finish:
            value = values[place]
            if value is None:
                continue
            if its.takes_text and value in self._missing:
                if not its.column.nullable:
                    raise Unread
                values[place] = None
                continue
            if its.convert:
                value = values[place] = its.convert(value)
            for check in its.unproven:
                if not check(value):
                    raise Unread
        return tuple(values)

    def _one_by_one(self, body: bytes, many: bool) -> Rows:
        """Read the rows apart, and say what is wrong with each."""
        if many and len(body) > self._strictness.max_rows:
            count_rows(body, self._strictness.max_rows)
        bodies: Sequence[Any] = BODIES.decode(body) if many else [body]
        if not bodies:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "The list of rows is empty.")
        records: list[Record] = []
        wrong: list[Violation] = []
        unknown: dict[str, Sequence[str]] = {}
        respelt = 0
        for number, row in enumerate(bodies):
            wrong += self._misnamed(number, RAW_FIELDS.decode(row), unknown)
            try:
                records.append(self._record(self._lenient.decode(row)))
            except (msgspec.ValidationError, Unread):
                record, violations, old = self._value_by_value(number, FIELDS.decode(row))
                records.append(record)
                wrong += violations
                respelt += old
        if wrong:
            unread = {(its.row, its.field) for its in wrong if its.rule == "dtype"}
            broken = self.rules.broken(records) if self.rules else None
            found = self._of_rules(records, broken) if broken else []
            wrong += [its for its in found if (its.row, its.field) not in unread]
            raise Refusal(sorted(wrong, key=lambda violation: violation.row), records)
        return Rows(many, records, frozenset(unknown), respelt)

    def _misnamed(
        self, number: int, fields: Mapping[str, Any], unknown: dict[str, Sequence[str]]
    ) -> list[Violation]:
        """Which fields of a row are refused for their names.

        Those that are unknown are noted, with the columns that each may mean.
        """
        how = self._strictness.unknown_fields
        strange = fields.keys() - self.known
        if not strange or how == "ignore":
            return []
        wrong = []
        for name in sorted(strange):
            if name not in unknown:
                few = len(unknown) * len(self._names) < MOST_COMPARED
                unknown[name] = self._close(name) if few else ()
            shown = _shown(name)
            if meant := next((column for column in unknown[name] if column not in fields), None):
                said = f"{shown} is no column, and {meant} is absent; is it {meant}?"
                wrong.append(Violation(number, meant, UNKNOWN_FIELD, shown, said))
            elif how == "refuse" or len(strange) == len(fields):  # an envelope, and no row
                said = f"{shown} is no column."
                wrong.append(Violation(number, None, UNKNOWN_FIELD, shown, said))
        return wrong

    def _value_by_value(
        self, number: int, fields: Mapping[str, Any]
    ) -> tuple[Record, list[Violation], int]:
        """A row, what is wrong with it, and how many of its values are spelt as they once were."""
        values: list[Any] = []
        wrong: list[Violation] = []
        old = 0
        for its in self._readings:
            came, value = fields.get(its.column.name), None
            broken: list[tuple[str, int | None]] = []
            if came is not None and not (isinstance(came, str) and came in self._missing):
                try:
                    value = its.read(came)
                except Unread as error:
                    broken = [("dtype", error.place)]
                    if not self._strictness.strict_types:
                        with suppress(Unread):
                            value = respelt(its, came)
                            broken, old = [], old + 1
            if value is not None:
                rules = its.rules.items()
                broken = [(n, rule.culprit(value)) for n, rule in rules if not rule.keeps(value)]
            elif not broken and not its.column.nullable:
                broken = [("nullability", None)]
            values.append(value)
            wrong += [_violation(number, its, came, *its_broken) for its_broken in broken]
        return tuple(values), wrong, old

    def refusals(self, requests: Sequence[Sequence[Record]]) -> list[Refusal | None]:
        """For each request, what is said of its rows if they break rules across columns.

        The rules are evaluated for all rows at once, which costs least.
        """
        broken = None
        if self.rules:
            broken = self.rules.broken([row for rows in requests for row in rows])
        if broken is None:
            return [None] * len(requests)
        found = iter(broken)
        violations = [self._of_rules(rows, [*islice(found, len(rows))]) for rows in requests]
        pairs = zip(violations, requests, strict=True)
        return [Refusal(its, rows) if its else None for its, rows in pairs]

    def _of_rules(self, records: Sequence[Record], broken: BrokenRules) -> list[Violation]:
        """A violation for each rule that a row breaks."""
        violations = []
        for number, (record, rules) in enumerate(zip(records, broken, strict=True)):
            row = dict(zip(self._names, record, strict=True)) if rules else {}
            for rule in rules:
                seen = {name: _shown(row[name]) for name in rule.columns if name in row}
                said = f"The rule {rule.label} does not hold for {', '.join(seen)}."
                value = seen if rule.column is None else seen.get(rule.column)
                violations.append(Violation(number, rule.column, rule.label, value, said))
        return violations

    def schema(self) -> dict[str, Any]:
        """A JSON Schema (2020-12) of one row, for people and for tools; it refuses no good row.

        `x-` is what the page's form is made of.
        """
        _, components = msgspec.json.schema_components([self.row_type])
        schema: dict[str, Any] = components["Row"]
        if self._strictness.unknown_fields != "refuse":
            schema.pop("additionalProperties", None)
        words = {"enum": sorted(self._missing), "description": "A word for a missing value."}
        for its in self._readings:
            column = its.column
            known = schema["properties"].pop(column.name)
            if self._missing and column.nullable and not its.takes_text:
                known = {"anyOf": [known, words]}
            rules = [
                f"each {rule.phrase}" if rule.each else rule.phrase
                for name, rule in its.rules.items()
                if name != "inf"
            ]
            said = "; ".join([its.phrase, *rules])
            said = f"{said[0].upper()}{said[1:]}{'; or null' if column.nullable else ''}."
            schema["properties"][column.name] = {
                "title": column.name,
                "description": said,
                **known,
                "x-kind": column.kind,
                "x-choices": column.choices or (),
                "x-number": column.dtype.startswith(("Int", "UInt", "Float")),
            }
        return schema


def count_rows(body: bytes, most: int) -> None:
    """Look for a row that is one too many; what is behind it is not decoded.

    Raises:
        HTTPException: if there is one.
        DecodeError: if before it there is something else than an object.
    """
    places = iter(range(most))

    def take_place(_: msgspec.Struct) -> None:
        if next(places, None) is None:
            sentence = f"At most {most:,} rows are taken at once."
            raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)

    row = msgspec.defstruct("AnyRow", [], namespace={"__post_init__": take_place})
    msgspec.json.decode(body, type=list.__class_getitem__(row))


def _violation(number: int, its: Reading, came: Any, broken: str, place: int | None) -> Violation:
    """What is said of a value that breaks a rule of its column; of an array, by one item."""
    column = name = its.column.name
    rule = its.rules.get(broken)
    if its.item and place is not None:
        name, its, came = f"{column}[{place}]", its.item, came[place]
    said = f"must be {rule.phrase if rule else its.phrase}"
    if broken.endswith("nullability"):
        said = "must not be missing"
    elif not rule and isinstance(came, str) and its.column.kind in ("number", "boolean"):
        said += ", and not text"
    return Violation(number, column, broken, _shown(came), f"{name} {said}.")


def _row_type(readings: Sequence[Reading], *, strict: bool) -> type[msgspec.Struct]:
    """A type of row; columns may have names that no attribute can have."""
    names = {f"column_{place}": its.column.name for place, its in enumerate(readings)}
    fields: list[Any] = [
        (name, its.bounded | None, None) if its.column.nullable else (name, its.bounded)
        for name, its in zip(names, readings, strict=True)
    ]
    return msgspec.defstruct(
        "Row", fields, rename=names, forbid_unknown_fields=strict, kw_only=True, gc=False
    )


class _Arrays:
    """Makes arrays of records: numbers all at once, which is quicker by far."""

    def __init__(self, contract: Contract) -> None:
        """Sort the columns by kind."""
        self._names = [column.name for column in contract.features]
        columns = [its for its in enumerate(contract.inputs) if its[1].name in self._names]
        numbers = [its for its in columns if its[1].kind in ("number", "boolean")]
        self._others = [its for its in columns if its not in numbers]
        self._numbers = [column.name for _, column in numbers]
        everything = len(numbers) == len(contract.inputs)
        self._whole = any("Int" in column.dtype for _, column in numbers)
        self._pick = None if everything else picker([place for place, _ in numbers])

    def made(self, records: Sequence[Record]) -> dict[str, NDArray[Any]]:
        """The model's input columns, as `Contract.arrays` makes them of the same rows."""
        made: dict[str, NDArray[Any]] = {}
        if self._numbers:
            rows = [self._pick(record) for record in records] if self._pick else records
            table = np.array(rows, np.float32).reshape(len(records), len(self._numbers))
            matrix = np.ascontiguousarray(table.T)
            if self._whole and (large := np.abs(matrix) >= EXACT).any():
                for place, row in np.argwhere(large).tolist():  # else they are rounded twice
                    matrix[place, row] = single(rows[row][place])
            made.update(zip(self._numbers, matrix, strict=True))
        for place, column in self._others:
            made[column.name] = _array(column, [record[place] for record in records])
        return {name: made[name] for name in self._names} if self._others else made


def _array(column: Column, values: Sequence[Any]) -> NDArray[Any]:
    """The values of a column, or the items of arrays, as `Contract.arrays` makes them."""
    if column.item:
        lists = [value or () for value in values]
        known = _array(column.item, [item for its in lists for item in its])
        return padded(known, np.array([len(its) for its in lists]), column.width)
    if column.kind == "time":
        return np.array(values, "datetime64[us]")
    if column.kind in ("number", "boolean"):
        return np.array(values, np.float32)
    return np.array(["" if value is None else str(value) for value in values], object)


def picker(places: Sequence[int]) -> Callable[[Record], Record]:
    """What takes some of the values of a record."""
    if len(places) > 1:
        return itemgetter(*places)
    return lambda record: tuple(record[place] for place in places)


def _shown(value: Any) -> Any:
    """A value as it came, but no longer than is of use, and as every JSON parser can take it."""
    if isinstance(value, str):
        return value if len(value) <= LONGEST_SHOWN else value[:LONGEST_SHOWN] + "…"
    if isinstance(value, list | dict):  # with numbers of any length in it
        text = json.dumps(value, ensure_ascii=False)
        return msgspec.Raw(text.encode()) if len(text) <= LONGEST_SHOWN else _shown(text)
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        return _shown(str(value))
    return value
