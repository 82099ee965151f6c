"""Rules as plain data say of plain values what polars says, expression by expression."""

# ruff: noqa: RUF001  times without zone, literals of polars and odd letters are the matter here

from __future__ import annotations

import datetime as dt
import functools
import itertools
import json
import operator
import random
import re
from typing import Any

import polars as pl
import pytest
from my_model.ops.rules import evaluation, frozen, translation
from my_model.ops.rules.patterns import Pattern, parse

INF, NAN = float("inf"), float("nan")
DTYPES: dict[str, pl.DataType] = {
    "f": pl.Float64(),
    "g": pl.Float64(),
    "single": pl.Float32(),
    "i": pl.Int64(),
    "j": pl.Int64(),
    "tiny": pl.Int8(),
    "small": pl.UInt8(),
    "big": pl.UInt64(),
    "yes": pl.Boolean(),
    "no": pl.Boolean(),
    "text": pl.String(),
    "word": pl.String(),
    "size": pl.Enum(["s", "m", "l"]),
    "grade": pl.Enum(["s", "m", "l"]),
    "day": pl.Date(),
    "other_day": pl.Date(),
    "time": pl.Datetime("us"),
    "later": pl.Datetime("us"),
    "coarse": pl.Datetime("ms"),
    "fine": pl.Datetime("ns"),
}
FLOATS = [None, 0.0, -0.0, 1.0, -1.0, 0.1, 2.5, -2.5, 3.7, 1e300, -1e-300, 2.0**53, INF, -INF]
INTS = [None, 0, 1, -1, 2, 3, -7, 100, 2**53 + 1, 2**63 - 1, -(2**63)]
TEXTS = [None, "", "a", "abc", " a\t", "\x1ca", "É", "éa", "日本", "ABC", "a1", "AB-1234", "ab\n"]
DAYS = [
    None,
    dt.date(1970, 1, 1),
    dt.date(1969, 12, 31),
    dt.date(2020, 2, 29),
    dt.date(2024, 12, 30),
    dt.date(1, 1, 1),
    dt.date(9999, 12, 31),
]
MOMENTS = [
    None,
    dt.datetime(1970, 1, 1),
    dt.datetime(1969, 12, 31, 23, 59, 59, 999_999),
    dt.datetime(2020, 2, 29, 12, 30, 15, 123_456),
    dt.datetime(2024, 1, 1),
]
ENDS = [dt.datetime(1, 1, 1), dt.datetime(9999, 12, 31, 23, 59, 59, 999_999)]
VALUES: dict[str, list[Any]] = {
    "f": FLOATS,
    "g": FLOATS,
    "single": [None if v is None else evaluation.to_float32(v) for v in FLOATS],
    "i": INTS,
    "j": INTS,
    "tiny": [None, 0, 1, -1, 5, 100, 127, -128],
    "small": [None, 0, 1, 5, 200, 255],
    "big": [None, 0, 1, 2**53 + 1, 2**64 - 1],
    "yes": [None, True, False],
    "no": [None, True, False],
    "text": TEXTS,
    "word": TEXTS,
    "size": [None, "s", "m", "l"],
    "grade": [None, "s", "m", "l"],
    "day": DAYS,
    "other_day": DAYS,
    "time": MOMENTS + ENDS,
    "later": MOMENTS + ENDS,
    "coarse": [v and v.replace(microsecond=v.microsecond // 1000 * 1000) for v in MOMENTS + ENDS],
    "fine": MOMENTS,
}
c = pl.col
f, g, single, i, j, tiny, small, big = map(
    c, ("f", "g", "single", "i", "j", "tiny", "small", "big")
)
yes, no, text, word, size, grade = map(c, ("yes", "no", "text", "word", "size", "grade"))
day, other_day, time, later, coarse, fine = map(
    c, ("day", "other_day", "time", "later", "coarse", "fine")
)
DAY, MOMENT = dt.date(2020, 2, 29), dt.datetime(2020, 2, 29, 12, 30, 15, 123_456)

TRANSLATED: list[pl.Expr] = [
    f >= 0.1,
    f > 0,
    f < 2,
    f <= -0.0,
    f == 0,
    f != g,
    f >= g,
    f < i,
    i > f,
    i / j > 0.5,
    f == INF,
    single >= 0.1,
    single == 0.1,
    single > f,
    single < 2,
    single <= i,
    single + 1 > 1.1,
    single * single > 6,
    single / 3 > 0.83,
    single == tiny,
    single.is_in([0.5, 1.0]),
    single % 2 > 0,
    single // 2 == 1,
    single.is_finite(),
    single - 0.1 != 0,
    single.abs() < 1,
    tiny < 300,
    tiny > 1.5,
    tiny >= small,
    tiny + small > 5,
    tiny * 2 > 5,
    tiny * tiny > 5,
    tiny - 100 < 0,
    small - 1 > 5,
    small + 200 > 5,
    big > i,
    big + 1 > 1,
    big > 2**63,
    big == 2**64 - 1,
    small == 256,
    i + j > 0,
    i - j > 0,
    i * j > 0,
    i // j > 0,
    i % j > 0,
    i // 2 == 1,
    i % 3 == 0,
    i % -3 == 0,
    tiny / small > 0.5,
    tiny // small == 0,
    tiny % small > 0,
    -tiny > 0,
    tiny.abs() > 100,
    i.abs() > 1,
    f + g > 0,
    f - g > 0,
    f * g > 0,
    f / g > 0,
    f // g > 0,
    f % g > 0,
    f % 2 == 1,
    f // 0.1 > 5,
    -f > 0,
    (f - g).is_nan(),
    (f / g).is_not_nan(),
    (f - g) > 1,
    (f - g) == (f / g),
    (f - g) != 1,
    (f - g) <= 1,
    (f - g).is_in([NAN, 1.0]),
    ~((f - g) > 1),
    f.sqrt() > 1,
    f.floor() == f,
    f.ceil() == f,
    f.abs() > 1,
    f.is_finite(),
    f.is_infinite(),
    f.is_in([0.0, 0.1]),
    i.is_in([1, 2, 3]),
    tiny.is_in([1, 300]),
    text.is_in(["a", ""]),
    size.is_in(["s", "l"]),
    day.is_in([DAY]),
    text.is_in([]),
    time.is_in([MOMENT]),
    yes.is_in([True]),
    text.is_in(["a", None]),
    i.is_in([1, None]),
    f.is_between(0, 1),
    f.is_between(0, 1, closed="none"),
    i.is_between(0, j),
    i.is_between(0, 3, closed="left"),
    f.is_between(0, 1, closed="right"),
    day.is_between(DAY, other_day),
    text.is_between(pl.lit("a"), pl.lit("b")),
    f.is_null(),
    f.is_not_null(),
    yes.is_null() | no,
    yes & no,
    yes | no,
    yes ^ no,
    ~yes,
    yes == no,
    yes != no,
    (f > 0) & (i > 0) | no,
    pl.any_horizontal(yes, no, f > 0),
    pl.all_horizontal(yes, no, f > 0),
    yes.eq_missing(no),
    f.eq_missing(g),
    f.ne_missing(0),
    text.eq_missing(word),
    i.eq_missing(None),
    yes.fill_null(True),
    f.fill_null(0) > 0,
    f.fill_null(g) > 0,
    i.fill_null(0.5) > 0,
    tiny.fill_null(300) > 0,
    pl.coalesce(f, g, 1.0) > 0,
    pl.coalesce(i, tiny) > 0,
    text.fill_null("a") == "a",
    pl.when(yes).then(f > 0).otherwise(g > 0),
    pl.when(yes).then(i).otherwise(f) > 0,
    pl.when(yes).then(f > 0),
    pl.when(f > 0).then(1).when(g > 0).then(2).otherwise(None) == 2,
    pl.when(yes).then(pl.lit("a")).otherwise(text) == "a",
    pl.lit(True),
    pl.lit(None).cast(pl.Boolean),
    pl.max_horizontal(f, g) > 1,
    pl.min_horizontal(f, g, i) < 1,
    pl.max_horizontal(f - g, g) > 0,
    pl.max_horizontal(i, tiny) > 1,
    i.cast(pl.Float64) > 1,
    i.cast(pl.Float32) == single,
    tiny.cast(pl.Int64) * 300 > 5,
    yes.cast(pl.Int8) > 0,
    yes.cast(pl.Float64) > 0.5,
    f.cast(pl.Float32) == single,
    size.cast(pl.String) == "s",
    text == "a",
    text != word,
    text < word,
    text >= "b",
    text > "É",
    text + word == "aa",
    text <= "",
    text.str.len_chars() < 3,
    text.str.len_bytes() < 3,
    text.str.contains("b"),
    text.str.contains("^[a-z]+$"),
    text.str.contains(".", literal=True),
    text.str.contains(word, literal=True),
    text.str.starts_with("a"),
    text.str.starts_with(word),
    text.str.ends_with("c"),
    text.str.to_lowercase() == "é",
    text.str.contains(r"^\w+$"),
    text.str.to_uppercase() == "ABC",
    text.str.strip_chars() == "a",
    text.str.strip_chars("a") == "",
    text.str.strip_chars_start() == "a\t",
    text.str.strip_chars_end(" \t") == " a",
    text.str.contains(r"\d{4}$"),
    text.str.strip_prefix("a") == "bc",
    text.str.strip_suffix("c") == "ab",
    text.str.head(1) == "a",
    text.str.tail(1) == "c",
    text.str.head(-1) == "ab",
    text.str.tail(-1) == "bc",
    text.str.slice(1) == "bc",
    text.str.slice(-2, 1) == "b",
    text.str.slice(-9, 8) == "ab",
    text.str.slice(1, 1) == "b",
    size == "s",
    size != "s",
    size == grade,
    size > grade,
    size <= "m",
    size > "s",
    size.fill_null("m") == "m",
    day >= DAY,
    day > other_day,
    day == time,
    time > day,
    day.dt.year() >= 2020,
    day.dt.month() == 2,
    day.dt.day() > 28,
    day.dt.weekday() < 6,
    day.dt.ordinal_day() > 60,
    day.dt.quarter() == 1,
    time.dt.hour() < 12,
    time.dt.minute() == 30,
    time.dt.second() > 50,
    time.dt.year() > 2000,
    time.dt.date() == DAY,
    coarse.dt.hour() > 12,
    fine.dt.second() == 15,
    time.dt.weekday() == 6,
    time >= MOMENT,
    time > later,
    time - later > dt.timedelta(days=1),
    time - day > dt.timedelta(hours=12),
    day - other_day >= dt.timedelta(0),
    (time - later).dt.total_days() > 1,
    (day - other_day).dt.total_days() > 1,
    coarse > MOMENT,
    fine >= MOMENT,
    (time - later).dt.total_seconds() > 1,
    (time - later).dt.total_hours() >= -1,
    day < dt.datetime(2020, 2, 29, 1),
    time.dt.date() >= day,
    coarse == time,
    fine < time,
    time + dt.timedelta(days=1) > dt.datetime(2020, 3, 1),
    time.dt.truncate("1h") == time,
    time.dt.truncate("15m") == time,
    coarse.dt.truncate("2d") == coarse,
    time.dt.truncate("1mo") < time,
    time.dt.truncate("1y") == time,
    day.dt.truncate("1mo") == day,
    day.dt.truncate("1q") == day,
    day.dt.truncate("2d") == day,
    day.dt.truncate("1y") == day,
    time.dt.truncate("6mo") >= later,
    time.dt.truncate("7s") == later,
    day == dt.datetime(2020, 2, 29),
    (time + dt.timedelta(days=9)).dt.year() > 9999,
    (time - dt.timedelta(days=9)).dt.ordinal_day() > 300,
    (time + dt.timedelta(days=9)).dt.truncate("1y") > time,
    functools.reduce(operator.or_, [i == n for n in range(400)]),
    time < DAY,
    time.is_between(DAY, later),
]


def _rows(expression: pl.Expr) -> pl.DataFrame:
    """All combinations of what the columns of an expression may hold."""
    names = list(dict.fromkeys(expression.meta.root_names()))
    combined = list(itertools.product(*(VALUES[name] for name in names)))
    columns = zip(*combined, strict=True) if names else []
    data = dict(zip(names, columns, strict=True)) or {"f": [0.0]}
    return pl.DataFrame({n: pl.Series(v, dtype=DTYPES[n]) for n, v in data.items()})


@pytest.mark.parametrize("expression", TRANSLATED, ids=lambda expression: str(expression)[:70])
def test_an_expression_means_the_same_without_polars(expression: pl.Expr) -> None:
    (made,) = translation._translations([expression], DTYPES)
    assert isinstance(made, tuple), made
    made = frozen(json.loads(json.dumps(made, allow_nan=False)))
    rows = _rows(expression)
    evaluate = evaluation.evaluator(made, {name: place for place, name in enumerate(rows.columns)})
    expected = rows.with_columns(expression.alias("expected"))["expected"].to_list()
    records = list(zip(*(rows[name].to_list() for name in rows.columns), strict=True))
    wrong = [
        (record, known, want)
        for record, want in zip(records, expected, strict=True)
        if (known := evaluate(record)) is not want
    ]
    assert not wrong, (made, wrong[:5])


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (f.map_elements(bool, pl.Boolean), "anonymousfunction cannot be looked into"),
        (text.cast(pl.Int64) > 1, "a cast from String to Int64 may fail"),
        (f.cast(pl.Int64) > 1, "a cast from Float64 to Int64 may fail"),
        (f.exp() > 1, "exp of Float64"),
        (text.str.contains(word), "StringFunction.Contains of String, String"),
        (text.str.contains(r"(?x) a"), r"only polars knows what character 5 of \(\?x\) a means"),
        (text.str.contains("(((a{99}){99}){99})"), "is no valid pattern|more than 5000 places"),
        (time.dt.truncate("1w") == time, "a time is not cut to 1w"),
        (f + 1, "it yields Float64 in place of true or false"),
        (c("absent") > 1, "absent"),
        (size > "xl", "xl is none of s, m, l"),
    ],
    ids=str,
)
def test_what_has_no_translation_is_kept_with_the_reason(expression: pl.Expr, reason: str) -> None:
    fine, made = translation._translations([f > 0, expression], DTYPES)
    assert isinstance(fine, tuple)
    assert isinstance(made, translation.Untranslatable)
    assert re.search(reason, str(made))


@pytest.mark.parametrize(
    "expression",
    [
        f > f.mean(),
        pl.len() > 1,
        f.is_unique(),
        f > f.shift(),
        yes.any(),
        f.sum().over(text) > 0,
        i.is_in(j.implode()),
    ],
    ids=str,
)
def test_what_compares_rows_is_known(expression: pl.Expr) -> None:
    (made,) = translation._translations([expression], DTYPES)
    assert isinstance(made, translation.ComparesRows)


PATTERNS = [
    *(r"^[A-Z]{2}-\d{4}$", r"^\w+$", r"\bfoo\b", r"(?i)straße|k+", r"^(a|b)*c?$", r"^[^a-c\s]+$"),
    *(r"[[:alpha:]]+\d", r"^\p{Lu}\p{Ll}*$", r"(?m)^x$", r"a{2,3}b{0,2}$", r"^$", r"", r"\.\*\\"),
    *(
        r"[\w&&[^\d]]",
        r"^(?:(?i)ab|c)d$",
        r"(?s)a.b",
        r"a.b",
        r"\x41\u{e9}",
        r"^[]a]+$",
        r"^[^]a]$",
    ),
    *(r"\B-\B", r"(?P<x>a)(?<y>b)", r"a|", r"^(a+)+$", r"[a-z]+@[a-z]+\.(com|org)", r"\AX\z"),
    *(r"a??b*?", r"^.{3}$", r"\s+$", r"[éà-ü]", r"^[\d.,-]+$", r"\S\D\W", r"^(\d{3}|x){1,2}$"),
    *(r"(^a|b$)", r"x*", r"(?i)[k-s]", r"^\p{Greek}", r"(?-i)a(?i:b)c", r"(?U)a+b", r"^[a\-z]+$"),
]
LETTERS = "abcABCxX019 -_.@\n\tkKſsSßéüÀ٣\u212aα²\u0301\u200dfo\\*ı"


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_found_where_polars_finds_it(pattern: str) -> None:
    tree = frozen(json.loads(json.dumps(parse(pattern))))
    found_in = Pattern(tree).found_in
    draw = random.Random(pattern)
    texts = ["", "\n", "a\n", "foo bar", "x\ny", "aab", "AB-1234", "AB-1234\n", "user@host.org"]
    texts += ["".join(draw.choices(LETTERS, k=draw.randrange(9))) for _ in range(3_000)]
    expected = pl.Series(texts).str.contains(pattern)
    wrong = [text for text, found in zip(texts, expected, strict=True) if found_in(text) != found]
    assert not wrong


def test_no_text_takes_a_pattern_more_than_linear_time() -> None:
    found_in = Pattern(parse("^(a+)+$|(a|a?)+b$|[a-z]+@")).found_in
    assert not found_in("a" * 300_000 + "!")
