"""One retraining at a time, and all of it or nothing.

What a retraining may change is laid aside in `.dvc/tmp/retrain` before anything is, and that folder
appears by one rename. While it is there, the retraining has not ended: on an error everything is
put back at once, and after a kill by the next command. Data files are laid aside as further names
of the same files, which costs no room, for pipeline and DVC exchange files and never write into
them.
"""

import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any

from .. import git
from ..errors import UserError
from ..files import lock, read_json, replacing, write_json
from ..project import Project

INDEX = "index.json"


@contextmanager
def alone(project: Project) -> Iterator[int]:
    """Hold the lock of retraining, and yield its descriptor.

    A pipeline that inherits the descriptor holds the lock too: should this process be killed, the
    next one does not begin before that pipeline has ended.

    Raises:
        UserError: if another process holds it.
    """
    path = _folder(project).with_name("retrain.lock")
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
    folder = _folder(project)
    if not folder.exists():
        return False
    _restore(project, folder)
    return True


@contextmanager
def reversible(project: Project, made: Iterable[Path]) -> Iterator[None]:
    """Undo everything if the block fails, now or, should it be killed, by `recover`.

    Args:
        project: whose outputs, contract and lock of the pipeline the block may change.
        made: new files that it may make.
    """
    folder = _folder(project)
    aside = folder.with_name("retrain.aside")
    shutil.rmtree(aside, ignore_errors=True)
    aside.mkdir(parents=True)
    lock_file = project.root / "dvc.lock"
    changed = [*_outputs(project), project.schema, lock_file]
    for path in changed:
        if path.exists():
            _copy(path, aside / path.relative_to(project.root))
    index = {
        "changed": [path.relative_to(project.root).as_posix() for path in changed],
        "made": [path.relative_to(project.root).as_posix() for path in made],
        "staged": git.output(project.root, "ls-files", "--stage", "--", "dvc.lock"),
    }
    write_json(aside / INDEX, index)
    aside.rename(folder)
    try:
        yield
    except BaseException:
        _restore(project, folder)
        raise
    _end(folder)


def _folder(project: Project) -> Path:
    """Where what was there before lies; DVC and git do not look there."""
    return project.root / ".dvc" / "tmp" / "retrain"


def _outputs(project: Project) -> list[Path]:
    """What the pipeline makes."""
    data = [project.raw, project.valid, project.quarantine, project.train, project.holdout]
    return [*data, project.candidate, project.bundle, project.reports]


def _restore(project: Project, folder: Path) -> None:
    """Put back what lies in the folder; a kill in between leaves nothing that this cannot do."""
    index: dict[str, Any] = read_json(folder / INDEX)
    for name in index["made"]:
        (project.root / name).unlink(missing_ok=True)
    for name in index["changed"]:
        path, before = project.root / name, folder / name
        if before.exists():
            with replacing(path) as aside:
                _copy(before, aside)
        elif path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    _unstage(project.root, index)
    _end(folder)


def _unstage(root: Path, index: dict[str, Any]) -> None:
    """Take back what DVC has told git to commit."""
    git.output(root, "update-index", "--force-remove", "--", *index["made"])
    if index["staged"]:
        mode, digest, _ = index["staged"].split(maxsplit=2)
        git.output(root, "update-index", "--cacheinfo", f"{mode},{digest},{_inside(root)}dvc.lock")
    else:
        git.output(root, "update-index", "--force-remove", "--", "dvc.lock")


def _inside(root: Path) -> str:
    """The project's folder in its repository, which may be a larger one."""
    return git.output(root, "rev-parse", "--show-prefix") or ""


def _copy(path: Path, destination: Path) -> None:
    """Copy a file or a folder; what is never written into is not doubled."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir():
        shutil.copytree(path, destination)
    elif path.suffix == ".parquet":
        try:
            os.link(path, destination)
        except OSError:
            shutil.copyfile(path, destination)
    else:
        shutil.copyfile(path, destination)


def _end(folder: Path) -> None:
    """Forget what was there before; half of it must never be taken for the whole."""
    done = folder.with_name("retrain.done")
    shutil.rmtree(done, ignore_errors=True)
    folder.rename(done)
    shutil.rmtree(done)
