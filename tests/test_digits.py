"""The sample `digits`: images as an array column, from a training to the next one."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import polars as pl
import pytest
from project import PROFILES, Project, copied
from servers import service

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture(scope="module")
def digits(trained: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A copy of the project that begins with the digits."""
    return copied(trained("images"), PROFILES["images"], tmp_path_factory.mktemp("images"))


def test_images_are_learnt_scored_served_watched_and_learnt_again(digits: Project) -> None:
    metrics = json.loads((digits.root / "reports" / "metrics.json").read_text())
    assert metrics["accuracy"] > 0.95
    rows = pl.read_parquet(digits.root / "data" / "holdout.parquet").head(200)
    images, truth = rows["image"].to_list(), rows["digit"].to_list()

    asked = digits.root / "asked.jsonl"
    asked.write_text("".join(json.dumps({"image": image}) + "\n" for image in images))
    digits.run("uv", "run", "ops", "score", str(asked), "scored.parquet")
    scored = pl.read_parquet(digits.root / "scored.parquet")

    command = ("uv", "run", "ops", "serve")
    with service(command, digits.root, digits.root / "said", digits.environment) as served:
        page = served.ask("/openapi.json").body["components"]["schemas"]["Row"]
        example = page["examples"][0]["image"]
        wrong = served.ask("/predict", {"image": [*example[:12], 17, *example[13:]]}).body
        said = served.ask("/predict", [{"image": image} for image in images]).body
        told = [
            {"prediction_id": answer["prediction_id"], "truth": its}
            for answer, its in zip(said, truth, strict=True)
        ]
        assert served.ask("/feedback", told).status == 202
        assert served.end() == 0
    assert wrong["violations"][0]["message"] == "image[12] must be 16 or less."
    assert [answer["prediction"] for answer in said] == scored["prediction"].to_list()

    params = digits.root / "params.yaml"
    params.write_text(params.read_text().replace("window: 1000", "window: 200"))
    assert "Decision: none" in digits.run("uv", "run", "ops", "monitor")
    asked.unlink()
    for name in ("said", "scored.parquet"):
        (digits.root / name).unlink()
    digits.run("git", "commit", "--quiet", "--no-verify", "--all", "--message", "Look closer")
    assert "took in 200 labelled rows" in digits.run("uv", "run", "ops", "retrain")
    assert "2" in digits.run("uv", "run", "ops", "history")
