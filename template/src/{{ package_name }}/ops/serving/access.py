"""What stands before every request: keys, limits, and headers that protect a browser."""

import base64
import gzip
import hashlib
import hmac
import io
import os
import re
import zlib
from collections.abc import Callable, Iterable, Mapping
from http import HTTPStatus
from typing import NamedTuple, Self

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from ..errors import UserError

SECURITY_HEADERS = [(b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff")]
PAGE_HEADERS = [
    *SECURITY_HEADERS,
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
]
"""Of what a browser may show."""

NO_SOURCES = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"

HeaderFields = Mapping[bytes, bytes]
"""By their names in lower case."""

ID = re.compile(rb"[\w.:/+=-]{1,128}")
TRACE = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-")
"""The beginning of W3C's `traceparent`."""

SCOPES = ("predict", "feedback")
"""What a key may be for; one that names none is for both."""

LEAST_KEY = 8
ZIPPED = (b"gzip", b"x-gzip")

LONG_BYTES = 16 * 1024
"""A longer request is read and scored in a thread, so that the others need not wait for it."""

SOON = {"retry-after": "1"}


class Overloaded(HTTPException):
    """There is no room for a request now."""

    def __init__(self) -> None:
        """Say so."""
        sentence = "Too many requests at once; try again."
        super().__init__(HTTPStatus.SERVICE_UNAVAILABLE, sentence, SOON)


class Key(NamedTuple):
    """A key, as far as it is held."""

    name: str
    """Of whom it is for; empty if the key has none."""
    scopes: tuple[str, ...]
    digest: bytes

    @classmethod
    def read(cls, entry: str) -> Self:
        """Read `KEY`, `NAME:KEY`, `SCOPE:KEY` or `NAME:SCOPE:KEY`; a UserError if it is short."""
        *about, key = entry.split(":")
        if len(key) < LEAST_KEY:
            raise UserError(
                f"A key has fewer than {LEAST_KEY} characters; make one by `openssl rand -hex 16`."
            )
        scopes = tuple(scope for scope in SCOPES if scope in about) or SCOPES
        name = next((word for word in about if word not in SCOPES), "")
        return cls(name, scopes, _hash(key.encode()))


class Keys:
    """The keys of those who may ask. Only their hashes are held."""

    def __init__(self, entries: Iterable[str]) -> None:
        """Take the keys, see `Key.read`; none at all lets everybody ask."""
        self._keys = [Key.read(entry) for entry in entries]

    def __bool__(self) -> bool:
        """Whether a key is needed."""
        return bool(self._keys)

    def check(self, headers: HeaderFields, scope: str = "") -> str:
        """Look for a key in `Authorization: Bearer` or `X-API-Key`, in constant time.

        Args:
            headers: of the request.
            scope: what the key must be for; by default any will do.

        Returns:
            Whose key it is.

        Raises:
            HTTPException: if there is no key that fits.
        """
        kind, _, shown = headers.get(b"authorization", b"").partition(b" ")
        if kind.lower() != b"bearer":
            shown = headers.get(b"x-api-key", b"")
        # All are compared, so that the time says nothing of which one fits.
        found = _hash(shown.strip())
        fitting = [key for key in self._keys if hmac.compare_digest(found, key.digest)]
        if not fitting:
            raise HTTPException(
                HTTPStatus.UNAUTHORIZED,
                "Show a key, as in `Authorization: Bearer KEY`.",
                {"www-authenticate": "Bearer"},
            )
        if scope and not any(scope in key.scopes for key in fitting):
            raise HTTPException(HTTPStatus.FORBIDDEN, f"This key is not for {scope}.")
        return fitting[0].name


def check_kind(headers: HeaderFields) -> None:
    """Take JSON in UTF-8 only, zipped or not; a form of another site can then not post here.

    An HTTPException if the body is something else.
    """
    kind, *more = headers.get(b"content-type", b"").lower().replace(b" ", b"").split(b";")
    charsets = {its.replace(b'"', b"") for its in more if its.startswith(b"charset=")}
    wrong = kind != b"application/json" or not charsets <= {b"charset=utf-8", b"charset=utf8"}
    if wrong or headers.get(b"content-encoding", b"").lower() not in (b"", b"identity", *ZIPPED):
        raise HTTPException(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
            "Send JSON in UTF-8, with `Content-Type: application/json`; as it is, or as gzip.",
            {"accept-encoding": "gzip"},
        )


def unzipped(body: bytes, most_bytes: int) -> bytes:
    """What a zipped body holds; an HTTPException if it is not zipped, or too long."""
    try:
        with gzip.open(io.BytesIO(body)) as file:
            content = file.read(most_bytes + 1)
    except (OSError, EOFError, zlib.error):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The body is not gzip, or not whole.") from None
    if len(content) > most_bytes:
        raise too_large(most_bytes)
    return content


def page_policy(page: str) -> str:
    """A policy that lets the page run its own script and style, and ask this service only."""
    policy = [NO_SOURCES, "connect-src 'self'", "img-src data:"]
    for tag in ("script", "style"):
        found = re.search(rf"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = hashlib.sha256((found[1] if found else "").encode()).digest()
        policy.append(f"{tag}-src 'sha256-{base64.b64encode(digest).decode()}'")
    return "; ".join(policy)


def request_id(headers: HeaderFields) -> str:
    """What a caller calls a request, or what it is called here."""
    if ID.fullmatch(given := headers.get(b"x-request-id", b"")):
        return given.decode()
    traced = TRACE.match(headers.get(b"traceparent", b""))
    return traced[1].decode() if traced else os.urandom(8).hex()


async def read(receive: Receive, most_bytes: int, hold: Callable[[int], None]) -> bytes:
    """Read the body of a request; that it comes in time is for the server to see to.

    Args:
        receive: gives it in parts.
        most_bytes: that it may have.
        hold: told how many bytes are here, as long as that is not too many.

    Raises:
        HTTPException: if it is too long, or as `hold` does.
        ClientDisconnect: if the caller hangs up.
    """
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        # The rest is taken in and let go: who is still sending would hear no answer.
        if size <= most_bytes:
            hold(size)
            parts.append(part)
    if size > most_bytes:
        raise too_large(most_bytes)
    return b"".join(parts)


def too_large(most_bytes: int) -> HTTPException:
    """What is said of a body that is."""
    sentence = f"The body is larger than {most_bytes:,} bytes; send fewer rows at once."
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    return HTTPException(status, sentence, {"connection": "close"})


def _hash(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
