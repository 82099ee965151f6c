"""From the contract's columns to what the model sees, row by row.

Training, bulk scoring and the service all call `features`, so what is written here holds in all
of them. A row must never depend on another one: whatever is learnt from many rows (means,
vocabularies, encodings) belongs into the pipeline in `model.py`.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

Columns = Mapping[str, NDArray[Any]]

WORD = re.compile(r"\w+")


def features(columns: Columns, text: Collection[str] = ()) -> dict[str, NDArray[Any]]:
    """Make the features of some rows.

    Args:
        columns: by name, arrays of shape (rows,): float32 numbers (missing: NaN), strings
            (missing: ""), or datetime64[us] (missing: NaT); of shape (rows, items) where a column
            holds arrays.
        text: the names of the columns that hold free text.

    Returns:
        By name, arrays of the same shapes: float32 numbers and strings. To add a feature, add an
        entry, as in `made["ratio"] = columns["a"] / columns["b"]`.
    """
    made: dict[str, NDArray[Any]] = {}
    for name, values in columns.items():
        if values.dtype.kind == "M":
            made |= date_parts(name, values)
        elif name in text:
            made[name] = words(values)
        else:
            made[name] = values
    return made


def date_parts(name: str, times: NDArray[np.datetime64]) -> dict[str, NDArray[np.float32]]:
    """Split times into numbers with a meaning: how late, and where in the year, week and day."""
    days = times.astype("datetime64[D]")
    parts = {
        "days": (days - np.datetime64("2000-01-01")) / np.timedelta64(1, "D"),
        "month": (times.astype("datetime64[M]").astype(np.int64) % 12) + 1,
        "weekday": (days.astype(np.int64) + 3) % 7,
        "hour": (times - days) / np.timedelta64(1, "h"),
    }
    missing = np.isnat(times)
    return {
        f"{name} {part}": np.where(missing, np.nan, values).astype(np.float32)
        for part, values in parts.items()
    }


def words(texts: NDArray[Any]) -> NDArray[Any]:
    """Lower each text and keep its words, separated by single spaces.

    Done here and not in the vectorizer, so that the exported model needs no locale and no
    regular expressions of its own.
    """
    made = np.empty(len(texts), dtype=object)
    made[:] = [" ".join(WORD.findall(text.lower())) for text in texts]
    return made
