"""What the code in `ml/` tells where it is read, and not run."""

import ast
import hashlib
from collections.abc import Collection, Mapping
from modulefinder import ModuleFinder
from pathlib import Path
from traceback import extract_tb
from typing import Any

PACKAGE = Path(__file__).parents[1]


class _Finder(ModuleFinder):
    """Follows the imports of this package, and of no other."""

    def find_module(self, name: str, path: Any, parent: Any = None) -> Any:
        """Find a module, unless it belongs to another package."""
        if path is None and name != PACKAGE.name:
            raise ImportError(name)
        return super().find_module(name, path, parent)


def modules() -> dict[str, str]:
    """The text of what scores: `ml/features.py`, `ml/predict.py` if there is one, by path in `src`.

    So is that of all that they import of this package.
    """
    finder, root = _Finder([str(PACKAGE.parent)]), PACKAGE.parent
    for name in ("features", "predict"):
        if (PACKAGE / "ml" / f"{name}.py").exists():
            finder.import_hook(f"{PACKAGE.name}.ml.{name}")
    files = sorted(Path(vars(module)["__file__"]) for module in finder.modules.values())
    return {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in files}


def digest(modules: Mapping[str, str]) -> str:
    """Sixteen hexadecimal digits that no change of formatting, comments and docstrings changes."""
    made = hashlib.sha256()
    for name, text in modules.items():
        made.update(f"{name}\0{syntax(text)}\0".encode())
    return made.hexdigest()[:16]


def syntax(text: str, without: Collection[str] = ()) -> str:
    """Code as Python understands it: no layout, comments or docstrings, nor some members."""
    tree = ast.parse(text)
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(body=body):
                node.body = [it for it in body if not (is_text(it) or _name(it) in without)]
            case ast.Module(body=body) | ast.FunctionDef(body=body):
                node.body = [it for it in body if not is_text(it)]
    return ast.unparse(tree)


def _name(member: ast.stmt) -> str | None:
    """What a member of a class is called."""
    match member:
        case ast.FunctionDef(name=name):
            return name
        case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
            return name
    return None


def place(error: Exception) -> str:
    """The line of `ml/` that an error came from, or through; nothing if it did not."""
    places = [(frame.filename, frame.lineno) for frame in extract_tb(error.__traceback__)]
    if isinstance(error, SyntaxError):
        places.append((error.filename or "", error.lineno))
    own = [its for its in places if Path(its[0]).is_relative_to(PACKAGE / "ml")]
    return f"ml/{Path(own[-1][0]).name}, line {own[-1][1]}" if own else ""


def said(error: Exception) -> str:
    """What an error says, unless the contract has sensitive columns, whose values it may hold."""
    private = any("sensitive" in it.read_text("utf-8") for it in PACKAGE.glob("ml/schema.py"))
    return "it may say what is sensitive, and --debug tells it" if private else str(error)


def is_text(statement: ast.stmt) -> bool:
    """Whether a statement is a text that stands alone, as a docstring does."""
    value = statement.value if isinstance(statement, ast.Expr) else None
    return isinstance(value, ast.Constant) and isinstance(value.value, str)
