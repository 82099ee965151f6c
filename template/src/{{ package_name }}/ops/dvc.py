"""DVC, as a program of this environment: what a person would type, from the project's folder."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from .errors import UserError

COMMAND = (sys.executable, "-m", "dvc")


def add(root: Path, path: str) -> None:
    """Have DVC keep the file at `path`.

    Raises:
        UserError: if DVC refuses, with its reason.
    """
    done = _done(root, "add", path)
    if done.returncode != 0:
        raise UserError(f"DVC cannot keep {path}: {reason(done.stderr)}")


def ask(root: Path, *arguments: str) -> str:
    """What a command of DVC prints.

    Raises:
        UserError: if it fails, with its reason.
    """
    done = _done(root, *arguments)
    if done.returncode != 0:
        raise UserError(f"`dvc {arguments[0]}` fails: {reason(done.stderr)}")
    return done.stdout.strip()


def run(
    root: Path,
    *arguments: str,
    keep: Sequence[int] = (),
    variables: Mapping[str, str] = MappingProxyType({}),
    command: Sequence[str] = COMMAND,
) -> bool:
    """Run a command of DVC in view of the person; give whether it succeeded.

    Args:
        root: the project's folder.
        arguments: of DVC.
        keep: descriptors of files that stay open until DVC ends, locks among them.
        variables: of the environment, beside those that are there.
        command: DVC itself, if not this environment's.

    Raises:
        UserError: if there is no such command.
    """
    inherited = () if sys.platform == "win32" else tuple(keep)
    sys.stdout.flush()
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=root,
            env={**environment(), **variables},
            pass_fds=inherited,
            check=False,
        )
    except FileNotFoundError:
        raise UserError(f"{command[0]} is missing; run `uv run ops doctor`.") from None
    return done.returncode == 0


def environment() -> Mapping[str, str]:
    """The environment, in which stages find `ops` also where nobody put it on the PATH."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)])}


def reason(said: str) -> str:
    """The first line of why DVC ended, from what it wrote to stderr."""
    return (said.partition("ERROR: ")[2] or said).strip().partition("\n")[0]


def _done(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *arguments]
    return subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
