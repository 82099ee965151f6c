"""What is slow to make is made once for all processes of a run."""

from __future__ import annotations

import fcntl
import shutil
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest


MEMORY, ROOM = Path("/dev/shm"), 4 * 2**30  # noqa: S108  each folder in it is made by mkdtemp
"""A file system in memory, and the bytes that must be free there."""


def memory() -> Path | None:
    """Where files that come and go by the thousand cost little; None if there is no such place."""
    return MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM else None


def common(factory: pytest.TempPathFactory) -> Path:
    """The folder of this run, which all its processes share."""
    folder = factory.getbasetemp()
    return folder.parent if folder.name.startswith("popen-") else folder


def once(folder: Path, make: Callable[[Path], object]) -> Path:
    """A folder that the first process to ask for it makes, while all others wait.

    If making it fails, the next one that asks tries again, from nothing.
    """
    done = folder.with_name(f"{folder.name}.done")
    with alone(folder):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


@contextmanager
def alone(path: Path) -> Iterator[None]:
    """Let one process at a time do something with a path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(f"{path.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
