"""What git knows about the project; nothing is an error, for a project may be without git."""

import getpass
import os
from collections.abc import Mapping
from pathlib import Path

from . import command
from .errors import UserError


def raw(
    root: Path,
    *arguments: str,
    given: bytes | None = None,
    variables: Mapping[str, str] = command.NOTHING,
) -> bytes | None:
    """What `git ARGUMENTS` writes in `root`, see `command.raw`; None if git is absent or refuses."""
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


def commit(root: Path) -> str | None:
    """The hash of the last commit; None if there is none."""
    return output(root, "rev-parse", "--verify", "--quiet", "HEAD")


def person(root: Path) -> str:
    """Who is at work: git's user name, else the account's."""
    name = output(root, "config", "user.name")
    if name:
        return name
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
