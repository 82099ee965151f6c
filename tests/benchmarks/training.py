"""How long it takes from an empty folder to a registered model."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from project import environment, interpreters
from render import Template, working_tree

from .measuring import Section, compare, measure, rows

if TYPE_CHECKING:
    from .measuring import Cost

COPIER = Path(sys.executable).parent / "copier"
SCRIPT = Path(__file__).parent / "plain" / "train.py"
LIBRARIES = (
    *("scikit-learn>=1.9,<1.10", "mlflow-skinny>=3.17,<4", "sqlalchemy>=2,<3", "alembic>=1.16,<2"),
    *("pandas>=2", "--exclude-newer", "2026-11-15T00:00:00Z"),
)

TEXT = """\
The script is what one would write without a template: it compares the same three models on the
same data by cross-validation, fits the best one, scores it on rows held out, and registers it
with MLflow in a fresh sqlite store; in one thread, which is fastest on so few rows. The project
does so in stages that DVC keeps; besides, it validates the data, draws a learning curve, exports
the model to ONNX and holds the export to the original, explains the model, draws, fills in the
cards and passes its gates; and its environment holds DVC, Optuna, linters and tests. The aim is
less than 3 times the script.\
"""


class Contest:
    """A script and a project, each made anew for every run."""

    def __init__(self, place: Path, template: Template | None = None) -> None:
        """Make the contest in an empty folder, for the working tree or for another template."""
        tree = template or Template.of(working_tree(), place / "template")
        self.template = tree.release("v1.0.0")
        self.variables = {**environment(place / "machine"), "MLFLOW_DISABLE_TELEMETRY": "true"}
        self.python = list(interpreters())[-1]
        self.script = place / "script"
        self.project = place / "project"

    def install(self) -> Cost:
        """Give the script an environment."""
        shutil.rmtree(self.script, ignore_errors=True)
        self.script.mkdir()
        made = self._run(self.script, "uv", "venv", "--quiet", "--python", self.python)
        return made + self._run(self.script, "uv", "pip", "install", "--quiet", *LIBRARIES)

    def run_script(self) -> Cost:
        """Train and register with the script.

        In one thread: on so few rows two of them mostly wait for each other.
        """
        variables = {**self.variables, "OMP_NUM_THREADS": "1"}
        return measure(".venv/bin/python", SCRIPT, cwd=self.script, env=variables)

    def set_up(self) -> Cost:
        """Render the project, and give it an environment and a repository."""
        shutil.rmtree(self.project, ignore_errors=True)
        self.project.mkdir()
        answers = ("--data", f"python_version={self.python}")
        copy = (COPIER, "copy", "--quiet", "--defaults", *answers, self.template.source, ".")
        rendered = self._run(self.project, *copy)
        # This template's own repository lies around the folder, and ignores it.
        begun = self._run(self.project, "git", "init", "--quiet")
        return rendered + begun + self._run(self.project, "make", "setup")

    def train(self) -> Cost:
        """Train and register with the project."""
        return self._run(self.project, "make", "train")

    def _run(self, folder: Path, *command: str | Path) -> Cost:
        return measure(*command, cwd=folder, env=self.variables)


def run(folder: Path, runs: int) -> Section:
    """Compare `copier copy`, `make setup` and `make train` with a script and its environment."""
    place = folder / "training"
    shutil.rmtree(place, ignore_errors=True)
    contest = Contest(place)
    steps = compare(
        {
            "script: environment": contest.install,
            "script: training": contest.run_script,
            "project: `copier copy`, `make setup`": contest.set_up,
            "project: `make train`": contest.train,
        },
        runs,
    )
    install, script, set_up, train = steps.values()
    table = [
        *rows(
            {
                "script, from an empty folder": install + script,
                "project, from an empty folder": set_up + train,
            }
        ),
        *rows({"script: environment": install, "project: `copier copy`, `make setup`": set_up}),
        *rows({"script: training": script, "project: `make train`": train}),
    ]
    return Section("From an empty folder to a registered model", TEXT, runs, table)
