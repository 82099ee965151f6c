"""What is kept of people: marked values, how long, and a person who asks to be forgotten."""

from __future__ import annotations

import html
import json
import re
import sqlite3
import sys
from datetime import UTC, datetime, timedelta
from itertools import chain
from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

import dataframely as dy
import numpy as np
import polars as pl
import pytest
import yaml
from copies import answer, client, environment, git, learn, ops, registry, run, set_params
from my_model.ops import privacy, user_code
from my_model.ops.evaluation import page
from my_model.ops.files import read_json, write_files
from my_model.ops.pipeline.labelled import LABELLED, PREDICTION
from servers import service
from small import judged

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from my_model.ops.project import Project

ADA = "Ada-4711"  # nobody else is called so
ORDERS = f'note;customer\n"two\nlines; of one";{ADA}\n"é";Bob\nit;?\n'.encode("cp1252")
LINES = f'{{"customer": "Bob"}}\n{{"customer": "{ADA}"}}\n'

SCHEMA = """
import dataframely as dy


class Row(dy.Schema):
    nick = dy.String(nullable=True, metadata={"category": True, "sensitive": True})
    letter = dy.String(nullable=True, metadata={"text": True, "sensitive": True})
    income = dy.Float64(min=0, max=2_000_000, nullable=True, metadata={"sensitive": True})
    born = dy.Datetime(nullable=True, metadata={"sensitive": True})
    x = dy.Float64()
    y = dy.Enum(["no", "yes"], metadata={"target": True})
"""
SOURCE = """
from pathlib import Path

import polars as pl


def load(root: Path) -> pl.LazyFrame:
    return pl.scan_parquet(root / "data" / "people.parquet")
"""
FEATURES = """

plain = features


def features(columns, text):
    for letter in columns["letter"]:
        if letter.startswith("as a number"):
            float(letter)
    return plain(columns, text)
"""
ASKED: dict[str, Any] = {
    "nick": "Xanthippe",
    "letter": "the zyzzyva",
    "income": 98765.5,
    "born": "1904-05-06T00:00:00",
    "x": 0.5,
}
REFUSED = (
    {"income": 5_432_109.5},
    {"income": "Xanthippa"},
    {"born": "on Zyzzday"},
    {"nick": ["Xanthippos"]},
    {"nickname": "Xanthippus"},
)
MARKED = (
    *("87654.25", "87,654", "1903-07-09", "7654321.5"),  # in the source
    *("Xanthipp", "zyzzyv", "Zyzzday", "98765.5", "98,765"),  # in requests
    *("1904-05-06", "5432109.5"),
)


class Patient(dy.Schema):
    """Rows whose sensitive columns a model learns from."""

    name = dy.String(metadata={"category": True, "sensitive": True})
    letter = dy.String(metadata={"text": True, "sensitive": True})
    income = dy.Float64(metadata={"sensitive": True})
    born = dy.Datetime(metadata={"sensitive": True})
    x = dy.Float64()
    y = dy.Enum(["no", "yes"], metadata={"target": True})


def holders(root: Path, value: str, *, column: str = "customer") -> set[str]:
    """Files below a folder that hold a value, as text or in a column of a table."""
    found = set()
    for path in root.rglob("*"):
        if not path.is_file() or ".git" in path.parts:
            continue
        content = path.read_bytes()
        held = value.encode() in content
        if content.startswith(b"PAR1"):
            frame = pl.read_parquet(path)
            held = column in frame.columns and value in frame[column].cast(pl.String).to_list()
        if held:
            found.add(path.relative_to(root).as_posix())
    return found


def test_no_file_beside_the_data_holds_a_marked_value(tmp_path: Path) -> None:
    draw = np.random.default_rng(7)
    x = draw.normal(size=400)
    rows = pl.DataFrame(
        {
            "name": draw.choice(["Ann", "Bo"], 400),
            "letter": draw.choice(["dear sir", "hello there"], 400),
            "income": draw.normal(2000, 300, 400).round(2),
            "born": np.datetime64("1980-01-01", "us") + np.arange(400) * np.timedelta64(3, "D"),
            "x": x,
            "y": np.where(x + draw.normal(0, 0.3, 400) > 0, "yes", "no"),
        },
        schema_overrides={"y": pl.Enum(["no", "yes"]), "born": pl.Datetime("us")},
    )
    marked = {"income": 87654.25, "born": datetime(1903, 7, 9)}
    first = pl.int_range(pl.len()) == 0
    rows = rows.with_columns(
        pl.when(first).then(pl.lit(value)).otherwise(pl.col(name)).alias(name)
        for name, value in marked.items()
    )
    held_out = rows.tail(100).with_columns(
        pl.when(first).then(pl.lit("Xanthippe")).otherwise("name").alias("name"),
        pl.when(first).then(pl.lit("zyzzyva")).otherwise("letter").alias("letter"),
    )
    with judged(tmp_path, Patient, rows.head(300), held_out, {"model": "linear"}) as project:
        for value in ("87654.25", "87,654", "1903-07-09", "Xanthippe", "zyzzyva"):
            assert holders(project.root, value, column="") == set(), value
        files = [it for it in project.root.rglob("*") if it.is_file() and it.suffix != ".parquet"]
        written = b"".join(it.read_bytes() for it in files)
        usual = rows["income"].cast(pl.String), rows["born"].dt.to_string("%F")
        assert [value for value in chain(*usual) if value.encode() in written] == []


def people() -> pl.DataFrame:
    """Rows with values that nobody else has, of which the contract refuses one."""
    draw = pl.int_range(600, eager=True).shuffle(seed=7)
    x = draw / 300 - 1
    marked = pl.int_range(pl.len())
    return pl.DataFrame(
        {
            "nick": ["Ann", "Bo"] * 300,
            "letter": ["dear sir", "hello there", "good day"] * 200,
            "income": (2000 + 300 * x).round(2),
            "born": pl.datetime_range(
                datetime(1980, 1, 1), datetime(1990, 1, 1), closed="left", eager=True
            ).gather(draw),
            "x": x,
            "y": pl.select(
                pl.when(x + (draw % 7) / 20 > 0).then(pl.lit("yes")).otherwise(pl.lit("no"))
            ),
        }
    ).with_columns(
        income=pl.when(marked == 300)
        .then(87654.25)
        .when(marked == 301)
        .then(7_654_321.5)
        .otherwise("income"),
        born=pl.when(marked == 300).then(datetime(1903, 7, 9)).otherwise("born"),
    )


def test_only_data_hold_a_marked_value_after_a_whole_life(whole: Project, tmp_path: Path) -> None:
    root, said = whole.root, tmp_path / "said"
    people().write_parquet(whole.data / "people.parquet")
    whole.schema.write_text(SCHEMA)
    whole.schema.with_name("source.py").write_text(SOURCE)
    with whole.schema.with_name("features.py").open("a") as code:
        code.write(FEATURES)
    set_params(whole, "monitoring", window=100)
    assert run(whole, "dvc", "repro").returncode == 0
    git(whole, "add", "--all")
    git(whole, "commit", "--quiet", "--no-verify", "--message", "People")
    told = [ops(whole, "register"), ops(whole, "promote", "--reason", "other rows", "2")]
    settings = environment(whole) | {"PREDICTIONS": str(whole.served), "ACCESS_LOG": "true"}
    command = [sys.executable, "-m", "my_model.ops.cli", "serve"]
    with service(command, root, said, settings) as served:
        for place in range(130):
            reply = served.ask("/predict", ASKED | {"x": (place - 50) / 80})
            truth = {
                "prediction_id": reply.body["prediction_id"],
                "truth": "yes" if place > 49 else "no",
            }
            assert served.ask("/feedback", truth).status == 202
        for wrong in REFUSED:
            reply = served.ask("/predict", ASKED | wrong)
            assert reply.status == (200 if "nickname" in wrong else 422), reply.text
        failing = ASKED | {"letter": "as a number, zyzzyva"}
        assert served.ask("/predict", failing).status == 500
        told.append(served.ask("/metrics").text)
    (tmp_path / "rows.jsonl").write_text(json.dumps(ASKED | {"x": None}))
    commands = (
        ("monitor",),  # all inputs are far from the data, as far as it may look at them
        ("labels", "show"),
        ("retrain", "--trust-labels"),
        ("history",),
        ("costs",),
        ("scorecard",),
        ("evidence", "2"),
        ("explain", "3"),
        ("explain", json.dumps(ASKED)),
        ("score", str(tmp_path / "rows.jsonl"), str(tmp_path / "scored.csv")),
    )
    told += [ops(whole, *arguments) for arguments in commands]
    given = tmp_path / "failing.jsonl"
    given.write_text(json.dumps(failing))
    told += [ops(whole, "score", str(given), "scored.csv", code=2)]
    assert "ml/features.py, line " in told[-1]
    assert "ValueError: it may say what is sensitive, and --debug tells it" in told[-1]
    told += [said.read_text()]
    assert sum(it.count("(sensitive)") for it in told) == 2 * 4
    assert re.search(r'features.py", line \d+, in features\n +float\(letter\)\n', told[-1])
    assert "ValueError" in told[-1]
    for value in MARKED:
        assert [it for it in told if value in it] == [], value
        assert holders(root, value, column="") == set(), value


def cut_short(patch: pytest.MonkeyPatch, name: str, command: str) -> None:
    """Let it end as it would if a person interrupted it where it calls a function."""
    does: Callable[..., Any] = resolve_name(f"my_model.ops.privacy:{name}")

    def end(*given: Any) -> Any:
        if command in ("", *given[1:2]):
            raise KeyboardInterrupt
        return does(*given)

    patch.setattr(f"my_model.ops.privacy.{name}", end)


def test_a_person_who_asks_is_forgotten_wherever_rows_are_kept(
    whole: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = whole.root
    one, other = "a" * 24, "b" * 24
    labels = {PREDICTION: [one, other], LABELLED: [datetime(2030, 1, 1)] * 2}
    pl.DataFrame({**labels, "customer": [None, "Bob"]}).write_parquet(whole.labelled / "n.parquet")
    (whole.data / "source.csv").write_bytes(ORDERS)
    (whole.data / "more.jsonl").write_text(LINES)
    added = ("data/labelled/n.parquet", "data/source.csv", "data/more.jsonl")
    assert run(whole, "dvc", "add", *added).returncode == 0
    learnt = pl.read_parquet(whole.train)
    names = pl.Series("customer", [ADA, *["Bob"] * (len(learnt) - 1)])
    learnt.with_columns(names).write_parquet(whole.train / "000000.parquet")
    for text in (whole.reports / "cards" / "model.md", whole.bundle / "manifest.json"):
        text.write_text(f'["{ADA}"]')
    assert run(whole, "dvc", "commit", "--force", "split", "evaluate").returncode == 0
    assert run(whole, "dvc", "push").returncode == 0
    lock = yaml.safe_load((root / "dvc.lock").read_text())["stages"]["split"]["outs"]
    digest = next(out["md5"] for out in lock if out["path"] == "data/train.parquet")
    client(whole).set_model_version_tag(whole.name, "1", "dvc.train", digest)
    texts = hold(ADA, root / "mlartifacts")
    write_files(root / "build" / "evidence", {"1.tar.gz": b""})
    asked = pl.DataFrame({"customer": [ADA, "Bob"], "y": [1, 2]})
    mine, others = answer(whole, asked)
    learn(whole, {mine: "malignant", others: "benign"})
    for log in (whole.served / "predictions", whole.served / "feedback"):
        (told,) = log.glob("*.jsonl")
        told.write_text(told.read_text().replace(mine, one))
    before = holders(root, ADA)
    assert (len(before) >= 15, sum(".dvc/storage" in name for name in before) >= 3) == (True, True)

    for name, command in (("dvc.ask", "add"), ("_destroy", "")):
        with monkeypatch.context() as patch:
            cut_short(patch, name, command)
            with pytest.raises(KeyboardInterrupt):
                privacy.run(whole, f"customer={ADA}")
        assert pl.read_parquet(whole.labelled / "n.parquet")[PREDICTION].to_list() == [other]
    gone = ops(whole, "forget", f"customer={ADA}")
    assert "never to be reproduced: version 1.\nNot looked into: 1.tar.gz." in gone

    assert holders(root, ADA) == set()
    record, *repeated = read_json(whole.reports / "forgotten.json")
    assert [its["dvc"] for its in repeated] == [record["dvc"]] * 2
    assert (record["column"], record["answered"], record["versions"]) == ("customer", 1, ["1"])
    files = ("labelled/n.parquet", "source.csv", "more.jsonl", "train.parquet/000000.parquet")
    assert record["rows"] == {f"data/{name}": 1 for name in files}
    assert (whole.data / "source.csv").read_bytes() == ORDERS.replace(
        f'"two\nlines; of one";{ADA}\n'.encode(), b""
    )
    assert (whole.data / "more.jsonl").read_text() == LINES.splitlines(keepends=True)[0]
    assert pl.read_parquet(whole.labelled / "n.parquet")[PREDICTION].to_list() == [other]
    assert "up to date" in run(whole, "dvc", "status", "data/labelled/n.parquet.dvc").stdout
    assert [its in told.read_text() for its in (one, others)] == [False, True]
    assert run(whole, "dvc", "push", "data/source.csv").returncode == 0
    ops(whole, "forget", "customer=李")
    assert read_json(whole.reports / "forgotten.json")[-1]["rows"] == {}
    assert "Name a column and its value" in ops(whole, "forget", "Ada", code=2)
    assert git(whole, "status", "--porcelain", "reports/forgotten.json")
    assert missing(whole) == texts


def test_a_person_is_forgotten_in_what_a_server_of_mlflow_keeps(
    whole: Project, trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tmp_path / "server"
    store.mkdir()
    (whole.data / "more.jsonl").write_text(LINES)
    assert run(whole, "dvc", "add", "data/more.jsonl").returncode == 0
    with registry(trained, store) as (address, _):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
        ops(whole, "register")
        texts = hold(ADA, store / "files")
        said = ops(whole, "forget", f"customer={ADA}")
        (record,) = read_json(whole.reports / "forgotten.json")
        assert {it.partition("/")[2] for it in record["texts"]} == texts
        assert holders(store / "files", ADA) == set()
        assert f"{len(texts)} texts." in said
        assert "Not looked into" not in said
        assert missing(whole) == texts
        with sqlite3.connect(store / "mlflow.db") as database:  # as `mlflow gc` does
            database.execute("DELETE FROM runs")
        said = ops(whole, "forget", f"customer={ADA}")
        assert "Not looked into: the artifacts of version 1." in said


def hold(value: str, artifacts: Path) -> set[str]:
    """Let texts of a version hold a value; give their names among its artifacts."""
    (manifest,) = artifacts.rglob("bundle/manifest.json")
    code = next(manifest.parent.parent.glob("code/**/*.py"))
    texts = [manifest, manifest.parents[1] / "reports" / "gates.json", code]
    for text in texts:
        text.write_text(f'["{value}"]')
    return {it.relative_to(manifest.parents[1]).as_posix() for it in texts}


def missing(project: Project) -> set[str]:
    """What the evidence of the first version says that it lacks, and why it may."""
    said = ops(project, "evidence", "1")
    folder = project.root / "build" / "evidence" / "1"
    told, records = (read_json(folder / f"{name}.json") for name in ("missing", "forgotten"))
    assert set(told.values()) <= {record["at"] for record in records}
    assert f"names them, and missing.json {len(told)} that are gone." in said
    assert not any((folder / name).exists() for name in told)
    assert {"bundle/model.onnx", "reports/cards/model.md"} <= {
        line.split("  ")[1] for line in (folder / "SHA256SUMS").read_text().splitlines()
    }
    return {*told}


def test_a_retraining_ends_before_anybody_is_forgotten(whole: Project) -> None:
    """What it has laid aside would bring the rows back."""
    whole.laid_aside.mkdir(parents=True)
    assert "A retraining has begun" in ops(whole, "forget", f"customer={ADA}", code=2)


def test_a_time_is_found_however_it_is_written(whole: Project) -> None:
    times = [
        datetime(1903, 7, 9),
        datetime(1904, 5, 6, 7, 8, 9),
        datetime(1905, 5, 6, 7, 8, 9, 500),
    ]
    ids = ["a", "b", "c"]
    told: dict[str, Any] = {PREDICTION: ids, LABELLED: [datetime(2030, 1, 1)] * 3, "born": times}
    pl.DataFrame(told).write_parquet(whole.labelled / "n.parquet")
    assert run(whole, "dvc", "add", "data/labelled/n.parquet").returncode == 0
    log = whole.served / "predictions" / "20300101T000000.jsonl"
    log.parent.mkdir(parents=True, exist_ok=True)
    line = {"id": "d", "inputs": {"born": "1904-05-06T07:08:09"}}
    log.write_text(f"{json.dumps(line)}\n")
    for text, left in (("1903-07-09", ids[1:]), ("1904-05-06 07:08:09", ids[2:])):
        ops(whole, "forget", f"born={text}")
        assert pl.read_parquet(whole.labelled / "n.parquet")[PREDICTION].to_list() == left
    assert not log.read_text().strip()
    ops(whole, "forget", "born=1905-05-06T07:08:09")  # of another moment, by some microseconds
    assert pl.read_parquet(whole.labelled / "n.parquet")[PREDICTION].to_list() == ids[2:]


def test_a_column_that_nothing_knows_is_a_slip(whole: Project) -> None:
    orders = "{id},custömer\nx,Bob\n".encode("cp1252")
    (whole.data / "source.csv").write_bytes(orders)
    report = next((whole.root / "mlartifacts").rglob("gates.json"))
    report.write_text('["Bob-4711"]')
    assert run(whole, "dvc", "add", "data/source.csv").returncode == 0
    for slip, right in (("custmer", "custömer"), ("mean_radius", "mean radius")):
        said = ops(whole, "forget", f"{slip}=Bob-4711", code=2)
        assert f"know a column {slip}; did you mean {right}" in said
        assert "Gone" not in said
    assert "zzz; ml/schema.py names yours." in ops(whole, "forget", "zzz=Bob", code=2)
    assert not (whole.reports / "forgotten.json").exists()
    assert report.exists()
    assert "Gone: 0 answered rows, 1 rows of 1 files" in ops(whole, "forget", "custömer=Bob")
    assert (whole.data / "source.csv").read_bytes() == orders.splitlines(keepends=True)[0]


def test_without_git_nothing_is_begun(whole: Project) -> None:
    """DVC would fail for it after the log and the labels were changed."""
    (whole.root / ".git").rename(whole.root / "git")
    folders = (whole.served, whole.data, whole.reports, whole.root / "git")
    files = [path for folder in folders for path in folder.rglob("*") if path.is_file()]
    before = [path.read_bytes() for path in files]
    for person in ([f"customer={ADA}"], []):
        assert "not in git yet; run `make setup`" in ops(whole, "forget", *person, code=2)
    assert [path.read_bytes() for path in files] == before
    assert not (whole.reports / "forgotten.json").exists()


def test_what_is_older_than_it_may_be_goes(whole: Project) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    logs = {
        days: whole.served / "feedback" / f"{now - timedelta(days=days):%Y%m%dT%H%M%S}.jsonl"
        for days in (0, 9, 12)
    }
    for path in logs.values():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")
    told: dict[str, Any] = {
        PREDICTION: ["a-label", "new"],
        LABELLED: [now - timedelta(days=40), now],
    }
    pl.DataFrame(told).write_parquet(whole.labelled / "n.parquet")
    assert run(whole, "dvc", "add", "data/labelled/n.parquet").returncode == 0
    ops(whole, "forget")
    assert all(path.exists() for path in logs.values())
    assert holders(whole.root, "a-label", column=PREDICTION)
    set_params(whole, "retention", log_days=10, label_days=30)
    ops(whole, "forget")
    assert {days for days, path in logs.items() if path.exists()} == {0, 9}
    assert not holders(whole.root, "a-label", column=PREDICTION)
    assert pl.read_parquet(whole.labelled / "n.parquet")[PREDICTION].to_list() == ["new"]


WRITERS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": json.dumps,
    "JSON in UTF-8": lambda value: json.dumps(["\n" + value], ensure_ascii=False),
    "JSON in ASCII": lambda value: json.dumps(f"„{value}"),
    "HTML": lambda value: f"<b>{html.escape(value)}</b>",
    "Markdown": lambda value: f"Of {page.escaped(value)}.",
}


@pytest.mark.parametrize("writer", WRITERS)
@pytest.mark.parametrize(
    "value",
    [
        "ada@example.org",
        'Ada "A." O\'Hara',
        "a|b & <c>",
        "Zoë_Müller 🦊",
        "5.00 €\tnet",
        "x*_#$~`[y",
    ],
)
def test_a_value_is_found_however_it_is_escaped(value: str, writer: str) -> None:
    found = privacy.written(value)
    assert found.search(WRITERS[writer](value))
    assert not found.search(WRITERS[writer](f"{value}e"))
    assert not found.search(WRITERS[writer](f"e{value}"))


@pytest.mark.parametrize(
    "keys", ['{"sensitive": True}', "{'sensitive': True}", "dict(sensitive=1)"]
)
def test_what_an_exception_says_may_be_sensitive_however_that_is_written(
    keys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = tmp_path / "ml" / "schema.py"
    schema.parent.mkdir()
    monkeypatch.setattr(user_code, "PACKAGE", tmp_path)
    schema.write_text("age = dy.Int64()\n")
    assert user_code.said(ValueError("of 61")) == "of 61"
    schema.write_text(f"age = dy.Int64(metadata={keys})\n")
    assert "61" not in user_code.said(ValueError("of 61"))
