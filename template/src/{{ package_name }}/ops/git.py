"""What git knows about the project; nothing is an error, for a project may be without git."""

import getpass
import subprocess
from pathlib import Path

PRODUCED = ("dvc.lock", "reports")
"""What a training itself writes among the committed files."""


def output(root: Path, *arguments: str) -> str | None:
    """What `git ARGUMENTS` prints in `root`; None if git is absent or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def commit(root: Path) -> str | None:
    """The hash of the last commit; None if there is none."""
    return output(root, "rev-parse", "--verify", "--quiet", "HEAD")


def dirty(root: Path) -> bool:
    """Whether the project holds changes that no commit has, besides what a training produces."""
    others = [f":(exclude){name}" for name in PRODUCED]
    return bool(output(root, "status", "--porcelain", "--", ".", *others))


def person(root: Path) -> str:
    """Who is at work: git's user name, else the account's."""
    name = output(root, "config", "user.name")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
