"""Open a file that nobody has seen before: its format, its encoding, its layout."""

import codecs
import csv
import glob
import json
import re
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from pathlib import Path
from typing import Literal

import polars as pl

from ..errors import UserError

Format = Literal["csv", "parquet", "jsonl"]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
ENCODINGS = {"cp1252": "Windows-1252", "latin-1": "Latin-1"}
QUOTING: dict[bool, Literal[0, 3]] = {True: csv.QUOTE_MINIMAL, False: csv.QUOTE_NONE}
HEAD = 1 << 20  # what is looked at, in bytes, to guess a layout
CHUNK = 1 << 20
UNREADABLE = "The file cannot be read as CSV; save it with line ends as on Windows or Unix."
LINES = 100_000  # of JSON, in which every key should have appeared
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHERS = {
    b"PK\x03\x04": "an Excel workbook or another zip archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "compressed with gzip",
    b"ARROW1": "an Arrow file",
    b"SQLite format 3": "an SQLite database",
    b"%PDF": "a PDF document",
}


@dataclass(frozen=True)
class Layout:
    """All that must be known to read a file again.

    Attributes:
        format: what kind of file it is.
        encoding: of its text, as it came; "" for Parquet.
        columns: the names, in order; "" for a column without one.
        separator: between two fields of a CSV file.
        quoted: whether quotation marks enclose fields of a CSV file.
        renamed: whether polars would read other names in the header of a CSV file.
    """

    format: Format
    encoding: str
    columns: tuple[str, ...]
    separator: str = ","
    quoted: bool = True
    renamed: bool = False

    @property
    def description(self) -> str:
        """The layout in words."""
        if self.format == "parquet":
            return "Parquet"
        encoding = ENCODINGS.get(self.encoding, self.encoding.removesuffix("-sig").upper())
        if self.format == "jsonl":
            return f"JSON lines in {encoding}"
        return f"CSV with {SEPARATORS[self.separator]} in {encoding}"

    @property
    def unique_columns(self) -> tuple[str, ...]:
        """The names, with a made one for a column that has none."""
        return tuple(name or f"column {place}" for place, name in enumerate(self.columns, start=1))

    def scan(self, path: Path) -> pl.LazyFrame:
        """Read the columns of `path` that have a name; of a text file, every value as text."""
        if self.format == "parquet":
            return pl.scan_parquet(path, glob=False)
        if self.format == "jsonl":
            texts = dict.fromkeys(self.columns, pl.String)
            return pl.scan_ndjson(glob.escape(str(path)), schema=texts)
        rows = pl.scan_csv(
            path,
            separator=self.separator,
            quote_char='"' if self.quoted else None,
            new_columns=self.unique_columns,
            infer_schema=False,
            glob=False,
        )
        return rows.select(name for name in self.columns if name)


def copy(source: Path, folder: Path) -> tuple[Path, Layout]:
    """Copy `source` into `folder` as `source.<format>`, text as UTF-8, and say how it is laid out.

    Args:
        source: the file, left as it is.
        folder: to copy it to.

    Raises:
        UserError: as `opened` does.
    """
    found, layout = opened(source, folder)
    copied = folder / f"source.{layout.format}"
    if found == source:
        shutil.copyfile(source, copied)
    else:
        found.rename(copied)
    return copied, layout


def opened(source: Path, folder: Path, *, narrow: bool = False) -> tuple[Path, Layout]:
    """Say how `source` is laid out, and where it can be read so: there, or in UTF-8 in `folder`.

    Args:
        source: the file, left as it is.
        folder: where a text in another encoding is written in UTF-8; made if need be.
        narrow: whether a single column will do, as in a file of texts to be scored.

    Raises:
        UserError: if the file is missing, empty, of another format, or has columns that cannot
            be told apart.
    """
    if not source.is_file():
        what = "is a folder" if source.is_dir() else "does not exist"
        raise UserError(f"{source} {what}; name a CSV, Parquet or JSON lines file.")
    with source.open("rb") as file:
        head = file.read(HEAD)
    if not head.strip():
        raise UserError(f"{source} is empty; name a file with a header and rows.")
    for magic, what in OTHERS.items():
        if head.startswith(magic):
            raise UserError(f"{source} is {what}; save it as CSV, Parquet or JSON lines.")
    if head.startswith(b"PAR1"):
        return source, _parquet(source)
    encoding = _encoding(source, head)
    found = source if encoding == "utf-8" else _to_utf8(source, folder, encoding)
    with found.open(encoding="utf-8", newline="") as text:
        start = text.read(HEAD)
    if re.match(r"\s*(\{|\[\s*\{)", start):
        return found, _jsonl(source, found, start, encoding)
    return found, _csv(source, found, start, encoding, narrow)


@contextmanager
def readable(source: Path, copied: Path, layout: Layout) -> Iterator[None]:
    """Turn what polars says about a broken file into a sentence about `source`."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        fault = _first_fault(copied, layout)
        reason = fault or str(error).strip().splitlines()[0].rstrip(".")
        raise UserError(f"{source} cannot be read as {layout.description}: {reason}.") from None


def _encoding(source: Path, head: bytes) -> str:
    """How the text of a file is encoded: by its mark, else UTF-8 if it fits, else Windows-1252."""
    for mark, encoding in BOMS.items():
        if head.startswith(mark):
            return encoding
    even, odd = head[::2].count(0), head[1::2].count(0)
    if max(even, odd) > len(head) / 5:
        return "utf-16-be" if even > odd else "utf-16-le"
    if even or odd:
        raise UserError(f"{source} is not text; name a CSV, Parquet or JSON lines file.")
    for encoding in ("utf-8", "cp1252"):
        try:
            for _ in _chunks(source, encoding):
                pass
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"  # gives every byte a letter


def _chunks(source: Path, encoding: str) -> Iterator[str]:
    with source.open(encoding=encoding, newline="") as text:
        while chunk := text.read(CHUNK):
            yield chunk


def _to_utf8(source: Path, folder: Path, encoding: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    copied = folder / "source"
    try:
        with copied.open("w", encoding="utf-8", newline="") as file:
            file.writelines(_chunks(source, encoding))
    except UnicodeError:
        raise UserError(f"{source} is not the {encoding} text that it claims to be.") from None
    return copied


def _parquet(source: Path) -> Layout:
    try:
        columns = pl.scan_parquet(source, glob=False).collect_schema().names()
    except pl.exceptions.PolarsError:
        raise UserError(f"{source} is a damaged Parquet file; write it again.") from None
    _check_names(source, columns)
    return Layout("parquet", "", tuple(columns))


def _jsonl(source: Path, copied: Path, start: str, encoding: str) -> Layout:
    if start.lstrip().startswith("["):
        raise UserError(f"{source} is one JSON list; write it as JSON lines, one object to a line.")
    if not _is_object(start.lstrip().splitlines()[0]):
        raise UserError(
            f"{source} begins like JSON, but its first line is no object; "
            "write one object to a line."
        )
    layout = Layout("jsonl", encoding, ())
    with readable(source, copied, layout):
        rows = pl.scan_ndjson(glob.escape(str(copied)), infer_schema_length=LINES)
        columns = rows.collect_schema().names()
    _check_names(source, columns)
    return Layout("jsonl", encoding, tuple(columns))


def _csv(source: Path, copied: Path, start: str, encoding: str, narrow: bool) -> Layout:
    """Guess separator and quotes: whichever gives most rows the width of the header."""
    best: tuple[float, int] = (0.0, 1)
    chosen: tuple[list[str], str, bool] | None = None
    for quoted in (True, False):
        for separator in SEPARATORS:
            records = _records(start, separator, quoted)
            width = len(records[0])
            fits = sum(len(record) == width for record in records) / len(records)
            if width > 1 and (fits, width) > best and (quoted or fits > best[0]):
                best = fits, width
                chosen = records[0], separator, quoted
    if chosen is None and narrow:
        chosen = _records(start, ",", True)[0], ",", True
    if chosen is None:
        raise UserError(
            f"{source} has a single column: no comma, semicolon, tab or bar separates its header."
        )
    header, separator, quoted = chosen
    columns = tuple(name.strip() for name in header)
    _check_names(source, columns)
    layout = Layout("csv", encoding, columns, separator, quoted)
    if quoted and _has_stray_quotes(copied, layout):
        layout = replace(layout, quoted=False)
    if len(_records(start, separator, quoted)) == 1:
        raise UserError(f"{source} holds a header and no rows.")
    with readable(source, copied, layout):
        mark = '"' if layout.quoted else None
        bare = pl.scan_csv(copied, separator=separator, quote_char=mark, glob=False)
        renamed = bare.collect_schema().names() != list(layout.unique_columns)
    return replace(layout, renamed=renamed)


def _has_stray_quotes(copied: Path, layout: Layout) -> bool:
    """Whether quotation marks are part of the text: the file is in order only if they are."""
    with copied.open("rb") as file:
        if not any(b'"' in chunk for chunk in iter(partial(file.read, CHUNK), b"")):
            return False
    try:
        layout.scan(copied).select(pl.all().is_null().sum()).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return not _first_fault(copied, replace(layout, quoted=False))
    return False


def _records(start: str, separator: str, quoted: bool) -> list[list[str]]:
    """The records that `start` holds; the last one, which may be cut off, only if it is alone."""
    csv.field_size_limit(HEAD + 1)
    reader = csv.reader(StringIO(start), delimiter=separator, quoting=QUOTING[quoted])
    try:
        records = [record for record in reader if record]
    except csv.Error as error:
        raise UserError(UNREADABLE) from error
    return records[:-1] if len(start) >= HEAD and len(records) > 1 else records


def _check_names(source: Path, names: list[str] | tuple[str, ...]) -> None:
    """Refuse names that cannot be told apart; unnamed columns are left out later."""
    counts = Counter(names)
    twice = [repr(name) for name, count in counts.items() if name and count > 1]
    if twice:
        raise UserError(
            f"{source} has more than one column called {', '.join(twice)}; rename all but one."
        )


def _first_fault(copied: Path, layout: Layout) -> str:
    """Name the first line of a text file that does not fit its layout; "" if all do."""
    if layout.format == "parquet":
        return ""
    with copied.open(encoding="utf-8", newline="") as text:
        if layout.format == "jsonl":
            for number, line in enumerate(text, start=1):
                if line.strip() and not _is_object(line):
                    return f"line {number} is no JSON object"
            return ""
        width = len(layout.columns)
        reader = csv.reader(text, delimiter=layout.separator, quoting=QUOTING[layout.quoted])
        try:
            for record in reader:
                if len(record) > width or (record and len(record) < width and not layout.quoted):
                    fields = f"{len(record)} fields where the header has {width}"
                    return f"line {reader.line_num} has {fields}"
        except csv.Error as error:
            return f"line {reader.line_num + 1} is broken: {error}"
    return ""


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False
