"""From the values that a source happens to hold to the types that the contract means.

Numbers, booleans and times may come as text; whole numbers as floats; a time may carry a zone.
A value that cannot be read as its column's type is not lost: it becomes missing, and its text
is kept beside it in a column `<name>|text`, which is missing everywhere else. Validation sends
such rows to quarantine. Arrays may come as text, too: as JSON.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any, NamedTuple, cast

import msgspec
import polars as pl
from msgspec import Meta

from .. import contract as contracts
from ..contract import EXACT, FALSE, TEXT, TRUE
from ..errors import UserError
from ..wording import closest

TIMES = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d", "%Y-%m-%d %H:%M", "%Y-%m-%d %H:%M:%S%.f%#z")
"""The ways of ISO 8601 to write a date and a time, once the T between them is a space."""

LISTS = pl.List, pl.Array

WHOLE = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]

FEW = 100  # texts that show which way is the usual one

CALENDAR = datetime.min, datetime.max
"""A year of more than four digits, or none, is a slip of the pen."""


class Parsed(NamedTuple):
    """Rows in the contract's types, and the names of the columns that it does not know."""

    rows: pl.LazyFrame
    dropped: list[str]


def parse(rows: pl.LazyFrame, *, labelled: bool = True, origin: str = "The source") -> Parsed:
    """Parse rows to the contract's columns and types, lazily and in the same order.

    Args:
        rows: columns of any type, text included.
        labelled: whether the target must be there; if not, these are rows to score.
        origin: how a message calls the rows.

    Raises:
        UserError: if a column is missing, or holds what it cannot mean: structures or bytes, lists
            where none are meant, or numbers where lists are.
    """
    contract, declared = contracts.load(), contracts.schema().columns()
    wanted = [column.name for column in (contract.columns if labelled else contract.inputs)]
    found = rows.collect_schema()
    if missing := [name for name in wanted if name not in found]:
        close = {name: closest(name, found) for name in missing}
        named = [f"{name} (is it {its[0]}?)" if its else name for name, its in close.items()]
        made = "also what `load` in ml/source.py makes or joins"
        raise UserError(
            f"{origin} lacks {', '.join(named)}; add or rename what is missing, "
            f"{'or change ml/schema.py' if labelled else made}."
        )
    values, texts, final = [], [], []
    for name in wanted:
        given, meant = found[name], declared[name].dtype
        if not _is_legible(given, meant):
            cure = f"lists of {meant.inner}" if isinstance(meant, LISTS) else "text or numbers"
            raise UserError(f"{origin} holds {given} in {name}; turn it into {cure}.")
        # NaN is how numpy writes a missing number.
        raw = pl.col(name).fill_nan(None) if given.is_float() else pl.col(name)
        values.append(read(raw, given, meant).alias(name))
        if meant.is_float():
            final.append(pl.col(name).fill_nan(None))
        if not _always_readable(given, meant):
            text = pl.col(name + TEXT)
            texts.append((raw if given.is_nested() else raw.cast(pl.String)).alias(name + TEXT))
            told = text.is_not_null() if given.is_nested() else text.str.strip_chars() != ""
            unread = pl.when(pl.col(name).is_null() & told).then(text)
            final.append(as_text(unread, given).alias(name + TEXT))
    parsed = rows.select(*values, *texts).with_columns(final)
    return Parsed(parsed, [name for name in found if name not in wanted])


def as_text(values: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Values of this type as text; lists as JSON."""
    if not dtype.is_nested():
        return values.cast(pl.String)
    json = pl.struct(values.alias("")).struct.json_encode()
    return pl.when(values.is_not_null()).then(json.str.slice(len('{"":')).str.head(-len("}")))


def _is_legible(given: pl.DataType, meant: pl.DataType) -> bool:
    """Whether a value of type `given` may stand for one of type `meant`."""
    if isinstance(meant, LISTS) and given not in (pl.String, pl.Null):
        return isinstance(given, LISTS) and _is_legible(_inner(given), pl.String())
    return not given.is_nested() and given not in (pl.Binary, pl.Object)


def _always_readable(given: pl.DataType, meant: pl.DataType) -> bool:
    """Whether every value of type `given` has its like in type `meant`."""
    if isinstance(given, pl.List) and isinstance(meant, pl.List):
        return _always_readable(_inner(given), _inner(meant))
    return (
        given in (meant, pl.Null)
        or meant == pl.String
        or (meant.is_float() and (given.is_numeric() or given == pl.Boolean))
        or (meant == pl.Datetime and given in (pl.Date, pl.Datetime))
    )


def read(raw: pl.Expr, given: pl.DataType, meant: pl.DataType) -> pl.Expr:
    """Turn values of type `given` into type `meant`; null where that cannot be done."""
    if isinstance(meant, LISTS) and given != pl.Null:
        return _lists(raw, given, meant)
    if given in (meant, pl.Null) or meant == pl.String:
        return raw.cast(meant)
    if given in (pl.Date, pl.Datetime) and meant.is_temporal():
        return _time(raw, given, meant)
    if meant.is_numeric() and (given.is_integer() or given == pl.Boolean):
        return raw.cast(meant, strict=False)
    if meant.is_numeric() and given.is_numeric():
        return _number(raw.cast(pl.Float64), meant)
    readings = list(_readings(meant))

    def read(texts: pl.Series) -> pl.Series:
        values = _first_that_fits(texts, readings)
        return _in_calendar(values, meant) if meant.is_temporal() else values

    return raw.cast(pl.String).map_batches(read, return_dtype=meant, is_elementwise=True)


def _lists(raw: pl.Expr, given: pl.DataType, meant: pl.List | pl.Array) -> pl.Expr:
    """Turn lists, or JSON of them, into type `meant`; null where an item cannot be read."""
    if not isinstance(given, LISTS):
        return _from_json(raw, meant)
    if isinstance(given, pl.Array):
        raw = raw.arr.to_list()
    held, wanted, item = _inner(given), _inner(meant), pl.element()
    if held.is_float():
        raw = raw.list.eval(item.fill_nan(None))
    lists = raw.list.eval(read(item, held, wanted))
    if wanted.is_float():
        lists = lists.list.eval(item.fill_nan(None))
    if not _always_readable(held, wanted):
        before, after = (its.list.eval(item.is_not_null()).list.sum() for its in (raw, lists))
        lists = pl.when(before == after).then(lists)
    if isinstance(meant, pl.Array):
        return pl.when(lists.list.len() == meant.size).then(lists).list.to_array(meant.size)
    return lists


def _inner(dtype: pl.List | pl.Array) -> pl.DataType:
    """The type of the items."""
    return cast(pl.DataType, dtype.inner)


def _from_json(texts: pl.Expr, meant: pl.List | pl.Array) -> pl.Expr:
    """Read texts of JSON as type `meant`; null where one is no list of such items."""
    python: Any = str | int  # a code may be written as a number
    held: pl.DataType = pl.String()
    if _inner(meant).is_numeric():
        python, held = (float, pl.Float64()) if _inner(meant).is_float() else (WHOLE, pl.Int64())
    elif _inner(meant) == pl.Boolean:
        python, held = bool, pl.Boolean()
    decoder = msgspec.json.Decoder(list.__class_getitem__(python | None), strict=False)

    def decoded(text: str | None) -> list[Any] | None:
        with suppress(msgspec.DecodeError, RecursionError):
            return decoder.decode(text) if text else None
        return None

    def read(texts: pl.Series) -> pl.Series:
        if held.is_float():  # how Python writes that a number is missing
            texts = texts.str.replace_all("(?i)nan", "null")
        lists = pl.Series("", [decoded(text) for text in texts], pl.List(held), strict=False)
        return lists.to_frame().select(_lists(pl.col(""), pl.List(held), meant)).to_series()

    return texts.map_batches(read, return_dtype=meant, is_elementwise=True)


def _readings(meant: pl.DataType) -> Iterator[pl.Expr]:
    """The ways in which a column `text` may write values of type `meant`: none contradict."""
    text, bare = pl.col("text"), pl.col("text").str.strip_chars()
    if meant.is_numeric():
        yield bare.cast(meant, strict=False)
        if meant.is_integer():
            yield _number(bare.cast(pl.Float64, strict=False), meant)
    elif meant == pl.Boolean:
        word = bare.str.to_lowercase()
        yield pl.when(word.is_in(TRUE)).then(True).when(word.is_in(FALSE)).then(False)
    elif meant.is_temporal():
        spaced = bare.str.replace("T", " ", literal=True)
        for form in TIMES:
            moment = spaced.str.to_datetime(form, time_unit="us", strict=False)
            yield moment.dt.replace_time_zone(None)  # one with a zone has become UTC
    else:
        yield pl.coalesce(text.cast(meant, strict=False), bare.cast(meant, strict=False))


def _first_that_fits(texts: pl.Series, readings: Sequence[pl.Expr]) -> pl.Series:
    """Read texts in one way after the other, until nothing is left that could not be read.

    The way that the first of them are written in comes first, and is nearly always enough:
    reading ten million times in four ways would take half a minute.
    """
    frame = texts.alias("text").to_frame()
    few = frame.head(FEW)
    first, *others = sorted(readings, key=lambda reading: few.select(reading).null_count().item())
    read = frame.select(first).to_series()
    for reading in others:
        if read.null_count() == texts.null_count():
            break
        read = read.zip_with(read.is_not_null(), frame.select(reading).to_series())
    return read


def _in_calendar(moments: pl.Series, meant: pl.DataType) -> pl.Series:
    """Moments as dates or times, in years that have four digits."""
    moments = moments.set(~moments.is_between(*CALENDAR), None)
    time = _time(pl.col(moments.name), moments.dtype, meant)
    return moments.to_frame().select(time).to_series()


def _number(number: pl.Expr, meant: pl.DataType) -> pl.Expr:
    """Turn float64 into `meant`; a fraction is no whole number."""
    if meant.is_float():
        return number.cast(meant)
    whole = (number == number.floor()) & (number.abs() < EXACT)
    return pl.when(whole).then(number.cast(meant, strict=False))


def _time(time: pl.Expr, given: pl.DataType, meant: pl.DataType) -> pl.Expr:
    """Turn dates and times into each other; a time of the day is no date."""
    if getattr(given, "time_zone", None):
        time = time.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
    if meant == pl.Date and given == pl.Datetime:
        return pl.when(time == time.dt.truncate("1d")).then(time.cast(pl.Date))
    return time.cast(meant)
