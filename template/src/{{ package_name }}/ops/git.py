"""What git knows about the project; nothing is an error, for a project may be without git."""

import getpass
import os
from collections.abc import Mapping
from pathlib import Path

from . import command
from .errors import UserError

RENDERED = (
    *("*.py", "*.j2", "*.html", "*.md", "*.ipynb", "*.toml", "*.y*ml", "*.lock", "*.dvc"),
    *("*file", "monitoring", ".copier-answers.yml", ".git*", ".dvc/config"),
)
"""What a clone needs, as git matches paths."""


def raw(
    root: Path,
    *arguments: str,
    given: bytes | None = None,
    variables: Mapping[str, str] = command.NOTHING,
) -> bytes | None:
    """What `git ARGUMENTS` writes in `root`, see `command.raw`; None if git is absent or fails."""
    try:
        return command.raw(root, "git", *arguments, given=given, variables=variables)
    except UserError:
        return None


def output(root: Path, *arguments: str) -> str | None:
    """The same as text, without blanks around it."""
    written = raw(root, *arguments)
    return None if written is None else os.fsdecode(written).strip()


def content(root: Path, name: str, revision: str = "HEAD") -> bytes | None:
    """What a file of `root` holds in a revision; None if it is not there."""
    return raw(root, "show", f"{revision}:./{name}")


def top(root: Path) -> Path | None:
    """The folder of the repository; None if there is none.

    Raises:
        UserError: if it belongs to another account, and git does not look into it.
    """
    try:
        return Path(command.output(root, "git", "rev-parse", "--show-toplevel")).resolve()
    except command.CommandError as error:
        cure = error.words.strip().splitlines()[-1].strip()
        if "safe.directory" not in cure:
            return None
        raise UserError(f"Another account owns this; if you trust it, run `{cure}`.") from None


def left_out(root: Path) -> list[str]:
    """Files of the project that only a person's own gitignore keeps out of git."""
    listed = [
        set((output(root, "ls-files", "--others", "-z", known, "--", *RENDERED) or "").split("\0"))
        for known in ("--exclude-per-directory=.gitignore", "--exclude-standard")
    ]
    return sorted(listed[0] - listed[1])


def commit(root: Path) -> str | None:
    """The hash of the last commit; None if there is none."""
    return output(root, "rev-parse", "--verify", "--quiet", "HEAD")


def branch(root: Path) -> str:
    """The branch at work; before there is one, what a new repository of this person begins with."""
    at_work = output(root, "branch", "--show-current")
    return at_work or output(root, "config", "init.defaultBranch") or "main"


def person(root: Path) -> str:
    """Who is at work: git's user name, else the account's."""
    return output(root, "config", "user.name") or getpass.getuser()
