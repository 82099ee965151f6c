"""Where everything in the project lies: each path is named here, and only here."""

import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from .errors import UserError


class ProjectPath:
    """A file or a folder that every project has at the same place."""

    def __init__(self, path: str) -> None:
        """Name it as it is seen from the project's folder."""
        self._path = path

    def __get__(self, project: "Project", owner: type["Project"]) -> Path:
        """Where it lies in one project."""
        return project.root / self._path


@dataclass(frozen=True)
class Project:
    """A project's folder, found from any folder inside it."""

    root: Path

    params = ProjectPath("params.yaml")
    """Every number that is a decision."""
    data = ProjectPath("data")
    """What the pipeline makes of the rows."""
    raw = ProjectPath("data/raw.parquet")
    """All rows, parsed."""
    valid = ProjectPath("data/valid.parquet")
    """The rows that keep the contract."""
    quarantine = ProjectPath("data/quarantine.parquet")
    """The rows that break the contract, each with the rule that it broke."""
    train = ProjectPath("data/train.parquet")
    """The rows that the model learns from."""
    holdout = ProjectPath("data/holdout.parquet")
    """The rows that the model is judged by."""
    labelled = ProjectPath("data/labelled")
    """The rows that a service answered and that were labelled since, kept by DVC."""
    candidate = ProjectPath("models/candidate")
    """The trained model, not yet judged."""
    bundle = ProjectPath("models/bundle")
    """The judged model with its manifest: what is registered, served and shipped."""
    champion = ProjectPath("models/champion")
    """The bundle that scores and serves."""
    challenger = ProjectPath("models/challenger")
    """The bundle that may become champion next, while there is one: what a shadow tries out."""
    versions = ProjectPath("models/versions")
    """The bundles of other versions, by number, as far as somebody asked for them."""
    reports = ProjectPath("reports")
    """Metrics, gates, plots and cards."""

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """Find the project that holds `start` (the current folder by default).

        Raises:
            UserError: if no parent folder holds both `pyproject.toml` and `dvc.yaml`.
        """
        here = (start or Path.cwd()).resolve()
        for folder in (here, *here.parents):
            if (folder / "pyproject.toml").is_file() and (folder / "dvc.yaml").is_file():
                return cls(folder)
        raise UserError(f"{here} is not inside a project; change to the project's folder first.")

    @cached_property
    def metadata(self) -> dict[str, Any]:
        """The `[project]` table of `pyproject.toml`."""
        with (self.root / "pyproject.toml").open("rb") as file:
            metadata: dict[str, Any] = tomllib.load(file)["project"]
        return metadata

    @property
    def name(self) -> str:
        """The project's name, which is also the name of its registered model."""
        return str(self.metadata["name"])

    @property
    def package(self) -> Path:
        """The source folder of this package."""
        return self.root / "src" / __name__.partition(".")[0]

    @property
    def schema(self) -> Path:
        """The contract, as its people write it."""
        return self.package / "ml" / "schema.py"

    @property
    def served(self) -> Path:
        """What the service keeps: PREDICTIONS, if that is set, as the service reads it."""
        return Path(os.environ.get("PREDICTIONS") or self.data / "served")
