"""The package of a project, with `ops/` where the template has it: for tests of single modules.

What a render would make of the few templated files lies in a folder under `build/`; all else are
links into `template/`. So a test imports `my_model`, and a fault shows where it is mended.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from preloaded import LAUNCHER, preload
from render import ROOT, Template, choices, read

if TYPE_CHECKING:
    from collections.abc import Mapping

PACKAGE = "my_model"
HERE = "{}.{}".format(*sys.version_info[:2])
ANSWERS = {
    "package_name": PACKAGE,
    "deploy": choices("deploy")[-1],
    # What runs the tests runs the project: another Python may not be there.
    "python_version": HERE if HERE in choices("python_version") else choices("python_version")[-1],
}
SOURCE = ROOT / "template" / "src" / "{{ package_name }}" / "ops"
SCRIPT = """\
#!{python}
import sys
from {module} import main
sys.exit(main())
"""


def under_test() -> Path:
    """The project whose package the tests import: PROJECT, a trained one, or the overlay."""
    return Path(os.environ["PROJECT"]) if "PROJECT" in os.environ else overlay()


def overlay(answers: Mapping[str, Any] = ANSWERS) -> Path:
    """A render of the working tree whose `ops/` is the template's own; made anew if need be."""
    files = [file for file in read() if file.parts[0] != "docs"]
    digest = hashlib.sha256(f"{sorted(answers.items())} {sys.executable}".encode())
    for file in files:
        digest.update(f"\0{file}\0".encode())
        if not _is_linked(ROOT / file):
            digest.update((ROOT / file).read_bytes())
    root = ROOT / "build" / "overlays" / digest.hexdigest()[:16]
    if not root.exists():
        root.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=root.parent) as folder:
            _make(files, answers, Path(folder))
            try:
                (Path(folder) / "project").rename(root)
            except OSError:  # another process was faster
                if not root.exists():
                    raise
    return root


def _is_linked(path: Path) -> bool:
    return path.is_relative_to(SOURCE) and path.suffix != ".jinja"


def _make(files: list[Path], answers: Mapping[str, Any], folder: Path) -> None:
    """Render, and put links in place of what is plain."""
    project = Template.of(files, folder / "template").render(folder / "project", answers)
    (package,) = (project / "src").iterdir()
    for made in sorted((package / "ops").iterdir()):
        origin = SOURCE / made.name
        if origin.is_dir():
            shutil.rmtree(made)
        elif origin.exists():
            made.unlink()
        if origin.exists():
            made.symlink_to(origin)


def activate(root: Path) -> None:
    """Let this process import the package."""
    source = str(root / "src")
    if source not in sys.path:
        sys.path.insert(0, source)
        os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", str(ROOT / "build" / "hypothesis"))


def tools() -> Path:
    """The folder of `ops` and `dvc`: they run whichever package is found, preloaded."""
    digest = hashlib.sha256(f"{sys.executable} {SCRIPT} {LAUNCHER}".encode()).hexdigest()[:16]
    place = ROOT / "build" / "tools" / digest
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=place.parent) as folder:
            made = Path(folder) / "made"
            made.mkdir()
            for name, module in (("ops", f"{PACKAGE}.ops.cli"), ("dvc", "dvc.cli")):
                (made / name).write_text(SCRIPT.format(python=sys.executable, module=module))
                (made / name).chmod(0o755)
            preload(made, Path(sys.executable))
            with contextlib.suppress(OSError):  # another process was faster
                made.rename(place)
    return place


def variables(root: Path) -> dict[str, str]:
    """What processes need in their environment to import the package and to find `ops`."""
    return {
        "PATH": os.pathsep.join(
            [str(tools()), str(Path(sys.executable).parent), os.environ["PATH"]]
        ),
        "PYTHONPATH": str(root / "src"),
    }
