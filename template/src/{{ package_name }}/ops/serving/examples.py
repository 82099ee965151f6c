"""A row to try the model with: one that might have been among those that it learnt from."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..contract import Column
from .rows import Reader, Refusal

DIGITS = 4
"""How many digits of a number are shown."""

WORDS = 5


def example(reader: Reader, columns: tuple[Column, ...], profile: Mapping[str, Any]) -> Any:
    """A row that keeps the contract, made of what is usual in the profile of the training rows.

    Where that breaks a rule, or is nobody's business, the value is one that the contract alone
    suggests. None if no row is found that keeps the contract.
    """
    found = reader.schema().get("examples")
    if not found:
        return None
    row: dict[str, Any] = found[0]
    known = profile.get("columns", {})
    shown = (it for it in columns if it.name in known and not it.sensitive)
    usual = {it.name: _usual(it, known[it.name]) for it in shown}
    usual = {name: value for name, value in usual.items() if value is not None}
    broken = _broken(reader, row | usual)
    if broken:
        usual = {name: value for name, value in usual.items() if name not in broken}
    return row if _broken(reader, row | usual) else row | usual


def _usual(column: Column, known: Mapping[str, Any]) -> Any:
    """The middle of numbers and times, the most frequent of other values; None if unknown."""
    kind, edges, counts = known["kind"], known.get("edges"), known.get("counts")
    if kind == "text":
        return " ".join(list(known["tokens"])[:WORDS])
    if edges:
        middle = float(edges[len(edges) // 2])
        if kind == "time":
            moment = datetime.fromtimestamp(middle, UTC).replace(tzinfo=None)
            return f"{moment:%Y-%m-%d}" if column.dtype == "Date" else moment.isoformat()
        return round(middle) if "Int" in column.dtype else float(f"{middle:.{DIGITS}g}")
    if isinstance(counts, Mapping) and counts:
        label = max(counts, key=lambda name: int(counts[name]))
        if kind == "boolean":
            return label == "true"
        return next((it for it in column.choices or () if str(it) == label), label)
    return None


def _broken(reader: Reader, row: Mapping[str, Any]) -> set[str | None]:
    """The columns of a row that break the contract; None among them for several together."""
    try:
        reader.read(json.dumps(row).encode())
    except Refusal as refusal:
        return {violation.field for violation in refusal.violations}
    return set()
