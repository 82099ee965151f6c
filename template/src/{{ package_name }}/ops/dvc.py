"""DVC, as a program of this environment: what a person would type, from the project's folder."""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from .command import NOTHING, output
from .errors import UserError

COMMAND = (sys.executable, "-m", "dvc")


def ask(root: Path, *arguments: str) -> str:
    """What a command of DVC prints; a UserError with its reason if it fails."""
    return output(root, *COMMAND, *arguments, name=f"`dvc {' '.join(arguments)}`")


def run(
    root: Path,
    *arguments: str,
    keep: Sequence[int] = (),
    variables: Mapping[str, str] = NOTHING,
    command: Sequence[str] = COMMAND,
) -> bool:
    """Run a command of DVC in view of the person; give whether it succeeded.

    Stages find `ops` also where nobody put this environment on the PATH. Descriptors to `keep` stay
    open until DVC ends, locks among them; `command` is DVC itself, if not this environment's.
    """
    own = str(Path(sys.executable).parent)
    path = os.pathsep.join([own, os.environ.get("PATH", os.defpath)])
    sys.stdout.flush()
    try:
        done = subprocess.run(
            [*command, *arguments],
            cwd=root,
            env={**os.environ, "PATH": path, **variables},
            pass_fds=() if sys.platform == "win32" else tuple(keep),
            check=False,
        )
    except FileNotFoundError:
        raise UserError(f"{command[0]} is missing; run `uv run ops doctor`.") from None
    return done.returncode == 0
