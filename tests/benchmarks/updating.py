"""How long an update takes, by the number of files and of those that people edited."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from history import past
from render import Template
from render import run as call

from .measuring import Section, compare, measure, rows
from .rendering import CHANGED, NEW, TOOLS, change, committed, plain_template

if TYPE_CHECKING:
    from .measuring import Cost

FILES = (50, 100, 200, 400)
EDITED = (0, 10, 100)
BYTES = 4_500
RELEASES = ("0.1.0", "0.3.0")
UPDATE = ("update", "--trust", "--defaults", "--quiet")
"""As a person types it who crosses a release with a migration."""
TEXT = """\
A plain template of so many files, of {bytes:,} bytes each, whose release changes one line; so many
of the files have a line more in the project. The first one renders a single file: that is what
`copier update` takes whatever there is to do, and the measure of all others. This template's
default project is updated from two of its releases to the working tree, as it was rendered and
with a line more in ten files that are kept current. It ran with Python
{python}; the load average was {load[0]:.1f} before and {load[1]:.1f} after.\
"""


def run(folder: Path, runs: int) -> Section:
    """Update projects of plain templates, and of this one."""
    place = folder / "updating"
    shutil.rmtree(place, ignore_errors=True)
    projects = {"1 file": (plain(place, 1), NEW)}
    for files in FILES:
        project = plain(place, files)
        for number in EDITED:
            if number < files:
                names = [path for path in tracked(project) if path.suffix == ".txt"]
                projects[f"{files} files, {number} edited"] = (
                    edited(project, names[:number]),
                    NEW,
                )
    (place / "history").mkdir()
    template = past(place / "history")
    for version in RELEASES:
        project = template.render(place / f"ours-{version}", {}, f"v{version}")
        Template(project).release("begin")
        kept = [path for path in tracked(project) if "ops" in path.parts and path.suffix == ".py"]
        for number in (0, 10):
            name = f"this template, {version} to now, {number} edited"
            projects[name] = (edited(project, kept[:number]), "v9999.0.0")
    before = os.getloadavg()[0]
    costs = compare(
        {name: partial(update, place, *project) for name, project in projects.items()}, runs
    )
    text = TEXT.format(
        bytes=BYTES, python=platform.python_version(), load=(before, os.getloadavg()[0])
    )
    return Section("Updating, by files and edits", text, runs, rows(costs))


def plain(place: Path, files: int) -> Path:
    """A project of a plain template of so many files, which has a new release."""
    paths = [Path(f"folder-{number // 20:02}", f"{number:03}.txt") for number in range(files - 1)]
    template = plain_template(
        {Path(CHANGED): BYTES} | dict.fromkeys(paths, BYTES), place / f"{files}"
    )
    project = committed(template, place / f"{files}-project")
    change(template)
    return project


def tracked(project: Path) -> list[Path]:
    """What git keeps of a project, by its path in there."""
    return [Path(name) for name in call("git", "ls-files", cwd=project).splitlines()]


def edited(project: Path, paths: list[Path]) -> Path:
    """A copy of a project that has a line more in some files."""
    copied = Path(shutil.copytree(project, project.with_name(f"{project.name}-{len(paths)}")))
    for path in paths:
        with (copied / path).open("a") as file:
            file.write("# a line of our own\n")
    message = ("--allow-empty", "--message", "Our own")
    call("git", "commit", "--quiet", "--all", *message, cwd=copied)
    return copied


def update(place: Path, project: Path, newest: str) -> Cost:
    """Update a copy of a project.

    Raises:
        SystemExit: if it has not the newest release then.
    """
    with TemporaryDirectory(dir=place) as folder:
        copied = Path(shutil.copytree(project, Path(folder, "project")))
        cost = measure(TOOLS / "copier", *UPDATE, cwd=copied)
        if f"_commit: {newest}" not in (copied / ".copier-answers.yml").read_text():
            sys.exit(f"{project.name} was not updated.")
    return cost
