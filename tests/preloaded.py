"""Commands of an environment, run by a process that has imported its libraries already.

Half of what a project's command takes is imports, and the suite runs thousands of commands. So an
environment has a server that imports what is heavy, once, and forks at each command: what runs is
the command's own code in its own process, with the caller's files, folder and variables. Of the
project's own code nothing is loaded before. See docs/decisions/0020-the-suite.md.

Run as a script this is both ends: `serve` is the server, `ask` hands it a command.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import json
import os
import runpy
import selectors
import signal
import socket
import subprocess
import sys
import time
from importlib import import_module
from pathlib import Path
from typing import Any

LIBRARIES = (
    "alembic.command",
    "alembic.config",
    "configobj",
    "dataframely",
    "dulwich.client",
    "dulwich.ignore",
    "dulwich.worktree",
    "dvc.cli.parser",
    "dvc.data_cloud",
    "dvc.dirs",
    "dvc.repo.graph",
    "dvc.lock",
    "dvc.repo.artifacts",
    "dvc.repo.index",
    "dvc.repo.open_repo",
    "dvc.repo.plots",
    "dvc.repo.worktree",
    "dvc.rwlock",
    "dvc.scm",
    "dvc.utils.strictyaml",
    "httpx",
    "jinja2",
    "markdown_it",
    "matplotlib.backends.backend_agg",
    "matplotlib.pyplot",
    "mlflow",
    "mlflow.artifacts",
    "mlflow.store.model_registry.sqlalchemy_workspace_store",
    "mlflow.store.tracking.sqlalchemy_workspace_store",
    "msgspec.json",
    "networkx",
    "onnx",
    "polars",
    "prometheus_client",
    "pydantic",
    "ruamel.yaml",
    "scipy.stats",
    "skl2onnx",
    "sklearn.calibration",
    "sklearn.ensemble",
    "sklearn.inspection",
    "sklearn.linear_model",
    "sklearn.model_selection",
    "sklearn.pipeline",
    "sqlalchemy.dialects.sqlite",
    "sqlalchemy.orm",
    "starlette.applications",
)
"""What is loaded. Polars begins its pool of threads at its first use, which is after the fork; what
threads it has from the start clean up in the background, and no command of a test needs them. ONNX
Runtime's are needed, so each command imports it."""

AT_IMPORT = {
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_WAIT_POLICY": "passive",
}
"""What the libraries read when they are imported, as the project sets it."""

READ_AT_START = ("PYTHON", "OMP_", "OPENBLAS_", "MPL", "LC_", "LANG")
"""Variables that begin so count when a process starts: who changes one is not served."""

IDLE, PATIENCE = 120.0, 30.0
"""Seconds after which a server that is not asked ends, and that a first command waits for it."""

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
"""What is handed on, where the caller does not ignore it. A shell's background ignores SIGINT: a
server that begins there must not pass this on to all its commands."""

SOCKET, LOCK, LOG = "preloaded", "preloaded.lock", "preloaded.log"
"""Beside the commands: the server's address, a digest of the variables that it began with, and what
it says where it fails."""

LAUNCHER = """\
#!/bin/sh
here=${{0%/*}}
[ "$1" = serve ] && exec "$here/original/${{0##*/}}" "$@"
exec "{python}" -IS "{module}" ask "$here" "${{0##*/}}" "$@"
"""


def preload(folder: Path, python: Path) -> None:
    """Let `ops` and `dvc` be run by a server, but for what serves itself.

    Args:
        folder: where the two lie; they stay in its folder `original`.
        python: what runs them.
    """
    if not hasattr(os, "pidfd_open"):
        return
    for name in ("ops", "dvc"):
        script, original = folder / name, folder / "original" / name
        if not original.exists() or " ask " not in script.read_text():
            original.parent.mkdir(exist_ok=True)
            script.replace(original)
            script.write_text(LAUNCHER.format(python=python, module=__file__))
            script.chmod(0o755)


def ask(folder: Path, name: str, arguments: list[str]) -> int:
    """Have a command run, and give its exit code.

    Signals are handed on; where this process is killed, the server kills what it runs.
    """
    ignored = [each for each in SIGNALS if signal.getsignal(each) == signal.SIG_IGN]
    command, mask = [str(folder / "original" / name), *arguments], os.umask(0o22)
    os.umask(mask)
    task = {
        "command": command,
        "variables": dict(os.environ),
        "folder": os.getcwd(),  # noqa: PTH109  as it is spelt
        "mask": mask,
        "ignored": ignored,
    }
    connection = connected(folder)
    if connection is None:
        os.execv(command[0], command)  # noqa: S606  the project's own script
    with connection:
        told = json.dumps(task).encode()
        socket.send_fds(connection, [len(told).to_bytes(4, "big")], [0, 1, 2])
        connection.sendall(told)
        for number in set(SIGNALS).difference(ignored):
            signal.signal(number, lambda number, _: connection.sendall(bytes([number])))
        code = connection.recv(1)
    return code[0] if code else 1


def connected(folder: Path) -> socket.socket | None:
    """A connection to the server, which is started if there is none.

    Returns:
        None if the server began with other variables, or is not there in time.
    """
    chosen = {name: text for name, text in os.environ.items() if name.startswith(READ_AT_START)}
    chosen.pop("PYTHONPATH", None)
    digest = hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()
    begun = os.getcwd()  # noqa: PTH109
    os.chdir(folder)  # the address of a socket must be short
    connection, lock = socket.socket(socket.AF_UNIX), Path(LOCK)
    with contextlib.suppress(FileExistsError), lock.open("x") as file:
        file.write(digest)
        start(folder)
    try:
        while lock.read_text() in (digest, ""):
            with contextlib.suppress(FileNotFoundError, ConnectionRefusedError):
                connection.connect(SOCKET)
                return connection
            if time.time() - lock.stat().st_mtime > PATIENCE:
                break
            time.sleep(0.05)
    except FileNotFoundError:  # it ends just now
        pass
    finally:
        os.chdir(begun)
    return None


def start(folder: Path) -> None:
    """Start a server, which ends by itself."""
    with (folder / LOG).open("w") as log:
        subprocess.Popen(
            [sys.executable, __file__, "serve", folder],
            env={**os.environ, **AT_IMPORT},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            cwd="/",
        )


class Server:
    """Forks at each command, and tells its caller how it ended."""

    def __init__(self) -> None:
        """Listen in the folder at hand."""
        self.door = socket.socket(socket.AF_UNIX)
        Path(SOCKET).unlink(missing_ok=True)
        self.door.bind(SOCKET)
        self.door.listen(64)
        self.waits = selectors.DefaultSelector()
        self.waits.register(self.door, selectors.EVENT_READ)
        self.callers: dict[socket.socket, int] = {}
        self.open = True

    def serve(self) -> dict[str, Any]:
        """Wait for commands.

        Returns:
            What to run; in a process of its own, which alone comes back from here.

        Raises:
            SystemExit: if nobody asks any more.
        """
        while True:
            ready = self.waits.select(None if self.callers else IDLE * self.open)
            if not ready and not self.callers:
                self._close()
            for key, _ in ready:
                if key.fileobj is self.door:
                    if task := self._fork():
                        return task
                elif isinstance(key.fileobj, socket.socket):
                    self._hand_on(key.fileobj)
                else:
                    self._end(*key.data)

    def _close(self) -> None:
        """Take the address away; whoever had it by then is still served."""
        if not self.open:
            sys.exit()
        self.open = False
        for name in (SOCKET, LOCK):
            Path(name).unlink(missing_ok=True)

    def _fork(self) -> dict[str, Any] | None:
        """Begin a command; only the process that runs it gets what it is."""
        caller, _ = self.door.accept()
        size, files, _, _ = socket.recv_fds(caller, 4, 3)
        told = b""
        while len(told) < int.from_bytes(size, "big"):
            told += caller.recv(1 << 20)
        if process := os.fork():
            for file in files:
                os.close(file)
            ended = os.pidfd_open(process)
            self.callers[caller] = process
            self.waits.register(caller, selectors.EVENT_READ)
            self.waits.register(ended, selectors.EVENT_READ, (process, ended, caller))
            return None
        os.setpgid(0, 0)
        self.waits.close()
        for connection in (self.door, caller, *self.callers):
            connection.close()
        for place, file in enumerate(files):
            os.dup2(file, place)
            os.close(file)
        task: dict[str, Any] = json.loads(told)
        return task

    def _hand_on(self, caller: socket.socket) -> None:
        """Hand a signal on; a caller who is gone takes what it had run along."""
        number = caller.recv(1)
        with contextlib.suppress(ProcessLookupError):
            if number:
                os.kill(self.callers[caller], number[0])
            else:
                self.waits.unregister(caller)
                os.killpg(self.callers[caller], signal.SIGKILL)

    def _end(self, process: int, ended: int, caller: socket.socket) -> None:
        """Tell a caller the exit code, as a shell does."""
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        with contextlib.suppress(OSError):
            caller.sendall(bytes([code if code >= 0 else 128 - code]))
        with contextlib.suppress(KeyError):
            self.waits.unregister(caller)
        self.waits.unregister(ended)
        os.close(ended)
        caller.close()
        del self.callers[caller]


def load() -> None:
    """Import the libraries, as far as the environment has them."""
    for library in LIBRARIES:
        with contextlib.suppress(ImportError):
            import_module(library)
    gc.collect()
    gc.freeze()


def run(task: dict[str, Any]) -> None:
    """Be the process that the caller wanted."""
    os.environ.clear()
    os.environ.update(task["variables"])
    os.chdir(task["folder"])
    os.umask(task["mask"])
    for number in SIGNALS:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, signal.SIG_IGN if number in task["ignored"] else usual)
    original, *arguments = task["command"]
    sys.argv = [str(Path(original).parents[1] / Path(original).name), *arguments]
    paths = [path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path[:1] = [str(Path(sys.argv[0]).parent), *paths]
    runpy.run_path(original, run_name="__main__")


def main() -> None:
    """Be the end that the command line names."""
    role, folder, *command = sys.argv[1:]
    if role == "ask":
        sys.exit(ask(Path(folder).absolute(), command[0], command[1:]))
    load()
    os.chdir(folder)
    run(Server().serve())


if __name__ == "__main__":
    main()
