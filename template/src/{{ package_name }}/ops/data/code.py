"""Write what was decided as code that a person would be glad to edit."""

import inspect
import keyword
import subprocess
import sys
import unicodedata
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import dataframely as dy
from jinja2 import StrictUndefined, Template

from . import tidying
from .reading import DataFile
from .roles import Draft, slug
from .types import Column

LONGEST = 40
RESERVED = {*dir(dy.Schema), *dir(type(dy.Schema)), "dy", "pl"}
"""What a column's attribute must not be called, or the class breaks."""


def schema(draft: Draft, origin: str) -> str:
    """The text of `ml/schema.py`, after the file called `origin`."""
    return _filled(
        "schema.py.j2",
        origin=plain(origin),
        target=plain(draft.target.name),
        rows=draft.rows,
        left_out=[
            f"{plain(column.name)} ({plain(column.why)})"
            for column in draft.columns
            if column.role == "left out"
        ],
        columns=map(_declared, draft.kept, attributes(draft.kept)),
    )


def source(draft: Draft, file: DataFile, origin: str) -> str:
    """The text of `ml/source.py`, which reads a copy of the file called `origin`."""
    helpers = sorted({step.function for column in draft.kept for step in column.steps})
    return _filled(
        "source.py.j2",
        origin=plain(origin),
        description=file.description,
        reader=_reader(file),
        columns=list(file.unique_columns) if file.format == "jsonl" or file.renamed else [],
        missing=list(draft.absent),
        lacking=list(draft.lacking),
        gaps=[f"{count:,} rows without {plain(name)}" for name, count in draft.lacking.items()],
        steps=_tidying(draft),
        helpers=[inspect.getsource(getattr(tidying, name)) for name in helpers],
    )


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


def _usable(name: str) -> bool:
    return name.isidentifier() and not (
        len(name) > LONGEST or keyword.iskeyword(name) or name.startswith("_") or name in RESERVED
    )


def _declared(column: Column, attribute: str) -> dict[str, Any]:
    """How a column is declared, and a comment where a person should look."""
    options = []
    kind: str = column.type or "String"
    if column.classes and kind == "Int64":
        options.append(f"is_in={list(column.classes)}")
    elif column.classes:
        kind = "Enum"
        options.append(f"{list(column.classes)}")
    if column.item:
        options.append(f"dy.{column.item}({'nullable=True' if column.gaps else ''})")
        options.append(f"{'max_length=' if kind == 'List' else ''}{column.length}")
    if column.name != attribute:
        options.append(f"alias={column.name!r}")
    if column.nullable:
        options.append("nullable=True")
    marks: list[str] = [column.role] if column.role != "feature" else []
    marks += ["category"] if column.category else []
    marks += ["item"] if column.role == "target" and kind == "String" else []
    if marks:
        options.append(f"metadata={dict.fromkeys(marks, True)}")
    comment = column.warning or (column.why if column.role == "identifier" else "")
    return {"attribute": attribute, "kind": kind, "options": options, "comment": plain(comment)}


def _reader(file: DataFile) -> str:
    """The call that reads the file."""
    options = [f'root / "data/source.{file.format}"']
    if file.format == "jsonl":
        options.append("schema=dict.fromkeys(COLUMNS, pl.String)")
    elif file.format == "csv":
        options += [f"separator={file.separator!r}"] if file.separator != "," else []
        options += [] if file.quoted else ["quote_char=None"]
        options += ["new_columns=COLUMNS"] if file.renamed else []
        options += ["infer_schema=False"]
    kind = "ndjson" if file.format == "jsonl" else file.format
    return f"pl.scan_{kind}({', '.join(options)})"


def _tidying(draft: Draft) -> list[str]:
    """The expressions of the function `tidy`, level by level; like calls are one."""
    levels: list[dict[tuple[str, str], list[str]]] = []
    for column in draft.kept:
        for level, step in enumerate(column.steps):
            if level == len(levels):
                levels.append({})
            options = "".join(f", {name}={value!r}" for name, value in step.options.items())
            levels[level].setdefault((step.function, options), []).append(column.name)
    text = "pl.col(pl.String)" + (".str.strip_chars()" if draft.padded else "")
    text = f"pl.when(~{text}.is_in(MISSING)).then({text})" if draft.absent else text
    return [text] * (draft.padded or bool(draft.absent)) + [
        ", ".join(
            f"{function}({', '.join(map(repr, names))}{options})"
            for (function, options), names in calls.items()
        )
        for calls in levels
    ]


def _filled(template: str, **values: Any) -> str:
    """Fill in a template of Python code."""
    text = Path(__file__).with_name(template).read_text(encoding="utf-8")
    it: Template = Template(text, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return it.render(values)
