"""The log of predictions under kills, full disks, and readers that never wait."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import polars as pl
import pytest
from my_model.ops.serving import log as logs
from my_model.ops.serving.log import PAGE, Log

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

LONG = 3600.0
"""Seconds between two writes, so that a test decides itself when to write."""

SCHEMA = {"writer": pl.String, "id": pl.Int64, "text": pl.String}

WRITER = """
import json, signal, sys, time
from pathlib import Path
from my_model.ops.serving.log import Log

folder, writer, seconds, rotate, width, rows, most, pause = sys.argv[1:]
log = Log(Path(folder), float(seconds), int(rotate))
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(True))
number = 0
try:
    while number < int(most) and not ended:
        lines = []
        for _ in range(int(rows)):
            row = {"writer": writer, "id": number, "text": "x" * (number * 7919 % int(width))}
            lines.append(json.dumps(row) + "\\n")
            number += 1
        log.append("".join(lines).encode(), len(lines))
        print(number, log.written, time.monotonic(), flush=True)
        time.sleep(float(pause))
finally:
    log.close()
    print(number, log.written, time.monotonic(), flush=True)
"""
"""Logs numbered rows, and says after each chunk how many it has appended and written, and when."""

LIMITED = """
import json, resource, sys
from pathlib import Path
from my_model.ops.serving.log import Log

folder, most = sys.argv[1:]
log = Log(Path(folder), flush_seconds=3600, most_bytes=int(most))

def room(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def append(first, last):
    for number in range(first, last):
        row = {"writer": "limited", "id": number, "text": "x" * 500}
        log.append((json.dumps(row) + "\\n").encode(), 1)
        if number % 10 == 9:
            log.flush()

def say():
    print(json.dumps([log.written, log.dropped, log.failing]), flush=True)

room(50_000)
append(0, 50)
say()
append(50, 500)
say()
input()
room(resource.RLIM_INFINITY)
log.flush()
say()
append(500, 550)
log.close()
say()
"""
"""Logs while a file may not grow beyond a size, which the system says by a short write at first."""


TORN = """
import json, resource, signal, sys
from pathlib import Path
from my_model.ops.serving.log import Log

resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, 30_000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
folder, writer = sys.argv[1:]
log = Log(Path(folder), flush_seconds=3600)
for number in range(1000):
    row = {"writer": writer, "id": number, "text": "x" * 700}
    log.append((json.dumps(row) + "\\n").encode(), 1)
    if number % 10 == 9:
        log.flush()
"""
"""Logs until the system cuts a write short, and then ends the process."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "predictions"


@pytest.fixture
def start(folder: Path, tmp_path: Path) -> Iterator[Callable[..., Writer]]:
    """Starts processes that write; none outlives its test."""
    writers: list[Writer] = []

    def start(
        name: str,
        *,
        seconds: float = 0.05,
        rotate: int = 10**9,
        width: int = 2000,
        rows: int = 10,
        most: int = 10**9,
        pause: float = 0.001,
    ) -> Writer:
        said = tmp_path / f"{name}.txt"
        values = (folder, name, seconds, rotate, width, rows, most, pause)
        arguments = [str(value) for value in values]
        with said.open("wb") as file:
            process = subprocess.Popen([sys.executable, "-c", WRITER, *arguments], stdout=file)
        writers.append(Writer(process, said))
        return writers[-1]

    yield start
    for writer in writers:
        writer.process.kill()
        writer.process.wait()


class Writer:
    """A process that logs."""

    def __init__(self, process: subprocess.Popen[bytes], said: Path) -> None:
        self.process = process
        self._said = said

    def said(self) -> list[tuple[int, int, float]]:
        """How many rows were appended and written, and when, after each chunk."""
        lines = self._said.read_text().splitlines(keepends=True)
        whole = [line.split() for line in lines if line.endswith("\n")]
        return [(int(number), int(written), float(at)) for number, written, at in whole]

    def wait_for(self, written: int) -> None:
        """Wait until it says that so many rows are written."""
        deadline = time.monotonic() + 60
        while not any(done >= written for _, done, _ in self.said()):
            assert self.process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)


def read(folder: Path) -> dict[str, list[int]]:
    """The numbers of each writer, in the order of the files."""
    frame = pl.scan_ndjson(folder / "*.jsonl", schema=SCHEMA).collect()
    return {
        str(writer): rows["id"].to_list()
        for (writer,), rows in frame.group_by("writer", maintain_order=True)
    }


@contextmanager
def limited(
    folder: Path, most: int
) -> Iterator[tuple[Callable[[], list[int]], Callable[[], None]]]:
    """A process whose files cannot grow: hear what it counts, and let them grow again."""
    process = subprocess.Popen(
        [sys.executable, "-c", LIMITED, str(folder), str(most)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin
    assert process.stdout
    with process:
        yield (
            lambda: json.loads(process.stdout.readline()),
            lambda: print(file=process.stdin, flush=True),
        )
    assert process.returncode == 0


def lines(*numbers: int, width: int = 100) -> bytes:
    rows = ({"writer": "here", "id": number, "text": "x" * width} for number in numbers)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def test_a_kill_takes_no_more_than_the_last_moment(
    folder: Path, start: Callable[..., Writer]
) -> None:
    """At every kill all can be read at once, though nobody has mended anything yet."""
    kept = {}
    for turn in range(6):
        writer = start(f"{turn}", seconds=0.02, rows=200)
        writer.wait_for(1)
        time.sleep(random.uniform(0.2, 0.6))
        writer.process.send_signal(signal.SIGKILL)
        writer.process.wait()
        _, written, _ = writer.said()[-1]
        found = read(folder)
        assert found[f"{turn}"] == list(range(len(found[f"{turn}"])))
        assert len(found[f"{turn}"]) >= written
        kept[f"{turn}"] = len(found[f"{turn}"])
    assert {writer: len(rows) for writer, rows in found.items()} == kept


def test_all_that_is_older_than_an_interval_outlives_a_kill(
    folder: Path, start: Callable[..., Writer]
) -> None:
    """A busy machine may keep the thread waiting, so an interval is given ten times its time."""
    writer = start("one", seconds=0.2)
    writer.wait_for(1)
    time.sleep(4)
    now = time.monotonic()
    writer.process.send_signal(signal.SIGKILL)
    writer.process.wait()
    old = max(number for number, _, at in writer.said() if at < now - 2)
    assert old > 0
    assert read(folder)["one"][:old] == list(range(old))


def test_a_polite_end_writes_everything(folder: Path, start: Callable[..., Writer]) -> None:
    writer = start("one", seconds=LONG)
    deadline = time.monotonic() + 60
    while len(writer.said()) < 100:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    appended, written, _ = writer.said()[-1]
    assert written < appended
    writer.process.send_signal(signal.SIGTERM)
    assert writer.process.wait(60) == 0
    number, written, _ = writer.said()[-1]
    assert number == written
    assert read(folder)["one"] == list(range(number))


def test_readers_see_whole_lines_at_every_moment(
    folder: Path, start: Callable[..., Writer]
) -> None:
    """Three processes write and change files; what was read once is read again.

    They pause, so that a reader on a busy machine comes to its turns.
    """
    writers = [
        start(f"{number}", seconds=0.002, rotate=1_000_000, rows=300, most=30_000, pause=0.03)
        for number in range(3)
    ]
    for writer in writers:
        writer.wait_for(1)
    rounds, before = 0, 0
    while any(writer.process.poll() is None for writer in writers):
        found = read(folder)
        assert all(rows == list(range(len(rows))) for rows in found.values())
        total = sum(map(len, found.values()))
        assert total >= before
        rounds, before = rounds + 1, total
    assert rounds > 5
    assert {name: len(rows) for name, rows in read(folder).items()} == dict.fromkeys("012", 30_000)
    assert len(list(folder.iterdir())) > 30


def test_no_half_line_is_ever_seen(folder: Path, start: Callable[..., Writer]) -> None:
    """As above, without what polars does between two looks: only ends of lines, or blanks."""
    writer = start("one", seconds=0.001, rows=500, most=100_000)
    writer.wait_for(1)
    (path,) = folder.iterdir()
    looks, between = 0, 0
    with path.open("rb", buffering=0) as file:
        while writer.process.poll() is None:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - PAGE))
            tail = file.read(size - file.tell())
            assert tail.rstrip(b" ").endswith(b"\n") or not tail.strip(b" "), tail
            looks += 1
            between += size % PAGE == 0
    assert looks > 1000
    assert between > 0


def test_half_lines_of_the_dead_are_cut_off_and_the_living_are_let_be(
    folder: Path, start: Callable[..., Writer]
) -> None:
    """The system ends a process in the middle of a line; another one writes all the time."""
    living = start("living", seconds=0.001, width=100_000, rows=5, most=3000)
    living.wait_for(1)
    for turn in range(5):
        before = set(folder.iterdir())
        ended = subprocess.run([sys.executable, "-c", TORN, str(folder), str(turn)], check=False)
        assert ended.returncode == -signal.SIGXFSZ
        (torn,) = set(folder.iterdir()) - before
        content = torn.read_bytes()
        whole = content[: content.rindex(b"\n") + 1]
        assert len(whole) < len(content) == 30_000
        Log(folder).close()
        assert torn.read_bytes() == whole
        assert whole.count(b"\n") > 10
    while living.process.poll() is None:
        logs.mend(folder)
    found = read(folder)
    assert found.pop("living") == list(range(3000))
    assert len(found) == 5
    assert all(rows == list(range(len(rows))) for rows in found.values())


def test_a_full_disk_keeps_rows_waiting(folder: Path) -> None:
    """The limit of a file's size stands for the disk's: the system cuts the write that meets it."""
    with limited(folder, most=10**9) as (says, go_on):
        assert says() == [50, 0, False]
        written, dropped, failing = says()
        assert (dropped, failing) == (0, True)
        assert read(folder)["limited"] == list(range(written))
        assert 50 < written < 100
        go_on()
        assert says() == [500, 0, False]
        assert says() == [550, 0, False]
    assert read(folder)["limited"] == list(range(550))


def test_a_full_disk_costs_the_oldest_of_too_many_rows(folder: Path) -> None:
    with limited(folder, most=60_000) as (says, go_on):
        assert says() == [50, 0, False]
        written, dropped, failing = says()
        assert failing
        go_on()
        assert says() == [500 - dropped, dropped, False]
        assert says() == [550 - dropped, dropped, False]
    assert dropped > 0
    assert read(folder)["limited"] == [*range(written), *range(written + dropped, 550)]


def test_threads_share_a_log(folder: Path) -> None:
    """Some append while it is closed: each of their rows is either written or dropped."""
    log = Log(folder, flush_seconds=0.001, rotate_bytes=50_000)
    appended = [0] * 8

    def append(thread: int) -> None:
        while not log.dropped:
            number = appended[thread]
            row = {"writer": str(thread), "id": number, "text": "x" * 50}
            log.append(json.dumps(row).encode() + b"\n", 1)
            appended[thread] += 1

    threads = [threading.Thread(target=append, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while log.written < 5_000 or not all(appended):
        time.sleep(0.01)
    log.close()
    for thread in threads:
        thread.join()
    found = read(folder)
    assert sorted(found) == [str(thread) for thread in range(8)]
    for thread, rows in found.items():
        assert rows == list(range(len(rows)))
        assert appended[int(thread)] - len(rows) in range(100)
    assert log.written == sum(map(len, found.values()))
    assert log.written + log.dropped == sum(appended)
    assert not log.failing


class Clock(datetime):
    """A clock that is set by hand."""

    time = datetime(2026, 12, 31, 23, 59, 59, 999_990, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:
        return cls.time


def test_a_day_has_files_of_its_own(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "datetime", Clock)
    log = Log(folder, flush_seconds=LONG)
    for number in range(4):
        log.append(lines(number), 1)
        log.flush()
        Clock.time += timedelta(microseconds=5)
    log.close()
    first, second = (path.name for path in sorted(folder.iterdir()))
    assert first.startswith("20261231T235959.999990Z-")
    assert second.startswith("20270101T000000.000000Z-")
    assert first[-14:] == second[-14:]
    assert read(folder)["here"] == list(range(4))


def test_names_go_on_rising_when_the_clock_is_set_back(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "datetime", Clock)
    log = Log(folder, flush_seconds=LONG, rotate_bytes=1)
    for number in range(10):
        log.append(lines(number), 1)
        log.flush()
        Clock.time -= timedelta(seconds=1)
    log.close()
    assert len(list(folder.iterdir())) == 10
    assert read(folder)["here"] == list(range(10))


def test_a_file_that_has_its_size_gets_no_more_lines(folder: Path) -> None:
    log = Log(folder, flush_seconds=LONG, rotate_bytes=20_000)
    for number in range(2000):
        log.append(lines(number, width=number % 1000), 1)
        log.flush()
    log.append(lines(2000, width=100_000), 1)
    log.close()
    *others, last = sorted(folder.iterdir(), key=lambda path: path.stat().st_size)
    assert last.stat().st_size > 100_000
    assert max(path.stat().st_size for path in others) < 20_000 + 2_000
    assert read(folder)["here"] == list(range(2001))


def test_a_file_that_is_emptied_or_moved_away_is_no_obstacle(folder: Path) -> None:
    """As `logrotate` does, with and without `copytruncate`."""
    log = Log(folder, flush_seconds=LONG)
    log.append(lines(1, 2), 2)
    log.flush()
    (path,) = folder.iterdir()
    os.truncate(path, 0)
    log.append(lines(3), 1)
    log.flush()
    assert read(folder)["here"] == [3]
    path.rename(folder / "moved.jsonl")
    log.append(lines(4), 1)
    log.close()
    assert sorted(read(folder)["here"]) == [3, 4]
    assert len(list(folder.iterdir())) == 2


def test_nothing_is_left_of_a_log_without_lines(folder: Path) -> None:
    Log(folder).close()
    assert not folder.exists()


def test_an_append_waits_for_no_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that hangs is stood for by `fsync`; appending goes on, and memory stays bounded."""
    hanging, free = threading.Event(), threading.Event()

    def fsync(_: int) -> None:
        hanging.set()
        free.wait(60)

    monkeypatch.setattr(logs.os, "fsync", fsync)
    log = Log(folder, flush_seconds=0.001, most_bytes=100_000)
    log.append(lines(0), 1)
    assert hanging.wait(60)
    for number in range(1, 10_000):
        log.append(lines(number), 1)
    assert log.written == 0
    assert log._bytes <= 100_000
    free.set()
    log.close()
    assert log.written + log.dropped == 10_000
    assert read(folder)["here"] == [0, *range(log.dropped + 1, 10_000)]


def test_the_end_waits_for_a_disk_that_hangs_but_not_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hanging, free = threading.Event(), threading.Event()

    def fsync(_: int) -> None:
        hanging.set()
        free.wait(60)

    monkeypatch.setattr(logs.os, "fsync", fsync)
    monkeypatch.setattr(logs, "CLOSE_SECONDS", 0.1)
    log = Log(folder, flush_seconds=0.001)
    log.append(lines(0), 1)
    assert hanging.wait(60)
    log.append(lines(1, 2), 2)
    log.close()
    assert (log.written, log.dropped) == (0, 2)
    free.set()
    log._thread.join(60)
    assert (log.written, log.dropped) == (1, 2)
    assert read(folder)["here"] == [0]
