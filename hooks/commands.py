"""What the scripts do alike: run programs, ask git, end with a sentence."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from pathlib import Path

PATIENCE = 1800  # seconds, after which a command has hung
SECRET = re.compile(r"(\w+://)[^/\s]*@")

# Nobody is there to type a password, and nothing large is needed; what is said is English.
UNATTENDED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
    "LC_ALL": "C.UTF-8",
}

# What a person may have set otherwise, for all that they do with git.
PLAIN = (
    *(f"color.{what}=false" for what in ("ui", "branch", "diff", "grep", "status")),
    "commit.cleanup=whitespace",
    "commit.gpgSign=false",
    "core.hooksPath=/dev/null",
    "core.quotePath=false",
    "diff.mnemonicPrefix=false",
    "diff.noprefix=false",
    "diff.relative=false",
    "log.showSignature=false",
    "merge.conflictStyle=merge",
    "push.gpgSign=false",
    "status.showUntrackedFiles=normal",
    "submodule.recurse=false",
)


class UserError(Exception):
    """A mistake that the user can mend: sentences that say what is wrong and what to do."""


class CommandError(UserError):
    """A program failed.

    Attributes:
        code: what it ended with.
    """

    def __init__(self, message: str, code: int = 1) -> None:
        """Say why, without credentials."""
        super().__init__(public(message))
        self.code = code


def public(text: str) -> str:
    """A text without the credentials of the URLs in it."""
    return SECRET.sub(r"\1", text)


def raw(
    *command: str | Path,
    cwd: Path,
    env: Mapping[str, str] | None = None,
    given: bytes = b"",
    codes: Container[int] = (0,),
) -> bytes:
    """What a command writes.

    Args:
        command: the program and its arguments.
        cwd: where it runs.
        env: variables beside those that are there.
        given: what it reads.
        codes: what it may end with.
    """
    name = str(command[0])
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **UNATTENDED, **(env or {})},
            input=given,
            capture_output=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{name} did not end within {PATIENCE} s") from error
    if done.returncode not in codes:
        words = done.stderr.strip() or done.stdout.strip() or b"it does not say why"
        raise CommandError(words.decode(errors="replace").splitlines()[-1], done.returncode)
    return done.stdout


def copier(*arguments: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> None:
    """Let Copier do something, with the defaults of what it would ask."""
    command = (sys.executable, "-W", "ignore", "-m", "copier", *arguments)
    raw(*command, "--defaults", "--quiet", cwd=cwd, env=env)


def raw_git(
    root: Path, *arguments: str | Path, given: bytes = b"", codes: Container[int] = (0,)
) -> bytes:
    """What a git command writes, whatever a person has set; for the rest see `raw`."""
    settings = (part for setting in PLAIN for part in ("-c", setting))
    return raw("git", *settings, *arguments, cwd=root, given=given, codes=codes)


def git(
    root: Path, *arguments: str | Path, given: bytes = b"", codes: Container[int] = (0,)
) -> str:
    """The same as text."""
    return raw_git(root, *arguments, given=given, codes=codes).decode("utf-8", "surrogateescape")


def paths(root: Path, command: str, *arguments: str | Path) -> list[str]:
    """The paths that a git command lists."""
    return git(root, command, "-z", *arguments).split("\0")[:-1]


def unmerged(root: Path) -> list[str]:
    """The paths that git could not merge."""
    return sorted({entry.partition("\t")[2] for entry in paths(root, "ls-files", "--unmerged")})


def ends(name: str, work: Callable[[], int]) -> NoReturn:
    """Do what was asked for, and end with its exit code; with 2 and a sentence at a mistake."""
    try:
        sys.exit(work())
    except UserError as error:
        for line in str(error).splitlines():
            print(f"{name}: {line}", file=sys.stderr)
        sys.exit(2)
