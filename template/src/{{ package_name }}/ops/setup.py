"""`ops setup`: repository, first commit and hooks, each only where it is still missing.

DVC needs nothing done: `.dvc` came with the project.
"""

import shlex
from pathlib import Path

from . import command, dvc, git
from .errors import UserError
from .project import Project
from .settings import Settings


def run(project: Project) -> None:
    """Prepare the project's folder; a second run finds everything done."""
    root = project.root
    command.output(root, "git", "--version")
    top = git.top(root)
    if top is None:
        branch = git.branch(root)
        command.output(root, "git", "init", "--quiet", "--initial-branch", branch)
        print(f"repository: begun, on the branch {branch}")
    _keep_source(project)
    if top == root:
        print("repository: there")
    elif top is not None:
        print("repository: a larger one around the project, to which commit and hooks are left")
        print("pipelines: run only from its root; docs/ops/ci.md says how to bring them there")
        return
    if names := git.left_out(root):
        listed = " ".join(map(shlex.quote, names))
        raise UserError(f"Your own gitignore keeps these out of git: `git add --force {listed}`.")
    print(f"first commit: {_first_commit(project)}")
    print(f"hooks: {_hooks(root)}")


def _keep_source(project: Project) -> None:
    """Put under DVC what a sample brings into `data/` for its source to read."""
    source = Settings.load(project.params).data.source
    file, pointer = project.root / source, project.root / f"{source}.dvc"
    if source.startswith("data/") and file.is_file() and not pointer.exists():
        dvc.ask(project.root, "add", source)
        print(f"data: {source} is under DVC")


def _first_commit(project: Project) -> str:
    """Commit everything, if there is no commit yet.

    Where git does not know who is at work, the author is the one that pyproject.toml names.
    """
    root, author = project.root, project.metadata["authors"][0]
    if git.commit(root) is not None:
        return "there"
    identity = [
        option
        for key in ("name", "email")
        if not git.output(root, "config", f"user.{key}")
        for option in ("-c", f"user.{key}={author[key]}")
    ]
    command.output(root, "git", "add", "--all")
    begin = ("commit", "--quiet", "--message", f"Begin {project.name}")
    command.output(root, "git", *identity, "-c", "core.hooksPath=/dev/null", *begin)
    return "made"


def _hooks(root: Path) -> str:
    """Have git run `.pre-commit-config.yaml` before each commit, unless it has other hooks."""
    if git.output(root, "config", "core.hooksPath"):
        return "left to core.hooksPath of your git configuration"
    command.output(root, "pre-commit", "install")
    return "there"
