"""The truth, as callers tell it later: a fact, which is held to the target's type and no more.

A label that the contract does not know is taken too: that there are new ones is what monitoring
has to find out, and what retraining may learn.
"""

from math import isfinite
from typing import Any

from ..contract import Column

LEAST, MOST = -(2**63), 2**63 - 1
"""Between these are the whole numbers that a column can hold."""

SHAPES: dict[str, tuple[str, str]] = {
    "boolean": ("boolean", "The truth must be true or false."),
    "integer": ("integer", "The truth must be a whole number."),
    "label": ("string", "The truth must be a text, the label itself."),
    "number": ("number", "The truth must be a finite number."),
}
"""For each shape of a truth, its type in JSON Schema, and a sentence for who sends another."""


def shape(target: Column) -> str:
    """What a truth looks like: one of `SHAPES`."""
    if target.choices is None:
        return "number"
    if target.kind == "boolean":
        return "boolean"
    return "label" if isinstance(target.choices[0], str) else "integer"


def read(target: Column, told: Any) -> Any:
    """The truth as a value of the target's type; None if it is of another."""
    match shape(target):
        case "boolean":
            return told if isinstance(told, bool) else None
        case "label":
            return told if isinstance(told, str) else None
        case "integer":
            whole = isinstance(told, int) or (isinstance(told, float) and told.is_integer())
            fits = whole and not isinstance(told, bool) and LEAST <= told <= MOST
            return int(told) if fits else None
        case _:
            return _number(told)


def is_unknown(target: Column, truth: Any) -> bool:
    """Whether a truth is a label that the contract does not know."""
    return target.choices is not None and truth not in target.choices


def _number(told: Any) -> int | float | None:
    """A finite number, or None; a whole one that no column can hold is rounded to a float."""
    if isinstance(told, bool) or not isinstance(told, int | float):
        return None
    try:
        number = told if LEAST <= told <= MOST else float(told)
    except OverflowError:  # nor can any float
        return None
    return number if isfinite(number) else None
