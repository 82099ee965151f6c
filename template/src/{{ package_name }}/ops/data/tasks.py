"""Targets that speak for a task of another kind: a sentence of warning each, or nothing."""

import re
from collections.abc import Mapping
from typing import Any

import polars as pl

from ..wording import shortened

ITEMS = re.compile(
    r"(^|_)(item|product|article|sku|isbn|asin|movie|film|book|song|track|video|restaurant)"
    r"(_(id|code|key|name|no|nr|number))?$|(^|_)id$"
)
DURATIONS = re.compile(
    r"(^|_)(time|duration|tenure|survival|lifetime|follow_?up|t|(day|week|month|year)s?)(_|$)"
)
EVENTS = re.compile(
    r"(^|_)(event|censor|cens|observ|status|arrest|dead|death|die|deceas|churn|fail|failure|"
    r"relapse|e)(ed|d|ing)?(_|$)"
)


def several_labels(counts: Mapping[Any, int]) -> str:
    """Cells that hold labels side by side, such as "a;b": more here, and fewer there."""
    for mark in ";|,":
        cells = [[part.strip() for part in str(value).split(mark)] for value in counts]
        if len({len(cell) for cell in cells}) > 1 and len(set().union(*cells)) < len(cells):
            example = shortened(next(str(value) for value in counts if mark in str(value)), 40)
            return (
                f"several labels in a cell, such as {example!r}? Each combination is a class of "
                "its own; a column of yes and no for each label can be learnt one by one"
            )
    return ""


def item(name: str, counts: Mapping[Any, int]) -> str:
    """A name that says which item it was: its many values come back, or each is but one row's."""
    if not ITEMS.search(name):
        return ""
    if sum(counts.values()) == len(counts):
        return "another value in each row? What only names its row cannot be predicted"
    if sum(counts.values()) < 2 * len(counts):
        return ""
    return (
        "an item that one of many people took? To say what they take next is a recommendation, "
        "and neither a number nor a class to predict: --task recommendation"
    )


def censored(name: str, others: Mapping[str, pl.Series]) -> str:
    """A name that says how long it took, and beside it a flag that tells whether it has ended."""
    for other, values in others.items() if DURATIONS.search(name) else ():
        if EVENTS.search(other) and values.drop_nulls().n_unique() == 2:
            return (
                f"a duration, and {values.name} tells whether it has ended? What goes on takes "
                "longer than the number says: predict whether it ends within a fixed time"
            )
    return ""
