"""`ops score`: files as people have them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
import pytest
from my_model.ml import source
from my_model.ops import cli, scoring
from my_model.ops.bundle import Bundle

if TYPE_CHECKING:
    from my_model.ops.project import Project

ADDED = ["prediction", "probability_benign", "probability_malignant"]


@pytest.fixture
def rows(project: Project) -> pl.DataFrame:
    """Rows as they come from the source, unlabelled; the current folder has a champion."""
    return source.load(project.root).collect().drop("diagnosis").head(40)


@pytest.mark.parametrize("came", ["rows.csv", "rows.parquet", "semicolons.csv"])
@pytest.mark.parametrize("went", ["scored.csv", "a new folder/scored.parquet"])
def test_rows_come_back_in_order_with_a_prediction(
    project: Project, rows: pl.DataFrame, came: str, went: str
) -> None:
    if came.endswith(".csv"):
        rows.write_csv(came, separator=";" if came.startswith("semi") else ",")
    else:
        rows.write_parquet(came)
    assert cli.main(["score", came, went]) == 0

    separator = ";" if came.startswith("semi") else ","
    is_csv = went.endswith(".csv")
    scored = pl.read_csv(went, separator=separator) if is_csv else pl.read_parquet(went)
    assert scored.columns == [*rows.columns, *ADDED]
    assert scored.select(pl.col(rows.columns).cast(pl.Float64)).equals(rows)
    bundle = Bundle(project.champion)
    values, probabilities = bundle.predict(bundle.contract.arrays(rows))
    assert scored["prediction"].to_list() == [bundle.contract.classes[value] for value in values]
    assert probabilities is not None
    np.testing.assert_allclose(scored[ADDED[1:]].to_numpy(), probabilities, atol=1e-6)


def test_bad_rows_stay_without_a_prediction(
    rows: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = rows.with_columns(pl.all().cast(pl.String))
    bad[2, "mean radius"] = "wide"
    bad[5, "mean area"] = "-1"
    bad[7, "mean area"] = "-2"
    bad[9, "worst area"] = None
    bad.write_csv("bad.csv")
    rows.write_csv("good.csv")
    for name in ("bad", "good"):
        assert cli.main(["score", f"{name}.csv", f"{name}.parquet"]) == 0
    said = capsys.readouterr()
    assert "36 of 40 rows are scored in bad.parquet." in said.out
    assert "4 break the contract and have no prediction" in said.err
    assert "mean area|min (2)" in said.err

    got, wanted = pl.read_parquet("bad.parquet"), pl.read_parquet("good.parquet")
    broken = [2, 5, 7, 9]
    assert got.select(bad.columns).equals(bad)
    assert got["prediction"].is_null().arg_true().to_list() == broken
    kept = [row for row in range(40) if row not in broken]
    assert got[kept].select(ADDED).equals(wanted[kept].select(ADDED))


def test_a_file_of_bad_rows_only(rows: pl.DataFrame) -> None:
    rows.with_columns(pl.lit(-1.0).alias("mean radius")).write_csv("bad.csv")
    assert cli.main(["score", "bad.csv", "out.csv"]) == 0
    assert pl.read_csv("out.csv")["prediction"].null_count() == 40


@pytest.mark.parametrize(
    ("came", "went", "sentence"),
    [
        ("absent.csv", "out.csv", "absent.csv does not exist"),
        ("rows.csv", "out.xlsx", "out.xlsx must end in .csv or .parquet"),
        ("rows.csv", "rows.csv", "rows.csv is the file to be scored"),
        ("narrow.csv", "out.csv", "narrow.csv lacks mean radius"),
        ("scored.csv", "out.csv", "scored.csv already has a column probability_benign"),
        ("rows.csv", "rows.csv/out.csv", "rows.csv/out.csv cannot be written"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    rows: pl.DataFrame, came: str, went: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path.cwd()
    rows.write_csv("rows.csv")
    rows.drop("mean radius").write_csv("narrow.csv")
    rows.with_columns(pl.lit(0.5).alias("probability_benign")).write_csv("scored.csv")
    before = sorted(folder.iterdir()), Path("rows.csv").read_bytes()
    assert cli.main(["score", came, went]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"ops score: {sentence}")
    assert (sorted(folder.iterdir()), Path("rows.csv").read_bytes()) == before


def test_a_missing_champion_is_fetched(project: Project, rows: pl.DataFrame) -> None:
    digest = Bundle(project.champion).digest
    shutil.rmtree(project.champion)
    shutil.rmtree(project.bundle)
    rows.write_csv("rows.csv")
    assert cli.main(["score", "rows.csv", "out.csv"]) == 0
    assert Bundle(project.champion).digest == digest


def test_without_any_champion(unregistered: Project, capsys: pytest.CaptureFixture[str]) -> None:
    (unregistered.root / "rows.csv").write_text("a,b\n1,2\n")
    assert cli.main(["score", "rows.csv", "out.csv"]) == 2
    assert "There is no champion yet: run `make train`." in capsys.readouterr().err


def test_batches_change_nothing(
    project: Project, rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle(project.champion)
    columns = bundle.contract.arrays(rows)
    _, whole = scoring.predict(bundle, columns)
    monkeypatch.setattr(scoring, "BATCH_ROWS", 7)
    _, parts = scoring.predict(bundle, columns)
    assert whole is not None
    assert parts is not None
    np.testing.assert_allclose(parts, whole, atol=1e-6)
