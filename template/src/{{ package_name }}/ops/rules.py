"""The rules that a row is held to, as plain data, and what they say of plain values.

`ml/schema.py` states rules as polars expressions. Here each becomes nested tuples of JSON values
that stand in the bundle's manifest, so that a service holds a row to them without polars, with
the same answer to the last bit: polars itself says which types meet in an operation. What has no
faithful translation is kept with the reason why.
"""

import math
import operator
import re
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Self

from .patterns import Pattern, Unsupported, parse

if TYPE_CHECKING:
    import dataframely as dy
    import polars as pl

Expression = tuple[Any, ...]
"""An operation, then its settings and operands: `("ge", ("column", "Int8", "age"), …)`."""

Evaluate = Callable[[Sequence[Any]], Any]
"""From the values of a row to what an expression makes of them; None where that is unknown."""

INTEGERS = {
    f"{sign}{bits}": (0, 2**bits - 1)
    if sign == "UInt"
    else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("Int", "UInt")
    for bits in (8, 16, 32, 64, 128)
}
"""The least and the greatest value of each type of whole number."""

UNITS = {"Datetime[ms]": 1_000, "Datetime": 1_000_000, "Datetime[ns]": 1_000_000_000}
UNITS |= {name.replace("Datetime", "Duration"): ticks for name, ticks in UNITS.items()}
"""How many ticks a second has in each type of time. Dates count days."""

DAY = 86_400
"""Seconds."""

BLANK = "\t\n\v\f\r \x85\xa0\u1680\u2028\u2029\u202f\u205f\u3000" + "".join(
    map(chr, range(0x2000, 0x200B))
)
"""White space as Unicode means it; `str.strip` would take four separators more."""

EPOCH = datetime(1970, 1, 1)
MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True)
class Rule:
    """One rule, by the name under which validation counts the rows that break it."""

    name: str
    column: str | None
    """The column that it belongs to; None for a rule across columns."""
    columns: tuple[str, ...]
    """The columns that it looks at."""
    expression: Expression | None
    """False where a row breaks the rule; None if the rule has no translation."""
    obstacle: str | None = None
    """Why it has none."""
    batch: bool = False
    """Whether it compares rows with each other, and so says nothing about one row."""

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a rule from `dataclasses.asdict`, also after a trip through JSON."""
        return cls(**{name: _frozen(value) for name, value in values.items()})


def _frozen(value: Any) -> Any:
    return tuple(_frozen(item) for item in value) if isinstance(value, list | tuple) else value


# ----------------------------------------------------------------------- from polars expressions


class Untranslatable(Exception):
    """An expression has no faithful translation; says why."""


class ComparesRows(Exception):
    """An expression looks at other rows too."""


def compile_rules(schema: "type[dy.Schema]") -> tuple[Rule, ...]:
    """Translate every rule of a schema: those of its columns, then those across columns."""
    import polars as pl

    declared = schema.columns()
    found: list[tuple[str, str | None, pl.Expr]] = [
        (f"{column}|{name}", column, expression)
        for column in declared
        for name, expression in declared[column].validation_rules(pl.col(column)).items()
    ]
    across = schema._schema_validation_rules()
    found += [(name, None, rule.expr) for name, rule in across.items()]
    dtypes = {name: column.dtype for name, column in declared.items()}
    made = _translations([expression for _, _, expression in found], dtypes)
    rules = [
        Rule(
            name=name,
            column=column,
            columns=tuple(dict.fromkeys(expression.meta.root_names())),
            expression=translation if isinstance(translation, tuple) else None,
            obstacle=str(translation) if isinstance(translation, Untranslatable) else None,
            batch=isinstance(translation, ComparesRows),
        )
        for (name, column, expression), translation in zip(found, made, strict=True)
    ]
    if keys := schema.primary_key():
        rules.append(Rule("primary_key", None, tuple(keys), None, batch=True))
    return tuple(rules)


Translation = Expression | Untranslatable | ComparesRows


def _translations(
    expressions: "Sequence[pl.Expr]", dtypes: "Mapping[str, pl.DataType]"
) -> list[Translation]:
    """Translate expressions over columns of the given types, or say why that cannot be done."""
    try:
        plan = _Plan(expressions, dtypes)
    except Untranslatable as reason:
        if len(expressions) == 1:
            return [reason]
        # What is wrong with one of them spoils a plan for all, which is quicker by far.
        return [made for each in expressions for made in _translations([each], dtypes)]
    return [plan.translation(root) for root in plan.roots]


COMPARES = {
    "Eq": "eq",
    "NotEq": "ne",
    "Lt": "lt",
    "LtEq": "le",
    "Gt": "gt",
    "GtEq": "ge",
    "EqValidity": "same",
    "NotEqValidity": "other",
}
LOGIC = {"And": "and", "LogicalAnd": "and", "Or": "or", "LogicalOr": "or", "Xor": "xor"}
ARITHMETIC = {
    "Plus": "add",
    "Minus": "subtract",
    "Multiply": "multiply",
    "TrueDivide": "divide",
    "FloorDivide": "floor_divide",
    "Modulus": "modulo",
}
PLAIN = {
    "BooleanFunction.IsNull": "is_null",
    "BooleanFunction.IsNotNull": "is_not_null",
    "BooleanFunction.IsNan": "is_nan",
    "BooleanFunction.IsNotNan": "is_not_nan",
    "BooleanFunction.IsFinite": "is_finite",
    "BooleanFunction.IsInfinite": "is_infinite",
    "BooleanFunction.Not": "not",
    "BooleanFunction.AnyHorizontal": "or",
    "BooleanFunction.AllHorizontal": "and",
    "StringFunction.LenBytes": "len_bytes",
    "StringFunction.LenChars": "len_chars",
    "StringFunction.StartsWith": "starts_with",
    "StringFunction.EndsWith": "ends_with",
    "StringFunction.Lowercase": "lower",
    "StringFunction.Uppercase": "upper",
    "StringFunction.StripChars": "strip",
    "StringFunction.StripCharsStart": "strip_start",
    "StringFunction.StripCharsEnd": "strip_end",
    "StringFunction.StripPrefix": "strip_prefix",
    "StringFunction.StripSuffix": "strip_suffix",
    "StringFunction.Slice": "slice",
    "StringFunction.Head": "head",
    "StringFunction.Tail": "tail",
    "fill_null": "fill_null",
    "coalesce": "coalesce",
    "max_horizontal": "max",
    "min_horizontal": "min",
    "floor": "floor",
    "ceil": "ceil",
}
"""Functions that act on values of every type that they take in the same way."""

SIZED = {"abs": "abs", "negate": "negate", "sqrt": "sqrt"}
"""Functions whose result is rounded, or wraps around, as its type says."""

PARTS = {
    "Year": "year",
    "Month": "month",
    "Day": "day",
    "Quarter": "quarter",
    "WeekDay": "weekday",
    "OrdinalDay": "day_of_year",
    "Hour": "hour",
    "Minute": "minute",
    "Second": "second",
    "Date": "date",
}
"""What a time has."""

TOTALS = {
    "TotalDays": DAY,
    "TotalHours": 3_600,
    "TotalMinutes": 60,
    "TotalSeconds": 1,
}
"""Seconds in what a duration is counted in."""


class _Plan:
    """Expressions as polars has resolved them: every type is known, every cast is explicit."""

    def __init__(
        self, expressions: "Sequence[pl.Expr]", dtypes: "Mapping[str, pl.DataType]"
    ) -> None:
        import polars as pl

        named = [expression.alias(str(number)) for number, expression in enumerate(expressions)]
        as_it_is = pl.QueryOptFlags.none()._pyoptflags
        try:
            plan = pl.LazyFrame(schema=dtypes).select(named)._ldf.with_optimizations(as_it_is)
            self._nodes: Any = plan.visit()
        except (pl.exceptions.PolarsError, NotImplementedError) as error:
            raise Untranslatable(str(error).partition("\n")[0]) from error
        select = self._nodes.view_current_node()
        self.roots = [expression.node for expression in select.expr]
        self._nodes.set_node(select.input)

    def translation(self, root: int) -> Translation:
        """Translate one of the roots, or say why that cannot be done."""
        try:
            if self._type(root) != "Boolean":
                raise Untranslatable(f"it yields {self._type(root)} in place of true or false")
            return self._translated(root)
        except (Untranslatable, ComparesRows) as reason:
            return reason
        except RecursionError:
            return Untranslatable("it is nested too deeply")
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            return Untranslatable(f"this release of polars describes it in a new way ({error})")

    def _type(self, node: int) -> str:
        return type_name(self._nodes.get_dtype(node))

    def _translated(self, number: int) -> Expression:
        try:
            node = self._nodes.view_expression(number)
        except NotImplementedError as error:
            raise Untranslatable(f"{error} cannot be looked into") from error
        kind = type(node).__name__
        dtype = self._type(number)
        if kind == "Column":
            return ("column", dtype, node.name)
        if kind == "Literal":
            return ("value", dtype, _plain(node.value, dtype))
        if kind == "Cast":
            return self._cast(node, dtype)
        if kind == "BinaryExpr":
            return self._binary(node, dtype)
        if kind == "Ternary":
            parts = (node.predicate, node.truthy, node.falsy)
            return ("when", *(self._translated(part) for part in parts))
        if kind == "Function":
            return self._function(node, dtype)
        if kind in ("Agg", "Window", "Len", "Filter", "Sort", "SortBy", "Gather", "Slice"):
            raise ComparesRows
        raise Untranslatable(f"{kind} has no counterpart for one row")

    def _cast(self, node: Any, dtype: str) -> Expression:
        given, operand = self._type(node.expr), self._translated(node.expr)
        widens = (
            given in INTEGERS
            and dtype in INTEGERS
            and INTEGERS[dtype][0] <= INTEGERS[given][0]
            and INTEGERS[given][1] <= INTEGERS[dtype][1]
        )
        if given == dtype or widens or (given, dtype) == ("Enum", "String"):
            return operand
        if dtype in FLOATS and (given in INTEGERS or given in FLOATS or given == "Boolean"):
            return ("to_float", dtype, operand)
        if given == "Boolean" and dtype in INTEGERS:
            return ("to_integer", operand)
        if given == "Date" and dtype in ("Datetime", "Datetime[ms]"):
            return ("to_ticks", dtype, operand)
        if given in UNITS and dtype in UNITS and UNITS[given] > UNITS[dtype]:
            return ("coarser", UNITS[given] // UNITS[dtype], operand)
        if given == "Null":
            return ("value", dtype, None)
        raise Untranslatable(f"a cast from {given} to {dtype} may fail")

    def _binary(self, node: Any, dtype: str) -> Expression:
        name = str(node.op).rpartition(".")[2]
        types = self._type(node.left), self._type(node.right)
        left, right = self._translated(node.left), self._translated(node.right)
        if name in COMPARES:
            ordered = name not in ("Eq", "NotEq", "EqValidity", "NotEqValidity")
            if "Enum" in types and ordered:
                left, right = self._places(node, left, right)
            return (COMPARES[name], left, right)
        if name in LOGIC and types == ("Boolean", "Boolean"):
            logic = LOGIC[name]
            # A chain is written flat: it may be longer than Python can nest calls.
            chain = left[1:] if left[0] == logic != "xor" else (left,)
            return (logic, *chain, right)
        if name == "Plus" and types == ("String", "String"):
            return ("concatenate", left, right)
        if name in ARITHMETIC and types[0] == types[1] and types[0] in INTEGERS | FLOATS:
            return (ARITHMETIC[name], dtype, left, right)
        if name in ("Plus", "Minus") and dtype in UNITS and set(types) <= UNITS.keys() | {"Date"}:
            ticks = [
                ("to_ticks", _unit(dtype, "Datetime"), part) if of == "Date" else part
                for part, of in zip((left, right), types, strict=True)
            ]
            if all(of == "Date" or _unit(of, dtype) == dtype for of in types):
                return (ARITHMETIC[name], "Int64", *ticks)
        raise Untranslatable(f"{name} of {types[0]} and {types[1]} has no counterpart")

    def _places(self, node: Any, *operands: Expression) -> Iterator[Expression]:
        """Values of an Enum, or of text beside one, as their places in its order."""
        dtypes = [self._nodes.get_dtype(part) for part in (node.left, node.right)]
        enum = next(dtype for dtype in dtypes if type_name(dtype) == "Enum")
        categories = tuple(enum.categories.to_list())
        for dtype, operand in zip(dtypes, operands, strict=True):
            if type_name(dtype) != "Enum" and operand[-1] not in categories:
                raise Untranslatable(f"{operand[-1]} is none of {', '.join(categories)}")
            yield ("place", operand, ("value", "List(Enum)", categories))

    def _function(self, node: Any, dtype: str) -> Expression:
        name, *settings = node.function_data
        name = str(name)
        types = [self._type(part) for part in node.input]
        family, _, part = name.partition(".")
        if name in ROWS:
            raise ComparesRows
        operands = [self._translated(part) for part in node.input]
        numeric = set(types) <= INTEGERS.keys() | FLOATS.keys()
        match name:
            case "BooleanFunction.Not" if types != ["Boolean"]:
                pass
            case "max_horizontal" | "min_horizontal" | "floor" | "ceil" if not numeric:
                pass
            case _ if name in PLAIN:
                return (PLAIN[name], *operands)
            case _ if name in SIZED and numeric:
                return (SIZED[name], dtype, *operands)
            case "BooleanFunction.IsBetween" if "Enum" not in types:
                value, low, high = operands
                return (
                    "and",
                    ("ge" if settings[0] in ("both", "left") else "gt", value, low),
                    ("le" if settings[0] in ("both", "right") else "lt", value, high),
                )
            case "BooleanFunction.IsIn" if operands[1][0] == "value" and not settings[0]:
                return ("is_in", *operands)
            case "StringFunction.Contains" if settings[0]:
                return ("contains", *operands)
            case "StringFunction.Contains" if operands[1][:2] == ("value", "String"):
                return ("matches", *self._pattern(operands))
            case "TemporalFunction.Truncate" if operands[1][:2] == ("value", "String"):
                return ("truncate", *_step(operands[1][2], types[0]), types[0], operands[0])
            case _ if family == "TemporalFunction" and part in PARTS and types[0] in TIMES:
                return ("part", PARTS[part], types[0], *operands)
            case _ if family == "TemporalFunction" and part in TOTALS and not settings[0]:
                return ("total", TOTALS[part] * UNITS[types[0]], *operands)
        raise Untranslatable(f"{name} of {', '.join(types)} has no counterpart for one row")

    def _pattern(self, operands: list[Expression]) -> Expression:
        try:
            return (("value", "Pattern", parse(operands[1][-1])), operands[0])
        except Unsupported as reason:
            raise Untranslatable(str(reason)) from reason


def _step(every: str, dtype: str) -> tuple[int, int]:
    """A step of `dt.truncate`: months, and otherwise ticks."""
    found = re.fullmatch("([0-9]+)([a-z]+)", every)
    number, unit = (int(found[1]), found[2]) if found else (0, "")
    second = UNITS.get(dtype, 0)
    if number and unit in MONTHS and 12 % (number * MONTHS[unit]) == 0:
        return number * MONTHS[unit], 0
    if number and dtype == "Date" and unit == "d":
        return 0, number
    if number and unit in SECONDS and second:
        return 0, number * SECONDS[unit] * second
    raise Untranslatable(f"a time is not cut to {every} without polars")


SECONDS = {"s": 1, "m": 60, "h": 3_600, "d": DAY}
MONTHS = {"mo": 1, "q": 3, "y": 12}

ROWS = {
    *("shift", "rank", "diff", "pct_change", "cum_sum", "cum_min", "cum_max", "cum_count"),
    *("BooleanFunction.All", "BooleanFunction.Any", "BooleanFunction.IsUnique"),
    *("BooleanFunction.IsDuplicated", "BooleanFunction.IsFirstDistinct"),
    "BooleanFunction.IsLastDistinct",
}
"""Functions that look at other rows too."""

TIMES = ("Date", "Datetime", "Datetime[ms]", "Datetime[ns]")


def _unit(dtype: str, kind: str) -> str:
    """A type of time of another kind, in the same unit."""
    return kind.partition("[")[0] + dtype[len(dtype.partition("[")[0]) :]


FLOATS: dict[str, None] = {"Float32": None, "Float64": None}
"""The types of number that may have a fraction."""


def type_name(dtype: "pl.DataType") -> str:
    """What a polars type is called here."""
    name = type(dtype).__name__
    if name == "List":
        return f"List({type_name(getattr(dtype, 'inner'))})"  # noqa: B009  other types have none
    if name in ("Datetime", "Duration"):
        if getattr(dtype, "time_zone", None):
            raise Untranslatable(f"{dtype} has a time zone")
        unit = getattr(dtype, "time_unit")  # noqa: B009  other types have none
        return name if unit == "us" else f"{name}[{unit}]"
    return name


def _plain(value: Any, dtype: str) -> Any:
    """A literal as JSON has it: times as their number, what is not finite as text."""
    if isinstance(value, list):
        return tuple(_plain(item, dtype[len("List(") : -1]) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    if isinstance(value, datetime):
        return (value - EPOCH) // MICROSECOND * UNITS[dtype] // 1_000_000
    if isinstance(value, date):
        return value.toordinal() - EPOCH.toordinal()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Untranslatable(f"a literal of type {type(value).__name__} has no counterpart")


# ----------------------------------------------------------------------------- over plain values


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


def _and(*operands: Evaluate) -> Evaluate:
    def evaluate(row: Sequence[Any]) -> bool | None:
        known: bool | None = True
        for operand in operands:
            value = operand(row)
            if value is False:
                return False
            if value is None:
                known = None
        return known

    return evaluate


def _or(*operands: Evaluate) -> Evaluate:
    def evaluate(row: Sequence[Any]) -> bool | None:
        known: bool | None = False
        for operand in operands:
            value = operand(row)
            if value is True:
                return True
            if value is None:
                known = None
        return known

    return evaluate


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
    "and": _and,
    "or": _or,
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
