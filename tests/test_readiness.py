"""The scorecard at its highest, by what people type: nothing that it reads is written by hand."""

from __future__ import annotations

import json
import re
import shutil
import time
from typing import TYPE_CHECKING

from project import apart, change_params
from story import loop

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Project

ROWS = 700
"""Mails that each champion answers, and whose queue is told."""
SHADOWED = 100
REVIEWED = "{}\n\nReviewed-by: Grace Hopper <grace@example.org>"
ASKED = {
    "model: blend": "model: auto",
    "folds: 5": "folds: 3",
    "n_estimators: 40": "n_estimators: 20",
    "max_iter: 60": "max_iter: 30",
    "groups: null": "groups: {basic: tier = 'basic'}",
    "shadow_rows: 0": f"shadow_rows: {SHADOWED}",
    "trials: 30": "trials: 4",
    "window: 1000": "window: 300",
    "log_days: null": "log_days: 90",
}
"""What the card asks for in `params.yaml`, and what makes trainings small."""
TESTED = {"Data 1", "Data 4", "Data 7", "Monitoring 3"}
TESTED |= {f"Infrastructure {place}" for place in (1, 2, 3, 7)}
WATCHED = {"Model 2", "Monitoring 1", "Monitoring 2", "Monitoring 7"}
REGISTERED = {"Data 3", "Data 6", *(f"Model {place}" for place in (1, 3, 4, 5, 6, 7))}
REGISTERED |= {f"Infrastructure {place}" for place in (4, 6)}
REGISTERED |= {f"Monitoring {place}" for place in (4, 5, 6)}
EVIDENCE = {
    "build/tests.xml": TESTED,
    "reports/findings": {"Data 2", "Model 5"},
    "data/served": {"Data 5", *WATCHED},
    "models/champion": {"Infrastructure 5"},
    "mlflow.db": REGISTERED | WATCHED,
}
"""Which rows lose their points without a file or a folder that a run has left."""
ROW = re.compile(r"^(0|0\.5|1) +((?:Data|Model|Infrastructure|Monitoring) \d) +(.+)$", re.MULTILINE)


def card(project: loop.Project) -> tuple[dict[str, float], str]:
    """The points of each row, and all that the card says."""
    said = project.run("make", "scorecard")
    return {name: float(points) for points, name, _ in ROW.findall(said)}, " ".join(said.split())


def share(project: loop.Project, message: str) -> None:
    """Commit what somebody else has read, and push it."""
    project.run("git", "add", "--all", ".")
    said = REVIEWED.format(message)  # a search may find that nothing is better
    project.run("git", "commit", "--quiet", "--no-verify", "--allow-empty", "--message", said)
    project.run("git", "push", "--quiet", "origin", "HEAD:main")


def answer(project: loop.Project, mails: list[loop.Mail], **settings: str) -> str:
    """Let the champion answer mails, and tell where they belonged; give the version that did."""
    logs = project.root / "data" / "served"
    with loop.served(project, logs, **settings) as port:
        service = loop.Service(port)
        window, truths = loop.pour(service, mails)
        service.tell(truths)
        time.sleep(1)  # the log is written a tenth of a second after the answer
    return window.version


def walk(project: loop.Project, folder: Path) -> None:
    """Type what the card of a project that was trained once asks for."""
    host = str(folder / "host")
    project.run("git", "init", "--quiet", "--bare", host)
    project.run("git", "remote", "add", "origin", host)
    share(project, "Say what we ask of a model")
    plan = {"before": 4, "windows": 2, "rows": ROWS, "spare": SHADOWED}
    project.world("mails", folder, json.dumps(plan))
    mails = [(folder / "control" / f"{place}.jsonl").read_text() for place in (0, 1)]
    first, second = ([json.loads(line) for line in text.splitlines()] for text in mails)
    assert answer(project, first[:ROWS]) == "1"
    project.run("make", "tune")
    share(project, "Take what the search has found")
    project.run("make", "retrain")
    project.commit("Learn from what was told")
    assert answer(project, first[ROWS:], SHADOW="models/challenger") == "1"
    project.ops("register")
    assert answer(project, second) == "2"
    project.run("make", "monitor")
    project.run("make", "test")


def test_every_point_comes_of_what_a_run_has_left(
    trained: Callable[[str], Project], tmp_path: Path
) -> None:
    copy = apart(trained("mail"), tmp_path / "project")
    project = loop.Project(copy.root, copy.environment)
    before, _ = card(project)
    assert len(before) == 28
    assert sum(before.values()) < 20
    change_params(copy, ASKED)
    walk(project, tmp_path)
    after, said = card(project)
    assert after == dict.fromkeys(before, 1.0), said
    assert "together 28 of 28" in said

    results = (project.root / "build" / "tests.xml").read_text().count("<testcase ")
    counted = [int(count) for count in re.findall(r"tests passed on [0-9-]+: (\d+);", said)]
    assert results >= max(counted) > 50
    told = json.loads((project.root / "data/served/monitoring/monitoring.json").read_text())
    last = [window for window in told["windows"] if window["end"]][-1]
    assert f"{last['rows']} rows until {last['end'][:10]}, 0 refused" in said
    (commit,) = re.findall(r"commit (\w+); its last change: Reviewed-by: Grace", said)
    assert "main" in project.run("git", "branch", "--all", "--contains", commit)
    shadows = [it.read_text() for it in (project.root / "data/served/shadow").iterdir()]
    assert sum(text.count("\n") for text in shadows) == SHADOWED

    proven = set()
    for name, rows in EVIDENCE.items():
        aside = (project.root / name).rename(tmp_path / "aside")
        points, said = card(project)
        assert {row for row in points if points[row] < 1} == rows, (name, said)
        remove(project.root / name)
        aside.rename(project.root / name)
        proven |= rows
    assert proven == {*before}


def remove(path: Path) -> None:
    """Let be gone what a command has made anew where it found none."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
