"""Rendered projects that are set up and trained, one of each profile."""

from __future__ import annotations

import csv
import json
import math
import os
import random
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from preloaded import preload
from render import ROOT, choices, run
from sharing import alone

if TYPE_CHECKING:
    from collections.abc import Mapping

    from render import Template


@dataclass(frozen=True)
class Profile:
    """One kind of project to run: its answers, where it lies, and how it comes to data."""

    answers: Mapping[str, Any]
    folder: str = "project"
    inside: bool = False  # a larger repository lies around it
    data: tuple[str, ...] = ()  # arguments of `ops data use`; such a project trains small models


# Together they hold every answer to every question that offers some.
PROFILES = {
    "sample": Profile(
        {
            "project_name": "O'Brien's \"Größe\" 🦊 {{ 1 }}",
            "project_description": "Says: yes # or 'no', at $HOME, 100 % of the time | 🦊",
            "package_name": "my_model",
            "license": "MIT",
            "python_version": "3.12",
            "sample": "breast-cancer",
            "ci": "github",
            "storage": "folder",
            "serving": True,
            "monitoring": True,
            "deploy": "[kubernetes]",
        },
        folder="a folder with spaces/größe",
    ),
    "regression": Profile(
        {
            "license": "Apache-2.0",
            "python_version": "3.13",
            "sample": "diabetes",
            "ci": "gitlab",
            "storage": "gcs",
            "serving": True,
            "monitoring": True,
            "deploy": "[aws, azure, google]",
        },
    ),
    "mail": Profile(
        {
            "license": "MIT",
            "python_version": "3.12",
            "sample": "support-mail",
            "ci": "github",
            "storage": "s3",
            "serving": True,
            "monitoring": True,
            "deploy": "[]",
        },
    ),
    "images": Profile(
        {
            "license": "MIT",
            "python_version": "3.12",
            "sample": "digits",
            "ci": "github",
            "storage": "folder",
            "serving": True,
            "monitoring": True,
            "deploy": "[]",
        },
    ),
    "cart": Profile(
        {
            "license": "MIT",
            "python_version": "3.12",
            "sample": "smart-cart",
            "ci": "github",
            "storage": "folder",
            "serving": True,
            "monitoring": True,
            "deploy": "[kubernetes, aws]",
        },
    ),
    "own-data": Profile(
        {
            "license": "BSD-3-Clause",
            "python_version": "3.11",
            "sample": "none",
            "ci": "github",
            "storage": "ssh",
            "serving": True,
            "monitoring": False,
            "deploy": "[]",
        },
        data=("orders.csv", "--target", "Kündigung?", "--text", "note", "--time", "placed on"),
    ),
    "inside": Profile(
        {
            "license": "Proprietary",
            "python_version": "3.12",
            "sample": "none",
            "ci": "gitlab",
            "storage": "azure",
            "serving": False,
            "monitoring": False,
            "deploy": "[]",
        },
        folder="services/tastings",
        inside=True,
        data=(
            *("wines.jsonl", "--target", "quality", "--task", "regression"),
            *("--group", "estate", "--id", "id"),
        ),
    ),
}


SMALL = {
    "folds: 5": "folds: 3",
    "n_estimators: 40": "n_estimators: 20",
    "max_iter: 60": "max_iter: 30",
}
"""In `params.yaml`: the same models, smaller and on fewer folds."""

SAID = "said.json"
"""In the folder of a profile: what its first commands printed."""


@dataclass(frozen=True)
class Project:
    """A rendered project on disk, and the environment that its commands run in."""

    root: Path
    environment: Mapping[str, str]
    said: dict[str, str] = field(default_factory=dict)

    def run(self, *command: str, cwd: Path | None = None, **environment: str) -> str:
        """Run a command in the project to its end; a failure shows all that it printed."""
        return run(*command, cwd=cwd or self.root, env={**self.environment, **environment})

    def refuse(self, *command: str, code: int) -> str:
        """Run a command that must end with this exit code, and give what it printed."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == code, f"{command} ended with {done.returncode}:\n{done.stdout}"
        return done.stdout

    def changes(self) -> set[str]:
        """What `git status` shows."""
        listed = self.run("git", "status", "--porcelain", "--untracked-files=all", ".")
        return {line[3:].strip('"') for line in listed.splitlines()}

    def commit(self, message: str, *options: str) -> None:
        """Commit everything that git does not ignore, hooks and all."""
        self.run("git", "add", "--all", ".")
        self.run("git", "commit", "--quiet", *options, "--message", message)

    def hashes(self) -> dict[str, str]:
        """What dvc.lock says of every output: its path and its hash."""
        stages = yaml.safe_load((self.root / "dvc.lock").read_text())["stages"]
        return {out["path"]: out["md5"] for stage in stages.values() for out in stage["outs"]}

    def versions(self) -> str:
        """What `ops history` shows."""
        return self.run("uv", "run", "ops", "history")

    def warm(self, environment: Path | None = None) -> None:
        """Let an environment have the bytecode of those before it, lend its own, and preload it.

        Args:
            environment: where it lies, if not in the project.
        """
        own, store = environment or self.root / ".venv", Path(self.environment["BYTECODE"])
        with alone(store):
            lend(store, own)
            lend(own, store, every=True)
        preload(own / "bin", own / "bin" / "python")

    def install(self, environment: Path) -> Path:
        """Make an environment elsewhere that has what the project needs."""
        self.run("uv", "sync", "--quiet", UV_PROJECT_ENVIRONMENT=str(environment))
        self.warm(environment)
        return environment

    def menu(self) -> set[str]:
        """The targets that `make help` offers."""
        return set(re.findall(r"^  make ([a-z-]+) ", self.run("make", "help"), re.MULTILINE))


def interpreters() -> dict[str, Path]:
    """The Pythons of this machine that a project may choose, oldest first."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    found = {}
    for version in choices("python_version"):
        name = f"python{version}"
        on_path = [Path(folder) / name for folder in os.environ["PATH"].split(os.pathsep)]
        candidates = [*on_path, *sorted(pyenv.glob(f"versions/{version}.*/bin/{name}"))]
        for candidate in candidates:
            if candidate.exists() and works(candidate):
                found[version] = candidate
                break
    return found


def works(interpreter: Path) -> bool:
    """Whether it runs, and is no virtual environment (a shim of pyenv may do neither)."""
    code = "import sys, venv; sys.exit(sys.prefix != sys.base_prefix)"
    done = subprocess.run([interpreter, "-c", code], capture_output=True, check=False)
    return done.returncode == 0


def environment(folder: Path) -> dict[str, str]:
    """What a person's shell would hold: uv, git and Python, and none of the template's own tools.

    Everything that is costly and cannot leak from one project to another is shared: the package
    cache, mypy's cache. All else that a tool would keep in the home folder is in `folder`.
    """
    tools = folder / "bin"
    tools.mkdir(parents=True, exist_ok=True)
    uv = shutil.which("uv")
    assert uv, "uv comes with requirements.txt: run the tests by `make test`"
    for name in ("uv", "uvx"):
        if not (tools / name).exists():
            (tools / name).symlink_to(Path(uv).with_name(name))
    own = Path(uv).parent
    kept = [part for part in os.environ["PATH"].split(os.pathsep) if Path(part) != own]
    pythons = [str(path.parent) for path in interpreters().values() if path.parent != own]
    return {
        **os.environ,
        "PATH": os.pathsep.join([str(tools), *kept, *pythons]),
        "MYPY_CACHE_DIR": str(folder / "mypy"),
        "MPLCONFIGDIR": str(folder / "matplotlib"),
        "DVC_GLOBAL_CONFIG_DIR": str(folder / "dvc"),
        "DVC_SITE_CACHE_DIR": str(folder / "dvc-cache"),
        "PRE_COMMIT_HOME": str(folder / "pre-commit"),
        "BYTECODE": str(folder / "bytecode"),
    }


def all_passed(said: str) -> bool:
    """Whether pytest's last line tells of tests that passed, and of nothing else."""
    return bool(re.fullmatch(r"=* ?\d+ passed in .*", said.rstrip().splitlines()[-1]))


def asked(project: Project, *tests: str) -> str:
    """What pytest says of tests in `tests/ops` that are run with this project's package."""
    variables = {**os.environ, "PROJECT": str(project.root)}
    for name in ("PYTEST_XDIST_WORKER", "PYTHONPATH"):
        variables.pop(name, None)
    command = (sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-o")
    return run(
        *command,
        "addopts=--import-mode=importlib",
        *(str(ROOT / "tests" / "ops" / name) for name in tests),
        cwd=ROOT,
        env=variables,
    )


def orders(path: Path) -> None:
    """A spreadsheet as a shop might export it: separators, encoding, names and gaps are its own."""
    draw = random.Random(7)
    with path.open("w", encoding="cp1252", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(
            [
                "Order no.",
                "placed on",
                "Größe (cm)",
                "paid",
                "channel",
                "class",
                "note",
                "Kündigung?",
            ]
        )
        for number in range(600):
            size = draw.gauss(170, 12)
            unhappy = draw.random() < 0.3
            leaves = draw.random() < 1 / (1 + math.exp(4 - size / 60 - 3 * unhappy))
            rows.writerow(
                [
                    f"A-{number:05}",
                    (date(2024, 1, 1) + timedelta(days=number)).isoformat(),
                    "" if draw.random() < 0.1 else f"{size:.1f}",
                    draw.choice(["yes", "no"]),
                    draw.choice(["Web", "Café", "Télé", ""]),
                    draw.randrange(1, 4),
                    draw.choice(
                        ["slow and late", "broken; sent back"] if unhappy else ["", "“fine”"]
                    ),
                    "gone" if leaves else "stayed",
                ]
            )


MEASURED = {
    "fixed acidity": (8.3, 1.7, 1),
    "volatile acidity": (0.53, 0.18, 3),
    "citric acid": (0.27, 0.19, 2),
    "residual sugar": (2.5, 1.4, 1),
    "chlorides": (0.087, 0.047, 3),
    "free SO₂": (15.9, 10.5, 0),
    "total SO₂": (46.5, 32.9, 0),
    "density": (0.9967, 0.0019, 5),
    "pH": (3.31, 0.15, 2),
    "sulphates": (0.66, 0.17, 2),
    "alcohol % vol": (10.4, 1.07, 1),
}
"""What a laboratory measures of a wine: the mean, the spread, and how many decimals it writes."""


def wines(path: Path) -> None:
    """Marks of tasters, mostly 5 and 6, with gaps; wines of an estate belong together."""
    draw = random.Random(11)
    with path.open("w", encoding="utf-8") as file:
        for number in range(1500):
            lots = {name: draw.gauss(0, 1) for name in MEASURED}
            row: dict[str, Any] = {"id": number, "estate": f"estate {draw.randrange(60)}"}
            for name, (mean, spread, digits) in MEASURED.items():
                row[name] = round(max(mean / 9, mean + spread * lots[name]), digits)
            row["citric acid"] = row["citric acid"] if draw.random() < 0.95 else None
            row["oak"] = draw.random() < 0.5
            row["closure"] = draw.choice(["cork", "screw cap", None])
            good = lots["alcohol % vol"] - lots["volatile acidity"] + lots["sulphates"] + row["oak"]
            mark = min(9, max(3, round(5.4 + 0.4 * good + draw.gauss(0, 0.5))))
            row["quality"] = mark if draw.random() < 0.97 else None
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def answers(profile: Profile) -> dict[str, Any]:
    """The profile's answers, with a Python that this machine has."""
    present = list(interpreters())
    wanted = profile.answers["python_version"]
    version = wanted if wanted in present or not present else present[-1]
    return {**profile.answers, "python_version": version}


def begin(template: Template, profile: Profile, variables: Mapping[str, str], folder: Path) -> None:
    """Render a profile and do what its README says, up to a registered model and a commit.

    Then set it up once more, as somebody does who is not sure; what was said lies beside it.
    """
    folder.mkdir()
    if profile.inside:
        run("git", "init", "--quiet", cwd=folder)
    project = Project(template.render(folder / profile.folder, answers(profile)), variables)
    said = project.said
    said["setup"] = project.run("make", "setup")
    if profile.inside:  # the larger repository's people commit there, not `make setup`
        project.commit("Begin")
    if profile.data:
        said["test without data"] = project.run("make", "test")
        said["train without data"] = project.refuse("make", "train", code=2)
        orders(project.root / "orders.csv")
        wines(project.root / "wines.jsonl")
        said["data"] = project.run("uv", "run", "ops", "data", "use", *profile.data)
        for name in ("orders.csv", "wines.jsonl"):
            (project.root / name).unlink()
        change_params(project, SMALL)
    if profile.data or profile.inside:
        project.commit("Use our data")
    project.warm()
    said["train"] = project.run("make", "train")
    project.warm()
    said["changes"] = "\n".join(sorted(project.changes()))
    # What a training leaves is the same kind of files everywhere: the hooks look at it once.
    project.commit("Train", *([] if profile is PROFILES["sample"] else ["--no-verify"]))
    said["head"] = project.run("git", "rev-parse", "HEAD")
    project.run("make", "setup")
    (folder / SAID).write_text(json.dumps(said))


def kept(profile: Profile, folder: Path, variables: Mapping[str, str]) -> Project:
    """The project that `begin` left in a folder."""
    said = json.loads((folder / SAID).read_text())
    return Project(folder / profile.folder, variables, said)


def keep_to(project: Project, model: str) -> None:
    """Let a project train one model: the blend takes up to ten times as long."""
    change_params(project, {"model: blend": f"model: {model}"})


def change_params(project: Project, changes: Mapping[str, str]) -> None:
    """Replace what stands in `params.yaml`, once each."""
    params = project.root / "params.yaml"
    text = params.read_text()
    for old, new in changes.items():
        assert text.count(f"{old} ") + text.count(f"{old}\n") == 1, old
        text = text.replace(old, new)
    params.write_text(text)


def copied(project: Project, profile: Profile, folder: Path) -> Project:
    """A copy of a profile's project to change, with the environment of the one that it was.

    Args:
        project: as `trained` gives it.
        profile: its profile.
        folder: an empty one; a larger repository is copied as well.
    """
    around = project.root.parents[len(Path(profile.folder).parts) - 1]
    root = copy_tree(around, folder / "copy") / profile.folder
    shared = {"UV_PROJECT_ENVIRONMENT": str(project.root / ".venv"), "UV_NO_SYNC": "1"}
    return Project(root, {**project.environment, **shared}, project.said)


def apart(project: Project, root: Path) -> Project:
    """A copy of a project to change, its code too: it has an environment of its own."""
    copy = Project(copy_tree(project.root, root), project.environment)
    copy.run("uv", "sync", "--quiet")
    copy.warm()
    return copy


def copy_tree(source: Path, target: Path) -> Path:
    """Copy a project without its environments."""
    ignored = shutil.ignore_patterns(".venv*")
    return shutil.copytree(source, target, ignore=ignored, symlinks=True)


def lend(source: Path, target: Path, *, every: bool = False) -> None:
    """Let an environment have the bytecode of another, so that nothing is compiled twice.

    What is installed in both are links into one cache; where it is not, Python sees that bytecode
    is of another source, and compiles.

    Args:
        source: the one that has compiled.
        target: the one that need not.
        every: also of packages that the target has not.
    """
    for folder in source.glob("lib/python3.*/site-packages/**/__pycache__"):
        its = target / folder.relative_to(source)
        if every or its.parent.is_dir():
            its.mkdir(parents=True, exist_ok=True)
            for path in folder.glob("*.pyc"):
                if not (its / path.name).exists():
                    (its / path.name).hardlink_to(path)
