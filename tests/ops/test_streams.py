"""The streams that limits and tests are set by: each is what its name says."""

from __future__ import annotations

import numpy as np
import pytest
from streams import CHANGES, CLASSES, KINDS, NUMBERS, Rows, draw


def apart(rows: Rows) -> float:
    """How much of the variance of temperatures lies between parts of 500 rows."""
    warm = rows.columns["temperature"].reshape(-1, 500)
    return float(warm.mean(axis=1).var() / warm.var())


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_is_what_it_is_called(kind: str) -> None:
    stream = draw(kind, None, 3)
    again = draw(kind, "column permuted", 3)
    assert (len(stream.learnt), len(stream.windows), sum(stream.changed)) == (15_000, 12, 0)
    assert np.array_equal(stream.learnt.columns["minutes"], again.learnt.columns["minutes"])
    assert (np.diff(stream.learnt.time) > np.timedelta64(0)).all()
    assert (apart(stream.learnt) < 0.01) == (kind == "independent")
    right = (stream.learnt.late > 0.5) == (stream.learnt.truth == CLASSES[0])
    assert 0.7 < right.mean() < 0.95


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_one_and_begins_where_it_should(change: str) -> None:
    calm, stream = draw("seasonal", None, 5), draw("seasonal", change, 5)
    assert not any(stream.changed[:4])
    assert stream.changed[4]
    assert sum(stream.changed) == (4 if change == "recurring shift" else 8)
    for before, after, changed in zip(calm.windows, stream.windows, stream.changed, strict=True):
        alike = len(before) == len(after) and all(
            np.array_equal(before.columns[name], after.columns[name], equal_nan=name in NUMBERS)
            for name in before.columns
        )
        assert (alike and np.array_equal(before.truth, after.truth)) != changed


def test_a_permuted_column_is_distributed_as_before() -> None:
    calm, stream = draw("independent", None, 1), draw("independent", "column permuted", 1)
    before, after = (rows.windows[5].columns["minutes"] for rows in (calm, stream))
    assert np.array_equal(np.sort(before), np.sort(after))
