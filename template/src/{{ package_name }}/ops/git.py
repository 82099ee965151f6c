"""What git knows about the project; nothing is an error, for a project may be without git."""

import getpass
import os
import subprocess
from pathlib import Path
from tempfile import TemporaryDirectory

PRODUCED = ("dvc.lock", "reports")
"""What a training itself writes among the committed files."""

SOURCES = ("src", "data", "params.yaml", "dvc.yaml", "pyproject.toml", "uv.lock", ".dvc/config")
"""What decides what a training makes, as far as git may know it."""


def output(root: Path, *arguments: str) -> str | None:
    """What `git ARGUMENTS` prints in `root`; None if git is absent or refuses."""
    try:
        done = subprocess.run(
            ["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def content(root: Path, name: str, revision: str = "HEAD") -> bytes | None:
    """What a file of `root` holds in a revision; None if it is not there."""
    command = ["git", "-C", str(root), "show", f"{revision}:./{name}"]
    try:
        done = subprocess.run(command, capture_output=True, check=False)
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def commit(root: Path) -> str | None:
    """The hash of the last commit; None if there is none."""
    return output(root, "rev-parse", "--verify", "--quiet", "HEAD")


def dirty(root: Path) -> bool:
    """Whether the project holds changes that no commit has, besides what a training produces."""
    others = [f":(exclude){name}" for name in PRODUCED]
    return bool(output(root, "status", "--porcelain", "--", ".", *others))


def changes(root: Path) -> bytes | None:
    """What the sources have that the last commit has not, as a patch; None if that is nothing.

    New files count. Git's own index and objects stay as they are.
    """
    objects = output(root, "rev-parse", "--git-path", "objects")
    if objects is None or commit(root) is None:
        return None
    present = [name for name in SOURCES if (root / name).exists()]
    with TemporaryDirectory() as folder:
        environment = {
            **os.environ,
            "GIT_INDEX_FILE": str(Path(folder, "index")),
            "GIT_OBJECT_DIRECTORY": folder,
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str((root / objects).resolve()),
        }
        patch = b""
        for arguments in (
            ("read-tree", "HEAD"),
            ("add", "--all", "--", *present),
            ("diff", "--cached", "--binary", "--relative", "HEAD", "--", *SOURCES),
        ):
            command = ["git", "-C", str(root), *arguments]
            done = subprocess.run(command, env=environment, capture_output=True, check=False)
            if done.returncode != 0:
                return None
            patch = done.stdout
    return patch or None


def person(root: Path) -> str:
    """Who is at work: git's user name, else the account's."""
    name = output(root, "config", "user.name")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
