"""A cluster, as `kubectl` sees it: what is applied, what runs there, and whether it answers."""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Timer
from typing import Any

import httpx
import yaml

from .. import command
from ..errors import UserError
from ..files import write_text
from ..project import Project
from . import place as places
from .place import ENVIRONMENTS, address
from .service import ANSWER, Service, worded
from .state import State

PATIENCE = 60.0
"""Seconds that the cluster has to answer a question."""


@dataclass(frozen=True)
class Pod:
    """One that is there to stay."""

    name: str
    image: str
    ready: bool
    waits: str
    """For what, in a word of the cluster's; empty if it does not."""
    why: str
    """What the cluster says of that."""

    @classmethod
    def read(cls, pod: dict[str, Any]) -> "Pod":
        """As kubectl shows it."""
        conditions = {it["type"]: it for it in pod["status"].get("conditions", ())}
        kinds = ("initContainerStatuses", "containerStatuses")  # the first let the others wait
        states = [it["state"] for kind in kinds for it in pod["status"].get(kind, ())]
        waiting = [it["waiting"] for it in states if "waiting" in it]
        waiting += [conditions.get("PodScheduled", {})]
        return cls(
            pod["metadata"]["name"],
            next(it["image"] for it in pod["spec"]["containers"] if it["name"] == "service"),
            conditions.get("Ready", {}).get("status") == "True",
            waiting[0].get("reason", ""),
            waiting[0].get("message", ""),
        )


class Environment(places.Environment):
    """A folder of `deploy/kubernetes/environments`, and what it becomes in a cluster."""

    @cached_property
    def manifests(self) -> list[dict[str, Any]]:
        """What kubectl makes of the folder, without an image and a version."""
        folder = str(_folder(self.project) / self.name)
        built = command.output(self.project.root, "kubectl", "kustomize", folder, timeout=PATIENCE)
        return [manifest for manifest in yaml.safe_load_all(built) if manifest]

    @property
    def deployment(self) -> dict[str, Any]:
        """The manifest of the service's pods."""
        return self._one("Deployment")

    @property
    def namespace(self) -> str:
        """Where it lies in the cluster: as its folder says, or in one of the project's own."""
        said = self._said
        return f"{self.project.name}-{said}" if said in ENVIRONMENTS else said

    @property
    def _said(self) -> str:
        """The namespace that its folder names."""
        return str(self.deployment["metadata"]["namespace"])

    @property
    def bundle(self) -> str:
        """Where the service finds its model: a folder of the image, or a registry."""
        return str(self._one("ConfigMap")["data"]["BUNDLE"])

    @property
    def monitors(self) -> bool:
        """Whether it has the component `monitoring`."""
        jobs = [it["metadata"]["name"] for it in self.manifests if it["kind"] == "CronJob"]
        return any(name.startswith("monitor") for name in jobs)

    def reach(self) -> None:
        """A UserError if the cluster does not answer."""
        self.pods()

    def roll(self, state: State, seconds: int) -> None:
        """Let the environment run this, and wait until its pods are ready.

        Raises:
            UserError: if the cluster refuses, or they are not in time.
        """
        self._kubectl("apply", f"--kustomize={self._with(state)}")
        name = f"deployment/{self.deployment['metadata']['name']}"
        try:
            self._kubectl("rollout", "status", name, f"--timeout={seconds}s", timeout=seconds)
        except UserError as error:
            raise UserError(f"{str(error).rstrip('.')}{self._reason(state)}.") from None

    def pods(self) -> list[Pod]:
        """The pods of the service that are not about to go."""
        labels = self.deployment["spec"]["selector"]["matchLabels"]
        selector = ",".join(f"{name}={value}" for name, value in labels.items())
        answer = json.loads(self._kubectl("get", "pods", f"--selector={selector}", "--output=json"))
        left = (pod for pod in answer["items"] if "deletionTimestamp" not in pod["metadata"])
        return [Pod.read(pod) for pod in left]

    def running(self, state: State) -> tuple[int, set[str]]:
        """How many pods with the image of `state` are ready, and the images of the others."""
        pods = self.pods()
        ready = sum(pod.ready and pod.image == state.image for pod in pods)
        return ready, {pod.image for pod in pods if pod.image != state.image}

    def version(self, state: State) -> str:
        """The version that a pod with the image of `state` has; a UserError if none says so."""
        with self._reached(state) as client, worded():
            return str(client.get("/version").raise_for_status().json()["model_version"])

    @contextmanager
    def service(self, state: State) -> Iterator[Service]:
        """A pod with the image of `state`, to be asked; a UserError if none is ready."""
        with self._reached(state) as client:
            with worded():
                row = client.get("/example").raise_for_status().content
            yield Service(client, "/predict", row)

    @contextmanager
    def _reached(self, state: State) -> Iterator[httpx.Client]:
        ready = [pod.name for pod in self.pods() if pod.ready and pod.image == state.image]
        if not ready:
            raise UserError(f"No pod in {self.namespace} is ready with {state.shown}.")
        key = os.environ.get("API_KEY")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        with (
            self._forwarded(ready[0]) as address,
            httpx.Client(base_url=address, headers=headers, timeout=ANSWER) as client,
        ):
            yield client

    @contextmanager
    def _forwarded(self, pod: str) -> Iterator[str]:
        """The address of a pod on this machine, whatever the cluster's network lets through."""
        place = (f"--namespace={self.namespace}", "--address=127.0.0.1")
        asked = ("kubectl", "port-forward", *place, f"--pod-running-timeout={PATIENCE:.0f}s")
        process = subprocess.Popen(
            (*asked, pod, ":8080"), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        watchdog = Timer(2 * PATIENCE, process.kill)
        watchdog.start()
        with process:
            try:
                said = process.stdout.readline() if process.stdout else ""
                watchdog.cancel()  # a load test may take longer
                found = re.search(r"127\.0\.0\.1:\d+", said)
                if not found:
                    raise UserError(f"kubectl cannot forward a port to {pod}.")
                yield f"http://{found[0]}"
            finally:
                watchdog.cancel()
                process.terminate()

    def _with(self, state: State) -> Path:
        """A kustomization of the folder with the image and the model of a state."""
        made = self.project.root / "build" / "deploy" / self.name
        images = {"service": state.image.split("@"), "monitor": state.monitor.split("@")}
        settings: dict[str, Any] = {
            "namespace": self.namespace,
            "resources": [os.path.relpath(_folder(self.project) / self.name, made)],
            "images": [
                {"name": name, "newName": image, "digest": digest[0]}
                for name, (image, *digest) in images.items()
                if image
            ],
        }
        if self.has_registry:
            settings["configMapGenerator"] = [
                {
                    "name": "settings",
                    "namespace": self._said,
                    "behavior": "merge",
                    "literals": [f"BUNDLE={address(self, state)}"],
                }
            ]
        write_text(made / "kustomization.yaml", yaml.safe_dump(settings, sort_keys=False))
        return made

    def _reason(self, state: State) -> str:
        """Why a pod with this image is not ready: what it waits for, and what it logged last."""
        log = ""
        with suppress(UserError):
            for pod in self.pods():
                if pod.image == state.image and not pod.ready:
                    with suppress(UserError):  # one that has not begun has no log
                        log = self._kubectl("logs", pod.name, "--container=service", "--tail=1")
                    return "".join(f": {it}" for it in (pod.waits, log or pod.why) if it)
        return ""

    def _one(self, kind: str) -> dict[str, Any]:
        name = "settings" if kind == "ConfigMap" else "service"
        for it in self.manifests:
            if it["kind"] == kind and it["metadata"]["name"].startswith(name):
                return it
        folder = f"deploy/kubernetes/environments/{self.name}"
        raise UserError(f"{folder} makes no {kind} {name}: let its resources name ../../base.")

    def _kubectl(self, *arguments: str, timeout: float = PATIENCE) -> str:
        place = f"--namespace={self.namespace}"
        asked = ("kubectl", *arguments, place, f"--request-timeout={timeout:.0f}s")
        return command.output(self.project.root, *asked, timeout=timeout + 30)


def _folder(project: Project) -> Path:
    return project.root / "deploy" / "kubernetes" / "environments"
