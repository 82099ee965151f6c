"""Projects that follow a template of their own, which a test releases anew."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from overlay import ANSWERS
from project import Project
from test_update import begin

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from render import Template

OPS = """\
#!/bin/sh
PYTHONPATH=src:$PYTHONPATH exec {python} -m "$(basename src/*)".ops.cli "$@"
"""
CURRENT, MISTAKE, UNRESOLVED, BEHIND = 0, 2, 3, 4


@dataclass(frozen=True)
class Follower:
    """A project, a template of its own that it follows, and what calls its verbs."""

    project: Project
    template: Template
    ops: str

    def check(self, code: int) -> str:
        """Run the verb, which must end with this code."""
        return self.project.refuse(self.ops, "template-check", code=code)

    def drift(self) -> dict[str, str]:
        """What the verb says of files that were changed by hand."""
        said: dict[str, Any] = json.loads(self.project.run(self.ops, "template-check", "--json"))
        found: dict[str, str] = said["drift"]
        return found

    def lost(self, code: int = UNRESOLVED) -> dict[str, str]:
        """What the verb says of changes that an update dropped; it must end with this code."""
        said: dict[str, Any] = json.loads(
            self.project.refuse(self.ops, "template-check", "--json", code=code)
        )
        found: dict[str, str] = said["lost"]
        return found

    def release(self, tag: str, name: str, old: str, new: str) -> None:
        """Release the template with a change in one file."""
        (path,) = (self.template.source / "template").glob(f"{name}*")
        path.write_text(path.read_text().replace(old, new, 1))
        self.template.release(tag)


def follow(template: Template, machine: Mapping[str, str], folder: Path) -> Follower:
    """A project that nobody has worked on, which calls its verbs without an environment of its own.

    Args:
        template: what it is rendered from.
        machine: the variables that its commands run with.
        folder: an empty one.
    """
    project = Project(template.render(folder / "project", ANSWERS), machine)
    begin(project.root)
    ops = folder / "ops"
    ops.write_text(OPS.format(python=sys.executable))
    ops.chmod(0o755)
    return Follower(project, template, str(ops))


def edit(path: Path, old: str, new: str) -> None:
    """Change a file, once."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def migrate(source: Path, version: str, command: str) -> None:
    """Let a version of the template run a command in every project that it comes to."""
    migration = {"version": version, "when": "{{ _stage == 'before' }}", "command": command}
    settings = (source / "copier.yml").read_text()
    (source / "copier.yml").write_text(
        f"{settings}\n---\n{yaml.safe_dump({'_migrations': [migration]})}"
    )
