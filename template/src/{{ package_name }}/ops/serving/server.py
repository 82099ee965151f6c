"""`ops serve`: read the settings, take the port, and let uvicorn answer."""

import argparse
import asyncio
import contextlib
import ctypes
import logging
import multiprocessing
import os
import signal
import socket
import struct
import sys
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Any

import uvicorn
from prometheus_client.multiprocess import mark_process_dead
from starlette.types import ASGIApp

from ..errors import UserError
from ..project import Project
from ..registry.champion import located
from ..registry.tracking import CHALLENGER
from . import messages
from .app import Application
from .locations import locate
from .metrics import SHARED
from .protocol import Protocol
from .settings import Settings
from .tracing import traced

SWITCH_SECONDS = 0.0005
LOOK_SECONDS = 0.5
"""How often it is looked whether all workers live."""

SO_ATTACH_FILTER = 26
NO_SYN = ((0x30, 0, 0, 13), (0x45, 1, 0, 0x02), (0x06, 0, 0, 0xFFFF), (0x06, 0, 0, 0))
"""A packet filter, see socket(7): the flags of TCP; if SYN is among them, nothing of it passes."""

GRACE_SECONDS = 30
"""How long requests that are being answered may hold up the end."""


class Server(uvicorn.Server):
    """A server that closes its door behind the last caller who has come, and resets nobody."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take in who waits at the door, then end as uvicorn does."""
        loop, callers = asyncio.get_running_loop(), []
        for listening in sockets or ():
            refuse_more(listening)
            with contextlib.suppress(BlockingIOError):
                while True:
                    callers.append(listening.accept()[0])
        protocol = partial(Protocol, self.config, self.server_state, self.lifespan.state)
        welcomes = [
            loop.create_task(loop.connect_accepted_socket(protocol, caller)) for caller in callers
        ]
        await super().shutdown(sockets)
        await asyncio.gather(*welcomes, return_exceptions=True)


def refuse_more(listening: socket.socket) -> None:
    """Let nobody else knock: who comes between a last look and the end of a socket is reset.

    Linux drops the SYN packets; callers repeat them after a second, when the port is closed.
    """
    if sys.platform != "linux":
        return
    program = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *it) for it in NO_SYN))
    told = struct.pack("HP", len(NO_SYN), ctypes.addressof(program))
    with contextlib.suppress(OSError):  # a sandbox may know no filters
        listening.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, told)


def run(options: argparse.Namespace) -> None:
    """Serve until a signal says to stop.

    A UserError if the folder holds no model, the port is taken, or a setting will not do.
    """
    settings = configure(options)
    champion = locate(settings.bundle)
    application = build(settings)
    application.service.start()
    listening = listen(settings.host, settings.port)
    if not application.service.keys and settings.host not in ("127.0.0.1", "::1", "localhost"):
        logging.getLogger("service").warning(
            "EVERYBODY who reaches %s may ask, and tell the ground truth: there are no keys. Set "
            "API_KEYS_FILE.", settings.host,
        )  # fmt: skip
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    address = f"http://{host}:{listening.getsockname()[1]}"
    print(f"{champion.shown} is served at {address}", flush=True)
    if settings.workers == 1:
        answer(settings, listening, application)
        return
    del application  # it has shown that there is something to serve
    with tempfile.TemporaryDirectory(prefix="metrics-", ignore_cleanup_errors=True) as together:
        os.environ[SHARED] = together
        supervise(settings, listening)


def answer(
    settings: Settings, listening: socket.socket, application: Application | None = None
) -> None:
    """Answer at a port until a signal says to stop; a worker makes its application itself."""
    config = uvicorn.Config(
        partial(end_in_time, application or build(settings)),
        factory=True,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,  # what is no HTTP is counted
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    Server(config).run(sockets=[listening])


def supervise(settings: Settings, listening: socket.socket) -> None:
    """Let several processes answer at one port; one that dies has a successor, until all end."""
    over = Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    spawn = multiprocessing.get_context("spawn").Process
    workers: list[multiprocessing.process.BaseProcess] = []
    while not over.wait(LOOK_SECONDS if workers else 0):
        for process in workers.copy():
            if not process.is_alive():
                workers.remove(process)
                mark_process_dead(process.pid)  # type: ignore[no-untyped-call]
        while len(workers) < settings.workers:
            workers.append(spawn(target=answer, args=(settings, listening)))
            workers[-1].start()
    listening.close()  # the port is theirs alone, or what still arrives would wait for nobody
    for process in workers:
        process.terminate()
    for process in workers:
        process.join()


def build(settings: Settings) -> Application:
    """The application, in a process that is made ready for it; a UserError if it will not do."""
    messages.set_up(settings)
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn repeats the signal when all is done: the end was asked for, and is no failure.
        signal.signal(number, lambda *_: sys.exit())
    # Handing a rule on a few rows to other threads costs more than the rule.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # While a thread scores long requests, the event loop has its turn as soon as it asks.
    sys.setswitchinterval(SWITCH_SECONDS)
    application = Application(settings)
    Protocol.seconds = settings.head_seconds
    Protocol.most_bytes = max(Protocol.most_bytes, 2 * settings.max_body_bytes)
    Protocol.most_connections = settings.max_connections
    with contextlib.suppress(ImportError):  # connections are files, of which Windows has enough
        from resource import RLIMIT_NOFILE, getrlimit

        files, _ = getrlimit(RLIMIT_NOFILE)
        Protocol.most_connections = min(settings.max_connections, files * 3 // 4)
    Protocol.refusals = application.service.metrics.counters["service_requests"]
    return application


def end_in_time(application: Application) -> ASGIApp:
    """Let SIGTERM leave balancers time to look elsewhere, and a worker end with its parent."""
    service = application.service
    loop = asyncio.get_running_loop()
    stop: Any = signal.getsignal(signal.SIGTERM)  # uvicorn's own, which closes the door at once

    def end(seconds: float) -> None:
        service.ending = True
        loop.call_soon_threadsafe(loop.call_later, seconds, stop, signal.SIGTERM, None)

    def follow(parent: multiprocessing.process.BaseProcess) -> None:
        parent.join()
        end(0)

    signal.signal(signal.SIGTERM, lambda *_: end(service.settings.drain_seconds))
    if parent := multiprocessing.parent_process():
        Thread(target=follow, args=(parent,), daemon=True).start()
    return traced(application)


def configure(options: argparse.Namespace) -> Settings:
    """The settings of the environment, and over them what the command line says.

    A UserError if neither names a bundle and this is no project with a champion.
    """
    environment = dict(os.environ)
    environment.setdefault("PORT", environment.get("AIP_HTTP_PORT", ""))
    for name in ("host", "port", "workers"):
        if (value := getattr(options, name)) is not None:
            environment[name.upper()] = str(value)
    settings = Settings.read(environment)
    if options.shadow is not None:
        settings = replace(settings, shadow=shadow(options.shadow))
    if options.model is None and environment.get("BUNDLE"):
        return settings
    if options.model is not None and Path(options.model).is_dir():
        return replace(settings, bundle=options.model)
    project = Project.find()
    if not environment.get("PREDICTIONS"):
        settings = replace(settings, predictions=str(project.served))
    return replace(settings, bundle=str(located(project, options.model)))


def shadow(model: str) -> str:
    """The folder of the model that is tried out; of `challenger`, whichever there is by then.

    A UserError if there is none.
    """
    if Path(model).is_dir():
        return model
    project = Project.find()
    return str(project.challenger if model == CHALLENGER else located(project, model))


def listen(host: str, port: int) -> socket.socket:
    """Take the port; a UserError if it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        raise UserError(
            f"Cannot listen on {host}:{port} ({error.strerror}); choose another with --port."
        ) from None
    listening.set_inheritable(True)
    return listening
