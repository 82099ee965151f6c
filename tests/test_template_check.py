"""`ops template-check`, in projects that people changed, and that their template left behind."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from following import BEHIND, CURRENT, MISTAKE, UNRESOLVED, Follower, edit, migrate
from render import run
from test_update import begin, commit, update

if TYPE_CHECKING:
    from pathlib import Path

MANAGED, SHARED, YOURS = "dvc.yaml", "Makefile", "params.yaml"


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
    edit(root / ".gitignore", "# project-specific", "# ours")
    (root / ".editorconfig").unlink()
    (root / "notes.md").write_text("A file of our own.\n")
    found = follower.drift()
    assert found.keys() == {MANAGED, ".editorconfig", ".gitignore", "pyproject.toml"}
    assert "-# project-specific" in found[".gitignore"], "below which nothing conflicts"
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
    run("git", "config", "submodule.recurse", "true", cwd=root)  # a habit that must hide nothing
    assert f"{MANAGED}: an update left a conflict here" in follower.check(UNRESOLVED)
    commit(root, "Update, marks and all")
    assert f"{MANAGED}: an update left a conflict here" in follower.check(UNRESOLVED)
    assert "Resolve these conflicts" in follower.project.refuse("make", "check", code=2)
    run("git", "checkout", "--quiet", "HEAD~1", "--", MANAGED, cwd=root)
    commit(root, "Keep our words")
    assert "newest release" in follower.check(CURRENT)


@pytest.fixture
def dropping(follower: Follower) -> Follower:
    """A project with changes of its own in every file that the next release lets down."""
    root, source = follower.project.root, follower.template.source / "template"
    (source / "logo.png").write_bytes(b"\0a logo")
    follower.template.release("v9999.1.0")
    update(root)
    commit(root, "Update")
    (root / "logo.png").write_bytes(b"\0our logo")
    (root / "seal.png").write_bytes(b"\0our seal")
    (root / "guide.md").write_text("Ours, where the template has something soon.\n")
    for name, text in EDITED.items():
        with (root / name).open("a") as file:
            file.write(text)
    commit(root, "Our changes")
    (source / "logo.png").write_bytes(b"\0another logo")
    (source / "seal.png").write_bytes(b"\0a seal")
    (source / "guide.md").write_text("The template's.\n")
    (source / ".editorconfig").unlink()
    (source / ".dvcignore").unlink()
    shutil.move(source / ".devcontainer", source / ".container")
    edit(source / "CODEOWNERS.jinja", "Who is asked", "Who must be asked")
    edit(source / ".gitattributes", "dvc.lock", "models.lock")
    follower.template.release("v9999.2.0")
    update(root)
    return follower


EDITED = {
    ".editorconfig": "# ours\n",
    ".devcontainer/devcontainer.json": "// ours\n",
    "CODEOWNERS": "/ours @us\n",
    "Makefile": "ours:\n\techo ours\n",
}
DROPPED = {
    ".editorconfig": "has it no more",
    ".devcontainer/devcontainer.json": "has it no more",
    "logo.png": "only text can be merged",
    "seal.png": "only text can be merged",
}


def test_what_an_update_drops_is_named_until_it_is_decided(dropping: Follower) -> None:
    """A release that deletes, renames and replaces what was changed; the rest is merged."""
    root = dropping.project.root
    found = dropping.lost()
    assert found.keys() == DROPPED.keys()
    assert all(DROPPED[name] in reason for name, reason in found.items())
    edit(root / "dvc.yaml", "Read the rows", "Read all rows")  # which is nobody's loss
    (root / "LICENSE").unlink()
    assert dropping.lost().keys() == DROPPED.keys()
    said = dropping.check(UNRESOLVED)
    assert "guide.md: an update left a conflict here" in said
    for command in set(re.findall(r"`(git checkout HEAD .*?)`", said)):
        dropping.project.run("bash", "-c", command)
    assert (root / "logo.png").read_bytes() == b"\0our logo"
    assert dropping.lost() == {}, "everything is back"
    run("git", "checkout", "HEAD", "--", "guide.md", "LICENSE", cwd=root)
    assert dropping.lost(CURRENT) == {}
    commit(root, "Update")
    assert dropping.lost(CURRENT) == {}


def test_what_is_decided_is_no_loss(dropping: Follower) -> None:
    """Texts are the template's by hand, and what it dropped is back."""
    root = dropping.project.root
    run("git", "checkout", "HEAD", "--", *DROPPED, cwd=root)
    (root / "guide.md").write_text("The template's.\n")
    edit(root / "CODEOWNERS", "/ours @us\n", "")
    run("git", "add", "guide.md", cwd=root)
    assert dropping.lost(CURRENT) == {}


def test_what_does_not_come_is_named(follower: Follower) -> None:
    """A change to a file that the project has deleted, or moved."""
    root = follower.project.root
    (root / ".editorconfig").unlink()
    (root / "docs" / "ours").mkdir()
    run("git", "mv", "docs/ops/pipeline.md", "docs/ours", cwd=root)
    commit(root, "Our places")
    for name, old in ((".editorconfig", "root = true"), ("docs/ops/pipeline.md", "# Pipeline")):
        edit(follower.template.source / "template" / name, old, f"{old} again")
    follower.template.release("v9999.1.0")
    update(root)
    said = follower.check(CURRENT)
    for name in (".editorconfig", "docs/ops/pipeline.md"):
        assert f"{name}: the template changed it, and it is deleted or moved here." in said


def test_a_package_that_was_renamed_gets_its_updates_under_its_new_name(
    follower: Follower,
) -> None:
    """No module of it would be reached, so nothing is updated before the answers say so."""
    root, module = follower.project.root, "ops/errors.py"
    run("git", "mv", "src/my_model", "src/ours", cwd=root)
    commit(root, "A better name")
    path = follower.template.source / "template" / "src" / "{{ package_name }}" / module
    edit(path, '"""The two ways', '"""Both ways')
    follower.template.release("v9999.1.0")
    for verb in ("template-check", "template-update"):
        said = follower.project.refuse(follower.ops, verb, code=MISTAKE)
        assert "says package_name: my_model, and the package is ours" in said
    edit(root / ".copier-answers.yml", "package_name: my_model", "package_name: ours")
    commit(root, "As the template shall call it")
    follower.project.refuse(follower.ops, "template-update", code=CURRENT)
    assert "Both ways" in (root / "src" / "ours" / module).read_text()
    assert not (root / "src" / "my_model").exists()


def test_an_answer_that_takes_changed_files_away_says_so(follower: Follower) -> None:
    root = follower.project.root
    with (root / "Dockerfile").open("a") as file:
        file.write("USER ours\n")
    commit(root, "Our image")
    page = (root / "docs" / "ops" / "updating.md").read_text()
    (command,) = re.findall(r"`uvx (copier update [^`]+)`", page)
    command = command.replace("python_version=3.13", "serving=false")
    follower.project.run("bash", "-c", f"uv tool run {command}")
    assert not (root / "Dockerfile").exists()
    assert follower.lost().keys() == {"Dockerfile"}


def test_a_migration_that_moves_a_file_loses_nothing(follower: Follower) -> None:
    root, source = follower.project.root, follower.template.source
    with (root / ".dvcignore").open("a") as file:
        file.write("ours/\n")
    commit(root, "Our line")
    shutil.move(source / "template" / ".dvcignore", source / "template" / ".ignored")
    migrate(source, "v9999.1.0", "git mv -k .dvcignore .ignored")
    follower.template.release("v9999.1.0")
    update(root, unsafe=True)
    assert "ours/" in (root / ".ignored").read_text()
    assert follower.lost() == {}, "what it leaves is a conflict, and no loss"


def test_a_project_in_a_larger_repository_is_told_of_its_own_paths(
    follower: Follower, tmp_path: Path
) -> None:
    root = tmp_path / "larger" / "project"
    root.parent.mkdir()
    shutil.move(follower.project.root, root)
    shutil.rmtree(root / ".git")
    (root / ".editorconfig").write_text("# ours\n")
    begin(root.parent)
    (follower.template.source / "template" / ".editorconfig").unlink()
    follower.template.release("v9999.1.0")
    update(root)
    inside = replace(follower, project=replace(follower.project, root=root))
    assert inside.lost().keys() == {".editorconfig"}
    commit(root.parent, "Update, as a bot does")
    assert inside.lost(CURRENT) == {}
    run("git", "reset", "--soft", "HEAD~1", cwd=root)
    assert inside.lost().keys() == {".editorconfig"}


def test_what_cannot_be_asked_is_a_sentence(follower: Follower) -> None:
    record = follower.project.root / ".copier-answers.yml"
    record.write_text(record.read_text().replace("v9999.0.0", "v0.0.1"))
    assert "Copier failed" in follower.check(MISTAKE)
    record.unlink()
    assert "restore it from git" in follower.check(MISTAKE)
