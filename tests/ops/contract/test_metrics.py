"""The metrics that others leave for the service to pass on: sane ones, and no others."""

import os
from pathlib import Path

import pytest
from my_model.ops.files import write_text
from my_model.ops.serving.metrics import Textfile
from prometheus_client import CollectorRegistry, generate_latest


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "monitoring" / "metrics.prom"


def shown(collector: Textfile) -> str:
    """What Prometheus would read."""
    registry = CollectorRegistry()
    registry.register(collector)
    return generate_latest(registry).decode()


def test_each_state_of_the_file_is_passed_on(path: Path) -> None:
    collector = Textfile(path)
    assert shown(collector) == ""
    for value in ("1.0", "2.0", "NaN"):
        text = "# HELP monitor_drift How far.\n# TYPE monitor_drift gauge\n"
        text += 'monitor_drift{column="a \\"b\\" \\\\ c\\n"} ' + f"{value}\n"
        write_text(path, text)
        assert shown(collector) == text
    path.unlink()
    assert shown(collector) == ""


def test_only_what_is_of_the_model_is_passed_on(path: Path) -> None:
    write_text(path, "up 1\nservice_rows_total 7\nmonitor_rows 3\n# a remark\n")
    samples = [line for line in shown(Textfile(path)).splitlines() if not line.startswith("#")]
    assert samples == ["monitor_rows 3.0"]


@pytest.mark.parametrize(
    "content",
    [b"<html>", b"monitor_a", b"monitor_a x", b'monitor_a{b="c" 1', b"\xff", b"\0", b"monitor a 1"],
)
def test_of_a_broken_file_nothing_is_passed_on(
    path: Path, content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.mkdir()
    path.write_bytes(b"monitor_good 1\n" + content)
    collector = Textfile(path)
    assert [shown(collector) for _ in range(3)] == [""] * 3
    assert len(caplog.records) == 1
    write_text(path, "monitor_good 1\n")
    assert "monitor_good 1.0\n" in shown(collector)


def test_a_file_has_an_end(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Textfile, "MOST_BYTES", 1_000)
    write_text(path, "monitor_good 1\n" * 1_000)
    assert shown(Textfile(path)) == ""


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no such files")
def test_what_is_no_file_is_not_waited_for(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    assert shown(Textfile(path)) == ""
    path.unlink()
    path.mkdir()
    assert shown(Textfile(path)) == ""
