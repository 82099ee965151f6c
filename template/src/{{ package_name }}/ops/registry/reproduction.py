"""`ops reproduce`: train a version once more, from its commit and its data, and compare.

All of it happens in a clone in a temporary folder, which shares git's objects with the project and
has a cache of DVC's own: nothing of the project is written to.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import command, dvc, git
from ..bundle import UNKNOWN, Bundle
from ..errors import Refused, UserError
from ..files import flat
from ..project import Project
from .champion import named
from .lineage import lineage
from .tracking import Version, connected

COMPARED = {
    "dvc.train": "the rows to learn from",
    "dvc.holdout": "the rows held out",
    "dvc.bundle": "the bundle",
    "contract": "the contract",
}
"""Hashes among a version's tags, and what they are of."""

FIRST = ("metrics", "model", "data", "libraries")
"""The sections of a manifest that say most of why two bundles differ."""

MOST = 20
"""How many differences are named."""


def run(project: Project, name: str) -> None:
    """Train a version again; a `Refused` says what differs, if anything does.

    A UserError if the version has no commit, its files cannot be had, or its pipeline fails.
    """
    with TemporaryDirectory(prefix="reproduce-") as folder:
        registered = Path(folder, "registered")
        with connected(project) as store:
            version = named(store, name)
            changes = store.changes(version)
            store.fetch(version, registered)
        copy = checkout(project, version, changes, Path(folder, "checkout"))
        said = ""
        if changes is not None:
            said = ", and of changes that were kept with it, for no commit had them"
        elif version.tags.get("git.dirty") == "true":
            said = ", and of changes that nobody has kept: it is tried without them"
        commit = version.tags["git.commit"][:7]
        print(f"reproduce: version {version.number} is of commit {commit}{said}.", flush=True)
        _fetch(project, copy)
        if not train(project, copy, Path(folder, "environment")):
            raise UserError(f"The pipeline of version {version.number} fails, as said above.")
        bundle = Bundle(copy.bundle)
        made = lineage(copy, bundle)
        was = {key: version.tags.get(key, UNKNOWN) for key in COMPARED}
        found = [
            f"{what}: {made[key][:7]}, and was {was[key][:7]}"
            for key, what in COMPARED.items()
            if made[key] != was[key]
        ]
        found += differences(Bundle(registered), bundle)
    if found:
        more = [f"and {len(found) - MOST} more differences"] if len(found) > MOST else []
        listed = "\n".join(f"- {sentence}" for sentence in [*found[:MOST], *more])
        raise Refused(f"Version {version.number} is not what comes out:\n{listed}")
    same = ", ".join(f"{what} ({was[key][:7]})" for key, what in COMPARED.items())
    print(f"Version {version.number} is reproduced. The same are {same}, and every metric.")


def differences(registered: Bundle, made: Bundle) -> Iterator[str]:
    """What tells two bundles apart: the model, and every value of their manifests."""
    if registered.model.read_bytes() != made.model.read_bytes():
        yield f"{registered.model.name} has other bytes"
    before, after = (dict(flat(bundle.manifest)) for bundle in (registered, made))
    for place in sorted(before | after, key=lambda place: place.partition(".")[0] not in FIRST):
        was, now = (str(values.get(place, "absent")) for values in (before, after))
        if was != now:
            yield f"{place} is {now}, and was {was}"


def checkout(project: Project, version: Version, changes: bytes | None, folder: Path) -> Project:
    """The project as it was when the version was trained.

    A UserError if git does not know the commit, or there was none.
    """
    commit = version.tags.get("git.commit", UNKNOWN)
    if commit == UNKNOWN:
        raise UserError(
            f"Version {version.number} was trained where there was no commit yet, so there is "
            "nothing to go back to."
        )
    top = git.top(project.root)
    if top is None or git.output(project.root, "cat-file", "-e", f"{commit}^{{commit}}") is None:
        raise UserError(
            f"git does not know the commit {commit[:12]}: run `git fetch --all` or --unshallow."
        )
    copy = Project(folder / (git.output(project.root, "rev-parse", "--show-prefix") or ""))
    alone = ("--quiet", "--shared", "--no-checkout", "--config", "core.hooksPath=/dev/null")
    command.raw(folder.parent, "git", "clone", *alone, str(top), str(folder))
    command.raw(folder, "git", "checkout", "--quiet", "--detach", commit)
    if changes is not None:
        command.raw(copy.root, "git", "apply", "--whitespace=nowarn", "-", given=changes)
    return copy


def _fetch(project: Project, copy: Project) -> None:
    """Bring the data under DVC: from the project's cache, and what that lacks from the remote."""
    names = [path.relative_to(copy.root).as_posix() for path in copy.data.rglob("*.dvc")]
    if not names:
        return
    local = project.root / ".dvc" / "config.local"
    if local.exists():
        shutil.copyfile(local, copy.root / ".dvc" / local.name)
    # DVC lists addresses that are seen from the project's own folder as they are seen from here.
    for line in dvc.ask(project.root, "config", "--list").splitlines():
        name, _, value = line.partition("=")
        if name.startswith("remote.") and name.endswith(".url") and Path(value).is_absolute():
            dvc.ask(copy.root, "config", "--local", name, value)
    cache = dvc.ask(project.root, "cache", "dir")
    dvc.ask(copy.root, "remote", "add", "--local", "cache-of-the-project", cache)
    try:
        dvc.ask(copy.root, "fetch", "--remote", "cache-of-the-project", *names)
        dvc.ask(copy.root, "checkout", *names)
    except UserError:
        dvc.ask(copy.root, "pull", *names)


def train(project: Project, copy: Project, environment: Path) -> bool:
    """Run the whole pipeline of a copy, with the packages that it was locked with.

    Others than the project's are installed in the folder `environment`. Says if it succeeds.
    """
    locks = [root / "uv.lock" for root in (project.root, copy.root)]
    own, theirs = (lock.read_bytes() if lock.exists() else None for lock in locks)
    arguments = ("repro", "--force")
    if own == theirs:
        source = str(copy.root / "src")
        paths = os.pathsep.join(filter(None, [source, os.environ.get("PYTHONPATH")]))
        return dvc.run(copy.root, *arguments, variables={"PYTHONPATH": paths})
    print("reproduce: its packages were others; they are installed beside it.", flush=True)
    variables = {"UV_PROJECT_ENVIRONMENT": str(environment), "VIRTUAL_ENV": ""}
    locked = ("uv", "run", "--locked", "dvc")
    return dvc.run(copy.root, *arguments, variables=variables, command=locked)
