"""Write what was decided as code that a person would be glad to edit.

The code is laid out as `ruff format` would lay it out, so that the project's checks pass.
"""

import inspect
import keyword
import re
import textwrap
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import dataframely as dy
import yaml

from ..errors import UserError
from . import parts
from .inference import Field, Finding, slug
from .reading import Layout

WIDTH = 100
LONGEST = 40
PARTS = tuple(function for _, function in inspect.getmembers(parts, inspect.isfunction))
RESERVED = {*dir(dy.Schema), *dir(type(dy.Schema)), "dy", "pl"}
"""What a column's attribute must not be called, or the class breaks."""


@dataclass(frozen=True)
class Call:
    """A call, a list or a dictionary: what has brackets, and is split there if it is long."""

    opening: str
    items: tuple["Code", ...]
    closing: str = ")"

    def flat(self) -> str:
        """All on one line."""
        return self.opening + ", ".join(map(_flat, self.items)) + self.closing

    def lines(self, indent: int, before: int, after: int) -> list[str]:
        """As lines; the first lacks its `before` characters, the last leaves room for `after`."""
        flat = self.flat()
        if before + len(flat) + after <= WIDTH or not self.items:
            return [flat]
        inner = indent + 4
        body = ", ".join(map(_flat, self.items))
        if inner + len(body) <= WIDTH:
            return [self.opening, " " * inner + body, " " * indent + self.closing]
        made = [self.opening]
        for item in self.items:
            rows = [item] if isinstance(item, str) else item.lines(inner, inner, 1)
            made += [" " * inner + rows[0], *rows[1:]]
            made[-1] += ","
        return [*made, " " * indent + self.closing]


Code = str | Call


def schema(finding: Finding, origin: str) -> str:
    """The text of `ml/schema.py`, after the file called `origin`."""
    origin = plain(origin)
    about = (
        f"`ops data use` wrote this from the {finding.rows:,} rows of {origin}, and now it is "
        "yours. Types and classes are what the file showed. Say what you know besides: `min=0`, "
        "`nullable=False`, `is_in=[...]`, or a `@dy.rule()` across columns."
    )
    row = [f"One row of {origin}, from which {plain(finding.target.name)} is predicted."]
    left_out = [item for item in finding.fields if item.role == "left out"]
    if left_out:
        names = ", ".join(f"{plain(item.name)} ({plain(item.why)})" for item in left_out)
        row.append(f"Left out: {names}.")
    columns = [
        line
        for item, attribute in zip(finding.kept, attributes(finding.kept), strict=True)
        for line in _column(item, attribute)
    ]
    return _text(
        *_docstring(
            [
                "The contract: what is meant by a row, whatever the data at hand happen to show.",
                about,
            ],
            0,
        ),
        "",
        "import dataframely as dy",
        "",
        "",
        "class Row(dy.Schema):",
        *_docstring(row, 4),
        "",
        *columns,
    )


def source(finding: Finding, layout: Layout, origin: str) -> str:
    """The text of `ml/source.py`, which reads a copy of the file called `origin`."""
    constants: list[str] = []
    if finding.missing:
        constants += _statement("MISSING = ", Call("[", tuple(map(quote, finding.missing)), "]"), 0)
    if layout.format == "jsonl" or layout.renamed:
        names = Call("[", tuple(map(quote, layout.unique_columns)), "]")
        constants += _statement("COLUMNS = ", names, 0)
    used = {step.function for item in finding.kept for step in item.guess.steps}
    helpers = [function for function in PARTS if function.__name__ in used]
    return _text(
        *_docstring([f"Where the rows come from: {plain(origin)}, {layout.description}."], 0),
        "",
        "from pathlib import Path",
        "",
        "import polars as pl",
        *(["from polars import selectors as cs"] if helpers else []),
        *(["", *constants] if constants else []),
        "",
        "",
        *_load(finding, layout),
        *(line for helper in helpers for line in ("", "", *inspect.getsource(helper).splitlines())),
    )


def params(text: str, path: str) -> str:
    """The text of `params.yaml` with `path` as `data.source`, and every other line as it was.

    Raises:
        UserError: if the file is not laid out so that one line can be replaced.
    """
    line = re.compile(
        r"^(data:(?:[ \t]*#.*)?\n(?:(?:[ \t].*)?\n)*?[ \t]+source:)[^\n#]*?(?=[ \t]*(?:#|$))",
        re.MULTILINE,
    )
    if line.search(text):
        made = line.sub(lambda found: f"{found[1]} {path}", text, count=1)
    else:
        made = re.sub(r"^data:.*\n", "", text, flags=re.MULTILINE).rstrip("\n")
        made += f"\n\ndata:\n  source: {path}\n"
    wanted = (yaml.safe_load(text) or {}) | {"data": {"source": path}}
    if yaml.safe_load(made) != wanted:
        raise UserError(f"params.yaml has an unusual layout; set data.source to {path} yourself.")
    return made


def attributes(fields: Iterable[Field]) -> list[str]:
    """The attributes of the schema's class: the columns' names where Python allows them."""
    made: list[str] = []
    for position, item in enumerate(fields, start=1):
        name = item.name
        if not _usable(name) or unicodedata.normalize("NFKC", name) != name:
            name = slug(item.name)[:LONGEST] or f"column_{position}"
            name = (
                name if _usable(name) else f"{name}_" if name.isidentifier() else f"column_{name}"
            )
        taken = name
        number = 2
        while name in made:
            name, number = f"{taken}_{number}", number + 1
        made.append(name)
    return made


def quote(text: str) -> str:
    """A Python string, with the quotation marks that need fewer escapes."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    letters = (
        f"\\{letter}"
        if letter in ("\\", mark)
        else letter
        if letter.isprintable()
        else letter.encode("unicode_escape").decode()
        for letter in text
    )
    return mark + "".join(letters) + mark


def plain(text: str) -> str:
    """A text that can stand in a docstring or a comment."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return printable.replace("\\", "/").replace('"', "'")


def _usable(name: str) -> bool:
    return name.isidentifier() and not (
        len(name) > LONGEST or keyword.iskeyword(name) or name.startswith("_") or name in RESERVED
    )


def _column(item: Field, attribute: str) -> list[str]:
    """The line, or lines, that declare a column."""
    options: list[Code] = []
    kind: str = item.guess.type or "String"
    if item.classes:
        if kind == "Int64":
            options.append(Call("is_in=[", tuple(map(str, item.classes)), "]"))
        else:
            kind = "Enum"
            options.append(Call("[", tuple(quote(str(name)) for name in item.classes), "]"))
    if item.name != attribute:
        options.append(f"alias={quote(item.name)}")
    if item.nullable:
        options.append("nullable=True")
    marks: list[str] = [item.role] if item.role != "feature" else []
    marks += ["category"] if item.category else []
    if marks:
        options.append("metadata={" + ", ".join(f'"{mark}": True' for mark in marks) + "}")
    lines = _statement(f"{attribute} = ", Call(f"dy.{kind}(", tuple(options)), 4)
    comment = plain(item.warning or (item.why if item.role == "identifier" else ""))
    if not comment:
        return lines
    if len(lines) == 1 and len(lines[0]) + len(comment) + 4 <= WIDTH:
        return [f"{lines[0]}  # {comment}"]
    return [*(f"    # {line}" for line in textwrap.wrap(comment, WIDTH - 6)), *lines]


def _load(finding: Finding, layout: Layout) -> list[str]:
    """The functions `load`, and `tidy` where the file asks for it."""
    path = f'root / "data/source.{layout.format}"'
    if layout.format == "parquet":
        reader = Call("pl.scan_parquet(", (path,))
    elif layout.format == "jsonl":
        reader = Call("pl.scan_ndjson(", (path, "schema=dict.fromkeys(COLUMNS, pl.String)"))
    else:
        options = [path]
        options += [f"separator={quote(layout.separator)}"] if layout.separator != "," else []
        options += [] if layout.quoted else ["quote_char=None"]
        options += ["new_columns=COLUMNS"] if layout.renamed else []
        reader = Call("pl.scan_csv(", (*options, "infer_schema=False"))
    tidying = _tidying(finding)
    made = "tidy(rows)" if tidying else "rows"
    made += ".fill_nan(None)" if finding.lacking and layout.format == "parquet" else ""
    lines = [
        "def load(root: Path) -> pl.LazyFrame:",
        *_docstring(["Read all rows; `root` is the project's folder."], 4),
    ]
    if finding.lacking:
        names = tuple(map(quote, finding.lacking))
        gaps = [f"{count:,} rows without {plain(name)}" for name, count in finding.lacking.items()]
        lacking = " and ".join(gaps)
        lines += _statement("rows = ", reader, 4)
        lines += [
            f"    # {lacking} when this was written: such a row can be neither learnt from nor judged.",
            *_statement("return ", Call(f"{made}.drop_nulls(", (Call("[", names, "]"),)), 4),
        ]
    elif tidying:
        lines += [*_statement("rows = ", reader, 4), "    return tidy(rows)"]
    else:
        lines += _statement("return ", reader, 4)
    return [*lines, "", "", *tidying] if tidying else lines


def _tidying(finding: Finding) -> list[str]:
    """The function `tidy`; nothing if values are written as ingest reads them."""
    text = "pl.col(pl.String)"
    text += ".str.strip_chars()" if finding.padded else ""
    text += ".replace(MISSING, None)" if finding.missing else ""
    calls = [(text,)] if finding.padded or finding.missing else []
    steps: list[tuple[Code, ...]] = [*calls, *_steps(finding)]
    *first, last = steps or [()]
    if not last:
        return []
    return [
        "def tidy(rows: pl.LazyFrame) -> pl.LazyFrame:",
        *_docstring(
            [
                "Write values as `ingest` reads them.",
                "`ops score` calls it too, so a file to be scored may be written like this one.",
            ],
            4,
        ),
        *(
            line
            for call in first
            for line in _statement("rows = ", Call("rows.with_columns(", call), 4)
        ),
        *_statement("return ", Call("rows.with_columns(", last), 4),
    ]


def _steps(finding: Finding) -> list[tuple[Call, ...]]:
    """The calls that make plain text of the columns, level by level; like calls are one."""
    levels: list[dict[tuple[str, ...], list[str]]] = []
    for item in finding.kept:
        for level, step in enumerate(item.guess.steps):
            if level == len(levels):
                levels.append({})
            options = tuple(f"{name}={_literal(value)}" for name, value in step.options.items())
            levels[level].setdefault((step.function, *options), []).append(quote(item.name))
    return [
        tuple(
            Call(f"{function}(", (*columns, *options))
            for (function, *options), columns in calls.items()
        )
        for calls in levels
    ]


def _literal(value: object) -> str:
    """A step's option as code: text, a number, or a list of text."""
    if isinstance(value, str):
        raw = f'r"{value}"'
        return raw if "\\" in value and '"' not in value else quote(value)
    return "[" + ", ".join(map(quote, value)) + "]" if isinstance(value, list) else str(value)


def _docstring(paragraphs: Sequence[str], indent: int) -> list[str]:
    """A docstring: a summary on one line, then paragraphs that are wrapped."""
    margin = " " * indent
    summary, *rest = paragraphs
    if not rest:
        return [f'{margin}"""{summary}"""']
    lines = [f'{margin}"""{summary}']
    for paragraph in rest:
        lines += ["", *(margin + line for line in textwrap.wrap(paragraph, WIDTH - 1 - indent))]
    return [*lines, f'{margin}"""']


def _statement(start: str, call: Call, indent: int) -> list[str]:
    first, *rest = call.lines(indent, indent + len(start), 0)
    return [" " * indent + start + first, *rest]


def _text(*lines: str) -> str:
    return "\n".join(lines) + "\n"


def _flat(code: Code) -> str:
    return code if isinstance(code, str) else code.flat()
