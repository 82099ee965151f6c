"""A document as one structure, written as Markdown or as a page of HTML that needs no other file.

What comes from the data is escaped on both ways: a column may be called anything.
"""

import base64
import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

STYLE = """
:root { color-scheme: light; }
body { margin: 0; background: #f5f7fa; color: #1f2933; line-height: 1.55;
  font-family: system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; font-size: 16px; }
main { max-width: 58rem; margin: 0 auto; padding: 2.5rem 2rem 4rem; background: #fff;
  min-height: 100vh; box-sizing: border-box; }
h1 { font-size: 1.9rem; line-height: 1.2; margin: 0 0 .6rem; }
h2 { font-size: 1.2rem; margin: 2.4rem 0 .6rem; padding-bottom: .3rem;
  border-bottom: 2px solid #0072b2; }
p { max-width: 46rem; margin: .7rem 0; }
li { max-width: 46rem; margin: .25rem 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .9rem 0; font-size: .9rem; }
th, td { text-align: left; vertical-align: top; padding: .38rem .9rem .38rem .5rem;
  border-bottom: 1px solid #e4e7eb; font-variant-numeric: tabular-nums; }
td:first-child { white-space: nowrap; }
th { color: #616e7c; font-weight: 600; white-space: nowrap; }
td.number, th.number { text-align: right; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, monospace; font-size: .88em;
  background: #f0f3f6; border-radius: 4px; overflow-wrap: anywhere; }
code { padding: .08em .3em; }
pre { padding: .8rem 1rem; overflow-x: auto; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(26rem, 100%), 1fr));
  gap: 1rem; align-items: start; }
figure { margin: 0; }
img { width: 100%; height: auto; border: 1px solid #e4e7eb; border-radius: 6px; }
@media print { body, main { background: #fff; padding: 0; } h2, img { break-inside: avoid; } }
""".strip()

NUMBER = re.compile(r"-?[\d,.]+(e[+-]?\d+)?%?")


class Code(str):
    """Text that stands as it is: a name from the data, a digest, a parameter."""

    __slots__ = ()


@dataclass(frozen=True)
class Table:
    """Rows under a head; a cell is a sentence, or `Code`."""

    head: Sequence[str]
    rows: Sequence[Sequence[str]]


@dataclass(frozen=True)
class Bullets:
    """A list of sentences."""

    items: Sequence[str]


@dataclass(frozen=True)
class Commands:
    """Lines for a shell."""

    lines: Sequence[str]


@dataclass(frozen=True)
class Pictures:
    """Files beside the document, by name, and what each shows."""

    files: Mapping[str, str]


Block = str | Table | Bullets | Commands | Pictures


@dataclass(frozen=True)
class Section:
    """A part of a document under its own title."""

    title: str
    blocks: Sequence[Block]


def markdown(title: str, sections: Sequence[Section], folder: str = "") -> str:
    """Write Markdown; pictures are linked in `folder`."""
    parts = [f"# {escaped(title)}"] if title else []
    for section in sections:
        if section.title:
            parts.append(f"## {escaped(section.title)}")
        parts += [_markdown(block, folder) for block in section.blocks]
    return "\n\n".join(part for part in parts if part) + "\n"


def page(title: str, sections: Sequence[Section], pictures: Mapping[str, bytes]) -> str:
    """Write a page of HTML that holds its style and its pictures."""
    heading = html.escape(one_line(title))
    body = [f"<h1>{heading}</h1>"]
    for section in sections:
        if section.title:
            body.append(f"<h2>{_inline(section.title)}</h2>")
        body += [_html(block, pictures) for block in section.blocks]
    return "\n".join(
        (
            "<!doctype html>",
            '<html lang="en">',
            "<head>",
            '<meta charset="utf-8">',
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<title>{heading}</title>",
            f"<style>\n{STYLE}\n</style>",
            "</head>",
            "<body>",
            "<main>",
            *body,
            "</main>",
            "</body>",
            "</html>",
            "",
        )
    )


def escaped(text: str) -> str:
    """Text in Markdown, on one line; nobody is notified by a name with an `@` in it."""
    line = re.sub(r"([\\`*\[\]<>|$~#&]|\b_|_\b)", r"\\\1", one_line(text))
    return line.replace("@", "@\u200b")


def code(text: str) -> str:
    """Text in Markdown that stands as it is, on one line; fit for a cell of a table."""
    line = one_line(text).replace("|", "\\|")
    if not line:
        return ""
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return f"{fence}{pad}{line}{pad}{fence}"


def one_line(text: str) -> str:
    """Text without line breaks and control characters."""
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def shortened(text: str, longest: int) -> str:
    """Text on one line, cut in its middle: names often differ at their ends."""
    line = one_line(text)
    if len(line) <= longest:
        return line
    head, tail = longest // 2, longest - longest // 2 - 1
    return f"{line[:head].rstrip()}…{line[-tail:].lstrip()}"


def _markdown(block: Block, folder: str) -> str:
    match block:
        case Code() | str():
            return _cell(block)
        case Table(head, rows):
            aligned = ["---:" if right else "---" for right in _right(block)]
            lines = [[escaped(name) for name in head], aligned]
            lines += [[_cell(cell) for cell in row] for row in rows]
            return "\n".join(f"| {' | '.join(line)} |" for line in lines)
        case Bullets(items):
            return "\n".join(f"- {_cell(item)}" for item in items)
        case Commands(lines):
            return "\n".join(("```sh", *lines, "```"))
        case Pictures(files):
            return "\n\n".join(
                f"![{escaped(caption)}]({folder}{name})" for name, caption in files.items()
            )


def _cell(text: str) -> str:
    return code(text) if isinstance(text, Code) else escaped(text)


def _html(block: Block, pictures: Mapping[str, bytes]) -> str:
    match block:
        case Code() | str():
            return f"<p>{_inline(block)}</p>"
        case Table(head, rows):
            sides = [' class="number"' if right else "" for right in _right(block)]
            names = (
                f"<th{side}>{html.escape(n)}</th>" for side, n in zip(sides, head, strict=True)
            )
            lines = [
                "".join(
                    f"<td{side}>{_inline(cell)}</td>" for side, cell in zip(sides, row, strict=True)
                )
                for row in rows
            ]
            if any(head):
                lines.insert(0, "".join(names))
            body = "\n".join(f"<tr>{line}</tr>" for line in lines)
            return f'<div class="wide"><table>\n{body}\n</table></div>'
        case Bullets(items):
            return "\n".join(("<ul>", *(f"<li>{_inline(item)}</li>" for item in items), "</ul>"))
        case Commands(lines):
            return f"<pre>{html.escape(chr(10).join(lines))}</pre>"
        case Pictures(files):
            drawn = (
                f'<figure><img alt="{html.escape(caption)}" src="data:image/png;base64,'
                f'{base64.b64encode(pictures[name]).decode()}"></figure>'
                for name, caption in files.items()
            )
            return "\n".join(('<div class="pictures">', *drawn, "</div>"))


def _inline(text: str) -> str:
    safe = html.escape(one_line(text))
    return f"<code>{safe}</code>" if isinstance(text, Code) and safe else safe


def _right(table: Table) -> list[bool]:
    """Which columns hold numbers alone, and are set to the right."""
    columns = zip(*table.rows, strict=True) if table.rows else ((),) * len(table.head)
    return [
        any(column) and all(NUMBER.fullmatch(cell) for cell in column if cell) for column in columns
    ]
