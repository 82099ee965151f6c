"""From the polars expressions of `ml/schema.py` to plain data: as training does it, once."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

from . import DAY, FLOATS, INTEGERS, UNITS, Expression, Rule
from .evaluation import ticks_of
from .patterns import Unsupported, parse

if TYPE_CHECKING:
    import dataframely as dy
    import polars as pl


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
        if name in ARITHMETIC and types[0] == types[1] and types[0] in (*INTEGERS, *FLOATS):
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
        numeric = set(types) <= {*INTEGERS, *FLOATS}
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
    if isinstance(value, date):
        return ticks_of(value, dtype)
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise Untranslatable(f"a literal of type {type(value).__name__} has no counterpart")
