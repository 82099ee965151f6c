"""`ops score`: the rows that came in, and what the champion says of them."""

import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from my_model.ops.bundle import Bundle
from my_model.ops.cli import main
from my_model.ops.contract import Contract
from my_model.ops.project import Project
from my_model.ops.scoring import files
from my_model.ops.scoring.parts import Parts


@pytest.fixture
def crowned(project: Project) -> Project:
    """The trained project, its model in service."""
    shutil.copytree(project.bundle, project.champion)
    return project


@pytest.fixture
def inputs(project: Project, contract: Contract) -> pl.DataFrame:
    """Rows to score, with a column more than the contract knows."""
    rows = pl.read_parquet(project.holdout).drop(contract.target.name)
    return rows.with_columns(pl.int_range(len(rows)).alias("our number"))


def score(source: str, result: str = "scored.parquet") -> pl.DataFrame:
    """Score a file, and read the result."""
    assert main(["score", source, result]) == 0
    if result.endswith(".csv"):
        # Polars leaves the quotation marks in a header doubled.
        with Path(result).open(encoding="utf-8", newline="") as lines:
            names = next(csv.reader(lines))
        return pl.read_csv(result, infer_schema=False, new_columns=names)
    return pl.read_parquet(result)


def test_the_rows_come_back_with_a_prediction(
    crowned: Project, contract: Contract, inputs: pl.DataFrame
) -> None:
    inputs.write_parquet("rows.parquet")
    scored = score("rows.parquet")
    assert scored.select(inputs.columns).equals(inputs)
    added = [f"probability_{name}" for name in contract.classes]
    assert scored.columns == [*inputs.columns, "prediction", *added]
    prediction = Bundle(crowned.champion).predict(contract.arrays(inputs))
    if prediction.probabilities is None:
        np.testing.assert_array_equal(scored["prediction"], prediction.values)
    else:
        np.testing.assert_array_equal(scored.select(added), prediction.probabilities)
        choices = pl.Series(contract.target.choices)
        assert scored["prediction"].to_list() == choices.gather(prediction.values).to_list()


@pytest.mark.usefixtures("crowned")
def test_text_and_parquet_give_the_same_answers(inputs: pl.DataFrame) -> None:
    inputs.write_parquet("rows.parquet")
    inputs.write_csv("rows.csv")
    answers = score("rows.parquet").drop(inputs.columns)
    assert score("rows.csv").drop(inputs.columns).equals(answers)
    assert score("rows.csv", "scored.csv").drop(inputs.columns).equals(answers.cast(pl.String))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_answered_as_the_bundle_answers(
    crowned: Project, contract: Contract, inputs: pl.DataFrame, kind: str
) -> None:
    """No skew: rows mean the same in training, in the bundle and in a file of any format."""
    if kind == "csv":
        inputs.write_csv("rows.csv")
    else:
        inputs.write_parquet("rows.parquet")
    scored = score(f"rows.{kind}", f"scored.{kind}")
    bundle = Bundle(crowned.champion)
    wanted = bundle.predict(contract.arrays(inputs)).scored
    names = [f"probability_{name}" for name in contract.classes] or ["prediction"]
    got = scored.select(pl.col(names).cast(pl.Float64)).to_numpy().reshape(wanted.shape)
    np.testing.assert_allclose(got, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.usefixtures("crowned")
def test_a_row_that_breaks_the_contract_is_repeated_with_the_reason(
    inputs: pl.DataFrame, contract: Contract, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = [
        pl.lit(None if column.dtype == "String" else "no such value", pl.String).alias(column.name)
        for column in contract.inputs
        if column.dtype != "String" or not column.nullable
    ]
    texts = inputs.cast(pl.String)
    rows = pl.concat([texts[:1], texts[1:2].with_columns(broken), texts[2:]])
    rows.write_csv("rows.csv")
    scored = score("rows.csv")
    assert scored.select(rows.columns).equals(rows)
    assert scored["prediction"].is_null().arg_true().to_list() == [1] * bool(broken)
    assert ("1 break the contract" in capsys.readouterr().err) == bool(broken)
    apart = Path("scored.quarantine.parquet")
    assert apart.exists() == bool(broken)
    if broken:
        (row,) = pl.read_parquet(apart).rows()
        assert row[0] == 2
        assert row[2:] == rows.row(1)
        inputs.write_parquet("rows.parquet")
        score("rows.parquet")
        assert not apart.exists()


@pytest.mark.usefixtures("crowned")
def test_a_run_that_was_cut_short_goes_on(
    inputs: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.concat([inputs] * (20_000 // len(inputs) + 1)).write_parquet("rows.parquet")
    monkeypatch.setattr(files, "CELLS", 1)
    score("rows.parquet")
    wanted = Path("scored.parquet").read_bytes()
    Path("scored.parquet").unlink()

    def interrupt(parts: Parts, rows: pl.DataFrame) -> None:
        if parts.finished == 3:
            raise KeyboardInterrupt
        write(parts, rows)

    write = Parts.write
    with monkeypatch.context() as patch:
        patch.setattr(Parts, "write", interrupt)
        assert main(["score", "rows.parquet", "scored.parquet"]) == 130
    assert not Path("scored.parquet").exists()
    score("rows.parquet")
    assert "Going on after 12,288 rows" in capsys.readouterr().err
    assert Path("scored.parquet").read_bytes() == wanted
    assert not list(Path().glob(".scored*"))


def test_any_bundle_can_be_asked(project: Project, inputs: pl.DataFrame) -> None:
    inputs.write_parquet("rows.parquet")
    assert main(["score", "rows.parquet", "out.parquet", "--model", "models/bundle"]) == 0
    assert "prediction" in pl.read_parquet("out.parquet").columns
    assert main(["score", "rows.parquet", "out.parquet", "--model", str(project.data)]) == 2


@pytest.mark.parametrize(
    ("source", "result", "sentence"),
    [
        ("rows.csv", "scored.xlsx", "scored.xlsx must end in .csv or .parquet"),
        ("rows.csv", "rows.csv", "rows.csv is the file to be scored; name another one"),
        ("gone.csv", "scored.csv", "gone.csv"),
        ("less.csv", "scored.csv", "less.csv lacks"),
    ],
)
@pytest.mark.usefixtures("crowned")
def test_a_file_that_will_not_do_is_explained(
    inputs: pl.DataFrame,
    contract: Contract,
    capsys: pytest.CaptureFixture[str],
    source: str,
    result: str,
    sentence: str,
) -> None:
    inputs.write_csv("rows.csv")
    inputs.drop(contract.inputs[0].name).write_csv("less.csv")
    files = {path.name: path.read_bytes() for path in Path().glob("*.csv")}
    assert main(["score", source, result]) == 2
    assert sentence in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in Path().glob("*.csv")} == files
    assert not Path("scored.xlsx").exists()
