"""`ops template-check`, in projects that people changed, and that their template left behind."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from project import Project
from render import Template, run
from test_update import commit, update

if TYPE_CHECKING:
    from pathlib import Path

CURRENT, MISTAKE, UNRESOLVED, BEHIND = 0, 2, 3, 4
MANAGED, SHARED, YOURS = "dvc.yaml", "Makefile", "params.yaml"


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

    def release(self, tag: str, name: str, old: str, new: str) -> None:
        """Release the template with a change in one file."""
        (path,) = (self.template.source / "template").glob(f"{name}*")
        path.write_text(path.read_text().replace(old, new, 1))
        self.template.release(tag)


@pytest.fixture
def follower(sample: Project, tmp_path: Path) -> Follower:
    """The project that most people see first, on a machine of its own."""
    root = tmp_path / "project"
    run("git", "clone", "--quiet", sample.root, root, cwd=tmp_path)
    record = root / ".copier-answers.yml"
    answers = yaml.safe_load(record.read_text())
    shutil.copytree(answers["_src_path"], tmp_path / "template")
    record.write_text(record.read_text().replace(answers["_src_path"], str(tmp_path / "template")))
    commit(root, "Follow another template")
    ops = str(sample.root / ".venv" / "bin" / "ops")
    return Follower(Project(root, sample.environment), Template(tmp_path / "template"), ops)


def edit(path: Path, old: str, new: str) -> None:
    """Change a file, once."""
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_an_untouched_project_is_current(follower: Follower) -> None:
    said = follower.check(CURRENT)
    assert "0 of the files that are kept current are changed by hand." in said
    assert "newest release" in said


def test_only_what_is_kept_current_can_drift(follower: Follower) -> None:
    root = follower.project.root
    edit(root / YOURS, "seed: 7", "seed: 8")
    edit(root / MANAGED, "Read the rows", "Read all rows")
    with (root / SHARED).open("a") as file:
        file.write("ours: ## a target of our own\n\techo ours\n")
    edit(root / "pyproject.toml", "# project-specific", '"pandas",\n  # project-specific')
    (root / ".editorconfig").unlink()
    (root / "notes.md").write_text("A file of our own.\n")
    found = follower.drift()
    assert found.keys() == {MANAGED, ".editorconfig", "pyproject.toml"}
    assert "-    desc: Read the rows" in found[MANAGED]
    assert "+    desc: Read all rows" in found[MANAGED]
    assert '+  "pandas"' in found["pyproject.toml"]
    assert ".editorconfig is deleted here." in follower.check(CURRENT)


def test_a_newer_release_is_named(follower: Follower) -> None:
    follower.release("v9999.1.0", MANAGED, "Read the rows", "Read each row")
    said = follower.check(BEHIND)
    assert "The project has 9999.0.0 of its template, and 9999.1.0 is out" in said
    assert "0 of the files" in said, "what the release it has would render is what counts"


def test_a_conflict_is_found_until_it_is_resolved(follower: Follower) -> None:
    root = follower.project.root
    edit(root / MANAGED, "Read the rows", "Read all rows")
    commit(root, "Our words")
    follower.release("v9999.1.0", MANAGED, "Read the rows", "Read each row")
    update(root)
    assert f"{MANAGED}: an update left a conflict here" in follower.check(UNRESOLVED)
    commit(root, "Update, marks and all")
    assert f"{MANAGED}: an update left a conflict here" in follower.check(UNRESOLVED)
    run("git", "checkout", "--quiet", "HEAD~1", "--", MANAGED, cwd=root)
    commit(root, "Keep our words")
    assert "newest release" in follower.check(CURRENT)


def test_what_cannot_be_asked_is_a_sentence(follower: Follower) -> None:
    record = follower.project.root / ".copier-answers.yml"
    record.write_text(record.read_text().replace("v9999.0.0", "v0.0.1"))
    assert "Copier cannot" in follower.check(MISTAKE)
    record.unlink()
    assert "restore it from git" in follower.check(MISTAKE)
