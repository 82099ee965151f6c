"""Environments of contenders: each has its own packages."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

from render import run

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


def environment(folder: Path, wanted: Sequence[str], python: Path) -> Path:
    """The Python of an environment with some packages; made anew if they changed."""
    stamp, made = folder / "packages", folder / "bin" / "python"
    if not stamp.exists() or stamp.read_text() != str(wanted):
        shutil.rmtree(folder, ignore_errors=True)
        run("uv", "--quiet", "venv", "--python", python, folder, cwd=folder.parent)
        run("uv", "--quiet", "pip", "install", "--python", made, *wanted, cwd=folder.parent)
        stamp.write_text(str(wanted))
    return made
