"""Reports as Markdown, from Jinja templates; and as a page of HTML that needs no other file.

What is filled into Markdown is escaped, unless it is `Markdown`: a column may be called anything.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markdown_it import MarkdownIt

from ..wording import listed, number, one_line, share, shortened

HERE = Path(__file__).parent
LONGEST_NAME = 28
UNMENTIONED = "@\u200b"
"""An `@` that notifies nobody, whatever name it stands before."""


class Markdown(str):
    """Text that is Markdown already, and is filled in as it is."""

    __slots__ = ()

    def __html__(self) -> str:
        """Jinja's word for text that is not to be escaped."""
        return self


def markdown(template: Path, **values: Any) -> str:
    """Fill in a template of Markdown; what is None is left empty.

    Its filters are Jinja's and `FILTERS`.
    """
    environment = Environment(
        autoescape=True,
        finalize=escaped,
        loader=FileSystemLoader(template.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= FILTERS
    text = environment.get_template(template.name).render(values)
    return re.sub(r"\n{3,}", "\n\n", text).strip() + "\n"


def page(title: str, text: str, pictures: Mapping[str, bytes]) -> str:
    """Make a page of HTML that holds its style and its pictures.

    HTML in the Markdown is shown, not obeyed. Pictures are PNG, by the names that it links.
    """
    reader = MarkdownIt("js-default")
    tokens = reader.parse(text.replace(UNMENTIONED, "@"))
    for token in tokens:
        for part in token.children or ():
            if part.type == "image":
                picture = pictures[PurePosixPath(str(part.attrs["src"])).name]
                part.attrs["src"] = f"data:image/png;base64,{base64.b64encode(picture).decode()}"
    body = reader.renderer.render(tokens, reader.options, {})
    environment = Environment(autoescape=True, loader=FileSystemLoader(HERE))
    return environment.get_template("page.html.j2").render(title=one_line(title), body=body)


def escaped(value: object) -> str:
    """A value in Markdown, on one line; nobody is notified by a name with an `@` in it."""
    if value is None:
        return Markdown()
    if hasattr(value, "__html__"):
        return Markdown(value.__html__())
    line = re.sub(r"([\\`*\[\]<>|$~#&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", one_line(str(value)))
    return Markdown(line.replace("@", UNMENTIONED))


def code(text: object) -> Markdown:
    """Text in Markdown that stands as it is, on one line; fit for a cell of a table."""
    line = one_line(str(text)).replace("|", "\\|")
    if not line:
        return Markdown()
    fence = "`" * (1 + max(map(len, re.findall("`+", line)), default=0))
    pad = " " if line[0] == "`" or line[-1] == "`" else ""
    return Markdown(f"{fence}{pad}{line}{pad}{fence}")


def block(text: object) -> Markdown:
    """Text in Markdown that stands as it is, to be copied."""
    fence = "`" * (3 + max(map(len, re.findall("`+", str(text))), default=0))
    return Markdown(f"{fence}\n{text}\n{fence}")


def _if_known(written: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None else written(value)


def _span(values: Sequence[float | None]) -> str:
    """From the least to the greatest of some numbers; empty if there are none."""
    known = [value for value in values if value is not None]
    return f"{number(min(known))} to {number(max(known))}" if known else ""


def _quoted(name: str) -> Markdown:
    """A name in a chart of Mermaid."""
    plain = "".join(c if c.isalnum() or c in " .,:_-+*/()=<>≤≥²%'" else " " for c in name)
    return Markdown(f'"{shortened(plain, LONGEST_NAME) or "?"}"')


FILTERS: Mapping[str, Callable[[Any], Any]] = {
    "block": block,
    "code": code,
    "count": _if_known("{:,}".format),
    "digits": "{:.4g}".format,
    "json": json.dumps,
    "listed": listed,
    "number": _if_known(number),
    "quoted": _quoted,
    "span": _span,
    "share": _if_known(share),
}
"""What templates can do with a value, beside what Jinja brings."""
