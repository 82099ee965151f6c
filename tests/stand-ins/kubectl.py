"""A cluster of one machine, as far as `ops deploy` asks for one: each pod is a pod of Podman.

The real kubectl (KUBECTL) builds what is applied here. Pods are played on the host's network, each
on a port of its own, of PORTS if that names some; VOLUMES begins the names of their volumes. A
rollout begins a pod, and when it is ready stops an old one, within its grace period, as
`maxSurge: 1` and `maxUnavailable: 0` ask for. CLUSTER is a folder for what a cluster remembers.
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
from base64 import b64encode
from pathlib import Path
from typing import Any

import yaml

CLUSTER = Path(os.environ["CLUSTER"])
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
"""What the cluster asks a pod itself: Podman 4.3 fails at them, or needs a shell in the image."""

Pod = dict[str, Any]


def main() -> None:
    """Answer as kubectl does."""
    if sys.argv[1] == "kustomize":
        os.execv(os.environ["KUBECTL"], ["kubectl", *sys.argv[1:]])  # noqa: S606
    options = command_line()
    match options.words:
        case ["create", *_, name]:
            create(options, name)
        case ["apply"]:
            apply(options.kustomize, only_asked=options.dry_run is not None)
        case ["rollout", "status", name]:
            roll(options.namespace, name.partition("/")[2], float(options.timeout[:-1]))
        case ["get", "pods"]:
            asked = dict(pair.split("=") for pair in options.selector.split(","))
            found = [pod for pod in pods(options.namespace) if pod["labels"] == asked]
            say(json.dumps({"items": [shown(pod) for pod in found]}))
        case ["logs", name]:
            os.dup2(1, 2)  # as kubectl, which knows of one stream only
            container = f"{named(options.namespace, name)['name']}-service"
            os.execvp("podman", ["podman", "logs", f"--tail={options.tail or -1}", container])  # noqa: S606
        case ["port-forward", name, _]:  # to the port that it has, whichever was asked for
            say(f"Forwarding from 127.0.0.1:{named(options.namespace, name)['port']} -> 8080")
            signal.pause()
        case words:
            sys.exit(f"error: this cluster knows no {words}")


def command_line() -> argparse.Namespace:
    """What it says."""
    parser = argparse.ArgumentParser()
    parser.add_argument("words", nargs="+")
    for option in ("kustomize", "namespace", "timeout", "selector", "output", "dry-run", "tail"):
        parser.add_argument(f"--{option}")
    for option in ("request-timeout", "address", "pod-running-timeout", "container"):
        parser.add_argument(f"--{option}")
    for option in ("from-literal", "from-file"):
        parser.add_argument(f"--{option}", action="append", default=[])
    return parser.parse_intermixed_args()


def say(line: str) -> None:
    """Print a line, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def podman(*arguments: str, given: str = "") -> str:
    """Run podman to its end; gives what it said."""
    done = subprocess.run(
        ["podman", *arguments], input=given, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"error: {done.stderr.strip()}")
    return done.stdout.strip()


def apply(folder: str, *, only_asked: bool) -> None:
    """Remember what was built; or only say whether it can be."""
    built = subprocess.run(
        [os.environ["KUBECTL"], "kustomize", folder], capture_output=True, text=True, check=True
    )
    by_kind = {it["kind"]: it for it in yaml.safe_load_all(built.stdout)}
    deployment = by_kind["Deployment"]["metadata"]
    space = CLUSTER / deployment["namespace"]
    space.mkdir(exist_ok=True)
    if not only_asked:
        (space / f"{deployment['name']}.applied").write_text(json.dumps(by_kind))


def create(options: argparse.Namespace, name: str) -> None:
    """Remember a namespace, or a secret in one."""
    if options.words[1] == "namespace":
        (CLUSTER / name).mkdir()
        say(f"namespace/{name} created")
        return
    held = dict(pair.split("=", 1) for pair in options.from_literal)
    held |= {Path(file).name: Path(file).read_text() for file in options.from_file}
    folder = CLUSTER / options.namespace / "secrets" / name
    folder.mkdir(parents=True)
    folder.chmod(0o755)  # the files are for the user in the pod, who is another one
    for key, value in held.items():
        (folder / key).write_text(value)
    say(f"secret/{name} created")


def secrets(namespace: str, spec: Pod, container: Pod) -> None:
    """Let Podman hold what a container reads of secrets.

    Podman 4.3 takes none that is played, but those that it holds as a map in JSON; and as files it
    mounts a folder.
    """
    for source in [its for its in container["envFrom"] if "secretRef" in its]:
        name = source["secretRef"]["name"]
        folder = CLUSTER / namespace / "secrets" / name
        container["envFrom"].remove(source)
        if source["secretRef"].get("optional") and not folder.exists():
            continue
        held = {file.name: b64encode(file.read_bytes()).decode() for file in folder.iterdir()}
        mine = f"{os.environ.get('VOLUMES', '')}{namespace}-{name}"
        with contextlib.suppress(SystemExit):  # the one of an earlier pod
            podman("secret", "rm", mine)
        podman("secret", "create", mine, "-", given=json.dumps(held))
        container["envFrom"].append({"secretRef": {"name": mine}})
    for volume in spec["volumes"]:
        for source in volume.pop("projected", {}).get("sources", ()):
            folder = CLUSTER / namespace / "secrets" / source["secret"]["name"]
            volume["hostPath"] = {"path": str(folder), "type": "Directory"}


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
    (opened,) = container.pop("ports")  # which the host's network has no use for
    probes = [container.pop(probe) for probe in PROBES]
    for probe in probes:
        if probe["httpGet"]["port"] in {opened["name"], opened["containerPort"]}:
            probe["httpGet"]["port"] = port
    pod = {"name": name, "image": container["image"], "port": port, "labels": labels}
    file.write_text(json.dumps({**pod, "probes": probes}))
    secrets(namespace, template["spec"], container)
    container["env"] = [{"name": "PORT", "value": str(port)}]
    for volume in (*template["spec"]["volumes"], *container["volumeMounts"]):
        volume["name"] = os.environ.get("VOLUMES", "") + volume["name"]
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


def named(namespace: str, name: str) -> Pod:
    """A pod, or the first one of a deployment."""
    kind, _, deployment = name.rpartition("/")
    found = pods(namespace)
    if kind:
        return next(it for it in found if it["name"].rsplit("-", 2)[0] == deployment)
    return next(it for it in found if it["name"] == name)


def shown(pod: Pod) -> Pod:
    """A pod, as far as kubectl shows it to who asks for its image and its state."""
    condition = {"type": "Ready", "status": str(ready(pod))}
    begun = podman("inspect", "--format={{.RestartCount}}", f"{pod['name']}-service")
    container = {"state": {} if begun == "0" else {"waiting": {"reason": "CrashLoopBackOff"}}}
    return {
        "metadata": {"name": pod["name"]},
        "spec": {"containers": [{"name": "service", "image": pod["image"]}]},
        "status": {"conditions": [condition], "containerStatuses": [container]},
    }


def ready(pod: Pod) -> bool:
    """Whether every probe finds the pod well, in the order in which a cluster asks them."""
    return all(well(probe) for probe in pod["probes"])


def well(probe: dict[str, Any]) -> bool:
    """What one probe finds, within its own timeout."""
    asked = probe["httpGet"]
    plain = asked.get("scheme", "HTTP") == "HTTP"  # no container here speaks TLS
    address = f"http://127.0.0.1:{asked['port']}{asked['path']}"
    wait = probe["timeoutSeconds"]
    with contextlib.suppress(OSError), urllib.request.urlopen(address, timeout=wait) as answer:
        return bool(plain and answer.status == 200)
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
