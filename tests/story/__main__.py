"""Tell the story in fresh projects, print it, draw `docs/story.svg`, take `docs/pictures`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING

from browser import program
from render import ROOT

from . import picture, screens, second
from .loop import BEFORE, Project, Teller, Window

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = ROOT / "build" / "story"
PICTURE = ROOT / "docs" / "story.svg"
PICTURES = ROOT / "docs" / "pictures"


def show(what: str, number: int, window: Window) -> None:
    """One line about a window."""
    print(
        f"{what} {number + 1:2}: version {window.version} sends {window.accuracy:.1%} to the "
        f"right queue; {window.decision}: {window.reasons[:200]}",
        flush=True,
    )


def rendered(folder: Path, sample: str) -> Project:
    """A fresh project with a sample, set up."""
    shutil.rmtree(folder, ignore_errors=True)
    project = Project(folder / "project", os.environ)
    version = ".".join(map(str, min(sys.version_info[:2], (3, 13))))
    answers = ("--data", f"python_version={version}", "--data", f"sample={sample}")
    template, root = str(ROOT), str(project.root)
    subprocess.run(
        ["copier", "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", *answers, template, root],
        check=True,
    )
    # The template's own repository lies around the folder, and ignores it.
    project.run("git", "init", "--quiet", "--initial-branch", "main")
    project.run("make", "setup")
    return project


def main() -> None:
    """Tell the story, print it, and draw the picture; then tell the second act."""
    project = rendered(FOLDER, "support-mail")
    story = Teller(project, FOLDER).tell()
    print(f"\n{story.history}")
    for number, window in enumerate(story.windows):
        show("window", number, window)
    print(
        f"\nOn {len(story.accuracy)} champions, {story.asked} requests beside, {story.dropped} "
        f"dropped; {story.recovered:.1%} of the accuracy that was lost is recovered.\n"
        f"Told in {story.seconds:.0f} s; the picture is {PICTURE}."
    )
    told = asdict(story)
    (FOLDER / "story.json").write_text(json.dumps(told, indent=2))
    PICTURE.write_text(picture.draw(told, BEFORE))
    if program():
        for name, screen in screens.take(project, FOLDER, FOLDER / "screens").items():
            screen.write(PICTURES / f"{name}.png")
    else:
        print(f"There is no Chromium here: the pictures of pages in {PICTURES} stay.")
    stage = FOLDER / "second"
    act = second.Teller(rendered(stage, "none"), stage).tell()
    print(
        f"\nThe second act: of {len(act.season)} months of a year like those before, "
        f"{act.season.count('none')} ask for nothing. In another unit: {act.fault}. {act.advice} "
        f"{act.wrong} wrong labels: refused, excluded, and then learnt without."
    )


if __name__ == "__main__":
    main()
