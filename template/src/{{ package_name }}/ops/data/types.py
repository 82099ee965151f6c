"""Which type a column has, judged by its values."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from ..pipeline.parsing import LISTS, read
from . import tidying

Type = Literal["Int64", "Float64", "Bool", "String", "Date", "Datetime", "Array", "List"]
Role = Literal[
    "target", "feature", "text", "event_time", "identifier", "group", "weight", "left out"
]

TOLERANCE = 0.01  # share of values that may not fit a type: their rows go to quarantine
WORDS = 3  # distinct words that may stand for a missing number or date
FEW = 20  # values that show in which forms times may be written
LONGEST = 40  # bytes of a number, as a rule
YEARS = (1000, 2500)  # of which a date is believed
TYPES: dict[Type, tuple[pl.DataType, str]] = {
    "Int64": (pl.Int64(), "whole numbers"),
    "Float64": (pl.Float64(), "numbers with decimals"),
    "Bool": (pl.Boolean(), "truth values"),
    "String": (pl.String(), "texts"),
    "Date": (pl.Date(), "days"),
    "Datetime": (pl.Datetime("us"), "times"),
}
"""What is meant by a type, and what its values are called."""

ITEMS: tuple[Type, ...] = ("Int64", "Float64", "Bool", "String")
"""What an array may hold, the narrowest type first."""

TYPED: dict[Any, tuple[Type, str]] = {
    pl.Boolean: ("Bool", "true or false"),
    pl.Date: ("Date", "days"),
    pl.Datetime: ("Datetime", "times"),
    pl.Categorical: ("String", ""),
    pl.Enum: ("String", ""),
    pl.Time: ("String", ""),
}
"""What becomes of the types that a file may have."""

BOOLEANS = ({"true", "false"}, {"yes", "no"}, {"y", "n"}, {"t", "f"})
NO_DAY = re.compile(r"[0\D]+|9999\D?12\D?31.*|31\D12\D9999.*|0001-01-01.*|01\D01\D(0001|9999).*")
"""How systems write that a number or a day is open, unlike a mistake."""

LISTED = r"(?s)^\s*(\[.*\]|\{.*\})\s*$"  # a list or an object in JSON
NOTHING = {"none", "nil", "-", "--", ".", "unknown", "missing"}
"""Words that stand for neither true nor false."""

CURRENCIES = (
    "AED AUD BRL CAD CHF CLP CNY COP CZK DKK EUR GBP HKD HUF IDR ILS INR JPY KRW MXN MYR NOK NZD "
    r"PHP PLN RON RUB SAR SEK SGD THB TRY TWD UAH USD VND ZAR Fr\.? kr\.? Rs\.? zł"
)
UNIT = rf"[A-Z]{{0,2}}\p{{Sc}}|[%‰]|{'|'.join(CURRENCIES.split())}"
MEASURE = r"^[+−-]?\d[\d.,\s'’]*?((?:\s\p{L}|[\p{L}°µ]{2})[\p{L}²³/]*)$"
"""A word behind a number, such as that for kilograms; a letter alone may be part of a code."""

POINT = (("", "."), (",", "."), (r"\s'’", "."), (".", ","))
COMMA = ((".", ","), (r"\s'’", ","), ("", "."), (r"\s'’", "."))
"""What may separate thousands, and the decimals, in a file with decimal points or commas."""

DAYS = (
    *("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%Y%m%d"),
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y"),
    *("%d-%b-%Y", "%d-%b-%y", "%d %b %Y", "%b %d, %Y", "%b %d %Y", "%a, %d %b %Y"),
    *("%d %B %Y", "%B %d, %Y", "%B %d %Y", "%Y-%m", "%b %Y", "%B %Y"),
    *("%A, %B %d, %Y", "%Y年%m月%d日"),
)
CLOCK = re.compile(
    r".*\d(?P<gap>,? |T)(?P<clock>\d{1,2}:\d\d|\d{6})(?P<seconds>:\d\d(\.\d+)?)?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?(Z|UTC|GMT|[+-]\d\d(:?\d\d)?)?)(?P<place>\[.+\])?"
)
STAMPS = ("%Y%m%d", "%Y%m%d%H%M", "%Y%m%d%H%M%S")
ISO = re.compile(r"%Y-%m-%d([ T]%H:%M(:%S%\.f(%#z)?)?)?")
"""The forms of times that ingest reads by itself."""

ALIKE = (
    ("times", r"\d{4}-\d\d-\d\d|\d\d?[./]\d\d?[./]\d{2,4}|\d:\d\d|^-?PT?\d|\d{8}\D\d{4}", ""),
    ("times", r"^(\P{L}*\p{L}{0,9}\P{L}*\D)?(19|20)\d\d(\D?[QW]\d\P{L}*)?$", r"\p{L}"),
    ("times", r"^\p{L}{3,4}\.?[ -]\d\d$", r"(?i)^(jan|f[eé][bv]|a[pv]r|jun|aug|sep|o[kc]t|nov)"),
    ("numbers", r"^\P{L}*\p{L}{0,3}\P{L}*(\p{Sc}|\d[.,][\d–-])\P{L}*\p{L}{0,3}\P{L}*$", ""),
    ("numbers", r"^[\p{N}\p{P}\p{S}\s]+$", r"[\p{N}--[0-9]]|\d_\d|\d[/:]\d|^'|\d['′]\d"),
    ("numbers", r"^X{0,3}(IX|IV|V?I{0,3})$", r"II|IV|VI|IX"),
    (
        *("numbers", r"^[<>≤≥~≈]?\s*[+−-]?(\d[\d.,\s'’]*[\p{L}°µ]{0,9}\.?\s*){1,3}\+?$"),
        r"[<>≤≥~≈]|\d[.,]\d|\+$|\d\s\p{L}|\d[\p{Ll}°µ]\p{L}|\d[kMGT]i?B|\d[dhm]\s?\d",
    ),
)
"""What texts may be that were not read, by how all of them look, and one of them at least."""


@dataclass(frozen=True)
class Step:
    """A call of one of `tidying`, on the way from a file's text to the contract's."""

    function: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def over(self, *columns: str) -> pl.Expr:
        """The call as an expression over `columns`."""
        made: pl.Expr = getattr(tidying, self.function)(*columns, **self.options)
        return made

    def apply(self, values: pl.Series) -> pl.Series:
        """What the call makes of a column."""
        return values.to_frame().select(self.over(values.name)).to_series()


@dataclass(frozen=True)
class Column:
    """What is decided on one column of a file; `why` and `warning` are for a person to read."""

    name: str
    type: Type | None  # None where the contract has no place for the values
    why: str = ""
    steps: tuple[Step, ...] = ()  # from the file's text to what ingest reads
    warning: str = ""
    role: Role = "feature"
    nullable: bool = True
    classes: tuple[str, ...] | tuple[int, ...] = ()  # of a classification's target
    category: bool = False  # whole numbers that are codes without an order
    item: Type | None = None  # what an array holds
    length: int = 0  # how many items an array has at most
    gaps: bool = False  # whether some of them are missing

    def parsed(self, given: pl.DataType) -> pl.Expr:
        """The column, past its steps and of type `given`, as ingest will read it."""
        type_ = self.item or self.type
        meant = TYPES[type_][0] if type_ else given
        meant = pl.List(meant) if self.item else meant
        return read(pl.col(self.name), given, meant).alias(self.name)


def stepped(rows: pl.LazyFrame, columns: Iterable[Column]) -> pl.LazyFrame:
    """Take every column through its steps, one after the other."""
    waiting = {column.name: column.steps for column in columns if column.steps}
    while waiting:
        rows = rows.with_columns(steps[0].over(name) for name, steps in waiting.items())
        waiting = {name: steps[1:] for name, steps in waiting.items() if len(steps) > 1}
    return rows


def guess(values: pl.Series, *, comma: bool = False, timely: bool = False) -> Column:
    """Guess the type of a column from some values, stripped, with null for what is missing.

    `comma`: decimals follow one in this file; `timely`: numbers may be days or times.
    """
    name, present = values.name, values.drop_nulls()
    if present.is_empty():
        return Column(name, None, "no value in any row")
    if values.dtype != pl.String:
        return _typed(present, timely)
    others = present.str.extract(r"([\p{Nd}--[0-9]])").drop_nulls().unique()
    zeros = {chr(ord(it) - unicodedata.decimal(it, ord(it))) for it in others} - {"\0"}
    if zeros:
        step = Step("digits", {"zeros": "".join(sorted(zeros))})
        read = guess(step.apply(values), comma=comma, timely=timely)
        if read.type != "String":
            return replace(read, steps=(step, *read.steps))
    if present.str.contains(r"^\d+$").all() and present.str.contains(r"^0\d").any():
        return Column(name, "String", "codes with leading zeros")
    if present.str.contains(LISTED).mean() >= 1 - TOLERANCE:  # type: ignore[operator]
        return _array(present) or Column(name, None, "lists or objects")
    found = _boolean(present) or _number(present, comma, timely) or _time(present)
    if found:
        return found
    looks = present.str.contains
    alike = [kind for kind, every, some in ALIKE if looks(every).all() and looks(some).any()]
    warning = f"text that looks like {alike[0]}, in a form that is not known" if alike else ""
    return Column(name, "String", warning=warning)


def decimal_comma(sample: pl.DataFrame) -> bool:
    """Whether some column of text shows decimals behind a comma, beyond doubt."""
    number = rf"^[+−-]?\s?({UNIT})?\s?[+−-]?\d[\d.\s'’]*(,\d+)?[−-]?\s?({UNIT})?$"
    clear = r",(\d{1,2}|\d{4,})\D*$|^[+−-]?0,"
    texts = (column.str for column in sample.select(pl.col(pl.String)).iter_columns())
    return any(text.contains(number).all() and text.contains(clear).any() for text in texts)


def years(numbers: Column) -> Column:
    """A column of whole numbers, once a person has said that they are times."""
    step = Step("dates", {"form": "%Y"})
    return replace(numbers, type="Date", why="years", steps=(*numbers.steps, step))


def _typed(present: pl.Series, timely: bool) -> Column:
    """The type of a column that has one already; ingest takes it from there."""
    name, dtype = present.name, present.dtype
    if isinstance(dtype, pl.List | pl.Array):
        return _array(present) or Column(name, None, f"values of type {dtype}")
    if dtype.is_numeric():
        if timely and (time := _calendar(present)):
            return time
        type_: Type = "Int64" if dtype.is_integer() else "Float64"
        return Column(name, type_, TYPES[type_][1])
    if dtype == pl.Duration:
        return Column(name, "Float64", "durations, in seconds", (Step("seconds"),))
    kind, why = TYPED.get(dtype.base_type(), (None, f"values of type {dtype}"))
    days = present.cast(pl.String).unique().sort() if kind in ("Date", "Datetime") else ()
    words = [day for day in days if NO_DAY.fullmatch(day)]
    return Column(name, kind, why, _without(words) if len(words) < len(days) else ())


def _array(present: pl.Series) -> Column | None:
    """Lists of numbers, truth values or texts, perhaps as JSON; None if they hold others.

    Of JSON, the narrowest kind that no other fits better; a few odd values are mistakes.
    """
    made = [Column(present.name, "List", f"lists of {TYPES[it][1]}", item=it) for it in ITEMS]
    if isinstance(present.dtype, LISTS):
        held = pl.Series(dtype=present.dtype.inner)
        type_ = "String" if held.dtype == pl.String else _typed(held, timely=False).type
        return next((its for its in made if its.item == type_), None)
    texts = present.to_frame()
    unfit = [texts.select(its.parsed(pl.String())).null_count().item() for its in made]
    return made[unfit.index(min(unfit))] if min(unfit) <= TOLERANCE * len(present) else None


def _boolean(present: pl.Series) -> Column | None:
    """Two words for true and false, and perhaps some for nothing."""
    spellings = sorted(present.unique().head(20), key=str.lower)
    words = [word for word in spellings if word.lower() in NOTHING]
    truths = [word for word in spellings if word not in words]
    if {word.lower() for word in truths} not in BOOLEANS:
        return None
    return Column(present.name, "Bool", " or ".join(truths), _without(words))


def _without(words: list[str]) -> tuple[Step, ...]:
    return (Step("unless", {"words": words}),) if words else ()


def _fitting(present: pl.Series, fits: pl.Series) -> tuple[pl.Series, tuple[Step, ...]] | None:
    """The values that fit a type, and the step that removes words; None if it is another type.

    A few words among numbers or dates, and days such as 00.00.0000, stand for something missing.
    A few odd values are mistakes: they stay, for validation to see.
    """
    good, odd = present.filter(fits), present.filter(~fits)
    words = sorted(odd.unique().head(WORDS + 1))
    if good.is_empty() or odd.str.contains(r"\p{L}").sum() > len(good):
        return None
    if len(words) <= WORDS and all(map(NO_DAY.fullmatch, words)):
        return good, _without(words)
    return (good, ()) if len(odd) <= TOLERANCE * len(present) else None


def _number(present: pl.Series, comma: bool, timely: bool) -> Column | None:
    """Numbers, in the ways in which people write them."""
    if present.str.len_bytes().median() > LONGEST:  # type: ignore[operator]  # it is never null
        return None
    units = present.str.extract(rf"(?:^|[\d\s.(+−-])({UNIT})(?:[\s\d(+−-]|\)?$)").drop_nulls()
    measures = present.str.extract(MEASURE).drop_nulls().str.strip_chars()
    units = measures if units.is_empty() and len(measures) > len(present) / 2 else units
    several = units.unique().sort().to_list()
    plural = bool(several) and several[1:] == [f"{several[0]}s"]  # as in 1 day, 2 days
    several = several[plural:]
    unit = UNIT if len(several) > 1 else "".join(re.sub(r"\W", r"[\g<0>]", it) for it in several)
    unit += "?" * plural
    for thousands, decimal in COMMA if comma else POINT:
        plain = Step("numbers", {"unit": unit, "thousands": thousands, "decimal": decimal})
        fits = plain.apply(present).cast(pl.Float64, strict=False).is_not_null()
        if found := _fitting(present, fits):
            break
    else:
        return None
    if len(several) > 1:
        return Column(present.name, "String", warning=f"numbers in {' and '.join(several[:2])}")
    written, steps = found
    values = plain.apply(written)
    why = warning = ""
    if not values.equals(written):
        used = {
            "unit": bool(unit),
            "thousands": written.str.contains(rf"\d[{thousands or '#'}]\d").any(),
            "decimal": decimal != ".",
        }
        steps += (Step("numbers", {name: plain.options[name] for name in used if used[name]}),)
        why = f", written like {written.filter(values != written)[0]}"
        warning = _thousands_or_decimals(written, values, thousands, decimal)
    whole = values.str.contains(r"^[+-]?\d{1,18}$").all()
    if timely and (time := _calendar(values.cast(pl.Int64 if whole else pl.Float64))):
        return replace(time, steps=(*steps, *time.steps))
    if values.str.contains(r"^[+-]?\d+$").all() and not whole:
        return Column(present.name, "String", "codes: too many digits for a number")
    type_: Type = "Int64" if whole else "Float64"
    return Column(present.name, type_, TYPES[type_][1] + why, steps, warning)


def _thousands_or_decimals(
    written: pl.Series, values: pl.Series, thousands: str, decimal: str
) -> str:
    """A warning where nothing tells whether 1,234 is a large number or a small one."""
    clear = rf"[{thousands}]\d{{3}}[{thousands}]|\d[{decimal}]"
    if thousands not in (",", ".") or written.str.contains(clear).any():
        return ""
    grouped = written.str.contains(rf"\d[{thousands}]\d")
    pairs = zip(written.filter(grouped), values.filter(grouped), strict=True)
    return next((f"{one} is read as {number}" for one, number in pairs), "")


def _calendar(numbers: pl.Series) -> Column | None:
    """Numbers that are days such as 20201231, or times, or seconds or parts of them since 1970."""
    for form, end in *((it, "") for it in STAMPS), (STAMPS[1], "00"):
        times = _read(numbers.cast(pl.String) + end, form)
        if times.dt.year().is_between(1900, 2100).fill_null(False).all():
            # Hours such as 2020123123 are not read, and are no seconds since 1970.
            return None if end else _timed(numbers.name, form, str(numbers[0]))
    low, high = numbers.to_numpy().min(), numbers.to_numpy().max()
    for per_second, unit in ((1, "seconds"), (1000, "milliseconds"), (10**6, "microseconds")):
        if 500_000_000 * per_second <= low and high <= 4_000_000_000 * per_second:
            step = Step("epochs", {"per_second": per_second})
            return Column(numbers.name, "Datetime", f"{unit} since 1970", (step,))
    return None


def _time(present: pl.Series) -> Column | None:
    """Dates and times, in the ways in which people write them.

    Day and month are told apart by a day beyond the twelfth, else by the order of the rows.
    """
    found: list[tuple[str, pl.Series, tuple[Step, ...]]] = []
    few = present.unique(maintain_order=True).head(FEW)
    if not few.str.contains(r"(\d\D*){3}").any():
        return None
    for form in (day + clock for clock in _clocks(few) for day in DAYS):
        if _read(few, form).null_count() == len(few):
            continue
        times = _read(present, form)
        kept = _fitting(present, times.is_not_null())
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
    return _timed(present.name, form, example, *steps, warning=warning)


def _timed(name: str, form: str, example: str, *steps: Step, warning: str = "") -> Column:
    """A column of days, or of times, in this form."""
    type_: Type = "Date" if form in DAYS else "Datetime"
    step = Step("dates" if type_ == "Date" else "times", {"form": form})
    steps += () if ISO.fullmatch(form) else (step,)
    return Column(name, type_, f"{TYPES[type_][1]} like {example}", steps, warning)


def _clocks(texts: Iterable[str]) -> list[str]:
    """What follows the day in some texts, as a form: nothing, or hours and perhaps a zone."""
    forms: dict[str, None] = {}
    for match in map(CLOCK.fullmatch, texts):
        form = ""
        if match:
            hours = "%I" if match["half"] else "%H"
            form = match["gap"] + (f"{hours}:%M" if ":" in match["clock"] else "%H%M%S")
            form += ":%S%.f" if match["seconds"] else ""
            form += re.sub("[AaPp][Mm]", "%p", match["half"] or "")
            form += re.sub(r"Z|[+-]\d.*", "%#z", match["zone"]) + (match["place"] or "")
        forms[form] = None
    return list(forms)


def _read(values: pl.Series, form: str) -> pl.Series:
    """Times by a form; null where it does not fit, or gives a year that nobody meant."""
    times = values.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone(None)
    if "%y" in form:  # a version number such as 3.9.0 has no year of two digits
        times = times.set(~values.str.contains(r"^\d\d?[./-]\w+[./-]\d\d(\D|$)"), None)
    return times.set(~times.dt.year().is_between(*YEARS), None)
