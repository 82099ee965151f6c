"""Servers for tests: stand-ins for what no test machine has, and waiting for real ones."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING
from urllib.request import urlopen

if TYPE_CHECKING:
    from collections.abc import Iterator

    from project import Project

PATIENCE = 180  # seconds that a server may take to install and to start


class StandIn(ThreadingHTTPServer):
    """Answers every request with an empty JSON object, and remembers what it was asked.

    So a database of vulnerabilities knows of none, and GitLab has taken a note.
    """

    def __init__(self) -> None:
        self.asked: list[tuple[str, str]] = []
        super().__init__(("127.0.0.1", 0), Answer)

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """One answer of a stand-in."""

    server: StandIn

    def do_POST(self) -> None:
        """Remember path and body; answer with nothing."""
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.asked.append((self.path, body))
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


@contextmanager
def stand_in() -> Iterator[StandIn]:
    """A stand-in that listens."""
    with StandIn() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield server
        finally:
            server.shutdown()


def visit(project: Project, command: str) -> str:
    """Start a server as a person does, open the page that it names, stop it; gives the page."""
    process = subprocess.Popen(
        ["bash", "-c", f"exec {command}"],
        cwd=project.root,
        env=dict(project.environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    watchdog = threading.Timer(PATIENCE, os.killpg, (process.pid, signal.SIGKILL))
    watchdog.start()
    said = []
    try:
        assert process.stdout
        for line in process.stdout:
            said.append(line)
            if address := re.search(r"http://(?:127\.0\.0\.1|localhost):\d+[^\s)]*", line):
                return page(address[0])
        raise AssertionError(f"{command} named no page:\n{''.join(said)}")
    finally:
        watchdog.cancel()
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGTERM)
        process.communicate(timeout=PATIENCE)


def page(address: str) -> str:
    """What a server answers, as soon as it does."""
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            with urlopen(address, timeout=10) as answer:  # noqa: S310 (the address is ours)
                return str(answer.read().decode())
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)
