"""Walks a page as its reader does: what it shows is typed, written and edited, in that order."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from documents import lines
from render import run

if TYPE_CHECKING:
    from collections.abc import Iterator

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^## (.+)$", re.MULTILINE)
STATE = 'code=$?; pwd > "$WALK/place"; env -0 > "$WALK/variables"; exit $code'
"""What a shell leaves for the next line that is typed into it."""


@dataclass(frozen=True)
class Step:
    """One thing that a page tells its reader to do.

    Attributes:
        section: the heading that it stands under; empty above the first one.
        kind: console, diff, or what a file is written in.
        text: a command, the edit, or the file.
    """

    section: str
    kind: str
    text: str


def steps(page: Path) -> Iterator[Step]:
    """Everything in the fences of a page, in order."""
    section = ""
    markdown = page.read_text()
    fences = list(FENCE.finditer(markdown))
    assert markdown.count("```") == 2 * len(fences), f"{page} has a fence that nobody reads"
    found = sorted([*fences, *HEADING.finditer(markdown)], key=lambda its: its.start())
    for its in found:
        if its.re is HEADING:
            section = its[1]
        elif its[1] == "console":
            yield from (Step(section, "console", command) for command in lines(its[2]))
        else:
            yield Step(section, its[1], its[2])


@dataclass
class Walker:
    """Somebody who follows a page, in one shell.

    Attributes:
        place: the folder that the shell is in.
        environment: all variables that it sees.
        meant: what stands for something that only a reader has, and what that is here.
        used: which of these have been met.
    """

    place: Path
    environment: dict[str, str]
    meant: dict[str, str] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)

    def take(self, step: Step, code: int = 0) -> str:
        """Do what a step says; gives what a command printed, which must end with this code."""
        match step.kind:
            case "console":
                return self.type(step.text, code)
            case "diff":
                self.edit(self.here(step.text))
            case "yaml" | "text":
                name = re.match(r"# (\S+)\n", step.text)
                assert name, f"a file has its name in the first line: {step.text}"
                (self.place / name[1]).write_text(self.here(step.text))
            case _:
                raise AssertionError(f"nobody knows what to do with {step}")
        return ""

    def here(self, text: str) -> str:
        """A text as the reader would have it here."""
        for name, value in self.meant.items():
            if name in text:
                self.used.add(name)
                text = text.replace(name, value)
        return text

    def type(self, command: str, code: int = 0) -> str:
        """Type a command, which must end with this code; the shell stays as it leaves it."""
        with TemporaryDirectory() as note:
            script = f"({self.here(command)}\n{STATE}) 2>&1; test $? = {code}"
            variables = {**self.environment, "WALK": note}
            said = run("bash", "-c", script, cwd=self.place, env=variables)
            listed = Path(note, "variables").read_text().split("\0")[:-1]
            self.environment = dict(line.split("=", 1) for line in listed)
            self.place = Path(Path(note, "place").read_text().removesuffix("\n"))
        return said

    def edit(self, diff: str) -> None:
        """Change a file: the first line names it, the others are those around and in the change.

        Where it is changed at several places, a line `@@` is between them.
        """
        head, _, body = diff.partition("\n")
        named = re.fullmatch(r"@@ (\S+) @@", head)
        assert named, f"an edit names its file in the first line: {diff}"
        path = self.place / named[1]
        text = path.read_text()
        for change in body.split("@@\n"):
            lines = change.splitlines(keepends=True)
            old = "".join(line[1:] for line in lines if line[0] != "+")
            new = "".join(line[1:] for line in lines if line[0] != "-")
            assert text.count(old) == 1, f"{path} has not once:\n{old}"
            text = text.replace(old, new)
        path.write_text(text)
