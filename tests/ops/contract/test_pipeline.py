"""The stages that need no model: ingest, validate and split, on visits to a surgery."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from my_model.ml import source
from my_model.ops import contract as contracts
from my_model.ops.cli import main
from my_model.ops.pipeline import validate
from my_model.ops.project import Project

ROWS = 300
Prepare = Callable[[type[dy.Schema], pl.DataFrame], Project]


class Visit(dy.Schema):
    """One visit: its row decides alone where it goes."""

    age = dy.Float64(min=0, nullable=True)
    smoker = dy.Bool(nullable=True)
    complaint = dy.String(nullable=True)
    ill = dy.Enum(["no", "yes"], metadata={"target": True})


class PatientVisit(Visit):
    """The visits of a patient stay together."""

    patient = dy.String(metadata={"group": True})


class DatedVisit(PatientVisit):
    """The past must foretell the future."""

    at = dy.Datetime(metadata={"event_time": True})


def visits(rows: int = ROWS, seed: int = 0) -> pl.DataFrame:
    """Rows as a file has them: all text."""
    draw = np.random.default_rng(seed)
    start = datetime(2024, 1, 1)
    return pl.DataFrame(
        {
            "age": [f"{age:.3f}" for age in draw.uniform(0, 100, rows)],
            "smoker": draw.choice(["yes", "no", ""], rows),
            "complaint": draw.choice(["cough", "back pain", "no idea"], rows),
            "ill": draw.choice(["no", "yes"], rows),
            "patient": [f"patient {n}" for n in draw.integers(60, size=rows)],
            "at": [str(start + timedelta(hours=int(n))) for n in draw.integers(2000, size=rows)],
        }
    )


@pytest.fixture
def prepare(empty: Project, monkeypatch: pytest.MonkeyPatch) -> Prepare:
    """Gives the empty project a schema and rows."""

    def prepare(schema: type[dy.Schema], rows: pl.DataFrame) -> Project:
        monkeypatch.setattr(contracts, "schema", lambda: schema)
        monkeypatch.setattr(source, "load", lambda root: rows.lazy())
        return empty

    return prepare


def run(*stages: str) -> None:
    for stage in stages or ("ingest", "validate", "split"):
        assert main(["stage", stage]) == 0


def sides(project: Project) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows to learn from and the rows held out."""
    return pl.read_parquet(project.train), pl.read_parquet(project.holdout)


class Note(dy.Schema):
    """A contract that asks nothing of a row without its target."""

    text = dy.String(nullable=True)
    kind = dy.Enum(["a", "b"], metadata={"target": True})


def test_rows_that_no_rule_is_asked_of_are_all_good(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(contracts, "schema", lambda: Note)
    checked = validate.check(pl.DataFrame({"text": ["x", None]}), labelled=False)
    assert (len(checked.good), checked.counts) == (2, {})


@pytest.mark.parametrize("schema", [Visit, PatientVisit, DatedVisit])
def test_the_same_rows_give_the_same_bytes(prepare: Prepare, schema: type[dy.Schema]) -> None:
    project = prepare(schema, visits())

    def written() -> dict[Path, bytes]:
        run()
        folders = (project.data, project.reports)
        files = [file for folder in folders for file in folder.rglob("*") if file.is_file()]
        return {file: file.read_bytes() for file in files}

    first = written()
    assert {file.parent.name for file in first} == {
        *("raw.parquet", "valid.parquet", "quarantine.parquet", "reports"),
        *("train.parquet", "holdout.parquet"),
    }
    assert {file.name for file in first} == {"000000.parquet", "validation.json"}
    assert written() == first


def test_no_row_is_lost_or_on_both_sides(prepare: Prepare) -> None:
    project = prepare(Visit, visits())
    run()
    train, holdout = sides(project)
    both, raw = pl.concat([train.drop("__fold"), holdout]), pl.read_parquet(project.valid)
    assert both.sort(pl.all()).equals(raw.sort(both.columns))
    assert 0.1 * ROWS < len(holdout) < 0.3 * ROWS
    assert set(train["__fold"]) == {0, 1}


def test_text_is_parsed_to_the_types_of_the_contract(prepare: Prepare) -> None:
    rows = pl.DataFrame(
        {
            "age": ["41.5", " 7 ", "", "1e2"],
            "smoker": ["Yes", "0", "", "f"],
            "complaint": ["cough", "", "cough", "cough"],
            "ill": ["no", "yes", "no", "yes"],
            "patient": ["1", "2", "3", "4"],
            "at": [
                "2024-01-31",
                "2024-01-31T08:30",
                "2024-01-31 08:30:00.5",
                "2024-01-31T09:30:00+01:00",
            ],
        }
    )
    project = prepare(DatedVisit, rows)
    run("ingest")
    raw = pl.read_parquet(project.raw)
    at = datetime(2024, 1, 31, 8, 30)
    assert raw["age"].to_list() == [41.5, 7.0, None, 100.0]
    assert raw["smoker"].to_list() == [True, False, None, False]
    assert raw["at"].to_list() == [
        *(datetime(2024, 1, 31), at, at.replace(microsecond=500_000, second=0), at),
    ]


def test_rows_that_break_the_contract_go_to_quarantine(prepare: Prepare) -> None:
    broken = visits(4, seed=1).with_columns(
        age=pl.Series(["-1", "old", "50", "60"]),
        ill=pl.Series(["yes", "no", "maybe", "no"]),
        patient=pl.Series(["a", "b", "c", None]),
    )
    project = prepare(PatientVisit, pl.concat([visits(), broken]))
    run("ingest", "validate")
    report = json.loads((project.reports / "validation.json").read_text(encoding="utf-8"))
    rules = {"age|min": 1, "age|dtype": 1, "ill|dtype": 1, "patient|nullability": 1}
    assert (report["rows"], report["valid"], report["quarantined"]) == (ROWS + 4, ROWS, 4)
    assert report["rules"] == rules
    assert pl.read_parquet(project.valid).equals(pl.read_parquet(project.raw)[:ROWS, :5])
    quarantine = pl.read_parquet(project.quarantine)
    assert sorted(quarantine["rule"]) == sorted(rules)
    told = dict(quarantine.select("rule", "age").iter_rows())
    assert told["age|dtype"] == "old", "what could not be read is shown as it came"


def test_too_many_bad_rows_stop_the_pipeline(
    prepare: Prepare, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = visits(30, seed=1).with_columns(age=pl.lit("-1"))
    project = prepare(Visit, pl.concat([visits(), bad]))
    run("ingest")
    assert main(["stage", "validate"]) == 2
    sentence = capsys.readouterr().err
    assert "30 of 330 rows break the contract" in sentence
    assert "age|min 30 times (such as age = '-1.0')" in sentence
    assert len(pl.read_parquet(project.quarantine)) == 30
    assert not project.valid.exists()


@pytest.mark.parametrize(
    ("rows", "sentence"),
    [
        (visits().rename({"age": "Age"}), "lacks age (is it Age?); add or rename"),
        (visits().clear(), "The source has no rows"),
        (visits().with_columns(age=pl.lit([1, 2])), r"holds List(Int64) in age"),
    ],
)
def test_a_source_that_will_not_do_is_explained(
    prepare: Prepare, capsys: pytest.CaptureFixture[str], rows: pl.DataFrame, sentence: str
) -> None:
    project = prepare(Visit, rows)
    assert main(["stage", "ingest"]) == 2
    assert sentence in capsys.readouterr().err
    assert not project.raw.exists()


def test_the_rows_of_a_group_stay_together(prepare: Prepare) -> None:
    project = prepare(PatientVisit, visits())
    run()
    train, holdout = sides(project)
    assert not set(train["patient"]) & set(holdout["patient"])
    assert train.group_by("patient").agg(pl.col("__fold").n_unique())["__fold"].max() == 1


def test_what_is_held_out_lies_in_the_future(prepare: Prepare) -> None:
    project = prepare(DatedVisit, visits())
    run()
    train, holdout = sides(project)
    periods = [
        *(train.filter(pl.col("__fold") == fold)["at"].to_list() for fold in (0, 1)),
        holdout["at"].to_list(),
    ]
    for earlier, later in pairwise(periods):
        assert max(earlier) < min(later)


def test_a_row_stays_where_it_is_when_others_come(prepare: Prepare) -> None:
    rows = visits(2 * ROWS)
    held_out = []
    for some in (rows.head(ROWS), rows.reverse()):
        project = prepare(Visit, some)
        run()
        held_out.append(sides(project)[1])
    before, after = held_out
    known = rows.head(ROWS).cast({"age": pl.Float64})["age"].implode()
    assert after.filter(pl.col("age").is_in(known)).sort(pl.all()).equals(before.sort(pl.all()))
