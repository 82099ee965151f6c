"""The sample `smart-cart`: recommendations, from a training to new products that are learnt."""

from __future__ import annotations

import json
from datetime import timedelta
from importlib.util import module_from_spec, spec_from_file_location
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from project import PROFILES, Project, copied
from servers import service

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

WEEKS, CARTS = 4, 250
"""That come two months later, when a seventh of what is bought is new; and carts in each."""


@pytest.fixture(scope="module")
def cart(trained: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project that begins with the carts."""
    return copied(trained("cart"), PROFILES["cart"], tmp_path_factory.mktemp("cart"))


def simulator(project: Project) -> ModuleType:
    """What the project says of where its rows come from."""
    (file,) = project.root.glob("src/*/ml/source.py")
    spec = spec_from_file_location("simulator", file)
    assert spec
    assert spec.loader
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_carts_are_learnt_scored_served_watched_and_learnt_with_new_products(cart: Project) -> None:
    reports = cart.root / "reports"
    metrics = json.loads((reports / "metrics.json").read_text())
    assert metrics["baseline_ndcg"] + 0.1 < metrics["ndcg"] < 0.305
    assert "It recommends 10 items, the best first" in (reports / "cards" / "model.md").read_text()
    source = simulator(cart)
    catalogue = source.read(cart.root / "data" / "catalogue.csv")
    learnt = pl.read_parquet(cart.root / "data" / "valid.parquet", columns=["next_item"])
    rows = source.simulate(catalogue, source.BEGINS + timedelta(weeks=34), WEEKS, CARTS)
    rows = rows.with_columns(pl.col("chosen_at").dt.to_string("iso:strict"))
    new = set(rows["next_item"]) - set(learnt["next_item"])
    assert new
    asked = rows.drop("next_item").to_dicts()

    def scored(name: str) -> pl.DataFrame:
        (cart.root / "asked.jsonl").write_text("".join(json.dumps(row) + "\n" for row in asked))
        cart.run("uv", "run", "ops", "score", "asked.jsonl", name)
        (cart.root / "asked.jsonl").unlink()
        return pl.read_csv(cart.root / name, infer_schema_length=None)

    before = scored("scored.csv")
    suggested = [name for name in before.columns if name.startswith("item_")]
    assert len(suggested) == 10
    assert not new & set(before.select(suggested).unpivot()["value"])

    command = ("uv", "run", "ops", "serve")
    with service(command, cart.root, cart.root / "said", cart.environment) as served:
        said: list[Any] = served.ask("/predict", asked).body
        told = [
            {"prediction_id": answer["prediction_id"], "truth": item}
            for answer, item in zip(said, rows["next_item"], strict=True)
        ]
        assert served.ask("/feedback", told).status == 202
        assert served.end() == 0
    assert "probabilities" not in said[0]
    assert [it["item"] for it in said[0]["items"]] == list(before.select(suggested).row(0))
    scores = [it["score"] for it in said[0]["items"]]
    assert scores == sorted(scores, reverse=True)
    held = zip(said, rows["history"], strict=True)
    assert not any({it["item"] for it in answer["items"]} & {*history} for answer, history in held)

    params = cart.root / "params.yaml"
    params.write_text(params.read_text().replace("window: 1000", "window: 500"))
    watched = cart.run("uv", "run", "ops", "monitor")
    assert "labels that the model does not know" in watched
    for name in ("said", "scored.csv"):
        (cart.root / name).unlink()
    cart.run("git", "commit", "--quiet", "--no-verify", "--all", "--message", "Look closer")
    retrained = cart.run("uv", "run", "ops", "retrain")
    assert f"took in {len(rows):,} labelled rows" in retrained
    assert "2" in cart.run("uv", "run", "ops", "history")
    assert not any(line.startswith("src/") for line in cart.changes())
    after = scored("later.csv")
    assert new & set(after.select(suggested).unpivot()["value"])
