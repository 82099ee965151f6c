"""How long `dvc repro` takes when there is nothing to do."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING

import yaml
from render import run as call

from .measuring import Section, compare, measure, rows
from .training import Contest

if TYPE_CHECKING:
    from pathlib import Path

STAGES = 5
TEXT = """\
The plain pipeline has five stages as well, each of which copied one small file. Beside that, the
project's DVC looks at its code, parameters, data, models and reports.\
"""


def run(folder: Path, runs: int) -> Section:
    """Compare the trained project with a pipeline of five copies."""
    place = folder / "idle"
    shutil.rmtree(place, ignore_errors=True)
    contest = Contest(place)
    contest.set_up()
    contest.train()
    dvc = contest.project / ".venv" / "bin" / "dvc"
    plain = place / "plain"
    plain.mkdir()
    (plain / "file-0").write_text("a small file\n")
    stages = {
        f"copy-{number}": {
            "cmd": f"cp file-{number} file-{number + 1}",
            "deps": [f"file-{number}"],
            "outs": [f"file-{number + 1}"],
        }
        for number in range(STAGES)
    }
    (plain / "dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    for command in (("init", "--quiet", "--no-scm"), ("repro", "--quiet")):
        call(dvc, *command, cwd=plain, env=contest.variables)
    repro = partial(measure, env=contest.variables)
    costs = compare(
        {
            "`dvc repro`, plain pipeline": partial(repro, dvc, "repro", cwd=plain),
            "`dvc repro`, project": partial(repro, dvc, "repro", cwd=contest.project),
            "`uv run dvc repro`, project": partial(
                repro, "uv", "run", "dvc", "repro", cwd=contest.project
            ),
            "`make train`, project": partial(repro, "make", "train", cwd=contest.project),
        },
        runs,
    )
    return Section("Nothing to do", TEXT, runs, rows(costs))
