"""Servers for tests: stand-ins for what no test machine has, and waiting for real ones."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from http.client import HTTPResponse
    from pathlib import Path

    from project import Project

PATIENCE = 180  # seconds that a server may take to install and to start

_Found = TypeVar("_Found")


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


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

    def answer(self, method: str, path: str, body: str) -> object:
        """What JSON it answers."""
        del method
        self.asked.append((path, body))
        return {}


class Answer(BaseHTTPRequestHandler):
    """One answer of a stand-in."""

    server: StandIn

    def do_POST(self) -> None:
        """Read the body, answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        answer = json.dumps(self.server.answer(self.command, self.path, body)).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    do_GET = do_PATCH = do_PUT = do_POST  # noqa: N815  the names that the library looks for

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


_StandIn = TypeVar("_StandIn", bound=StandIn)


@contextmanager
def stand_in(server: _StandIn) -> Iterator[_StandIn]:
    """A stand-in that listens."""
    with server:
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


class Reply(NamedTuple):
    """What a service answered."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    text: str

    @property
    def body(self) -> Any:  # noqa: ANN401  JSON may be anything
        """What the text says as JSON."""
        return json.loads(self.text)


class Metrics(NamedTuple):
    """What a service tells Prometheus."""

    text: str

    def total(self, name: str, **labels: str) -> float:
        """The sum of all series of a metric that have these labels; there is one at least."""
        pairs = [f'{label}="{value}"' for label, value in labels.items()]
        found = [
            float(line.rpartition(" ")[2])
            for line in self.text.splitlines()
            if re.match(rf"{name}[ {{]", line) and all(pair in line for pair in pairs)
        ]
        assert found, f"There is no {name} with {labels}:\n{self.text}"
        return sum(found)


class Service:
    """`ops serve`, as a process of its own."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, path: str) -> None:
        """Wait until it says where it listens, and answers well on this path."""
        self.process = process
        self.log = log
        self.address = self._until(self._named)
        self._until(lambda: self._answers(path))

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self.address.rpartition(":")[2])

    @property
    def said(self) -> str:
        """All that it has printed so far."""
        return self.log.read_text()

    def ask(self, path: str, body: object = None, /, **headers: str) -> Reply:
        """Send JSON, bytes, or nothing at all; `_` in the name of a header stands for `-`."""
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        request = Request(  # noqa: S310  the address is ours
            self.address + path, data, {"Content-Type": "application/json"} | given
        )
        try:
            with urlopen(request, timeout=PATIENCE) as answer:  # noqa: S310
                return _reply(answer.status, answer)
        except HTTPError as error:
            with error:
                return _reply(error.code, error)

    def metrics(self) -> Metrics:
        """What it tells Prometheus."""
        return Metrics(self.ask("/metrics").text)

    def workers(self) -> list[int]:
        """The processes that answer, where there are several."""
        command = ["pgrep", "-P", str(self.process.pid), "-f", "spawn_main"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        return [int(line) for line in found.stdout.split()]

    def end(self) -> int:
        """Send SIGTERM and wait; gives the exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE)

    def _named(self) -> str:
        found = re.search(r" is served at (http://\S+)\n", self.said)
        return found[1] if found else ""

    def _answers(self, path: str) -> bool:
        try:
            return self.ask(path).status == 200
        except URLError:  # the port is taken, but nobody listens yet
            return False

    def _until(self, condition: Callable[[], _Found]) -> _Found:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            if found := condition():
                return found
            assert self.process.poll() is None, f"The service has ended:\n{self.said}"
            time.sleep(0.02)
        raise AssertionError(f"The service does not come up:\n{self.said}")


def _reply(status: int, answer: HTTPResponse | HTTPError) -> Reply:
    headers = {name.lower(): value for name, value in answer.headers.items()}
    return Reply(status, headers, answer.read().decode())


@contextmanager
def service(
    command: Sequence[str],
    folder: Path,
    log: Path,
    environment: Mapping[str, str],
    *,
    path: str = "/ready",
) -> Iterator[Service]:
    """A service on a free port; it ends with the block, if not before.

    Args:
        command: `ops serve` and its options.
        folder: the project.
        log: a new file for what it prints.
        environment: all variables that it sees.
        path: what it must answer well before the block begins.
    """
    with log.open("xb") as file:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={"PORT": "0", **environment},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Service(process, log, path)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise


@contextmanager
def registry(
    project: Project, folder: Path, files: str, group: str = "ui", **variables: str
) -> Iterator[str]:
    """An MLflow server, by its address; it ends with the block.

    Args:
        project: whose lock names its version.
        folder: for what it knows.
        files: where it keeps files.
        group: of the dependencies that it is made of.
        variables: that it sees besides those of the project.
    """
    port = free_port()
    own = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "UV_PROJECT_ENVIRONMENT": f".venv-{group}",
    }
    environment = {**project.environment, **own, **variables}
    environment.pop("UV_NO_SYNC", None)
    command = ["uv", "run", "--quiet", "--only-group", group, "mlflow", "server", "--workers", "1"]
    places = [
        f"--backend-store-uri=sqlite:///{folder}/server.db",
        f"--artifacts-destination={files}",
    ]
    with (folder / "registry.log").open("wb") as log:
        process = subprocess.Popen(
            [*command, "--host=127.0.0.1", f"--port={port}", *places],
            cwd=project.root,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    address = f"http://127.0.0.1:{port}"
    try:
        page(f"{address}/health")
        yield address
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=PATIENCE)
