"""Open a file that nobody has seen before: its format, its encoding, its layout."""

import bz2
import csv
import glob
import gzip
import json
import lzma
import re
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from io import StringIO
from itertools import islice, product
from pathlib import Path
from typing import Any, Literal
from unicodedata import combining

import polars as pl

from ..errors import UserError, shortly
from ..pipeline import parquet
from ..wording import listed, shortened

Format = Literal["csv", "parquet", "jsonl"]

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
QUOTING: dict[bool, Literal[0, 3]] = {True: csv.QUOTE_MINIMAL, False: csv.QUOTE_NONE}
HEAD = CHUNK = 1 << 20  # what is looked at to guess a layout, and read at a time, in bytes
WORDS = 1 << 16  # bytes of words with letters beyond ASCII, to guess an encoding
WORD = 40  # letters that are shown of a line
SURE = 0.03  # how sure chardet is of an encoding at least, or it is Windows-1252
JOINTS = "’‘ʼ´°·‑–—…\xad\xa0"  # signs that stand between letters
LINES = 100_000  # of JSON, in which every key should have appeared
EXCEL = re.compile(r"\A\ufeff?(sep=.\r?\n)?")  # how it marks UTF-8, and names the separator
NO_JSON = re.compile(r"[:[,]\s*(-?(?:NaN|Infinity|\d[\d.]*[eE]\+?(?:3[1-9]|[4-9]\d|\d{3})\d))\b")
LOST_QUOTE = re.compile(r'\\"(?![,;\t|\r\n])')  # a quotation mark that CSV would double
JSON = re.compile(r"\s*(\[\s*)?\{\s*([\"'}]|$)")  # how a file begins that is no CSV
PACKED: dict[bytes, Any] = {b"\x1f\x8b": gzip.open, b"BZh": bz2.open, b"\xfd7zXZ": lzma.open}
ZIP, OFFICE = b"PK\x03\x04", b"\xd0\xcf\x11\xe0"  # of a new workbook, and of an old one
WORKBOOK = {"xl/workbook.xml", "xl/workbook.bin", "content.xml"}  # one of them is in such a one
SHOWN = re.compile(rb"<mergeCell |<row [^>]*hidden=.(1|true)")  # what a sheet does not show
CONTROL = re.compile(rb"[\0-\x06\x0e-\x19]")  # signs that are in no text, but in UTF-16


@dataclass(frozen=True)
class DataFile:
    """A file, and all that must be known to read it again."""

    origin: Path  # as a person named it
    path: Path  # where it can be read: there, or in a copy in UTF-8
    format: Format
    columns: tuple[str, ...] = ()  # the names, in order; "" for a column without one
    encoding: str = ""  # of its text, as it came; "" for Parquet
    separator: str = ","  # between two fields of a CSV file
    quoted: bool = True  # whether quotation marks enclose fields of a CSV file
    renamed: bool = False  # whether the names are others than in the header of a CSV file
    notes: tuple[str, ...] = ()  # what a person should look at, a sentence each

    @property
    def description(self) -> str:
        """The layout in words."""
        if self.format == "parquet":
            return "Parquet"
        kind = "JSON lines" if self.format == "jsonl" else f"CSV with {SEPARATORS[self.separator]}"
        return f"{kind} in {_spelled(self.encoding)}"

    @property
    def unique_columns(self) -> tuple[str, ...]:
        """The names, with a made one for a column that has none."""
        return tuple(name or f"column {place}" for place, name in enumerate(self.columns, start=1))

    def scan(self) -> pl.LazyFrame:
        """Read the columns that have a name; of a text file, every value as text."""
        if self.format == "parquet":
            return pl.scan_parquet(parquet.parts(self.path), glob=False)
        if self.format == "jsonl":
            texts = dict.fromkeys(self.columns, pl.String)
            return pl.scan_ndjson(glob.escape(str(self.path)), schema=texts)
        rows = pl.scan_csv(
            self.path,
            separator=self.separator,
            quote_char='"' if self.quoted else None,
            new_columns=self.unique_columns,
            infer_schema=False,
            glob=False,
        )
        return rows.select(name for name in self.columns if name)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what polars says about a broken file into a sentence."""
        try:
            yield
        except pl.exceptions.PolarsError as error:
            reason = next(self.faults(), "") or shortly(error).rstrip(".")
            what = f"{self.origin} cannot be read as {self.description}"
            raise UserError(f"{what}: {reason}.") from None

    def faults(self) -> Iterator[str]:
        """Name the lines of a text file that do not fit its layout."""
        if self.format == "jsonl":
            with self.path.open(encoding="utf-8", newline="\n") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip() and _names(line) is None:
                        yield f"line {number} is no JSON object"
                    elif found := NO_JSON.search(line):
                        yield f"line {number} holds {found[1]}, which JSON has not; write null"
        elif self.format == "csv":
            width = len(self.columns)
            with self.path.open(encoding="utf-8", newline="") as text:
                reader = csv.reader(text, delimiter=self.separator, quoting=QUOTING[self.quoted])
                try:
                    for record in reader:
                        if len(record) > width or (0 < len(record) < width and not self.quoted):
                            fields = f"{len(record)} fields where the header has {width}"
                            yield f"line {reader.line_num} has {fields}"
                except csv.Error as error:
                    yield f"line {reader.line_num + 1} is broken: {error}"


def open_file(
    origin: Path, folder: Path, *, encoding: str | None = None, single_column: bool = False
) -> DataFile:
    """Say how a file is laid out, and where it can be read so; a UserError if it cannot be.

    Args:
        origin: the file, or a folder of Parquet files; left as it is.
        folder: where what is packed or not in UTF-8 is copied to; made if need be.
        encoding: of its text, if it need not be guessed.
        single_column: whether a single column will do, as in a file of texts to be scored.
    """
    if not origin.exists():
        raise UserError(f"{origin} does not exist; name a CSV, Parquet or JSON lines file.")
    if origin.is_dir():
        return _in_parts(origin)
    with origin.open("rb") as bytes_:
        head = bytes_.read(HEAD)
    if head.startswith((*PACKED, ZIP, OFFICE)):
        inner = folder / "unpacked"
        folder.mkdir(parents=True, exist_ok=True)
        try:
            said = _unpack(origin, head, inner)
            file = open_file(inner, folder / "text", encoding=encoding, single_column=single_column)
        except UserError as error:
            raise UserError(str(error).replace(str(inner), str(origin))) from None
        except Exception as error:  # each kind of archive has its own
            what = f"{origin} cannot be unpacked: {shortly(error)}"
            raise UserError(f"{what}; save it as CSV, without a password.") from error
        return replace(file, origin=origin, notes=(*file.notes, *said))
    if head.startswith((b"PAR1", b"PARE")):
        return _parquet(DataFile(origin, origin, "parquet"))
    encoding, note = (encoding, "") if encoding else _guessed_encoding(origin, head)
    path = _in_utf8(origin, folder, encoding)
    with path.open(encoding="utf-8", newline="") as text:
        start = text.read(HEAD)
    if not start.strip():
        raise UserError(f"{origin} is empty; name a file with a header and rows.")
    notes = tuple(filter(None, (_encoded_twice(start), note)))
    file = DataFile(origin, path, "csv", encoding=encoding, notes=notes)
    if JSON.match(start):
        return _json_lines(replace(file, format="jsonl"), start)
    return _csv(file, start, single_column)


def _in_parts(origin: Path) -> DataFile:
    """Take a folder of Parquet for one file; what Spark hides or begins with `_` is passed over."""
    others = [it.name for it in origin.glob("[!._]*") if it.suffix != ".parquet"]
    if others or not parquet.parts(origin):
        what = f"holds {min(others)}" if others else "is a folder without files"
        raise UserError(f"{origin} {what}; name a file, or a folder of Parquet files alone.")
    return _parquet(DataFile(origin, origin, "parquet"))


def _unpack(origin: Path, head: bytes, inner: Path) -> list[str]:
    """Write the one file in another, or the one table of a workbook, as Parquet; give notes."""
    mark = next((it for it in PACKED if head.startswith(it)), b"")
    archive = zipfile.ZipFile(origin) if head.startswith(ZIP) else None
    names = archive.namelist() if archive else []
    if mark or (archive and not WORKBOOK.intersection(names)):
        own = re.compile(r"/$|(^|/)(\.|__MACOSX/)")  # folders, and what a Mac puts in for itself
        tables = [it for it in names if not own.search(it)]
        packed = archive.open(_only(tables)) if archive else PACKED[mark](origin)
        with packed, inner.open("wb") as copied:
            shutil.copyfileobj(packed, copied, CHUNK)
        return []
    import fastexcel  # seldom needed

    data = origin.read_bytes()
    book = fastexcel.read_excel(data)
    sheets = map(book.load_sheet, book.sheet_names)
    sheet = _only([it.name for it in sheets if it.height and it.visible == "visible"])
    # With a header of its own, it would count up names that are there twice.
    first = book.load_sheet(sheet, header_row=None, n_rows=1, dtypes="string").to_polars().row(0)
    file = _named(DataFile(origin, origin, "csv"), [str(it or "").strip() for it in first])
    rows = pl.read_excel(data, sheet_name=sheet, infer_schema_length=None, drop_empty_cols=False)
    rows.columns = list(file.unique_columns)
    named = zip(rows, file.columns, strict=True)
    kept = [it for it, name in named if name or it.null_count() < len(it)]
    rows.select(kept).write_parquet(inner)
    if archive and any(SHOWN.search(archive.read(it)) for it in names):
        return ["Of merged cells only the first has a value, and hidden rows are read as others."]
    return []


def _only(names: list[str]) -> str:
    if len(names) != 1:
        found = f"several tables, {listed(names)}" if names else "no table"
        raise ValueError(f"it holds {found}, and one is wanted")
    return names[0]


def _guessed_encoding(origin: Path, head: bytes) -> tuple[str, str]:
    """How the text of a file is encoded, and a note of what it was guessed from, if it was.

    It is UTF-8 if it fits; otherwise what chardet takes the words with other letters for.
    """
    wide = CONTROL.search(head) is not None
    escaped = b"\x1b$" in head  # as Japanese mail is
    if 8 * head.rstrip(b"\0").count(0) <= len(head) and not escaped and _is_utf8(origin):
        return "utf-8", ""
    import chardet  # seldom needed

    if wide or escaped:
        encoding = chardet.detect(head, compat_names=False)["encoding"] or ""
        if not encoding.startswith(("utf-", "iso2022")):
            raise UserError(f"{origin} is not text; unpack it, or name CSV, Parquet or JSON lines.")
        return encoding, ""
    words = _foreign_words(origin)
    broken = [word for word in words if "\ufffd" in word.decode(errors="replace")]
    if 2 * len(broken) < len(words):
        shown = listed(list(map(repr, broken)))
        raise UserError(f"{origin} is UTF-8, but for {shown}; mend that, or say `--encoding`.")
    for era in (chardet.EncodingEra.MODERN_WEB, chardet.EncodingEra.ALL):
        found = chardet.detect(b"\n".join(words), encoding_era=era, compat_names=False)
        guess = (found["encoding"] if found["confidence"] >= SURE else None) or "cp1252"
        texts = [word.decode(guess, errors="replace") for word in words]
        if 2 * sum(map(_is_garbled, texts)) < len(texts):
            read = f"Read as {_spelled(guess)}, for its {', '.join(map(repr, texts[:3]))}"
            return guess, f"{read}; if that is wrong, say `--encoding`."
    raise _not_text(origin, guess, f", for it would hold {shortened(repr(texts[0]), WORD)}")


def _is_garbled(word: str) -> bool:
    """Whether a sign or a capital stands amid small letters, so that the bytes mean others."""
    return "\ufffd" in word or any(
        not here.isascii()
        and before.isalpha()
        and (
            before.islower() or after.islower()
            if here.isupper()
            else after.islower() and not (here.isalnum() or combining(here) or here in JOINTS)
        )
        for before, here, after in zip(word, word[1:], f"{word[2:]} ", strict=False)
    )


def _encoded_twice(start: str) -> str:
    """A note of a word of UTF-8 that was taken for another encoding, and written so."""
    words = dict.fromkeys(re.findall(r"\w*[^\s\x00-\x7f]{2}[^\s,;\"|]*", start))
    for word, encoding in product(words, ("cp1252", "cp1251")):
        with suppress(UnicodeError):
            read = f"{word.encode(encoding).decode()!r}, in UTF-8 read as {_spelled(encoding)}"
            return f"{word!r} seems to be {read}; mend that at its source."
    return ""


def _is_utf8(origin: Path) -> bool:
    with suppress(UnicodeError), origin.open(encoding="utf-8", newline="") as text:
        if any("\0" in chunk for chunk in iter(partial(text.read, CHUNK), "")):
            raise UserError(f"{origin} holds bytes of zero; unpack it, or use `tr -d '\\0'`.")
        return True
    return False


def _foreign_words(origin: Path) -> list[bytes]:
    """Words with bytes beyond ASCII, each once, from all over a file as far as they are needed."""
    words: dict[bytes, None] = {}
    with origin.open("rb") as file:
        for chunk in iter(partial(file.read, CHUNK), b""):
            words |= dict.fromkeys(re.findall(rb'[^\s,;"]*[\x80-\xff][^\s,;"]*', chunk))
            if sum(map(len, words)) > WORDS:
                break
    return list(words)


def _in_utf8(origin: Path, folder: Path, encoding: str) -> Path:
    """The file itself if its text is UTF-8, or else a copy; what Excel puts first is left out."""
    try:
        with origin.open(encoding=encoding, newline="") as text:
            first = text.readline(len("\ufeffsep=;\r\n"))
            wanted = EXCEL.sub("", first)
            if encoding == "utf-8" and wanted == first:
                return origin
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "source").open("w", encoding="utf-8", newline="") as copied:
                copied.write(wanted)
                shutil.copyfileobj(text, copied, CHUNK)
    except (LookupError, UnicodeError):
        raise _not_text(origin, encoding) from None
    return folder / "source"


def _not_text(origin: Path, encoding: str, reason: str = "") -> UserError:
    return UserError(
        f"{origin} is not text in {_spelled(encoding)}{reason}; name its encoding, as in "
        "`--encoding cp850`, or save it in UTF-8."
    )


def _spelled(encoding: str) -> str:
    """The name of an encoding as people know it."""
    return re.sub(r"^CP(125\d)$", r"Windows-\1", encoding.upper().removesuffix("-SIG"))


def _parquet(file: DataFile) -> DataFile:
    try:
        columns = file.scan().collect_schema().names()
    except pl.exceptions.PolarsError as error:
        what = f"{file.origin} is a damaged Parquet file: {shortly(error)}"
        raise UserError(f"{what}; write it again.") from None
    return _named(file, columns)


def _json_lines(file: DataFile, start: str) -> DataFile:
    cure = "write one object to a line"
    first, *others = start.lstrip(" \t\r\n").split("\n")
    if first.startswith("["):
        raise UserError(f"{file.origin} is one JSON list; {cure}, as by `jq -c '.[]'`.")
    if _names(first) is None and (others or len(start) < HEAD):
        raise UserError(f"{file.origin} is like JSON, but its first line is no object; {cure}.")
    found: dict[str, None] = {}
    with file.path.open(encoding="utf-8", newline="\n") as text:
        for number, line in enumerate(islice(text, LINES), start=1):
            names = Counter(_names(line))
            for name in [name for name, count in names.items() if count > 1][:1]:
                raise UserError(f"{file.origin} names {name!r} twice in line {number}; drop one.")
            found |= dict.fromkeys(names)
    return _named(file, list(found))


def _csv(file: DataFile, start: str, single_column: bool) -> DataFile:
    """Guess separator and quotes: whichever gives most rows the width of the header."""
    best: tuple[float, int] = (0.0, 1)
    chosen = (_records(start, ",", True), ",", True) if single_column else None
    for quoted in (True, False):
        for separator in SEPARATORS:
            records = _records(start, separator, quoted)
            width = len(records[0])
            fits = sum(len(record) == width for record in records) / len(records)
            if width > 1 and (fits, width) > best and (quoted or fits > best[0]):
                best, chosen = (fits, width), (records, separator, quoted)
    if chosen is None:
        raise UserError(
            f"{file.origin} has a single column: no comma, semicolon, tab or bar is in its first "
            f"line, {shortened(start.lstrip().partition(chr(10))[0], WORD)!r}, which must be the "
            "header."
        )
    records, separator, quoted = chosen
    file = _named(file, [name.strip() for name in records[0]])
    file = replace(file, separator=separator, quoted=quoted)
    if quoted and _has_stray_quotes(file):
        file = replace(file, quoted=False)
    if len(records) == 1 and len(start) < HEAD:
        raise UserError(f"{file.origin} holds a header and no rows.")
    if file.quoted and LOST_QUOTE.search(start):
        note = r'A \" within quotes is read without its quotation mark, which CSV writes twice: "".'
        file = replace(file, notes=(*file.notes, note))
    plain = file.quoted and not any('"' in name for name in records[0])
    return replace(file, renamed=not plain or records[0] != list(file.unique_columns))


def _has_stray_quotes(file: DataFile) -> bool:
    """Whether quotation marks are part of the text: the file is in order only if they are."""
    with file.path.open("rb") as content:
        if not any(b'"' in chunk for chunk in iter(partial(content.read, CHUNK), b"")):
            return False
    try:
        file.scan().select(pl.all().is_null().sum()).collect(engine="streaming")
    except pl.exceptions.PolarsError:
        return next(replace(file, quoted=False).faults(), None) is None
    return False


def _records(start: str, separator: str, quoted: bool) -> list[list[str]]:
    """The records that `start` holds; the last one, which may be cut off, only if it is alone."""
    csv.field_size_limit(HEAD + 1)
    reader = csv.reader(StringIO(start), delimiter=separator, quoting=QUOTING[quoted])
    try:
        records = [record for record in reader if record]
    except csv.Error as error:
        cure = "save it with line ends as on Windows or Unix"
        raise UserError(f"The file cannot be read as CSV; {cure}.") from error
    return records[:-1] if len(start) >= HEAD and len(records) > 1 else records


def _named(file: DataFile, names: list[str]) -> DataFile:
    """The file with its columns; refuse names that cannot be told apart, or none."""
    if not any(names) or (file.format != "csv" and "" in names):
        what = "a column without a name; name it" if names else "no column; name another file"
        raise UserError(f"{file.origin} has {what}.")
    if twice := [repr(name) for name, count in Counter(names).items() if name and count > 1]:
        called = f"called {', '.join(twice)}"
        raise UserError(f"{file.origin} has more than one column {called}; rename all but one.")
    if odd := [name for name in names if name == "*" or re.fullmatch(r"\^.*\$", name, re.DOTALL)]:
        raise UserError(f"{file.origin} has a column called {odd[0]}, a pattern; rename it.")
    return replace(file, columns=tuple(names))


def _names(line: str) -> list[str] | None:
    """The names in a JSON object; None if a line holds none."""
    with suppress(ValueError, RecursionError):
        pairs = json.loads(line, object_pairs_hook=tuple)
        return [name for name, _ in pairs] if isinstance(pairs, tuple) else None
    return None
