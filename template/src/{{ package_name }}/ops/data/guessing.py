"""Which type a column has, judged by its values."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from itertools import product
from typing import Any, Literal

import polars as pl

from ..pipeline.parsing import read
from . import parts

Type = Literal["Int64", "Float64", "Bool", "String", "Date", "Datetime"]

TOLERANCE = 0.01  # share of values that may not fit a type: their rows go to quarantine
WORDS = 3  # distinct words that may stand for a missing number or date
TYPES: dict[Type, pl.DataType] = {
    "Int64": pl.Int64(),
    "Float64": pl.Float64(),
    "Bool": pl.Boolean(),
    "String": pl.String(),
    "Date": pl.Date(),
    "Datetime": pl.Datetime("us"),
}
NOTHING = {"none", "nil", "-", "--", ".", "unknown", "missing"}
"""Words that stand for neither true nor false."""
BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})

INTEGER = r"^[+-]?\d{1,18}$"
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
SIGNS = "$€£¥%"

DAY, MOMENT = "%Y-%m-%d", "%Y-%m-%d %H:%M:%S%.f"
DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%b %d, %Y", "%b %d %Y"),
    *("%d %B %Y", "%B %d, %Y", "%B %d %Y", "%Y-%m", "%b %Y", "%B %Y"),
)
CLOCKS = ("%H:%M:%S%.f", "%H:%M", "%I:%M:%S %p", "%I:%M %p")
ZONES = ("", "%#z", " %#z")
FORMS = (*DAYS, *("".join(form) for form in product(DAYS, " T", CLOCKS, ZONES)))
ISO = {
    *("%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%dT%H:%M"),
    *("".join(form) for form in product(["%Y-%m-%d"], " T", ["%H:%M:%S%.f"], ["", "%#z"])),
}
"""What ingest reads by itself."""
TOKENS = {
    "%Y": r"\d{4}",
    "%y": r"\d{2}",
    "%m": r"\d{1,2}",
    "%d": r"\d{1,2}",
    "%b": r"[^\W\d]{3}",
    "%B": r"[^\W\d]{3,}",
    "%H": r"\d{1,2}",
    "%I": r"\d{1,2}",
    "%M": r"\d{2}",
    "%S": r"\d{2}",
    "%.f": r"(\.\d+)?",
    "%p": r"[AaPp][Mm]",
    "%#z": r"(Z|[+-]\d{2}(:?\d{2})?)",
}
FEW = 20  # values that show of which forms a time may be
YEARS = (1000, 2500)  # of which a date is believed


@dataclass(frozen=True)
class Step:
    """A call of one of `parts`, on the way from a file's text to the contract's."""

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def over(self, *columns: str) -> pl.Expr:
        """The call as an expression over `columns`."""
        made: pl.Expr = getattr(parts, self.function)(*columns, **self.options)
        return made


@dataclass(frozen=True)
class Guess:
    """A type, the steps that lead to it, and why it was chosen.

    Attributes:
        type: None where the contract has no place for the values.
        why: in a few words.
        form: of a time, as it is written after the steps.
        steps: to apply one after the other.
        warning: what a person should look at; "" for nothing.
    """

    type: Type | None
    why: str
    steps: tuple[Step, ...] = ()
    warning: str = ""
    form: str = ""

    def parsed(self, name: str, given: pl.DataType) -> pl.Expr:
        """The column `name`, past its steps and of type `given`, as ingest will read it."""
        if self.form and given == pl.String:  # what ingest tries besides takes its time
            times = pl.col(name).str.to_datetime(self.form, strict=False, time_unit="us")
            return times.dt.replace_time_zone(None)
        return read(pl.col(name), given, TYPES[self.type] if self.type else given).alias(name)


def stepped(rows: pl.LazyFrame, guesses: Mapping[str, Guess]) -> pl.LazyFrame:
    """Take every column through the steps of its guess."""
    for level in range(max((len(guess.steps) for guess in guesses.values()), default=0)):
        rows = rows.with_columns(
            guess.steps[level].over(name)
            for name, guess in guesses.items()
            if len(guess.steps) > level
        )
    return rows


def guess(values: pl.Series, *, comma: bool = False, timely: bool = False) -> Guess:
    """Guess the type of a column.

    Args:
        values: a sample of them, stripped, with null for what is missing.
        comma: whether decimals follow a comma in this file (see `decimal_comma`).
        timely: whether whole numbers may be days such as 20201231, or seconds since 1970.
    """
    if values.dtype != pl.String:
        return _typed(values, timely)
    present = values.drop_nulls()
    if present.is_empty():
        return Guess(None, "no value in any row")
    if boolean := _boolean(present):
        return boolean
    if present.str.contains(r"^0\d+$").any() and present.str.contains(r"^\d+$").all():
        return Guess("String", "codes with leading zeros")
    if present.str.contains(r"^\s*[\[{]").all():
        return Guess(None, "lists or objects")
    return _number(present, comma, timely) or _time(present) or Guess("String", "")


def decimal_comma(sample: pl.DataFrame) -> bool:
    """Whether some column of text shows decimals behind a comma, beyond doubt."""
    return any(
        bool(
            column.str.contains(rf"^[{SIGNS}\s]*[+-]?\d[\d.\s'’]*(,\d+)?[{SIGNS}\s]*$").all()
            and column.str.contains(r",(\d{1,2}|\d{4,})\D*$|^[+-]?0,").any()
        )
        for column in sample.select(pl.col(pl.String)).iter_columns()
    )


def years(asked: Guess) -> Guess:
    """The guess of a column of whole numbers, once a person has said that they are times."""
    return Guess("Date", "years", (*asked.steps, Step("dates", {"form": "%Y"})), form=DAY)


def _sorted_out(present: pl.Series, fits: pl.Series) -> tuple[pl.Series, tuple[Step, ...]] | None:
    """The values that fit a type, and the step that removes words; None if it is another type.

    A few words among numbers or dates stand for something missing. A few odd values are
    mistakes: they stay, for validation to see.
    """
    odd = present.filter(~fits)
    good = present.filter(fits)
    words = sorted(odd.unique().head(WORDS + 1))
    if good.is_empty() or len(odd) > len(good):
        return None
    if words and len(words) <= WORDS and not any(re.search(r"\d", word) for word in words):
        return good, (Step("unless", {"words": words}),)
    return (good, ()) if len(odd) <= TOLERANCE * len(present) else None


def _boolean(present: pl.Series) -> Guess | None:
    """Two words for true and false, and perhaps some for nothing."""
    spellings = sorted(present.unique().head(20), key=str.lower)
    words = [word for word in spellings if word.lower() in NOTHING]
    truths = [word for word in spellings if word not in words]
    if {word.lower() for word in truths} not in BOOLEANS:
        return None
    steps = (Step("unless", {"words": words}),) if words else ()
    return Guess("Bool", " or ".join(truths), steps)


def _number(present: pl.Series, comma: bool, timely: bool) -> Guess | None:
    """Numbers, in the ways in which people write them."""
    points = (("", "."), (",", "."), (r"\s'’", "."), (".", ","))
    commas = ((".", ","), (r"\s'’", ","), ("", "."))
    for thousands, decimal in commas if comma else points:
        groups = rf"\d{{1,3}}([{thousands}]\d{{3}})+|" if thousands else ""
        digits = rf"(({groups}\d+)([{decimal}]\d*)?|[{decimal}]\d+)([eE][+-]?\d+)?"
        fits = present.str.contains(rf"^[{SIGNS}]?\s?[+-]?{digits}\s?[{SIGNS}]?$")
        if found := _sorted_out(present, fits):
            values, steps = found
            break
    else:
        return None
    style, warning = _style(values, thousands, decimal)
    why = ""
    if style:
        shape = "[" + "".join(style.values()) + "]"
        why = f", written like {values.filter(values.str.contains(shape))[0]}"
        steps += (Step("plain", style),)
        values = values.to_frame("value").select(Step("plain", style).over("value"))["value"]
    if not values.str.contains(INTEGER).all():
        if values.str.contains(r"^[+-]?\d+$").all():
            return Guess("String", "codes: too many digits for a number")
        return Guess("Float64", f"numbers with decimals{why}", steps, warning)
    if timely and (time := _calendar(values.cast(pl.Int64))):
        return replace(time, steps=(*steps, *time.steps))
    return Guess("Int64", f"whole numbers{why}", steps, warning)


def _style(values: pl.Series, thousands: str, decimal: str) -> tuple[dict[str, str], str]:
    """What `parts.plain` must know of how numbers are written, and a warning if it may be wrong."""
    style: dict[str, str] = {}
    letters = set("".join(values.unique()))
    signs = "".join(sorted(letters & set(SIGNS)))
    spaced = values.str.contains(rf"^[{SIGNS}]\s|\s[{SIGNS}]$").any()
    if signs:
        style["signs"] = signs + (r"\s" if spaced else "")
    grouped = (
        values.filter(values.str.contains(rf"\d[{thousands}]\d{{3}}")) if thousands else values
    )
    if thousands and len(grouped):
        style["thousands"] = thousands
    if decimal != "." and decimal in letters:
        style["decimal"] = decimal
    if style.get("thousands") in (",", ".") and decimal not in letters:
        example = grouped[0]
        if not grouped.str.contains(rf"[{thousands}]\d{{3}}[{thousands}]").any():
            number = re.sub(rf"[{thousands}{SIGNS}]", "", example)
            return style, f"{example} is read as {number}"
    return style, ""


def _calendar(numbers: pl.Series) -> Guess | None:
    """Whole numbers that are days such as 20201231, or seconds or milliseconds since 1970."""
    low, high = numbers.to_numpy().min(), numbers.to_numpy().max()
    if low >= 19000101 and high <= 21001231:
        days = numbers.cast(pl.String).str.to_datetime("%Y%m%d", strict=False)
        if days.null_count() == 0:
            step = Step("dates", {"form": "%Y%m%d"})
            return Guess("Date", "days like 20201231", (step,), form=DAY)
    for per_second, unit in ((1, "seconds"), (1000, "milliseconds")):
        if 500_000_000 * per_second <= low and high <= 4_000_000_000 * per_second:
            step = Step("epochs", {"per_second": per_second})
            return Guess("Datetime", f"{unit} since 1970", (step,), form=MOMENT)
    return None


def _time(present: pl.Series) -> Guess | None:
    """Dates and times, in the ways in which people write them.

    Day and month are told apart by a day beyond the twelfth, else by the order of the rows.
    """
    found: list[tuple[str, pl.Series, tuple[Step, ...]]] = []
    few = present.head(FEW).to_list()
    for form, shape in _shapes().items():
        if not any(map(shape.fullmatch, few)):
            continue
        times = _read(present, form)
        kept = _sorted_out(present, times.is_not_null())
        if kept and not any(times.equals(others) for _, others, _ in found):
            found.append((form, times, kept[1]))
    if not found:
        return None
    found.sort(key=lambda reading: not reading[1].drop_nulls().is_sorted())
    form, times, steps = found[0]
    example = present.filter(times.is_not_null())[0]
    warning = ""
    if len(found) > 1:
        readings = [others.drop_nulls()[0].strftime("%d %B %Y") for _, others, _ in found]
        warning = f"{example} is read as {readings[0]}, and could be {readings[1]}"
    kind: Type = "Datetime" if form not in DAYS else "Date"
    if form not in ISO:
        steps += (Step("dates" if kind == "Date" else "times", {"form": form}),)
        form = DAY if kind == "Date" else MOMENT
    noun = "days" if kind == "Date" else "times"
    return Guess(kind, f"{noun} like {example}", steps, warning, form)


@cache
def _shapes() -> dict[str, re.Pattern[str]]:
    """What a time of each form looks like: matching costs a hundredth of reading."""
    return {
        form: re.compile(
            "".join(
                TOKENS.get(part) or re.escape(part) for part in re.split(r"(%[.#]?[A-Za-z])", form)
            )
        )
        for form in FORMS
    }


def _read(values: pl.Series, form: str) -> pl.Series:
    """Times by a form; null where it does not fit, or gives a year that nobody meant."""
    times = values.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone(None)
    return times.set(~times.dt.year().is_between(*YEARS), None)


def _typed(values: pl.Series, timely: bool) -> Guess:
    """The type of a column that has one already; ingest takes it from there."""
    dtype = values.dtype
    if values.null_count() == len(values):
        return Guess(None, "no value in any row")
    if dtype == pl.Boolean:
        return Guess("Bool", "true or false")
    if dtype.is_integer():
        time = _calendar(values.drop_nulls().cast(pl.Int64, strict=False)) if timely else None
        return time or Guess("Int64", "whole numbers")
    if dtype.is_float() or dtype.is_decimal():
        return Guess("Float64", "numbers with decimals")
    if dtype == pl.Date:
        return Guess("Date", "days")
    if dtype == pl.Datetime:
        return Guess("Datetime", "times")
    if dtype == pl.Duration:
        return Guess("Float64", "durations, in seconds", (Step("seconds"),))
    if dtype in (pl.Categorical, pl.Enum, pl.Time):
        return Guess("String", "")
    return Guess(None, f"values of type {dtype}")
