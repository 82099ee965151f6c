"""One retraining at a time, and all of it or nothing.

What a retraining may change is laid aside, where DVC and git do not look, before anything is. While
an index lies there too, the retraining has not ended: on an error everything is put back at once,
and after a kill by the next command. Data files are laid aside as further names of the same files,
which costs no room, for pipeline and DVC exchange files and never write into them.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any

from .. import git
from ..errors import UserError
from ..files import lock, read_json, remove, replacing, write_json
from ..project import Project

INDEX, LOCK = "index.json", "dvc.lock"


@contextmanager
def alone(project: Project) -> Iterator[int]:
    """Hold the lock of retraining, and yield its descriptor.

    A pipeline that inherits the descriptor holds the lock too: should this process be killed, the
    next one does not begin before that pipeline has ended. A UserError if another process has it.
    """
    path = project.laid_aside.with_suffix(".lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileIO(path, "a+") as file:
        if not lock(file):
            raise UserError(
                f"Another `ops retrain` is at work, process {path.read_text().strip() or 'unknown'}"
                " (if that one was killed, the pipeline that it had begun): wait for its end."
            )
        file.truncate(0)
        file.write(str(os.getpid()).encode())
        yield file.fileno()


def recover(project: Project) -> bool:
    """Put everything back as it was before a retraining that was killed; say whether one was."""
    begun = (project.laid_aside / INDEX).exists()
    if begun:
        _restore(project)
    return begun


@contextmanager
def reversible(project: Project, made: Iterable[Path]) -> Iterator[None]:
    """Undo everything if the block fails, now or, should it be killed, by `recover`.

    The block may change the pipeline's outputs, contract and lock, and make the files in `made`.
    """
    root, folder = project.root, project.laid_aside
    shutil.rmtree(folder, ignore_errors=True)
    paths = [
        *(project.raw, project.valid, project.quarantine, project.train, project.holdout),
        *(project.candidate, project.bundle, project.reports, project.schema, root / LOCK),
        *made,
    ]
    names = [path.relative_to(root).as_posix() for path in paths]
    there = [name for name in names if (root / name).exists()]
    for name in there:
        _copy(root / name, folder / name)
    index = {
        "changed": there,
        "made": [name for name in names if name not in there],
        "staged": git.output(root, "ls-files", "--stage", "--full-name", "--", LOCK),
    }
    write_json(folder / INDEX, index)
    try:
        yield
    except BaseException:
        _restore(project)
        raise
    _end(folder)


def _copy(path: Path, destination: Path) -> None:
    """Copy a file or a folder; what is never written into is not doubled."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, destination, copy_function=_copy_file)
    else:
        _copy_file(path, destination)


def _copy_file(path: str | Path, destination: str | Path) -> None:
    if Path(path).suffix == ".parquet":
        with suppress(OSError):
            os.link(path, destination)
            return
    shutil.copyfile(path, destination)


def _restore(project: Project) -> None:
    """Put back what is laid aside; a kill in between leaves nothing that this cannot do."""
    root, folder = project.root, project.laid_aside
    index: dict[str, Any] = read_json(folder / INDEX)
    for name in index["made"]:
        remove(root / name)
    for name in index["changed"]:
        if (folder / name).exists():  # a journal of 0.4.0 names what was not there, too
            with replacing(root / name) as aside:
                _copy(folder / name, aside)
    _unstage(root, index)
    _end(folder)


def _unstage(root: Path, index: dict[str, Any]) -> None:
    """Take back what DVC has told git to commit."""
    git.raw(root, "update-index", "--force-remove", "--", LOCK, *index["made"])
    git.raw(root, "update-index", "--index-info", given=(index["staged"] or "").encode())


def _end(folder: Path) -> None:
    """Forget what was there before."""
    (folder / INDEX).unlink()
    shutil.rmtree(folder)
