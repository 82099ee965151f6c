"""Where an environment runs: a cluster, or an endpoint of a cloud."""

import os
import re
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from importlib import import_module
from typing import ClassVar

from ..errors import UserError
from ..project import Project
from ..wording import listed
from .service import Service
from .state import State

ENVIRONMENTS = ("dev", "staging", "production")
"""Those of an endpoint; a cluster has a folder for each."""

PLATFORMS = ("kubernetes", "aws", "azure", "google")
"""Folders of `deploy/`; environments run on the first that is there, if nothing is said."""


@dataclass(frozen=True)
class Environment(ABC):
    """What can be asked of an environment, wherever it runs."""

    project: Project
    name: str
    """As people type it."""
    platform: str

    patience: ClassVar[int] = 300
    """Seconds that a deployment may take, if nothing is said."""

    @property
    def monitors(self) -> bool:
        """Whether a monitor runs beside the service, from an image of its own."""
        return False

    @property
    @abstractmethod
    def bundle(self) -> str:
        """Where the service finds its model: a folder of the image, or a registry."""

    @property
    def has_registry(self) -> bool:
        """Whether the model comes from a registry, and not with the image."""
        return "://" in self.bundle

    @property
    def model(self) -> str:
        """The version or the alias that `bundle` names in its registry."""
        return re.split("[/@]", self.bundle)[-1]

    def reach(self) -> None:  # noqa: B027  a cloud has no endpoint before the first deployment
        """A UserError if it cannot be asked, so that nothing is tried there."""

    @abstractmethod
    def roll(self, state: State, seconds: int) -> None:
        """Let it run this, and wait until it does; a UserError if it does not."""

    @abstractmethod
    def service(self, state: State) -> AbstractContextManager[Service]:
        """What runs this, to be asked; a UserError if nothing does."""

    @abstractmethod
    def running(self, state: State) -> tuple[int, set[str]]:
        """How many run this, and the images of those that run something else."""

    def version(self, state: State) -> str:
        """The version of the model that answers there."""
        with self.service(state) as service:
            return service.predict()


def environments(project: Project) -> list[str]:
    """The names of all environments."""
    folders = (project.root / "deploy" / "kubernetes" / "environments").glob("*/")
    endpoints = ENVIRONMENTS if {*_platforms(project)} - {"kubernetes"} else ()
    return sorted({*(folder.name for folder in folders), *endpoints})


def find(project: Project, name: str) -> Environment:
    """The environment of this name, on the platform that PLATFORM names, if there are several.

    Raises:
        UserError: if there is none.
    """
    known, offered = environments(project), _platforms(project)
    if name not in known:
        given = f"There is no environment {name}" if name else "ENVIRONMENT is not set"
        raise UserError(f"{given}: there are {listed(known)}.")
    platform = os.environ.get("PLATFORM") or offered[0]
    if platform not in offered:
        raise UserError(f"There is no deploy/{platform}: PLATFORM may be {listed(offered)}.")
    module = import_module(".kubernetes" if platform == "kubernetes" else ".cloud", __package__)
    found: Environment = module.Environment(project, name, platform)
    return found


def address(place: Environment, state: State) -> str:
    """Where the registry of an environment has the model of a state."""
    base = place.bundle.removesuffix(place.model)[:-1]
    return f"{base}{'/' if isinstance(state.model, int) else '@'}{state.model}"


def _platforms(project: Project) -> list[str]:
    return [name for name in PLATFORMS if (project.root / "deploy" / name).is_dir()]
