"""Programs beside this one that must succeed."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .errors import UserError

SIGNS = ("fatal: ", "ERROR: ", "error: ")
"""How a program begins the line that says why it ends, the surest first."""

PLAIN = (
    *(f"color.{what}=false" for what in ("ui", "diff", "grep", "status")),
    *("commit.gpgSign=false", "push.gpgSign=false", "push.followTags=false"),
    *("core.quotePath=false", "core.safecrlf=false", "grep.fullName=false"),
    *("log.showSignature=false", "status.showUntrackedFiles=normal", "submodule.recurse=false"),
)
"""What a person may have told git for their own eyes and habits; every call of it is without, also
those of programs that are called here."""

NOTHING: Mapping[str, Any] = MappingProxyType({})


class CommandError(UserError):
    """A program failed: with what `code`, and in which `words`."""

    def __init__(self, program: str, code: int, words: str) -> None:
        """Say which, and why."""
        lines = words.strip().splitlines() or ["it does not say why"]
        found = [it for sign in SIGNS for line in lines for it in line.split(sign)[1:]]
        self.code, self.words = code, words
        super().__init__(f"{program} failed: {(found or lines[-1:])[0]}")


def settings(*more: str) -> dict[str, str]:
    """Variables that give git the settings of `PLAIN`, and more, whoever calls it."""
    begin = int(os.environ.get("GIT_CONFIG_COUNT") or 0)
    given = {"GIT_CONFIG_COUNT": str(begin + len(PLAIN) + len(more))}
    for number, setting in enumerate((*PLAIN, *more), begin):
        key, _, value = setting.partition("=")
        given |= {f"GIT_CONFIG_KEY_{number}": key, f"GIT_CONFIG_VALUE_{number}": value}
    return given


def raw(
    root: Path,
    *command: str,
    name: str = "",
    given: bytes | None = None,
    variables: Mapping[str, str] = NOTHING,
    timeout: float | None = None,
) -> bytes:
    """What a command writes.

    Args:
        root: the folder that it runs in.
        command: the program and its arguments.
        name: what an error calls it, if not by the program.
        given: what it reads, if anything.
        variables: of the environment, beside those that are there.
        timeout: seconds after which it counts as failed.

    Raises:
        UserError: if there is no such program; a `CommandError` if it fails.
    """
    name, environment = name or command[0], {**os.environ, **settings(), **variables}
    if command[0] == "git":
        environment["LC_ALL"] = "C"
    try:
        done = subprocess.run(
            command,
            cwd=root,
            input=given,
            env=environment,
            capture_output=True,
            timeout=timeout,
            check=False,
        )
    except OSError:
        raise UserError(f"{command[0]} is not on the PATH; install it first.") from None
    except subprocess.TimeoutExpired:
        raise CommandError(name, 1, f"no answer in {timeout:.0f} seconds") from None
    if done.returncode != 0:
        words = done.stderr.strip() or done.stdout
        raise CommandError(name, done.returncode, words.decode(errors="replace"))
    return done.stdout


def output(
    root: Path,
    *command: str,
    name: str = "",
    variables: Mapping[str, str] = NOTHING,
    timeout: float | None = None,
) -> str:
    """The same as text, without blanks around it."""
    written = raw(root, *command, name=name, variables=variables, timeout=timeout)
    return os.fsdecode(written).strip()
