"""What the environment says of the service: its bundle, its address, its limits and its keys."""

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

import msgspec
from msgspec import Meta

from ..errors import UserError

Count = Annotated[int, Meta(gt=0, description="a whole number above zero")]
Seconds = Annotated[float, Meta(gt=0, lt=1e9, description="a number above zero")]
Delay = Annotated[float, Meta(ge=0, lt=1e9, description="a number of at least zero")]
Switch = Annotated[bool, Meta(description="true or false")]
UnknownFields = Annotated[Literal["name", "refuse"], Meta(description="name or refuse")]
LogFormat = Annotated[Literal["text", "json"], Meta(description="text or json")]
Levels = Literal["debug", "info", "warning", "error"]
LogLevel = Annotated[Levels, Meta(description="debug, info, warning or error")]
Port = Annotated[int, Meta(ge=0, lt=2**16, description="a whole number of at most 65535")]

COMMENT = re.compile(r"(^|\s)#.*")
"""In a file of keys."""


@cache
def warn(sentence: str) -> None:
    """Say something, once."""
    logging.getLogger("service").warning(sentence)


@dataclass(frozen=True)
class Strictness:
    """How a request is read, whatever the contract."""

    max_rows: Count = 1_000
    """In one request."""
    strict_types: Switch = True
    """Whether text in place of a number, and the like, is refused, as it will be in any case by
    0.6.0; else it is read and counted."""
    unknown_fields: Literal["name", "refuse", "ignore"] = "name"
    """What becomes of a field that the contract does not know: named in the answer, refused, or, by
    a shadow, ignored. Else a row of such alone and a name close to an absent one are refused."""


@dataclass(frozen=True)
class Settings(Strictness):
    """Each field is read from the variable of the same name in capitals."""

    unknown_fields: UnknownFields = "name"
    bundle: str = "models/champion"
    """A folder, or a version in an MLflow registry: http://HOST:PORT/NAME@ALIAS."""
    shadow: str = ""
    """The same, for a model that is tried out beside; none by default."""
    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Count = 1
    """Processes that answer; each has one thread for its model."""
    predictions: str = "data/served"
    """The folder that holds the logs: `predictions/`, `feedback/`, `refusals/` and `shadow/`."""
    flush_seconds: Seconds = 1.0
    """How long an answered row may wait in memory before it is written."""
    poll_seconds: Seconds = 1.0
    """How often the service looks for a new champion."""
    api_keys: str = ""
    """Keys that callers must show one of, separated by commas; none: everybody may ask."""
    api_keys_file: str = ""
    """The same, one to a line, in a file such as a mounted secret; it may change meanwhile."""
    pages_need_key: Switch = False
    """Whether a key is needed for all that is read, too, but for what tells whether it runs."""
    max_body_bytes: Count = 4 * 2**20
    max_requests: Count = 1_000
    """Requests that a worker answers at once; more are turned away with 503."""
    max_connections: Count = 2_000
    """Connections of a worker; more end those that have asked for nothing the longest."""
    max_waiting_bytes: Count = 64 * 2**20
    """Of long requests in a worker, together; more are turned away with 503."""
    request_seconds: Seconds = 10.0
    """How long a request may wait for its answer; then it is turned away with 503."""
    head_seconds: Seconds = 10.0
    """How long a caller may take to send a head, or a body, or to read an answer."""
    keep_alive_seconds: Count = 75
    """How long a connection may be idle; more than a balancer in front keeps it for."""
    drain_seconds: Delay = 0.0
    """How long all is answered after SIGTERM, but `/ready` says 503; then the door closes."""
    log_format: LogFormat = "text"
    """How the service says what it does."""
    log_level: LogLevel = "info"
    access_log: Switch = False
    """Whether it says what was asked, by whom, and how it was answered."""
    aip_health_route: str = "/ping"
    aip_predict_route: str = "/predict"
    """What Vertex AI asks for."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment; what it leaves out, or leaves empty, has its default.

        A UserError if a value will not do.
        """
        given: dict[str, Any] = {}
        for field, kind in get_type_hints(cls, include_extras=True).items():
            name = field.upper()
            if text := environment.get(name, "").strip():
                try:
                    given[field] = msgspec.convert(text, kind, strict=False)
                except msgspec.ValidationError:
                    expected = get_args(kind)[1].description
                    raise UserError(f"{name} is {text!r}, and must be {expected}.") from None
        return cls(**given)

    def keys(self) -> tuple[str, ...]:
        """All keys, as `access.Key` reads them; empty if nobody needs one.

        A UserError if the file of keys cannot be read, or holds none.
        """
        keys = [key.strip() for key in self.api_keys.split(",") if key.strip()]
        if self.api_keys_file:
            try:
                text = Path(self.api_keys_file).read_text(encoding="utf-8")
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is not text"
                raise UserError(
                    f"API_KEYS_FILE: {self.api_keys_file} cannot be read: {reason}."
                ) from None
            lines = [
                words for line in text.splitlines() if (words := COMMENT.sub("", line).split())
            ]
            if any(len(words) > 1 for words in lines):
                warn("API_KEYS_FILE: a line holds several keys; from 0.6.0 it must hold one.")
            listed = [key for words in lines for key in words]
            if not listed:
                raise UserError(f"API_KEYS_FILE: {self.api_keys_file} holds no key.")
            keys += listed
        return tuple(keys)
