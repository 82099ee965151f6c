"""What a generated `ml/source.py` may need to make plain text of what a file holds.

`inference` judges a column by these functions, and `writing` copies them, as they stand here,
into the file that it writes: what was judged is what will run. What a function cannot read it
leaves as it is, so that validation sees it.
"""

import polars as pl


def plain(*columns: str, drop: str, decimal: str = ".") -> pl.Expr:
    """Numbers as a computer writes them: without the characters in `drop`, with a decimal point."""
    digits = pl.col(columns).str.replace_all(f"[{drop}]", "") if drop else pl.col(columns)
    return digits.str.replace(decimal, ".", literal=True)


def unless(*columns: str, words: list[str]) -> pl.Expr:
    """Missing where a column of numbers or dates holds a word that stands for it."""
    return pl.col(columns).replace(words, None)


def dates(*columns: str, form: str) -> pl.Expr:
    """Dates in ISO form."""
    text = pl.col(columns).cast(pl.String)
    return text.str.to_datetime(form, strict=False).dt.to_string("%Y-%m-%d").fill_null(text)


def times(*columns: str, form: str) -> pl.Expr:
    """Times in ISO form; what bears a time zone is turned to UTC."""
    text = pl.col(columns)
    moments = text.str.to_datetime(form, strict=False, time_unit="us").dt.replace_time_zone(None)
    return moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f").fill_null(text)


def epochs(*columns: str, per_second: int) -> pl.Expr:
    """Times in ISO form, from the time since 1970."""
    text = pl.col(columns)
    moments = pl.from_epoch(text.cast(pl.Int64, strict=False) * (1_000_000 // per_second), "us")
    return moments.dt.to_string("%Y-%m-%d %H:%M:%S%.f").fill_null(text.cast(pl.String))


def seconds(*columns: str) -> pl.Expr:
    """Durations in seconds."""
    return pl.col(columns).dt.total_microseconds() / 1e6
