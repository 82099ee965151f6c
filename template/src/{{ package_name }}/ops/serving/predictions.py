"""The log of what was answered: JSON lines, in files that can be read whole at every moment.

A thread writes what has come together since its last turn, so that nobody who is answered waits
for a disk. Every writer has files of its own; `polars.scan_ndjson(folder / "*.jsonl")` reads those
of all writers as one dataset, while they write and after they were killed.
"""

import logging
import os
import secrets
import sys
import threading
from collections import deque
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from io import SEEK_END, FileIO
from pathlib import Path
from typing import NamedTuple

logger = logging.getLogger("service")

PAGE = 4096
"""Bytes that a system shows, keeps and loses together: the smallest page of its memory."""

MIB = 1024**2

BATCH = 8 * MIB
"""Bytes that are written at once at most."""


class Chunk(NamedTuple):
    """Lines that came together, and how many rows they tell of."""

    lines: bytes
    rows: int


class PredictionLog:
    """A log in a folder, written by one process; its threads may share it.

    Lines are in a file within `flush_seconds`, and what is there outlives its process. While a
    disk is full or read-only, lines wait in memory; when more wait than may, the oldest are
    dropped, and counted. A file ends with its day (UTC), or when it has its size.

    Attributes:
        written: how many rows are in files.
        dropped: how many rows are lost.
        failing: whether the last attempt to write failed.
    """

    def __init__(
        self,
        folder: Path,
        flush_seconds: float = 1.0,
        rotate_bytes: int = 64 * MIB,
        most_bytes: int = 64 * MIB,
    ) -> None:
        """Begin; the folder and its files are made when there is something to write.

        Args:
            folder: where the files lie, those of other processes too.
            flush_seconds: how long a line waits; a process that is killed loses no more.
            rotate_bytes: no file grows longer, unless it holds a single longer chunk.
            most_bytes: how much may wait while nothing can be written.
        """
        self.written = 0
        self.dropped = 0
        self.failing = False
        self._folder = folder
        self._seconds = flush_seconds
        self._rotate = rotate_bytes
        self._most = most_bytes
        self._waiting: deque[Chunk] = deque()
        self._bytes = 0
        self._segment: Segment | None = None
        self._latest = datetime.min.replace(tzinfo=UTC)
        self._token = secrets.token_hex(4)
        self._mended = False
        self._closed = False
        self._appending = threading.Lock()
        self._writing = threading.Lock()
        self._due = threading.Event()
        self._thread = threading.Thread(target=self._run, name="prediction log", daemon=True)
        self._thread.start()

    def append(self, lines: bytes, rows: int) -> None:
        r"""Add whole lines, each with its "\n", that tell of so many rows; no disk is touched."""
        with self._appending:
            if self._closed:
                self.dropped += rows
                return
            self._waiting.append(Chunk(lines, rows))
            self._bytes += len(lines)
            self._drop()
            plenty = self._bytes > self._most // 4
        if plenty and not self.failing:
            self._due.set()

    def flush(self) -> None:
        """Write what waits, now. What the disk refuses goes on waiting."""
        with self._writing:
            try:
                self._write()
            except OSError as error:
                if not self.failing:
                    said = "%s cannot be written: %s. Rows wait in memory, %d MiB of them at most."
                    logger.warning(said, self._folder, error.strerror, self._most // MIB)
                self.failing = True

    def close(self) -> None:
        """Write what waits, and end. What the disk refuses now is dropped."""
        with self._appending:
            self._closed = True
        self._due.set()
        self._thread.join()
        self.flush()
        with self._writing, self._appending:
            self._end()
            self.dropped += sum(chunk.rows for chunk in self._waiting)
            self._waiting.clear()
            self._bytes = 0

    def _run(self) -> None:
        while not self._closed:
            self.flush()
            self._due.wait(self._seconds)
            self._due.clear()

    def _drop(self) -> None:
        """Forget the oldest lines until no more wait than may."""
        while self._bytes > self._most and self._waiting:
            oldest = self._waiting.popleft()
            self._bytes -= len(oldest.lines)
            self.dropped += oldest.rows

    def _write(self) -> None:
        """Write until nothing waits.

        Raises:
            OSError: as soon as the disk refuses; what was not written waits again.
        """
        if not self._mended:
            self._mended = True
            mend(self._folder)
        while self._waiting:
            segment = self._current()
            batch, text = self._batch(segment.size)
            if not batch:
                self._end()
                continue
            try:
                segment.append(text)
            except OSError:
                self._give_back(batch)
                raise
            with self._appending:
                self._bytes -= sum(len(chunk.lines) for chunk in batch)
            self.written += sum(chunk.rows for chunk in batch)
            if self.failing:
                logger.info("%s can be written again.", self._folder)
            self.failing = False

    def _batch(self, size: int) -> tuple[list[Chunk], bytes]:
        """The oldest chunks, as many as go into a file that has this size, and how they lie there.

        An empty file takes one of any length.
        """
        most = min(self._rotate, size + BATCH)
        batch: list[Chunk] = []
        texts: list[bytes] = []
        while chunk := self._oldest():
            text = paged(chunk.lines, size)
            if size and size + len(text) > most:
                self._give_back([chunk])
                break
            batch.append(chunk)
            texts.append(text)
            size += len(text)
        return batch, b"".join(texts)

    def _oldest(self) -> Chunk | None:
        """Take the chunk that waits longest; its bytes count until they are written."""
        with self._appending:
            return self._waiting.popleft() if self._waiting else None

    def _give_back(self, batch: list[Chunk]) -> None:
        """Let chunks wait again, before all others."""
        with self._appending:
            self._waiting.extendleft(reversed(batch))
            self._drop()

    def _current(self) -> "Segment":
        """The file to write to: the one at hand, unless its day is over or it is gone.

        Raises:
            OSError: if no file can be made.
        """
        now = datetime.now(UTC)
        if self._segment and not (self._segment.day == now.date() and self._segment.resume()):
            self._end()
        if self._segment is None:
            # Names sort by time, and are told apart even where the clock is set back.
            self._latest = max(now, self._latest + timedelta(microseconds=1))
            self._folder.mkdir(parents=True, exist_ok=True)
            name = f"{self._latest:%Y%m%dT%H%M%S.%fZ}-{self._token}.jsonl"
            self._segment = Segment(self._folder / name, now)
        return self._segment

    def _end(self) -> None:
        """Leave the file at hand."""
        if self._segment:
            self._segment.close()
            self._segment = None


class Segment:
    """One file of a log. Its writer holds a lock on it, which tells others that it lives."""

    def __init__(self, path: Path, now: datetime) -> None:
        """Make a new file.

        Raises:
            OSError: if that is not possible.
        """
        self.path = path
        self.day = now.date()
        self.size = 0
        self._file = FileIO(path, "x", opener=_create)
        lock(self._file)  # a file system that knows no locks lets nobody mend either

    def resume(self) -> bool:
        """Make ready for more; False if the path leads to this file no longer.

        Raises:
            OSError: if what an earlier attempt left cannot be cut off.
        """
        try:
            own = os.fstat(self._file.fileno())
            if not os.path.samestat(self.path.stat(), own):
                return False
        except OSError:
            return False
        if own.st_size > self.size:
            self._file.truncate(self.size)
        self.size = min(own.st_size, self.size)  # somebody may have emptied it
        return True

    def append(self, text: bytes) -> None:
        """Write all of a text, or nothing.

        Raises:
            OSError: if the disk refuses.
        """
        rest = memoryview(text)
        try:
            while rest:
                rest = rest[self._file.write(rest) :]
            os.fsync(self._file.fileno())
        except OSError:
            with suppress(OSError):
                self._file.truncate(self.size)
            raise
        self.size += len(text)

    def close(self) -> None:
        """Let the file go; one that nothing could be written to is removed."""
        with suppress(OSError):
            self._file.close()
        if self.size == 0:
            with suppress(OSError):
                self.path.unlink()


def moment() -> str:
    """Now, as logs write it: ISO 8601, in UTC."""
    return datetime.now(UTC).isoformat()


def paged(lines: bytes, offset: int) -> bytes:
    """Lay lines out for a file from an offset on, so that readers never see half of one.

    What is appended appears page by page, and a write that is cut short is cut there too. So no
    line that fits into a page lies across two: blanks before it, which JSON allows, fill up the
    page in which it has no room. A line longer than a page is left as it is.
    """
    parts = []
    for line in lines.splitlines(keepends=True):
        room = -offset % PAGE
        if room < len(line) <= PAGE:
            parts.append(b" " * room)
            offset += room
        parts.append(line)
        offset += len(line)
    return b"".join(parts)


def mend(folder: Path) -> None:
    """Cut half a line off every file in a folder whose writer is dead."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError), FileIO(path, "r+") as file:
            if lock(file, patient=False):
                whole = _whole(file)
                if whole < file.seek(0, SEEK_END):
                    file.truncate(whole)


def _whole(file: FileIO) -> int:
    """The length of a file up to the end of its last whole line."""
    end = file.seek(0, SEEK_END)
    while end:
        start = max(0, end - 16 * PAGE)
        file.seek(start)
        found = file.read(end - start).rfind(b"\n")
        if found >= 0:
            return start + found + 1
        end = start
    return 0


def _create(path: str, flags: int) -> int:
    """Open a file that only its owner writes to, and that strangers do not read."""
    return os.open(path, flags | os.O_APPEND, 0o640)


if sys.platform == "win32":
    import msvcrt

    def lock(file: FileIO, patient: bool = True) -> bool:
        """Lock a file until it is closed, or say that another process has."""
        file.seek(1 << 62)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_LOCK if patient else msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def lock(file: FileIO, patient: bool = True) -> bool:
        """Lock a file until it is closed, or say that another process has."""
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | (0 if patient else fcntl.LOCK_NB))
        except OSError:
            return False
        return True
