"""What made an answer: contributions that add up, and a verb that tells them."""

from __future__ import annotations

import json
from itertools import permutations
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from my_model.ops import cli
from my_model.ops.errors import UserError
from my_model.ops.scoring import explain
from my_model.ops.scoring.explain import AT_ONCE, PATHS, contributions

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import dataframely as dy
    from my_model.ops.project import Project
    from numpy.typing import NDArray

DRAW = np.random.default_rng(0)
OTHERS = {
    "a": DRAW.normal(size=300),
    "kind": DRAW.choice(["x", "y"], 300).astype(object),
    "image": DRAW.normal(size=(300, 4)),
}
ROW = {
    "a": np.array([2.0]),
    "kind": np.array(["y"], object),
    "image": np.array([[1.0, np.nan, 0.0, 1.0]]),
}


LACKING = """
import dataframely as dy


class Row(dy.Schema):
    a = dy.Float64()
    kind = dy.String(nullable=True, metadata={"category": True})
    at = dy.Datetime(nullable=True)
    image = dy.Array(dy.Float64(nullable=True), 3)
    y = dy.Float64(metadata={"target": True})
"""


def answer(rows: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float64]:
    """Columns that act together."""
    image = np.nansum(rows["image"].astype(float), axis=1)
    return rows["a"].astype(float) * (rows["kind"] == "y") + image


def test_contributions_are_shapley_values_and_add_up() -> None:
    asked = []

    def watched(rows: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float64]:
        asked.append(len(rows["a"]))
        return answer(rows)

    found = contributions(watched, ROW, OTHERS)
    assert asked == [PATHS * (len(ROW) + 1)]
    exact = dict.fromkeys(ROW, 0.0)
    for order in permutations(ROW):  # every order, from every other row
        rows, before = dict(OTHERS), answer(OTHERS)
        for name in order:
            rows[name] = np.broadcast_to(ROW[name], OTHERS[name].shape)
            after = answer(rows)
            exact[name] += float((after - before).mean()) / 6
            before = after
    for name, (by, error) in found.items():
        assert abs(by - exact[name]) < 4 * error, name
        assert error < 0.2
    moved = float(answer(ROW)[0] - answer(OTHERS).mean())
    assert sum(exact.values()) == pytest.approx(moved)
    assert sum(by for by, _ in found.values()) == pytest.approx(moved, abs=0.6)


def test_as_many_paths_are_asked_at_once_as_memory_has_room_for() -> None:
    asked = []

    def watched(rows: Mapping[str, NDArray[np.generic]]) -> NDArray[np.float64]:
        asked.append(sum(values.size for values in rows.values()))
        return answer(rows)

    wide = {**OTHERS, "image": DRAW.normal(size=(300, 9_000))}
    found = contributions(watched, {name: values[:1] for name, values in wide.items()}, wide)
    assert found.keys() == wide.keys()
    assert 5 < len(asked) < PATHS
    assert max(asked) <= AT_ONCE


def test_a_row_is_explained_by_its_number_or_as_it_is_written(
    project: Project, capfd: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["explain", "1"]) == 0
    first, heads, *columns = capfd.readouterr().out.splitlines()
    assert first.startswith(("P(benign) is ", "P(malignant) is "))
    assert heads.split() == ["column", "adds", "±", "value"]
    assert len(columns) == 15
    row = pl.read_parquet(project.holdout).to_dicts()[0]
    assert cli.main(["explain", json.dumps(row)]) == 0
    assert capfd.readouterr().out.splitlines() == [first, heads, *columns]
    for told, sentence in {
        "9999": "9999 is no row of data/holdout.parquet, which has",
        "[1]": "A row is a number, or JSON such as",
        json.dumps({**row, "mean radius": -1}): "The row breaks the contract: mean radius|",
    }.items():
        assert cli.main(["explain", told]) == 2
        assert sentence in capfd.readouterr().err


def test_a_row_may_lack_what_may_be_missing(schema: Callable[[str], type[dy.Schema]]) -> None:
    schema(LACKING)
    told = {"image": [1, None, 2], "a": 1.5}
    row = {**told, "kind": None, "at": None}
    assert explain._found(json.dumps(told), pl.DataFrame()).to_dicts() == [row]
    with pytest.raises(UserError, match=r"The row lacks a\b"):
        explain._found('{"kind": "x"}', pl.DataFrame())
