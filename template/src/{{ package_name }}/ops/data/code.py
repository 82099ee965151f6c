"""Write what was decided as code that a person would be glad to edit."""

import inspect
import keyword
import subprocess
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

import dataframely as dy

from . import tidying
from .reading import DataFile
from .roles import LARGEST, Draft, slug
from .types import Column

WIDTH = 100
LONGEST = 40
HELPERS = dict(inspect.getmembers(tidying, inspect.isfunction))
RESERVED = {*dir(dy.Schema), *dir(type(dy.Schema)), "dy", "pl"}
"""What a column's attribute must not be called, or the class breaks."""

ABOUT = (
    "`ops data use` wrote this from the {rows:,} rows of {origin}, and now it is yours. Types and "
    "classes are what the file showed. Say what you know besides: `min=0`, `nullable=False`, "
    "`is_in=[...]`, or a `@dy.rule()` across columns."
)
TIDY = '''\
def tidy(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Write values as `ingest` reads them.

    `ops score` calls it too, so a file to be scored may be written like this one.
    """'''


def schema(draft: Draft, origin: str) -> str:
    """The text of `ml/schema.py`, after the file called `origin`."""
    origin = plain(origin)
    contract = "The contract: what is meant by a row, whatever the data at hand happen to show."
    row = f"One row of {origin}, from which {plain(draft.target.name)} is predicted."
    left_out = [column for column in draft.columns if column.role == "left out"]
    names = ", ".join(f"{plain(column.name)} ({plain(column.why)})" for column in left_out)
    columns = [
        _column(column, attribute)
        for column, attribute in zip(draft.kept, attributes(draft.kept), strict=True)
    ]
    body = "\n".join([_docstring(row, f"Left out: {names}." if names else ""), "", *columns])
    return "\n".join(
        [
            _docstring(contract, ABOUT.format(rows=draft.rows, origin=origin)),
            "import dataframely as dy",
            "class Row(dy.Schema):",
            _indented(body),
        ]
    )


def source(draft: Draft, file: DataFile, origin: str) -> str:
    """The text of `ml/source.py`, which reads a copy of the file called `origin`."""
    used = {step.function for column in draft.kept for step in column.steps}
    calls = _tidying(draft)
    parts = [
        _docstring(f"Where the rows come from: {plain(origin)}, {file.description}."),
        "from pathlib import Path\n",
        "import polars as pl",
        *(["from polars import selectors as cs"] if used else []),
    ]
    if draft.missing:
        parts.append(f"MISSING = {list(draft.missing)}")
    if file.format == "jsonl" or file.renamed:
        parts.append(f"COLUMNS = {list(file.unique_columns)}")
    parts += [
        "def load(root: Path) -> pl.LazyFrame:",
        _indented(_docstring("Read all rows; `root` is the project's folder.")),
        *map(_indented, _load(draft, file, tidied=bool(calls))),
    ]
    if calls:
        *others, last = [f"rows.with_columns({call})" for call in calls]
        parts += [TIDY, *(f"    rows = {call}" for call in others), f"    return {last}"]
    return "\n".join([*parts, *(inspect.getsource(HELPERS[name]) for name in sorted(used))])


def formatted(code: str, file: Path) -> str:
    """The code as the project's formatter lays it out in `file`; as it is if there is none."""
    command = [sys.executable, "-m", "ruff", "format", "--stdin-filename", str(file), "-"]
    done = subprocess.run(command, input=code, capture_output=True, check=False, encoding="utf-8")
    return done.stdout if done.returncode == 0 else code


def attributes(columns: Iterable[Column]) -> list[str]:
    """The attributes of the schema's class: the columns' names where Python allows them."""
    made: list[str] = []
    for position, column in enumerate(columns, start=1):
        name = column.name
        if not _usable(name) or unicodedata.normalize("NFKC", name) != name:
            name = slug(name)[:LONGEST] or f"column_{position}"
            name = name if name.isidentifier() else f"column_{name}"
            name = name if _usable(name) else f"{name}_"
        taken, number = name, 2
        while name in made:
            name, number = f"{taken}_{number}", number + 1
        made.append(name)
    return made


def plain(text: str) -> str:
    """A text that can stand in a docstring or a comment."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.replace("\\", "/").replace('"', "'")


def quote(text: str) -> str:
    """A Python string, in the quotation marks that the formatter prefers."""
    made = repr(text)
    return f'"{made[1:-1]}"' if made[0] == "'" and '"' not in made else made


def _usable(name: str) -> bool:
    return name.isidentifier() and not (
        len(name) > LONGEST or keyword.iskeyword(name) or name.startswith("_") or name in RESERVED
    )


def _column(column: Column, attribute: str) -> str:
    """The line that declares a column, and a comment where a person should look."""
    options = []
    kind: str = column.type or "String"
    if column.classes and kind == "Int64":
        options.append(f"is_in={list(column.classes)}")
    elif column.classes:
        kind = "Enum"
        options.append(f"{list(column.classes)}")
    if column.name != attribute:
        options.append(f"alias={column.name!r}")
    if column.nullable:
        options.append("nullable=True")
    if column.bounded:
        options.append(f"min=-{LARGEST}, max={LARGEST}")
    marks: list[str] = [column.role] if column.role != "feature" else []
    marks += ["category"] if column.category else []
    if marks:
        options.append(f"metadata={dict.fromkeys(marks, True)}")
    code = f"{attribute} = dy.{kind}({', '.join(options)})"
    comment = plain(column.warning or (column.why if column.role == "identifier" else ""))
    return f"{_comment(comment)}{code}"


def _load(draft: Draft, file: DataFile, *, tidied: bool) -> Iterator[str]:
    """The body of the function `load`."""
    options = [f'root / "data/source.{file.format}"']
    if file.format == "jsonl":
        options.append("schema=dict.fromkeys(COLUMNS, pl.String)")
    elif file.format == "csv":
        options += [f"separator={file.separator!r}"] if file.separator != "," else []
        options += [] if file.quoted else ["quote_char=None"]
        options += ["new_columns=COLUMNS"] if file.renamed else []
        options += ["infer_schema=False"]
    kind = "ndjson" if file.format == "jsonl" else file.format
    reader = f"pl.scan_{kind}({', '.join(options)})"
    if not tidied and not draft.lacking:
        yield f"return {reader}"
        return
    yield f"rows = {reader}"
    made, comment = "tidy(rows)" if tidied else "rows", ""
    if draft.lacking:
        gaps = [f"{count:,} rows without {plain(name)}" for name, count in draft.lacking.items()]
        comment = _comment(
            f"{' and '.join(gaps)} when this was written: such a row can be neither learnt from "
            "nor judged."
        )
        made += ".fill_nan(None)" if file.format == "parquet" else ""
        made += f".drop_nulls({list(draft.lacking)})"
    yield f"{comment}return {made}"


def _tidying(draft: Draft) -> list[str]:
    """The expressions of the function `tidy`, level by level; like calls are one."""
    levels: list[dict[tuple[str, str], list[str]]] = []
    for column in draft.kept:
        for level, step in enumerate(column.steps):
            if level == len(levels):
                levels.append({})
            options = "".join(f", {name}={value!r}" for name, value in step.options.items())
            levels[level].setdefault((step.function, options), []).append(column.name)
    text = ".str.strip_chars()" if draft.padded else ""
    text += ".replace(MISSING, None)" if draft.missing else ""
    return [f"pl.col(pl.String){text}"] * bool(text) + [
        ", ".join(
            f"{function}({', '.join(map(repr, names))}{options})"
            for (function, options), names in calls.items()
        )
        for calls in levels
    ]


def _docstring(summary: str, more: str = "") -> str:
    """A docstring: a summary on one line, then a paragraph that is wrapped."""
    return f'"""{summary}\n\n{textwrap.fill(more, WIDTH - 5)}\n"""' if more else f'"""{summary}"""'


def _comment(text: str) -> str:
    """A comment of its own lines; nothing if there is nothing to say."""
    return "".join(f"# {line}\n" for line in textwrap.wrap(text, WIDTH - 6))


def _indented(text: str) -> str:
    return textwrap.indent(text, "    ")
