"""Programs beside this one that must succeed."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType

from .errors import UserError

SIGNS = ("fatal: ", "ERROR: ", "error: ")
"""How a program begins the line that says why it ends, the surest first."""


class CommandError(UserError):
    """A program failed.

    Attributes:
        code: what it ended with.
        words: all that it said of that.
        reason: the line of it that says why.
    """

    def __init__(self, program: str, code: int, words: str) -> None:
        """Say which, and why."""
        lines = words.strip().splitlines() or ["it does not say why"]
        found = [it for sign in SIGNS for line in lines for it in line.split(sign)[1:]]
        self.code, self.words, self.reason = code, words, (found or lines[-1:])[0]
        super().__init__(f"{program} failed: {self.reason}")


def output(
    root: Path,
    *command: str,
    variables: Mapping[str, str] = MappingProxyType({}),
    timeout: float | None = None,
) -> str:
    """What a command prints.

    Args:
        root: the folder that it runs in.
        command: the program and its arguments.
        variables: of the environment, beside those that are there.
        timeout: seconds after which it counts as failed.

    Raises:
        CommandError: if it fails.
        UserError: if there is no such program.
    """
    try:
        done = subprocess.run(
            command,
            cwd=root,
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
            check=True,
            timeout=timeout,
        )
    except FileNotFoundError:
        raise UserError(f"{command[0]} is not on the PATH; install it first.") from None
    except subprocess.TimeoutExpired:
        raise CommandError(command[0], 1, f"no answer in {timeout:.0f} seconds") from None
    except subprocess.CalledProcessError as error:
        words = error.stderr.strip() or error.stdout
        raise CommandError(command[0], error.returncode, words) from None
    return done.stdout.strip()
