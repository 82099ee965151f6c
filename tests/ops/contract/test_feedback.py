"""The truth that callers tell: any fact of the target's type."""

from typing import Any

import pytest
from my_model.ops.contract import Column
from my_model.ops.serving import feedback


def target(dtype: str, kind: Any, choices: tuple[Any, ...] | None = None) -> Column:
    """A column to predict."""
    return Column("y", dtype, kind, "target", False, False, choices=choices)


LABEL = target("Enum", "category", ("a", "b"))
INTEGER = target("Int64", "number", (1, 2))
BOOLEAN = target("Bool", "boolean", (False, True))
NUMBER = target("Float64", "number")


@pytest.mark.parametrize(
    ("column", "told", "read", "unknown"),
    [
        (LABEL, "a", "a", False),
        (LABEL, "merged", "merged", True),
        (INTEGER, 2, 2, False),
        (INTEGER, 3.0, 3, True),
        (INTEGER, -(2**63), -(2**63), True),
        (BOOLEAN, False, False, False),
        (NUMBER, 2, 2, False),
        (NUMBER, -1.5, -1.5, False),
        (NUMBER, 2**64, 2.0**64, False),
    ],
)
def test_what_is_of_the_targets_type_is_taken(
    column: Column, told: Any, read: Any, unknown: bool
) -> None:
    found = feedback.truth(column, told)
    assert (found, type(found)) == (read, type(read))
    assert feedback.is_unknown(column, found) is unknown


@pytest.mark.parametrize(
    ("column", "told"),
    [
        *((LABEL, told) for told in (1, 1.5, True, None)),
        *((INTEGER, told) for told in ("1", 1.5, True, None, 2**63, 1e300)),
        *((BOOLEAN, told) for told in ("true", 1, 0.0, None)),
        *((NUMBER, told) for told in ("1", True, None, float("nan"), float("inf"), 10**400)),
    ],
)
def test_what_is_of_another_type_is_not(column: Column, told: Any) -> None:
    assert feedback.truth(column, told) is None
