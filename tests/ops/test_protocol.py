"""Callers without a key who mean no good: none costs more than a moment, or holds a place."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import pytest
import uvloop
from callers import Line, chunked, request
from my_model.ops.serving import protocol
from my_model.ops.serving import server as closing
from prometheus_client import CollectorRegistry, Counter
from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

LARGE = b"x" * 20_000_000
"""An answer that no system keeps for a caller who does not read."""

PATIENCE = 10


class Server:
    """The protocol before an application that answers `/read` when it has read the body."""

    def __init__(self, seconds: float, most_connections: int, most_bytes: int) -> None:
        """Be quick to hang up."""
        self.registry = CollectorRegistry()
        self.refusals = Counter("refusals", "", ["route", "status"], registry=self.registry)
        self.state = ServerState()
        self.asked = self.answering = 0
        self.go_on = asyncio.Event()
        self.protocol = type("Quick", (protocol.Protocol,), {
            "seconds": seconds, "most_connections": most_connections, "most_bytes": most_bytes,
            "refusals": self.refusals,
        })  # fmt: skip
        self.config = Config(
            self.answer, interface="asgi3", proxy_headers=False, ws="none", log_config=None,
            timeout_keep_alive=1,
        )  # fmt: skip

    def __call__(self) -> asyncio.Protocol:
        """One more connection."""
        made: asyncio.Protocol = self.protocol(self.config, self.state, {})
        return made

    async def answer(
        self,
        scope: dict[str, Any],
        receive: Callable[[], Awaitable[dict[str, Any]]],
        send: Callable[[dict[str, Any]], Awaitable[None]],
    ) -> None:
        self.asked += 1
        self.answering += 1
        try:
            message = {"type": "http.request", "more_body": scope["path"] == "/read"}
            while message.get("more_body"):
                message = await receive()
            if scope["path"] == "/slow":
                await self.go_on.wait()
            body = LARGE if scope["path"] == "/large" else b"{}"
            length = [(b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 200, "headers": length})
            await send({"type": "http.response.body", "body": body})
        finally:
            self.answering -= 1

    def refused(self, status: int) -> float:
        """How often this was answered by no application."""
        labels = {"route": "other", "status": str(status)}
        return self.registry.get_sample_value("refusals_total", labels) or 0

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE):
            while not condition():  # noqa: ASYNC110  anything may be waited for
                await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(
    seconds: float = 0.2, most_connections: int = 1_000, most_bytes: int = 2**26
) -> AsyncIterator[tuple[Server, int]]:
    """A server, and its port; in the end all of its connections are closed."""
    server = Server(seconds, most_connections, most_bytes)
    async with await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0) as listening:
        yield server, listening.sockets[0].getsockname()[1]
        await server.until(lambda: not server.state.connections and not server.answering)


def run(coroutine: Coroutine[Any, Any, None]) -> None:
    """Run on the loop that serves."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(coroutine)


def get(path: str = "/", *headers: str) -> bytes:
    """A request without a body."""
    return "\r\n".join([f"GET {path} HTTP/1.1", "Host: here", *headers, "", ""]).encode()


ENDLESS = [f"GET /{'x' * 100_000}".encode(), *[b"x" * 100_000] * 50]
LINES = [b"GET / HTTP/1.1\r\n", *[b"a: b\r\n" * 20_000] * 50]
WHOLE = [get("/", f"long: {'x' * 70_000}")]
MANY = [get("/", *["a: b"] * 20_000)]


HEADS = {"url": ENDLESS, "lines": LINES, "long": WHOLE, "many": MANY}


@pytest.mark.parametrize("pieces", HEADS.values(), ids=HEADS)
def test_a_head_has_an_end(pieces: list[bytes]) -> None:
    async def ask() -> None:
        async with serving(PATIENCE) as (server, port), await Line.open(port) as line:
            for piece in pieces:
                await line.send(piece)
            reply = await line.reply()
            assert (reply.status, reply.headers["connection"]) == (431, "close")
            assert reply.body == {"detail": "The head is larger than 65,536 bytes."}
            assert await line.silence() == b""
            assert not server.asked
            assert server.refused(431) == 1

    run(ask())


def test_long_heads_and_bodies_are_read_in_any_pieces() -> None:
    """A limit is on one head, and not on all that comes with it."""

    async def ask() -> None:
        async with serving(5) as (server, port), await Line.open(port) as line:
            whole = request(b"x" * 300_000, "/read") + get("/", f"long: {'x' * 60_000}") + get()
            for start in range(0, len(whole), 50_000):
                await line.send(whole[start : start + 50_000])
            assert [(await line.reply()).status for _ in range(3)] == [200] * 3
            assert server.asked == 3

    run(ask())


@pytest.mark.parametrize(
    ("sent", "answers"),
    [
        (b"", []),
        (b"GET / HT", []),
        (get("/", "Content-Length: 100000") + b"x", [200]),
        (get() + b"G", [200]),
        (request(b"{", "/read", length=10), [408]),
        (chunked(b"{}", "/read")[:-5], [408]),
        (request(b"{}", "/read") + request(b"{", "/read", length=10), [200, 408]),
        (b"HELO\r\n", [400]),
        (chunked(b"{}", "/read").replace(b"2\r\n", b"z\r\n"), [400]),
        (get("/", "Upgrade: websocket", "Connection: Upgrade") + b"x" * 10, [200]),
    ],
)
def test_whoever_is_too_slow_is_let_go(sent: bytes, answers: list[int]) -> None:
    async def ask() -> None:
        async with serving() as (server, port), await Line.open(port) as line:
            await line.send(sent)
            for status in answers:
                assert (await line.reply()).status == status
            assert await line.silence() == b""
            assert server.refused(answers[-1] if answers else 0) == (answers[-1:] > [200])

    run(ask())


@pytest.mark.parametrize("path", ["/large", "/"])
@pytest.mark.parametrize("header", ["Connection: close", "Connection: keep-alive"])
def test_whoever_does_not_read_holds_nothing(path: str, header: str) -> None:
    async def ask() -> None:
        async with serving() as (server, port), await Line.open(port) as line:
            await line.send(get(path, header) * 10)
            await server.until(lambda: server.asked > 0)

    run(ask())


def test_few_requests_wait_on_a_connection() -> None:
    async def ask() -> None:
        async with serving() as (server, port):
            async with await Line.open(port) as line:
                await line.send(get() * protocol.PIPELINED)
                replies = [await line.reply() for _ in range(protocol.PIPELINED)]
                assert {reply.status for reply in replies} == {200}
            async with await Line.open(port) as line:
                await line.send(get() * 1_000)
                await line.silence()
            assert server.asked < 3 * protocol.PIPELINED

    run(ask())


def test_what_comes_behind_a_body_is_not_kept() -> None:
    async def ask() -> None:
        async with serving(5, most_bytes=200_000) as (server, port), await Line.open(port) as line:
            await line.send(chunked(b"{}")[:-2])
            assert (await line.reply()).status == 200
            for _ in range(30):
                await line.send(b"a: " + b"b" * 10_000 + b"\r\n")
            await server.until(lambda: server.refused(413) == 1)

    run(ask())


def test_a_body_of_single_bytes_is_handed_over_as_it_arrives(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Each part makes uvicorn copy what it has of a body: 40,000 would hold up all."""
    handed: list[int] = []
    hand_over = HttpToolsProtocol.on_body

    def counted(self: HttpToolsProtocol, body: bytes) -> None:
        handed.append(len(body))
        hand_over(self, body)

    monkeypatch.setattr(HttpToolsProtocol, "on_body", counted)
    head = b"POST /read HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\n\r\n"

    async def ask() -> None:
        async with serving(PATIENCE) as (_, port), await Line.open(port) as line:
            await line.send(head + b"1\r\nx\r\n" * 40_000 + b"0\r\n\r\n")
            assert (await line.reply()).status == 200

    run(ask())
    assert sum(handed) == 40_000
    assert len(handed) < 400


def test_an_answer_is_sent_in_one_piece() -> None:
    sent: list[bytes] = []

    class Transport:
        write = staticmethod(sent.append)
        close = staticmethod(lambda: sent.append(b"closed"))

    joining = protocol.Joining(cast("asyncio.Transport", Transport()))
    for data in (b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n", b"{}"):
        joining.write(data)
    joining.write(b"HTTP/1.1 204 No Content\r\n\r\n")
    joining.flush()
    joining.write(b"HTTP/1.1 200 OK\r\n\r\n")
    joining.close()
    ends = [data.rpartition(b"\r\n\r\n") for data in sent]
    assert [(head[9:12], body) for head, _, body in ends] == [
        (b"100", b""), (b"200", b"{}"), (b"204", b""), (b"200", b""), (b"", b"closed"),
    ]  # fmt: skip


def test_whoever_has_come_before_the_door_closes_is_answered() -> None:
    """They wait at the door while the loop is busy with the signal to end."""

    async def ask() -> None:
        server = Server(5, 1_000, 2**26)
        config = Config(server.answer, http=server.protocol, ws="none", lifespan="off",
                        log_config=None, interface="asgi3")  # fmt: skip
        ending = closing.Server(config)
        listening = closing.listen("127.0.0.1", 0)
        running = asyncio.create_task(ending.serve([listening]))
        await server.until(lambda: ending.started)
        callers = []
        for _ in range(5):
            caller = socket.create_connection(listening.getsockname())
            caller.sendall(get())
            callers.append(caller)
        ending.should_exit = True
        time.sleep(0.2)  # noqa: ASYNC251  the end is due before anybody is heard
        await running
        for caller in callers:
            with caller:
                assert caller.recv(100).startswith(b"HTTP/1.1 200 OK")

    run(ask())


JAVA = ("Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAEAAEAAAAIAAAAB")
OTHER = ("connection: upgrade", "upgrade: TLS/1.0")
BODY = ("Content-Length: 5",)
LARGE_BODY = "Content-Length: 200000"


@pytest.mark.parametrize(
    ("sent", "is_last", "statuses"),
    [
        pytest.param([get("/slow")], True, [200], id="says no more"),
        pytest.param([get("/slow"), get("/slow")], True, [200, 200], id="two, and no more"),
        pytest.param([get("/slow")[:-2]], True, [], id="half a request, and no more"),
        pytest.param([get("/read", *BODY), b"12345", get()], False, [200, 200], id="a body"),
        pytest.param([get("/read", *JAVA, *BODY), b"12345", get()], False, [200, 200], id="java"),
        pytest.param([get("/read", *OTHER, *BODY), b"12345", get()], False, [200, 200], id="other"),
        pytest.param([get("/read", LARGE_BODY), b"x" * 100_000], False, [413], id="too large"),
        pytest.param([get("/slow"), b"no HTTP\r\n\r\n"], False, [200], id="ends in nonsense"),
        pytest.param([get("/slow"), WHOLE[0]], False, [200], id="ends in a long head"),
        pytest.param([b"no HTTP\r\n\r\n"], False, [400], id="nonsense"),
        pytest.param([get("/", "host: there")], False, [400], id="two hosts"),
        pytest.param(
            [get("/", "Content-Encoding: gzip", "content-encoding: identity")],
            False,
            [400],
            id="zipped, and not",
        ),
        pytest.param([b"GET / HTTP/1.1\r\n\r\n"], False, [400], id="no host"),
        pytest.param([b"GET / HTTP/1.0\r\n\r\n"], False, [200], id="no host, of old"),
        pytest.param(
            [chunked(b"{}", "/read").replace(b"chunked", b"gzip, chunked")],
            False,
            [400],
            id="coded twice",
        ),
        pytest.param(
            [chunked(b"{}", "/read").replace(b"chunked", b"Chunked")],
            True,
            [200],
            id="coded",
        ),
    ],
)
def test_each_whole_request_has_its_own_answer(
    sent: list[bytes], is_last: bool, statuses: list[int]
) -> None:
    async def ask() -> None:
        async with serving(0.5, most_bytes=100_000) as (server, port):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            for data in sent:
                writer.write(data)
                await asyncio.sleep(0.02)
            if is_last:
                writer.write_eof()
                await asyncio.sleep(0.02)
            server.go_on.set()
            said = await asyncio.wait_for(reader.read(), PATIENCE)
            writer.close()
            assert [int(its[:3]) for its in said.split(b"HTTP/1.1 ")[1:]] == statuses

    run(ask())


def test_a_new_caller_gets_the_place_of_one_who_asks_for_nothing() -> None:
    async def ask() -> None:
        async with serving(30, most_connections=3) as (server, port), AsyncExitStack() as stack:
            lines = [await stack.enter_async_context(await Line.open(port))]
            await lines[0].send(get("/slow"))
            await server.until(lambda: server.answering == 1)
            for _ in range(4):
                lines.append(await stack.enter_async_context(await Line.open(port)))
                await lines[-1].send(get())
                assert (await lines[-1].reply()).status == 200
            for line in lines[1:3]:
                assert await line.silence() == b""
            server.go_on.set()
            assert (await lines[0].reply()).status == 200

    run(ask())
