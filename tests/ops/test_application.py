"""The application, with no server before it: what each caller hears, also when many ask at once."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import sys
import threading
from collections import Counter
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple

import polars as pl
import pytest
from copies import set_params
from my_model.ops import cli, contract, prediction_log
from my_model.ops.bundle import Bundle
from my_model.ops.errors import UserError
from my_model.ops.files import read_json
from my_model.ops.pipeline import labelled
from my_model.ops.retraining import labels
from my_model.ops.serving import access, feedback, hosts, messages, openapi, service
from my_model.ops.serving.app import Application
from my_model.ops.serving.batching import ROWS_AT_ONCE, Batcher
from my_model.ops.serving.models import Model
from my_model.ops.serving.requests import Reader
from my_model.ops.serving.settings import Settings
from my_model.ops.serving.tracing import traced
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Sequence
    from pathlib import Path

    from my_model.ops.project import Project


class Reply(NamedTuple):
    """What an application answered."""

    status: int
    headers: dict[str, str]
    text: bytes

    @property
    def body(self) -> Any:
        """What the text says as JSON."""
        return json.loads(self.text)


async def ask(
    app: Application,
    path: str,
    body: Any = None,
    method: str = "",
    seconds: float = 0,
    **headers: str,
) -> Reply:
    """Ask an application; a body is posted, and takes so many seconds."""
    told: list[Any] = []
    given = {"content_type": "application/json"} | headers
    scope = {
        "type": "http",
        "method": method or ("GET" if body is None else "POST"),
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": b"",
        "headers": [(k.replace("_", "-").encode(), v.encode()) for k, v in given.items()],
    }
    data = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def receive() -> dict[str, Any]:
        await asyncio.sleep(seconds)
        return {"type": "http.request", "body": data}

    async def send(message: Any) -> None:
        told.append(message)

    await app(scope, receive, send)
    start, *rest = told
    named = {name.decode(): value.decode() for name, value in start["headers"]}
    return Reply(start["status"], named, b"".join(its.get("body", b"") for its in rest))


@asynccontextmanager
async def running(trained: Project, folder: Path, **settings: Any) -> AsyncIterator[Application]:
    """A service of the trained model."""
    given = {"bundle": str(trained.bundle), "predictions": str(folder), **settings}
    app = Application(Settings(**given))
    async with app.service.running():
        yield app


@pytest.fixture(scope="module")
def long(trained: Project) -> list[dict[str, Any]]:
    """As many rows as one request may have."""
    rows = pl.read_parquet(trained.holdout).drop("diagnosis")
    asked: list[dict[str, Any]] = json.loads(rows.write_json())
    return (asked * 100)[:1000]


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Holds the model up until it is set."""
    go_on = threading.Event()
    score = Model.score

    def slow(model: Model, records: Sequence[Any]) -> Any:
        if len(records) == 1000:
            assert go_on.wait(20)
        return score(model, records)

    monkeypatch.setattr(Model, "score", slow)
    yield go_on
    go_on.set()


def test_long_requests_have_one_thread_and_the_others_go_first(
    trained: Project,
    tmp_path: Path,
    long: list[dict[str, Any]],
    held: threading.Event,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    threads = []
    decode, opened = Reader.decode, service.opened

    def noted(reader: Reader, body: bytes) -> Any:
        threads.append(threading.current_thread())
        return decode(reader, body)

    def noted_too(body: bytes, columns: Any) -> Any:
        if len(body) > access.LONG_BYTES:
            threads.append(threading.current_thread())
        return opened(body, columns)

    async def crowd() -> None:
        # None of the 32 may run out of time on a busy machine.
        async with running(trained, tmp_path, request_seconds=120) as app:
            monkeypatch.setattr(Reader, "decode", noted)
            monkeypatch.setattr(service, "opened", noted_too)
            body = json.dumps({"instances": long}).encode()
            callers = [asyncio.create_task(ask(app, "/invocations", body)) for _ in range(32)]
            while not threads:  # noqa: ASYNC110  it is a thread that is waited for
                await asyncio.sleep(0.01)
            assert threading.current_thread() not in threads
            assert (await ask(app, "/health")).status == 200
            assert (await ask(app, "/predict", long[0])).status == 200
            assert not any(caller.done() for caller in callers)
            held.set()
            assert {len((await caller).body["predictions"]) for caller in callers} == {1000}
            assert len(set(threads)) == 2

    asyncio.run(crowd())


def test_bytes_and_seconds_of_waiting_are_bounded(
    trained: Project, tmp_path: Path, long: list[dict[str, Any]], held: threading.Event
) -> None:
    async def crowd() -> None:
        body = json.dumps(long).encode()
        size = len(body)
        settings = {"max_waiting_bytes": 2 * size, "max_body_bytes": size, "request_seconds": 0.3}
        async with running(trained, tmp_path, **settings) as app:
            callers = [asyncio.create_task(ask(app, "/predict", body)) for _ in range(3)]
            await asyncio.wait(callers, return_when=asyncio.FIRST_COMPLETED)
            assert [caller.done() for caller in callers] == [False, False, True]
            assert (await ask(app, "/predict", long[0])).status == 200
            for reply in await asyncio.gather(*callers):
                assert (reply.status, reply.headers["retry-after"]) == (503, "1")
            held.set()
            await asyncio.get_running_loop().run_in_executor(app.service.batcher.thread, str)
            text = (await ask(app, "/metrics")).text.decode()
            assert "service_overloaded_total 3.0" in text
            # The one that was being scored; for the second nobody waits any more.
            (counted,) = [line for line in text.splitlines() if line.startswith("service_rows_t")]
            assert counted.endswith(" 1001.0")
            assert app.room == 2 * size

    asyncio.run(crowd())


def test_short_requests_are_scored_in_turns() -> None:
    class Counting:
        def __init__(self) -> None:
            self.turns: list[Any] = []

        def judge(self, requests: Sequence[Sequence[Any]]) -> list[Any]:
            self.turns.append(sum(map(len, requests)))
            return [[None] * len(rows) for rows in requests]

    async def crowd() -> None:
        model: Any = Counting()
        batcher = Batcher()
        requests = [asyncio.create_task(batcher.score(model, [()] * 100)) for _ in range(10)]
        while len(model.turns) < 5:
            await asyncio.sleep(0)
            model.turns.append("another")
        assert {len(await request) for request in requests} == {100}
        assert sum(turn for turn in model.turns if turn != "another") == 1000
        assert max(turn for turn in model.turns if turn != "another") <= ROWS_AT_ONCE
        assert "another" in model.turns[1:-1]

    asyncio.run(crowd())


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"[" + b"{}," * 1001 + b"no JSON", 413),
        (b"[" + b"{}," * 1_000_000 + b"{}]", 413),
        (b"[" + b'{"a": {"b": "}{"}},' * 1001 + b"no JSON", 413),
        (b"[{}," + b"1," * 1001 + b"no JSON", 400),
        (b"[" + b"{}," * 999 + b"no JSON", 400),
    ],
)
def test_a_list_is_read_no_further_than_the_rows_that_are_taken(
    trained: Project, body: bytes, status: int
) -> None:
    reader = Reader(Bundle(trained.bundle).contract)
    with pytest.raises(HTTPException) as refused:
        reader.read(body)
    assert refused.value.status_code == status


def test_probes_and_balancers_are_answered_as_they_ask(trained: Project, tmp_path: Path) -> None:
    async def look() -> None:
        async with running(trained, tmp_path) as app:
            for path, allowed in {
                "/health": "GET, HEAD, OPTIONS",
                "/predict": "POST, OPTIONS",
            }.items():
                reply = await ask(app, path, method="OPTIONS")
                assert (reply.status, reply.headers["allow"]) == (204, allowed)
            assert (await ask(app, "/health", method="HEAD")).status == 200
            for path in ("/health/", "/predict/", "/no such path"):
                reply = await ask(app, path, host="evil.example")
                assert (reply.status, reply.headers.get("location")) == (404, None)
            assert (await ask(app, "/ready")).status == 200
            app.service.ending = True
            reply = await ask(app, "/ready")
            assert (reply.status, reply.headers["connection"]) == (503, "close")
            assert reply.body["ready"] is False
            example = (await ask(app, "/example")).body
            assert (await ask(app, "/predict", example)).status == 200

    asyncio.run(look())


def test_the_description_is_made_once_for_a_model(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    describe = openapi.describe
    monkeypatch.setattr(openapi, "describe", lambda its: made.append(its) or describe(its))

    async def look() -> None:
        async with running(trained, tmp_path) as app:
            texts = {(await ask(app, "/openapi.json")).text for _ in range(3)}
            assert len(texts) == len(made) == 1
            answer = json.loads(texts.pop())["components"]["schemas"]["Answer"]["properties"]
            assert set(answer["probabilities"]["properties"]) == {"benign", "malignant"}
            assert answer["probabilities"]["properties"]["benign"]["maximum"] == 1
            app.service.model = None
            assert b"/predict" not in (await ask(app, "/openapi.json")).text

    asyncio.run(look())


@pytest.mark.parametrize(
    ("name", "route", "taken"),
    [
        *(
            ("AIP_HEALTH_ROUTE", route, False)
            for route in ("/version", "/", "/predict", "no slash")
        ),
        *(("AIP_PREDICT_ROUTE", route, False) for route in ("/health", "/metrics", "predict")),
        *(("AIP_HEALTH_ROUTE", route, True) for route in ("", "/ping", "/health", "/v1/ok")),
        *(("AIP_PREDICT_ROUTE", route, True) for route in ("", "/predict", "/v1/ask")),
    ],
)
def test_a_host_takes_no_route_that_means_something_else(
    name: str, route: str, taken: bool
) -> None:
    with nullcontext() if taken else pytest.raises(UserError, match=f"{name} is {route}"):
        hosts.routes(Settings.read({name: route}))


KEYS = """# Keys of our callers # and words
   # more words

shop:0123456789abcdef   # until May
team-b:feedback:fedcba9876543210
predict:aaaabbbbccccdddd\t
"""


async def opened(app: Application, key: str) -> tuple[int, int]:
    """What a key opens: the status of a prediction, and of feedback."""
    example = (await ask(app, "/example", x_api_key=key)).body or {}
    told = {"prediction_id": "0" * 24, "truth": "benign"}
    asked = await ask(app, "/predict", example, x_api_key=key)
    return asked.status, (await ask(app, "/feedback", told, x_api_key=key)).status


def test_a_file_of_keys_names_callers_and_what_each_may(trained: Project, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text(KEYS)
    expected = {
        "0123456789abcdef": (200, 202),
        "fedcba9876543210": (403, 202),
        "aaaabbbbccccdddd": (200, 403),
        **dict.fromkeys(["#", "shop", "words", "of", "shop:0123456789abcdef", "until"], (401, 401)),
    }

    async def look() -> None:
        async with running(trained, tmp_path, api_keys_file=str(file)) as app:
            for key, statuses in expected.items():
                assert await opened(app, key) == statuses, key

    asyncio.run(look())


def test_keys_change_without_a_restart(
    trained: Project, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "keys"
    file.write_text("0123456789abcdef")
    caplog.set_level("INFO", "service")

    async def said(words: str) -> None:
        async with asyncio.timeout(20):
            while words not in caplog.text:  # noqa: ASYNC110  a thread says it
                await asyncio.sleep(0.01)

    async def look() -> None:
        settings = {"api_keys_file": str(file), "poll_seconds": 0.01}
        async with running(trained, tmp_path, **settings) as app:
            for broken in ("short", "# nothing"):
                file.write_text(broken)
                await said("fewer than 8" if broken == "short" else "holds no key")
                assert await opened(app, "0123456789abcdef") == (200, 202)
            file.write_text("fedcba9876543210 0000111122223333")
            await said("Other keys hold")
            assert "must hold one" in caplog.text
            assert await opened(app, "0123456789abcdef") == (401, 401)
            assert await opened(app, "fedcba9876543210") == (200, 202)
            assert await opened(app, "0000111122223333") == (200, 202)

    asyncio.run(look())
    assert "fedcba" not in caplog.text


@pytest.mark.parametrize("keys", ["short", "a-good-key,#", "team:short"])
def test_a_key_that_can_be_guessed_is_refused(keys: str) -> None:
    with pytest.raises(UserError, match="fewer than 8 characters"):
        Application(Settings(api_keys=keys))


def test_pages_may_need_a_key(trained: Project, tmp_path: Path) -> None:
    async def look() -> None:
        given = {"api_keys": "0123456789abcdef", "pages_need_key": True}
        async with running(trained, tmp_path, **given) as app:
            for path in ("/", "/metrics", "/openapi.json", "/version", "/example", "/nowhere"):
                assert (await ask(app, path)).status == 401
                known = await ask(app, path, authorization="Bearer 0123456789abcdef")
                assert known.status == (404 if path == "/nowhere" else 200)
            for path in ("/health", "/ready", "/ping"):
                assert (await ask(app, path)).status == 200

    asyncio.run(look())


def test_what_was_told_last_counts_and_can_be_taken_back(trained: Project, tmp_path: Path) -> None:
    one, other = feedback.new_ids(2)
    of_mongodb = "507f1f77bcf86cd799439011"  # as long as ours are
    told: list[tuple[dict[str, Any], int, str | None]] = [
        ({"prediction_id": one, "truth": "benign"}, 202, "new"),
        ({"prediction_id": one, "truth": "benign"}, 202, "repeated"),
        ({"prediction_id": one, "truth": "malignant"}, 202, "changed"),
        ({"prediction_id": other, "truth": "unheard of"}, 202, "new"),
        ({"prediction_id": one, "retract": True}, 202, "retracted"),
        ({"prediction_id": of_mongodb, "truth": "benign"}, 202, "unknown"),
        ({"prediction_id": of_mongodb, "truth": "benign"}, 202, "unknown"),
        ({"prediction_id": one, "truth": None}, 422, None),
        ({"prediction_id": one}, 422, None),
        ({"prediction_id": one + "\n", "truth": "benign"}, 422, None),
        ({"prediction_id": one, "truth": "x" * 1_001}, 422, None),
    ]

    async def tell() -> None:
        async with running(trained, tmp_path) as app:
            for body, status, _ in told:
                assert (await ask(app, "/feedback", body)).status == status, body
            text = (await ask(app, "/metrics")).text.decode()
            kinds = Counter(kind for _, _, kind in told if kind)
            for kind, times in kinds.items():
                assert f'service_feedback_kinds_total{{kind="{kind}"}} {times}.0' in text
            assert "service_feedback_unknown_total 1.0" in text

    asyncio.run(tell())
    schema = {"id": pl.String, "truth": pl.String}
    frames = prediction_log.Reader(schema).since(tmp_path / "feedback")
    last = prediction_log.newest(pl.concat(frames)).select("id", "truth")
    known = {one: None, other: "unheard of", of_mongodb: "benign"}
    assert dict(last.rows()) == known


def test_what_a_caller_takes_back_is_neither_judged_nor_learnt(
    project: Project, long: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREDICTIONS", "")
    set_params(project, "monitoring", window=100)

    async def tell(back: Sequence[str] = ()) -> list[str]:
        """Answer rows and tell what became of them, or take some of that back."""
        async with running(project, project.served) as app:
            asked = [] if back else (await ask(app, "/predict", long[:200])).body
            told = [{"prediction_id": it["prediction_id"], "truth": "benign"} for it in asked]
            told += [{"prediction_id": it, "retract": True} for it in back]
            assert (await ask(app, "/feedback", told)).status == 202
            return [it["prediction_id"] for it in told]

    ids = asyncio.run(tell())
    asyncio.run(tell(back=ids[:30]))
    assert cli.main(["monitor"]) == 0
    looked = read_json(project.served / "monitoring" / "monitoring.json")
    assert sum(window["labelled"] for window in looked["windows"]) == 170
    assert learnt(project) == 170
    asyncio.run(tell(back=ids[30:50]))  # what was learnt already
    assert learnt(project) == 150


def learnt(project: Project) -> int:
    """How many rows are learnt from beside the source, once all that is new was taken in."""
    project.labelled.mkdir(exist_ok=True)
    with labels.gathered(project, contract.load()) as found:
        labels.write(found.rows, labels.destination(project))
    rows = labelled.rows(project, contract.load())
    return 0 if rows is None else len(rows.collect())


def test_whose_key_told_the_truth_is_logged(trained: Project, tmp_path: Path) -> None:
    keys = {"clinic:aaaabbbbccccdddd": "clinic", "eeeeffff00001111": None}

    async def tell() -> None:
        async with running(trained, tmp_path, api_keys=",".join(keys)) as app:
            for entry in keys:
                shown = f"Bearer {entry.rpartition(':')[2]}"
                told = {"prediction_id": "0" * 24, "truth": "benign"}
                assert (await ask(app, "/feedback", told, authorization=shown)).status == 202

    asyncio.run(tell())
    (file,) = tmp_path.glob("feedback/*.jsonl")
    lines = map(json.loads, file.read_text().splitlines())
    assert [line.get("key") for line in lines] == [*keys.values()]


def split(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"columns": [*rows[0]], "index": [0, 1], "data": [[*row.values()] for row in rows]}


def by_column(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {name: [row[name] for row in rows] for name in rows[0]}


def test_rows_are_taken_as_clients_of_mlflow_send_them(
    trained: Project, tmp_path: Path, long: list[dict[str, Any]]
) -> None:
    rows = long[:2]
    taken = {"dataframe_split": split(rows), "dataframe_records": rows, "instances": rows}
    wrong: list[Any] = [
        {"dataframe_split": split(rows) | {"columns": ["a"]}},
        {"dataframe_split": rows},
        {"dataframe_split": {"columns": ["a", "a"], "data": [[1, 2]]}},
        {"inputs": by_column(rows) | {next(iter(rows[0])): [1]}},
        {"dataframe_records": rows[0]},
        {"inputs": 1},
    ]

    async def look() -> None:
        async with running(trained, tmp_path) as app:
            expected = [its["prediction"] for its in (await ask(app, "/predict", rows)).body]
            for name, held in [*taken.items(), ("inputs", rows), ("inputs", by_column(rows))]:
                reply = await ask(app, "/invocations", {name: held, "params": {}})
                assert reply.status == 200, reply.text
                assert [its["prediction"] for its in reply.body["predictions"]] == expected
            assert (await ask(app, "/invocations", rows[0])).body["prediction"] == expected[0]
            for body in wrong:
                reply = await ask(app, "/invocations", body)
                assert reply.status == 400
                assert next(iter(body)) in reply.body["detail"]

    asyncio.run(look())
    assert not hosts.opened(b'{"inputs": 1.5, "x": 2}', {"inputs", "x"})[1]


@pytest.mark.parametrize(
    ("headers", "change", "status"),
    [
        ({"content_encoding": "gzip"}, gzip.compress, 200),
        (
            {"content_encoding": "GZIP", "content_type": 'application/json; charset="UTF-8"'},
            gzip.compress,
            200,
        ),
        ({"content_type": "application/json;charset=utf-8"}, bytes, 200),
        ({"content_type": "application/json; charset=utf8"}, bytes, 200),
        ({"content_encoding": "x-gzip"}, gzip.compress, 200),
        ({"content_encoding": ""}, lambda body: b"\xef\xbb\xbf" + body, 200),
        ({}, lambda body: body.replace(b": 1", b": NaN", 1), 400),
        (
            {"content_encoding": "gzip"},
            lambda body: gzip.compress(body[:9]) + gzip.compress(body[9:]),
            200,
        ),
        ({}, lambda body: body.replace(b": 1", b': 1e400, "x": 1', 1), 422),
        ({"expect": "100-continue", "content_length": "99999999"}, bytes, 413),
        ({"content_encoding": "gzip"}, bytes, 400),
        ({"content_encoding": "gzip"}, lambda body: gzip.compress(body)[:-9], 400),
        ({"content_encoding": "gzip"}, lambda body: gzip.compress(body + b" " * 2**23), 413),
        ({"content_encoding": "br"}, bytes, 415),
        ({"content_type": "application/json; charset=latin-1"}, bytes, 415),
        ({"content_type": "text/csv"}, bytes, 415),
    ],
)
def test_bodies_are_json_in_utf_8_zipped_or_not(
    trained: Project,
    tmp_path: Path,
    headers: dict[str, str],
    change: Callable[[bytes], bytes],
    status: int,
    long: list[dict[str, Any]],
) -> None:
    async def look() -> None:
        async with running(trained, tmp_path) as app:
            body = change(json.dumps(long[0]).encode())
            reply = await ask(app, "/predict", body, **headers)
            assert reply.status == status
            assert (b"send null" in reply.text) is (b": NaN" in body)

    asyncio.run(look())


def test_a_request_is_a_span_where_opentelemetry_is_installed(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exported))
    trace.set_tracer_provider(provider)
    parent = f"00-{'ab' * 16}-{'cd' * 8}-01"

    async def look() -> None:
        async with running(trained, tmp_path) as app:
            assert traced(app) is app
            monkeypatch.setenv("OTEL_SERVICE_NAME", "shop")
            spans: Any = traced(app)
            for path, body in (("/health", None), ("/predict", {}), ("/nowhere", None)):
                await ask(spans, path, body, traceparent=parent)
            with monkeypatch.context() as patch:
                patch.setitem(sys.modules, "opentelemetry.instrumentation.asgi", None)
                assert traced(app) is app

    asyncio.run(look())
    told = [(its.name, its.attributes or {}) for its in exported.get_finished_spans()]
    assert [(name, its["http.route"], its["http.status_code"]) for name, its in told] == [
        ("POST /predict", "/predict", 422),
        ("GET other", "other", 404),
    ]
    for span in exported.get_finished_spans():
        assert span.parent is not None
        assert f"{span.parent.trace_id:032x}-{span.parent.span_id:016x}" == parent[3:-3]


def test_a_request_has_an_id_wherever_it_is_spoken_of(
    trained: Project,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trace = f"00-{'ab' * 16}-{'cd' * 8}-01"
    keys = "shop:0123456789abcdef"

    def fail(*_: Any) -> None:
        raise RuntimeError("nothing\nof the caller's")

    async def look() -> None:
        async with running(trained, tmp_path, api_keys=keys, access_log=True) as app:
            messages.set_up(Settings(log_format="json"))
            given = (await ask(app, "/health", x_request_id="mine-1")).headers["x-request-id"]
            traced = (await ask(app, "/health", traceparent=trace)).headers["x-request-id"]
            assert (given, traced) == ("mine-1", "ab" * 16)
            for odd in ("", "a b", "x\r\ny: z", "x" * 200):
                made = (await ask(app, "/a\nb", x_request_id=odd)).headers["x-request-id"]
                assert len(made) == 16
            monkeypatch.setattr(Reader, "decode", fail)
            reply = await ask(
                app, "/predict", {}, x_api_key="0123456789abcdef", x_request_id="mine-2"
            )
            assert (reply.status, reply.body["request_id"]) == (500, "mine-2")
            messages.set_up(Settings())
            await ask(app, "/a\n\x1b[31mb", x_request_id="mine-3")

    monkeypatch.setattr(logging.root, "handlers", [])
    asyncio.run(look())
    *lines, last = capsys.readouterr().err.splitlines()
    told = [json.loads(line) for line in lines if line.startswith("{")]
    assert [its["request_id"] for its in told[:2]] == ["mine-1", "ab" * 16]
    failed, asked = told[-2:]
    assert failed["request_id"] == asked["request_id"] == "mine-2"
    assert "RuntimeError" in failed["error"]
    fields = {"caller": "shop", "method": "POST", "path": "/predict", "status": 500}
    assert fields.items() <= asked.items()
    assert "[mine-3] " in last
    assert "/a\\n\\x1b[31mb" in last


def test_the_time_of_an_answer_is_that_of_the_service(trained: Project, tmp_path: Path) -> None:
    async def look() -> None:
        async with running(trained, tmp_path) as app:
            await ask(app, "/predict", b"{", seconds=0.3)
            text = (await ask(app, "/metrics")).text.decode()
            bucket = 'service_request_seconds_bucket{le="0.25",route="/predict",status="400"} 1.0'
            assert bucket in text

    asyncio.run(look())
