"""`ops template-update`: the template's newest release; `ops template-propose`: for review.

Nothing is committed by an update, and nothing is changed before it is known to be allowed.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple, Self

from . import git
from .errors import UserError
from .hosting.proposal import LONGEST, Host, Proposal, committed, do
from .hosting.proposal import propose as push
from .project import Project
from .template import (
    ANSWERS,
    UNRESOLVED,
    conflicts,
    copier,
    ignored,
    lost,
    newest,
    recorded,
    render,
    said,
    to_resolve,
)

BRANCH = "ops/template"

SHORT = {
    "gh:": "https://github.com/",
    "gl:": "https://gitlab.com/",
    "git+": "",
    "~": str(Path.home()),
}
"""How an address of a template may begin, and what Copier takes that for."""

CHECKED = {"UV_LOCKED", "UV_FROZEN"}
"""Variables by which a pipeline forbids uv what an update is for."""


class Version(NamedTuple):
    """A release, by the numbers that sort it."""

    major: int
    minor: int
    patch: int
    post: int = 0
    """What a copy of the template counts on top of a release: 1.2.0.post1."""

    @classmethod
    def parse(cls, text: object) -> Self:
        """Read a version, with or without the letter of its tag; what follows it is left out.

        Raises:
            UserError: if it is none.
        """
        found = re.match(r"v?(\d+)\.(\d+)\.(\d+)(?:\.post(\d+))?", str(text))
        if not found:
            raise UserError(f"{text} is no version of a template; write it like 1.2.0.")
        return cls(*(int(part or 0) for part in found.groups()))

    def __str__(self) -> str:
        """As people write it."""
        release = f"{self.major}.{self.minor}.{self.patch}"
        return f"{release}.post{self.post}" if self.post else release


class Release(NamedTuple):
    """What a release of the template says of itself and of those before it."""

    migrations: list[Version]
    """The releases, none twice, that run code in a project that passes them."""

    changelog: str

    def since(self, old: Version, new: Version) -> str:
        """The changelog's sections of the releases after one, up to another."""
        sections = re.split(r"^(?=## )", self.changelog, flags=re.MULTILINE)
        kept = [
            section.strip()
            for section in sections
            if re.match(r"## v?\d+\.\d+\.\d+\s", section)
            and old < Version.parse(section.removeprefix("## ")) <= new
        ]
        return "\n\n".join(kept)


def update(project: Project, trusted: Iterable[str]) -> None:
    """Bring the template's newest release to the files, and the newest versions to the lock.

    Args:
        project: what has no change that is not committed.
        trusted: the releases that may run the code of their migrations.

    Raises:
        UserError: if that is not so, or Copier or uv cannot do it.
        SystemExit: with `UNRESOLVED`, if something is left for people to resolve.
    """
    root = project.root
    allowed = {Version.parse(version) for version in trusted}
    answers = recorded(root)
    old, new = map(Version.parse, newest(root))
    if new <= old:
        print(f"The project has the newest release of its template, {old}.")
        return
    if git.output(root, "status", "--porcelain") != "":
        raise UserError(
            "An update can be told from your own changes only if those are committed: commit or "
            "stash them first."
        )
    release = released(root, answers, f"v{new}")
    crossed = [version for version in release.migrations if old < version <= new]
    # Copier trusts the release that is taken: its code runs the migrations of all.
    needed = sorted({*crossed, new}) if crossed else []
    if not allowed.issuperset(needed):
        raise UserError(
            f"{new} comes with the migration of {' and of '.join(map(str, crossed))}, which runs "
            "code here; read it in the template, then "
            f"`make template-update TRUST={','.join(map(str, needed))}`."
        )
    with TemporaryDirectory() as folder:
        before = render(root, answers, Path(folder, "old"))
        after = before
        if not crossed:  # else a migration may replace answers that the new release refuses
            after = render(root, {**answers, "_commit": f"v{new}"}, Path(folder, "new"))
        if names := ignored(root, before, after):
            raise UserError(
                f"Git ignores {', '.join(names)}, and an update would replace it for good: move "
                "it away, or commit it with `git add --force`."
            )
    trust = ["--trust"] if crossed else []
    copier(root, "update", "--quiet", "--defaults", "--vcs-ref", f"v{new}", *trust)
    print(f"The template goes from {old} to {new}.\n\n{release.since(old, new)}\n", flush=True)
    subprocess.run(["git", "status", "--short", "."], cwd=root, check=False)
    if left := [*to_resolve(conflicts(root), lost(root))]:
        print("\n".join(["", *left]))
        print("Resolve that, then `uv lock --upgrade`, `make setup check test`, and commit.")
        sys.exit(UNRESOLVED)
    upgrade(root)
    print("Nothing is left to resolve. Next: `make setup check test`, then commit.")


def upgrade(root: Path) -> None:
    """Move the versions in the lock as far as `exclude-newer` allows.

    Raises:
        UserError: if uv cannot.
    """
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
    root = project.root
    before, after = git.content(root, ANSWERS), recorded(root)
    if before is None or said(before) == after:
        print("There is no update to propose.")
        return
    if left := [*to_resolve(conflicts(root), lost(root))]:
        print("\n".join(left))
        sys.exit(UNRESOLVED)
    old, new = Version.parse(said(before)["_commit"]), Version.parse(after["_commit"])
    title = f"Update the template from {old} to {new}"
    commit = committed(root, ["."], title) or ""
    changes = released(root, after, str(after["_commit"])).since(old, new)
    text = (
        "What the template keeps current, merged with what was changed here, and the newest "
        "versions that its date allows in `uv.lock`. Nothing conflicted, and no change was "
        f"dropped. The template's changelog:\n\n{changes}\n"
    )
    page = push(root, host, commit, Proposal(BRANCH, title, text[:LONGEST]))
    print(f"{title} is proposed: {page}")


def released(root: Path, answers: Mapping[str, Any], tag: str) -> Release:
    """What a release of the project's template says.

    Raises:
        UserError: if it cannot be fetched.
    """
    source = str(answers["_src_path"])
    for short, meant in SHORT.items():
        if source.startswith(short):
            source = meant + source.removeprefix(short)
    with TemporaryDirectory() as folder:
        only = ("--quiet", "--depth=1", "--branch", tag, "-c", "advice.detachedHead=false")
        do(root, "git", "clone", *only, "--", source, folder)
        changelog = Path(folder, "CHANGELOG.md")
        return Release(
            migrations(Path(folder, "copier.yml").read_text(encoding="utf-8")),
            changelog.read_text(encoding="utf-8") if changelog.is_file() else "",
        )


def migrations(text: str) -> list[Version]:
    """The releases that have a migration, the oldest first, from the text of `copier.yml`.

    What it includes is left out, and so are migrations of no release: those Copier refuses.
    """
    import yaml

    class Loader(yaml.SafeLoader):
        """Passes over tags that only Copier knows."""

    Loader.add_multi_constructor("!", lambda *_: {})
    found = {
        Version.parse(migration["version"])
        for document in yaml.load_all(text, Loader)  # nosec B506
        for migration in (document or {}).get("_migrations", ())
        if isinstance(migration, dict) and "version" in migration
    }
    return sorted(found)
