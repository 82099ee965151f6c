"""A cluster on this machine, as a person reaches it."""

from __future__ import annotations

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from containers import podman
from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator


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
        podman("volume", "rm", "--force", f"{volumes}predictions", f"{volumes}temporary")
