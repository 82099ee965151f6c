"""A cluster of one machine, as far as `ops deploy` asks for one: each pod is a pod of Podman.

The real kubectl (KUBECTL) builds what is applied here. Pods are played on the host's network, each
on a port of its own, of PORTS if that names some. A rollout begins a pod, and when it is ready
stops an old one, within its grace period, as `maxSurge: 1` and `maxUnavailable: 0` ask for.
CLUSTER is a folder for what a cluster remembers.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import yaml

CLUSTER = Path(os.environ["CLUSTER"])
NOT_IN_PODMAN = ("startupProbe", "readinessProbe", "ports")
"""What Podman 4.3 fails at, or what the host's network has no use for."""

Pod = dict[str, Any]


def main() -> None:
    """Answer as kubectl does."""
    if sys.argv[1] == "kustomize":
        os.execv(os.environ["KUBECTL"], ["kubectl", *sys.argv[1:]])  # noqa: S606
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    for option in ("kustomize", "namespace", "timeout", "selector", "output"):
        parser.add_argument(f"--{option}")
    for option in ("request-timeout", "address", "pod-running-timeout"):
        parser.add_argument(f"--{option}")
    options = parser.parse_intermixed_args()
    match options.words:
        case ["apply"]:
            apply(options.kustomize)
        case ["rollout", "status", name]:
            roll(options.namespace, name.partition("/")[2], float(options.timeout[:-1]))
        case ["get", "pods"]:
            asked = dict(pair.split("=") for pair in options.selector.split(","))
            found = [pod for pod in pods(options.namespace) if pod["labels"] == asked]
            say(json.dumps({"items": [shown(pod) for pod in found]}))
        case ["port-forward", name, ":8080"]:
            (pod,) = (it for it in pods(options.namespace) if it["name"] == name)
            say(f"Forwarding from 127.0.0.1:{pod['port']} -> 8080")
            signal.pause()
        case words:
            sys.exit(f"error: this cluster knows no {words}")


def say(line: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def podman(*arguments: str, given: str = "") -> None:
    """Run podman to its end."""
    done = subprocess.run(
        ["podman", *arguments], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: {done.stderr.strip()}")


def apply(folder: str) -> None:
    """Remember what was built."""
    built = subprocess.run(
        [os.environ["KUBECTL"], "kustomize", folder], capture_output=True, text=True, check=True
    )
    by_kind = {it["kind"]: it for it in yaml.safe_load_all(built.stdout)}
    deployment = by_kind["Deployment"]["metadata"]
    space = CLUSTER / deployment["namespace"]
    space.mkdir(exist_ok=True)
    (space / f"{deployment['name']}.applied").write_text(json.dumps(by_kind))


def roll(namespace: str, deployment: str, seconds: float) -> None:
    """Let what was applied take the place of what runs; fail if it is not ready in time."""
    applied = json.loads((CLUSTER / namespace / f"{deployment}.applied").read_text())
    template = applied["Deployment"]["spec"]["template"]
    digest = hashlib.sha256(
        f"{namespace} {json.dumps(template, sort_keys=True)}".encode()
    ).hexdigest()[:10]
    count = applied["HorizontalPodAutoscaler"]["spec"]["minReplicas"]
    wanted = [f"{deployment}-{digest}-{number}" for number in range(count)]
    deadline = time.monotonic() + seconds
    for name in wanted:
        begin(namespace, name, applied)
        while not ready(next(pod for pod in pods(namespace) if pod["name"] == name)):
            if time.monotonic() > deadline:
                sys.exit(f'error: deployment "{deployment}" exceeded its progress deadline')
            time.sleep(0.2)
        stop(namespace, others(namespace, deployment, wanted)[:1], template)
    stop(namespace, others(namespace, deployment, wanted), template)


def begin(namespace: str, name: str, applied: Pod) -> None:
    """Begin a pod, if it does not run."""
    file = CLUSTER / namespace / f"{name}.json"
    if file.exists():
        return
    template = json.loads(json.dumps(applied["Deployment"]["spec"]["template"]))
    (container,) = template["spec"]["containers"]
    port = free()
    labels = template["metadata"]["labels"]
    pod = {"name": name, "image": container["image"], "port": port, "labels": labels}
    file.write_text(json.dumps(pod))
    for key in NOT_IN_PODMAN:
        container.pop(key)
    container["env"] = [{"name": "PORT", "value": str(port)}]
    container["livenessProbe"]["httpGet"]["port"] = port
    template["metadata"]["name"] = name
    played = {"apiVersion": "v1", "kind": "Pod", **template}
    given = yaml.safe_dump_all([applied["ConfigMap"], played])
    podman("kube", "play", "--quiet", "--network=host", "-", given=given)


def stop(namespace: str, names: list[str], template: Pod) -> None:
    """End pods, each within its grace period."""
    grace = template["spec"]["terminationGracePeriodSeconds"]
    for name in names:
        podman("pod", "stop", f"--time={grace}", name)
        podman("pod", "rm", "--force", name)
        (CLUSTER / namespace / f"{name}.json").unlink()


def others(namespace: str, deployment: str, wanted: list[str]) -> list[str]:
    """The pods of a deployment that are not wanted any more."""
    names = [pod["name"] for pod in pods(namespace)]
    mine = [name for name in names if name.rsplit("-", 2)[0] == deployment]
    return [name for name in mine if name not in wanted]


def pods(namespace: str) -> list[Pod]:
    """What was begun in a namespace, or in all (*)."""
    return [json.loads(path.read_text()) for path in sorted(CLUSTER.glob(f"{namespace}/*.json"))]


def shown(pod: Pod) -> Pod:
    """A pod, as far as kubectl shows it to who asks for its image and its state."""
    condition = {"type": "Ready", "status": str(ready(pod))}
    return {
        "metadata": {"name": pod["name"]},
        "spec": {"containers": [{"name": "service", "image": pod["image"]}]},
        "status": {"conditions": [condition]},
    }


def ready(pod: Pod) -> bool:
    """What the readiness probe finds."""
    address = f"http://127.0.0.1:{pod['port']}/ready"
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=3) as answer:
        return bool(answer.status == 200)
    return False


def free() -> int:
    """A port that no pod has: one of PORTS, or any."""
    named = [int(port) for port in os.environ.get("PORTS", "").split(",") if port]
    taken = {pod["port"] for pod in pods("*")}
    for port in named:
        if port not in taken:
            return port
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


if __name__ == "__main__":
    main()
