"""Declaring values in `ml/schema.py`: one more item in a list, and all else as it was."""

import ast
import importlib
from collections.abc import Iterable

from ...ml import schema
from .. import contract as contracts
from ..contract import Column, Contract, Scalar
from ..data.code import formatted
from ..errors import UserError
from ..files import write_text
from ..project import Project


def parsed(text: str) -> tuple[str, str]:
    """Read COLUMN=VALUE; a UserError if it is not that."""
    column, _, value = text.partition("=")
    if not column or not value:
        raise UserError(f"--declare {text}: write COLUMN=VALUE, such as queue=wallet.")
    return column, value


def declare(project: Project, declarations: Iterable[tuple[str, str]]) -> list[str]:
    """Let `ml/schema.py` allow these values of columns, and say in sentences what was changed.

    A value that is allowed already changes nothing. A UserError if a column is unknown or open, or
    its values are no plain list; the file may then hold some of the others.
    """
    said = []
    for name, value in declarations:
        column = _closed(contracts.load(), name)
        if value in map(str, column.choices or ()):
            said.append(f"{name} allows {value} already.")
            continue
        text = project.schema.read_text(encoding="utf-8")
        longer, tidy = extended(text, column, value), formatted(text, project.schema) == text
        write_text(project.schema, formatted(longer, project.schema) if tidy else longer)
        if value not in map(str, _closed(reloaded(), name).choices or ()):
            raise _by_hand(name, value)
        said.append(f"{name} allows {value} from now on: ml/schema.py has it.")
    return said


def reloaded() -> Contract:
    """The contract as `ml/schema.py` says it now, whatever was read of it before."""
    importlib.invalidate_caches()
    importlib.reload(schema)
    return contracts.load()


def extended(text: str, column: Column, value: str) -> str:
    """The text of the schema with one value more for a column.

    A UserError if its values are no plain list, or the value is not of their type.
    """
    kind: type[Scalar] = type((column.choices or ("",))[0])
    try:
        literal = repr(kind(value))
    except ValueError:
        raise UserError(f"{column.name} is {column.dtype}, and {value} is not.") from None
    if '"' not in literal:  # as the formatter prefers
        literal = literal.replace("'", '"')
    values = _values(ast.parse(text), column.name)
    if values is None or not values.elts:
        raise _by_hand(column.name, value)
    last = values.elts[-1]
    # Python counts lines by their feeds alone, and columns in bytes of UTF-8.
    lines = text.encode().split(b"\n")
    row, end = (last.end_lineno or 1) - 1, last.end_col_offset or 0
    lines[row] = lines[row][:end] + f", {literal}".encode() + lines[row][end:]
    return b"\n".join(lines).decode()


def _closed(contract: Contract, name: str) -> Column:
    """The column, which must be one whose values are a closed set."""
    column = next((column for column in contract.columns if column.name == name), None)
    if column is None:
        known = ", ".join(column.name for column in contract.columns)
        raise UserError(f"ml/schema.py has no column {name}; it has {known}.")
    if column.choices is None or column.dtype == "Bool":
        raise UserError(f"{name} is no closed list of values, so there is nothing to declare.")
    return column


def _values(tree: ast.Module, name: str) -> ast.List | ast.Tuple | None:
    """The list of a column's values: written in its declaration, or named above it."""
    named = {
        target.id: node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    for attribute, call in named.items():
        if not isinstance(call, ast.Call):
            continue
        options = {option.arg: option.value for option in call.keywords}
        alias = options.get("alias")
        if name == (alias.value if isinstance(alias, ast.Constant) else attribute):
            first = next(iter(call.args), None)
            values = options.get("is_in") or options.get("categories") or first
            values = named.get(values.id) if isinstance(values, ast.Name) else values
            return values if isinstance(values, ast.List | ast.Tuple) else None
    return None


def _by_hand(name: str, value: str) -> UserError:
    return UserError(
        f"The values of {name} are no plain list in ml/schema.py; add {value} there yourself, and "
        "run this again."
    )
