"""What the environment says of the service: its bundle, its address, its limits and its keys."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

from ..errors import UserError


@dataclass(frozen=True)
class Settings:
    """Each field is read from the variable of the same name in capitals."""

    bundle: str = "models/champion"
    """A folder, or a version in an MLflow registry: http://HOST:PORT/NAME@ALIAS."""
    shadow: str = ""
    """The same, for a model that is tried out beside; none by default."""
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    """Processes that answer; each has one thread for its model."""
    predictions: str = "data/served"
    """The folder that holds the logs: `predictions/`, `feedback/`, `refusals/` and `shadow/`."""
    flush_seconds: float = 1.0
    """How long an answered row may wait in memory before it is written."""
    poll_seconds: float = 1.0
    """How often the service looks for a new champion."""
    api_keys: str = ""
    """Keys that callers must show one of, separated by commas; none: everybody may ask."""
    api_keys_file: str = ""
    """The same, one to a line, in a file such as a mounted secret."""
    max_rows: int = 1_000
    """Rows in one request."""
    max_body_bytes: int = 4 * 2**20
    max_requests: int = 1_000
    """Requests that a worker answers at once; more are turned away with 503."""
    head_seconds: float = 10.0
    """How long the head of a request, or its body, may take to arrive."""

    @classmethod
    def read(cls, environment: Mapping[str, str]) -> Self:
        """Read the environment; what it leaves out, or leaves empty, has its default.

        Raises:
            UserError: if a value will not do.
        """
        given: dict[str, Any] = {}
        for item in fields(cls):
            name = item.name.upper()
            if text := environment.get(name, "").strip():
                given[item.name] = _number(name, text, item.type)
        return cls(**given)

    def write(self) -> None:
        """Hand the settings to the workers, which read them from the environment again."""
        for item in fields(self):
            os.environ[item.name.upper()] = str(getattr(self, item.name))

    def keys(self) -> tuple[str, ...]:
        """All keys; empty if nobody needs one.

        Raises:
            UserError: if the file of keys cannot be read, or holds none.
        """
        keys = [key.strip() for key in self.api_keys.split(",")]
        if self.api_keys_file:
            try:
                keys += Path(self.api_keys_file).read_text(encoding="utf-8").split()
            except (OSError, ValueError) as error:
                reason = getattr(error, "strerror", None) or "it is not text"
                raise UserError(
                    f"API_KEYS_FILE: {self.api_keys_file} cannot be read: {reason}."
                ) from None
        found = tuple(key for key in keys if key)
        if self.api_keys_file and not found:
            raise UserError(f"API_KEYS_FILE: {self.api_keys_file} holds no key.")
        return found


def _number(name: str, text: str, kind: Any) -> str | int | float:
    """Read a value as its field's type; a number is above zero, a port may be zero."""
    if kind is str:
        return text
    try:
        value: int | float = kind(text)
    except ValueError:
        value = -1
    if not (0 < value < float("inf") or (name == "PORT" and value == 0)):
        whole = "whole number" if kind is int else "number"
        raise UserError(f"{name} is {text!r}, and must be a {whole} above zero.")
    if name == "PORT" and value > 65_535:
        raise UserError(f"PORT is {text}, and must be at most 65535.")
    return value
