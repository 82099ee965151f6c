"""A cluster on this machine, as a person reaches it, and who calls what runs there."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

from containers import ask, podman, ready, until
from render import ROOT
from servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BALANCER = """
global
    maxconn 500
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 30s
    timeout server 30s
    timeout check 5s
listen service
    bind 127.0.0.1:{port}
    option httpchk GET /ready
    default-server check inter 1s fall 2 rise 1
"""
"""What stands for a Service: it asks who is ready, and tries nothing twice."""
WORKERS = 4


def free(count: int) -> list[int]:
    """Ports that nobody listens on."""
    with ExitStack() as probes:
        sockets = [
            probes.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [listening.getsockname()[1] for listening in sockets]


@contextmanager
def cluster(folder: Path, path: str) -> Iterator[dict[str, str]]:
    """A cluster that `kubectl` reaches; gives the variables that it needs, and takes its pods down.

    Args:
        folder: a new one, for what the cluster remembers.
        path: the PATH before there was a cluster.
    """
    memory, tools = folder / "namespaces", folder / "bin"
    memory.mkdir(parents=True)
    tools.mkdir()
    launcher = f'#!/bin/sh\nexec {sys.executable} {ROOT}/tests/stand-ins/kubectl.py "$@"\n'
    (tools / "kubectl").write_text(launcher)
    (tools / "kubectl").chmod(0o755)
    volumes = f"of-a-cluster-{os.getpid()}-"
    try:
        yield {
            "CLUSTER": str(memory),
            "KUBECTL": str(Path(sys.executable).with_name("kubectl")),
            "PATH": os.pathsep.join([str(tools), path]),
            "VOLUMES": volumes,
        }
    finally:
        for played in memory.glob("*/*.json"):
            podman("pod", "rm", "--force", "--time=0", played.stem)
        held = podman("secret", "ls", "--format={{.Name}}").split()
        for secret in held:
            if secret.startswith(volumes):
                podman("secret", "rm", secret)
        podman("volume", "rm", "--force", f"{volumes}predictions", f"{volumes}temporary")


@contextmanager
def balanced(folder: Path, pods: Mapping[int, int]) -> Iterator[str]:
    """HAProxy in front of whatever listens on these ports, each with its weight; by its address."""
    port = free_port()
    servers = "".join(
        f"    server at-{pod} 127.0.0.1:{pod} weight {weight}\n" for pod, weight in pods.items()
    )
    settings = folder / "haproxy.cfg"
    settings.write_text(BALANCER.format(port=port) + servers)
    found = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert found, "install haproxy"
    service = f"http://127.0.0.1:{port}"
    with subprocess.Popen([found, "-f", settings], stderr=subprocess.DEVNULL) as balancer:
        try:
            # Until its first checks, it takes ports for pods that are not there yet.
            until(lambda: all(ready(service) for _ in range(20)))
            yield service
        finally:
            balancer.terminate()


@contextmanager
def load(address: str, row: object) -> Iterator[tuple[Counter[int], list[str]]]:
    """Callers who ask again and again; gives how they were answered, and the ids that they got."""
    statuses: Counter[int] = Counter()
    ids: list[str] = []
    enough = Event()

    def call() -> None:
        while not enough.is_set():
            status, answer = ask(f"{address}/predict", row)
            statuses[status] += 1
            if status == 200:
                ids.append(answer["prediction_id"])

    with ThreadPoolExecutor(WORKERS) as callers:
        asked = [callers.submit(call) for _ in range(WORKERS)]
        try:
            yield statuses, ids
        finally:
            enough.set()
    for each in asked:
        each.result()
