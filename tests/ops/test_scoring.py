"""`ops score`: files as people have them."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from my_model.ml import source
from my_model.ops import cli, contract
from my_model.ops.bundle import Bundle
from my_model.ops.pipeline import parquet
from my_model.ops.scoring import files
from my_model.ops.scoring import rows as scoring

if TYPE_CHECKING:
    from my_model.ops.project import Project

ADDED = ["prediction", "probability_benign", "probability_malignant"]

SCORE = """
import os, resource, signal, sys
from my_model.ops import cli
from my_model.ops.scoring import files, parts

came, went, last, limit = sys.argv[1:]
files.CELLS = 1
write = parts.Parts.write

def die(self, rows):
    if self.finished == int(last):
        os.kill(os.getpid(), signal.SIGKILL)
    write(self, rows)

parts.Parts.write = die
if limit != "none":
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
sys.exit(cli.main(["score", came, went]))
"""
"""Scores in the smallest batches, is killed when part `last` is done, may write `limit` bytes."""


def start(
    came: str, went: str, last: int = -1, limit: str = "none"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", SCORE, came, went, str(last), limit]
    return subprocess.run(command, check=False, capture_output=True, text=True)


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
    said = bundle.predict(bundle.contract.arrays(rows))
    named = [bundle.contract.classes[value] for value in said.values]
    assert scored["prediction"].to_list() == named
    np.testing.assert_allclose(scored[ADDED[1:]].to_numpy(), said.scored, atol=1e-6)


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

    apart = pl.read_parquet("bad.quarantine.parquet")
    assert apart.columns == ["row", "rule", *bad.columns]
    assert apart.drop("row", "rule").equals(bad[broken])
    assert apart["row"].to_list() == [3, 6, 8, 10]
    assert apart["rule"][0] == "mean radius|dtype"
    assert "mean area|min" in apart["rule"][1]
    assert apart["rule"][3] == "worst area|nullability"
    assert not Path("good.quarantine.parquet").exists()
    assert cli.main(["score", "good.csv", "bad.parquet"]) == 0
    assert not Path("bad.quarantine.parquet").exists()


def test_a_quarantine_has_names_of_its_own(rows: pl.DataFrame) -> None:
    rows.with_columns(
        pl.lit(-1.0).alias("mean area"), pl.lit("x").alias("rule"), pl.lit("y").alias("row")
    ).write_csv("bad.csv")
    assert cli.main(["score", "bad.csv", "out.csv"]) == 0
    apart = pl.read_csv("out.quarantine.csv")
    assert apart.columns[:2] == ["__row", "__rule"]
    assert apart["__row"].to_list() == list(range(1, 41))
    assert apart["rule"].to_list() == ["x"] * 40


def test_a_row_is_judged_by_itself(rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that comes twice, or a mean of all rows, breaks no rule here."""

    class Keyed(contract.schema()):  # type: ignore[misc]
        number = dy.Int64(primary_key=True, metadata={"identifier": True})

        @dy.rule()
        def not_far_from_the_others(cls) -> pl.Expr:  # noqa: N805
            return pl.col("mean area") < pl.col("mean area").mean()

        @dy.rule()
        def of_this_century(cls) -> pl.Expr:  # noqa: N805
            return pl.col("number") < 2

    monkeypatch.setattr(contract, "schema", lambda: Keyed)
    rows.with_columns(pl.Series("number", [1] * 39 + [2])).write_csv("rows.csv")
    assert cli.main(["score", "rows.csv", "out.parquet"]) == 0
    scored = pl.read_parquet("out.parquet")
    assert scored["prediction"].is_null().arg_true().to_list() == [39]
    assert pl.read_parquet("out.quarantine.parquet")["rule"].to_list() == ["of_this_century"]


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
        ("rows.csv", ".", ". must end in .csv or .parquet"),
        ("rows.csv", "folder.csv", "folder.csv is a folder"),
        ("out.quarantine.csv", "out.csv", "out.quarantine.csv is the file to be scored"),
        ("rows.csv", "folder.csv/", "folder.csv holds more than an earlier result"),
        ("rows.csv", "narrow.csv/", "narrow.csv is a file; name a folder"),
        ("folder.csv", "folder.csv/", "folder.csv is the folder to be scored"),
        ("folder.csv", "folder.csv/out/", "folder.csv/out lies in the folder to be scored"),
        ("folder.csv", "out.csv", "folder.csv holds notes.txt; name a file, or a folder"),
    ],
)
def test_mistakes_are_one_sentence_and_write_nothing(
    rows: pl.DataFrame, came: str, went: str, sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = Path.cwd()
    rows.write_csv("rows.csv")
    rows.write_csv("out.quarantine.csv")
    Path("folder.csv").mkdir()
    Path("folder.csv/notes.txt").touch()
    rows.drop("mean radius").write_csv("narrow.csv")
    rows.with_columns(pl.lit(0.5).alias("probability_benign")).write_csv("scored.csv")
    before = sorted(folder.iterdir()), Path("rows.csv").read_bytes()
    assert cli.main(["score", came, went]) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert said.startswith(f"ops score: {sentence}")
    assert (sorted(folder.iterdir()), Path("rows.csv").read_bytes()) == before


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252", "gzip"])
@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_text_of_any_encoding(rows: pl.DataFrame, encoding: str, kind: str) -> None:
    named = rows.with_columns(pl.lit("Jürgen").alias("who"))
    text = named.write_csv(separator=";") if kind == "csv" else named.write_ndjson()
    path = Path(f"rows [1].{kind}")
    packed = encoding == "gzip"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode(encoding))
    assert cli.main(["score", str(path), "out.parquet"]) == 0
    scored = pl.read_parquet("out.parquet")
    assert scored["who"].to_list() == ["Jürgen"] * 40
    assert scored.select(pl.col(rows.columns).cast(pl.Float64)).equals(rows)
    assert not scored["prediction"].has_nulls()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_is_answered_as_the_fitted_model_answers(
    trained: Project, project: Project, kind: str
) -> None:
    held_out = pl.read_parquet(project.holdout).drop("diagnosis")
    held_out.write_csv("rows.csv") if kind == "csv" else held_out.write_parquet("rows.parquet")
    assert cli.main(["score", f"rows.{kind}", "out.parquet"]) == 0
    got = pl.read_parquet("out.parquet").select(ADDED[1:]).to_numpy()
    with np.load(trained.candidate / "answers.npz") as fitted:
        np.testing.assert_allclose(got, fitted["model_probabilities"], rtol=0, atol=1e-6)


def test_rows_of_any_type_come_back(rows: pl.DataFrame) -> None:
    odd = rows.with_columns(
        pl.lit(None).alias("nothing"),
        pl.concat_list(pl.col("mean area"), 1.5).alias("a list"),
        pl.Series("kind", ["a", "b"] * 20, pl.Categorical),
        pl.Series("enum", ["a", "b"] * 20, pl.Enum(["b", "a"])),
        pl.lit("2024-01-31").str.to_datetime().dt.replace_time_zone("Europe/Berlin").alias("when"),
    )
    odd.write_parquet("rows.parquet")
    odd.clear().write_parquet("none.parquet")
    for name, wanted in (("rows", pl.read_parquet("rows.parquet")), ("none", odd.clear())):
        assert cli.main(["score", f"{name}.parquet", "out.parquet"]) == 0
        assert pl.read_parquet("out.parquet").drop(ADDED).equals(wanted)


def test_a_folder_is_scored_as_a_file_of_its_rows(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "PART_ROWS", 16)
    bad = pl.when(pl.int_range(pl.len()) % 9 > 0).then(pl.col("mean area")).otherwise(-1.0)
    for name, came in (("bad", rows.with_columns(bad)), ("good", rows)):
        came.write_parquet(f"{name}.parquet")
        Path(name).mkdir()
        for number, part in enumerate(came.iter_slices(15)):
            part.write_parquet(f"{name}/{number}.parquet")
        for beside in ("_SUCCESS", ".0.parquet.crc"):  # as Spark writes them
            Path(name, beside).touch()
        assert cli.main(["score", f"{name}.parquet", "file.parquet"]) == 0
        assert cli.main(["score", name, "parts/"]) == 0
        assert pl.read_parquet("parts").equals(pl.read_parquet("file.parquet"))
        assert len(parquet.parts(Path("parts"))) == 3
        apart = Path("parts.quarantine")
        assert apart.is_dir() == (name == "bad")
        if apart.is_dir():
            assert pl.read_parquet(apart).equals(pl.read_parquet("file.quarantine.parquet"))


@pytest.mark.parametrize(
    ("more", "dtype"),
    [
        (pl.concat_list("mean area"), "List(Float64)"),
        (pl.concat_arr("mean area"), "Array(Float64"),
        (pl.struct("mean area"), "Struct({'mean area': Float64})"),
        (pl.lit(b"1"), "Binary"),
        (pl.duration(days=1), "Duration"),
    ],
)
def test_what_csv_cannot_hold_is_refused_before_the_work(
    rows: pl.DataFrame, more: pl.Expr, dtype: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.with_columns(more.alias("more")).write_parquet("rows.parquet")
    assert cli.main(["score", "rows.parquet", "out.csv"]) == 2
    said = capsys.readouterr().err
    assert f"holds {dtype}" in said
    assert "in more, which CSV cannot hold" in said
    assert cli.main(["score", "rows.parquet", "out.parquet"]) == 0


@pytest.mark.parametrize("kind", ["csv", pytest.param("parquet", marks=pytest.mark.exhaustive)])
def test_a_run_that_was_killed_goes_on(rows: pl.DataFrame, kind: str) -> None:
    many = pl.concat([rows] * 1000).with_row_index("number")
    many = many.with_columns(
        pl.when(pl.col("number") % 5000 != 1).then(pl.col("mean area")).alias("mean area")
    )
    many.write_csv("rows.csv") if kind == "csv" else many.write_parquet("rows.parquet")
    came, went, names = f"rows.{kind}", f"out.{kind}", (f"out.{kind}", f"out.quarantine.{kind}")
    assert start(came, went).returncode == 0
    whole = {name: Path(name).read_bytes() for name in names}
    for name in names:
        Path(name).unlink()
    before = sorted(Path().iterdir())

    for last in (5, 8):
        assert start(came, went, last=last).returncode == -9
        assert not any(Path(name).exists() for name in names)
    done = start(came, went)
    assert done.returncode == 0
    found = re.search("Going on after ([0-9,]+) rows that are scored already", done.stderr)
    assert found
    assert int(found[1].replace(",", "")) >= 6 * 4096
    assert {name: Path(name).read_bytes() for name in names} == whole
    assert done.stdout.startswith("39,992 of 40,000 rows are scored")
    assert "8 break the contract" in done.stderr
    assert sorted(Path().iterdir()) == sorted([*before, *map(Path, names)])


def test_what_was_finished_of_something_else_is_thrown_away(
    project: Project, rows: pl.DataFrame
) -> None:
    pl.concat([rows] * 1000).write_csv("rows.csv")
    assert start("rows.csv", "out.csv", last=5).returncode == -9
    pl.concat([rows.reverse()] * 1000).write_csv("rows.csv")
    said = start("rows.csv", "out.csv", last=5)
    assert said.returncode == -9
    assert said.stderr == "Starting afresh: the file changed since a run was cut short.\n"
    manifest = project.champion / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    said = start("rows.csv", "out.csv")
    assert "Starting afresh: the model changed since" in said.stderr
    assert pl.read_csv("out.csv")["mean area"].to_list() == rows["mean area"].to_list()[::-1] * 1000


@pytest.mark.parametrize(("kind", "limit"), [("csv", "4000000"), ("parquet", "1200000")])
def test_a_full_disk_costs_nothing(rows: pl.DataFrame, kind: str, limit: str) -> None:
    noise = np.random.default_rng(1).random(40_000)
    many = pl.concat([rows] * 1000).with_columns(pl.col("^mean.*$") * (1 + noise))
    many.write_parquet("rows.parquet")
    said = start("rows.parquet", f"out.{kind}", limit=limit)
    assert said.returncode == 2
    (sentence,) = said.stderr.splitlines()
    assert re.match(rf"ops score: out.{kind} cannot be written: .*[Ff]ile too large", sentence)
    assert sentence.endswith("; the same command will go on after 40,000 rows.")
    assert not Path(f"out.{kind}").exists()
    assert "Going on after 40,000 rows" in start("rows.parquet", f"out.{kind}").stderr
    read = pl.read_csv if kind == "csv" else pl.read_parquet
    assert len(read(f"out.{kind}")) == 40_000


def test_a_file_that_changes_meanwhile(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write_csv("rows.csv")

    def grow(job: files.Job) -> None:
        run(job)
        rows.reverse().write_csv("rows.csv")

    run = files.Job.run
    monkeypatch.setattr(files.Job, "run", grow)
    assert cli.main(["score", "rows.csv", "out.csv"]) == 2
    assert "rows.csv changed while it was scored" in capsys.readouterr().err
    assert not Path("out.csv").exists()


def test_any_model_can_be_asked(
    project: Project, rows: pl.DataFrame, capsys: pytest.CaptureFixture[str]
) -> None:
    rows.write_csv("rows.csv")
    shutil.rmtree(project.champion)
    for model in ("1", "champion", "models/bundle"):
        assert cli.main(["score", "rows.csv", f"by {Path(model).name}.csv", "--model", model]) == 0
    assert Path("by 1.csv").read_bytes() == Path("by champion.csv").read_bytes()
    assert Path("by 1.csv").read_bytes() == Path("by bundle.csv").read_bytes()
    assert (project.root / "models/versions/1/version.json").exists()
    capsys.readouterr()
    for model, sentence in {
        "2": "There is no folder, alias or version 2; there are champion, 1.",
        "data": "data holds no model",
        "models/none": "models/none holds no model",
    }.items():
        assert cli.main(["score", "rows.csv", "out.csv", "--model", model]) == 2
        assert sentence in capsys.readouterr().err


def test_it_tells_how_far_it_is_if_it_takes_long(
    rows: pl.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    pl.concat([rows] * 300).write_parquet("rows.parquet")
    monkeypatch.setattr(files, "CELLS", 1)
    assert cli.main(["score", "rows.parquet", "out.parquet"]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(parquet, "PATIENCE", 0.001)
    assert cli.main(["score", "rows.parquet", "out.parquet"]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said
    assert all(re.fullmatch(r"\.\.\. [\d,]+ of 12,000 rows scored", line) for line in said)


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
    whole = scoring.predict(bundle, columns).probabilities
    monkeypatch.setattr(scoring, "BATCH_ROWS", 7)
    parts = scoring.predict(bundle, columns).probabilities
    assert whole is not None
    assert parts is not None
    np.testing.assert_allclose(parts, whole, atol=1e-6)
