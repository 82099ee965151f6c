"""The default project, trained, for benchmarks that start from a model."""

from __future__ import annotations

import hashlib
import shutil
from typing import TYPE_CHECKING, NamedTuple

from project import environment
from render import ROOT, questions, working_tree

from .training import Contest

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

RENDERED = ("copier.yml", "reserved.yml", "template", "samples", "licenses", "hooks")
"""What a project is made of."""


class Trained(NamedTuple):
    """Where the project lies, and the environment that its commands run in."""

    root: Path
    variables: Mapping[str, str]

    @property
    def bin(self) -> Path:
        """Its own commands."""
        return self.root / ".venv" / "bin"


def trained(folder: Path) -> Trained:
    """Render and train the project, unless that was done with the template as it is."""
    place = folder / "trained"
    digest = hashlib.sha256()
    for path in working_tree():
        if path.parts[0] in RENDERED:
            digest.update(f"{path}\0".encode() + (ROOT / path).read_bytes())
    stamp = place / "template"
    if not stamp.exists() or stamp.read_text() != digest.hexdigest():
        shutil.rmtree(place, ignore_errors=True)
        contest = Contest(place / "contest")
        contest.python = questions()["python_version"]["default"]
        contest.set_up()
        contest.train()
        stamp.write_text(digest.hexdigest())
    machine = environment(place / "contest" / "machine")
    return Trained(place / "contest" / "project", {**machine, "MLFLOW_DISABLE_TELEMETRY": "true"})
