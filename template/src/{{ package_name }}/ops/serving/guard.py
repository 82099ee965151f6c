"""What stands before every request: keys, limits, and headers that protect a browser."""

import asyncio
import hashlib
import hmac
from collections.abc import Iterable
from http import HTTPStatus

from starlette.types import Message, Receive, Scope, Send

SECURITY_HEADERS: list[tuple[bytes, bytes]] = [
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
]
PAGE_HEADERS: list[tuple[bytes, bytes]] = [
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
]
NO_SOURCES = b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"


class Turned(Exception):
    """A request that is turned away: its status and one sentence."""

    def __init__(self, status: HTTPStatus, sentence: str, *headers: tuple[bytes, bytes]) -> None:
        """Say why, and what the caller may do."""
        super().__init__(sentence)
        self.status = status
        self.headers = headers


class Gone(Exception):
    """The caller went away before the request was whole."""


class Keys:
    """The keys of those who may ask. Only their hashes are held."""

    def __init__(self, keys: Iterable[str]) -> None:
        """Take the keys; none at all lets everybody ask."""
        self._hashes = [_hash(key.encode()) for key in keys]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._hashes)

    def check(self, scope: Scope) -> None:
        """Look for a key in `Authorization: Bearer` or `X-API-Key`, in constant time.

        Raises:
            Turned: if there is no key that fits.
        """
        shown = None
        for name, value in scope["headers"]:
            if name == b"x-api-key":
                shown = value
            elif name == b"authorization" and value[:7].lower() == b"bearer ":
                shown = value[7:].strip()
        if shown is not None:
            # All are compared, so that the time says nothing of which one fits.
            found = _hash(shown)
            if sum(hmac.compare_digest(found, known) for known in self._hashes):
                return
        raise Turned(
            HTTPStatus.UNAUTHORIZED,
            "Show a key, as in `Authorization: Bearer KEY`.",
            (b"www-authenticate", b"Bearer"),
        )


async def read(receive: Receive, most_bytes: int, seconds: float) -> bytes:
    """Read the body of a request.

    Raises:
        Turned: if it is too long or too slow.
        Gone: if the caller hangs up.
    """
    parts: list[bytes] = []
    size, more = 0, True
    clock = asyncio.get_running_loop().time
    deadline = clock() + seconds
    while more:
        part, more = _part(await receive_in(receive, deadline - clock()))
        size += len(part)
        # What is too much is taken in and let go: who is still sending would not hear the answer.
        if size <= most_bytes:
            parts.append(part)
    if size > most_bytes:
        raise Turned(
            HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
            f"The body is larger than {most_bytes:,} bytes; send fewer rows at once.",
            (b"connection", b"close"),
        )
    return b"".join(parts)


async def receive_in(receive: Receive, seconds: float) -> Message:
    """Wait for the next part of a request.

    Raises:
        Turned: if it does not come in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await receive()
    except TimeoutError:
        raise Turned(
            HTTPStatus.REQUEST_TIMEOUT,
            "The body did not arrive in time.",
            (b"connection", b"close"),
        ) from None


def _part(message: Message) -> tuple[bytes, bool]:
    if message["type"] == "http.disconnect":
        raise Gone
    return message.get("body", b""), message.get("more_body", False)


def json_only(scope: Scope) -> None:
    """Take JSON only; a form of another site can then not post here.

    Raises:
        Turned: if the body is something else.
    """
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value.partition(b";")[0].strip().lower() == b"application/json":
                return
            break
    raise Turned(
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Send JSON, with `Content-Type: application/json`."
    )


async def respond(
    send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with JSON."""
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                *SECURITY_HEADERS,
                *headers,
            ],
        }
    )
    await send({"type": "http.response.body", "body": body})


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
