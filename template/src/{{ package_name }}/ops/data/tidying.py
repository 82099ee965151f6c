"""What a generated `ml/source.py` may need to write the values of a file as ingest reads them.

`types` judges a column by these functions, and `code` copies those that are needed, as they stand
here, into the file that it writes: what was judged is what will run. A column that is not there is
passed over, and a value that does not fit stays as it is, for validation to see.
"""

import polars as pl
from polars import selectors as cs


def digits(*columns: str, zeros: str) -> pl.Expr:
    """Digits of scripts that have these zeros, and the signs between them, as a computer's."""
    text = cs.by_name(*columns, require_all=False) & cs.string()
    signs = "\u066b\u066c\u066a\uff0e\uff0c\uff0d\uff0f\uff1a\uff05"
    plain = dict(zip(signs, ".,%.,-/:%", strict=True))
    plain |= {chr(ord(zero) + digit): str(digit) for zero in zeros for digit in range(10)}
    return text.str.replace_many(plain)


def numbers(*columns: str, unit: str = "", thousands: str = "", decimal: str = ".") -> pl.Expr:
    """Numbers as a computer writes them, without unit and separators; (5) and 5- as -5."""
    text: pl.Expr = cs.by_name(*columns, require_all=False) & cs.string()
    minus = r"\u2212\u2013"  # as printed
    groups = rf"\d{{1,3}}([{thousands}]\d{{2,3}})*[{thousands}]\d{{3}}|" if thousands else ""
    number = rf"(({groups}\d+)([{decimal}]\d*)?|[{decimal}]\d+)([eE][+-]?\d+)?\s?({unit})?"
    signed = rf"([+{minus}-]?\s?({unit})?|({unit})?\s?[+{minus}-])\s?{number}"
    bracketed = rf"({unit})?\s?\(({unit})?\s?{number}\)"
    fits = text.str.contains(rf"^({signed}|{number}[{minus}-]|{bracketed})$")
    plain = text.str.replace_all(unit, "") if unit else text
    plain = plain.str.replace_all(f"[{minus}(]", "-").str.replace(r"^([^-]+)-\s?$", "-$1")
    plain = plain.str.replace_all(rf"[^\d{decimal}eE+-]", "").str.replace(
        decimal, ".", literal=True
    )
    return pl.when(fits).then(plain).otherwise(text)


def unless(*columns: str, words: list[str]) -> pl.Expr:
    """Nothing where a column of numbers or times holds a word that stands for it."""
    values = cs.by_name(*columns, require_all=False) & (cs.string() | cs.temporal())
    return pl.when(~values.cast(pl.String).is_in(words)).then(values)


def dates(*columns: str, form: str) -> pl.Expr:
    """Dates in ISO form."""
    text = (cs.by_name(*columns, require_all=False) & (cs.string() | cs.integer())).cast(pl.String)
    return text.str.to_datetime(form, strict=False).dt.to_string("%Y-%m-%d").fill_null(text)


def times(*columns: str, form: str) -> pl.Expr:
    """Times in ISO form; what bears a time zone is turned to UTC."""
    text = (cs.by_name(*columns, require_all=False) & (cs.string() | cs.integer())).cast(pl.String)
    moments = text.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone(None)
    return moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f").fill_null(text)


def epochs(*columns: str, per_second: int) -> pl.Expr:
    """Times in ISO form, from the time since 1970."""
    text = (cs.by_name(*columns, require_all=False) & (cs.string() | cs.numeric())).cast(pl.String)
    microseconds = text.cast(pl.Float64, strict=False) * (1_000_000 / per_second)
    moments = pl.from_epoch(microseconds.round().cast(pl.Int64, strict=False), "us")
    return moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f").fill_null(text)


def seconds(*columns: str) -> pl.Expr:
    """Durations in seconds."""
    return (cs.by_name(*columns, require_all=False) & cs.duration()).dt.total_microseconds() / 1e6
