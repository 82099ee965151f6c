"""`ops doctor`: what is amiss on this machine and in this project, and what to do about it.

It must work where nothing else does, so it imports only the standard library; what needs more is
asked last, and says so if it cannot be loaded.
"""

import ast
import configparser
import json
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from . import git, template
from .errors import UserError
from .project import Project
from .template import ANSWERS

PATIENCE = 60
"""Seconds that a tool may take to answer."""

ENOUGH_DISK = 3 * 2**30
"""Bytes that an environment and a first training take, with room to spare."""

ANSWER = re.compile(r"^(\w+): (.*)$", re.MULTILINE)
"""A line of the answers, which Copier writes flat."""

ANCHOR = "^[[:space:]]*# project-specific"
"""The line that parts a shared file, as git looks for it."""

RELIED = {
    "params.yaml": "and every stage reads it",
    "Makefile": "and the pipelines call it",
    ".gitignore": "and without it git takes data in",
    "README.md": "and pyproject.toml names it",
    "LICENSE": "and pyproject.toml names it",
}
"""Files besides modules without which something fails: path and reason."""

RESOLVE = "resolve it, then `git add`"

INSTALL_GIT = "install it: https://git-scm.com/downloads"
INSTALL_UV = "install it: https://docs.astral.sh/uv/getting-started/installation"


@dataclass(frozen=True)
class Finding:
    """One line of the report; a remedy makes it something to mend."""

    subject: str
    state: str
    remedy: str = ""


def run() -> None:
    """Print what was found.

    Raises:
        UserError: if this is no project, or something is to be mended.
    """
    project = Project.find()
    findings = []
    for check in CHECKS:
        for finding in check(project):
            findings.append(finding)
            mark = "mend" if finding.remedy else "ok"
            remedy = f"; {finding.remedy}" if finding.remedy else ""
            print(f"{mark:<8} {finding.subject:<12} {finding.state}{remedy}", flush=True)
    amiss = dict.fromkeys(finding.subject for finding in findings if finding.remedy)
    if amiss:
        raise UserError(f"mend {', '.join(amiss)}; each line above says how.")
    print("All is well.")


def layout(project: Project) -> Iterator[Finding]:
    """The files that the code of `ops` relies on, and the answers that they follow from."""
    answers = _answers(project.root)
    found = [*_contradictions(project, answers)]
    for path, reason in {**RELIED, **_imported(project)}.items():
        if not (project.root / path).exists():
            kept = git.content(project.root, path) is not None
            where = f"`git restore {path}`" if kept else f"`git log --diff-filter=D -- {path}`"
            remedy = f"bring it back: {where}{'' if kept else ' names the commit that took it'}"
            found.append(Finding("layout", f"{path} is not here, {reason}", remedy))
    yield from found or [Finding("layout", f"whole, as {ANSWERS} has it")]


def _answers(root: Path) -> dict[str, str]:
    """What was answered when the project was rendered, as text; empty if that is nowhere."""
    path = root / ANSWERS
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return {name: value.strip("'\"") for name, value in ANSWER.findall(text)}


def _contradictions(project: Project, answers: Mapping[str, str]) -> Iterator[Finding]:
    """Answers that the files belie."""
    if not answers:
        yield Finding("layout", f"{ANSWERS} is not here", f"run `git restore {ANSWERS}`")
    for name, answer in answers.items():
        folder = project.package / "ops" / name
        if answer in ("true", "false") and folder.is_dir() != (answer == "true"):
            state = "is there" if folder.is_dir() else "is not there"
            path = folder.relative_to(project.root).as_posix()
            yield Finding(
                "layout",
                f"{ANSWERS} says {name}: {answer}, and {path} {state}",
                "restore what git has of both, then let Copier change the answer",
            )
    held = {
        "package_name": project.package.name,
        "python_version": _text(project.root / ".python-version"),
    }
    for name, value in held.items():
        if name in answers and answers[name] != value:
            yield Finding(
                "layout",
                f"{ANSWERS} says {name}: {answers[name]}, and the project has {value or 'none'}",
                "restore what git has of both, then let Copier change the answer",
            )


def _imported(project: Project) -> dict[str, str]:
    """Every module of the project that `ops` imports: its path, and which module needs it."""
    found: dict[str, str] = {}
    for path in sorted((project.package / "ops").rglob("*.py")):
        try:
            tree = ast.parse(path.read_text(encoding="utf-8"))
        except (SyntaxError, UnicodeDecodeError):
            continue  # `make check` tells of that
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.level:
                module = path.parents[node.level - 1].joinpath(*(node.module or "").split("."))
                for needed in _files(module, [alias.name for alias in node.names]):
                    name = needed.relative_to(project.root).as_posix()
                    found.setdefault(name, f"and {path.relative_to(project.root)} imports it")
    return found


def _files(module: Path, names: Iterable[str]) -> Iterator[Path]:
    """The files that `from module import names` reads, as far as their places are certain."""
    if not module.is_dir():
        yield module.with_name(f"{module.name}.py")
        return
    own = _text(module / "__init__.py")
    for name in names:
        if name not in own and not (module / name).is_dir():
            yield module / f"{name}.py"


def ownership(project: Project) -> Iterator[Finding]:
    """What was done to the files that an update merges, as far as git tells without the template.

    The commit that brought the last update, or the render, is the one that wrote the answers.
    """
    root = project.root
    found = [
        Finding("ownership", f"{path} has a conflict that an update left", f"{RESOLVE} `{path}`")
        for path in template.conflicts(root)
    ]
    commit = git.output(root, "log", "-1", "--format=%H", "--", ANSWERS) or ""
    now = _anchors(root)
    for path, count in _anchors(root, commit).items() if commit else ():
        if (root / path).is_file() and now.get(path, 0) < count:
            found.append(
                Finding(
                    "ownership",
                    f"{path} lacks a line `# project-specific`, below which yours never conflicts",
                    f"put it where `git show {commit[:7]}:./{path}` has it",
                )
            )
    yield from found
    kept = (f"src/{project.package.name}/ops", "tests/ops", "docs/ops", "dvc.yaml")
    changes = git.output(root, "diff", "--name-only", "--relative", commit, "--", *kept)
    if commit and changes:
        named = ", ".join(changes.splitlines())
        yield Finding(
            "ownership", f"changed since the last update: {named} (`make template-check`)"
        )
    elif not found:
        yield Finding("ownership", "what is kept current is as the last update left it")


def _anchors(root: Path, *commit: str) -> dict[str, int]:
    """How many lines part each shared file, in a commit or here."""
    counts = git.output(root, "grep", "--count", "-E", ANCHOR, *commit, "--", ".") or ""
    parted = (line.rsplit(":", 2) for line in counts.splitlines())
    return {path: int(count) for *_, path, count in parted}


def tools(project: Project) -> Iterator[Finding]:
    """The two programs that everything begins with."""
    del project
    for name, remedy in (("git", INSTALL_GIT), ("uv", INSTALL_UV)):
        if shutil.which(name) is None:
            yield Finding(name, "is not on the PATH", remedy)
            continue
        asked = _ask(name, "--version")
        if asked.returncode == 0:
            yield Finding(name, asked.stdout.strip())
        else:
            yield Finding(name, f"does not run: {_reason(asked)}", remedy)


def python(project: Project) -> Iterator[Finding]:
    """The interpreter of the project."""
    wanted = (project.root / ".python-version").read_text(encoding="utf-8").strip()
    running = platform.python_version()
    if running.startswith(f"{wanted}."):
        yield Finding("python", running)
    else:
        yield Finding("python", f"{running} runs here, not {wanted}", "run `make setup`")


def environment(project: Project) -> Iterator[Finding]:
    """The lock, and whether what is installed follows it."""
    if shutil.which("uv") is None:
        return
    locked = (project.root / "uv.lock").exists()
    checked = _ask("uv", "lock", "--check" if locked else "--dry-run", cwd=project.root)
    if checked.returncode == 0:
        state, remedy = ("is current", "") if locked else ("is not there", "run `make setup`")
        yield Finding("lock", f"uv.lock {state}", remedy)
    elif "missing an upload date" in checked.stderr:
        yield Finding(
            "lock",
            "the package index tells no upload times, and exclude-newer in pyproject.toml needs "
            "them",
            "use an index that does, or take exclude-newer out",
        )
    elif "needs to be updated" in checked.stderr:
        yield Finding("lock", "uv.lock does not fit pyproject.toml", "run `uv lock`")
    else:
        yield Finding("lock", f"uv cannot tell: {_reason(checked)}", "mend that, and ask again")
    if not locked:
        return
    synced = _ask("uv", "sync", "--check", "--frozen", cwd=project.root)
    if synced.returncode == 0:
        yield Finding("environment", "has what uv.lock names")
    else:
        yield Finding("environment", "does not have what uv.lock names", "run `uv sync`")


def repository(project: Project) -> Iterator[Finding]:
    """Git: a repository, a person, hooks."""
    root = project.root
    if shutil.which("git") is None:
        return
    top = git.output(root, "rev-parse", "--show-toplevel")
    if top is None:
        yield Finding("repository", "the project is in no git repository", "run `make setup`")
        return
    commit = git.commit(root)
    if commit is None:
        yield Finding("repository", "has no commit yet", "run `make setup`")
    else:
        yield Finding("repository", f"at commit {commit[:7]}")
    for key, example in (("user.name", "Your Name"), ("user.email", "you@example.org")):
        value = git.output(root, "config", key)
        remedy = "" if value else f'run `git config --global {key} "{example}"`'
        yield Finding(key, value or "git does not know it", remedy)
    hook = git.output(root, "rev-parse", "--git-path", "hooks/pre-commit") or ""
    if git.output(root, "config", "core.hooksPath"):
        yield Finding("hooks", "left to core.hooksPath of your git configuration")
    elif Path(top).resolve() != root:
        yield Finding("hooks", "left to the larger repository")
    elif (root / hook).is_file():
        yield Finding("hooks", "installed")
    else:
        yield Finding("hooks", "are not installed", "run `make setup`")


def storage(project: Project) -> Iterator[Finding]:
    """DVC: initialised, with a remote, and with the files that it keeps for the project."""
    folder = project.root / ".dvc"
    if not (folder / "config").is_file():
        yield Finding(
            "dvc", "has no .dvc/config here", "run `git restore .dvc`, or `uv run dvc init`"
        )
        return
    yield Finding("dvc", "is set up")
    url = remote(project)
    if not url:
        yield Finding("remote", "DVC has none", "run `uv run dvc remote add --default NAME URL`")
    elif "://" in url:
        yield Finding("remote", f"{url} (not tried: `make pull` does)")
    elif _can_write(folder / url):
        yield Finding("remote", f"the folder {(folder / url).resolve()}")
    else:
        yield Finding("remote", f"{folder / url} cannot be written", "mend `url` in .dvc/config")
    tracked = [file.with_suffix("") for file in sorted(project.data.rglob("*.dvc"))]
    absent = [file.relative_to(project.root) for file in tracked if not file.exists()]
    if absent:
        named = ", ".join(file.as_posix() for file in absent)
        yield Finding("data", f"{named} is not here", "run `make pull`")
    else:
        yield Finding("data", "every file under DVC is here")


def remote(project: Project) -> str:
    """Where DVC pushes to: a URL, or a folder seen from `.dvc`; empty if nowhere."""
    folder = project.root / ".dvc"
    # DVC quotes a section's name whenever it holds a space: ['remote "storage"'].
    settings = configparser.ConfigParser(interpolation=None)
    settings.read([folder / "config", folder / "config.local"], encoding="utf-8")
    name = settings.get("core", "remote", fallback="")
    return settings.get(f"'remote \"{name}\"'", "url", fallback="")


def contract(project: Project) -> Iterator[Finding]:
    """The user's own half: schema and parameters."""
    try:
        from . import contract as contracts
        from .settings import Settings

        Settings.load(project.params)
        loaded = contracts.load()
    except ImportError as error:
        yield Finding("contract", f"cannot be read without {error.name}", "run `make setup`")
    except UserError as error:
        yield Finding("contract", "cannot be used", str(error))
    else:
        state = f"{len(loaded.columns)} columns; {loaded.target.name} is the target"
        yield Finding("contract", f"{state} of a {loaded.task}")


def registry(project: Project) -> Iterator[Finding]:
    """Where models are registered, and the one that is champion."""
    from .registry import tracking

    address = tracking.address(project)
    try:
        tracking.reach(address)
    except UserError as error:
        yield Finding("registry", "is out of reach", str(error))
    else:
        yield Finding("registry", tracking.presentable(address))
    try:
        manifest = json.loads((project.champion / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        yield Finding("champion", "there is none in models/champion", "run `make train`")
    else:
        yield Finding("champion", f"{manifest['model']['kind']}, in models/champion")


def disk(project: Project) -> Iterator[Finding]:
    """Room for an environment and a training."""
    free = shutil.disk_usage(project.root).free
    remedy = "" if free >= ENOUGH_DISK else f"make room: {ENOUGH_DISK / 2**30:.0f} GiB are needed"
    yield Finding("disk", f"{free / 2**30:.1f} GiB free", remedy)


CHECKS: tuple[Callable[[Project], Iterator[Finding]], ...] = (
    tools,
    layout,
    ownership,
    python,
    disk,
    environment,
    repository,
    storage,
    contract,
    registry,
)


def _ask(*command: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a tool; one that does not come back in time counts as failed."""
    try:
        return subprocess.run(
            command,
            cwd=cwd,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            env={**os.environ, "UV_HTTP_RETRIES": "0"},
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"no answer in {PATIENCE} seconds")


def _text(path: Path) -> str:
    """What a file says, without the space around it; empty if there is none."""
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _reason(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line.strip() for line in done.stderr.splitlines()]
    errors = [line for line in lines if line.startswith(("error:", "cause:"))]
    return next(iter((errors or lines)[-1:]), "no reason given").removeprefix("error: ")


def _can_write(folder: Path) -> bool:
    """Whether the folder, or the nearest one above that is there, takes new files."""
    nearest = next(place for place in (folder, *folder.parents) if place.exists())
    return nearest.is_dir() and os.access(nearest, os.W_OK)
