"""The servers that are compared: how each is started, asked and understood."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from render import run as call

if TYPE_CHECKING:
    from .trained import Trained

PROGRAMS = Path(__file__).parent / "servers"
LIBRARIES = ("scikit-learn", "onnxruntime", "numpy")
"""The same in all environments, as the project has them."""

PATIENCE = 120.0
"""Seconds that a server may take to start, or to answer."""

OURS = "`ops serve`"
JSON = {"Content-Type": "application/json"}

Rows = Sequence[Sequence[float]]


class Memory(NamedTuple):
    """What a server's processes hold, in MB."""

    resident: float
    """Pages that are shared count once for each process."""

    proportional: float
    """Pages that are shared are divided between those who share them."""


@dataclass(frozen=True)
class Contender:
    """One server."""

    name: str
    command: Sequence[str | Path]
    """It ends with the port."""
    folder: Path
    variables: Mapping[str, str]
    path: str
    asked: Callable[[Rows], Any]
    """The body of a request for some rows."""
    told: Callable[[Any], Rows]
    """The probabilities in an answer to many rows."""

    def body(self, rows: Rows) -> bytes:
        """A request, in one line."""
        return json.dumps(self.asked(rows)).encode()

    @contextmanager
    def started(self) -> Iterator[Server]:
        """The server, alone in a session of its own; all of its processes end with it."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            port: int = taken.getsockname()[1]
        log = self.folder / f"{self.path.strip('/')}-{port}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [*map(str, self.command), str(port)],
                cwd=self.folder,
                env=dict(self.variables),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Server(self, process, port, log)
        try:
            yield server
        finally:
            server.stop()
        log.unlink()


@dataclass(frozen=True)
class Server:
    """A server that runs."""

    contender: Contender
    process: subprocess.Popen[bytes]
    port: int
    log: Path

    @property
    def address(self) -> str:
        """Where it is asked."""
        return f"http://127.0.0.1:{self.port}{self.contender.path}"

    def first(self, rows: Rows) -> None:
        """Ask until there is an answer.

        Raises:
            SystemExit: if the server ends before, or takes too long.
        """
        body = self.contender.body(rows)
        until = time.monotonic() + PATIENCE
        while True:
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self._post(body).status == http.HTTPStatus.OK:
                    return
            if self.process.poll() is not None or time.monotonic() > until:
                sys.exit(f"{self.contender.name} does not answer:\n{self.log.read_text()}")
            time.sleep(0.005)

    def ask(self, rows: Rows) -> Rows:
        """The probabilities of some rows.

        Raises:
            SystemExit: if the server refuses.
        """
        answer = self._post(self.contender.body(rows))
        if answer.status != http.HTTPStatus.OK:
            sys.exit(f"{self.contender.name} answers {answer.status}: {answer.text}")
        return self.contender.told(json.loads(answer.text))

    def memory(self) -> Memory:
        """What its processes hold now."""
        resident = proportional = 0
        for process in self._processes():
            with contextlib.suppress(OSError):
                told = Path(f"/proc/{process}/smaps_rollup").read_text()
                sizes = dict(line.split(":", 1) for line in told.splitlines()[1:])
                resident += int(sizes["Rss"].split()[0])
                proportional += int(sizes["Pss"].split()[0])
        return Memory(resident * 1024 / 1e6, proportional * 1024 / 1e6)

    def stop(self) -> None:
        """End it, and whatever it started."""
        started = self._processes()
        self.process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(20)
        for process in {*started, *self._processes()}:
            with contextlib.suppress(OSError):
                os.kill(process, signal.SIGKILL)
        self.process.wait()

    def _processes(self) -> list[int]:
        """All that it started: those of its session, and the children of any of them."""
        known: dict[int, tuple[int, int]] = {}
        for about in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                parent, _, session = about.read_text().rpartition(")")[2].split()[1:4]
                known[int(about.parent.name)] = int(parent), int(session)
        found = {self.process.pid}
        while more := {
            process
            for process, (parent, session) in known.items()
            if process not in found and (parent in found or session in found)
        }:
            found |= more
        return sorted(found & known.keys())

    def _post(self, body: bytes) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        with contextlib.closing(connection):
            connection.request("POST", self.contender.path, body, JSON)
            response = connection.getresponse()
            return Answer(response.status, response.read().decode())


class Answer(NamedTuple):
    """What a server says to one request."""

    status: int
    text: str


def contenders(place: Path, project: Trained, columns: Sequence[str]) -> list[Contender]:
    """All servers, each with one worker; `place` holds the fitted pipeline."""
    packages = dict(zip(LIBRARIES, versions(project.bin / "python", *LIBRARIES), strict=True))
    onnx = project.root / "models" / "champion" / "model.onnx"
    bento = Environment(place, project, "bentoml", packages)
    lit = Environment(place, project, "litserve", packages)
    return [
        ours(project, columns),
        mlflow(Environment(place, project, "mlflow", packages), columns),
        *(
            Contender(
                f"BentoML {bento.version}, {kind}",
                ("bin/bentoml", "serve", "bentoml_service:Model", "--host", "127.0.0.1", "--port"),
                bento.folder,
                {**bento.variables, "SCORER": str(model), "BENTOML_DO_NOT_TRACK": "True"},
                "/predict",
                lambda rows: {"rows": rows},
                lambda answer: answer,
            )
            for kind, model in (("scikit-learn", place / "pipeline.joblib"), ("ONNX", onnx))
        ),
        *(
            Contender(
                f"LitServe {lit.version}, {kind}",
                ("bin/python", PROGRAMS / "litserve_server.py"),
                lit.folder,
                {**lit.variables, "SCORER": str(model)},
                "/predict",
                lambda rows: {"rows": rows},
                lambda answer: answer["probabilities"],
            )
            for kind, model in (("scikit-learn", place / "pipeline.joblib"), ("ONNX", onnx))
        ),
    ]


def ours(project: Trained, columns: Sequence[str]) -> Contender:
    """The project's own service, as it is rendered."""

    def asked(rows: Rows) -> object:
        named = [dict(zip(columns, row, strict=True)) for row in rows]
        return named if len(named) > 1 else named[0]

    def told(answer: dict[str, Any] | list[dict[str, Any]]) -> Rows:
        answers = answer if isinstance(answer, list) else [answer]
        return [list(each["probabilities"].values()) for each in answers]

    command = (project.bin / "ops", "serve", "--port")
    return Contender(OURS, command, project.root, project.variables, "/predict", asked, told)


def mlflow(environment: Environment, columns: Sequence[str]) -> Contender:
    """MLflow's server, with the pipeline saved as its users do."""
    model = environment.folder / "model"
    shutil.rmtree(model, ignore_errors=True)
    environment.run("bin/python", PROGRAMS / "mlflow_model.py", environment.folder.parent, model)
    command = ("bin/mlflow", "models", "serve", "--env-manager", "local", "-m", model, "--port")
    return Contender(
        f"`mlflow models serve` {environment.version}, scikit-learn",
        command,
        environment.folder,
        environment.variables,
        "/invocations",
        lambda rows: {"dataframe_split": {"columns": columns, "data": rows}},
        lambda answer: answer["predictions"],
    )


class Environment:
    """A virtual environment with a server in it."""

    def __init__(
        self, place: Path, project: Trained, name: str, packages: Mapping[str, str]
    ) -> None:
        """Make it, unless it is there with the same packages."""
        self.folder = place / name
        python = self.folder / "bin" / "python"
        self.variables = {
            **project.variables,
            "PATH": f"{self.folder / 'bin'}{os.pathsep}{project.variables['PATH']}",
            "PYTHONPATH": str(PROGRAMS),
            "OMP_NUM_THREADS": "1",
        }
        wanted = [
            name,
            "pandas",
            "uvloop",
            "httptools",
            *(f"{key}=={value}" for key, value in packages.items()),
        ]
        running = call(project.bin / "python", "--version", cwd=place)
        made = f"{running}{wanted}"
        stamp = self.folder / "packages"
        if not stamp.exists() or stamp.read_text() != made:
            shutil.rmtree(self.folder, ignore_errors=True)
            uv = ("uv", "--quiet")
            self.run(*uv, "venv", "--python", project.bin / "python", self.folder, cwd=place)
            self.run(*uv, "pip", "install", "--compile-bytecode", "--python", python, *wanted)
            stamp.write_text(made)
        (self.version,) = versions(python, name)

    def run(self, *command: str | Path, cwd: Path | None = None) -> str:
        """Run a command in its folder."""
        return call(*command, cwd=cwd or self.folder, env=self.variables)


def versions(python: Path, *names: str) -> list[str]:
    """The versions of packages in an environment."""
    code = f"from importlib.metadata import version; print(*map(version, {names}))"
    return call(python, "-c", code, cwd=python.parent).split()
