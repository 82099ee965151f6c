"""What git knows about the project; nothing is an error, for a project may be without git."""

import getpass
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType


def raw(
    root: Path,
    *arguments: str,
    given: bytes | None = None,
    variables: Mapping[str, str] = MappingProxyType({}),
) -> bytes | None:
    """What `git ARGUMENTS` writes in `root`; None if git is absent or refuses.

    Args:
        root: a folder of the repository.
        arguments: of git.
        given: what git reads, if anything.
        variables: of the environment, beside those that are there.
    """
    command = ["git", "-C", str(root), *arguments]
    environment = {**os.environ, **variables}
    try:
        done = subprocess.run(
            command, input=given, env=environment, capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


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
