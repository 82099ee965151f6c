"""Projects that follow a template of their own, which a test releases anew."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml
from project import Project
from render import Template, run
from test_update import commit

if TYPE_CHECKING:
    from pathlib import Path

CURRENT, MISTAKE, UNRESOLVED, BEHIND = 0, 2, 3, 4


@dataclass(frozen=True)
class Follower:
    """A clone of a project, and a template of its own that it follows."""

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


def follow(sample: Project, folder: Path) -> Follower:
    """A clone of a project, on a machine of its own.

    Args:
        sample: the project.
        folder: an empty one.
    """
    root = folder / "project"
    run("git", "clone", "--quiet", sample.root, root, cwd=folder)
    record = root / ".copier-answers.yml"
    answers = yaml.safe_load(record.read_text())
    shutil.copytree(answers["_src_path"], folder / "template")
    record.write_text(record.read_text().replace(answers["_src_path"], str(folder / "template")))
    commit(root, "Follow another template")
    ops = str(sample.root / ".venv" / "bin" / "ops")
    return Follower(Project(root, sample.environment), Template(folder / "template"), ops)


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
        f"{yaml.safe_dump({'_migrations': [migration]})}---\n{settings}"
    )
