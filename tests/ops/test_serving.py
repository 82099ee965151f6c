"""The service as a process of its own, under load and under faults: counted, not timed."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import random
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from collections import Counter
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import numpy as np
import polars as pl
import pytest
from bundles import scale
from callers import Line, chunked, request
from my_model.ops import bundle as bundles
from my_model.ops.bundle import Bundle, Origin
from my_model.ops.files import read_json, replacing, write_json
from my_model.ops.pipeline import parsing, validate
from my_model.ops.serving import metrics as counters
from my_model.ops.serving.access import Keys
from my_model.ops.serving.models import Model
from my_model.ops.serving.server import listen
from servers import Service, service
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from my_model.ops.project import Project

PATIENCE = 60
"""Seconds after which something that must happen is taken not to."""

CALLERS = 64
ENOUGH = 2_000
"""How many answers are looked at, at least."""

SWAPS = 6
"""How often the champion changes under load."""


class Rows(NamedTuple):
    """Rows to ask about, all different."""

    frame: pl.DataFrame
    good: list[dict[str, Any]]
    bad: list[dict[str, Any]]
    rules: list[str]
    """For each bad row, what validation says that it breaks."""


@pytest.fixture(scope="module")
def pair(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, Bundle]:
    """The trained model as version 1, and one that is less sure of itself as version 2."""
    folders = [tmp_path_factory.mktemp("versions") / version for version in ("1", "2")]
    for folder in folders:
        shutil.copytree(trained.bundle, folder)
    scale(folders[1], 1 / 3)
    for folder in folders:
        bundles.sign(folder, Origin(folder.name, "c" * 40, "none"))
    return Bundle(folders[0]), Bundle(folders[1])


@pytest.fixture(scope="module")
def rows(trained: Project) -> Rows:
    """Rows like those of the holdout, and rows that break a rule."""
    draw = np.random.default_rng(7)
    holdout = pl.read_parquet(trained.holdout).drop("diagnosis")
    frame = holdout.sample(600, with_replacement=True, seed=7)
    frame = frame.with_columns(pl.all() * draw.uniform(0.8, 1.2, len(frame)))
    good = json.loads(frame.write_json())
    bad = [dict(row) for row in good[:90]]
    for number, row in enumerate(bad):
        name = frame.columns[number % len(frame.columns)]
        row[name] = (-row[name] - 1, None, "wide")[number % 3]
    texts = pl.DataFrame([{name: _text(value) for name, value in row.items()} for row in bad])
    checked = validate.check(
        parsing.parse(texts.lazy(), labelled=False).rows.collect(), labelled=False
    )
    assert not checked.kept.any()
    assert validate.check(frame, labelled=False).kept.all()
    return Rows(frame, good, bad, checked.bad["rule"].to_list())


def _text(value: object) -> str | None:
    return None if value is None else str(value)


class Host:
    """Starts services that share a folder."""

    def __init__(self, folder: Path, first: Bundle) -> None:
        """Put a champion there."""
        self.folder = folder
        self.champion = folder / "champion"
        self.served = folder / "served"
        self.crown(first)

    def crown(self, bundle: Bundle, spoil: Callable[[Path], None] = lambda _: None) -> None:
        """Exchange the champion as `ops promote` does; it may be spoilt on the way."""
        with replacing(self.champion) as aside:
            shutil.copytree(bundle.folder, aside)
            spoil(aside)

    @contextmanager
    def serve(self, *options: str, path: str = "/ready", **settings: object) -> Iterator[Service]:
        """A service of this champion that looks for another one often."""
        given = {
            "BUNDLE": self.champion,
            "PREDICTIONS": self.served,
            "POLL_SECONDS": 0.1,
            "FLUSH_SECONDS": 0.2,
            **settings,
        }
        with service(
            [sys.executable, "-m", "my_model.ops.cli", "serve", *options],
            Path.cwd(),
            self.folder / f"said {time.monotonic_ns()}",
            {**os.environ, **{name: str(value) for name, value in given.items()}},
            path=path,
        ) as found:
            yield found

    def log(self) -> pl.DataFrame:
        """All rows that were logged, by any process."""
        return pl.scan_ndjson(self.served / "predictions" / "*.jsonl").collect()


@pytest.fixture
def host(tmp_path: Path, pair: tuple[Bundle, Bundle]) -> Host:
    return Host(tmp_path, pair[0])


def until(condition: Callable[[], object]) -> None:
    """Wait for something that happens soon."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def answers(served: Service, bundle: Bundle) -> None:
    """Wait until this version answers, and all is well."""
    version = bundle.origin.version
    until(lambda: served.ask("/version").body["model_version"] == version)
    until(lambda: not served.metrics().total("service_reload_failing"))


class Traffic:
    """What callers do, and what they were told."""

    def __init__(self, port: int, rows: Rows) -> None:
        """Nobody has called yet."""
        self.port = port
        self.rows = rows
        self.told: dict[str, tuple[int, dict[str, Any]]] = {}
        """By id: the number of the row, and the answer."""
        self.statuses: Counter[tuple[str, int]] = Counter()
        self.abandoned = 0
        """How many rows were sent by callers who did not wait for an answer."""
        self.over = False
        self.kinds: dict[str, tuple[int, Callable[[Line, random.Random], Awaitable[bool]]]] = {
            "one": (40, self.one),
            "many": (15, self.many),
            "large": (2, self.large),
            "pieces": (5, self.pieces),
            "two at once": (5, self.two_at_once),
            "bad": (15, self.bad),
            "mixed": (8, self.mixed),
            "broken": (8, self.broken),
            "no JSON": (3, self.no_json),
            "too many": (1, self.too_many),
            "hang up": (4, self.hang_up),
            "gone": (3, self.gone),
        }

    async def caller(self, number: int) -> None:
        """Call in many ways until it is over."""
        draw = random.Random(number)
        names = list(self.kinds)
        weights = [weight for weight, _ in self.kinds.values()]
        while not self.over:
            async with await Line.open(self.port) as line:
                goes_on = True
                while goes_on and not self.over:
                    (name,) = draw.choices(names, weights)
                    goes_on = await self.kinds[name][1](line, draw)

    def pick(self, draw: random.Random, count: int) -> list[int]:
        return [draw.randrange(len(self.rows.good)) for _ in range(count)]

    def body(self, picked: list[int]) -> bytes:
        return json.dumps([self.rows.good[number] for number in picked]).encode()

    def heard(self, kind: str, status: int, picked: list[int], answers: Any) -> None:
        """Note an answer, row by row."""
        self.statuses[kind, status] += 1
        if status == 200:
            for number, answer in zip(picked, answers, strict=True):
                assert answer["prediction_id"] not in self.told
                self.told[answer["prediction_id"]] = number, answer

    async def one(
        self, line: Line, draw: random.Random, send: Callable[[bytes], bytes] = request
    ) -> bool:
        picked = self.pick(draw, 1)
        await line.send(send(json.dumps(self.rows.good[picked[0]]).encode()))
        reply = await line.reply()
        self.heard("one", reply.status, picked, [reply.body])
        return True

    async def pieces(self, line: Line, draw: random.Random) -> bool:
        return await self.one(line, draw, chunked)

    async def many(self, line: Line, draw: random.Random, most: int = 50) -> bool:
        picked = self.pick(draw, draw.randint(1, most))
        reply = await line.post(self.body(picked))
        self.heard("many", reply.status, picked, reply.body)
        return True

    async def large(self, line: Line, draw: random.Random) -> bool:
        return await self.many(line, draw, 900)

    async def two_at_once(self, line: Line, draw: random.Random) -> bool:
        """Not to wait for the first answer is allowed, and answers keep their order."""
        first, second = self.pick(draw, 1), self.pick(draw, 3)
        await line.send(request(self.body(first)) + request(self.body(second)))
        for picked in (first, second):
            reply = await line.reply()
            self.heard("two at once", reply.status, picked, reply.body)
        return True

    async def bad(self, line: Line, draw: random.Random) -> bool:
        number = draw.randrange(len(self.rows.bad))
        reply = await line.post(json.dumps(self.rows.bad[number]).encode())
        self.statuses["bad", reply.status] += 1
        self.check(reply.body, {0: number})
        return True

    async def mixed(self, line: Line, draw: random.Random) -> bool:
        """All is refused, and the rows that are bad are named, and no others."""
        rows: list[dict[str, Any]] = []
        bad = {}
        for place in range(draw.randint(2, 20)):
            if place == 0 or draw.random() < 0.2:
                bad[place] = draw.randrange(len(self.rows.bad))
                rows.append(self.rows.bad[bad[place]])
            else:
                rows.append(draw.choice(self.rows.good))
        reply = await line.post(json.dumps(rows).encode())
        self.statuses["mixed", reply.status] += 1
        self.check(reply.body, bad)
        return True

    def check(self, refusal: dict[str, Any], bad: dict[int, int]) -> None:
        """A refusal says of the bad rows what validation says."""
        found = {place: set[str]() for place in bad}
        for violation in refusal["violations"]:
            name = violation["field"]
            found[violation["row"]].add(f"{name}|{violation['rule']}")
            assert violation["value"] == self.rows.bad[bad[violation["row"]]][name]
        assert found == {place: {self.rows.rules[number]} for place, number in bad.items()}

    async def broken(self, line: Line, draw: random.Random) -> bool:
        body = self.body(self.pick(draw, 2))
        whole = draw.choice(
            [
                body[: draw.randrange(len(body))],
                b"[]",
                b"7",
                b"\xff" + body,
                b"[" * 3000,
                body + b"]",
            ]
        )
        reply = await line.post(whole)
        self.statuses["broken", reply.status] += 1
        return True

    async def no_json(self, line: Line, draw: random.Random) -> bool:
        await line.send(request(self.body(self.pick(draw, 1)), kind="text/csv"))
        self.statuses["no JSON", (await line.reply()).status] += 1
        return True

    async def too_many(self, line: Line, draw: random.Random) -> bool:
        reply = await line.post(self.body(self.pick(draw, 1001)))
        self.statuses["too many", reply.status] += 1
        return True

    async def hang_up(self, line: Line, draw: random.Random) -> bool:
        """In the middle of a request."""
        whole = request(self.body(self.pick(draw, 5)))
        await line.send(whole[: draw.randrange(1, len(whole))])
        line.drop()
        return False

    async def gone(self, line: Line, draw: random.Random) -> bool:
        """After a request, before its answer."""
        picked = self.pick(draw, 3)
        self.abandoned += len(picked)
        await line.send(request(self.body(picked)))
        line.drop()
        return False

    async def slow_head(self, letters: int, before: int = 0) -> None:
        """A head that never ends costs the service a while, and no more."""
        while not self.over:
            async with await Line.open(self.port) as line:
                for _ in range(before):
                    assert (await line.post(b"7")).status == 400
                    self.statuses["broken", 400] += 1
                for letter in request(b"")[:letters]:
                    await line.send(bytes([letter]))
                assert await line.silence() == b""
            self.statuses["slow head", letters] += 1

    async def slow_body(self, draw: random.Random) -> None:
        while not self.over:
            async with await Line.open(self.port) as line:
                await line.send(request(self.body(self.pick(draw, 1))[:-1], length=10_000))
                self.statuses["slow body", (await line.reply()).status] += 1
                assert await line.silence() == b""

    def compare(self, log: pl.DataFrame, pair: tuple[Bundle, ...]) -> None:
        """Hold every answer to the model that it names, and to the log."""
        assert log["id"].is_unique().all()
        records = {record["id"]: record for record in log.iter_rows(named=True)}
        assert self.told.keys() <= records.keys()
        assert len(records) <= len(self.told) + self.abandoned
        for name, (number, answer) in self.told.items():
            record = records[name]
            assert record["inputs"] == self.rows.good[number]
            assert record["version"] == answer["model_version"]
            assert record["prediction"] == answer["prediction"]
            assert record["probabilities"] == answer["probabilities"]
        for bundle in pair:
            version = bundle.origin.version
            mine = [(n, it) for n, it in self.told.values() if it["model_version"] == version]
            assert len(mine) > 100
            frame = self.rows.frame[[number for number, _ in mine]]
            said = bundle.predict(bundle.contract.arrays(frame))
            choices = bundle.contract.target.choices or ()
            assert [it["prediction"] for _, it in mine] == [choices[value] for value in said.values]
            shares = [list(it["probabilities"].values()) for _, it in mine]
            np.testing.assert_allclose(shares, said.scored, rtol=0, atol=1e-6)
        known = {bundle.origin.version for bundle in pair}
        assert {answer["model_version"] for _, answer in self.told.values()} == known


def test_every_answer_is_right_and_logged_while_champions_change(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows
) -> None:
    async def swap(traffic: Traffic) -> None:
        for number in range(SWAPS):
            await asyncio.sleep(1)
            await asyncio.to_thread(host.crown, pair[(number + 1) % 2])
        await asyncio.to_thread(until, lambda: traffic.statuses.total() > ENOUGH)
        traffic.over = True

    async def all_of_them(traffic: Traffic) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(swap(traffic))
            for number in range(CALLERS):
                group.create_task(traffic.caller(number))
            for slow in (traffic.slow_head(0), traffic.slow_head(30), traffic.slow_head(40, 2)):
                group.create_task(slow)
            group.create_task(traffic.slow_body(random.Random(0)))

    with host.serve(HEAD_SECONDS=3) as served:
        traffic = Traffic(served.port, rows)
        asyncio.run(all_of_them(traffic))
        metrics = served.metrics()
        assert served.end() == 0
    assert "Traceback" not in served.said
    log = host.log()
    traffic.compare(log, pair)
    assert set(traffic.statuses) == {
        ("one", 200),
        ("many", 200),
        ("two at once", 200),
        ("bad", 422),
        ("mixed", 422),
        ("broken", 400),
        ("no JSON", 415),
        ("too many", 413),
        ("slow head", 0),
        ("slow head", 30),
        ("slow head", 40),
        ("slow body", 408),
    }
    assert metrics.total("service_rows_total") == len(log)
    assert metrics.total("service_in_flight") == 1  # the question itself
    for status in (400, 413, 415, 422):
        heard = sum(count for (_, code), count in traffic.statuses.items() if code == status)
        counted = metrics.total("service_requests_total", route="/predict", status=str(status))
        assert counted == heard
    assert not metrics.total("service_reload_failing")
    assert 'status="500"' not in metrics.text  # whoever hung up is none of them


def test_a_shadow_has_all_that_is_answered_or_it_is_counted(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows
) -> None:
    """Under a load that it cannot keep up with; no caller notices."""

    async def all_of_them(traffic: Traffic) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(CALLERS):
                group.create_task(traffic.caller(number))
            await asyncio.sleep(4)
            traffic.over = True

    def counted(*names: str) -> float:
        metrics = served.metrics()
        found = (metrics.total(f"service_shadow_{name}_rows_total", version="2") for name in names)
        return sum(found)

    with host.serve(SHADOW=pair[1].folder) as served:
        traffic = Traffic(served.port, rows)
        asyncio.run(all_of_them(traffic))
        answered = served.metrics().total("service_rows_total", version="1")
        until(lambda: counted("dropped") + served.metrics().total(
            "service_shadow_rows_total", version="2") == answered)  # fmt: skip
        agreeing, dropped = counted("agreeing"), counted("dropped")
        assert served.end() == 0
    assert "Traceback" not in served.said
    traffic.compare(host.log(), pair[:1])
    shadow = pl.scan_ndjson(host.served / "shadow" / "*.jsonl").collect()
    assert shadow["id"].is_unique().all()
    assert len(shadow) == answered - dropped > 1000
    assert set(shadow["version"]) == {"2"}
    both = shadow.join(host.log(), on="id")
    assert len(both) == len(shadow)
    assert (both["prediction"] == both["prediction_right"]).sum() == agreeing
    known = both.filter(pl.col("id").is_in(list(traffic.told)))
    frame = rows.frame[[traffic.told[name][0] for name in known["id"]]]
    said = pair[1].predict(pair[1].contract.arrays(frame))
    shares = known["probabilities"].struct.unnest().to_numpy()
    np.testing.assert_allclose(shares, said.scored, rtol=0, atol=1e-6)


@pytest.mark.parametrize("workers", [1, 4])
def test_who_asks_a_service_that_was_told_to_end_is_answered_and_logged(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows, workers: int
) -> None:
    """Whoever gets in: a connection that is reset, or ends without an answer, is a failure."""

    async def caller(traffic: Traffic, number: int) -> None:
        draw = random.Random(number)
        with suppress(ConnectionRefusedError):
            while True:
                async with await Line.open(traffic.port) as line:
                    while await traffic.one(line, draw) and number % 2 and not line.closes:
                        pass

    async def all_of_them(traffic: Traffic, served: Service) -> None:
        async with await Line.open(traffic.port) as halfway, asyncio.TaskGroup() as group:
            whole = request(traffic.body([0]))
            await halfway.send(whole[:-20])
            callers = [group.create_task(caller(traffic, number)) for number in range(16)]
            await asyncio.to_thread(until, lambda: len(traffic.told) > 500)
            served.process.terminate()
            await asyncio.wait(callers)
            await halfway.send(whole[-20:])
            reply = await halfway.reply()
            traffic.heard("halfway", reply.status, [0], reply.body)

    with host.serve(f"--workers={workers}", FLUSH_SECONDS=30) as served:
        traffic = Traffic(served.port, rows)
        asyncio.run(all_of_them(traffic, served))
        assert served.process.wait(PATIENCE) == 0
    assert "Traceback" not in served.said
    assert set(traffic.statuses) == {("one", 200), ("halfway", 200)}
    traffic.compare(host.log(), pair[:1])


def test_a_worker_that_is_killed_takes_a_moment_with_it_and_no_more(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows
) -> None:
    async def ask(traffic: Traffic, lines: int, requests: int) -> None:
        async def caller(number: int) -> None:
            async with await Line.open(traffic.port) as line:
                for _ in range(requests):
                    await traffic.one(line, random.Random(number))

        await asyncio.gather(*map(caller, range(lines)))

    def writers() -> set[str]:
        return {path.stem.rpartition("-")[2] for path in host.served.glob("predictions/*.jsonl")}

    with host.serve("--workers=2") as served:
        workers = served.workers()
        assert len(workers) == 2
        traffic = Traffic(served.port, rows)
        while len(writers()) < 2:  # who answers is for the system to say
            assert traffic.statuses.total() < 50 * 640
            asyncio.run(ask(traffic, 32, 20))
            time.sleep(2)  # ten times as long as a row may wait
            assert len(host.log()) == len(traffic.told)
        before = served.metrics().total("service_rows_total")
        os.kill(workers[0], signal.SIGKILL)
        asyncio.run(ask(traffic, 32, 20))
        until(lambda: len(served.workers()) == 2 and workers[0] not in served.workers())
        asyncio.run(ask(traffic, 32, 20))
        assert served.metrics().total("service_rows_total") >= before + 2 * 640
        assert served.end() == 0
    assert set(traffic.statuses) == {("one", 200)}
    traffic.compare(host.log(), pair[:1])


def test_workers_count_together_and_end_with_their_parent(host: Host) -> None:
    with host.serve("--workers=2", DRAIN_SECONDS=60) as served:
        workers = served.workers()
        files = sum(len([*Path(f"/proc/{worker}/fd").iterdir()]) for worker in workers)
        until(lambda: served.metrics().total("process_open_fds") > 0.8 * files)
        os.kill(served.process.pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{worker}/fd").exists() for worker in workers))
        listen("127.0.0.1", served.port).close()


@pytest.mark.parametrize("workers", [1, 2])
def test_who_is_told_to_end_says_so_before_the_door_closes(
    host: Host, rows: Rows, workers: int
) -> None:
    with host.serve(f"--workers={workers}", DRAIN_SECONDS=1.5) as served:
        served.process.terminate()
        until(lambda: served.ask("/ready").status == 503)
        reply = served.ask("/predict", rows.good[0])
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert served.process.wait(PATIENCE) == 0


def test_a_full_disk_costs_rows_of_the_log_and_no_predictions(host: Host, rows: Rows) -> None:
    """The limit on a file's size makes a write end halfway, as a full disk does."""
    body = json.dumps([rows.good[number % 600] for number in range(1000)]).encode()

    def limit(size: int) -> None:
        resource.prlimit(served.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    with host.serve() as served:
        answered = [*served.ask("/predict", rows.good[:100]).body]
        until(lambda: served.metrics().total("service_log_written_rows_total") == 100)
        limit(sum(path.stat().st_size for path in host.served.glob("predictions/*")) + 5_000)
        answered += served.ask("/predict", rows.good[:100]).body
        until(lambda: served.metrics().total("service_log_failing"))
        assert not served.metrics().total("service_log_dropped_rows_total")
        assert len(host.log()) >= 100
        for _ in range(150):
            answered += served.ask("/predict", body).body
            if dropped := served.metrics().total("service_log_dropped_rows_total"):
                break
        assert dropped
        assert served.ask("/ready").status == 200

        limit(resource.RLIM_INFINITY)
        answered += served.ask("/predict", rows.good[:1]).body
        until(lambda: not served.metrics().total("service_log_failing"))
        dropped = served.metrics().total("service_log_dropped_rows_total")
        assert served.end() == 0
    ids = [answer["prediction_id"] for answer in answered]
    logged = host.log()["id"].to_list()
    assert len(logged) + dropped == len(ids)
    kept = set(logged)
    assert logged == [number for number in ids if number in kept]
    assert {*ids[:100], ids[-1]} <= kept


def test_where_nothing_can_be_written_predictions_wait_in_memory(host: Host, rows: Rows) -> None:
    host.served.touch()
    with host.serve() as served:
        answered = served.ask("/predict", rows.good[:50]).body
        until(lambda: served.metrics().total("service_log_failing"))
        assert served.ask("/ready").status == 200
        host.served.unlink()
        until(lambda: not served.metrics().total("service_log_failing"))
    assert host.log()["id"].to_list() == [answer["prediction_id"] for answer in answered]


def truncated(folder: Path) -> None:
    model = folder / "model.onnx"
    model.write_bytes(model.read_bytes()[:-500])


def changed(**values: object) -> Callable[[Path], None]:
    """A manifest that says something else; None takes it away."""

    def spoil(folder: Path) -> None:
        (folder / "version.json").unlink()
        manifest = read_json(folder / "manifest.json")
        for name, value in values.items():
            del manifest[name]
            if value is not None:
                manifest[name] = value
        write_json(folder / "manifest.json", manifest)

    return spoil


def lawless(folder: Path) -> None:
    """A rule that this service has never heard of."""
    contract = read_json(folder / "manifest.json")["contract"]
    contract["rules"][0]["name"] = "sorcery"
    changed(contract=contract)(folder)


SPOILT: dict[str, Callable[[Path], None]] = {
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no JSON": lambda folder: (folder / "manifest.json").write_text("{") and None,
    "no model": lambda folder: (folder / "model.onnx").unlink(),
    "half a model": truncated,
    "no such format": changed(format=99),
    "no features": changed(features=None),
    "no profile": changed(profile=None),
    "no contract": changed(contract=None),
    "a contract of nonsense": changed(contract={"columns": 7}),
    "a rule of nonsense": lawless,
}


def test_a_broken_champion_leaves_the_old_one_in_service(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows
) -> None:
    harmless = {"no profile"}  # of a classification
    with host.serve() as served:
        for number, (name, spoil) in enumerate(SPOILT.items()):
            host.crown(pair[number % 2], spoil)
            if name not in harmless:
                until(lambda: served.metrics().total("service_reload_failing"))
                assert served.ask("/ready").status == 200, name
                answer = served.ask("/predict", rows.good[0]).body
                assert answer["model_version"] == pair[number % 2].origin.version, name
            wanted = pair[(number + 1) % 2]
            host.crown(wanted)
            answers(served, wanted)
        shutil.rmtree(host.champion)
        until(lambda: served.metrics().total("service_reload_failing"))
        assert served.ask("/predict", rows.good[0]).status == 200
        assert served.end() == 0
    assert "Traceback" not in served.said


def test_a_model_that_was_replaced_may_finish_its_work(
    pair: tuple[Bundle, Bundle], tmp_path: Path
) -> None:
    """A new champion may know other classes."""
    folder = tmp_path / "other classes"
    shutil.copytree(pair[1].folder, folder)
    manifest = read_json(folder / "manifest.json")
    (target,) = (it for it in manifest["contract"]["columns"] if it["name"] == "diagnosis")
    target["choices"] = ["good", "bad"]
    write_json(folder / "manifest.json", manifest)
    old, new = (Model.load(Bundle(it)) for it in (pair[0].folder, folder))
    metrics = counters.Metrics(tmp_path / "metrics.prom")
    for model in (old, new):
        metrics.serves(model)
    metrics.answered(old, ["benign"])
    metrics.answered(new, ["good"])
    shown = metrics.show().decode()
    for name in ("benign", "good"):
        assert f'service_predictions_total{{class="{name}"}} 1.0' in shown


class Registry(ThreadingHTTPServer):
    """What `ops serve` asks of an MLflow server, which may go wrong."""

    daemon_threads = True

    def __init__(self, port: int, bundle: Bundle, fault: str = "") -> None:
        """Hold one version, which is the champion."""
        self.bundle = bundle
        self.fault = fault
        super().__init__(("127.0.0.1", port), Registered)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def close(self) -> None:
        self.shutdown()
        self.server_close()


class Registered(BaseHTTPRequestHandler):
    """One answer of a registry."""

    server: Registry

    def do_GET(self) -> None:
        bundle, fault = self.server.bundle, self.server.fault
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/api/2.0/mlflow/registered-models/alias":
            assert query == {"name": ["my model"], "alias": ["champion"]}
            tags = [{"key": "bundle", "value": bundle.digest}]
            version = {
                "version": bundle.origin.version,
                "tags": tags,
                "source": "mlflow-artifacts:/",
            }
            body = json.dumps({"model_version": version}).encode()
            body = b"<html>" if fault == "another server" else body
        else:
            assert parts.path == "/model-versions/get-artifact"
            body = (bundle.folder / query["path"][0]).read_bytes()
            body = body[:-1] if fault == "short files" else body
        self.send_response(500 if fault == "errors" else 200)
        self.send_header("Content-Length", str(len(body) + (fault == "broken off")))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def test_a_registry_that_fails_leaves_the_old_model_in_service(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows
) -> None:
    registry = Registry(0, pair[0])
    port = registry.server_port
    where = f"http://127.0.0.1:{port}/my%20model@champion"
    with host.serve(BUNDLE=where, SHADOW=where) as served:
        assert served.ask("/predict", rows.good[0]).body["model_version"] == "1"
        assert served.ask("/version").body["shadow_version"] == "1"
        for number, fault in enumerate(
            ("gone", "errors", "another server", "short files", "broken off")
        ):
            old, new = pair[number % 2], pair[(number + 1) % 2]
            registry.close()
            if fault != "gone":
                registry = Registry(port, new, fault)
            until(lambda: served.metrics().total("service_reload_failing"))
            assert served.ask("/ready").status == 200
            answer = served.ask("/predict", rows.good[0]).body
            assert answer["model_version"] == old.origin.version, fault
            if fault == "gone":
                registry = Registry(port, new)
            registry.fault = ""
            answers(served, new)
        assert served.end() == 0
    registry.close()
    assert "Traceback" not in served.said


def test_a_service_waits_for_its_registry(
    host: Host, pair: tuple[Bundle, Bundle], rows: Rows
) -> None:
    registry = Registry(0, pair[0])
    port = registry.server_port
    registry.close()
    with host.serve(
        BUNDLE=f"http://127.0.0.1:{port}/my%20model@champion", path="/health"
    ) as served:
        assert served.ask("/health").status == 200
        assert served.ask("/ready").status == 503
        assert served.ask("/version").status == 503
        reply = served.ask("/predict", rows.good[0])
        assert (reply.status, reply.headers["retry-after"]) == (503, "1")
        registry = Registry(port, pair[0])
        until(lambda: served.ask("/ready").status == 200)
        assert served.ask("/predict", rows.good[0]).status == 200
    registry.close()


def test_too_many_requests_at_once_are_turned_away(host: Host, rows: Rows) -> None:
    async def crowd(port: int) -> None:
        body = json.dumps(rows.good[0]).encode()
        whole = request(body)
        async with AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(await Line.open(port)) for _ in range(9)]
            *lines, last = lines
            for line in lines:
                await line.send(whole[:-20])
            # Requests are counted as soon as their heads are there, which takes a moment.
            for _ in range(PATIENCE * 50):
                reply = await last.post(body)
                if reply.status == 503:
                    break
                await asyncio.sleep(0.02)
            assert reply.status == 503
            assert reply.headers["retry-after"] == "1"
            for line in lines:
                await line.send(whole[-20:])
                assert (await line.reply()).status == 200
            assert (await last.post(body)).status == 200

    with host.serve(MAX_REQUESTS=8) as served:
        asyncio.run(crowd(served.port))
        assert served.metrics().total("service_overloaded_total") == 1
        assert served.ask("/health").status == 200


def test_a_body_that_is_too_large_is_refused_with_a_sentence(host: Host, rows: Rows) -> None:
    async def send(port: int) -> None:
        for body in (b" " * 200_001, b"[" + b" " * 3_000_000 + b"]"):
            for make in (request, chunked):
                async with await Line.open(port) as line:
                    await line.send(make(body))
                    reply = await line.reply()
                    assert (reply.status, reply.headers["connection"]) == (413, "close")
                    assert "200,000 bytes" in reply.body["detail"]
                    assert await line.silence() == b""

    with host.serve(MAX_BODY_BYTES=200_000) as served:
        asyncio.run(send(served.port))
        assert served.ask("/predict", rows.good[0]).status == 200


def test_keys_open_what_costs_something_and_appear_nowhere(host: Host, rows: Rows) -> None:
    file = host.folder / "keys"
    file.write_text("from-a-file-1\nfrom-a-file-2\n")
    with host.serve(API_KEYS="from-outside-1, from-outside-2", API_KEYS_FILE=file) as served:
        asked: dict[str, object] = {
            "/predict": rows.good[0],
            "/score": rows.good[0],
            "/invocations": rows.good[0],
            "/feedback": {"prediction_id": "0" * 24, "truth": "benign"},
        }
        for path, body in asked.items():
            for wrong in ({}, {"X_API_Key": "wrong"}, {"Authorization": "Bearer from-outside-"}):
                reply = served.ask(path, body, **wrong)
                assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            for key in ("from-outside-1", "from-outside-2", "from-a-file-1", "from-a-file-2"):
                for right in ({"X_API_Key": key}, {"Authorization": f"Bearer {key}"}):
                    assert served.ask(path, body, **right).status in (200, 202)
        for path in ("/health", "/ready", "/metrics", "/ping", "/openapi.json"):
            assert served.ask(path).status == 200
        said = "".join(served.ask(path).text for path in ("/metrics", "/openapi.json", "/version"))
        served.end()
    written = [path.read_text() for path in host.served.rglob("*.jsonl")]
    assert len(written) == 2
    assert "from-" not in served.said + said + "".join(written)


def test_silent_callers_do_not_use_up_the_files_of_the_service(host: Host) -> None:
    """A process of a container has few at times; each of these callers holds one for a while."""
    command = ["sh", "-c", 'ulimit -n 256 && exec "$@"', "sh", sys.executable]
    settings = {"BUNDLE": host.champion, "PREDICTIONS": host.served, "HEAD_SECONDS": 5}
    environment = {**os.environ, **{name: str(value) for name, value in settings.items()}}
    silent = b"GET /health HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n-"
    with (
        service(
            [*command, "-m", "my_model.ops.cli", "serve"],
            Path.cwd(),
            host.folder / "said",
            environment,
        ) as served,
        ExitStack() as open_ones,
    ):
        for _ in range(300):
            caller = open_ones.enter_context(socket.create_connection(("127.0.0.1", served.port)))
            with suppress(OSError):  # it was let go
                caller.sendall(silent)
        for _ in range(20):
            assert served.ask("/health").status == 200
        assert served.end() == 0
    assert "Traceback" not in served.said


def test_an_idle_connection_is_kept_as_long_as_is_set(host: Host) -> None:
    """A balancer that keeps its own longer than the service would send a request to nobody."""
    ask = b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n"
    for seconds, again in ((1, b""), (75, b"HTTP/1.1 200 OK")):
        with (
            host.serve(KEEP_ALIVE_SECONDS=seconds) as served,
            socket.create_connection(("127.0.0.1", served.port), PATIENCE) as caller,
        ):
            caller.sendall(ask)
            assert caller.recv(65_536).startswith(b"HTTP/1.1 200 OK")
            time.sleep(3)
            with suppress(ConnectionError):
                caller.sendall(ask)
                assert caller.recv(65_536)[:15] == again


def test_who_listens_beyond_this_machine_without_keys_is_warned(host: Host) -> None:
    file = host.folder / "keys"
    file.write_text("from-a-file-1\n")
    for address, keys, warned in (
        ("127.0.0.2", {}, True),  # not the one that nobody else reaches
        ("127.0.0.2", {"API_KEYS_FILE": file}, False),
        ("127.0.0.1", {}, False),
    ):
        with host.serve(HOST=address, **keys) as served:
            assert ("EVERYBODY who reaches 127.0.0.2 may ask" in served.said) == warned


def test_keys_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def seen(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", seen)
    known = ("the first", "the second", "третий ключ")
    keys = Keys(known)
    for key in (*known, "the third", "", "the firs"):
        compared.clear()
        headers = {b"x-api-key": key.encode()}
        if key in known:
            keys.check(headers)
        else:
            with pytest.raises(HTTPException) as refused:
                keys.check(headers)
            assert refused.value.status_code == 401
        assert len(compared) == 3
        assert {len(digest) for couple in compared for digest in couple} == {32}
