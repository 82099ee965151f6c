"""`ops doctor`: what is amiss on this machine and in this project, and what to do about it.

It must work where nothing else does, so it imports only the standard library; what needs more is
asked last, and says so if it cannot be loaded.
"""

import configparser
import os
import platform
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from . import command, git, template
from .errors import UserError
from .project import Project
from .template import ANSWERS
from .wording import one_line

PATIENCE = 60  # seconds that a tool may take to answer
TOOLS = {
    "git": "https://git-scm.com/downloads",
    "uv": "https://docs.astral.sh/uv/getting-started/installation",
}
"""The two programs that everything begins with, and where they come from."""

RELIED = (
    *("src/*/ops/*.py", "src/*/ml/__init__.py", "src/*/ml/features.py", "src/*/ml/model.py"),
    *("src/*/ml/schema.py", "src/*/ml/source.py", "params.yaml", "Makefile", ".gitignore"),
    *("README.md", "LICENSE"),
)
"""Files without which something fails, as git matches paths."""

CURES = {
    "missing an upload date": "use an index that tells upload times, or take exclude-newer out",
    "initialize cache": "set UV_CACHE_DIR to a folder that you own",
}
"""What to do about a lock, by a part of what uv says of it."""


@dataclass(frozen=True)
class Finding:
    """One line of the report; a remedy makes it something to mend."""

    subject: str
    state: str
    remedy: str = ""


Check = Callable[[Project], Iterator[Finding]]


def judged(subject: str, good: object, state: str, fault: str, remedy: str) -> Finding:
    """What is told where something is as it should be, and where it is not."""
    return Finding(subject, state) if good else Finding(subject, fault, remedy)


def run() -> None:
    """Print what was found; a UserError if this is no project, or something is to be mended."""
    project = Project.find()
    amiss = []
    for finding in (finding for check in CHECKS for finding in found(check, project)):
        mark, remedy = ("mend", f"; {finding.remedy}") if finding.remedy else ("ok", "")
        print(f"{mark:<8} {finding.subject:<12} {finding.state}{remedy}", flush=True)
        amiss += [finding.subject] if finding.remedy else []
    if amiss:
        raise UserError(f"mend {', '.join(dict.fromkeys(amiss))}; each line above says how.")
    print("All is well.")


def found(check: Check, project: Project) -> Iterator[Finding]:
    """What a check finds, or what it cannot go on without: a library, or what a person mends."""
    try:
        yield from check(project)
    except ImportError as error:
        yield Finding(check.__name__, f"cannot be read without {error.name}", "run `make setup`")
    except UserError as error:
        yield Finding(check.__name__, "cannot be used", str(error))


def tools(project: Project) -> Iterator[Finding]:
    """The programs that everything begins with."""
    for name, page in TOOLS.items():
        fault = _fault(project, name, "--version")
        yield judged(name, not fault, "runs", fault, f"install it: {page}")


def layout(project: Project) -> Iterator[Finding]:
    """What the code of `ops` relies on, as the last update, or the render, brought it."""
    root, path = project.root, project.root / ANSWERS
    for name in _gone(root):
        remedy = f"bring it back: `git checkout {_last_update(root)} -- {name}`"
        yield Finding("layout", f"{name} is not here, and something fails without it", remedy)
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    answers = dict(re.findall(r"^(\w+): ['\"]?(.*?)['\"]?$", text, re.MULTILINE))
    held = {"package_name": project.package.name, "python_version": _python_version(project)}
    for name, value in held.items():
        state = f"{name} is {value}, as {ANSWERS} has it"
        fault = f"{ANSWERS} says {name}: {answers.get(name)}, and the project has {value}"
        remedy = "restore both from git, or let both say the same"
        yield judged("layout", answers.get(name) == value, state, fault, remedy)


def ownership(project: Project) -> Iterator[Finding]:
    """Files in which an update left a conflict."""
    for name in template.conflicts(project.root):
        remedy = f"resolve it, then `git add {name}`"
        yield Finding("ownership", f"{name} has a conflict that an update left", remedy)


def python(project: Project) -> Iterator[Finding]:
    """The interpreter of the project."""
    wanted, running = _python_version(project), platform.python_version()
    fault = f"{running} runs here, not {wanted}"
    yield judged("python", running.startswith(f"{wanted}."), running, fault, "run `make setup`")


def environment(project: Project) -> Iterator[Finding]:
    """The lock, and whether what is installed follows it."""
    if shutil.which("uv") is None:
        return
    locked = (project.root / "uv.lock").exists()
    fault = _fault(project, "uv", "lock", "--check" if locked else "--dry-run")
    cure = next((cure for sign, cure in CURES.items() if sign in fault), "run `uv lock`")
    yield judged("lock", not fault, "fits pyproject.toml", one_line(fault), cure)
    if locked:
        fault = _fault(project, "uv", "sync", "--check", "--frozen")
        state, lacking = "has what uv.lock names", "does not have what uv.lock names"
        yield judged("environment", not fault, state, lacking, "run `uv sync`")
    else:
        yield Finding("environment", "uv.lock is not there", "run `make setup`")


def repository(project: Project) -> Iterator[Finding]:
    """Git: a repository, a person, hooks."""
    root = project.root
    if shutil.which("git") is None:
        return
    top = git.top(root)
    if top is None:
        yield Finding("repository", "the project is in none", "run `make setup`")
        return
    commit, setup = git.commit(root), "run `make setup`"
    if names := git.left_out(root):
        state = f"your own gitignore keeps {', '.join(names)} out"
        yield Finding("repository", state, setup)
    yield judged("repository", commit, f"at commit {commit}", "has no commit yet", setup)
    for key, example in (("user.name", "Your Name"), ("user.email", "you@example.org")):
        value = git.output(root, "config", key)
        remedy = f'run `git config --global {key} "{example}"`'
        yield judged(key, value, str(value), "git does not know it", remedy)
    hook = git.output(root, "rev-parse", "--git-path", "hooks/pre-commit") or ""
    if top != root or git.output(root, "config", "core.hooksPath"):
        yield Finding("hooks", "left to the larger repository, or to core.hooksPath")
    else:
        yield judged("hooks", (root / hook).is_file(), "installed", "are not installed", setup)


def storage(project: Project) -> Iterator[Finding]:
    """DVC: initialised, with a remote, and with the files that it keeps for the project."""
    folder, url = project.root / ".dvc", remote(project)
    if not (folder / "config").is_file():
        yield Finding("dvc", "has no .dvc/config here", "run `git restore .dvc`")
    elif not url:
        yield Finding("remote", "DVC has none", "run `uv run dvc remote add --default NAME URL`")
    elif "://" in url:
        yield Finding("remote", f"{url} (not tried: `make pull` does)")
    else:
        place = folder / url
        nearest = next(it for it in (place, *place.parents) if it.exists())
        writable = nearest.is_dir() and os.access(nearest, os.W_OK)
        state, fault = f"the folder {place.resolve()}", f"{place} cannot be written"
        yield judged("remote", writable, state, fault, "mend `url` in .dvc/config")
    kept = [file.with_suffix("") for file in sorted(project.data.rglob("*.dvc"))]
    absent = [file.relative_to(project.root).as_posix() for file in kept if not file.exists()]
    state, fault = "every file under DVC is here", f"{', '.join(absent)} is not here"
    yield judged("data", not absent, state, fault, "run `make pull`")


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
    from . import contract as contracts
    from .settings import Settings

    Settings.load(project.params)
    known = contracts.load()
    state = f"{len(known.columns)} columns; {known.target.name} is the target of a {known.task}"
    yield Finding("contract", state)


def registry(project: Project) -> Iterator[Finding]:
    """Where models are registered."""
    from .registry import tracking

    address = tracking.address(project)
    tracking.reach(address)
    yield Finding("registry", tracking.presentable(address))


CHECKS: tuple[Check, ...] = (
    *(tools, layout, ownership, python, environment, repository, storage, contract, registry),
)


def _python_version(project: Project) -> str:
    """The Python that the project asks for."""
    path = project.root / ".python-version"
    return path.read_text(encoding="utf-8").strip() if path.is_file() else "none"


def _last_update(root: Path) -> str:
    """The commit that brought the last update, or the render: the one that wrote the answers."""
    return git.output(root, "log", "-1", "--format=%h", "--", ANSWERS) or ""


def _gone(root: Path) -> list[str]:
    """Files that something relies on, and that were deleted since.

    None while an update is under way: its changes are not known from the project's own.
    """
    commit = _last_update(root)
    if not commit or git.output(root, "status", "--porcelain", "--", ANSWERS):
        return []
    asked = ("--no-renames", "--name-only", "--relative", "--diff-filter=D", commit, "--", *RELIED)
    return (git.output(root, "diff", *asked) or "").splitlines()


def _fault(project: Project, *asked: str) -> str:
    """What a tool says where it fails, or has no answer in time; empty if it succeeds."""
    try:
        variables = {"UV_HTTP_RETRIES": "0"}
        command.output(project.root, *asked, variables=variables, timeout=PATIENCE)
    except UserError as error:
        return getattr(error, "words", "") or str(error)
    return ""
