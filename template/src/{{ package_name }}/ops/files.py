"""Writing without ever leaving a half-written file: aside first, then one rename."""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a path beside `path` to write to; it takes the place of `path` if nothing failed.

    What is written may be a file or a folder. On an error the original stays as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    _remove(aside)
    try:
        yield aside
        if path.exists() and (path.is_dir() or aside.is_dir()):
            retired = path.with_name(f".{path.name}.{os.getpid()}.old")
            path.rename(retired)
            aside.rename(path)
            _remove(retired)
        else:
            aside.replace(path)
    finally:
        _remove(aside)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, aside and then renamed."""
    with replacing(path) as aside:
        aside.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as JSON that is the same, byte for byte, whenever the value is."""
    write_text(path, _json(value))


def write_files(folder: Path, files: Mapping[str, Any]) -> None:
    """Write a folder of files by name, as one: bytes and text as they are, all else as JSON."""
    with replacing(folder) as aside:
        aside.mkdir()
        for name, content in files.items():
            text = content if isinstance(content, bytes | str) else _json(content)
            data = text.encode() if isinstance(text, str) else text
            (aside / name).parent.mkdir(parents=True, exist_ok=True)
            (aside / name).write_bytes(data)


def read_json(path: Path, absent: Any = None) -> Any:
    """Read what `write_json` wrote; what is `absent`, if that is told and there is no such file."""
    return json.loads(path.read_text("utf-8")) if absent is None or path.exists() else absent


def flat(value: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """The values of nested data under dotted names; what is empty is a value."""
    items = value.items() if isinstance(value, Mapping) else enumerate(value)
    for key, item in items:
        inner = f"{place}.{key}" if place else str(key)
        if isinstance(item, Mapping | list) and item:
            yield from flat(item, inner)
        else:
            yield inner, item


def remove(path: Path) -> None:
    """Let a file or folder be gone, at once for whoever looks."""
    if path.exists():
        retired = path.with_name(f".{path.name}.{os.getpid()}.old")
        path.rename(retired)
        _remove(retired)


def sha256(path: Path) -> str:
    """The digest of a file, or of the files in a folder, one after the other."""
    made = hashlib.sha256()
    for part in sorted(path.iterdir()) if path.is_dir() else [path]:
        with part.open("rb") as file:
            hashlib.file_digest(file, lambda: made)
    return made.hexdigest()


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def lock(file: FileIO, wait: bool = False) -> bool:
    """Lock a file until it is closed, or say that another process has."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(1 << 62)
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        return False
    return True
