"""Reads the commands out of documents, as a person would type them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r"^ *```(console|sh|bash|shell)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
EXAMPLE = re.compile(r"^```(python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`((?:make|uv add|uv lock|uv run \w+) [^`]+)`")


def commands(markdown: str) -> Iterator[str]:
    """Every command in fences, and of make and uv in the text, in order of their appearance."""
    found = [
        (fence.start(), line) for fence in FENCE.finditer(markdown) for line in lines(fence[2])
    ]
    outside = FENCE.sub(lambda fence: " " * len(fence[0]), markdown)
    found += [(span.start(), " ".join(span[1].split())) for span in SPAN.finditer(outside)]
    return (command for _, command in sorted(found, key=lambda place: place[0]))


def examples(markdown: str) -> Iterator[str]:
    """The Python in fences."""
    return (fence[2] for fence in re.finditer(EXAMPLE, markdown))


def lines(block: str) -> Iterator[str]:
    """The commands of a fence, without prompts and comments."""
    for line in block.replace("\\\n", " ").splitlines():
        command = re.sub(r"\s+# .*", "", line.strip().removeprefix("$ "))
        if command and not command.startswith("#"):
            yield " ".join(command.split())
