"""The contract, compiled from `ml/schema.py` into plain data.

Everything that must agree on what a row is (validation, the split, the model's inputs, the
registry, the service) reads it from here. Importing this module costs little: dataframely
and polars are loaded where a frame is at hand anyway.
"""

import ast
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property, lru_cache
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from .errors import UserError
from .schema_rules import Rule, compile_rules, from_manifest

if TYPE_CHECKING:
    import dataframely as dy
    import polars as pl

Kind = Literal["number", "boolean", "category", "text", "time", "array", "item"]
Role = Literal["feature", "target", "event_time", "identifier", "group", "weight"]
Task = Literal["classification", "regression", "recommendation"]
Scalar = str | int | float | bool

ROLES: tuple[Role, ...] = ("target", "event_time", "identifier", "group", "weight")
METADATA = (*ROLES, "category", "text", "sensitive", "item")
TRUE = ("true", "t", "yes", "y", "1", "1.0")
FALSE = ("false", "f", "no", "n", "0", "0.0")
"""How truth values are read that came as text, in lower case."""

EXACT = 2**53  # up to here a float64 holds every whole number
LARGEST = float(np.finfo(np.float32).max)
"""Features and answers are float32: to a model a larger number is infinite."""

FOLD, KEPT, TEXT = "__fold", "__kept", "|text"
"""Columns that the pipeline adds; the last one behind the name of that whose text it keeps."""

SOURCE = Path(__file__).parents[1] / "ml" / "source.py"

NO_DATA = (
    "This project has no data yet: run `uv run ops data use FILE --target COLUMN` "
    "with your CSV, Parquet or JSON lines file."
)


@dataclass(frozen=True)
class Column:
    """What is meant by one column: its type, its role, and the values it may hold."""

    name: str
    dtype: str
    kind: Kind
    role: Role
    nullable: bool
    sensitive: bool
    minimum: Scalar | None = None
    maximum: Scalar | None = None
    minimum_exclusive: Scalar | None = None
    maximum_exclusive: Scalar | None = None
    choices: tuple[Scalar, ...] | None = None
    pattern: str | None = None
    min_length: int | None = None
    max_length: int | None = None
    """How long a text may be, in bytes; or how many items an array has at most."""
    item: "Column | None" = None
    """What each item of an array is."""

    @property
    def width(self) -> int:
        """How many values a model gets of it: an array is unfolded into as many columns."""
        return self.max_length or 0 if self.item else 1


@dataclass(frozen=True)
class Contract:
    """All columns, in the schema's order."""

    columns: tuple[Column, ...]
    rules: tuple[Rule, ...] = ()
    """What a row is held to, beyond what its columns say."""
    missing: tuple[str, ...] = ()
    """Words that mean a missing value in every column."""

    @cached_property
    def target(self) -> Column:
        """The column that is predicted."""
        return next(column for column in self.columns if column.role == "target")

    @cached_property
    def inputs(self) -> tuple[Column, ...]:
        """What a row to be scored must bring: every column but the target and the weight."""
        return tuple(column for column in self.columns if column.role not in ("target", "weight"))

    @cached_property
    def features(self) -> tuple[Column, ...]:
        """What the model may learn from: identifiers and groups are left out."""
        return tuple(c for c in self.columns if c.role in ("feature", "event_time"))

    @cached_property
    def text(self) -> tuple[str, ...]:
        """The names of the columns that hold free text."""
        return tuple(column.name for column in self.features if column.kind == "text")

    @cached_property
    def task(self) -> Task:
        """Classification if the target is a closed set; of an open one, items are recommended."""
        if self.target.kind == "item":
            return "recommendation"
        return "classification" if self.target.choices is not None else "regression"

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The labels of a classification, in the order of the model's probabilities."""
        return tuple(label(choice) for choice in self.target.choices or ())

    def named(self, answers: NDArray[Any]) -> NDArray[Any]:
        """Answers by name: classes by their labels; items and numbers are what they are."""
        return np.array(self.classes, object)[answers] if self.classes else answers

    @cached_property
    def fingerprint(self) -> str:
        """Sixteen hexadecimal digits that change when what is meant by a row does."""
        return hashlib.sha256(json.dumps(self.to_dict()).encode()).hexdigest()[:16]

    def with_role(self, role: Role) -> Column | None:
        """The first column with `role`, if there is one."""
        return next((column for column in self.columns if column.role == role), None)

    def to_dict(self) -> dict[str, Any]:
        """The contract as JSON-able data."""
        values = asdict(self)
        for column in values["columns"]:
            if column["item"] is None:  # no fingerprint has it but of an array
                del column["item"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """The inverse of `to_dict`; reads what every release wrote."""
        return cls(
            msgspec.convert(values["columns"], tuple[Column, ...]),
            from_manifest(values.get("rules")),
            tuple(values.get("missing", ())),
        )

    def arrays(self, frame: "pl.DataFrame") -> dict[str, NDArray[Any]]:
        """The model's input columns as arrays of shape (rows,), as `ml.features` takes them.

        Numbers and booleans become float32 (missing: NaN), categories and text become strings
        (missing: the empty string), times become datetime64[us] (missing: NaT). An array column
        becomes one of shape (rows, items): what a row lacks is missing, at its end.
        """
        return {column.name: _array(column, frame[column.name]) for column in self.features}

    def labels(self, frame: "pl.DataFrame") -> NDArray[Any]:
        """The target, shape (rows,): int64 positions in `classes`, float64 numbers, or items."""
        import polars as pl

        values = frame[self.target.name]
        if self.task == "regression":
            return values.cast(pl.Float64).to_numpy()
        if self.task == "recommendation":
            return values.to_numpy().astype(str)
        choices = self.target.choices or ()
        dtype = pl.String if self.target.dtype == "Enum" else values.dtype
        order = pl.Series(choices, dtype=dtype)
        return values.cast(dtype).replace_strict(order, range(len(choices))).to_numpy()

    def weights(self, frame: "pl.DataFrame") -> NDArray[np.float64]:
        """How much each row counts; 1 where nothing is said of it."""
        column = self.with_role("weight")
        if column is None:
            return np.ones(len(frame))
        return frame[column.name].cast(float).fill_null(1.0).to_numpy()


def schema() -> "type[dy.Schema]":
    """The schema of a row, as `ml/schema.py` declares it; a UserError if that is not Python."""
    try:
        from ..ml.schema import Row
    except SyntaxError as error:
        raise UserError(f"ml/schema.py, line {error.lineno}: {error.msg}; mend it.") from error

    return Row


def load() -> Contract:
    """Compile `ml/schema.py`, with the words that `ml/source.py` takes for missing.

    A UserError if the schema is empty, or declares what the pipeline cannot honour.
    """
    return replace(compile_schema(schema()), missing=words("MISSING", SOURCE.read_text("utf-8")))


def words(constant: str, source: str) -> tuple[str, ...]:
    """The words of a constant in the text of an `ml/source.py`.

    MISSING are those that mean a missing value, REQUIRED the columns that every row needs. It is
    read, not run: what it imports may take seconds.
    """
    with suppress(SyntaxError, ValueError, TypeError):  # ingest says what is wrong with it
        for node in ast.parse(source).body:
            match node:
                case (
                    ast.Assign(targets=[ast.Name(id=name)], value=value)
                    | ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                ) if name == constant:
                    told = ast.literal_eval(value)
                    words = [told] if isinstance(told, str) else told
                    return tuple(word for word in words if isinstance(word, str))
    return ()


@lru_cache(maxsize=8)
def compile_schema(schema: "type[dy.Schema]") -> Contract:
    """Compile a dataframely schema; see `load`."""
    declared = schema.columns()
    if not declared:
        raise UserError(NO_DATA)
    columns = tuple(_column(name, column) for name, column in declared.items())
    own = {FOLD, KEPT, *(name + TEXT for name in declared)}
    own |= {name for column in columns if column.item for name in items(column.name, column.width)}
    if taken := [name for name in declared if name in own]:
        raise UserError(f"ml/schema.py: the pipeline itself has a column {taken[0]}; rename yours.")
    for role in ROLES:
        names = [column.name for column in columns if column.role == role]
        if len(names) > 1 and role in ("target", "event_time", "group", "weight"):
            raise UserError(f"ml/schema.py: {', '.join(names)} are all {role}; keep one.")
        if not names and role == "target":
            raise UserError(
                'ml/schema.py: mark the column to predict with metadata={"target": True}.'
            )
    contract = Contract(columns, compile_rules(schema))
    if not contract.features:
        raise UserError("ml/schema.py: no column is left to learn from; declare a feature.")
    _check_target(contract.target)
    return contract


def _column(name: str, column: "dy.Column") -> Column:
    metadata = column.metadata or {}
    for key in metadata:
        if key not in METADATA:
            raise UserError(
                f"ml/schema.py: {name} has unknown metadata {key!r}; use {', '.join(METADATA)}."
            )
    marked = {key for key, value in metadata.items() if value}
    roles = [role for role in ROLES if role in marked]
    if len(roles) > 1:
        raise UserError(f"ml/schema.py: {name} is {' and '.join(roles)}; keep one.")
    kind, choices = _kind(name, column, marked)
    if "item" in marked and (roles != ["target"] or kind != "item"):
        raise UserError(
            f"ml/schema.py: {name} is marked as item, which is for a target that is a String."
        )
    if "event_time" in roles and kind != "time":
        raise UserError(f"ml/schema.py: {name} is the event time, so make it a Date or Datetime.")
    if "weight" in roles and kind != "number":
        raise UserError(f"ml/schema.py: {name} is the weight of a row, so make it a number.")
    if kind == "array" and roles:
        raise UserError(f"ml/schema.py: {name} is {roles[0]}, and an array can be but a feature.")
    lengths = getattr(column, "min_length", None), getattr(column, "max_length", None)
    if type(column).__name__ == "Array":
        lengths = getattr(column, "shape") * 2  # noqa: B009  absent on other types
    return Column(
        name=name,
        dtype=_dtype(column),
        kind=kind,
        role=roles[0] if roles else "feature",
        nullable=column.nullable,
        sensitive="sensitive" in marked,
        minimum=_bound(column, "min"),
        maximum=_bound(column, "max"),
        minimum_exclusive=_bound(column, "min_exclusive"),
        maximum_exclusive=_bound(column, "max_exclusive"),
        choices=choices,
        pattern=getattr(column, "regex", None),
        min_length=lengths[0],
        max_length=lengths[1],
        item=_item(name, column) if kind == "array" else None,
    )


def _item(name: str, column: "dy.Column") -> Column:
    """What is meant by each item of an array, of which the number must be bounded."""
    shape, longest = getattr(column, "shape", (0,)), getattr(column, "max_length", None)
    if len(shape) > 1:
        raise UserError(
            f"ml/schema.py: {name} has {len(shape)} dimensions; declare one of {prod(shape)} items "
            "(an image row by row), and let ml/source.py flatten it."
        )
    if not (shape[0] or longest):
        raise UserError(
            f"ml/schema.py: {name} may be of any length; say how many items it has at most, as in "
            "max_length=50."
        )
    item = _column(f"{name}[]", getattr(column, "inner"))  # noqa: B009  absent on other types
    if item.kind not in ("number", "boolean", "category") or item.role != "feature":
        raise UserError(
            f"ml/schema.py: {name} holds {item.dtype} as {item.kind}; an array holds numbers, "
            "truth values or categories."
        )
    return item


def _kind(
    name: str, column: "dy.Column", marked: set[str]
) -> tuple[Kind, tuple[Scalar, ...] | None]:
    """What sort of values a column holds, and which ones if they are a closed set."""
    dtype = column.dtype
    type_name = type(column).__name__
    if "text" in marked and type_name != "String":
        raise UserError(f"ml/schema.py: {name} is marked as text, so make it a String.")
    if "category" in marked and not (dtype.is_integer() or type_name in ("String", "Enum")):
        raise UserError(f"ml/schema.py: {name} is marked as category; make it String or Int64.")
    if type_name in ("Array", "List"):
        return "array", None
    allowed = getattr(column, "is_in", None)
    choices = None if allowed is None else tuple(allowed)
    if type_name == "Bool":
        return "boolean", (False, True)
    if type_name == "Enum":
        return "category", tuple(getattr(column, "categories"))  # noqa: B009  absent on other types
    if type_name == "String":
        kinds: tuple[Kind, ...] = ("text", "item")
        return next((kind for kind in kinds if kind in marked), "category"), choices
    if dtype.is_integer():
        return "category" if "category" in marked else "number", choices
    if dtype.is_float():
        return "number", choices
    if type_name == "Date" or (type_name == "Datetime" and not getattr(dtype, "time_zone", None)):
        return "time", choices
    raise UserError(
        f"ml/schema.py: {name} is {dtype}; use Bool, an integer, a float, String, Enum, Date, "
        "a Datetime without time zone, or an Array or List of such values."
    )


def _check_target(target: Column) -> None:
    if target.nullable:
        raise UserError(f"ml/schema.py: the target {target.name} may not be nullable.")
    closed = target.choices is not None and not target.dtype.startswith("Float")
    if not closed and target.kind not in ("number", "item"):
        raise UserError(
            f"ml/schema.py: the target {target.name} must be an Enum, a Bool, a number, an integer "
            'with is_in=[...], or a String that is marked with "item": True.'
        )
    if target.choices is not None and len(target.choices) < 2:
        raise UserError(f"ml/schema.py: the target {target.name} needs two classes or more.")


def _dtype(column: "dy.Column") -> str:
    """The name of a column's type, with the unit of time where it is not the usual one."""
    unit = getattr(column, "time_unit", "us")
    return type(column).__name__ + ("" if unit == "us" else f"[{unit}]")


def _bound(column: "dy.Column", name: str) -> Scalar | None:
    value = getattr(column, name, None)
    return value if value is None or isinstance(value, int | float | str) else value.isoformat()


def label(choice: Scalar) -> str:
    """The name of a class."""
    return str(choice).lower() if isinstance(choice, bool) else str(choice)


def _array(column: Column, values: "pl.Series") -> NDArray[Any]:
    import polars as pl

    if column.item:
        lists = values.arr.to_list() if isinstance(values.dtype, pl.Array) else values
        lists = lists.list.head(column.width)
        known = _array(column.item, lists.drop_nulls().explode(empty_as_null=False))
        lengths = lists.list.len().fill_null(0).to_numpy()
        return padded(known, lengths, column.width)
    if column.kind in ("number", "boolean"):
        return values.cast(pl.Float32).to_numpy().astype(np.float32, copy=False)
    if column.kind == "time":
        return values.cast(pl.Datetime("us")).to_numpy().astype("datetime64[us]", copy=False)
    return values.cast(pl.String).fill_null("").to_numpy().astype(object, copy=False)


def padded(known: NDArray[Any], lengths: NDArray[Any], width: int) -> NDArray[Any]:
    """The items of all rows, one after the other, as (rows, items): what a row lacks is missing."""
    made = np.full((len(lengths), width), np.nan if known.dtype.kind == "f" else "", known.dtype)
    made[np.arange(width) < lengths[:, None]] = known
    return made


def items(name: str, width: int) -> list[str]:
    """How the items of an array are called where each is a column of its own."""
    return [f"{name}[{place}]" for place in range(width)]


def unfolded(features: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Features as models take them, each of shape (rows,): of an array every item by itself."""
    made: dict[str, NDArray[Any]] = {}
    for name, values in features.items():
        if values.ndim == 1:
            made[name] = values
        else:
            made.update(zip(items(name, values.shape[1]), values.T, strict=True))
    return made


def kinds(
    features: Mapping[str, NDArray[Any]], text: Iterable[str]
) -> dict[str, Literal["number", "category", "text"]]:
    """Say of each array that `ml.features` returned how a model must treat it."""
    names = set(text)
    return {
        name: "number" if values.dtype.kind == "f" else "text" if name in names else "category"
        for name, values in features.items()
    }
