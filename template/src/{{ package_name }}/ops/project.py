"""Where everything in the project lies: each path is named here, and only here."""

import os
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from .errors import UserError


@dataclass(frozen=True)
class Project:
    """A project's folder, found from any folder inside it."""

    root: Path

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
    def params(self) -> Path:
        """Every number that is a decision."""
        return self.root / "params.yaml"

    @property
    def schema(self) -> Path:
        """The contract, as its people write it."""
        return self.package / "ml" / "schema.py"

    @property
    def data(self) -> Path:
        """What the pipeline makes of the rows."""
        return self.root / "data"

    @property
    def raw(self) -> Path:
        """All rows, parsed."""
        return self.data / "raw.parquet"

    @property
    def valid(self) -> Path:
        """The rows that keep the contract."""
        return self.data / "valid.parquet"

    @property
    def quarantine(self) -> Path:
        """The rows that break the contract, each with the rule that it broke."""
        return self.data / "quarantine.parquet"

    @property
    def train(self) -> Path:
        """The rows that the model learns from."""
        return self.data / "train.parquet"

    @property
    def holdout(self) -> Path:
        """The rows that the model is judged by."""
        return self.data / "holdout.parquet"

    @property
    def served(self) -> Path:
        """What the service keeps: PREDICTIONS, if that is set, as the service reads it."""
        return Path(os.environ.get("PREDICTIONS") or self.data / "served")

    @property
    def labelled(self) -> Path:
        """The rows that a service answered and that were labelled since, kept by DVC."""
        return self.data / "labelled"

    @property
    def candidate(self) -> Path:
        """The trained model, not yet judged."""
        return self.root / "models" / "candidate"

    @property
    def bundle(self) -> Path:
        """The judged model with its manifest: what is registered, served and shipped."""
        return self.root / "models" / "bundle"

    @property
    def champion(self) -> Path:
        """The bundle that scores and serves."""
        return self.root / "models" / "champion"

    @property
    def challenger(self) -> Path:
        """The bundle that may become champion next, while there is one: what a shadow tries out."""
        return self.root / "models" / "challenger"

    @property
    def versions(self) -> Path:
        """The bundles of other versions, by number, as far as somebody asked for them."""
        return self.root / "models" / "versions"

    @property
    def reports(self) -> Path:
        """Metrics, gates, plots and cards."""
        return self.root / "reports"
