"""What people have of their own since an earlier release, held to the code that an update brings.

An update never touches their params.yaml and ml/; so what is managed may need nothing of them that
any release so far did not render.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import yaml
from commands import raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from versions import Files, History

PARAMS = "params.yaml"
MODELS = "src/*/ml/model.py"
PIPELINE = "dvc.yaml"
# Prints why the settings of a package do not take a params.yaml and the models beside it.
LOAD = """
import importlib, pathlib, sys
try:
    settings = importlib.import_module(sys.argv[1] + ".ops.settings")
    settings.PACKAGE = pathlib.Path(sys.argv[2]).parent
    settings.Settings.load(pathlib.Path(sys.argv[2]))
except Exception as error:
    print(error)
"""


# ==================================================================================================
# params.yaml
# ==================================================================================================
def against(history: History, *answers: Mapping[str, str]) -> list[str]:
    """What people have since an earlier release, and the tree would do no more with."""
    renders = [history.tree.render(its) for its in answers or [{}]]
    return [
        *against_params(history),
        *against_pipeline(history, renders),
        *against_code(history, renders),
    ]


def against_params(history: History) -> Iterator[str]:
    """The settings do not take the params.yaml of an earlier release."""
    source, package = history.tree.folder({}) / "src", history.tree.package({})
    people = reversed(history.people())
    texts = {(files[PARAMS], files[MODELS]): release for release, files in people}
    found: dict[str, str] = {}
    with TemporaryDirectory() as place:
        path, models = Path(place, PARAMS), Path(place, "ml", "model.py")
        models.parent.mkdir()
        for (text, code), release in texts.items():
            path.write_bytes(text)
            models.write_bytes(code)
            told = raw(sys.executable, "-B", "-c", LOAD, package, path, cwd=source)
            if said := told.decode().strip().rstrip("."):
                found[said] = release  # the oldest one comes last
    for said, release in found.items():
        yield f"ops/settings.py does not take the {PARAMS} of {release}: {said}"


def against_pipeline(history: History, renders: Sequence[Files]) -> Iterator[str]:
    """The pipeline names what people do not have since an earlier release."""
    people = [*history.people()]
    texts = {files[PIPELINE].decode() for files in renders}
    keys = set().union(*(tracked(text) for text in texts))
    for key in sorted(keys):
        lacking = [release for release, its in people if lacks(yaml.safe_load(its[PARAMS]), key)]
        if lacking:
            yield (
                f"{PIPELINE} tracks `{key}`, which the {PARAMS} of {lacking[0]} lacks: leave it "
                "out, and give it a default in ops/settings.py"
            )
    for name in sorted(set().union(*(dependencies(text) for text in texts))):
        lacking = [release for release, its in people if not within(name, its)]
        if lacking and within(name, dict.fromkeys(history.yours(renders))):
            yield f"{PIPELINE} depends on {name}, which {lacking[0]} lacks: leave it out"


def tracked(text: str) -> set[str]:
    """The keys of params.yaml that a pipeline names."""
    found = {it.split("[")[0].strip() for it in re.findall(r"\$\{(.*?)\}", text)}
    for stage in yaml.safe_load(text)["stages"].values():
        for entry in stage.get("params", ()):
            named = entry if isinstance(entry, dict) else {PARAMS: [entry]}
            found |= set(named.get(PARAMS) or ())
    return found


def lacks(params: object, key: str) -> bool:
    """Whether a key, with dots between its parts, is not among parameters."""
    for part in key.split("."):
        if not isinstance(params, dict) or part not in params:
            return True
        params = params[part]
    return False


def dependencies(text: str) -> set[str]:
    """The paths that the stages of a pipeline depend on."""
    stages = yaml.safe_load(text)["stages"].values()
    found = {dependency for stage in stages for dependency in stage.get("deps", ())}
    found |= set(re.findall(r"\bsrc/[\w/.-]+", text))
    return {re.sub(r"^src/[^/]+/", "src/*/", path) for path in found if "$" not in path}


def within(path: str, files: Mapping[str, object]) -> bool:
    """Whether a path is a file among some, or a folder of one."""
    return any(name == path or name.startswith(f"{path}/") for name in files)


# ==================================================================================================
# ml/
# ==================================================================================================
@dataclass(frozen=True)
class Need:
    """A name of a module in ml/ that managed code uses, and how it calls it if it does.

    Attributes:
        module: the module.
        name: what it must define.
        call: how many arguments are given by place, and which by name.
    """

    module: str
    name: str
    call: tuple[int, tuple[str, ...]] | None = None

    def unmet(self, modules: Mapping[str, ast.Module]) -> str | None:
        """What a project's modules lack for it; none if they have it."""
        if self.module not in modules:
            return f"ml/{self.module}.py"
        found = definitions(modules[self.module])
        if self.name not in found:
            return f"`{self.name}` in ml/{self.module}.py"
        function = found[self.name]
        if self.call and isinstance(function, ast.FunctionDef):
            count, names = self.call
            try:
                signature(function).bind(*[None] * count, **dict.fromkeys(names))
            except TypeError as error:
                return f"another `{self.name}` in ml/{self.module}.py ({error})"
        return None


class Uses(ast.NodeVisitor):
    """Collects what a module of managed code needs of ml/.

    A name that it reads by `getattr` with a default is not needed.

    Attributes:
        needs: what it found.
    """

    def __init__(self, path: str, package: str) -> None:
        self.needs: set[Need] = set()
        self._package = package
        self._inside = [package, *path.split("/")[2:-1]] if path.startswith("src/") else []
        self._modules: dict[str, str] = {}
        self._names: dict[str, Need] = {}

    def visit_ImportFrom(self, node: ast.ImportFrom) -> None:
        """`from ..ml import model` and `from ..ml.features import features`."""
        base = self._inside[: len(self._inside) - node.level + 1] if node.level else []
        parts = [*base, *(node.module.split(".") if node.module else ())]
        if parts == [self._package, "ml"]:
            self._modules |= {it.asname or it.name: it.name for it in node.names}
        elif parts[:2] == [self._package, "ml"]:
            found = {it.asname or it.name: Need(".".join(parts[2:]), it.name) for it in node.names}
            self._names |= found
            self.needs |= {*found.values()}

    def visit_Attribute(self, node: ast.Attribute) -> None:
        """`model.build`."""
        if need := self._meant(node):
            self.needs.add(need)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """`model.build(...)`, unless it unpacks what only a run would tell."""
        given = [keyword.arg for keyword in node.keywords]
        whole = None not in given and not any(isinstance(it, ast.Starred) for it in node.args)
        if whole and (need := self._meant(node.func)):
            call = len(node.args), tuple(filter(None, given))
            self.needs.add(Need(need.module, need.name, call))
        self.generic_visit(node)

    def _meant(self, node: ast.expr) -> Need | None:
        if isinstance(node, ast.Name):
            return self._names.get(node.id)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            module = self._modules.get(node.value.id)
            return Need(module, node.attr) if module else None
        return None


def definitions(module: ast.Module) -> dict[str, ast.stmt]:
    """What a module defines, by name."""
    found: dict[str, ast.stmt] = {}
    for node in module.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                found[node.name] = node
            case ast.Assign(targets=[ast.Name(id=name)]) | ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = node
    return found


def signature(function: ast.FunctionDef) -> inspect.Signature:
    """How a function can be called."""
    its, kind = function.args, inspect.Parameter
    plain = [
        *((it, kind.POSITIONAL_ONLY) for it in its.posonlyargs),
        *((it, kind.POSITIONAL_OR_KEYWORD) for it in its.args),
    ]
    required = len(plain) - len(its.defaults)
    made = [
        kind(it.arg, how, default=kind.empty if place < required else None)
        for place, (it, how) in enumerate(plain)
    ]
    made += [kind(it.arg, kind.VAR_POSITIONAL) for it in (its.vararg,) if it]
    made += [
        kind(it.arg, kind.KEYWORD_ONLY, default=kind.empty if default is None else None)
        for it, default in zip(its.kwonlyargs, its.kw_defaults, strict=True)
    ]
    made += [kind(it.arg, kind.VAR_KEYWORD) for it in (its.kwarg,) if it]
    return inspect.Signature(made)


def against_code(history: History, renders: Sequence[Files]) -> Iterator[str]:
    """Managed code needs what the ml/ of an earlier release lacks."""
    wanted: dict[Need, str] = {}
    # A file may differ by answers: each form of it is asked.
    for path, text in sorted({form for files in renders for form in files.items()}):
        if path.endswith(".py") and history.tree.owners.of(path) != "yours":
            uses = Uses(path, history.tree.package({}))
            uses.visit(ast.parse(text))
            wanted = dict.fromkeys(uses.needs, path) | wanted
    told = set()
    for release, files in history.people():
        modules = {
            PurePosixPath(path).stem: ast.parse(text)
            for path, text in files.items()
            if path.startswith("src/*/ml/") and path.endswith(".py")
        }
        for need, path in wanted.items():
            if (what := need.unmet(modules)) and what not in told:
                told.add(what)
                yield f"{path} needs {what}, which {release} lacks: do without, or with a default"
