"""HTTP as uvicorn speaks it, with limits on what a caller may cost.

uvicorn bounds neither the head of a request, nor how many of them wait on a connection, nor the
time that a caller takes to send one or to read an answer. What is used here of its protocol are its
callbacks (asyncio's, httptools' and its own) and attributes, all of them public.
"""

import json
import re
from asyncio import TimerHandle, Transport
from http import HTTPStatus
from math import inf
from time import perf_counter
from typing import Any

from prometheus_client import Counter
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_BYTES = 64 * 1024

PIPELINED = 32
"""How many requests may wait on a connection until the one before them is answered."""

MOMENT = 0.5
"""Seconds in which a request may still come that was on its way when the end was asked for."""

UPGRADE = re.compile(rb"\r\n[Uu][Pp][Gg][Rr][Aa][Dd][Ee]:")
"""Of a head that offers another protocol, which is declined."""

REFUSED = {
    HTTPStatus.BAD_REQUEST: "This is no HTTP request.",
    HTTPStatus.REQUEST_TIMEOUT: "The body did not arrive in time.",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too large; send fewer rows at once.",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"The head is larger than {HEAD_BYTES:,} bytes.",
}


class Joining:
    """A transport that sends the head of an answer together with its body.

    uvicorn writes one after the other, and each call of the system costs as much as a small model.
    """

    def __init__(self, transport: Transport) -> None:
        """Begin with nothing to send."""
        self._transport, self._head = transport, b""

    def __getattr__(self, name: str) -> Any:
        """All else is done by the transport itself."""
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Send, unless it is the head of an answer: that is sent with what comes next."""
        if not self._head and data.startswith(b"HTTP/1.1 ") and data[9:12] != b"100":
            self._head = data
        else:
            self._transport.write(self._head + data)
            self._head = b""

    def flush(self) -> None:
        """Send the head of an answer that has no body."""
        if self._head:
            self.write(b"")

    def close(self) -> None:
        """Send what is left, and end."""
        self.flush()
        self._transport.close()


class Protocol(HttpToolsProtocol):
    """One connection; it ends when its caller is too slow, or sends too much."""

    seconds = 10.0  # that a caller may take to send a head or a body, to read an answer, to go
    most_bytes = 64 * 2**20  # of one request; what comes behind them is not read
    most_connections = 1_000  # of more, the one that has asked for nothing the longest ends
    refusals: Counter | None = None  # counts, by route and status, what no application sees
    timer: TimerHandle | None = None
    begun = head_open = body_open = refused = False
    received = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """Wait for the first request, and make room."""
        self.joining = Joining(transport)
        self.body_parts: list[bytes] = []
        super().connection_made(self.joining)  # type: ignore[arg-type]
        self.idle_since = perf_counter()
        self.wait()
        if len(self.connections) > self.most_connections:
            every = [its for its in self.connections if isinstance(its, Protocol)]
            idle = min(every, key=lambda its: its.idle_since)
            idle.idle_since = inf
            idle.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self.stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, up to the limits; wait for the rest of what came in part."""
        if self.refused:  # who is sending hears no answer: the rest is let go
            return
        self.begun = False
        if not self.body_open:  # as Java's client offers HTTP/2; httptools would not read on
            data = UPGRADE.sub(b"\r\nX-Upgrade:", data)
        super().data_received(data)
        self.hand_over()
        if self.unfinished and not self.refused:
            if not self.begun:  # else there may be the end of another request in it
                self.received += len(data)
            if self.head_open and self.received > HEAD_BYTES:
                self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
            elif self.received > self.most_bytes:
                self.refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE)
            elif self.timer is None:
                self.wait()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Answer a caller who has said all, and has closed his half of the connection."""
        waits = self.asked and not self.unfinished
        if waits:
            self.cycle.keep_alive = False
        return waits

    def on_message_begin(self) -> None:
        """Note that a head has begun."""
        self.begun = self.head_open = True
        self.received = 0
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header; those behind a body mean nothing here."""
        if self.head_open:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Note that the head is whole; a body has a time of its own.

        A ValueError if it is too long or means two things, or if too many wait; uvicorn then calls
        `send_400_response`.
        """
        self.received = len(self.url) + sum(len(n) + len(v) + 4 for n, v in self.headers)
        if self.received > HEAD_BYTES or len(self.pipeline) >= PIPELINED or self.ambiguous:
            raise ValueError
        self.head_open, self.body_open = False, True
        super().on_headers_complete()
        if self.timer:
            self.wait()

    def on_body(self, body: bytes) -> None:
        """Keep a part of a body, be it a single byte, until all that has come is read."""
        self.body_parts.append(body)

    def hand_over(self) -> None:
        """Give the parts to the application at once: uvicorn copies the body for each."""
        if self.body_parts:
            super().on_body(b"".join(self.body_parts))
            self.body_parts.clear()

    def on_message_complete(self) -> None:
        """Note that the request is whole."""
        self.hand_over()
        self.body_open, self.idle_since = False, inf
        if not self.flow.write_paused:
            self.stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request, or for the end."""
        self.joining.flush()
        super().on_response_complete()
        self.idle_since = perf_counter()
        if self.transport.is_closing():
            self.wait()

    def pause_writing(self) -> None:
        """Wait for the caller to read."""
        super().pause_writing()
        self.wait()

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        if not self.unfinished:
            self.stop_waiting()

    def timeout_keep_alive_handler(self) -> None:
        """Hang up on a caller who asks for nothing more, be the last answer read or not."""
        super().timeout_keep_alive_handler()
        self.wait()

    def shutdown(self) -> None:
        """End, but not before what is on its way is here."""
        self.loop.call_later(MOMENT, super().shutdown)

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read on."""
        too_long = self.head_open and self.received > HEAD_BYTES
        self.refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE if too_long else HTTPStatus(400))

    def refuse(self, status: HTTPStatus) -> None:
        """Say what is wrong with a request, if that is what comes next, and read no more of it."""
        if self.refusals:
            self.refusals.labels("other", int(status)).inc()
        self.refused = True
        asked = self.asked
        if asked and not self.body_open:
            self.cycle.keep_alive = False  # that is answered first, and nothing after it
            return
        if asked and (self.pipeline or self.cycle.response_started):
            self.transport.abort()  # another answer comes next
            return
        said = json.dumps({"detail": REFUSED[status]}).encode()
        head = (
            f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: application/json\r\n"
            f"content-length: {len(said)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode())
        self.transport.write(said)
        end = self.transport.close if asked else self.transport.write_eof
        end()
        self.wait()

    @property
    def ambiguous(self) -> bool:
        """Whether a proxy may read the head otherwise: not one host, or a body that is coded twice.

        HTTP/1.0 knew no hosts (RFC 9112, sections 3.2 and 6.1).
        """
        names = [it for it, _ in self.headers if it == b"host" or it.startswith(b"content-")]
        codings = [value.lower() for name, value in self.headers if name == b"transfer-encoding"]
        hosted = b"host" in names or self.parser.get_http_version() == "1.0"
        return not hosted or len(names) > len({*names}) or codings not in ([], [b"chunked"])

    @property
    def asked(self) -> bool:
        """Whether a request, be it whole or not, is not answered yet."""
        begun = self.cycle is not None  # as it is before the first request
        return begun and not self.cycle.response_complete

    @property
    def unfinished(self) -> bool:
        """Whether a request has come in part."""
        return self.head_open or self.body_open

    def wait(self) -> None:
        """Hang up unless the caller does something in time."""
        self.stop_waiting()
        self.timer = self.loop.call_later(self.seconds, self.hang_up)

    def stop_waiting(self) -> None:
        """Note that it is done."""
        if self.timer:
            self.timer.cancel()
            self.timer = None

    def hang_up(self) -> None:
        """End; a caller who waits for an answer to half a request is told why."""
        if self.body_open and not self.cycle.response_started and not self.pipeline:
            self.refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.transport.abort()
