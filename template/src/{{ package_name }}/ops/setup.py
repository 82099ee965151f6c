"""`ops setup`: git, hooks and the first commit, each only where it is still missing."""

import shutil
import subprocess
from pathlib import Path

from .errors import UserError
from .project import Project


def run(project: Project) -> None:
    """Prepare the project's folder; a second run finds everything done.

    Raises:
        UserError: if git is missing, or refuses.
    """
    if shutil.which("git") is None:
        raise UserError("git is missing; install it first: https://git-scm.com/downloads")
    print(_repository(project.root))
    print(_first_commit(project))
    print(_hooks(project.root))


def _repository(root: Path) -> str:
    """Start a repository, unless the project lies in one."""
    if _git(root, "rev-parse", "--show-toplevel", check=False):
        return "git: here"
    _git(root, "init", "--quiet", "--initial-branch", "main")
    return "git: a new repository, on the branch main"


def _first_commit(project: Project) -> str:
    """Commit everything in a repository of the project's own that has no commit yet."""
    if not _owns_repository(project.root):
        return "first commit: yours to make, in the larger repository"
    if _git(project.root, "rev-parse", "--verify", "--quiet", "HEAD", check=False):
        return "first commit: made"
    author = project.metadata["authors"][0]
    identity: list[str] = []
    if not _git(project.root, "config", "user.name", check=False):
        identity += ["-c", f"user.name={author['name']}"]
    if not _git(project.root, "config", "user.email", check=False):
        identity += ["-c", f"user.email={author['email']}"]
    _git(project.root, "add", "--all")
    _git(project.root, *identity, "commit", "--quiet", "--message", f"Begin {project.name}")
    return "first commit: made just now"


def _hooks(root: Path) -> str:
    """Have git run `.pre-commit-config.yaml` before each commit, unless it has other hooks."""
    if not _owns_repository(root):
        return "hooks: left to the larger repository"
    if _git(root, "config", "core.hooksPath", check=False):
        return "hooks: left to core.hooksPath, which your git configuration sets"
    subprocess.run(["pre-commit", "install"], cwd=root, check=True, capture_output=True)
    return "hooks: installed"


def _owns_repository(root: Path) -> bool:
    """Whether the repository is the project's own, not a larger one around it."""
    return Path(_git(root, "rev-parse", "--show-toplevel")).resolve() == root


def _git(root: Path, *arguments: str, check: bool = True) -> str:
    """Ask git, and return what it prints; "" for a failure that is an answer (`check=False`).

    Raises:
        UserError: if git fails and `check` is set, with git's own last line.
    """
    done = subprocess.run(["git", *arguments], cwd=root, capture_output=True, text=True)
    if check and done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise UserError(f"git {arguments[0]} failed: {' '.join(reason)}")
    return done.stdout.strip() if done.returncode == 0 else ""
