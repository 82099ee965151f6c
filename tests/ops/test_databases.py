"""The documented snapshot of a table, from databases that run here."""

from __future__ import annotations

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import time
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import duckdb
import polars as pl
import psycopg2
import pytest
from documents import examples
from overlay import under_test
from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PROGRAM, LOAD, DUCKDB = examples((ROOT / "template" / "docs" / "ops" / "databases.md").read_text())
BEGUN = datetime(2030, 1, 1)
PATIENCE = 30


@contextmanager
def postgres() -> Iterator[str]:
    """A server of PostgreSQL on a free port, and its address; it will not run as root."""
    (binaries, *_) = sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    person = ["runuser", "--user", "postgres", "--"] if os.getuid() == 0 else []
    with TemporaryDirectory(dir="/tmp") as folder, socket.socket() as probe:
        if person:
            shutil.chown(folder, "postgres")
        data = Path(folder, "data")
        options = ["--username=ada", "--auth=trust", "--no-sync", "--no-instructions"]
        command = [*person, binaries / "initdb", *options, data]
        subprocess.run(command, check=True, capture_output=True, cwd=folder)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        settings = [f"port={port}", "listen_addresses=127.0.0.1", "unix_socket_directories="]
        settings += ["fsync=off", "shared_buffers=1MB", "autovacuum=off"]
        chosen = [word for setting in settings for word in ("-c", setting)]
        log = Path(folder, "log")
        with log.open("wb") as file:
            server = subprocess.Popen(
                [*person, binaries / "postgres", "-D", data, *chosen],
                stdout=file,
                stderr=file,
                cwd=folder,
            )
        address = f"postgresql://ada@127.0.0.1:{port}/postgres"
        try:
            deadline = time.monotonic() + PATIENCE
            while True:
                try:
                    psycopg2.connect(address).close()
                    break
                except psycopg2.OperationalError:
                    assert server.poll() is None, log.read_text()
                    assert time.monotonic() < deadline, log.read_text()
                    time.sleep(0.05)
            yield address
        finally:
            server.terminate()
            server.wait(PATIENCE)


class Warehouse:
    """A database with a table of orders, and a snapshot of it in the current folder."""

    def __init__(self, connect: Callable[[], Any], made: dict[str, Any], address: str) -> None:
        """Begin with an empty table."""
        self.connect, self.made, self.address = connect, made, address
        self.run("DROP TABLE IF EXISTS orders")
        self.run("CREATE TABLE orders (order_id INTEGER, changed_at TIMESTAMP, amount INTEGER)")

    def run(self, statement: str) -> None:
        """Change the database."""
        with closing(self.connect()) as connection:
            connection.cursor().execute(statement)
            connection.commit()

    def put(self, *rows: tuple[int, int, object]) -> None:
        """Put orders in: their number, the minute of their change, and what else they have."""
        values = [f"({key}, '{BEGUN + timedelta(minutes=at)}', {more})" for key, at, more in rows]
        self.run(f"INSERT INTO orders VALUES {', '.join(values)}")  # noqa: S608  all are ours

    def take(self) -> None:
        """Run the documented program."""
        self.made["take"]()

    def rows(self) -> list[tuple[int, int]]:
        """The key and amount of all orders, as the documented source reads them."""
        made: dict[str, Any] = {}
        exec(compile(LOAD, "source.py", "exec"), made)  # noqa: S102  a page's own
        return made["load"](Path()).select("order_id", "amount").collect().rows()

    @property
    def parts(self) -> list[int]:
        """How many rows each part has."""
        files = sorted(Path("data/orders").glob("*"))
        return [len(pl.read_parquet(file)) for file in files]


@pytest.fixture(scope="module")
def databases(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """By name, how to reach each database, its address, and the page's code for it."""
    folder = tmp_path_factory.mktemp("databases")
    with postgres() as address:
        other = re.sub(r"import psycopg2", "import duckdb", PROGRAM).replace("%s", "?") + DUCKDB
        lite = other.replace("duckdb", "sqlite3").replace(", read_only=True", "")
        files = {name: str(folder / name) for name in ("duckdb", "sqlite")}
        yield {
            "postgresql": (partial(psycopg2.connect, address), address, PROGRAM),
            "duckdb": (partial(duckdb.connect, files["duckdb"]), files["duckdb"], other),
            "sqlite": (partial(sqlite3.connect, files["sqlite"]), files["sqlite"], lite),
        }


@pytest.fixture(params=["postgresql", "duckdb", "sqlite"])
def warehouse(
    databases: dict[str, Any],
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Warehouse:
    """One database after the other."""
    connect, address, code = databases[request.param]
    made: dict[str, Any] = {"__name__": "snapshot"}
    exec(compile(code, "snapshot.py", "exec"), made)  # noqa: S102  a page's own
    made["BATCH"] = 4
    if request.param == "sqlite":
        made["BEGIN"] = ""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WAREHOUSE", address)
    return Warehouse(connect, made, address)


def test_a_table_becomes_parts_and_nothing_is_lost_or_doubled(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    """Rows with the watermark of the last one come later, and a row changes."""
    warehouse.put(*((key, key // 3, key) for key in range(10)))
    warehouse.take()
    assert warehouse.parts == [4, 4, 2]
    warehouse.take()
    assert warehouse.parts == [4, 4, 2]
    assert capsys.readouterr().out.splitlines()[-1] == "Nothing is new."
    warehouse.put((10, 3, 10), (11, 3, 11), (12, 5, 50), (0, 6, 100))
    warehouse.take()
    assert sum(warehouse.parts) == 14
    assert warehouse.rows() == [(0, 100), *((key, key) for key in range(1, 12)), (12, 50)]
    assert capsys.readouterr().out == "4 rows added; on average amount 4.5 → 42.75\n"


def test_a_snapshot_that_was_interrupted_goes_on(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ends between two rows of one watermark, and while a part is written."""
    warehouse.put(*((key, key // 6, key) for key in range(12)))
    write, calls = pl.DataFrame.write_parquet, []

    def killed(frame: pl.DataFrame, path: Path) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"PAR1")
            raise KeyboardInterrupt
        write(frame, path)

    monkeypatch.setattr(pl.DataFrame, "write_parquet", killed)
    with pytest.raises(KeyboardInterrupt):
        warehouse.take()
    assert len(list(Path("data/orders").glob("*.parquet"))) == 1
    warehouse.take()
    assert sum(warehouse.parts) == 12
    assert warehouse.rows() == [(key, key) for key in range(12)]


@pytest.mark.parametrize("warehouse", ["postgresql", "duckdb"], indirect=True)
def test_a_row_that_comes_late_is_looked_for(warehouse: Warehouse) -> None:
    warehouse.made["LATE"] = timedelta(minutes=5)
    warehouse.put((1, 0, 1), (2, 10, 2))
    warehouse.take()
    warehouse.put((3, 7, 3), (4, 2, 4), (5, 10, 5))
    warehouse.take()
    assert warehouse.rows() == [(1, 1), (2, 2), (3, 3), (5, 5)]


def test_columns_that_change_are_named_and_read(
    warehouse: Warehouse, capsys: pytest.CaptureFixture[str]
) -> None:
    warehouse.put((1, 0, 1), (2, 1, 2))
    warehouse.take()
    warehouse.run("DROP TABLE orders")
    warehouse.run("CREATE TABLE orders (order_id INTEGER, changed_at TIMESTAMP, shop TEXT)")
    warehouse.put((3, 2, "'north'"))
    warehouse.take()
    said = capsys.readouterr().out
    assert "columns gone: amount." in said
    assert "columns that are new: shop." in said
    assert warehouse.rows() == [(1, 1), (2, 2), (3, None)]
    warehouse.run("DROP TABLE orders")
    warehouse.run("CREATE TABLE orders (order_id INTEGER, changed_at TIMESTAMP, amount TEXT)")
    warehouse.put((4, 3, "'4 EUR'"))
    warehouse.take()
    assert "columns of another type: amount (Int64, now String)." in capsys.readouterr().out
    assert warehouse.rows() == [(1, "1"), (2, "2"), (3, None), (4, "4 EUR")]


def test_what_would_lose_rows_is_refused(
    warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    warehouse.put(*((key, 9 - key, key) for key in range(9)))
    query = warehouse.made["QUERY"]
    warehouse.made["QUERY"] = query.replace("ORDER BY changed_at", "ORDER BY order_id")
    with pytest.raises(SystemExit, match="not in order"):
        warehouse.take()
    assert warehouse.parts == []
    warehouse.made["QUERY"] = query.replace("ORDER BY changed_at", "ORDER BY order_id < 4")
    monkeypatch.setitem(warehouse.made, "BATCH", 1)
    with pytest.raises(SystemExit, match="not in order"):
        warehouse.take()
    assert warehouse.parts == []
    monkeypatch.delenv("WAREHOUSE")
    with pytest.raises(SystemExit, match="Set WAREHOUSE"):
        warehouse.take()
    Path("data/orders").rmdir()
    Path("data/orders.dvc").touch()
    with pytest.raises(SystemExit, match="make pull"):
        warehouse.take()


def test_the_documented_programs_are_as_the_project_asks(tmp_path: Path) -> None:
    for name, code in {"snapshot": PROGRAM, "source": LOAD}.items():
        (tmp_path / f"{name}.py").write_text(code)
    settings = ["--config", under_test() / "pyproject.toml", "--ignore", "INP001"]
    for check in (["check", *settings], ["format", "--check", *settings[:2]]):
        command = ["ruff", check[0], "--no-cache", *check[1:], tmp_path]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout
