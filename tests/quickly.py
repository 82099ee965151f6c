"""Lets Copier render in half the time: what it does again and again is left out, or done once.

It compiles the same texts at each render, and at each file it asks git whether the folder keeps its
modes apart, as on Windows, and puts the answers together key by key. All processes of a run share
what is compiled, in a file that each adds to; those that begin with Copier are quickened by
`quick/sitecustomize.py`.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import struct
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
from copier._main import Worker
from copier._user_data import DEFAULT_DATA, AnswersMap

if TYPE_CHECKING:
    from types import CodeType

COMPILED = "COMPILED"
"""The variable that names the file."""

RECORD = struct.Struct(">32sI")
"""How a text begins there: a digest of it, and how many bytes of code follow."""

LEXED = (
    *("block_start_string", "block_end_string", "variable_start_string", "variable_end_string"),
    *("comment_start_string", "comment_end_string", "line_statement_prefix", "trim_blocks"),
    *("line_comment_prefix", "lstrip_blocks", "newline_sequence", "keep_trailing_newline"),
)
"""What an environment of Jinja makes of a text depends on these, as its class and extensions."""


class Compiled:
    """The code of texts, by their digests."""

    def __init__(self, path: Path) -> None:
        """Read what was compiled by now."""
        self.file = path.open("ab", buffering=0)
        self.stored, self.codes = dict[bytes, bytes](), dict[bytes, Any]()
        held, place = path.read_bytes(), 0
        while place + RECORD.size < len(held):
            digest, size = RECORD.unpack_from(held, place)
            place += RECORD.size + size
            if place <= len(held):
                self.stored[digest] = held[place - size : place]

    def code(self, digest: bytes) -> CodeType | None:
        """The code of a text; None if nobody has compiled it."""
        if digest not in self.codes and digest in self.stored:
            self.codes[digest] = marshal.loads(self.stored.pop(digest))  # noqa: S302  our own
        return self.codes.get(digest)

    def add(self, digest: bytes, code: CodeType) -> None:
        """Keep a code for everybody; a record is written whole, beside others that write."""
        self.codes[digest] = code
        stored = marshal.dumps(code)
        self.file.write(RECORD.pack(digest, len(stored)) + stored)


def combined(self: AnswersMap) -> dict[str, Any]:
    """All answers, as Copier puts them together; the later ones win."""
    return {
        **DEFAULT_DATA,
        "_external_data": self.external,
        **self.user_defaults,
        **self.last,
        **self.metadata,
        **self.init,
        **self.user,
    }


def quicken() -> None:
    """Quicken this process."""
    compiled, compile_text = Compiled(Path(os.environ[COMPILED])), jinja2.Environment.compile

    def compile_once(
        self: jinja2.Environment,
        source: str,
        *arguments: Any,  # noqa: ANN401  whatever Jinja takes
        **options: Any,  # noqa: ANN401
    ) -> CodeType:
        lexed = [getattr(self, name) for name in LEXED]
        kind = (sys.version, jinja2.__version__, type(self), self.autoescape, *self.extensions)
        key = repr((kind, lexed, source, arguments, options))
        digest = hashlib.sha256(key.encode(errors="surrogatepass")).digest()
        code = compiled.code(digest)
        if code is None:
            code = compile_text(self, source, *arguments, **options)
            compiled.add(digest, code)
        return code

    jinja2.Environment.compile = compile_once  # type: ignore[assignment, method-assign]
    AnswersMap.combined = property(combined)  # type: ignore[method-assign, assignment]
    Worker._sync_git_index_executable_bit = lambda *_: None  # type: ignore[method-assign]  # noqa: SLF001
