"""The sample `smart-cart`, straight: as hard as it says, and suggested by ONNX as by numpy."""

from __future__ import annotations

import re
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import numpy as np
import onnxruntime
import polars as pl
import pytest
from render import ROOT

if TYPE_CHECKING:
    from types import ModuleType

    from numpy.typing import NDArray

SAMPLE = ROOT / "samples" / "smart-cart"
WIDTH = 20


def module(name: str) -> ModuleType:
    """A file of the sample."""
    spec = spec_from_file_location(f"smart_cart_{name}", SAMPLE / f"{name}.py")
    assert spec
    assert spec.loader
    made = module_from_spec(spec)
    sys.modules[spec.name] = made
    spec.loader.exec_module(made)
    return made


source, model = module("source"), module("model")


@pytest.fixture(scope="module")
def catalogue() -> pl.DataFrame:
    """The products."""
    made: pl.DataFrame = source.read(ROOT / "template" / "data" / "catalogue.csv")
    return made


@pytest.fixture(scope="module")
def rows(catalogue: pl.DataFrame) -> pl.DataFrame:
    """The rows that a project begins with."""
    made: pl.DataFrame = source.simulate(catalogue, source.BEGINS, weeks=26)
    return made


def features(rows: pl.DataFrame) -> pl.DataFrame:
    """Histories as they reach a model, with a number beside them."""
    items = pl.col("history").list
    return rows.select(
        pl.lit(8, pl.Float32).alias("chosen_at hour"),
        *(
            items.get(n, null_on_oob=True).fill_null("").alias(f"history[{n}]")
            for n in range(WIDTH)
        ),
    )


def ndcg(items: NDArray[Any], truth: pl.Series) -> NDArray[np.float64]:
    """Of each row."""
    discounts = 1 / np.log2(np.arange(items.shape[1]) + 2)
    made: NDArray[np.float64] = (items == truth.to_numpy()[:, None]) @ discounts
    return made


def learnt(name: str, rows: pl.DataFrame) -> Any:
    """The fitted step of a model."""
    ages = (rows["chosen_at"].max() - rows["chosen_at"]).dt.total_seconds().to_numpy() / 86_400
    (step,) = model.build(name, "recommendation", {}, {}, 7)
    return step.fit(features(rows), rows["next_item"].to_numpy(), ages=ages)


def test_it_is_as_hard_as_it_says(catalogue: pl.DataFrame, rows: pl.DataFrame) -> None:
    cut = len(rows) * 4 // 5
    held = rows[cut:]
    best = source.best_ndcg(catalogue, held)
    assert f"{best:.3f}" == re.findall(r"\b0\.\d{3}\b", str(source.__doc__))[0]
    page = (ROOT / "docs" / "decisions" / "0029-recommendation.md").read_text()
    said = [float(it) for it in re.findall(r"^\|[^|]+\| (0\.\d{3}) \|", page, re.MULTILINE)]
    reached = [
        ndcg(learnt(name, rows[:cut]).recommend(features(held))[0], held["next_item"]).mean()
        for name in ("trivial", *model.MODELS)
    ]
    np.testing.assert_allclose([*reached, best], said, atol=0.002)


def test_who_knows_the_chances_reaches_what_is_called_best(catalogue: pl.DataFrame) -> None:
    rows = source.simulate(catalogue, source.BEGINS, weeks=1, carts=4000, seed=1)
    sold = source.on_sale(catalogue, source.BEGINS)
    following = source.following(sold, rows["history"])
    np.testing.assert_allclose(following.sum(axis=1), 1)
    lists = sold["item"].to_numpy()[np.argsort(-following, axis=1)[:, :10]]
    reached = ndcg(lists, rows["next_item"])
    apart = reached.mean() - source.best_ndcg(catalogue, rows)
    assert abs(apart) < 3 * reached.std() / len(rows) ** 0.5


@pytest.mark.parametrize("name", ["trivial", *model.MODELS])
def test_onnx_suggests_what_numpy_does(rows: pl.DataFrame, name: str) -> None:
    step = learnt(name, rows[-4000:])
    histories = pl.Series([[], ["never seen"], *rows["history"][:500]])
    asked = features(pl.DataFrame({"history": histories}))
    kinds = {its: "number" if its.endswith("hour") else "category" for its in asked.columns}
    session = onnxruntime.InferenceSession(step.to_onnx(kinds).SerializeToString())
    said = session.run(None, {"texts": asked.drop("chosen_at hour").to_numpy().astype(object)})
    items, scores = step.recommend(asked)
    assert (said[0] == items).all()
    np.testing.assert_allclose(said[1], scores, atol=1e-6)
    assert not any({*its} & {*held} for its, held in zip(items, histories, strict=True))
    assert list(items[0]) == list(items[1])


def test_a_new_product_is_a_line_of_the_catalogue(
    catalogue: pl.DataFrame, rows: pl.DataFrame
) -> None:
    readme = (ROOT / "template" / "README.md.jinja").read_text()
    (line,) = re.findall(r'^echo "(.+)" >> data/catalogue.csv$', readme, re.MULTILINE)
    new = pl.read_csv(f"{','.join(catalogue.columns)}\n{line}\n".encode(), schema=catalogue.schema)
    assert new["item"][0] not in catalogue["item"]
    more = source.simulate(pl.concat([catalogue, new]), source.BEGINS, weeks=26)
    first = more.filter(pl.col("next_item") == new["item"][0])["chosen_at"].min()
    assert first.date() >= new["from"][0]
    before = pl.col("chosen_at") < new["from"][0]
    assert more.filter(before).equals(rows.filter(before))
    assert new["item"][0] in learnt("ease", more).names()
