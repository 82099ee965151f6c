"""`ops data use`: files of every kind, and what is made of them."""

from __future__ import annotations

import bz2
import csv
import gzip
import json
import lzma
import random
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from io import BytesIO, StringIO
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import polars as pl
import pytest
from copies import most_memory, numbers_of
from my_model.ops import cli
from my_model.ops import contract as contracts
from my_model.ops.data import adopt as adopting
from my_model.ops.data import code, leaks, reading
from my_model.ops.data import roles as deciding
from my_model.ops.errors import UserError
from my_model.ops.pipeline import parsing, validate
from my_model.ops.serving.requests import Reader
from my_model.ops.serving.settings import Strictness
from my_model.ops.settings import with_values
from overlay import under_test
from polars.io.plugins import register_io_source

if TYPE_CHECKING:
    from my_model.ops.data.roles import Draft
    from my_model.ops.data.types import Column, Role
    from my_model.ops.project import Project

ROWS = 60


@dataclass(frozen=True)
class Adopted:
    """What was decided on a file, the code that was written, and the rows that this code reads."""

    draft: Draft
    schema: str
    source: str
    rows: pl.DataFrame
    broken: dict[str, int]
    notes: tuple[str, ...]

    def __getitem__(self, name: str) -> Column:
        return next(column for column in self.draft.columns if column.name == name)


Adopt = Callable[..., Adopted]
Data = str | bytes | pl.DataFrame


@pytest.fixture
def adopt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Adopt:
    """Takes a file as `ops data use` would, runs the code that it writes, and checks the rows."""

    def adopt(data: Data, target: str = "y", task: str | None = None, **roles: Role) -> Adopted:
        file, folder = tmp_path / "file", tmp_path / "data"
        write(file, data)
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        opened = reading.open_file(file, folder)
        shutil.copyfile(opened.path, folder / f"source.{opened.format}")
        wish = deciding.Wish(target, task, roles)  # type: ignore[arg-type]
        with opened.explained():
            draft = deciding.decide(opened.scan(), wish)
        texts = {
            "schema": code.schema(draft, file.name),
            "source": code.source(draft, opened, file.name),
        }
        made: dict[str, Any] = {}
        for name, text in texts.items():
            exec(compile(text, name, "exec"), made)  # noqa: S102  this is what it is for
        monkeypatch.setattr(contracts, "schema", lambda: made["Row"])
        contracts.load()
        parsed = parsing.parse(made["load"](tmp_path)).rows
        rows, lacking = validate.complete(parsed, made.get("REQUIRED", ()))
        assert lacking == draft.lacking
        checked = validate.check(rows.collect())
        return Adopted(
            draft, texts["schema"], texts["source"], checked.good, checked.counts, opened.notes
        )

    return adopt


def write(file: Path, data: Data) -> None:
    if isinstance(data, pl.DataFrame):
        data.write_parquet(file)
    else:
        file.write_bytes(data if isinstance(data, bytes) else data.encode())


def table(
    columns: Mapping[str, Sequence[object]],
    rows: int = ROWS,
    separator: str = ",",
    quoting: Literal[0, 1] = csv.QUOTE_MINIMAL,
) -> str:
    """A CSV file whose columns repeat their values."""
    text = StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n", quoting=quoting)
    writer.writerow(columns)
    for row in range(rows):
        writer.writerow([values[row % len(values)] for values in columns.values()])
    return text.getvalue()


def numbers(seed: int = 0, rows: int = ROWS) -> list[float]:
    """Numbers that no two rows share, and that say nothing."""
    draw = random.Random(seed)
    return [round(draw.gauss(0, 1), 6) for _ in range(rows)]


X = numbers()
Y = ["stay" if value < 0.4 else "leave" for value in numbers(100)]
"""A target that no other column tells."""

DAY = date(2024, 2, 29)
NOON = datetime(2024, 2, 29, 12, 0, 5)


@pytest.mark.parametrize(
    ("texts", "type_", "values"),
    [
        (["1", "-2", "+3"], "Int64", [1, -2, 3]),
        (["1", "2.5", ".5", "5.", "1e3"], "Float64", [1, 2.5, 0.5, 5, 1000]),
        (["1,5", "-2,25"], "Float64", [1.5, -2.25]),
        (["1.234,50", "7"], "Float64", [1234.5, 7]),
        (["1,234", "12,345,678"], "Int64", [1234, 12345678]),
        (["1.234", "12.345.678"], "Int64", [1234, 12345678]),
        (["1 234", "12 345 678"], "Int64", [1234, 12345678]),
        (["1'234.5", "3"], "Float64", [1234.5, 3]),
        (["$1,200.50", "$3.00"], "Float64", [1200.5, 3]),
        (["3,50 €", "-1,25 €"], "Float64", [3.5, -1.25]),
        (["12%", "3.5%"], "Float64", [12, 3.5]),
        (["1.234", "2.345"], "Float64", [1.234, 2.345]),
        (["1", "unknown", "2"], "Int64", [1, None, 2]),
        (["1", "", "NA", "null", "?", "n/a", "-"], "Int64", [1, *[None] * 6]),
        (["007", "012"], "String", ["007", "012"]),
        (["12345678901234567890", "1"], "String", ["12345678901234567890", "1"]),
        (["Yes", "no", "NO"], "Bool", [True, False, False]),
        (["t", "f", ""], "Bool", [True, False, None]),
        (["TRUE", "False"], "Bool", [True, False]),
        (["0", "1"], "Int64", [0, 1]),
        (["True", "False", "None"], "Bool", [True, False, None]),
        (["yes", "no", "maybe"], "String", ["yes", "no", "maybe"]),
        (["on", "off"], "String", ["on", "off"]),
        (["2024-02-29", ""], "Date", [DAY, None]),
        (["29/02/2024", "01/03/2024"], "Date", [DAY, date(2024, 3, 1)]),
        (["02/29/2024", "03/01/2024"], "Date", [DAY, date(2024, 3, 1)]),
        (["29.2.24", "1.3.24"], "Date", [DAY, date(2024, 3, 1)]),
        (["Feb 29, 2024", "Mar 1, 2024"], "Date", [DAY, date(2024, 3, 1)]),
        (["29 February 2024", "1 March 2024"], "Date", [DAY, date(2024, 3, 1)]),
        (["2024-02", "2024-03"], "Date", [date(2024, 2, 1), date(2024, 3, 1)]),
        (["29.02.2024", "unknown"], "Date", [DAY, None]),
        (["2024-02-29 12:00:05", ""], "Datetime", [NOON, None]),
        (["2024-02-29T14:00:05+02:00", "2024-03-01T00:00:00Z"], "Datetime", [NOON]),
        (["2024-02-29T12:00:05Z", "2024-03-01T12:00:05.5Z"], "Datetime", [NOON]),
        (["02/29/2024 12:00:05 PM", "03/01/2024 1:00:00 AM"], "Datetime", [NOON]),
        (["2024-Q1", "2024-Q2"], "String", ["2024-Q1", "2024-Q2"]),
        (["2024-02-29 12:00:05 UTC", "2024-03-01 12:00:05 UTC"], "Datetime", [NOON]),
        (["20240229T120005Z", "20240301T120005Z"], "Datetime", [NOON]),
        (["Thu, 29 Feb 2024 12:00:05 +0000", ""], "Datetime", [NOON]),
        (["2024-02-29T13:00:05+01:00[Europe/Berlin]", ""], "Datetime", [NOON]),
        (["\u22121.5", "2"], "Float64", [-1.5, 2]),
        (["12.50 EUR", "-3.25 EUR"], "Float64", [12.5, -3.25]),
        (["-$5.00", "(7.50)", "$1"], "Float64", [-5, -7.5, 1]),
        (["₹1,23,456", "₹7"], "Int64", [123456, 7]),
        (["5 EUR", "5 USD"], "String", ["5 EUR", "5 USD"]),
        (["5 kg", "7.5 kg", ""], "Float64", [5, 7.5, None]),
        (["36 months", "60 months"], "Int64", [36, 60]),
        (["20°C", "-3°C"], "Int64", [20, -3]),
        (["12A", "13A"], "String", ["12A", "13A"]),
        (["CHF 1'234.50", "CHF 7.00"], "Float64", [1234.5, 7]),
        (["Rs. 500", "Rs. 7,000"], "Int64", [500, 7000]),
        (["$ (1,234.50)", "$ 5.00"], "Float64", [-1234.5, 5]),
        (["1.5", "#DIV/0!", "-nan", "\\N"], "Float64", [1.5, None, None, None]),
        (["Thursday, February 29, 2024", ""], "Date", [DAY, None]),
        (["2024年02月29日", "2024年03月01日"], "Date", [DAY]),
        (["3.11.4", "3.12.1", "3.9.0"], "String", ["3.11.4", "3.12.1", "3.9.0"]),
        (["1-2-3", "12-10-5"], "String", ["1-2-3", "12-10-5"]),
        (["١٢٣", "٤٥"], "Int64", [123, 45]),
        (["１２．５", "-３"], "Float64", [12.5, -3]),  # noqa: RUF001
        (["१२", "३४"], "Int64", [12, 34]),
        (["\u0663\u066b\u0665", "1.25"], "Float64", [3.5, 1.25]),
        (["٢٠٢٤-٠٢-٢٩", ""], "Date", [DAY, None]),
        (["\u0660\u0660\u0667", "\u0661"], "String", ["\u0660\u0660\u0667", "\u0661"]),
        (["1.234,50-", "7,25"], "Float64", [-1234.5, 7.25]),
        (["1\u202f234,50", "7,25"], "Float64", [1234.5, 7.25]),
        (["1 day", "2 days"], "Int64", [1, 2]),
        (["0,5 ‰", "3 ‰"], "Float64", [0.5, 3]),
        (["29.02.2024", "00.00.0000"], "Date", [DAY, None]),
        (["2024-02-29", "9999-12-31"], "Date", [DAY, None]),
        (["29.02.2024", *["31.12.9999"] * 29], "Date", [DAY, None]),
        (["7", "-", "--", "-"], "Int64", [7, None, None, None]),
        (["7", "none", "none"], "String", ["7", "none", "none"]),
    ],
)  # fmt: skip
def test_a_column_is_read_as_a_person_would(
    adopt: Adopt, texts: list[str], type_: str, values: list[object]
) -> None:
    adopted = adopt(table({"x": X, "value": texts, "y": Y}))
    assert adopted["value"].type == type_
    assert adopted.rows["value"].to_list()[: len(values)] == values
    assert not adopted.broken


@pytest.mark.parametrize(
    ("encoding", "separator", "quoting", "newline"),
    [
        ("utf-8", ",", csv.QUOTE_MINIMAL, "\n"),
        ("utf-8-sig", ";", csv.QUOTE_ALL, "\r\n"),
        ("utf-16", "\t", csv.QUOTE_MINIMAL, "\n"),
        ("utf-16-le", ",", csv.QUOTE_MINIMAL, "\n"),
        ("utf-16-be", "|", csv.QUOTE_ALL, "\r\n"),
        ("utf-32", ";", csv.QUOTE_MINIMAL, "\n"),
        ("cp1252", ";", csv.QUOTE_MINIMAL, "\r\n"),
        ("latin-1", "\t", csv.QUOTE_ALL, "\n"),
    ],
)
def test_any_common_separator_and_encoding(
    adopt: Adopt, encoding: str, separator: str, quoting: Literal[0, 1], newline: str
) -> None:
    words = ["Köln, am Rhein", 'der "Dom"', "a;b|c", "zwei\nZeilen"]
    text = table({"Größe": X, "Ort": words, "y": Y}, separator=separator, quoting=quoting)
    adopted = adopt(text.replace("\n", newline).encode(encoding))
    expected = [word.replace("\n", newline) for word in words]
    assert adopted.rows["Ort"].to_list()[:4] == expected
    assert adopted.rows["Größe"].to_list() == X


@pytest.mark.parametrize(
    ("text", "names"),
    [
        (table({" x ": X, " y": [" stay ", " leave"]}), ["x", "y"]),
        (table({"": range(ROWS), "x": X, "y": Y}), ["x", "y"]),
        (table({"x": X, "y": Y}).replace("\n", ",\n"), ["x", "y"]),
        ("\ufeff" + table({"x": X, "y": Y}), ["x", "y"]),
        (table({"x": X, "y": Y}) + "\n\n", ["x", "y"]),
    ],
)
def test_what_a_spreadsheet_adds_is_taken_away(adopt: Adopt, text: str, names: list[str]) -> None:
    adopted = adopt(text)
    assert adopted.rows.columns == names
    assert len(adopted.rows) == ROWS
    assert adopted.draft.target.classes == ("leave", "stay")


def test_quotation_marks_may_be_letters(adopt: Adopt) -> None:
    sizes = ["5'3\" tall", '"short', 'a "b"']
    rows = "".join(f"{x}\t{sizes[row % 3]}\t{Y[row]}\n" for row, x in enumerate(X))
    adopted = adopt("x\tsize\ty\n" + rows)
    assert adopted.rows["size"].to_list()[:3] == sizes


@pytest.mark.parametrize(
    ("days", "read", "warned"),
    [
        (["01/02/2024", "03/02/2024", "02/03/2024"], date(2024, 2, 1), True),
        (["01/02/2024", "01/03/2024", "02/01/2024"], date(2024, 1, 2), True),
        (["01/02/2024", "01/13/2024"], date(2024, 1, 2), False),
        (["01/02/2024", "13/01/2024"], date(2024, 2, 1), False),
    ],
)
def test_day_and_month_are_told_apart_by_the_rows(
    adopt: Adopt, days: list[str], read: date, *, warned: bool
) -> None:
    rows = [days[row * len(days) // ROWS] for row in range(ROWS)]
    adopted = adopt(table({"day": rows, "x": X, "y": Y}))
    assert adopted.rows["day"][0] == read
    assert bool(adopted["day"].warning) is warned


ODD = [
    *("class", "None", "import", "filter", "columns", "validate", "sample", "mro", "dy", "pl"),
    *("Age", "age", "AGE", "2nd", "a b", "a_b", "a.b", "_private", "__dunder", "self", "Row"),
    *("🙂", "性别", "Größe (m²)", "ﬁ", "Имя", "Сера", "a–b", "it's", 'say "hi"', '"', '"""'),  # noqa: RUF001
    *("back\\slash", "new\nline", "tab\there", "{brace}", "%s", "'", "\u202eevil", "x" * 120),
]


def test_any_name_of_a_column_will_do(adopt: Adopt, tmp_path: Path) -> None:
    adopted = adopt(table({**{name: ["a", "b", "c", ""] for name in ODD}, "x": X, "y": Y}))
    assert adopted.rows.columns == [*ODD, "x", "y"]
    assert set(adopted.rows["\u202eevil"].unique()) == {"a", "b", "c", None}
    ruff(tmp_path, adopted)


def test_any_name_of_a_class_will_do(adopt: Adopt, tmp_path: Path) -> None:
    names = sorted(["it's", 'say "hi"', "back\\slash", "a,b", "🙂", "new\nline", '"""', "x" * 90])
    adopted = adopt(table({'the "target"': names, "x": X}), 'the "target"')
    assert contracts.load().classes == tuple(names)
    assert not adopted.broken
    ruff(tmp_path, adopted)


def ruff(folder: Path, adopted: Adopted) -> None:
    """Hold the code that was written to the project's own checks."""
    shutil.copyfile(under_test() / "pyproject.toml", folder / "pyproject.toml")
    files = [folder / "schema.py", folder / "source.py"]
    for file, text in zip(files, (adopted.schema, adopted.source), strict=True):
        file.write_text(code.formatted(text, file), encoding="utf-8")
    names = [str(file) for file in files]
    for check in (["format", "--diff"], ["check"]):
        command = [sys.executable, "-m", "ruff", *check, *names]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout


def test_the_code_passes_the_projects_checks(adopt: Adopt, tmp_path: Path) -> None:
    columns = {
        "amount paid in the first year after signing, in euros": ["1.234,50", "7,25"],
        "amount paid in the second year after signing, in euros": ["1.234,50", "7,25"],
        "day": ["29.02.2024", "unknown"],
        "note": [f"some words, and another {x}" for x in X],
        "customer id": range(1000, 1000 + ROWS),
        "still open": ["yes", "NA", "no"],
        "seen": ["1709208005", "1709208006"],
        "count": ["١٢", "٣"],
        "branch": ["north"],
        "y": [f"a class with a rather long name {number}" for number in range(9)],
    }
    adopted = adopt(table(columns, 900))
    assert [step.function for step in adopted["day"].steps] == ["unless", "dates"]
    ruff(tmp_path, adopted)


@pytest.mark.parametrize(
    ("texts", "task", "type_", "classes"),
    [
        (["b", "a", ""], "classification", "String", ("a", "b")),
        (["Yes", "No"], "classification", "String", ("No", "Yes")),
        (["Yes", "no", "NO"], "classification", "Bool", ()),
        (["true", "False"], "classification", "Bool", ()),
        (["+", "-"], "classification", "String", ("+", "-")),
        (["None", "mild", "grave"], "classification", "String", ("None", "grave", "mild")),
        (["0", "1", ""], "classification", "Int64", (0, 1)),
        (["1.0", "0.0", "", "2.0"], "classification", "Int64", (0, 1, 2)),
        (["1", "2", "3", "n/k"], "classification", "Int64", (1, 2, 3)),
        ([str(number) for number in range(30)], "regression", "Int64", ()),
        (["1000", "2000", "3000"], "regression", "Int64", ()),
        (["1.5", "2.5", "3.5", "NA"], "regression", "Float64", ()),
        (["1,5", "2,5", "3,5", "NA"], "regression", "Float64", ()),
    ],
)
def test_the_target_says_what_the_task_is(
    adopt: Adopt, texts: list[str], task: str, type_: str, classes: tuple[object, ...]
) -> None:
    adopted = adopt(table({"x": numbers(1, 200), "y": texts}, 200))
    target = adopted.draft.target
    assert (adopted.draft.task, target.type, target.classes) == (task, type_, classes)
    assert contracts.load().task == task
    assert not adopted.broken


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        ([1.0, 0.0, None, float("nan")], 2),
        ([1.25, 0.5, 7.0, float("nan")], 1),
        ([True, False, None, True], 1),
        (["a", "b", "", "b"], 1),
    ],
)
def test_rows_without_a_target_are_dropped_in_code_that_says_so(
    adopt: Adopt, values: list[Any], lost: int
) -> None:
    frame = pl.DataFrame({"x": numbers(2, 200), "y": values * 50}, strict=False)
    adopted = adopt(frame)
    assert adopted.draft.lacking == {"y": lost * 50}
    assert "REQUIRED = ['y']" in adopted.source
    assert len(adopted.rows) == 200 - lost * 50
    assert not adopted.broken


def test_asked_for_the_other_task(adopt: Adopt) -> None:
    ratings = table({"x": numbers(3, 300), "y": [1, 2, 3, 4, 5]}, 300)
    assert adopt(ratings).draft.task == "classification"
    assert adopt(ratings, task="regression").draft.task == "regression"
    many = table({"x": numbers(3, 300), "y": range(30)}, 300)
    assert adopt(many).draft.task == "regression"
    assert adopt(many, task="classification").draft.target.classes == tuple(range(30))


def test_roles_are_seen(adopt: Adopt) -> None:
    draw = random.Random(4)
    truth = [draw.choice(["stay", "leave"]) for _ in range(200)]
    adopted = adopt(
        table(
            {
                "rowid": range(1, 201),
                "customer_id": [f"C{draw.randrange(10**6)}" for _ in truth],
                "PassengerId": [draw.randrange(10**6) for _ in truth],
                "hash": [f"{draw.getrandbits(64):x}" for _ in truth],
                "__index_level_0__": [draw.randrange(10**6) for _ in truth],
                "region_id": [draw.randrange(5) for _ in truth],
                "comment": [f"it is {draw.choice(['cold', 'hot'])} on day {i}" for i in range(200)],
                "zip": [f"{draw.randrange(10**4):05}" for _ in truth],
                "postcode": [draw.randrange(10**4, 10**5) for _ in truth],
                "branch": ["north"],
                "empty": [""],
                "seen": ["x", ""],
                "city": [f"city{draw.randrange(80)}" for _ in truth],
                "list": ["[1, 2]"],
                "x": numbers(5, 200),
                "y": truth,
            },
            200,
        )
    )
    roles = {item.name: item.role for item in adopted.draft.columns}
    identifiers = ("rowid", "customer_id", "PassengerId", "hash", "__index_level_0__")
    assert {name for name, role in roles.items() if role == "identifier"} == set(identifiers)
    assert {name for name, role in roles.items() if role == "left out"} == {
        "branch",
        "empty",
        "list",
    }
    assert {name for name, role in roles.items() if role == "text"} == {"comment"}
    assert "'north' in every row" in adopted["branch"].why
    assert adopted["postcode"].category
    assert adopted["zip"].type == "String"
    assert "many" in adopted["city"].warning
    kinds = {column.name: column.kind for column in contracts.load().columns}
    assert kinds["postcode"] == "category"
    assert kinds["comment"] == "text"


def test_leaks_are_left_out_or_said(adopt: Adopt) -> None:
    draw = random.Random(6)
    truth = [draw.choice("abc") for _ in range(400)]
    nearly = [value if draw.random() < 0.99 else "a" for value in truth]
    half = [value if draw.random() < 0.5 else "a" for value in truth]
    columns: dict[str, Sequence[object]] = {
        "copy": [value.upper() for value in truth],
        "number": [ord(value) + draw.random() / 2 for value in truth],
        "gap": ["" if value == "a" else value for value in truth],
        "nearly": nearly,
        "half": half,
        "y": truth,
    }
    adopted = adopt(table(columns, 400))
    roles = {item.name: item.role for item in adopted.draft.columns}
    assert [name for name, role in roles.items() if role == "left out"] == ["copy", "number", "gap"]
    assert all("leak" in adopted[name].warning for name in ("copy", "number", "gap", "nearly"))
    assert not adopted["half"].warning
    assert "copy (a leak: alone it tells 100.0% of y)" in " ".join(adopted.schema.split())


def test_leaks_of_a_number(adopt: Adopt) -> None:
    draw = random.Random(8)
    truth = numbers(7, 400)
    columns: dict[str, Sequence[object]] = {
        "fahrenheit": [32 + value * 1.8 for value in truth],
        "near": [value + draw.gauss(0, 0.3) for value in truth],
        "y": truth,
    }
    adopted = adopt(table(columns, 400))
    assert adopted["fahrenheit"].role == "left out"
    assert adopted["near"].role == "feature"
    assert not adopted["near"].warning


@pytest.mark.parametrize("values", [numbers(9, 400), [f"word {n % 7}" for n in range(400)]])
def test_chance_is_no_leak(values: list[Any]) -> None:
    draw = random.Random(10)
    classes = pl.Series([draw.choice("ab") for _ in values])
    assert leaks.strength(pl.Series(values), classes) < leaks.SUSPECT
    assert leaks.strength(pl.Series(values), pl.Series(numbers(11, 400))) < leaks.SUSPECT


def test_wishes_are_granted(adopt: Adopt) -> None:
    columns: dict[str, Sequence[object]] = {
        "year": [1950 + row // 4 for row in range(200)],
        "house": ["a", "b", "c", ""],
        "name": ["x", "y"],
        "remark": ["good", "bad"],
        "hidden": ["p", "q"],
        "x": numbers(12, 200),
        "y": Y,
    }
    adopted = adopt(
        table(columns, 200),
        year="event_time",
        house="group",
        name="identifier",
        remark="text",
        hidden="left out",
    )
    roles = {column.name: column.role for column in contracts.load().columns}
    assert roles["year"] == "event_time"
    assert roles["house"] == "group"
    assert roles["name"] == "identifier"
    assert "hidden" not in roles
    assert contracts.load().text == ("remark",)
    assert adopted.rows["year"][-1] == date(1999, 1, 1)
    assert adopted.draft.lacking == {"house": 50}
    assert len(adopted.rows) == 150


def test_parquet_keeps_its_types(adopt: Adopt) -> None:
    noon = NOON.replace(second=0)
    frame = pl.DataFrame(
        {
            "small": pl.Series([1, 2, 3, None] * 25, dtype=pl.Int8),
            "unsigned": pl.Series([1, 2, 3, 4] * 25, dtype=pl.UInt64),
            "float": pl.Series([1.5, float("nan"), None, 2.5] * 25, dtype=pl.Float32),
            "decimal": pl.Series([Decimal("1.25"), Decimal("2.5")] * 50),
            "flag": [True, False, None, True] * 25,
            "day": [DAY, DAY + timedelta(1), None, DAY] * 25,
            "until": [date(9999, 12, 31), DAY] * 50,
            "code": pl.Series([2**63, 2**63 + 1] * 50, dtype=pl.UInt64),
            "zoned": pl.Series([noon, noon + timedelta(1)] * 50).dt.replace_time_zone("Asia/Tokyo"),
            "long": [timedelta(seconds=90), timedelta(1), None, timedelta(0)] * 25,
            "clock": [time(12), time(13)] * 50,
            "level": pl.Series(["low", "high"] * 50, dtype=pl.Categorical),
            "text": ["1,5", "NA", "2,25", ""] * 25,
            "nothing": pl.Series([None] * 100, dtype=pl.Null),
            "nested": [[1, 2]] * 100,
            "inner": [{"a": 1}] * 100,
            "y": ["stay", "leave", "stay", "stay", "leave"] * 20,
        }
    )
    adopted = adopt(frame)
    left_out = [item.name for item in adopted.draft.columns if item.role == "left out"]
    assert left_out == ["nothing", "inner"]
    assert not adopted.broken
    assert adopted.rows.row(0, named=True) == {
        "small": 1,
        "unsigned": 1,
        "float": 1.5,
        "decimal": 1.25,
        "flag": True,
        "day": DAY,
        "until": None,
        "code": str(2**63),
        "zoned": noon - timedelta(hours=9),
        "long": 90.0,
        "clock": "12:00:00",
        "level": "low",
        "text": 1.5,
        "nested": [1, 2],
        "y": "stay",
    }
    assert adopted.rows["float"].to_list()[1:4] == [None, None, 2.5]


def test_json_lines_may_lack_keys(adopt: Adopt) -> None:
    lines = [
        {"a b": [1, 2.5, None][row % 3], "flag": row % 2 == 0, "y": Y[row]}
        | ({"rare": "here" if row % 3 else "there"} if row % 2 else {})
        | {"deep": {"key": 1}, "x": X[row]}
        for row in range(ROWS)
    ]
    adopted = adopt("".join(json.dumps(line) + "\n" for line in lines))
    assert adopted["deep"].role == "left out"
    assert adopted.rows.drop("x").row(1) == (2.5, False, Y[1], "here")
    assert adopted.rows["rare"].null_count() == ROWS // 2
    lines[0]["a\u2028b"] = "c\x85d"  # which end no line
    adopted = adopt("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    assert adopted.rows["a\u2028b"][0] == "c\x85d"


def test_a_few_odd_values_go_to_quarantine_and_many_make_it_text(adopt: Adopt) -> None:
    few = ["12x", *map(str, range(1, 200))]
    many = [f"{row}{'x' * (row % 9 == 0)}" for row in range(200)]
    adopted = adopt(table({"few": few, "many": many, "x": numbers(13, 200), "y": Y}, 200))
    assert adopted["few"].type == "Int64"
    assert "12x" in adopted["few"].warning
    assert adopted.broken == {"few|dtype": 1}
    assert adopted["many"].type == "String"


def test_rows_beyond_the_sample_have_their_say(
    adopt: Adopt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deciding, "SAMPLE", 100)
    number = 400
    later = dict.fromkeys(range(1, number, 4), "2.5")
    odd = {number - 1: "oops9"}
    many = {row: f"v{row}" for row in range(1, number, 2)}
    columns: dict[str, list[object]] = {
        name: [others.get(row, row % 50) for row in range(number)]
        for name, others in {"later": later, "odd": odd, "many": many}.items()
    }
    truth = ["b" if row % 8 == 0 else "c" if row % 40 == 5 else "a" for row in range(number)]
    constant = ["k"] * (number - 1) + ["l"]
    adopted = adopt(
        table({**columns, "last": constant, "x": numbers(14, number), "y": truth}, number)
    )
    types = {item.name: item.type for item in adopted.draft.columns}
    assert types["later"] == "Float64"
    assert types["odd"] == "Int64"
    assert types["many"] == "String"
    assert adopted.broken == {"odd|dtype": 1}
    assert adopted.draft.target.classes == ("a", "b", "c")
    assert adopted["last"].role == "feature"


@pytest.mark.parametrize(
    ("encoding", "words"),
    [
        ("cp1251", "Москва Казань да нет"),
        ("gbk", "北京 上海"),
        ("shift_jis", "東京 大阪 京都 はい いいえ"),
        ("cp1250", "Łódź Gdańsk Wrocław"),
        ("cp1252", "señor niño"),
        ("koi8_r", "Москва Казань да нет"),
        ("euc_kr", "서울 부산"),
        ("big5", "臺北 高雄"),
        ("cp1253", "Αθήνα Θεσσαλονίκη"),
        ("cp1255", "ירושלים חיפה"),
        ("cp1256", "القاهرة دمشق"),
        ("mac_roman", "München Nürnberg Straße Düsseldorf"),
        ("cp850", "München Nürnberg Straße Düsseldorf"),
        ("cp866", "Москва Казань Саратов Екатеринбург"),
        ("cp1252", "l\u2019été 20° Curaçao"),
    ],
)
def test_an_encoding_is_guessed_and_shown(adopt: Adopt, encoding: str, words: str) -> None:
    places = words.split()
    adopted = adopt(table({"place": places, "x": X, "y": Y}).encode(encoding))
    assert adopted.rows["place"].to_list()[: len(places)] == places
    (note,) = adopted.notes
    assert note.startswith("Read as ")
    assert repr(places[0]) in note


@pytest.mark.parametrize(
    "word", ["20°C", "Temp°C", "m²", "“so”", "W/m²K", "l·l", "ÉTÉ", "a—b", "prix\xa0net", "Ñandú"]
)
def test_a_single_word_of_windows_is_enough(adopt: Adopt, word: str) -> None:
    adopted = adopt(table({"place": [word, "none"], "x": X, "y": Y}).encode("cp1252"))
    assert adopted.rows["place"].to_list()[0] == word


@pytest.mark.parametrize(
    "words", ["M\x81\xa7nchen K\x81\xa7ln", "Stra\xa6\xb1e gr\xd7\x9f\xa4n", "ab\x81c"]
)
def test_what_no_encoding_makes_words_of_is_refused(tmp_path: Path, words: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_bytes(table({"place": words.split(), "x": X, "y": Y}).encode("latin-1"))
    with pytest.raises(
        UserError, match=r"is not text in .*, for it would hold .*`--encoding cp850`"
    ):
        reading.open_file(file, tmp_path)


@pytest.mark.parametrize("large", ["inf", "-Infinity", "1e39", "-1.7e308", "1e400"])
@pytest.mark.parametrize("name", ["value", "y"])
def test_numbers_that_no_model_can_hold_go_to_quarantine(
    adopt: Adopt, name: str, large: str
) -> None:
    columns: dict[str, list[Any]] = {"value": numbers(3, 200), "y": numbers(4, 200)}
    columns[name][7] = large
    for data in (
        table(columns, 200),
        pl.DataFrame({it: [*map(float, values)] for it, values in columns.items()}),
    ):
        adopted = adopt(data)
        assert adopted[name].warning.startswith("1 number is infinite or too large")
        assert adopted.broken == {f"{name}|inf": 1}
        assert len(adopted.rows) == 199


def test_numbers_that_no_model_can_tell_from_zero_tell_nothing(adopt: Adopt) -> None:
    tiny = [5e-324 * round(1e4 * x) for x in numbers(5, 200)]
    adopted = adopt(table({"value": tiny, "x": numbers(6, 200), "y": numbers(7, 200)}, 200))
    assert adopted["value"].role == "feature"
    assert not adopted["value"].warning


def test_whole_numbers_that_a_feature_rounds_are_named(adopt: Adopt) -> None:
    whole = [16_777_215 - 7 * row for row in range(ROWS)]
    adopted = adopt(table({"exact": whole, "rounded": [2 + it for it in whole], "y": Y}))
    assert not adopted["exact"].warning
    assert adopted["rounded"].warning.startswith("whole numbers beyond 16,777,216 are rounded")


@pytest.mark.parametrize(
    ("usual", "odd", "named"),
    [
        (range(20), -999, "-999"),
        (range(101), -99, "-99"),
        ([float(it) / 8 for it in range(90)], -9999.0, "-9999"),
        ([float(it) / 8 for it in range(90)], 99.9, "99.9"),
        (range(700), -32768, "-32768"),
        (range(90, 100), 99, None),
        (range(0, 5000, 50), 0, None),
    ],
)
def test_a_number_that_may_stand_for_no_value_is_named(
    adopt: Adopt, usual: Sequence[float], odd: float, named: str | None
) -> None:
    values = [odd if row % 9 == 4 else usual[row * 7 % len(usual)] for row in range(3 * ROWS)]
    adopted = adopt(table({"value": values, "y": [*Y, *Y, *Y]}, 3 * ROWS))
    warning = adopted["value"].warning
    assert (f"values are {named}; leave such cells empty" in warning) if named else not warning


def test_whole_floats_may_name_rows_and_huge_ones_are_a_quantity(adopt: Adopt) -> None:
    targets = [10.0 ** (17 + row % 20) for row in range(ROWS)]
    adopted = adopt(table({"customer_id": [f"1{row:04}.0" for row in range(ROWS)], "x": X,
                           "y": targets}))  # fmt: skip
    assert adopted["customer_id"].role == "identifier"
    assert adopted.draft.task == "regression"
    assert not adopted["x"].warning
    assert not adopted.broken


def test_a_header_may_begin_with_a_brace(adopt: Adopt) -> None:
    for name in ("{{ x }}", "{x", "[{x}]"):
        assert adopt(table({name: X, "y": Y})).rows.columns == [name, "y"]


def test_excel_may_name_the_separator(adopt: Adopt) -> None:
    assert adopt("sep=;\n" + table({"x": X, "y": Y}, separator=";")).rows.columns == ["x", "y"]


@pytest.mark.parametrize("encoding", ["utf-8", "UTF8", "utf-8-sig"])
def test_the_mark_of_utf_8_is_in_no_name(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / "rows.csv"
    file.write_text("id,y\n1,2\n", encoding="utf-8-sig")
    assert reading.open_file(file, tmp_path, encoding=encoding).columns == ("id", "y")


def test_a_quotation_mark_that_is_lost_is_noted(adopt: Adopt) -> None:
    rows = "".join(f'{x},"he said \\"hi\\" twice",{y}\n' for x, y in zip(X, Y, strict=True))
    (note,) = adopt("x,note,y\n" + rows).notes
    assert "is read without its quotation mark" in note


GOOD = table({"price": X, "y": Y, "number": range(1, ROWS + 1)})
CELL = '<c t="inlineStr"><is><t>{}</t></is></c>'
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
BOOK = (
    f'<Relationships><Relationship Id="a" Type="{OFFICE}/officeDocument" '
    'Target="xl/workbook.xml"/></Relationships>'
)
SHEETS = f'<workbook xmlns:r="{OFFICE}"><sheets>{{}}</sheets></workbook>'
STYLES = '<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>'
"""A number as it is, and as a day."""


def zipped(files: Mapping[str, str]) -> bytes:
    """A zip archive."""
    made = BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def cell(text: str) -> str:
    """A cell of a workbook; what looks like a number or a day is one."""
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return f'<c s="1"><v>{(date.fromisoformat(text) - date(1899, 12, 30)).days}</v></c>'
    if re.fullmatch(r"-?[\d.]+", text):
        return f"<c><v>{text}</v></c>"
    return CELL.format(text) if text else "<c/>"


def workbook(*tables: str, hidden: tuple[int, ...] = (), row: str = "", more: str = "") -> bytes:
    """An Excel workbook whose sheets hold these CSV files.

    Args:
        tables: of each sheet.
        hidden: the numbers of sheets that nobody sees.
        row: what is said of every row.
        more: what a sheet holds behind its rows.
    """
    sheets = ""
    links = f'<Relationship Id="s" Target="styles.xml" Type="{OFFICE}/styles"/>'
    files = {"xl/styles.xml": STYLES}
    for number, text in enumerate(tables, start=1):
        state = "hidden" if number in hidden else "visible"
        sheets += (
            f'<sheet name="Sheet {number}" sheetId="{number}" state="{state}" r:id="r{number}"/>'
        )
        links += (
            f'<Relationship Id="r{number}" Target="worksheets/{number}.xml" Type="x/worksheet"/>'
        )
        rows = "".join(
            f"<row {row}>{''.join(map(cell, cells))}</row>" for cells in csv.reader(StringIO(text))
        )
        files[f"xl/worksheets/{number}.xml"] = (
            f"<worksheet><sheetData>{rows}</sheetData>{more}</worksheet>"
        )
    files["_rels/.rels"] = BOOK
    files["xl/workbook.xml"] = SHEETS.format(sheets)
    files["xl/_rels/workbook.xml.rels"] = f"<Relationships>{links}</Relationships>"
    return zipped(files)


@pytest.mark.parametrize(
    "pack",
    [
        gzip.compress,
        bz2.compress,
        lambda data: lzma.compress(data[:99]) + lzma.compress(data[99:]),
        lambda data: zipped({"a/rows.csv": data.decode(), "__MACOSX/a/._rows.csv": "x"}),
        lambda data: workbook(data.decode(), ""),
        lambda data: workbook(data.decode(), GOOD, hidden=(2,)),
        lambda data: gzip.compress(data.decode().encode("utf-16")),
    ],
)
def test_a_table_is_unpacked(adopt: Adopt, pack: Callable[[bytes], bytes]) -> None:
    towns = ["Köln", "Bonn", "NA"]
    adopted = adopt(pack(table({"price": X, "town": towns, "size": [1, 2], "y": Y}).encode()))
    assert adopted.rows["price"].to_list() == X
    assert adopted.rows["town"].to_list()[:3] == ["Köln", "Bonn", None]
    assert adopted["size"].type == "Int64"
    assert not adopted.broken


def test_a_workbook_is_read_as_it_is_seen(adopt: Adopt) -> None:
    """A day may be a name, and a column have none; what is seen otherwise is noted."""
    columns = {" x ": X, "2024-02-29": [1.5, 2.5, 4], "": ["a", "b"], "y": Y}
    text = table({**columns, "seen": ["2024-02-29", "2024-03-01"]})
    adopted = adopt(workbook(text))
    assert adopted.notes == ()
    first = {"x": X[0], "2024-02-29 00:00:00": 1.5, "column 3": "a", "y": Y[0]}
    assert adopted.rows.row(0, named=True) == {**first, "seen": DAY}
    merged = '<mergeCells><mergeCell ref="A2:A3"/></mergeCells>'
    for sheet in (workbook(text, more=merged), workbook(text, row='hidden="1"')):
        assert [note.partition(" only ")[0] for note in adopt(sheet).notes] == ["Of merged cells"]


@pytest.mark.parametrize(
    ("texts", "alike"),
    [
        (["9-3-2024 at 12:30", "9-3-2024 at 13:30"], "times"),
        (["2.5k", "3.5k", "1.5M"], "numbers"),
        (["$1.5-2.5", "$3.5-7"], "numbers"),
        (["1.2k", "3M", "500"], "numbers"),
        (["<0.1", "0.5", ">100"], "numbers"),
        (["plain", "1.5k"], ""),
        (["18-25", "36+"], ""),
        (["1a", "2b"], ""),
        (["12:30", "PT5M"], "times"),
        (["1:30", "8:15"], "times"),
        (["P1DT12H", "PT5M"], "times"),
        (["3. März 2024", "14. Mai 2024"], "times"),
        (["Q1 2024", "Q2 2024"], "times"),
        (["2024-W01-1", "2024-W12-3"], "times"),
        (["Jan-24", "Mai-24"], "times"),
        (["20240229 0930", "20240301 1000"], "times"),
        (["IV", "IX", "II"], "numbers"),
        (["10²", "5²"], "numbers"),
        (["1_000", "2_500"], "numbers"),
        (["½", "1¼", "2"], "numbers"),
        (["1 1/2", "3/4"], "numbers"),
        (["5 kg", "300 g"], "numbers"),
        (["5kg", "300g"], "numbers"),
        (["90 min", "1 h", "1h 5m"], "numbers"),
        (["1,2 Mio.", "300 Tsd."], "numbers"),
        (["3", "4", "5+"], "numbers"),
        (["5'11\"", "6'2\""], "numbers"),
        (["١٢-٣", "٤٥-٦"], "numbers"),
        (["Heat (1995)", "Casino Royale (2006)"], ""),
        (["12AB", "13CD"], ""),
        (["ABC-24", "DEF-25"], ""),
        (["V", "I", "X"], ""),
        (["120-80", "130-85"], ""),
    ],
)
def test_text_that_looks_like_something_else_is_named(
    adopt: Adopt, texts: list[str], alike: str
) -> None:
    adopted = adopt(table({"value": texts, "x": X, "y": Y}))
    assert (f"looks like {alike}" in adopted["value"].warning) is bool(alike)


@pytest.mark.parametrize(
    "moments",
    [
        [1709208005 * 10**6, 1709208006 * 10**6],
        ["1709208005.000", "1709208006.500"],
        [1709208005.0, 1709208006.5],
        [20240229120005, 20240301120005],
    ],
)
def test_a_moment_may_be_a_number(adopt: Adopt, moments: list[float | str]) -> None:
    columns = {"seen_at": moments * (ROWS // 2), "x": X, "y": Y}
    for data in (table(columns), pl.DataFrame(columns)):
        assert adopt(data).rows["seen_at"][0] == NOON


def test_hours_are_no_seconds(adopt: Adopt) -> None:
    adopted = adopt(table({"seen_at": [2024022912, 2024022913], "x": X, "y": Y}))
    assert adopted["seen_at"].type == "Int64"
    assert "rounded to seven digits" in adopted["seen_at"].warning


SOLD = [abs(x) for x in X]


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("Total,{sum:.2f},,", "'Total' and '{sum:.2f}'"),
        ("GESAMT:,1,,\nprinted on Monday,,,", "'GESAMT:' and '1'"),
        (",1,,Sum", "'1' and 'Sum'"),
        (",{sum:.3f},,", "'{sum:.3f}'"),
        ("Totally,1,,stay", ""),
        (",9.5,,stay", ""),
    ],
)
def test_a_row_that_sums_up_the_others_is_named(adopt: Adopt, row: str, said: str) -> None:
    towns = [f"T{number}" for number in range(ROWS)]
    text = table({"town": towns, "sold": SOLD, "kind": ["a", "b", "c"], "y": Y})
    adopted = adopt(text + row.format(sum=sum(SOLD)) + "\n")
    notes = [note for note in adopting._notes(adopted.draft) if "sum up the others" in note]
    wanted = f"The row {said.format(sum=sum(SOLD))} at the end seems to sum up the others; "
    assert notes == ([f"{wanted}if so, delete it."] if said else [])


def test_a_category_may_be_called_total(adopt: Adopt) -> None:
    adopted = adopt(table({"loss": ["Partial", "Total"], "x": X, "y": Y}))
    assert not adopted.draft.total


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (["Nord", "NORD", "West"], "'NORD' and 'Nord'"),
        (["Nord", "Nord\u200b", "West"], r"'Nord' and 'Nord\u200b'"),
        (["San Jose", "San  Jose"], "'San  Jose' and 'San Jose'"),
        (["Mu\u0308nchen", "München"], "'Mu\u0308nchen' and 'München'"),
        (["Aa", "aA", "AA"], ""),
    ],
)
def test_values_that_nearly_are_the_same_are_named(
    adopt: Adopt, values: list[str], said: str
) -> None:
    for name in ("place", "y"):
        adopted = adopt(table({"place": ["a", "b", "c"], "x": X, "y": Y} | {name: values}))
        warned = adopted[name].warning
        assert (f"{said} differ by case, spaces or hidden letters alone" == warned) is bool(said)


@pytest.mark.parametrize("encoding", ["cp1252", "cp1251"])
def test_what_was_encoded_twice_is_named(adopt: Adopt, encoding: str) -> None:
    place = {"cp1252": "Zürich", "cp1251": "Самара"}[encoding]
    text = table({"place": [place, "Bonn"], "x": X, "y": Y})
    assert not adopt(text).notes
    (note,) = adopt(text.encode().decode(encoding)).notes
    assert f"seems to be {place!r}, in UTF-8 read as Windows-{encoding[2:]}" in note


def test_a_long_first_line_is_no_fault(adopt: Adopt) -> None:
    note = "long " * 300_000
    rows = [
        {"note": note if row == 0 else "short", "x": X[row], "y": Y[row]} for row in range(ROWS)
    ]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    csv_ = table({name: [row[name] for row in rows] for name in rows[0]})
    for data in (lines, csv_):
        assert adopt(data).rows["x"].to_list() == X


def test_what_is_not_learnt_from_and_what_means_missing_is_said(
    adopt: Adopt, tmp_path: Path
) -> None:
    columns = {"id": range(100, 160), "one": ["k"], "age": ["1", "n/k", "3"], "x": X, "y": Y}
    adopted = adopt(table(columns))
    said = [*adopting._notes(adopted.draft)]
    assert "age: cells that read n/k are taken as missing." in said
    assert "Not learnt from, for the reasons in the table: id and one." in said


SONGS = [f"s{number}" for number in range(120)]
TAGS = [";".join(some) for size in (1, 2, 3) for some in combinations("abcdefgh", size)] * 2
TAGS += [f"{tag};x;y" for tag in TAGS]


@pytest.mark.parametrize(
    ("target", "values", "more", "rows", "said"),
    [
        ("tags", ["red;blue", "red", "blue;red;green", "green"], {}, 80, "several labels"),
        ("tags", ["a|b", "b", "a"], {}, 90, "'a|b'"),
        ("colour", ["red", "light, blue", "dark, blue"], {}, 90, ""),
        ("city", ["Rome, NY", "Troy, NY", "Rome, GA", "Troy, GA"], {}, 80, ""),
        ("item_id", range(500, 800), {}, 900, "a recommendation"),
        ("movieId", range(7, 300, 2), {}, 900, "a recommendation"),
        ("order_id", range(900), {}, 900, "only names its row"),
        ("item_price", range(500, 800), {}, 900, ""),
        ("tenure", range(1, 90), {"churned": [0, 1, 1]}, 90, "churned tells whether it has ended"),
        ("Survival in days", numbers(3, 90), {"Status": ["alive", "dead"]}, 90, "a duration"),
        ("price", range(1, 90), {"status": [0, 1, 1]}, 90, ""),
        ("tenure", range(1, 90), {"status": [0, 1, 2]}, 90, ""),
        ("weeks", range(1, 90), {"smoker": [0, 1, 1]}, 90, ""),
    ],
)
def test_a_target_of_another_task_is_worth_a_look(
    adopt: Adopt,
    target: str,
    values: Sequence[object],
    more: dict[str, Sequence[object]],
    rows: int,
    said: str,
) -> None:
    shuffled = random.Random(1).choices(values, k=rows) if len(values) < rows else list(values)
    data = table({"x": numbers(5, rows), **more, target: shuffled}, rows)
    adopted = adopt(data, target)
    notes = [note for note in adopting._notes(adopted.draft) if note.startswith(f"{target}: ")]
    if said:
        (note,) = notes
        assert said in note
    else:
        assert not notes


@pytest.mark.parametrize(
    ("target", "values", "said"),
    [
        ("song", SONGS, "a recommendation"),
        ("tags", TAGS, "several labels"),
        ("tags", [f"['{song}']" for song in SONGS], "a column of yes and no for each"),
        ("note", SONGS, "choose another column.\n"),
    ],
)
def test_a_target_of_another_task_is_refused_with_a_hint(
    adopt: Adopt, target: str, values: list[str], said: str
) -> None:
    drawn = random.Random(1).choices(values, k=600)
    with pytest.raises(UserError) as refused:
        adopt(table({"x": numbers(5, 600), target: drawn}, 600), target)
    assert said in f"{refused.value}\n"


@pytest.mark.parametrize(
    ("data", "wish", "message"),
    [
        ("", {}, "is empty"),
        (" \n\n", {}, "is empty"),
        ("sep=;\n", {}, "is empty"),
        (b"\xef\xbb\xbf\n", {}, "is empty"),
        ("x,y\n", {}, "a header and no rows"),
        ("x,y", {}, "a header and no rows"),
        ("y\na\nb\n", {}, "column: .* is in its first line, 'y', which must be the header"),
        ("y,x,y\n1,2,3\n", {}, "more than one column called 'y'"),
        ("y,x, y \n1,2,3\n", {}, "more than one column called 'y'"),
        ("y,x\n1,2\n1,2,3\n" + "1,2\n" * 60, {}, "line 3 has 3 fields where the header has 2"),
        (GOOD.replace("price", "pri\0ce"), {}, r"bytes of zero; unpack it, .*`tr -d"),
        (GOOD + 512 * "\0", {}, "bytes of zero"),
        (b"\x28\xb5\x2f\xfd\x04\x88" + bytes(range(256)), {}, "not text; unpack it"),
        (b"\xd0\xcf\x11\xe0" + bytes(600), {}, "save it as CSV, without a password"),
        (workbook("y,x,y\n1,2,3\n"), {}, "more than one column called 'y'"),
        (b"PK\x03\x04 and more", {}, "cannot be unpacked: File is not a zip file; save it as CSV"),
        (b"\xd0\xcf\x11\xe0 and more", {}, "cannot be unpacked"),
        (gzip.compress(GOOD.encode())[:-99], {}, "cannot be unpacked: .*ended"),
        (gzip.compress(b""), {}, "file is empty"),
        (zipped({"a.csv": GOOD, "b.csv": GOOD}), {}, "several tables, a.csv and b.csv"),
        (zipped({"a/": ""}), {}, "it holds no table"),
        (workbook(GOOD, GOOD), {}, "several tables, Sheet 1 and Sheet 2"),
        (
            table({"town": ["Köln", "Aßlar", "Würzburg"], "x": X, "y": Y})
            .encode()
            .replace("Köln".encode(), b"K\xf6ln", 1),
            {},
            r"is UTF-8, but for b'K\\xf6ln'",
        ),
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\x01", {}, "is not text"),
        (b"PAR1 and nothing more", {}, "a damaged Parquet file"),
        (b"PARE and nothing more", {}, "a damaged Parquet file: .*; write it again"),
        (pl.DataFrame(), {}, "has no column"),
        (pl.DataFrame({"": X, "y": Y}), {}, "a column without a name"),
        ('[{"y": 1}]', {}, "one JSON list"),
        ('{"y": 1}\r{"y": 2}\r', {}, "its first line is no object"),
        ('\x1e{"y": 1}\n', {}, "its first line is no object"),
        ('{"y": 1}\n{"y": ' + 5000 * "[" + 5000 * "]" + "}\n", {}, "line 2 is no JSON object"),
        ('{"": 1, "y": 2}\n' * 60, {}, "a column without a name"),
        ('{\n  "y": 1\n}', {}, "its first line is no object"),
        ('{"y": 1}\n{"y": \n', {}, "line 2 is no JSON object"),
        ('{"y": 1}\n3\n', {}, "line 2 is no JSON object"),
        ('{"x": 1, "y": "a"}\n{"x": 1, "y": "a", "x": 2}\n', {}, "names 'x' twice in line 2"),
        ('{"y": 1, "x": NaN}\n' * 60, {}, "line 1 holds NaN, which JSON has not; write null"),
        ('{"y": 1, "x": 1e400}\n' * 60, {}, "line 1 holds 1e400, which JSON has not; write null"),
        (table({"*": X, "y": Y}), {}, r"a column called \*, a pattern; rename it"),
        (table({"^b.*$": X, "b": X[::-1], "y": Y}), {}, r"a column called \^b.\*\$, a pattern"),
        (table({"prediction": X, "y": Y}), {}, "itself calls a column 'prediction'"),
        (table({"probability_leave": X, "y": Y}), {}, "itself calls a column 'probability_leave'"),
        (table({"x": X, "x|text": X[::-1], "y": Y}), {}, r"itself calls a column 'x\|text'"),
        (table({"x": X, "x|max": X[::-1], "y": Y}), {}, r"itself calls a column 'x\|max'"),
        (table({"__fold": X, "y": Y}), {}, "itself calls a column '__fold'"),
        (
            table({"on": ["2024-02-29", "2023-01-01"], "on days": X, "y": Y}),
            {},
            "itself calls a column 'on days'",
        ),
        (GOOD, {"target": "Price"}, r"no column 'Price'; did you mean 'price'\?"),
        (table({"caf\u00e9": X, "y": Y}), {"target": "cafe\u0301"}, "did you mean 'caf\u00e9'"),
        (GOOD, {"target": "zzz"}, "no column 'zzz'; it has 'price', 'y' and 'number'"),
        (GOOD, {"prise": "text"}, r"no column 'prise'; did you mean 'price'\?"),
        (GOOD, {"y": "text"}, "'y' is the target"),
        (GOOD, {"price": "event_time"}, "--time 'price' holds no days or times"),
        (GOOD, {"price": "left out"}, "No column is left to learn from"),
        (GOOD, {"target": "price", "task": "classification"}, "numbers with decimals"),
        (GOOD, {"target": "number", "task": "classification"}, "too many different numbers"),
        (GOOD, {"task": "regression"}, "no numbers"),
        (table({"x": X, "y": ["a"]}), {}, "a single value, 'a'"),
        (table({"x": X, "y": ["a", ""]}), {}, "a single value, 'a'"),
        (table({"x": X, "y": [1]}), {}, "a single value"),
        (table({"x": X, "y": [""]}), {}, "no value in any row"),
        (table({"x": X, "y": ["2024-01-01", "2024-01-02"]}), {}, "choose a class or a number"),
        (table({"x": X, "y": [f"t{row}" for row in range(ROWS)]}), {}, "too many different texts"),
        (
            table({"x": numbers(0, 900), "y": [f"t{row % 150}" for row in range(900)]}, 900),
            {},
            "too many different texts",
        ),
        (table({"x": X, "y": Y}, 20), {}, "holds 20 rows"),
        (table({"x": X, "y": ["a", "b"] * 10 + [""] * 40}), {}, "Only 20 of 60 rows"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_in_a_sentence(
    adopt: Adopt, data: Data, wish: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message) as refused:
        adopt(data, **wish)
    assert "\n" not in str(refused.value)


def test_a_file_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        reading.open_file(tmp_path / "none.csv", tmp_path)
    with pytest.raises(UserError, match="is a folder"):
        reading.open_file(tmp_path, tmp_path)


PARAMS = """\
# What matters.
seed: 7 # lucky

data: # where from
  # the file
  source: src/old.py # here

train:
  source: not this one
"""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (PARAMS, PARAMS.replace("src/old.py", "data/source.csv")),
        ("data:\n  source: a\n", "data:\n  source: data/source.csv\n"),
        ("data:\n  source:\n", "data:\n  source: data/source.csv\n"),
        ("seed: 7\n", "seed: 7\ndata:\n  source: data/source.csv\n"),
        ("data: {source: a}\nseed: 7\n", "data: {source: data/source.csv}\nseed: 7\n"),
    ],
)
def test_one_line_of_the_parameters_changes(before: str, after: str) -> None:
    assert with_values(before, "data", {"source": "data/source.csv"}) == after


@pytest.fixture
def bare(trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in a repository of its own, not yet trained, which is the current folder."""
    root = tmp_path / "a project"
    listed = git(trained.root, "ls-files", "-z").split("\0")
    for name in filter(None, listed):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(trained.root / name, root / name)
    git(root, "init", "--quiet")
    git(root, "add", "--all")
    git(root, "commit", "--quiet", "--message", "Begin")
    monkeypatch.chdir(root)
    return root


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", *arguments], cwd=root, check=True, capture_output=True, text=True
    ).stdout


def state(root: Path) -> dict[str, bytes]:
    """Every file but git's own."""
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in files
        if not {".git", "tmp", "cache"} & set(path.relative_to(root).parts)
    }


@pytest.mark.parametrize(
    ("encoding", "named", "feature", "target", "classes"),
    [
        ("cp1251", False, "Возраст", "Отток", ("да", "нет")),
        ("gbk", False, "年龄", "流失", ("是的", "没有")),
        ("shift_jis", False, "年齢", "解約", ("はい", "いいえ")),
        ("cp1250", False, "Średnia liczba połączeń", "Odejście", ("został", "odszedł")),
        ("cp437", True, "Größe", "Kündigung", ("für", "später")),
        ("iso8859-2", True, "Źródło", "Odejście", ("żaden", "śpiący")),
    ],
)
def test_headers_of_any_script_and_a_named_encoding(
    bare: Path,
    capsys: pytest.CaptureFixture[str],
    encoding: str,
    named: bool,
    feature: str,
    target: str,
    classes: tuple[str, str],
) -> None:
    file = bare.parent / "native.csv"
    file.write_bytes(table({feature: X, target: classes}).encode(encoding))
    command = ["data", "use", str(file), "--target", target]
    assert cli.main([*command, "--encoding", "klingon"]) == 2
    assert "not text in KLINGON" in capsys.readouterr().err
    assert cli.main([*command, *(["--encoding", encoding] if named else [])]) == 0
    said = capsys.readouterr().out
    assert re.search(rf"^{feature} +Float64 +feature ", said, re.MULTILINE)
    assert re.search(rf"^{target} +Enum +target +2 classes: .*{classes[0]} ", said, re.MULTILINE)
    assert (bare / "data" / "source.csv").read_text("utf-8").startswith(f"{feature},{target}\n")


def test_a_file_becomes_the_projects_data(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = bare.parent / "first file.csv", bare.parent / "second.jsonl"
    first.write_bytes(table({"größe": X, "y": Y}, separator=";").encode("cp1252"))
    assert cli.main(["data", "use", str(first), "--target", "y"]) == 0
    assert (bare / "data/source.csv").read_text("utf-8").startswith("größe;y")
    assert (bare / "data/source.csv.dvc").exists()
    assert "source: data/source.csv" in (bare / "params.yaml").read_text()
    said = capsys.readouterr().out
    assert re.search(r"^größe +Float64 +feature +numbers with decimals$", said, re.MULTILINE)
    assert re.search(
        r"^y +Enum +target +2 classes: stay \(\d+\), leave \(\d+\)$", said, re.MULTILINE
    )
    staged = git(bare, "diff", "--cached", "--name-only").splitlines()
    code = ["src/my_model/ml/schema.py", "src/my_model/ml/source.py"]
    assert staged == ["data/source.csv.dvc", "params.yaml", *code]
    assert not git(bare, "diff", "--name-only")

    before = state(bare)
    second.write_text("".join(json.dumps({"x": x, "y": "always"}) + "\n" for x in X))
    assert cli.main(["data", "use", str(second), "--target", "y"]) == 2
    assert "a single value, 'always'" in capsys.readouterr().err
    assert state(bare) == before
    second.write_text("".join(json.dumps({"x": x, "y": row % 2}) + "\n" for row, x in enumerate(X)))
    assert cli.main(["data", "use", str(second), "--target", "y"]) == 0
    assert sorted(path.name for path in (bare / "data").glob("source*")) == [
        "source.jsonl",
        "source.jsonl.dvc",
    ]
    assert "is_in=[0, 1]" in (bare / code[0]).read_text()

    spark = bare.parent / "spark"
    spark.mkdir()
    for name in ("_SUCCESS", ".part-0.parquet.crc"):
        (spark / name).touch()
    for part in range(2):
        pl.DataFrame({"x": X, "y": Y}).write_parquet(spark / f"part-{part}.parquet")
    assert cli.main(["data", "use", str(spark), "--target", "y"]) == 0
    assert pl.read_parquet(bare / "data/source.parquet")["x"].to_list() == [*X, *X]


def test_nothing_that_git_has_not_got_is_replaced(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bare.parent / "file.csv"
    file.write_text(GOOD)
    with (bare / "src/my_model/ml/schema.py").open("a") as schema:
        schema.write("# what I know\n")
    before = state(bare)
    assert cli.main(["data", "use", str(file), "--target", "y"]) == 2
    assert "schema.py would be replaced" in capsys.readouterr().err
    assert state(bare) == before


def test_data_that_dvc_has_not_got_are_not_replaced(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, own = bare.parent / "file.csv", bare / "data" / "source.csv"
    own.parent.mkdir(exist_ok=True)
    file.write_text(GOOD)
    own.write_text("mine")
    assert cli.main(["data", "use", str(file), "--target", "y"]) == 2
    assert "is not in DVC" in capsys.readouterr().err
    assert own.read_text() == "mine"


def test_a_failure_at_the_end_changes_nothing(
    bare: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = bare.parent / "file.csv"
    file.write_text(GOOD)
    (bare / "data").mkdir(exist_ok=True)
    (bare / "data/source.csv").write_text("older")
    (bare / "data/source.csv.dvc").write_text("outs:\n- path: source.csv\n")
    shutil.rmtree(bare / ".dvc")
    before = state(bare)
    assert cli.main(["data", "use", str(file), "--target", "y"]) == 2
    assert "`dvc add data/source.csv` failed: " in capsys.readouterr().err
    assert state(bare) == before


def test_one_column_cannot_be_two_things(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = bare.parent / "file.csv"
    file.write_text(GOOD)
    wish = ["--target", "y", "--id", "price", "--drop", "price"]
    assert cli.main(["data", "use", str(file), *wish]) == 2
    assert "'price' cannot be both identifier and left out" in capsys.readouterr().err


def test_without_git_it_says_what_to_do(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.rmtree(bare / ".git")
    assert cli.main(["data", "use", "file.csv", "--target", "y"]) == 2
    assert "run `make setup`" in capsys.readouterr().err


@pytest.mark.parametrize(("format_", "kind"), [("parquet", int), ("parquet", str), ("csv", str)])
def test_items_are_an_open_set_of_ids(adopt: Adopt, format_: str, kind: type) -> None:
    draw = random.Random(0)
    ids = [kind(number) for number in range(400)]
    rows: dict[str, list[Any]] = {
        "seen": [draw.sample(ids, n % 5) for n in range(ROWS)],
        "placed_at": [NOON + timedelta(hours=n) for n in range(ROWS)],
        "item_id": [draw.choice(ids) for _ in range(ROWS)],
    }
    data: Data = pl.DataFrame(rows)
    if format_ == "csv":
        data = pl.DataFrame(rows | {"seen": [json.dumps(its) for its in rows["seen"]]}).write_csv()
    made = adopt(data, "item_id", "recommendation")
    for line in (
        "seen = dy.List(dy.String(), max_length=6, nullable=True)",
        'item_id = dy.String(metadata={"target": True, "item": True})',
    ):
        assert line in made.schema.replace("'", '"')
    assert contracts.load().task == "recommendation"
    assert made.broken == {}
    assert made.rows["item_id"].to_list() == [str(its) for its in rows["item_id"]]
    assert made.rows["seen"].to_list() == [[str(it) for it in its] for its in rows["seen"]]


@pytest.mark.parametrize("format_", ["parquet", "jsonl", "csv"])
def test_lists_become_arrays(adopt: Adopt, format_: str) -> None:
    draw = random.Random(0)
    rows: dict[str, list[Any]] = {
        "image": [[draw.randrange(17) for _ in range(4)] for _ in range(ROWS)],
        "sound": [[draw.random(), None] for _ in range(ROWS)],
        "history": [[draw.choice("abc")] * (n % 5) for n in range(ROWS)],
        "seen": [[n % 2 == 0] * (1 + n % 2) for n in range(ROWS)],
        "y": [draw.random() + n for n in range(ROWS)],
    }
    data: Data = pl.DataFrame(rows)
    if format_ == "jsonl":
        data = pl.DataFrame(rows).write_ndjson()
    if format_ == "csv":
        texts = {name: map(json.dumps, its) for name, its in rows.items() if name != "y"}
        data = pl.DataFrame(
            {name: list(its) for name, its in texts.items()} | {"y": rows["y"]}
        ).write_csv()
    made = adopt(data)
    for line in (
        "image = dy.Array(dy.Int64(), 4, nullable=True)",
        "sound = dy.Array(dy.Float64(nullable=True), 2, nullable=True)",
        "history = dy.List(dy.String(), max_length=6, nullable=True)",
        "seen = dy.List(dy.Bool(), max_length=3, nullable=True)",
    ):
        assert line in made.schema
    assert made["history"].why == "lists of texts, 0 to 4 in each"
    assert made.broken == {}
    for name in ("image", "history", "seen"):
        assert made.rows[name].to_list() == rows[name]


@pytest.mark.parametrize("format_", ["jsonl", "csv"])
def test_a_few_rows_without_their_list_go_to_quarantine(adopt: Adopt, format_: str) -> None:
    draw = random.Random(0)
    rows: list[dict[str, Any]] = [
        {"sound": [draw.random(), n, None], "seen": draw.choices("ab", k=n % 5), "y": n + 0.5}
        for n in range(400)
    ]
    rows[7] |= {"sound": 3, "seen": "a"}
    rows[8]["sound"] = {"a": [1]}
    rows[9]["sound"] = [[1], [2], [3]]
    data = "".join(json.dumps(row) + "\n" for row in rows)
    if format_ == "csv":
        texts = [{name: json.dumps(its) for name, its in row.items()} for row in rows]
        data = pl.DataFrame(texts).write_csv()
    made = adopt(data)
    assert "sound = dy.Array(dy.Float64(nullable=True), 3, nullable=True)" in made.schema
    assert "seen = dy.List(dy.String(), max_length=6, nullable=True)" in made.schema
    assert made["sound"].warning == (
        "all but 3 are lists of numbers with decimals; the rest goes to quarantine"
    )
    assert made.broken == {"sound|dtype": 3, "seen|dtype": 1}
    assert made.rows["seen"].to_list() == [row["seen"] for row in rows[:7] + rows[10:]]


def test_texts_that_begin_with_a_bracket_are_texts(adopt: Adopt) -> None:
    data = table({"told": [f"[urgent] word{n} and word{n * n % 7}" for n in range(ROWS)], "y": Y})
    assert adopt(data)["told"].role == "text"


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ([[1, 2], [3, 4]], "values of type List(List(Int64))"),
        ([{"a": 1}], "values of type List(Struct({'a': Int64}))"),
        ({"a": 1}, "values of type Struct({'a': Int64})"),
        ([], "values of type List(Null)"),
    ],
)
def test_what_is_nested_deeper_is_left_out(adopt: Adopt, value: Any, why: str) -> None:
    numbers = [float(n * n % 7) + n / 10 for n in range(ROWS)]
    made = adopt(pl.DataFrame({"a": [value] * ROWS, "x": numbers, "y": numbers[::-1]}))
    assert (made["a"].role, made["a"].why) == ("left out", why)


def test_an_array_is_neither_target_nor_group(adopt: Adopt) -> None:
    data = pl.DataFrame({"a": [[n, 1] for n in range(ROWS)], "y": [*range(ROWS)]})
    with pytest.raises(UserError, match=r"The target 'a' holds lists of whole numbers, 2 in each"):
        adopt(data, target="a")
    with pytest.raises(
        UserError, match=r"'a' holds lists of whole numbers, 2 in each, which cannot"
    ):
        adopt(data, a="group")


def test_memory_does_not_grow_with_the_square_of_the_columns(tmp_path: Path) -> None:
    """Four times the columns, half of them of numbers that are not all to be read."""
    peaks = []
    for width in (200, 800):
        odd = {f"odd {place}": [*range(ROWS - 1), "n. d."] for place in range(width // 2)}
        known = {f"known {place}": range(ROWS) for place in range(width // 2)}
        file = tmp_path / f"{width}.csv"
        file.write_text(table({**odd, **known, "y": ["a", "b"]}))
        kept, peak = numbers_of(__file__, file)
        assert kept == width + 1
        peaks.append(peak)
    assert peaks[1] < 2 * peaks[0], peaks


def test_rows_that_are_all_in_the_sample_are_not_read_again() -> None:
    """A pass over a wide text takes time with the square of its columns: few, at any width."""
    passes = []
    for width in (2, 2 * deciding.WIDE):
        values = {f"n{place}": [f"{row}.5" for row in range(ROWS)] for place in range(width)}
        frame = pl.DataFrame({**values, "y": ["a", "b"] * (ROWS // 2)})
        passes.append(0)

        def read(columns: list[str] | None, *_: object) -> Iterator[pl.DataFrame]:
            passes[-1] += 1
            yield frame.select(columns or frame.columns)  # noqa: B023  read before the next

        draft = deciding.decide(register_io_source(read, schema=frame.schema), deciding.Wish("y"))
        assert len(draft.kept) == width + 1
    assert passes == [3, 3]  # cells that mean missing; the sample; its end


def decide_and_weigh(file: Path) -> None:
    """Print how many columns a file has, and the most memory that was held, in KiB."""
    draft = deciding.decide(reading.open_file(file, file.parent).scan(), deciding.Wish("y"))
    print(len(draft.columns), most_memory())  # noqa: T201


if __name__ == "__main__":
    decide_and_weigh(*map(Path, sys.argv[1:]))


def test_files_that_were_put_one_behind_the_other_are_named(adopt: Adopt) -> None:
    text = table({"x": X, "kind": ["a", "b"], "y": Y})
    assert "The header stands among the rows again" in next(adopting._notes(adopt(text * 2).draft))
    assert not adopt(table({"kind": ["kind", "b"], "x": X, "y": Y})).draft.heads


@pytest.mark.parametrize(
    ("texts", "sent"),
    [
        (["2024-02-29", "9999-12-31"], ["9999-12-31", "9999-12-31T00:00:00Z"]),
        (["29.02.2024", "31.12.9999"], ["9999-12-31"]),
        (["2024-02-29", "0001-01-01"], ["0001-01-01"]),
        (
            ["2024-02-29 08:30:00", "9999-12-31 23:59:59"],
            ["9999-12-31T23:59:59", "9999-12-31T23:59:59Z", "9999-12-31 23:59:59"],
        ),
    ],
)
def test_a_day_that_stands_for_none_in_a_file_does_so_in_a_request(
    adopt: Adopt, texts: list[str], sent: list[str]
) -> None:
    adopted = adopt(table({"x": X, "until": texts, "y": Y}))
    assert adopted.rows["until"][1] is None
    missing = contracts.words("MISSING", adopted.source)
    reader = Reader(replace(contracts.load(), missing=missing), Strictness(1))
    for day in sent:
        (record,) = reader.read(json.dumps({"x": 1.5, "until": day}).encode()).records
        assert record == (1.5, None)
