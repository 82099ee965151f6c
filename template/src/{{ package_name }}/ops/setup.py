"""`ops setup`: repository, first commit and hooks, each only where it is still missing.

DVC needs nothing done: `.dvc` came with the project.
"""

import shutil
import subprocess
from pathlib import Path

from . import git
from .errors import UserError
from .project import Project


def run(project: Project) -> None:
    """Prepare the project's folder; a second run finds everything done.

    Raises:
        UserError: if git is missing, or refuses.
    """
    if shutil.which("git") is None:
        raise UserError("git is missing; install it first: https://git-scm.com/downloads")
    print(f"repository: {_repository(project.root)}")
    print(f"first commit: {_first_commit(project)}")
    print(f"hooks: {_hooks(project.root)}")


def _repository(root: Path) -> str:
    """Start a repository, unless the project lies in one."""
    if _top(root) is not None:
        return "there" if _top(root) == root else "a larger one around the project"
    _do(root, "git", "init", "--quiet", "--initial-branch", "main")
    return "begun, on the branch main"


def _first_commit(project: Project) -> str:
    """Commit everything, if the repository is the project's own and has no commit yet.

    Where git does not know who is at work, the author is the one that pyproject.toml names.
    """
    root = project.root
    if _top(root) != root:
        return "left to you, in the larger repository"
    if git.commit(root) is not None:
        return "there"
    author = project.metadata["authors"][0]
    identity = [
        option
        for key in ("name", "email")
        if not git.output(root, "config", f"user.{key}")
        for option in ("-c", f"user.{key}={author[key]}")
    ]
    _do(root, "git", "add", "--all")
    _do(root, "git", *identity, "commit", "--quiet", "--message", f"Begin {project.name}")
    return "made"


def _hooks(root: Path) -> str:
    """Have git run `.pre-commit-config.yaml` before each commit, unless it has other hooks."""
    if _top(root) != root:
        return "left to the larger repository"
    if git.output(root, "config", "core.hooksPath"):
        return "left to core.hooksPath of your git configuration"
    _do(root, "pre-commit", "install")
    return "there"


def _top(root: Path) -> Path | None:
    """The folder of the repository that the project lies in."""
    top = git.output(root, "rev-parse", "--show-toplevel")
    return None if top is None else Path(top).resolve()


def _do(root: Path, *command: str) -> None:
    """Run a command that must succeed.

    Raises:
        UserError: if it fails, with what it says.
    """
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise UserError(f"{command[0]} failed: {said[-1] if said else 'it does not say why'}")
