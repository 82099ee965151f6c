"""From plain data to what a rule says of the values of a row: as a service does it, always."""

import math
import operator
import struct
from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from . import BLANK, DAY, EPOCH, FLOATS, INTEGERS, MICROSECOND, UNITS, Expression
from .patterns import Pattern

Evaluate = Callable[[Sequence[Any]], Any]
"""From the values of a row to what an expression makes of them; None where that is unknown."""


def evaluator(expression: Expression, places: Mapping[str, int]) -> Evaluate:
    """Make a function of a row's values from an expression.

    Args:
        expression: of a `Rule`.
        places: where each column's value stands in a row; one that is absent is missing.
    """
    name, *rest = expression
    if name == "column":
        dtype, column = rest
        return _column(dtype, column, places)
    if name == "value":
        value = _constant(*rest)
        return lambda row: value
    parts = [evaluator(part, places) if isinstance(part, tuple) else part for part in rest]
    return OPERATIONS[name](*parts)


def _column(dtype: str, name: str, places: Mapping[str, int]) -> Evaluate:
    if name not in places:
        return lambda row: None
    place = places[name]
    if dtype != "Date" and dtype not in UNITS:
        return operator.itemgetter(place)

    def ticks(row: Sequence[Any]) -> int | None:
        value = row[place]
        return None if value is None else ticks_of(value, dtype)

    return ticks


def ticks_of(value: date | datetime, dtype: str) -> int:
    """A time as polars counts it: days, or ticks of the unit."""
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND * UNITS[dtype] // 1_000_000
    return value.toordinal() - EPOCH.toordinal()


def _constant(dtype: str, value: Any) -> Any:
    if dtype == "Pattern":
        return Pattern(value)
    if dtype.startswith("List("):
        return tuple(_constant(dtype[len("List(") : -1], item) for item in value)
    return float(value) if dtype in FLOATS and value is not None else value


def _lifted(function: Callable[..., Any]) -> Callable[..., Evaluate]:
    """An operation that is unknown where any operand is."""

    def build(first: Evaluate, *others: Evaluate) -> Evaluate:
        def of_one(row: Sequence[Any]) -> Any:
            value = first(row)
            return None if value is None else function(value)

        if not others:
            return of_one
        (second,) = others

        def of_two(row: Sequence[Any]) -> Any:
            left, right = first(row), second(row)
            return None if left is None or right is None else function(left, right)

        return of_two

    return build


def _typed(make: Callable[[str], Callable[..., Any]]) -> Callable[..., Evaluate]:
    """The same for an operation that depends on a type."""
    return lambda dtype, *operands: _lifted(make(dtype))(*operands)


def _is_nan(value: Any) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _equal(left: Any, right: Any) -> bool:
    """Equality in which not-a-number equals itself."""
    return bool(left == right or (_is_nan(left) and _is_nan(right)))


def _less(left: Any, right: Any) -> bool:
    """Order in which not-a-number comes last."""
    return bool(left < right or (_is_nan(right) and not _is_nan(left)))


def _decided_by(decisive: bool) -> Callable[..., Evaluate]:
    """Kleene's `and`, which one False decides, or his `or`, which one True does."""

    def build(*operands: Evaluate) -> Evaluate:
        def evaluate(row: Sequence[Any]) -> bool | None:
            known: bool | None = not decisive
            for operand in operands:
                value: bool | None = operand(row)
                if value is decisive:
                    return decisive
                if value is None:
                    known = None
            return known

        return evaluate

    return build


def _when(condition: Evaluate, then: Evaluate, otherwise: Evaluate) -> Evaluate:
    return lambda row: then(row) if condition(row) is True else otherwise(row)


def _first(*operands: Evaluate) -> Evaluate:
    def evaluate(row: Sequence[Any]) -> Any:
        return next(
            (value for value in (each(row) for each in operands) if value is not None), None
        )

    return evaluate


def _same(left: Evaluate, right: Evaluate) -> Evaluate:
    def evaluate(row: Sequence[Any]) -> bool:
        one, other = left(row), right(row)
        return one is other if one is None or other is None else _equal(one, other)

    return evaluate


def _other(left: Evaluate, right: Evaluate) -> Evaluate:
    same = _same(left, right)
    return lambda row: not same(row)


def to_float32(value: float) -> float:
    """The nearest single-precision number."""
    try:
        return float(struct.unpack("f", struct.pack("f", value))[0])
    except OverflowError:
        return math.copysign(math.inf, value)


def rounded_integer(value: int, dtype: str) -> float:
    """The floating-point number nearest to a whole one, rounded once."""
    if dtype == "Float64":
        return float(value)
    surplus = max(abs(value).bit_length() - 53, 0)
    kept = abs(value) >> surplus
    # A lost digit is kept as an odd last one, so that rounding to 24 digits goes the right way.
    kept |= kept << surplus != abs(value)
    return to_float32(math.copysign(float(kept << surplus), value))


def _to_float(dtype: str) -> Callable[[Any], float]:
    def convert(value: float) -> float:
        if isinstance(value, int):
            return rounded_integer(value, dtype)
        return to_float32(value) if dtype == "Float32" else value

    return convert


def _fitted(dtype: str) -> Callable[[Any], Any]:
    """What a type makes of a result: whole numbers wrap around, single precision rounds."""
    if dtype == "Float64":
        return lambda value: value
    if dtype == "Float32":
        return to_float32
    low, high = INTEGERS[dtype]
    return lambda value: (value - low) % (high - low + 1) + low


def _arithmetic(function: Callable[[Any, Any], Any]) -> Callable[..., Evaluate]:
    def make(dtype: str) -> Callable[[Any, Any], Any]:
        fit = _fitted(dtype)
        return lambda left, right: fit(function(left, right))

    return _typed(make)


def _divided(left: float, right: float) -> float:
    if right:
        return left / right
    if not left or math.isnan(left):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1, right)


def _divide(dtype: str) -> Callable[[Any, Any], Any]:
    fit = _fitted(dtype)
    return lambda left, right: fit(_divided(float(left), float(right)))


def _floor_divide(dtype: str) -> Callable[[Any, Any], Any]:
    if dtype in INTEGERS:
        fit = _fitted(dtype)
        return lambda left, right: fit(left // right) if right else None
    fit = _fitted(dtype)
    return lambda left, right: _floor(fit(_divided(left, right)))


def _modulo(dtype: str) -> Callable[[Any, Any], Any]:
    fit = _fitted(dtype)
    if dtype in INTEGERS:
        return lambda left, right: fit(left % right) if right else None
    return lambda left, right: fit(left - fit(right * _floor(fit(_divided(left, right)))))


def _floor(value: float) -> float:
    return math.copysign(math.floor(value), value) if math.isfinite(value) else value


def _abs(dtype: str) -> Callable[[Any], Any]:
    fit = _fitted(dtype)
    return lambda value: fit(abs(value))


def _is_in(value: Evaluate, choices: Evaluate) -> Evaluate:
    values = frozenset(choices(()))
    has_nan = any(map(_is_nan, values))

    def evaluate(row: Sequence[Any]) -> bool | None:
        found = value(row)
        return None if found is None else found in values or (has_nan and _is_nan(found))

    return evaluate


def _matches(pattern: Evaluate, text: Evaluate) -> Evaluate:
    return _lifted(pattern(()).found_in)(text)


def _stripped(strip: Callable[[str, str], str]) -> Callable[..., Evaluate]:
    """Takes characters away; white space where none are named."""

    def build(text: Evaluate, characters: Evaluate) -> Evaluate:
        def evaluate(row: Sequence[Any]) -> str | None:
            value, named = text(row), characters(row)
            return None if value is None else strip(value, BLANK if named is None else named)

        return evaluate

    return build


def _slice(text: Evaluate, offset: Evaluate, length: Evaluate) -> Evaluate:
    def evaluate(row: Sequence[Any]) -> str | None:
        value, start, number = text(row), offset(row), length(row)
        if value is None or start is None:
            return None
        start = start if start >= 0 else len(value) + start
        stop = len(value) if number is None else start + number
        return str(value[max(start, 0) : max(stop, 0)])

    return evaluate


def _head(text: str, number: int) -> str:
    return text[:number] if number >= 0 else text[: max(len(text) + number, 0)]


def _tail(text: str, number: int) -> str:
    return text[max(len(text) - number, 0) :] if number >= 0 else text[-number:]


def _extreme(better: Callable[[Any, Any], bool]) -> Callable[..., Evaluate]:
    """The least or the greatest of the values that are known and numbers."""

    def build(*operands: Evaluate) -> Evaluate:
        def evaluate(row: Sequence[Any]) -> Any:
            best = None
            for operand in operands:
                value = operand(row)
                if value is not None and (
                    best is None or _is_nan(best) or (better(value, best) and not _is_nan(value))
                ):
                    best = value
            return best

        return evaluate

    return build


def _part(name: str, dtype: str, operand: Evaluate) -> Evaluate:
    """A part of a time that is counted as its type says."""
    day = 1 if dtype == "Date" else DAY * UNITS[dtype]
    second = 1 if dtype == "Date" else UNITS[dtype]

    def evaluate(row: Sequence[Any]) -> int | None:
        ticks = operand(row)
        if ticks is None:
            return None
        days, rest = divmod(ticks, day)
        seconds = 0 if dtype == "Date" else rest // second
        if name == "date":
            return int(days)
        if name in ("hour", "minute", "second"):
            return int(
                {"hour": seconds // 3600, "minute": seconds // 60 % 60, "second": seconds % 60}[
                    name
                ]
            )
        at, years = _calendar(days)
        if name == "weekday":
            return at.isoweekday()
        if name == "day_of_year":
            return at.timetuple().tm_yday
        if name == "quarter":
            return (at.month + 2) // 3
        return at.year + years if name == "year" else int(getattr(at, name))

    return evaluate


CYCLE, CYCLE_YEARS = 146_097, 400
"""After as many days, or years, the calendar repeats itself, days of the week included."""


def _calendar(days: int) -> tuple[date, int]:
    """The date of a day, and how many years later it is: Python's calendar ends with year 9999."""
    cycles, rest = divmod(days + EPOCH.toordinal() - 1, CYCLE)
    return date.fromordinal(rest + 1), cycles * CYCLE_YEARS


def _truncate(months: int, ticks: int, dtype: str, operand: Evaluate) -> Evaluate:
    """The last step at or before a time."""
    if ticks:
        return _lifted(lambda value: value // ticks * ticks)(operand)
    day = 1 if dtype == "Date" else DAY * UNITS[dtype]

    def truncate(value: int) -> int:
        days = value // day
        at, _ = _calendar(days)
        first = at.replace(month=(at.month - 1) // months * months + 1, day=1)
        return (days - (at - first).days) * day

    return _lifted(truncate)(operand)


def _total(ticks: int, operand: Evaluate) -> Evaluate:
    """Whole units in a duration, towards zero."""
    return _lifted(lambda value: abs(value) // ticks * (1 if value >= 0 else -1))(operand)


def _negate(dtype: str) -> Callable[[Any], Any]:
    fit = _fitted(dtype)
    return lambda value: fit(-value)


def _root(dtype: str) -> Callable[[Any], Any]:
    fit = _fitted(dtype)
    return lambda value: fit(math.sqrt(value)) if value >= 0 else math.nan


def _floored(value: Any) -> Any:
    return value if isinstance(value, int) else _floor(value)


def _ceiled(value: Any) -> Any:
    return value if isinstance(value, int) else -_floor(-value)


def _is_null(operand: Evaluate) -> Evaluate:
    return lambda row: operand(row) is None


def _is_not_null(operand: Evaluate) -> Evaluate:
    return lambda row: operand(row) is not None


OPERATIONS: dict[str, Callable[..., Evaluate]] = {
    "eq": _lifted(_equal),
    "ne": _lifted(lambda left, right: not _equal(left, right)),
    "lt": _lifted(_less),
    "le": _lifted(lambda left, right: not _less(right, left)),
    "gt": _lifted(lambda left, right: _less(right, left)),
    "ge": _lifted(lambda left, right: not _less(left, right)),
    "same": _same,
    "other": _other,
    "and": _decided_by(False),
    "or": _decided_by(True),
    "xor": _lifted(operator.ne),
    "not": _lifted(operator.not_),
    "when": _when,
    "fill_null": _first,
    "coalesce": _first,
    "is_null": _is_null,
    "is_not_null": _is_not_null,
    "is_nan": _lifted(_is_nan),
    "is_not_nan": _lifted(lambda value: not _is_nan(value)),
    "is_finite": _lifted(math.isfinite),
    "is_infinite": _lifted(math.isinf),
    "is_in": _is_in,
    "place": lambda operand, order: _lifted(order(()).index)(operand),
    "to_float": _typed(_to_float),
    "to_integer": _lifted(int),
    "to_ticks": lambda dtype, days: _lifted(lambda value: value * DAY * UNITS[dtype])(days),
    "coarser": lambda ticks, operand: _lifted(lambda value: value // ticks)(operand),
    "concatenate": _lifted(operator.add),
    "add": _arithmetic(operator.add),
    "subtract": _arithmetic(operator.sub),
    "multiply": _arithmetic(operator.mul),
    "divide": _typed(_divide),
    "floor_divide": _typed(_floor_divide),
    "modulo": _typed(_modulo),
    "abs": _typed(_abs),
    "negate": _typed(_negate),
    "sqrt": _typed(_root),
    "floor": _lifted(_floored),
    "ceil": _lifted(_ceiled),
    "max": _extreme(operator.gt),
    "min": _extreme(operator.lt),
    "part": _part,
    "total": _total,
    "truncate": _truncate,
    "matches": _matches,
    "lower": _lifted(str.lower),
    "upper": _lifted(str.upper),
    "strip": _stripped(str.strip),
    "strip_start": _stripped(str.lstrip),
    "strip_end": _stripped(str.rstrip),
    "strip_prefix": _lifted(str.removeprefix),
    "strip_suffix": _lifted(str.removesuffix),
    "slice": _slice,
    "head": _lifted(_head),
    "tail": _lifted(_tail),
    "len_bytes": _lifted(lambda text: len(text.encode())),
    "len_chars": _lifted(len),
    "starts_with": _lifted(str.startswith),
    "ends_with": _lifted(str.endswith),
    "contains": _lifted(lambda text, part: part in text),
}
