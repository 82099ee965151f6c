"""The recipes of docs/ops/models.md: each as it is pasted, with its library, to a served answer."""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from copies import copied
from documents import examples
from overlay import under_test
from render import ROOT
from sharing import once

if TYPE_CHECKING:
    from my_model.ops.project import Project

PAGE = (ROOT / "template" / "docs" / "ops" / "models.md").read_text()
RECIPES = {
    re.findall(r"^def (\w+)\(classify", section, re.MULTILINE)[0]: section
    for section in PAGE.partition("## Bring your own model")[2].split("\n### ")[1:]
}
OFTEN = ("lightgbm", "prototypes")
"""One with a library, and one that needs none; the others bring more than a gigabyte."""

ADD = re.compile(r"`uv add --group train ([^`]+)`")
TORCH = "torch==2.13.0"


def run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def recipes(exhaustive: bool) -> dict[str, str]:
    """Those that are walked."""
    return {name: its for name, its in RECIPES.items() if exhaustive or name in OFTEN}


@pytest.fixture(scope="session")
def python(recipes: dict[str, str]) -> Path:
    """Python with the packages that the recipes add, beside those of the tests."""
    asked = sorted({name for its in ADD.findall("".join(recipes.values())) for name in its.split()})
    digest = hashlib.sha256(f"{sys.executable} {asked} {TORCH}".encode()).hexdigest()[:16]
    return (
        once(ROOT / "build" / "recipes" / digest, lambda root: _install(root, asked)) / "bin/python"
    )


def _install(root: Path, asked: list[str]) -> None:
    """Make it. uv takes PyTorch's build for CUDA, of several GB; pip, the one that it is told."""
    run("uv", "venv", "--quiet", "--python", sys.executable, root)
    python, aside = root / "bin" / "python", root / "aside"
    aside.mkdir()
    kept = aside / "constraints.txt"
    kept.write_text(run("uv", "pip", "freeze", "--python", sys.executable))
    add = ("uv", "pip", "install", "--quiet", "--no-compile-bytecode", "--python", python)
    add = (*add, "--constraints", kept)
    run(*add, "pip", *(name for name in asked if name != "torch"))
    if "torch" in asked:
        load = (python, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", aside)
        run(*load, TORCH)
        run(*add, *aside.glob("torch-*.whl"))
    shutil.rmtree(aside)
    (site,) = root.glob("lib/python*/site-packages")
    own = Path(sys.executable).parents[1]
    (site / "tests.pth").write_text(f"{next(own.glob('lib/python*/site-packages'))}\n")


@pytest.fixture(scope="session")
def walked(
    recipes: dict[str, str],
    python: Path,
    trained: Project,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, Any]:
    """What became of each recipe, in one process."""
    folder = tmp_path_factory.mktemp("recipes")
    project = copied(trained, folder / "a project")
    package = project.root / "src" / "my_model"
    shutil.copytree(under_test() / "src" / "my_model" / "ml", package / "ml")
    shutil.copyfile(under_test() / "src" / "my_model" / "__init__.py", package / "__init__.py")
    (package / "ops").symlink_to(under_test() / "src" / "my_model" / "ops")
    given, told = folder / "recipes.json", folder / "told.json"
    code = {name: [*examples(its)] for name, its in RECIPES.items()}
    code["images"] = ["\n\n".join(code["pytorch"] + code["images"])]
    given.write_text(json.dumps({name: code[name] for name in recipes}))
    variables = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            map(str, (package.parent, ROOT / "tests", Path(__file__).parent))
        ),
        "OMP_NUM_THREADS": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    done = subprocess.run(
        [python, Path(__file__).with_name("recipes.py"), project.root, given, told],
        cwd=project.root,
        env=variables,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    became: dict[str, Any] = json.loads(told.read_text())
    return became


def test_the_page_has_them_all() -> None:
    assert [*RECIPES] == ["lightgbm", "xgboost", "catboost", "pytorch", "images", "prototypes"]


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in OFTEN else pytest.mark.exhaustive)
        for name in RECIPES
        if name != "images"
    ],
)
def test_a_recipe_comes_to_a_served_answer(name: str, walked: dict[str, Any]) -> None:
    told = walked[name]
    assert told["gates"]["export parity"]["passed"], told["gates"]
    assert (told["code"], told["score"], told["kind"]) == (0, 0, name)
    assert told["file"] == ("model.npz" if name == "prototypes" else "model.onnx")
    assert told["apart"] < 1e-4
    assert told["served"] < 1e-4
    for task, gate in told["parity"].items():
        assert gate["passed"], (task, gate)
    assert told["rules"] == ""
    if name == "xgboost":
        assert told["shares"]["trees"] == 7
        assert told["shares"]["right"] > 0.9


@pytest.mark.exhaustive
def test_a_net_sees_what_is_written_on_an_image(walked: dict[str, Any]) -> None:
    told = walked["images"]
    assert told["gate"]["passed"], told["gate"]
    assert told["accuracy"] > 0.95
    assert told["rules"] == ""
    assert told["served"] < 1e-4
