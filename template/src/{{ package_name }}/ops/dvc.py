"""DVC, as a program of this environment: what a person would type, from the project's folder."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .errors import UserError

COMMAND = (sys.executable, "-m", "dvc")


def add(root: Path, path: str) -> None:
    """Have DVC keep the file at `path`.

    Raises:
        UserError: if DVC refuses, with its reason.
    """
    done = subprocess.run(
        [*COMMAND, "add", path], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise UserError(f"DVC cannot keep {path}: {reason(done.stderr)}")


def run(root: Path, *arguments: str, keep: Sequence[int] = ()) -> bool:
    """Run a command of DVC in view of the person; give whether it succeeded.

    Args:
        root: the project's folder.
        arguments: of DVC.
        keep: descriptors of files that stay open until DVC ends, locks among them.
    """
    inherited = () if sys.platform == "win32" else tuple(keep)
    sys.stdout.flush()
    done = subprocess.run(
        [*COMMAND, *arguments], cwd=root, env=environment(), pass_fds=inherited, check=False
    )
    return done.returncode == 0


def environment() -> Mapping[str, str]:
    """The environment, in which stages find `ops` also where nobody put it on the PATH."""
    own = str(Path(sys.executable).parent)
    return {**os.environ, "PATH": os.pathsep.join([own, os.environ.get("PATH", os.defpath)])}


def reason(said: str) -> str:
    """The first line of why DVC ended, from what it wrote to stderr."""
    return (said.partition("ERROR: ")[2] or said).strip().partition("\n")[0]
