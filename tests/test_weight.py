"""What every project pays: the weight of a default render, and what it leans on."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from typing import TYPE_CHECKING

from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LINES, CODE, TESTS = 21_455, 15_120, 711
"""At most so many lines of `ops/`, lines of code in it, and lines of tests; a rise has a reason.

The aim is 11,000 and 7,500: decision 21.
"""

HOOKS = 2_654
"""At most so many lines of `hooks/`, what Copier and maintainers run; 2,700 is the aim."""

COLUMNS = 100

ADAPTER = {
    "schema_rules.py": {"_sampling_overrides", "_validation_rules"},  # of a schema of dataframely
}
"""What no library has a public way for: where it is used, and each name."""

ABSENT = {
    "deployment": set[str](),
    "monitoring": set[str](),
    "retraining": set[str](),
    "serving": {"deployment", "monitoring", "retraining"},
    "storage": set[str](),
}
"""Rooms that a render may lack, each with those that it may lack beside this one."""

QUIET = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
PRIVATE = re.compile(r"_(?!_)\w+")
DOCUMENTED = {"_asdict", "_exit", "_fields", "_replace"}
"""Of named tuples and of `os`: Python's own, and promised."""


def lines(files: list[Path]) -> int:
    """All lines of some files."""
    return sum(len(file.read_text().splitlines()) for file in files)


def code(file: Path) -> int:
    """The lines that hold code: no docstrings, comments or blanks."""
    text = file.read_text()
    documented = {
        line
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Expr)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
        for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)
    }
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    held = {
        line
        for token in tokens
        if token.type not in QUIET and token.type != tokenize.ENDMARKER
        for line in range(token.start[0], token.end[0] + 1)
    }
    return len(held - documented)


def test_a_default_render_keeps_its_ceiling(rendered: Callable[..., Path]) -> None:
    project = rendered()
    files = sorted(project.glob("src/*/ops/**/*.py"))
    assert lines(files) <= LINES
    assert sum(map(code, files)) <= CODE
    assert lines(sorted(project.glob("tests/**/*.py"))) <= TESTS


def test_what_runs_around_a_render_keeps_its_ceiling() -> None:
    assert lines(sorted((ROOT / "hooks").glob("**/*.py"))) <= HOOKS


def private(tree: ast.Module) -> Iterator[str]:
    """The private names that a module reaches for: attributes, names in strings, modules."""
    for node in ast.walk(tree):
        match node:
            case ast.Attribute(attr=name, ctx=ast.Load()) if PRIVATE.fullmatch(name):
                yield name
            case ast.Call(func=ast.Name("getattr" | "hasattr" | "setattr"), args=[_, word, *_]):
                if isinstance(word, ast.Constant) and PRIVATE.fullmatch(str(word.value)):
                    yield str(word.value)
            case ast.ImportFrom(level=0, module=str(module), names=names):
                parts = [*module.split("."), *(alias.name for alias in names)]
                yield from filter(PRIVATE.fullmatch, parts)
            case ast.Import(names=names):
                parts = [part for alias in names for part in alias.name.split(".")]
                yield from filter(PRIVATE.fullmatch, parts)


def own(tree: ast.Module) -> Iterator[str]:
    """The private names that a module defines: functions, variables, fields."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield name
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield name
            case ast.ClassDef(name=name):
                yield name


def test_no_line_is_wider_than_a_hundred_columns() -> None:
    """Ruff wraps code, but neither docstrings nor remarks; what tools read stands as it must."""
    wide = [
        f"{file.name}:{number}"
        for file in sorted((ROOT / "template" / "src").glob("*/ops/**/*.py"))
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line.partition("  # type:")[0].partition("  # nosec")[0]) > COLUMNS
    ]
    assert wide == []


def test_no_private_name_of_a_library_is_used(rendered: Callable[..., Path]) -> None:
    """Any release of the library may take it away."""
    folder = next(rendered().glob("src/*/ops"))
    trees = {
        file.relative_to(folder).as_posix(): ast.parse(file.read_text())
        for file in sorted(folder.rglob("*.py"))
    }
    defined = {name for tree in trees.values() for name in own(tree)} | DOCUMENTED
    used = {file: set(private(tree)) - defined for file, tree in trees.items()}
    assert {file: names for file, names in used.items() if names} == ADAPTER


def imported(tree: ast.Module) -> Iterator[str]:
    """The rooms and modules of `ops/` that a module imports as soon as it is imported itself."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [alias.name for alias in node.names]
            yield from [node.module.partition(".")[0]] if node.module else names


def test_no_room_leans_on_one_that_a_render_may_lack(rendered: Callable[..., Path]) -> None:
    folder = next(rendered().glob("src/*/ops"))
    for file in sorted(folder.rglob("*.py")):
        room = file.relative_to(folder).parts[0]
        missed = ABSENT.get(room, set(ABSENT)) & set(imported(ast.parse(file.read_text())))
        assert not missed, file
