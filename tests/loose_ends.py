"""What manifests of Kubernetes name and nothing has: no schema sees it, and no pod starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Manifest = dict[str, Any]

PROBES = ("startupProbe", "readinessProbe", "livenessProbe")

LEAST_PATIENCE = 30
"""Seconds that a service under load has before it is killed: a restart adds to the load."""


def pods(manifests: list[Manifest]) -> Iterator[Manifest]:
    """The specifications of all pods."""
    for manifest in manifests:
        match manifest["kind"]:
            case "Deployment":
                yield manifest["spec"]["template"]
            case "CronJob":
                yield manifest["spec"]["jobTemplate"]["spec"]["template"]


def containers(pod: Manifest) -> list[Manifest]:
    """Those that run, and those that run before them."""
    return [*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])]


def loose_ends(manifests: list[Manifest], recipe: str) -> set[str]:
    """What is named and is not there.

    Args:
        manifests: of one environment.
        recipe: the Dockerfile of the images that they run.

    Returns:
        A remark for each; none where all fits together.
    """
    there = {(it["kind"], it["metadata"]["name"]) for it in manifests}
    wanted, remarks = set(), set()
    for pod in pods(manifests):
        wanted |= set(_named(pod))
        remarks |= set(_beside(pod, recipe))
    for it in manifests:
        chosen = [
            container
            for pod in pods(manifests)
            if pod["metadata"]["labels"].items() >= _selected(it).items()
            for container in pod["spec"]["containers"]
        ]
        ports = [port for container in chosen for port in container.get("ports", [])]
        known = {port["name"] for port in ports} | {port["containerPort"] for port in ports}
        match it:
            case {"kind": "HorizontalPodAutoscaler", "spec": {"scaleTargetRef": target}}:
                wanted.add((target["kind"], target["name"]))
            case {"kind": "PodDisruptionBudget"} if not chosen:
                remarks.add(f"{it['kind']} chooses no pod")
            case {"kind": "Service", "spec": {"ports": asked}}:
                remarks |= {
                    f"Service: no port {port['targetPort']}"
                    for port in asked
                    if port["targetPort"] not in known
                }
            case {"kind": "NetworkPolicy", "spec": {"ingress": rules}}:
                opened = {port["port"] for rule in rules for port in rule.get("ports", [])}
                remarks |= {f"NetworkPolicy: no port {port}" for port in opened - known}
                remarks |= {f"NetworkPolicy shuts {port['containerPort']}" for port in ports} - {
                    f"NetworkPolicy shuts {port}" for port in opened
                }
    return remarks | {f"no {kind} {name}" for kind, name in wanted - there}


def _selected(manifest: Manifest) -> dict[str, str]:
    """The labels of the pods that a manifest chooses."""
    spec = manifest.get("spec", {})
    selector = spec.get("podSelector", spec.get("selector", {}))
    labels: dict[str, str] = selector.get("matchLabels", selector)
    return labels


def _named(pod: Manifest) -> Iterator[tuple[str, str]]:
    """The kind and the name of what a pod needs beside it; secrets are no manifests here."""
    spec = pod["spec"]
    yield "ServiceAccount", spec["serviceAccountName"]
    for volume in spec["volumes"]:
        if claim := volume.get("persistentVolumeClaim"):
            yield "PersistentVolumeClaim", claim["claimName"]
    for container in containers(pod):
        for source in container.get("envFrom", []):
            if known := source.get("configMapRef"):
                yield "ConfigMap", known["name"]


def _beside(pod: Manifest, recipe: str) -> Iterator[str]:
    """Where a pod disagrees with itself, and with its image."""
    spec = pod["spec"]
    volumes = {volume["name"] for volume in spec["volumes"]}
    user = "{runAsUser}:{runAsGroup}".format(**spec["securityContext"])
    if f"\nUSER {user}\n" not in recipe:
        yield f"no USER {user}"
    for container in containers(pod):
        mounts = container["volumeMounts"]
        yield from (f"no volume {it['name']}" for it in mounts if it["name"] not in volumes)
        ports = {port["containerPort"] for port in container.get("ports", [])}
        yield from (f"no EXPOSE {port}" for port in ports if f"\nEXPOSE {port}\n" not in recipe)
        for name in PROBES:
            if name in container and container[name]["httpGet"]["port"] not in ports:
                yield f"{name} asks no port of its container"
        live = container.get("livenessProbe")
        if live and live["periodSeconds"] * live["failureThreshold"] < LEAST_PATIENCE:
            yield "livenessProbe gives up too soon"
