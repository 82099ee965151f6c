"""Projects of every release so far, updated to the working tree."""

from __future__ import annotations

import re
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
from copier import Settings, run_update
from edits import AMONG, EDITS, GONE, NEW, develop, resolve
from history import RELEASES
from migrate import targets
from migrations import MIGRATIONS
from ownership import owner
from project_guard import outcome
from releases import number
from render import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from edits import Edit
    from render import Template

# What is left to a person after an update: files in which both sides changed the same lines. The
# template had no image at first, and parted its lists of dependencies by an empty line.
CONFLICTS = {"0.1.0": {"Dockerfile", "src/my_model/ops/pipeline/train.py"}}
CONFLICTS_AMONG = {"0.1.0": {"Dockerfile", "pyproject.toml"}}

# What people may have answered. An old release asked fewer questions; the new ones have defaults.
ANSWERS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "own data": {"sample": "none", "license": "Proprietary", "python_version": "3.11"},
    "gitlab": {"ci": "gitlab", "sample": "diabetes", "project_name": "Wie groß? 🦊"},
}


def begin(project: Path) -> None:
    """Commit a render."""
    run("git", "init", "--quiet", cwd=project)
    commit(project, "Begin")


def commit(project: Path, message: str, *options: str) -> None:
    """Commit everything in a project."""
    run("git", "add", "--all", cwd=project)
    run("git", "commit", "--quiet", *options, "--message", message, cwd=project)


def update(project: Path, **options: Any) -> None:  # noqa: ANN401  whatever Copier takes
    """Take the newest release, as `copier update --defaults` does.

    Trust is given only where a migration of the template needs it.
    """
    settings = {"defaults": True, "overwrite": True, "quiet": True, "settings": Settings()}
    run_update(project, **{**settings, "unsafe": crosses(project), **options})


def crosses(project: Path) -> bool:
    """Whether a project is from before a migration."""
    record = project / ".copier-answers.yml"
    found = re.search(r"^_commit: v(\d+\.\d+\.\d+)$", record.read_text(), re.MULTILINE)
    return found is not None and any(number(it) > number(found[1]) for it in MIGRATIONS)


def moved(version: str, names: Iterable[str]) -> dict[str, str]:
    """Where the files of a release are by now that have moved since; "" for nowhere."""
    newer = (it for it in MIGRATIONS if number(it) > number(version))
    return {old: new for it in newer for old, new in targets(MIGRATIONS, it, {*names}).items()}


def unmerged(project: Path) -> set[str]:
    """The files in which an update left a conflict."""
    listed = run("git", "diff", "--name-only", "--relative", "--diff-filter=U", cwd=project)
    return set(listed.split())


def texts(project: Path) -> dict[str, str]:
    """Everything that a project's people may have changed: all files but Copier's record."""
    return {
        name: path.read_text(encoding="utf-8")
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
        if (name := path.relative_to(project).as_posix()) != ".copier-answers.yml"
    }


def files(project: Path) -> dict[str, str]:
    """Everything that a render holds, besides what is the people's own."""
    return {
        name: path.read_text(encoding="utf-8")
        for path in sorted(project.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(project).parts
        if owner(name := path.relative_to(project).as_posix()) != "yours"
    }


def test_every_release_has_a_commit() -> None:
    assert list(RELEASES)[:2] == ["0.1.0", "0.2.0"]
    assert len(set(RELEASES.values())) == len(RELEASES), "a shallow clone has one commit for all"
    for commit_of in RELEASES.values():
        run("git", "cat-file", "-e", f"{commit_of}^{{commit}}", cwd=ROOT)


def often(*, each: bool) -> pytest.MarkDecorator | tuple[()]:
    """What marks a case that runs only where every case is asked for."""
    return () if each else pytest.mark.exhaustive


# Every release with one profile, and the last one, which most projects have, with all.
UNTOUCHED = [
    pytest.param(
        version,
        profile,
        marks=often(each=turn == len(RELEASES) - 1 or turn % len(ANSWERS) == number),
    )
    for (turn, version), (number, profile) in product(enumerate(RELEASES), enumerate(ANSWERS))
]
# Every release with one kind of edits on one host, and the last one with both.
WORKED_ON = [
    pytest.param(
        version,
        profile,
        edits,
        id=f"{version}-{profile}-{name}",
        marks=often(
            each=turn % 4 == number or (turn == len(RELEASES) - 1 and (turn + number) % 2 == 0)
        ),
    )
    for (turn, version) in enumerate(RELEASES)
    for number, (profile, (name, edits)) in enumerate(
        [
            ("defaults", ("below", EDITS)),
            ("gitlab", ("below", EDITS)),
            ("gitlab", ("among", AMONG)),
            ("defaults", ("among", AMONG)),
        ]
    )
]


@pytest.mark.parametrize(("version", "profile"), UNTOUCHED)
def test_an_untouched_project_becomes_a_fresh_render(
    version: str, profile: str, history: Template, tmp_path: Path
) -> None:
    answers: Mapping[str, Any] = ANSWERS[profile]
    project = history.render(tmp_path / "project", answers, f"v{version}")
    begin(project)
    own = {path: path.read_text() for path in project.glob("src/*/ml/*.py")}
    update(project)
    assert files(project) == files(history.render(tmp_path / "fresh", answers))
    assert own == {path: path.read_text() for path in own}
    commit(project, "Update")
    update(project)
    assert run("git", "status", "--porcelain", cwd=project) == ""


def test_a_seed_of_a_later_release_arrives_once(history: Template, tmp_path: Path) -> None:
    """It comes by that release's update, and is people's own from then on; deleted, it stays so."""
    project = history.render(tmp_path / "project", {"package_name": "my_model"}, "v0.4.0")
    begin(project)
    seeds = [project / "src/my_model/ml/metrics.py", project / "docs/use-case.md"]
    assert not any(seed.exists() for seed in seeds)
    update(project)
    (package,) = (ROOT / "template/src").iterdir()
    assert seeds[0].read_text() == package.joinpath("ml/metrics.py").read_text()
    assert seeds[1].read_text() == (ROOT / "template/docs/use-case.md").read_text()
    seeds[0].write_text("# ours\n")
    seeds[1].unlink()
    commit(project, "Change one, delete the other")
    update(project)
    assert seeds[0].read_text() == "# ours\n"
    assert not seeds[1].exists()


@pytest.mark.parametrize(("version", "profile", "edits"), WORKED_ON)
def test_what_people_wrote_outlives_an_update(
    version: str, profile: str, edits: Mapping[str, Edit], history: Template, tmp_path: Path
) -> None:
    """Work below the lines that part a file, and among the template's own."""
    answers = {**ANSWERS[profile], "package_name": "my_model"}
    project = history.render(tmp_path / "project", answers, f"v{version}")
    begin(project)
    rendered = texts(project)
    develop(project, edits)
    before = texts(project)
    update(project)

    conflicts = CONFLICTS if edits is EDITS else CONFLICTS_AMONG
    assert unmerged(project) == conflicts.get(version, set())
    after = texts(project)
    place = moved(version, before)
    kept = {name for name, now in place.items() if not now and before[name] != rendered[name]}
    for name, text in before.items():
        ours = Counter(text.splitlines()) - Counter(rendered.get(name, "").splitlines())
        now = name if name in kept else place.get(name, name)
        assert not ours - Counter(after.get(now, "").splitlines()), f"{name}: lines are lost"
        if owner(name) == "yours" or (name not in rendered and name not in unmerged(project)):
            assert after[name] == text, f"{name} is the people's own"
    assert not (rendered.keys() - before.keys()) & after.keys(), "what is deleted stays deleted"
    assert place.keys() & after.keys() == kept, "what moved or went is there no more"
    old = history.render(tmp_path / "old", answers, f"v{version}")
    new = history.render(tmp_path / "new", answers)
    said = outcome(project, old, new)
    assert said.lost == {}
    assert said.missed.keys() <= {*GONE, *kept}, "what one side deleted, and no more"

    resolve(project, edits, place)
    assert texts(project).keys() == after.keys()
    fresh = texts(new)
    changed = {name for name, text in texts(project).items() if text != fresh.get(name)}
    known = {name if name in kept else place.get(name, name) for name in edits}
    assert {it for it in changed if owner(it) != "yours"} <= {*known, *NEW}
    commit(project, "Update")
    update(project)
    assert run("git", "status", "--porcelain", cwd=project) == ""
