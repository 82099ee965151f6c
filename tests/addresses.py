"""Serves the scripts that a document runs by their address."""

from __future__ import annotations

import functools
import http.server
import re
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RAW = re.compile(r"https://raw\.githubusercontent\.com/copier-mlops/copier-mlops/main/hooks")


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """A folder over HTTP: its address."""
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves files without a word."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""
