"""A log of JSON lines, written by a thread: nobody who is answered waits for a disk.

Every writer has files of its own, so `polars.scan_ndjson(folder / "*.jsonl")` reads those of all
writers as one dataset, while they write too. Half a line that a crash has left at the end of a
file is passed over by the monitor, and cut off by the next writer that starts.
"""

import logging
import mmap
import os
import secrets
import threading
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import FileIO
from pathlib import Path

from ..files import lock

logger = logging.getLogger("service")

PAGE = 4096
"""Bytes that a system shows, keeps and loses together: the smallest page of its memory."""

MIB = 1024**2

BATCH = 8 * MIB
"""As soon as this many bytes have come together, they are written."""

LONG_AGO = datetime.min.replace(tzinfo=UTC)

CLOSE_SECONDS = 5.0
"""How long the end waits for a disk."""


@dataclass(eq=False)
class Log:
    """A log in a folder, written by one process; its threads may share it.

    Lines are in a file within `flush_seconds`, and what is there outlives its process. While a
    disk is full or read-only, lines wait in memory; when more wait than may, the oldest are
    dropped, and counted.
    """

    folder: Path  # where the files lie, those of other processes too
    flush_seconds: float = 1.0  # how long a line waits; a process that is killed loses no more
    rotate_bytes: int = 64 * MIB  # a file that has this size gets no more lines
    most_bytes: int = 64 * MIB  # how much may wait while nothing can be written
    written = dropped = 0  # rows that are in files, and that are lost
    failing = False  # whether the last attempt to write failed

    def __post_init__(self) -> None:
        """Begin; the folder and its files are made when there is something to write."""
        self._files = Files(self.folder, self.rotate_bytes)
        self._waiting = deque[tuple[bytes, int]]()  # lines, and how many rows they tell of
        self._bytes = 0
        self._closed = False
        self._appending, self._writing = threading.Lock(), threading.Lock()
        self._due = threading.Event()
        self._thread = threading.Thread(
            target=self._run, name=f"log {self.folder.name}", daemon=True
        )
        self._thread.start()

    def append(self, lines: bytes, rows: int) -> None:
        r"""Add whole lines, each with its "\n", that tell of so many rows; no disk is touched."""
        with self._appending:
            if self._closed:
                self.dropped += rows
                return
            self._waiting.append((lines, rows))
            self._bytes += len(lines)
            self._drop()
        if self._bytes > BATCH and not self.failing:
            self._due.set()

    def flush(self) -> None:
        """Write what waits, now. What the disk refuses goes on waiting."""
        with self._writing:
            with self._appending:
                batch, self._waiting = self._waiting, deque()  # its bytes count until then
            if not batch:
                return
            lines = b"".join(lines for lines, _ in batch)
            try:
                self._files.append(lines)
            except OSError as error:
                with self._appending:
                    self._waiting.extendleft(reversed(batch))
                    self._drop()
                self._fails(error.strerror)
                return
            with self._appending:
                self._bytes -= len(lines)
            self.written += sum(rows for _, rows in batch)
            self._fails(None)

    def close(self) -> None:
        """Write what waits, and end. What the disk refuses, or takes too late, is dropped."""
        with self._appending:
            self._closed = True
        self._due.set()
        self._thread.join(CLOSE_SECONDS)
        with self._appending:
            self.most_bytes = 0
            self._drop()

    def _run(self) -> None:
        mend(self.folder)
        while not self._closed:
            self.flush()
            self._due.wait(self.flush_seconds)
            self._due.clear()
        self.flush()

    def _drop(self) -> None:
        """Forget the oldest lines until no more wait than may."""
        while self._bytes > self.most_bytes and self._waiting:
            lines, rows = self._waiting.popleft()
            self._bytes -= len(lines)
            self.dropped += rows

    def _fails(self, reason: str | None) -> None:
        """Note whether the disk refuses, and say so when that changes."""
        if reason and not self.failing:
            logger.warning("%s: %s. Rows wait in memory.", self.folder, reason)
        if self.failing and not reason:
            logger.info("%s can be written again.", self.folder)
        self.failing = reason is not None


class Files:
    """The files of one writer in a folder, one after the other; their names sort by time.

    Whoever empties one, or moves it away, is in nobody's way.
    """

    def __init__(self, folder: Path, rotate_bytes: int) -> None:
        """Begin a file for each day (UTC), and whenever the last one has its size."""
        self.folder = folder
        self._rotate_bytes = rotate_bytes
        self._writer = secrets.token_hex(4)
        self._begun = LONG_AGO
        self._path = folder

    def append(self, lines: bytes) -> None:
        """Write all of some lines, or nothing; an OSError if the disk refuses."""
        now = datetime.now(UTC)
        if now.date() > self._begun.date() or not self._path.exists():
            self._next(now)
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileIO(self._path, "a", opener=_private) as file:
            lock(file, wait=True)  # only for those who mend
            size = file.seek(0, os.SEEK_END)
            try:
                rest = memoryview(paged(lines, size))
                while rest:
                    rest = rest[file.write(rest) :]
                os.fsync(file.fileno())
            except OSError:
                begun, self._begun = self._begun, LONG_AGO
                file.truncate(size)  # should half a line be left, nothing is written behind it
                self._begun = begun
                raise
            if file.tell() >= self._rotate_bytes:
                self._next(now)

    def _next(self, now: datetime) -> None:
        """Leave the file at hand for another; names rise even where the clock is set back."""
        self._begun = max(now, self._begun + timedelta(microseconds=1))
        self._path = self.folder / f"{self._begun:%Y%m%dT%H%M%S.%fZ}-{self._writer}.jsonl"


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
    """Cut half a line off every file in a folder that nobody is writing to."""
    for path in folder.glob("*.jsonl"):
        with suppress(OSError, ValueError), FileIO(path, "r+") as file:
            size = file.seek(0, os.SEEK_END)
            if size and lock(file):
                with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                    whole = content.rfind(b"\n") + 1
                if whole < size:
                    file.truncate(whole)


def _private(path: str, flags: int) -> int:
    """Open a file that only its owner writes to, and that strangers do not read."""
    return os.open(path, flags, 0o640)
