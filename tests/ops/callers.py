"""People and machines that call a service: many at once, and not all of them well behaved."""

from __future__ import annotations

import asyncio
import json
from typing import Any, NamedTuple, Self

PATIENCE = 60
"""Seconds after which a service that says nothing is taken to be stuck."""


class Reply(NamedTuple):
    """What a service answered."""

    status: int
    headers: dict[str, str]
    body: Any


class Line:
    """A connection, on which one request follows another.

    Attributes:
        closes: whether the last answer says that it is the last.
    """

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Use `open` instead."""
        self._reader, self._writer = reader, writer
        self.closes = False

    @classmethod
    async def open(cls, port: int) -> Self:
        """Connect to a service on this machine."""
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    async def __aenter__(self) -> Self:
        """Be closed by a block."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Hang up."""
        self.drop()

    async def send(self, data: bytes) -> None:
        """Send some bytes, be they a whole request or not."""
        self._writer.write(data)
        await self._writer.drain()

    async def reply(self) -> Reply:
        """The next answer; ConnectionError if the service hangs up instead."""
        async with asyncio.timeout(PATIENCE):
            try:
                head = await self._reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode().rstrip().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines)
                body = await self._reader.readexactly(int(headers["content-length"]))
            except asyncio.IncompleteReadError as error:
                raise ConnectionError("the service hung up") from error
        self.closes = headers.get("connection") == "close"
        return Reply(int(first.split()[1]), headers, json.loads(body))

    async def post(self, body: bytes, path: str = "/predict") -> Reply:
        """Send a whole request and wait for its answer."""
        await self.send(request(body, path))
        return await self.reply()

    async def silence(self) -> bytes:
        """All that comes until the service hangs up, which it does in time."""
        async with asyncio.timeout(PATIENCE):
            return await self._reader.read()

    def drop(self) -> None:
        """Hang up at once, whatever was still to come."""
        self._writer.transport.abort()


def request(
    body: bytes, path: str = "/predict", kind: str = "application/json", length: int | None = None
) -> bytes:
    """A request, byte by byte; it may lie about its length."""
    size = len(body) if length is None else length
    head = f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: {kind}\r\n"
    return f"{head}Content-Length: {size}\r\n\r\n".encode() + body


def chunked(body: bytes, path: str = "/predict") -> bytes:
    """The same request in pieces."""
    head = (
        f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\n\r\n"
    )
    pieces = [body[start : start + 100] for start in range(0, len(body), 100)]
    return head.encode() + b"".join(b"%x\r\n%s\r\n" % (len(it), it) for it in [*pieces, b""])
