"""`ops template-update`: the template's newest release; `ops template-propose`: for review.

Nothing is committed by an update, and nothing is changed before it is known to be allowed.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

from . import command, git, template
from .errors import UserError
from .hosting.proposal import Host, commit
from .project import Project

BRANCH = "ops/template"

SHORT = {
    "gh:": "https://github.com/",
    "gl:": "https://gitlab.com/",
    "git+": "",
    "~": str(Path.home()),
}
"""How an address of a template may begin, and what Copier takes that for."""

UNSAFE = 4  # what Copier ends with where a release runs code, and nobody has allowed it
CHECKED = ("UV_LOCKED", "UV_FROZEN")
"""Variables by which a pipeline forbids uv what an update is for."""


def update(project: Project, trusted: Iterable[str]) -> None:
    """Bring the template's newest release to the files, and the newest versions to the lock.

    Args:
        project: what has no change that is not committed.
        trusted: the releases that may run code here. A release runs the migrations of all that it
            passes over, so the one that is taken is the one to trust.

    Raises:
        UserError: if that is not so, or Copier or uv cannot do it.
        SystemExit: with `UNRESOLVED`, if something is left for people to resolve.
    """
    root, before = project.root, template.recorded(project)
    if git.top(root) is None:
        raise UserError("The project is not in git, and an update needs that: run `make setup`.")
    allowed = {number(version) for version in trusted}
    old, new = template.releases(root, before)
    if new == old:
        print(f"The project has the newest release of its template, {old}.")
        return
    if git.output(root, "status", "--porcelain") != "":
        raise UserError(
            "An update can be told from your own changes only if those are committed: commit or "
            "stash them first."
        )
    changes = changelog(root, str(before["_src_path"]), old, new)
    was = template.render(root, before)
    try:
        wanted = template.render(root, {**before, "_commit": f"v{new}"})
    except command.CommandError:
        wanted = was  # the release's migration replaces an answer that it refuses
    if names := ignored(root, was, wanted):
        raise UserError(
            f"Git ignores {', '.join(names)}, and an update would replace it for good: move it "
            "away, or commit it with `git add --force`."
        )
    trust = ["--trust"] if number(new) in allowed else []
    try:
        template.copier(root, "update", "--quiet", "--defaults", "--vcs-ref", f"v{new}", *trust)
    except command.CommandError as error:
        if error.code != UNSAFE:
            raise
        raise UserError(
            f"{new} comes with a migration, its own or one that it passes over, which runs code "
            f"here; read it in the template, then `make template-update TRUST={new}`."
        ) from None
    print(f"The template goes from {old} to {new}.\n\n{changes}\n", flush=True)
    subprocess.run(["git", "status", "--short", "."], cwd=root, check=False)
    left = template.uncommitted(project)
    print("\n".join(["", *left.sentences()]))
    if not left.resolved:
        print("Resolve that, then `uv lock --upgrade`, `make setup check test`, and commit.")
        sys.exit(template.UNRESOLVED)
    upgrade(root)
    print("Nothing is left to resolve. Next: `make setup check test`, then commit.")


def ignored(root: Path, was: Path, wanted: Path) -> list[str]:
    """Files that git ignores, and that an update from one render to another would replace.

    They are in no commit, so that could not be taken back.
    """
    committed = (git.output(root, "ls-files", "-z") or "").split("\0")
    names = (template.files(was) | template.files(wanted)).difference(committed)
    content = template.content
    return [
        name
        for name in sorted(names)
        if not template.is_yours(name)
        and content(root / name) not in (None, content(wanted / name))
    ]


def upgrade(root: Path) -> None:
    """Move the versions in the lock as far as `exclude-newer` allows; a UserError if uv cannot."""
    environment = {name: value for name, value in os.environ.items() if name not in CHECKED}
    done = subprocess.run(["uv", "lock", "--upgrade"], cwd=root, env=environment, check=False)
    if done.returncode:
        raise UserError("uv cannot, as it says above: mend that, and `uv lock --upgrade`.")


def propose(project: Project, host: Host) -> None:
    """Push what an update changed, and propose it; the same command twice proposes once.

    Raises:
        UserError: if the template or the host is out of reach.
        SystemExit: with `UNRESOLVED`, if something is left for people to resolve.
    """
    root, after = project.root, template.recorded(project)
    before = template.read(git.content(root, template.ANSWERS) or b"")
    if before == after:
        print("There is no update to propose.")
        return
    left = template.uncommitted(project)
    if not left.resolved:
        print("\n".join(left.sentences()))
        sys.exit(template.UNRESOLVED)
    old, new = (str(answers["_commit"]).removeprefix("v") for answers in (before, after))
    title = f"Update the template from {old} to {new}"
    text = (
        "What the template keeps current, merged with what was changed here, and the newest "
        "versions that its date allows in `uv.lock`. Nothing conflicted, and no change of yours "
        "was dropped."
    )
    missed = "\n".join(f"- {sentence}" for sentence in left.sentences())
    changes = changelog(root, str(after["_src_path"]), old, new)
    told = [text, missed, f"The template's changelog:\n\n{changes}"]
    made = commit(root, ["."], title) or "HEAD"
    page = host.propose(root, made, BRANCH, title, "\n\n".join(filter(None, told)))
    print(f"{title} is proposed: {page}")


def changelog(root: Path, source: str, old: str, new: str) -> str:
    """What the changelog of a template, as Copier names it, says of releases after `old` to `new`.

    Raises:
        UserError: if it cannot be fetched.
    """
    for short, meant in SHORT.items():
        if source.startswith(short):
            source = meant + source.removeprefix(short)
    with TemporaryDirectory() as folder:
        only = ("--quiet", "--no-checkout", "--depth=1", "--branch", f"v{new}")
        command.output(root, "git", "clone", *only, "--", source, folder)
        text = (git.content(Path(folder), "CHANGELOG.md") or b"").decode()
    _, *sections = re.split(r"^(?=## v?\d+\.\d+\.\d+\s)", text, flags=re.MULTILINE)
    since = [
        section.strip()
        for section in sections
        if number(old) < number(section.partition("\n")[0]) <= number(new)
    ]
    return "\n\n".join(since)


def number(version: str) -> tuple[int, ...]:
    """The numbers of a version, which sort as releases follow each other; of 1.2.0.post1, four.

    A UserError if it has none.
    """
    found = re.search(r"(\d+)\.(\d+)\.(\d+)(?:\.post(\d+))?", version)
    if not found:
        raise UserError(f"{version} is no version of a template; write it like 1.2.0.")
    return tuple(int(part or 0) for part in found.groups())
