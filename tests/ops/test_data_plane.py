"""Ingest, validate and split: how values are read, what breaks a rule, where a row goes."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from types import new_class
from typing import TYPE_CHECKING, Any, cast

import dataframely as dy
import numpy as np
import polars as pl
import pytest
from my_model.ml import source
from my_model.ops import contract as contracts
from my_model.ops.errors import UserError
from my_model.ops.files import read_json, sha256
from my_model.ops.pipeline import hashing, ingest, parquet, parsing, split, validate
from my_model.ops.project import Project
from my_model.ops.settings import Split

if TYPE_CHECKING:
    from pathlib import Path

Declare = Callable[[type[dy.Schema]], None]

NOON = datetime(2024, 2, 29, 12)
MIDNIGHT = NOON.replace(hour=0)


class Stay(dy.Schema):
    """One stay in a hotel."""

    nights = dy.Int64(min=1)
    price = dy.Float64(nullable=True, min=0)
    guest_since = dy.Date(alias="guest since", nullable=True)
    arrived = dy.Datetime(nullable=True)
    room = dy.Enum(["single", "double"], metadata={"target": True})

    @dy.rule()
    def arrived_as_guest(cls) -> pl.Expr:  # noqa: N805  a rule is given its schema
        """Nobody arrives before being a guest."""
        return pl.col("arrived").dt.date() >= pl.col("guest since")


class Bill(dy.Schema):
    """What makes a row right may be another row; and a column may be called as ours are."""

    number = dy.String(primary_key=True, metadata={"identifier": True})
    rule = dy.String(nullable=True)
    row = dy.Int64(nullable=True)
    paid = dy.Float64(min=0, metadata={"target": True})


STAY = {
    "nights": "2",
    "price": "80.5",
    "guest since": "2020-01-31",
    "arrived": "2024-02-29 08:30",
    "room": "double",
}


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Give it a schema, and it stands in the place of the project's."""
    return lambda schema: monkeypatch.setattr(contracts, "schema", lambda: schema)


@pytest.fixture
def blank(trained: Project, tmp_path: Path) -> Project:
    """A project with settings and nothing else."""
    shutil.copyfile(trained.params, tmp_path / trained.params.name)
    (tmp_path / "data").mkdir()
    return Project(tmp_path)


@pytest.fixture
def feed(
    blank: Project, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Project]:
    """Give it a schema and rows, and the project has them ingested."""

    def feed(schema: type[dy.Schema], *rows: dict[str, Any]) -> Project:
        declare(schema)
        monkeypatch.setattr(source, "load", lambda _: pl.LazyFrame(rows))
        ingest.run(blank)
        return blank

    return feed


def schema_of(**columns: dy.Column) -> type[dy.Schema]:
    """A schema with these columns."""
    schema = new_class("Row", (dy.Schema,), exec_body=lambda body: body.update(columns))
    return cast("type[dy.Schema]", schema)


def read(
    column: dy.Column, values: pl.Series, declare: Declare
) -> tuple[list[Any], list[Any] | None]:
    """What a column of the contract makes of values, and what it keeps as unread, if anything."""
    target = dy.Bool(metadata={"target": True})
    declare(schema_of(value=column, target=target))
    rows, _ = parsing.parse(pl.LazyFrame({"value": values, "target": [True] * len(values)}))
    frame = rows.collect(engine="streaming")
    unread = f"value{contracts.TEXT}"
    assert frame["value"].dtype == column.dtype
    return frame["value"].to_list(), frame[unread].to_list() if unread in frame.columns else None


UNREAD = object()
"""In the tables below: the value becomes missing, and its text is kept."""


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (
            dy.Int64(),
            {
                "1": 1,
                " 2 ": 2,
                "+3": 3,
                "-4": -4,
                "007": 7,
                "5.0": 5,
                "1e2": 100,
                str(2**53 + 1): 2**53 + 1,
                "": None,
                "  ": None,
                **dict.fromkeys(["1.5", "x", "1e300", "inf", "nan", "0x10", "1_000"], UNREAD),
            },
        ),
        (dy.UInt8(), {"255": 255, "256": UNREAD, "-1": UNREAD, "3.0": 3}),
        (
            dy.Float64(allow_inf=True),
            {
                "1": 1.0,
                "-.5": -0.5,
                " 2 ": 2.0,
                "1e-3": 0.001,
                "inf": float("inf"),
                "nan": None,
                "NaN": None,
                "": None,
                "1,5": UNREAD,
                "12 kg": UNREAD,
            },
        ),
        (
            dy.Bool(),
            {
                **dict.fromkeys(["true", "True", "T", "YES", "y", "1", " 1.0 "], True),
                **dict.fromkeys(["false", "FALSE", "f", "no", "N", "0", "0.0"], False),
                "": None,
                "2": UNREAD,
                "maybe": UNREAD,
            },
        ),
        (
            dy.Date(),
            {
                "2024-02-29": NOON.date(),
                " 2024-02-29 ": NOON.date(),
                "2024-02-29T00:00:00": NOON.date(),
                "2024-02-29T12:00": UNREAD,
                "2023-02-29": UNREAD,
                "29.02.2024": UNREAD,
                "": None,
            },
        ),
        (
            dy.Datetime(),
            {
                "2024-02-29": MIDNIGHT,
                "2024-02-29 12:00": NOON,
                "2024-02-29T12:00:00": NOON,
                "2024-02-29T12:00:00Z": NOON,
                "2024-02-29T13:30:00+01:30": NOON,
                "2024-02-29 12:00:00.000250": NOON + timedelta(microseconds=250),
                "2024-02-29 24:00:00": UNREAD,
                "noon": UNREAD,
                "1709208000": UNREAD,
                "": None,
            },
        ),
        (dy.Enum(["a", "b "]), {"a": "a", " a": "a", "b ": "b ", "A": UNREAD, "": None}),
        (dy.Enum(["", "a"]), {"": "", "a": "a"}),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, dy.Column) else "",
)
def test_text_is_read_or_kept(
    column: dy.Column, expected: dict[str, Any], declare: Declare
) -> None:
    values, unread = read(column, pl.Series([*expected, None], dtype=pl.String), declare)
    assert values == [*(None if value is UNREAD else value for value in expected.values()), None]
    assert unread == [
        *(text if value is UNREAD else None for text, value in expected.items()),
        None,
    ]


BERLIN = timezone(timedelta(hours=1))


@pytest.mark.parametrize(
    ("column", "given", "values", "unread"),
    [
        (dy.Int64(), pl.Series([1.0, 1.5, float("nan")]), [1, None, None], [None, "1.5", None]),
        (dy.Int64(), pl.Series([Decimal(2), Decimal("2.5")]), [2, None], [None, "2.5"]),
        (dy.Int64(), pl.Series([True, False]), [1, 0], [None, None]),
        (dy.Int8(), pl.Series([1, 300]), [1, None], [None, "300"]),
        (dy.Float64(), pl.Series([1, 2]), [1.0, 2.0], None),
        (dy.Float64(), pl.Series([1.0, float("nan")]), [1.0, None], None),
        (dy.Bool(), pl.Series([1, 0, 2]), [True, False, None], [None, None, "2"]),
        (dy.Enum(["0", "1"]), pl.Series([1, 2]), ["1", None], [None, "2"]),
        (dy.String(), pl.Series([1.5, None]), ["1.5", None], None),
        (dy.String(), pl.Series([" a "], dtype=pl.Categorical), [" a "], None),
        (dy.Int64(nullable=True), pl.Series([None]), [None], None),
        (dy.Datetime(), pl.Series([NOON.date()]), [MIDNIGHT], None),
        (dy.Datetime(), pl.Series([NOON.replace(tzinfo=UTC)]), [NOON], None),
        (dy.Date(), pl.Series([MIDNIGHT, NOON]), [NOON.date(), None], [None, f"{NOON}.000000"]),
    ],
)
def test_typed_values_are_never_rounded(
    column: dy.Column,
    given: pl.Series,
    values: list[Any],
    unread: list[Any] | None,
    declare: Declare,
) -> None:
    assert read(column, given, declare) == (values, unread)


def test_a_row_names_every_rule_that_it_breaks(feed: Callable[..., Project]) -> None:
    project = feed(
        Stay,
        *[STAY] * 96,
        {**STAY, "nights": "two", "room": "suite"},
        {**STAY, "nights": "0", "price": "-1"},
        {**STAY, "nights": None},
        {**STAY, "guest since": "2024-03-01"},
    )
    validate.run(project)
    bad = pl.read_parquet(project.quarantine)
    assert bad["rule"].to_list() == [
        "nights|dtype; room|dtype",
        "nights|min; price|min",
        "nights|nullability",
        "arrived_as_guest",
    ]
    assert bad["nights"].to_list() == ["two", "0", None, "2"]
    assert bad.drop("rule").columns == list(STAY)
    assert set(bad.dtypes) == {pl.String}
    report = read_json(project.reports / "validation.json")
    rules = bad["rule"].str.split("; ").explode()
    assert report == {
        "rows": 100,
        "valid": 96,
        "quarantined": 4,
        "share": 0.04,
        "rules": dict.fromkeys(sorted(rules), 1),
        "duplicates": 95,
    }
    assert pl.read_parquet_schema(project.valid) == pl.Schema(Stay)


def test_rows_without_what_is_required_are_left_out_and_counted(
    feed: Callable[..., Project], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(contracts, "SOURCE", tmp_path / "source.py")
    contracts.SOURCE.write_text("REQUIRED = ['nights', 'arrived', 'renamed since']")
    lacking = [{**STAY, "nights": None}, {**STAY, "nights": "", "arrived": None}]
    project = feed(Stay, *[STAY] * 40, *lacking, {**STAY, "nights": "two"})
    validate.run(project)
    report = read_json(project.reports / "validation.json")
    assert report["dropped"] == {"nights": 2, "arrived": 1}
    assert (report["rows"], report["valid"], report["rules"]) == (41, 40, {"nights|dtype": 1})
    assert len(pl.read_parquet(project.valid)) == 40
    project = feed(Stay, *lacking)
    with pytest.raises(UserError, match="No row has a value in nights and arrived"):
        validate.run(project)


class Single(dy.Schema):
    """Numbers that dataframely would let pass."""

    wide = dy.Float64(nullable=True, allow_inf=True)
    single = dy.Float32()
    y = dy.Bool(metadata={"target": True})


def test_a_number_that_is_infinite_to_the_model_breaks_the_contract(declare: Declare) -> None:
    declare(Single)
    large = {"wide": [1e39, -1e39, None, 3.4e38, float("inf")], "single": ["1"] * 4 + ["1e39"]}
    frame = pl.DataFrame(large).with_columns(y=True)
    checked = validate.check(parsing.parse(frame.lazy()).rows.collect())
    assert checked.kept.to_list() == [False, False, True, True, False]
    assert checked.counts == {"wide|inf": 3, "single|inf": 1}


@pytest.mark.parametrize("name", ["__fold", "__kept", "x|text"])
def test_a_column_is_not_called_as_one_of_the_pipelines(declare: Declare, name: str) -> None:
    members = {"x": dy.Int64(), "z": dy.Int64(alias=name)}
    declare(type("Row", (dy.Schema,), {**members, "y": dy.Bool(metadata={"target": True})}))
    with pytest.raises(UserError, match=f"itself has a column {re.escape(name)}; rename yours"):
        contracts.load()


def test_rules_across_rows_see_all_rows(feed: Callable[..., Project]) -> None:
    bills = [{"number": str(number), "rule": "x", "row": 1, "paid": "1"} for number in range(98)]
    project = feed(Bill, *bills, *[{"number": "98", "rule": None, "row": 2, "paid": "1"}] * 2)
    validate.run(project)
    bad = pl.read_parquet(project.quarantine)
    assert bad.columns == [*Bill.column_names(), "__rule"]
    assert bad["__rule"].to_list() == ["primary_key"] * 2
    assert read_json(project.reports / "validation.json")["duplicates"] == 98


def test_clean_rows_pass_as_they_are(feed: Callable[..., Project]) -> None:
    typed = {"number": "1", "rule": "é", "row": 1, "paid": 1.0}
    project = feed(Bill, typed, {**typed, "number": "2", "rule": None})
    validate.run(project)
    came, went = (parquet.parts(path) for path in (project.raw, project.valid))
    assert [part.name for part in came] == [part.name for part in went] == ["000000.parquet"]
    assert went[0].read_bytes() == came[0].read_bytes()
    assert pl.read_parquet(project.quarantine).is_empty()


def test_too_many_bad_rows_are_shown(feed: Callable[..., Project]) -> None:
    project = feed(
        Stay,
        *[STAY] * 3,
        *[{**STAY, "nights": text} for text in ("a", "b", "c", "d", "d\n" * 50)],
        {**STAY, "guest since": "2024-03-01"},
        {**STAY, "nights": None},
    )
    with pytest.raises(UserError) as refusal:
        validate.run(project)
    assert str(refusal.value) == (
        "7 of 10 rows break the contract, and validation.quarantine in params.yaml allows 5.00%: "
        "nights|dtype 5 times (such as nights = 'a', nights = 'b', nights = 'c'), "
        "arrived_as_guest 1 times (such as arrived = '2024-02-29 08:30:00.000000' with "
        "guest since = '2024-03-01'), nights|nullability 1 times (such as nights = missing). "
        "They lie in data/quarantine.parquet; mend the data or ml/schema.py."
    )
    assert pl.read_parquet(project.quarantine).height == 7
    assert read_json(project.reports / "validation.json")["valid"] == 3
    assert not project.valid.exists()


def test_no_good_row_is_never_enough(feed: Callable[..., Project]) -> None:
    project = feed(Stay, {**STAY, "nights": "0"})
    project.params.write_text("validation: {quarantine: 1}")
    with pytest.raises(UserError, match="1 of 1 rows break the contract"):
        validate.run(project)


def test_a_share_is_a_share(feed: Callable[..., Project]) -> None:
    project = feed(Stay, STAY)
    project.params.write_text("validation: {quarantine: 5}")
    with pytest.raises(UserError, match=r"quarantine is 5: expected float <= 1.0"):
        validate.run(project)


def test_the_scoring_view_agrees_with_training(declare: Declare) -> None:
    """Inputs are judged alike whether the target is there or not; only its own rules differ."""
    declare(Stay)
    rows = pl.DataFrame(
        [
            STAY,
            {**STAY, "room": "suite"},
            {**STAY, "nights": "0"},
            {**STAY, "nights": "two"},
            {**STAY, "guest since": "2024-03-01"},
        ]
    )
    labelled = validate.check(parsing.parse(rows.lazy()).rows.collect())
    parsed = parsing.parse(rows.drop("room").lazy(), labelled=False).rows.collect()
    scored = validate.check(parsed, labelled=False)
    assert labelled.counts == {**scored.counts, "room|dtype": 1}
    assert scored.kept.to_list() == [True, True, False, False, False]
    assert scored.good.columns == [name for name in STAY if name != "room"]
    assert scored.good.head(1).equals(labelled.good.drop("room"))
    assert scored.bad["nights"].to_list() == ["0", "two", "2"]


def test_a_target_is_no_duty_in_the_scoring_view(declare: Declare) -> None:
    class Free(dy.Schema):
        """Nothing can be wrong with these inputs."""

        note = dy.String(nullable=True)
        paid = dy.Float64(min=0, metadata={"target": True})

    declare(Free)
    good, bad, counts, _ = validate.check(pl.DataFrame({"note": ["x", None]}), labelled=False)
    assert (good.height, bad.columns, bad.height, counts) == (2, ["note", "rule"], 0, {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "The source cannot be read; look at ml/source.py: .*stays.csv"),
        (
            ",".join(STAY) + "\n1,2,3,4,5,6,7\n",
            "The source cannot be read; .*: found more fields than .*",
        ),
        (",".join(STAY) + "\n", "The source has no rows; look at ml/source.py."),
        (
            "Night,price,guest since,arrived\n",
            r"The source lacks nights \(is it Night\?\), room; add or rename what is .*",
        ),
    ],
    ids=["no file", "no table", "no rows", "no column"],
)
def test_a_wrong_source_is_explained(
    text: str | None,
    message: str,
    blank: Project,
    declare: Declare,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    declare(Stay)
    path = blank.root / "stays.csv"
    if text is not None:
        path.write_text(text)
    monkeypatch.setattr(source, "load", lambda _: pl.scan_csv(path, infer_schema=False))
    with pytest.raises(UserError) as refusal:
        ingest.run(blank)
    assert re.fullmatch(message, str(refusal.value))
    assert not list(blank.data.iterdir())


def test_a_source_that_is_cut_short_is_told_and_leaves_nothing(
    blank: Project, declare: Declare, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some threads write while another one finds the fault, and a process may have been killed."""
    declare(Stay)
    rows = pl.DataFrame([STAY] * 20_000)
    folder = blank.root / "stays"
    folder.mkdir()
    for number in range(4):
        rows.write_parquet(folder / f"{number}.parquet")
    whole = (folder / "2.parquet").read_bytes()
    monkeypatch.setattr(parquet, "PART_ROWS", 100)
    monkeypatch.setattr(source, "load", lambda _: pl.scan_parquet(folder))
    (folder / "2.parquet").write_bytes(whole[:-9])
    for _ in range(3):
        with pytest.raises(UserError, match=r"cannot be read; look at .*parquet: File out of spec"):
            ingest.run(blank)
    (folder / "2.parquet").write_bytes(whole)
    (blank.data / ".ingest" / "000000" / "rows").mkdir(parents=True, exist_ok=True)
    (blank.data / ".ingest" / "000000" / "rows" / "000007.parquet").write_bytes(whole)
    (folder / "_SUCCESS").touch()
    ingest.run(blank)
    assert parquet.count(blank.raw) == 80_000
    assert [file.name for file in blank.data.iterdir()] == ["raw.parquet"]


@pytest.mark.parametrize("name", ["3.parquet", "more/3.csv"])
def test_a_part_without_a_byte_is_named(blank: Project, declare: Declare, name: str) -> None:
    """Polars reads the other files of its folder, and says nothing."""
    declare(Stay)
    blank.params.write_text("data:\n  source: stays\n")
    part = blank.root / "stays" / name
    part.parent.mkdir(parents=True)
    part.touch()
    with pytest.raises(UserError, match=rf"{name} is empty: bring it back"):
        ingest.run(blank)


def test_lists_are_no_values(declare: Declare) -> None:
    declare(Stay)
    with pytest.raises(UserError, match=r"guests.csv holds List\(Int64\) in price; turn it into"):
        parsing.parse(pl.LazyFrame({**STAY, "price": [[1, 2]]}), origin="guests.csv")


def test_the_hash_never_changes() -> None:
    """These constants are the format of every split ever made: they may not follow the code."""
    rows = pl.DataFrame(
        {
            "number": [1, -1, None],
            "amount": [0.1, -0.0, float("nan")],
            "yes": [True, False, None],
            "text": ["", "naïve 🎉 and longer than a word", None],
            "class": pl.Series(["a", "b", None], dtype=pl.Enum(["b", "a"])),
            "day": [date(2024, 2, 29), date(1969, 12, 31), None],
            "time": [NOON, datetime(1, 1, 1), None],
        }
    )
    keys = {name: hashing.row_keys(rows.lazy(), [name]).tolist() for name in rows.columns}
    assert keys == {
        "number": [0x5513A039B59D3F48, 0xCB1B73DBB2402750, 0x13313E1E74EA372C],
        "amount": [0x726DE1FE94AAFAA8, 0x5972BD9C12DD3163, 0x7219CF7ED1FBF7D1],
        "yes": [0x9A4ABD6B1F1FF4F7, 0x030798DD3FFD1188, 0xA7208CE3D4249147],
        "text": [0x2EF7599C40DD31EF, 0x967A539C4FFE38E4, 0x30373086B611A676],
        "class": [0xAC023658290A2C32, 0x77F6875CF7D4DD96, 0x7A8936838E4D725D],
        "day": [0x0AEDBAF3B2B464B0, 0x6C49FBE39E8809D4, 0x15ABE5366554D3C8],
        "time": [0x06AFD34AF833276E, 0xACFC4807400AF35E, 0xE9474D05887A9241],
    }
    assert hashing.row_keys(rows.lazy(), rows.columns).tolist() == [
        *(0x3E0FC46D32942DB8, 0x3052D0765FAE569D, 0x835F0968DDFF3EED),
    ]
    folds = split._by_key(hashing.row_keys(pl.LazyFrame({"n": range(20)}), ["n"]), Split())
    assert folds.tolist() == [4, 2, 2, 3, 2, 2, 0, -1, 1, 0, 2, 1, -1, 4, -1, 3, 0, 4, 4, 4]


def test_a_text_is_hashed_as_the_words_of_its_bytes() -> None:
    """Against an implementation that takes one value at a time, in Python's unbounded integers."""

    def mix(value: int) -> int:
        value = (value ^ value >> 30) * 0xBF58_476D_1CE4_E5B9 % 2**64
        value = (value ^ value >> 27) * 0x94D0_49BB_1331_11EB % 2**64
        return value ^ value >> 31

    def digest(text: str) -> int:
        data = text.encode()
        state = mix(len(data))
        for start in range(0, len(data), 8):
            state = mix(state ^ int.from_bytes(data[start : start + 8], "little"))
        return state

    texts = ["", "a", "a\0", "eight by", "nine byte", "é" * 4, "🎉", "\0", "x" * 1000, "a", ""]
    assert hashing.digest(pl.Series(texts)).tolist() == [digest(text) for text in texts]
    assert hashing.digest(pl.Series([], dtype=pl.String)).tolist() == []


def test_equal_values_have_equal_keys() -> None:
    """Whatever the width of the type, the place of the column or the size of a batch."""
    draw = np.random.default_rng(0)
    rows = pl.DataFrame(
        {
            "number": draw.integers(-100, 100, 1000),
            "amount": draw.normal(size=1000).astype(np.float32).astype(float),
            "text": draw.choice(["a", "b", "longer text", None], 1000),
        }
    )
    keys = hashing.row_keys(rows.lazy(), rows.columns)
    narrow = rows.cast(
        {"number": pl.Int8, "amount": pl.Float32, "text": pl.Enum(["longer text", "b", "a"])}
    )
    backwards = hashing.row_keys(narrow.reverse().lazy(), rows.columns[::-1])
    assert np.array_equal(keys, backwards[::-1])
    one_by_one = [
        hashing.row_keys(row.lazy(), rows.columns) for row in rows.head(50).iter_slices(1)
    ]
    assert np.array_equal(keys[:50], np.concatenate(one_by_one))
    assert len(set(keys.tolist())) == rows.n_unique()
    renamed = rows.rename({"number": "amount", "amount": "number"})
    assert not np.any(keys == hashing.row_keys(renamed.lazy(), rows.columns))


def test_shares_are_as_asked_for() -> None:
    keys = hashing.row_keys(pl.LazyFrame({"n": range(20_000)}), ["n"])
    folds = split._by_key(keys, Split(holdout=0.3, folds=4))
    assert np.mean(folds == split.HELD_OUT) == pytest.approx(0.3, abs=0.02)
    shares = np.bincount(folds[folds >= 0]) / np.sum(folds >= 0)
    assert shares == pytest.approx([0.25] * 4, abs=0.02)
    other = split._by_key(keys, Split(holdout=0.3, folds=7))
    assert np.array_equal(folds == split.HELD_OUT, other == split.HELD_OUT)


def test_a_larger_holdout_takes_rows_in_and_lets_none_go() -> None:
    keys = hashing.row_keys(pl.LazyFrame({"n": range(1000)}), ["n"])
    small, large = (
        split._by_key(keys, Split(holdout=share)) == split.HELD_OUT for share in (0.1, 0.2)
    )
    assert np.all(large[small])


def test_folds_are_numbered_without_a_gap() -> None:
    keys = hashing.row_keys(pl.LazyFrame({"n": range(12)}), ["n"])
    folds = split._by_key(keys, Split(holdout=0.2, folds=50))
    assert np.unique(folds).tolist() == list(range(-1, folds.max() + 1))


def test_rows_that_are_alike_stay_together_unless_there_are_very_many() -> None:
    few = hashing.row_keys(pl.LazyFrame({"n": [*range(100)] * split.ALIKE}), ["n"])
    assert np.array_equal(split._bunched(few), few)
    many = hashing.row_keys(pl.LazyFrame({"n": [1, 2] * 5000}), ["n"])
    bunched = split._bunched(many)
    assert set(np.unique(bunched, return_counts=True)[1].tolist()) <= {
        split.ALIKE,
        5000 % split.ALIKE,
    }
    assert np.array_equal(split._bunched(many[:7000]), bunched[:7000]), "growth moves no row"
    held_out = split._by_key(bunched, Split()) == split.HELD_OUT
    assert np.mean(held_out) == pytest.approx(0.2, abs=0.05)


def test_time_orders_holdout_and_folds() -> None:
    times = np.random.default_rng(0).permutation(1000).astype(np.int64)
    folds = split._by_time(times, Split(holdout=0.2, folds=4))
    assert folds[np.argsort(times)].tolist() == [*sorted([0, 1, 2, 3] * 200), *[-1] * 200]


@pytest.mark.parametrize(
    ("times", "folds"),
    [
        ([1] * 7 + [2] * 3, [0] * 7 + [-1] * 3),
        ([1, 2, 3, 3, 3, 3, 3, 3, 3, 3], [0, 1] + [-1] * 8),
        ([1, 1, 1, 1, 1, 1, 1, 1, 2, 3], [0] * 8 + [-1] * 2),
        ([split.EVER, 1, 2, 3, 4, 5, 6, 7, 8, 9], [0] * 4 + [1] * 4 + [-1] * 2),
    ],
)
def test_rows_of_one_moment_stay_together(times: list[int], folds: list[int]) -> None:
    made = split._by_time(np.array(times), Split(holdout=0.2, folds=2))
    assert made.tolist() == folds


def test_memory_is_a_few_bytes_for_each_row() -> None:
    """Of 100 million rows, a copy of the keys would be 800 MB, and each step had made another."""
    draw = np.random.default_rng(0)
    keys = draw.integers(2**63, size=6_000_000).astype(np.uint64)
    labels = draw.integers(3, size=len(keys)).astype(np.int32)
    held = []
    for work in (
        lambda: split._by_key(keys, Split()),
        lambda: split._by_time(keys.view(np.int64), Split(), labels),
    ):
        tracemalloc.start()
        work()
        held.append(tracemalloc.get_traced_memory()[1] / len(keys))
        tracemalloc.stop()
    by_key, by_time = held
    assert by_key < 10
    assert by_time < 22, "times in their order are eight of these"


def split_of(rows: pl.DataFrame, column: dy.Column, declare: Declare) -> split.Folds:
    target = dy.Float64(metadata={"target": True})
    other = dy.Int64(nullable=True)
    declare(schema_of(by=column, other=other, target=target))
    return split.assign(rows.lazy(), contracts.load(), Split())


def test_rows_without_a_time_count_as_the_oldest(declare: Declare) -> None:
    days = [date(2024, 1, 1) + timedelta(days=day) for day in range(10)]
    rows = pl.DataFrame({"by": [None, *days], "other": 1})
    folds = split_of(rows, dy.Date(nullable=True, metadata={"event_time": True}), declare)
    assert folds[0] == 0
    assert folds[-2:].tolist() == [split.HELD_OUT] * 2


def test_identifier_and_target_have_no_say(declare: Declare) -> None:
    rows = pl.DataFrame({"by": range(200), "other": [*range(100)] * 2, "target": range(200)})
    folds = split_of(rows, dy.Int64(metadata={"identifier": True}), declare)
    assert np.array_equal(folds[:100], folds[100:])


@pytest.mark.parametrize(
    ("column", "value", "kind"),
    [
        (dy.Datetime(metadata={"event_time": True}), NOON, "times in by"),
        (dy.String(metadata={"group": True}), "a", "groups in by"),
        (dy.String(metadata={"identifier": True}), "a", "rows"),
    ],
)
def test_rows_that_differ_too_little_are_refused(
    column: dy.Column, value: object, kind: str, declare: Declare
) -> None:
    rows = pl.DataFrame({"by": [value] * 5, "other": [1] * 5})
    with pytest.raises(UserError, match=f"There are too few different {kind} to hold some out"):
        split_of(rows, column, declare)


def test_long_work_tells_how_far_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(parquet, "PATIENCE", 0.01)

    def slow(values: pl.Series) -> pl.Series:
        time.sleep(0.5)
        return values

    rows = pl.LazyFrame({"n": range(9)}).select(pl.col("n").map_batches(slow, pl.Int64))
    parquet.write({tmp_path / "slow.parquet": rows})
    assert "... 0.0 MB written\n" in capsys.readouterr().err


def test_people_read_parts_as_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "PART_ROWS", 400)
    rows = pl.DataFrame({"n": range(1000), "text": ["a", None] * 500})
    folder = tmp_path / "year=2026 [a]" / "rows.parquet"
    folder.parent.mkdir()
    parquet.write({folder: rows.lazy()})
    assert [part.name for part in parquet.parts(folder)] == [f"{it:06}.parquet" for it in range(3)]
    assert [parquet.count(part) for part in parquet.parts(folder)] == [400, 400, 200]
    assert pl.read_parquet(folder).equals(rows)
    assert pl.read_parquet(str(folder), columns=["n"]).equals(rows.select("n"))
    assert pl.scan_parquet(folder).filter(pl.col("n") > 500).collect().equals(rows[501:])
    file = tmp_path / "file.parquet"
    parquet.sink(rows.lazy(), file).collect()
    parquet.write({tmp_path / "none.parquet": rows.lazy().clear()})
    assert pl.read_parquet(tmp_path / "none.parquet").equals(rows.clear())
    monkeypatch.setattr(parquet, "PART_ROWS", 1000)
    parquet.write({tmp_path / "one.parquet": rows.lazy()})
    assert sha256(tmp_path / "one.parquet") == sha256(file), "as releases before wrote them"


DIGESTS = """
import hashlib, sys
from pathlib import Path
import polars as pl
from my_model.ops.pipeline import hashing, parquet

folder = Path(sys.argv[1])
rows = pl.scan_parquet(folder / "rows.parquet")
written = folder / "written.parquet"
parquet.PART_ROWS = 200_000
parquet.write({written: rows.filter(pl.col("n") % 7 > 0)})
print(*(hashlib.sha256(part.read_bytes()).hexdigest() for part in parquet.parts(written)))
print(hashlib.sha256(hashing.row_keys(rows, ["n", "text"]).tobytes()).hexdigest())
"""


def test_the_number_of_cores_does_not_show(tmp_path: Path) -> None:
    numbers = pl.int_range(600_000, eager=True)
    rows = pl.DataFrame({"n": numbers, "text": (numbers * 7919 % 1000).cast(pl.String)})
    rows.write_parquet(tmp_path / "rows.parquet", row_group_size=70_000)
    said = {
        subprocess.run(
            [sys.executable, "-c", DIGESTS, str(tmp_path)],
            env={**os.environ, "POLARS_MAX_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for threads in ("1", "2", "9")
    }
    assert len(said) == 1
