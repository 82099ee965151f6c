"""How long it takes to update a hundred projects, and to look at them."""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from render import ROOT, Template, working_tree
from render import run as call

from .measuring import Section, compare, measure, rows
from .rendering import OLD, TOOLS, change, committed

if TYPE_CHECKING:
    from .measuring import Cost

PROJECTS = 100
LOOPED = 10
TEXT = """\
A hundred repositories with the default project each, one release behind; the release changes one
line. The loop is what one would write without `hooks/fleet.py`: `git clone` and `copier update`,
one project after another; it ran over ten of them, and stands here ten times. The fleet's update
renders each project once more, to find what would be lost, and works on {jobs} at a time.\
"""
LOOP = """\
set -e
for project in $(ls -d {fleet}/* | head -n {looped}); do
  clone=$(basename $project)
  git clone --quiet $project $clone
  (cd $clone && {copier} update --defaults --quiet)
done
"""


def run(folder: Path, runs: int) -> Section:
    """Compare the fleet's commands with a loop over its projects."""
    place = folder / "fleet"
    shutil.rmtree(place, ignore_errors=True)
    template = Template.of(working_tree(), place / "template").release(OLD)
    first = committed(template, place / "first")
    fleet = place / "projects"
    fleet.mkdir()
    for number in range(PROJECTS):
        call("git", "clone", "--quiet", first, fleet / f"project-{number:03}", cwd=place)
    change(template)
    costs = compare(
        {
            "`git clone` and `copier update` in a loop": lambda: loop(place, fleet),
            "`fleet.py update`": lambda: ask(place, fleet, "update", 0),
            "`fleet.py status`": lambda: ask(place, fleet, "status", 3),
        },
        runs,
    )
    text = TEXT.format(jobs=os.cpu_count())
    return Section("A hundred projects", text, runs, rows(costs))


def loop(place: Path, fleet: Path) -> Cost:
    """Update clones of some of the projects, one after another; give the cost of all."""
    script = LOOP.format(fleet=fleet, looped=LOOPED, copier=TOOLS / "copier")
    with TemporaryDirectory(dir=place) as folder:
        cost = measure("bash", "-c", script, cwd=Path(folder))
    times = PROJECTS / LOOPED
    return replace(
        cost, seconds=cost.seconds * times, processor_seconds=cost.processor_seconds * times
    )


def ask(place: Path, fleet: Path, verb: str, code: int) -> Cost:
    """Run the script, which must end with this exit code."""
    command = f"{sys.executable} {ROOT}/hooks/fleet.py {verb} {fleet}; test $? = {code}"
    return measure("bash", "-c", command, cwd=place)
