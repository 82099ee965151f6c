"""`ops serve`: read the settings, take the port, and let uvicorn answer."""

import argparse
import asyncio
import contextlib
import logging
import multiprocessing
import os
import signal
import socket
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from uvicorn.supervisors import Multiprocess

from ..bundle import MANIFEST
from ..errors import UserError
from ..project import Project
from . import messages
from .access import Keys
from .app import Application
from .hosts import Host
from .locations import Folder, Unavailable, fetch, locate
from .metrics import SHARED
from .protocol import Protocol
from .service import Service
from .settings import Settings

BACKLOG = 2_048
SWITCH_SECONDS = 0.0005
GRACE_SECONDS = 30
"""How long requests that are being answered may hold up the end."""


class Workers(Multiprocess):
    """Several processes that answer at one port."""

    def terminate_all(self) -> None:
        """End them; the port is theirs alone, or what still arrives would wait for nobody."""
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


def run(options: argparse.Namespace) -> None:
    """Serve until a signal says to stop.

    Raises:
        UserError: if there is no model in the folder to serve, the port is taken, or a setting
            will not do.
    """
    settings = configure(options)
    keys = Keys(settings.keys())
    Host.read(os.environ)
    champion = locate(settings.bundle)
    if isinstance(champion, Folder):
        with tempfile.TemporaryDirectory() as copy:
            try:
                fetch(champion, Path(copy))
            except Unavailable as error:
                raise UserError(str(error)) from None
    if settings.shadow:
        locate(settings.shadow, "SHADOW")
    listening = listen(settings.host, settings.port)
    settings.write()
    for number in (signal.SIGINT, signal.SIGTERM):
        # uvicorn repeats the signal when all is done: the end was asked for, and is no failure.
        signal.signal(number, lambda *_: sys.exit())
    messages.set_up(settings)
    if not keys and settings.host not in ("127.0.0.1", "::1", "localhost"):
        logging.getLogger("service").warning(
            "EVERYBODY who reaches %s may ask, and tell the ground truth: there are no keys. Set "
            "API_KEYS_FILE.", settings.host,
        )  # fmt: skip
    config = uvicorn.Config(
        f"{__name__}:create",
        factory=True,
        workers=settings.workers,
        http=Protocol,
        ws="none",
        lifespan="on",
        log_config=None,
        log_level=logging.ERROR,  # what is no HTTP is counted
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=settings.keep_alive_seconds,
        timeout_graceful_shutdown=GRACE_SECONDS,
        timeout_worker_healthcheck=GRACE_SECONDS,
    )
    address = f"http://{settings.host}:{listening.getsockname()[1]}"
    print(f"{champion.shown} is served at {address}", flush=True)
    if settings.workers == 1:
        uvicorn.Server(config).run(sockets=[listening])
        return
    with tempfile.TemporaryDirectory(prefix="metrics-", ignore_cleanup_errors=True) as together:
        os.environ[SHARED] = together
        Workers(config, sockets=[listening]).run()


def create() -> Application:
    """What uvicorn starts in every worker; the settings come from the environment."""
    # Handing a rule on a few rows to other threads costs more than the rule.
    os.environ.setdefault("POLARS_MAX_THREADS", "1")
    # While a thread scores long requests, the event loop has its turn as soon as it asks.
    sys.setswitchinterval(SWITCH_SECONDS)
    settings = Settings.read(os.environ)
    messages.set_up(settings)
    application = Application(settings, Host.read(os.environ))
    Protocol.seconds = settings.head_seconds
    Protocol.most_bytes = max(Protocol.most_bytes, 2 * settings.max_body_bytes)
    Protocol.most_connections = settings.max_connections
    with contextlib.suppress(ImportError):  # connections are files, of which Windows has enough
        from resource import RLIMIT_NOFILE, getrlimit

        files, _ = getrlimit(RLIMIT_NOFILE)
        Protocol.most_connections = min(settings.max_connections, files * 3 // 4)
    Protocol.refusals = application.service.metrics.counters["service_requests"]
    end_in_time(application.service)
    return application


def end_in_time(service: Service) -> None:
    """Let SIGTERM leave balancers time to look elsewhere, and a worker end with its parent."""
    loop = asyncio.get_running_loop()
    stop: Any = signal.getsignal(signal.SIGTERM)  # uvicorn's own, which closes the door at once

    def drain(*told: object) -> None:
        service.ending = True
        loop.call_soon_threadsafe(loop.call_later, service.settings.drain_seconds, stop, *told)

    def follow(parent: multiprocessing.process.BaseProcess) -> None:
        parent.join()
        service.ending = True
        loop.call_soon_threadsafe(stop, signal.SIGTERM, None)

    signal.signal(signal.SIGTERM, drain)
    if parent := multiprocessing.parent_process():
        Thread(target=follow, args=(parent,), daemon=True).start()


def configure(options: argparse.Namespace) -> Settings:
    """The settings of the environment, and over them what the command line says.

    Raises:
        UserError: if neither names a bundle and this is no project with a champion.
    """
    environment = dict(os.environ)
    environment.setdefault("PORT", environment.get("AIP_HTTP_PORT", ""))
    for name in ("host", "port", "workers"):
        if (value := getattr(options, name)) is not None:
            environment[name.upper()] = str(value)
    settings = Settings.read(environment)
    if options.shadow is not None:
        settings = replace(settings, shadow=named(options.shadow, follows=True))
    if options.model is None and environment.get("BUNDLE"):
        return settings
    if options.model is not None and Path(options.model).is_dir():
        return replace(settings, bundle=options.model)
    project = Project.find()
    if not environment.get("PREDICTIONS"):
        settings = replace(settings, predictions=str(project.served))
    if options.model is None and (project.champion / MANIFEST).exists():
        return replace(settings, bundle=str(project.champion))
    return replace(settings, bundle=named(options.model or "champion"))


def named(model: str, *, follows: bool = False) -> str:
    """The folder of a model, by its path, or by a version or alias of the project.

    Args:
        model: what a person has typed.
        follows: whether `challenger` means whichever there is, now and later.

    Raises:
        UserError: if there is none.
    """
    if Path(model).is_dir():
        return model
    project = Project.find()
    if follows and model == "challenger":
        return str(project.challenger)
    # The registry's own libraries take a second and 100 MB, so they are not loaded before.
    from ..registry.champion import located

    return str(located(project, model))


def listen(host: str, port: int) -> socket.socket:
    """Take the port.

    Raises:
        UserError: if it cannot be had.
    """
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
