"""What the service says of itself, line by line: as text or as JSON, and of which request."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from threading import Event
from traceback import format_tb
from typing import Any

import msgspec

from .settings import Settings

REQUEST = ContextVar("request", default="")
"""The id of the request that is being answered."""

CALLER = ContextVar("caller", default="")
"""The name of the key by which it was sent."""

SENSITIVE = Event()
"""Set once a contract has sensitive columns: what an exception says may hold their values."""

CONTROL = {number: ascii(chr(number))[1:-1] for number in (*range(32), *range(127, 160), 0x2028)}


def set_up(settings: Settings) -> None:
    """Let the service say what it does, and the libraries what worries them."""
    handler = logging.StreamHandler()
    handler.setFormatter(Json() if settings.log_format == "json" else Text())
    logging.basicConfig(handlers=[handler], force=True)
    logging.getLogger("service").setLevel(settings.log_level.upper())


class Text(logging.Formatter):
    """A line for people; what a caller has sent begins no other line."""

    def formatMessage(self, record: logging.LogRecord) -> str:
        """Write it without what comes after it, as a traceback."""
        request = f"[{REQUEST.get()}] " if REQUEST.get() else ""
        message = record.message.translate(CONTROL)
        return f"{self.formatTime(record)} {record.levelname} {request}{message}"

    def formatException(self, ei: Any) -> str:
        """Write a traceback; if columns are sensitive, without what the exception says."""
        told = f"{''.join(format_tb(ei[2]))}{ei[0].__name__}"
        return told if SENSITIVE.is_set() else super().formatException(ei)


class Json(Text):
    """A line for programs."""

    def format(self, record: logging.LogRecord) -> str:
        """Write it."""
        told = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            "request_id": REQUEST.get(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info:
            told["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(told).decode()
