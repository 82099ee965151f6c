"""The rules that a row is held to, as plain data, and what they say of plain values.

`ml/schema.py` states rules as polars expressions. Here each becomes nested tuples of JSON values
that stand in the bundle's manifest, so that a service holds a row to them without polars, with
the same answer to the last bit: polars itself says which types meet in an operation. What has no
faithful translation is kept with the reason why.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Self

Expression = tuple[Any, ...]
"""An operation, then its settings and operands: `("ge", ("column", "Int8", "age"), …)`."""

INTEGERS = {
    f"{sign}{bits}": (0, 2**bits - 1)
    if sign == "UInt"
    else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("Int", "UInt")
    for bits in (8, 16, 32, 64, 128)
}
"""The least and the greatest value of each type of whole number."""

FLOATS = ("Float32", "Float64")
"""The types of number that may have a fraction."""

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
        return cls(**{name: frozen(value) for name, value in values.items()})


def frozen(value: Any) -> Any:
    """Lists, as JSON has them, back to tuples."""
    return tuple(frozen(item) for item in value) if isinstance(value, list | tuple) else value
