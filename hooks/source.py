"""What the template's own files say, and what a render of it holds."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml
from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ANSWERS = ".copier-answers.yml"


class _Loader(yaml.SafeLoader):
    """Reads copier.yml, whose own tags say nothing here."""


_Loader.add_multi_constructor("!", lambda *_: {})


def configuration(text: str) -> dict[str, Any]:
    """What a copier.yml says, without the files that it includes."""
    merged: dict[str, Any] = {}
    for document in yaml.load_all(text, Loader=_Loader):
        merged |= document or {}
    return merged


def choices(question: Mapping[str, Any]) -> list[Any]:
    """Every answer that a question offers; none if it takes any. Several are written as a list."""
    offered = [True, False] if question.get("type") == "bool" else question.get("choices", [])
    each = list(offered.values() if isinstance(offered, dict) else offered)
    return ["[]", *(f"[{it}]" for it in each)] if question.get("multiselect") else each


class Owners:
    """Whose each path of a project is, as an ownership.yml says."""

    def __init__(self, text: str) -> None:
        """Read it."""
        said = yaml.safe_load(text)
        self._specs = {name: GitIgnoreSpec.from_lines(its) for name, its in said.items()}

    def of(self, path: str) -> str:
        """The class of a path: yours, shared or managed."""
        matching = (name for name, its in self._specs.items() if its.match_file(path))
        return next(matching, "managed")


def files(render: Path) -> dict[str, Path]:
    """Every file of a render, by its path there."""
    found = (path for path in sorted(render.rglob("*")) if path.is_file())
    return {path.relative_to(render).as_posix(): path for path in found}
