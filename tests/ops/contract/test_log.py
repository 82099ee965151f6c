"""The log of predictions: nothing is lost that could be kept, and all of it can be read."""

import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from my_model.ops.serving.log import PAGE, Log

LONG = 3600.0
"""Seconds between two writes, so that a test decides itself when to write."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "not yet there" / "predictions"


@pytest.fixture
def log(folder: Path) -> Iterator[Log]:
    log = Log(folder, flush_seconds=LONG, rotate_bytes=10_000, most_bytes=50_000)
    yield log
    log.close()


def lines(*numbers: int, width: int = 100) -> bytes:
    """A line for each number."""
    rows = ({"id": number, "text": "x" * width} for number in numbers)
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def read(folder: Path) -> list[int]:
    """The numbers of all lines, in the order of the files."""
    return pl.scan_ndjson(folder / "*.jsonl").collect()["id"].to_list()


def test_what_is_appended_is_read_as_one_dataset(log: Log, folder: Path) -> None:
    for number in range(0, 1000, 2):
        log.append(lines(number, number + 1), 2)
        if number % 100 == 0:
            log.flush()
    log.close()
    assert read(folder) == list(range(1000))
    assert (log.written, log.dropped, log.failing) == (1000, 0, False)
    assert len(list(folder.iterdir())) == 10


def test_lines_are_written_without_being_asked(folder: Path) -> None:
    log = Log(folder, flush_seconds=0.01)
    log.append(lines(1), 1)
    for _ in range(6000):
        if log.written:
            break
        time.sleep(0.01)
    assert read(folder) == [1]
    log.close()


def test_what_comes_after_the_end_is_counted(log: Log, folder: Path) -> None:
    log.append(lines(1), 1)
    log.close()
    log.close()
    log.append(lines(2, 3), 2)
    assert read(folder) == [1]
    assert (log.written, log.dropped) == (1, 2)


def test_a_line_that_fits_into_a_page_lies_in_one(folder: Path) -> None:
    log = Log(folder, flush_seconds=LONG)
    for number in range(500):
        log.append(lines(number, width=number * 37 % 4000), 1)
        if number % 7 == 0:
            log.flush()
    log.close()
    (file,) = folder.iterdir()
    begin = 0
    for line in file.read_bytes().splitlines(keepends=True):
        end = begin + len(line)
        first = end - len(line.lstrip(b" "))
        assert first // PAGE == (end - 1) // PAGE
        begin = end
    assert read(folder) == list(range(500))


def test_lines_wait_while_nothing_can_be_written(
    log: Log,
    folder: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("service"), "propagate", True)
    folder.parent.touch()
    log.append(lines(1, 2), 2)
    log.flush()
    log.flush()
    assert (log.written, log.dropped, log.failing) == (0, 0, True)
    folder.parent.unlink()
    log.append(lines(3), 1)
    log.flush()
    assert (log.written, log.dropped, log.failing) == (3, 0, False)
    assert read(folder) == [1, 2, 3]
    said = [record.getMessage() for record in caplog.records]
    assert [str(folder) in sentence for sentence in said] == [True, True]


def test_the_oldest_lines_go_when_too_many_wait(log: Log, folder: Path) -> None:
    folder.parent.touch()
    for number in range(1000):
        log.append(lines(number), 1)
        if number % 100 == 0:
            log.flush()
    folder.parent.unlink()
    log.flush()
    assert log.dropped > 0
    assert log.written + log.dropped == 1000
    assert read(folder) == list(range(log.dropped, 1000))


def test_half_a_line_of_a_dead_process_is_cut_off(folder: Path) -> None:
    folder.mkdir(parents=True)
    torn = folder / "20200101T000000.000000Z-0badf00d.jsonl"
    torn.write_bytes(lines(1, 2, width=100_000)[:-10])
    with pytest.raises(pl.exceptions.ComputeError):
        read(folder)
    log = Log(folder, flush_seconds=LONG)
    log.append(lines(3), 1)
    log.close()
    assert read(folder) == [1, 3]


def test_a_file_that_is_taken_away_is_begun_anew(log: Log, folder: Path) -> None:
    log.append(lines(1), 1)
    log.flush()
    (file,) = folder.iterdir()
    file.unlink()
    folder.rmdir()
    log.append(lines(2), 1)
    log.flush()
    assert read(folder) == [2]
    assert file not in folder.iterdir()
