"""The same rows through training, bundle, service and bulk scoring: the same answers.

It holds for projects of every kind, so it runs in several.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import polars as pl
import pytest
from my_model.ops import cli
from my_model.ops.bundle import Bundle
from servers import service

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from my_model.ops.project import Project
    from numpy.typing import NDArray
    from servers import Service

SINGLE = 40
"""How many rows are asked for one by one."""


class Held(NamedTuple):
    """What was held out, and what the bundle says of it."""

    bundle: Bundle
    frame: pl.DataFrame
    asked: list[dict[str, Any]]
    classes: tuple[str, ...]
    numbers: NDArray[np.float32]
    """Probabilities of shape (rows, classes), or predictions of shape (rows, 1)."""


@pytest.fixture(scope="module")
def held(trained: Project) -> Held:
    bundle = Bundle(trained.bundle)
    contract = bundle.contract
    frame = pl.read_parquet(trained.holdout).drop(contract.target.name)
    said = bundle.predict(contract.arrays(frame)).scored
    numbers = said.reshape(-1, 1) if said.ndim == 1 else said
    return Held(bundle, frame, json.loads(frame.write_json()), contract.classes, numbers)


@pytest.fixture(scope="module")
def served(
    trained: Project, held: Held, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("service")
    shutil.copytree(held.bundle.folder, folder / "champion")
    settings = {"BUNDLE": str(folder / "champion"), "PREDICTIONS": str(folder / "served")}
    with service(
        [sys.executable, "-m", "my_model.ops.cli", "serve"],
        trained.root,
        folder / "said",
        {**os.environ, **settings},
    ) as found:
        yield found


def compare(held: Held, numbers: object, tolerance: float = 1e-6) -> None:
    """Hold numbers to the bundle's; those of a regression by their size."""
    found = np.asarray(numbers, float)
    expected = held.numbers[: len(found)]
    relative, absolute = (0, tolerance) if held.classes else (tolerance, tolerance)
    np.testing.assert_allclose(found, expected, rtol=relative, atol=absolute)


def numbers_of(held: Held, answers: list[dict[str, Any]]) -> list[list[float]]:
    """The numbers in answers of the service; a class is the likeliest one."""
    if not held.classes:
        return [[answer["prediction"]] for answer in answers]
    found = [[answer["probabilities"][name] for name in held.classes] for answer in answers]
    choices = held.bundle.contract.target.choices or ()
    likeliest = [choices[place] for place in np.argmax(found, axis=1)]
    assert [answer["prediction"] for answer in answers] == likeliest
    return found


def test_the_bundle_answers_as_the_fitted_model(trained: Project, held: Held) -> None:
    kind = "probabilities" if held.classes else "values"
    with np.load(trained.candidate / "answers.npz") as fitted:
        numbers = fitted[f"model_{kind}"]
    assert len(numbers) == len(held.frame) > SINGLE
    compare(held, numbers.reshape(held.numbers.shape), tolerance=1e-4)


def test_the_service_answers_as_the_bundle(held: Held, served: Service) -> None:
    many = served.ask("/predict", held.asked)
    assert many.status == 200, many.text
    compare(held, numbers_of(held, many.body))
    singles = [served.ask("/predict", row) for row in held.asked[:SINGLE]]
    compare(held, numbers_of(held, [reply.body for reply in singles]))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_bulk_scoring_answers_as_the_bundle(
    trained: Project, held: Held, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(trained.root)
    source, scored = tmp_path / f"rows.{kind}", tmp_path / "scored.parquet"
    if kind == "csv":
        held.frame.write_csv(source)
    else:
        held.frame.write_parquet(source)
    assert cli.main(["score", str(source), str(scored), "--model", str(held.bundle.folder)]) == 0
    found = pl.read_parquet(scored)
    names = [f"probability_{name}" for name in held.classes] or ["prediction"]
    assert not found["prediction"].has_nulls()
    compare(held, found[names].to_numpy())
