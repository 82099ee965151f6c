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

    params = ProjectPath("params.yaml")  # every number that is a decision
    use_case = ProjectPath("docs/use-case.md")  # what the model is for, and who answers for it
    data = ProjectPath("data")  # what the pipeline makes of the rows
    raw = ProjectPath("data/raw.parquet")  # all rows, parsed
    valid = ProjectPath("data/valid.parquet")  # the rows that keep the contract
    quarantine = ProjectPath("data/quarantine.parquet")  # those that break it, with the rules
    train = ProjectPath("data/train.parquet")  # the rows that the model learns from
    holdout = ProjectPath("data/holdout.parquet")  # the rows that the model is judged by
    labelled = ProjectPath("data/labelled")  # rows that were labelled later, kept by DVC
    candidate = ProjectPath("models/candidate")  # the trained model, not yet judged
    bundle = ProjectPath("models/bundle")  # the judged model, which is registered
    champion = ProjectPath("models/champion")  # the bundle that scores and serves
    challenger = ProjectPath("models/challenger")  # what may become champion next, if there is one
    versions = ProjectPath("models/versions")  # bundles of other versions, once fetched
    reports = ProjectPath("reports")  # metrics, gates, plots and cards
    forgotten = ProjectPath("reports/forgotten.json")  # who asked for it, without a name
    laid_aside = ProjectPath(".dvc/tmp/retrain")  # what a retraining that has begun may change
    costs = ProjectPath(".dvc/tmp/costs")  # what each stage took

    @classmethod
    def find(cls, start: Path | None = None) -> Self:
        """Find the project that holds `start` (the current folder by default).

        A UserError if no parent folder holds both `pyproject.toml` and `dvc.yaml`.
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
