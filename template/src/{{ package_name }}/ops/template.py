"""`ops template-check`: how the project stands to its template, and what an update left undone.

Copier runs in an environment of its own, by uv: the project does not depend on it.
"""

import atexit
import difflib
import json
import re
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path, PurePosixPath
from tempfile import mkdtemp
from typing import Any

from . import command, git
from .errors import UserError
from .project import Project

COPIER = "copier>=9.19,<10"
ANSWERS = ".copier-answers.yml"

YOURS = (
    "README.md",
    "params.yaml",
    "data/*.csv",
    "src/*/ml/*",
    "tests/ml/*",
    "notebooks/*",
    "docs/*.md",
)
"""What the template rendered once, and never looks at again."""

ANCHOR = re.compile(r"\s*# project-specific")
"""Above the last such line, a file that is shared is the template's; below it, the project's."""

MARKER = "^(<<<<<<< before updating|>>>>>>> after updating)"
"""What a conflict of `copier update` leaves in a file until somebody resolves it."""

TAKEN = "it held changes of yours, and the template has it no more"
REPLACED = "it held changes of yours, and the template's replaced it, as only text can be merged"
ABSENT = "the template changed it, and it is deleted or moved here"
KEPT = "the template has it no more, and it stays, as it holds changes of yours"

CURRENT, UNRESOLVED, BEHIND = 0, 3, 4
"""Exit codes; hand-made changes are no failure, for the next update merges them."""


@dataclass(frozen=True)
class Outcome:
    """What an update that is not committed yet left undone."""

    conflicts: list[str]
    """Files with something to resolve."""
    lost: dict[str, str]
    """Files of which it dropped the project's changes: by path, with why."""
    missed: dict[str, str]
    """Likewise the template's changes; as a rule, the project deleted the file on purpose."""

    @property
    def resolved(self) -> bool:
        """Whether nothing is left to decide."""
        return not (self.conflicts or self.lost)

    def sentences(self) -> Iterator[str]:
        """What there is to say of each file, and to do about it."""
        for path in self.conflicts:
            yield f"{path}: an update left a conflict here; resolve it, then `git add` the file."
        for path, reason in self.lost.items():
            back = f"`git checkout HEAD -- {shlex.quote(path)}`"
            yield f"{path}: {reason}; bring yours back with {back}, or commit without it."
        for path, reason in self.missed.items():
            yield f"{path}: {reason}."


def run(project: Project, *, as_json: bool = False) -> None:
    """Print how the project stands to its template.

    Raises:
        UserError: if the project came from no template, or the template cannot be reached.
        SystemExit: with `CURRENT`, `UNRESOLVED` or `BEHIND`, the more urgent one if both are true.
    """
    answers = recorded(project)
    version, newest = releases(project.root, answers)
    changed = dict(drift(project.root, render(project.root, answers)))
    left = uncommitted(project)
    if as_json:
        told = {**asdict(left), "version": version, "newest": newest, "drift": changed}
        print(json.dumps(told, indent=2, ensure_ascii=False))
    else:
        merged = "; an update merges that." if changed else "."
        known = f"The project has {version} of its template, and {newest} is out"
        print(
            *(difference or f"{path} is deleted here." for path, difference in changed.items()),
            *left.sentences(),
            f"{len(changed)} of the files that are kept current are changed by hand{merged}",
            f"The project has the newest release of its template, {version}."
            if newest == version
            else f"{known}; take it with `make template-update`.",
            sep="\n",
        )
    if not left.resolved:
        sys.exit(UNRESOLVED)
    sys.exit(CURRENT if newest == version else BEHIND)


def recorded(project: Project) -> Mapping[str, Any]:
    """What Copier wrote down of the project; a UserError if no update would reach its package."""
    path = project.root / ANSWERS
    answers = read(path.read_bytes() if path.is_file() else b"")
    package = answers.get("package_name")
    if package != project.package.name:
        raise UserError(
            f"{ANSWERS} says package_name: {package}, and the package is {project.package.name}, "
            "so no update reaches it: write that name there, and commit."
        )
    return answers


def read(text: bytes) -> Mapping[str, Any]:
    """What the text of an answers file says; a UserError if that is not what Copier writes."""
    import yaml

    try:
        answers: Mapping[str, Any] = yaml.safe_load(text)
        known = {"_commit", "_src_path"} <= set(answers)
    except (TypeError, UnicodeDecodeError, yaml.YAMLError):
        known = False
    if not known:
        raise UserError(f"{ANSWERS} does not say which template this is; restore it from git.")
    return answers


def releases(root: Path, answers: Mapping[str, Any]) -> tuple[str, str]:
    """The release that a project has, and the newest; the same if there is none beyond it.

    A UserError if the answers name none.
    """
    source, commit = str(answers["_src_path"]), str(answers["_commit"])
    place = root / Path(source).expanduser()
    there = ":" in source or git.output(place, "rev-parse", "--git-dir")
    if not there or not re.match(r"v?\d+\.\d", commit):
        raise UserError(
            f"{ANSWERS} names no release of a template (_src_path: {source}, _commit: {commit}): "
            "write an address that everybody reaches, and a tag of it such as v1.2.0, and commit."
        )
    found = json.loads(copier(root, "check-update", "--output-format", "json"))
    version = str(found["current_version"])
    return version, str(found["latest_version"]) if found["update_available"] else version


def render(root: Path, answers: Mapping[str, Any]) -> Path:
    """What the release that these answers name renders with them: a folder that nobody changes."""
    import yaml

    text = yaml.safe_dump(dict(answers), allow_unicode=True)
    return _rendered(root, str(answers["_src_path"]), str(answers["_commit"]), text)


@cache
def _rendered(root: Path, source: str, release: str, answers: str) -> Path:
    """Render once, for as long as this process lives."""
    folder = Path(mkdtemp())
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    given, made = folder / "answers.yml", folder / "render"
    given.write_text(answers, encoding="utf-8")
    options = ("--quiet", "--defaults", "--vcs-ref", release, "--data-file", str(given))
    copier(root, "copy", *options, source, str(made))
    return made


def copier(root: Path, *arguments: str) -> str:
    """What a command of Copier prints; a `command.CommandError` if it fails."""
    environment = ("uv", "tool", "run", "--quiet", "--from", COPIER)
    alone = command.settings("core.hooksPath=/dev/null")
    return command.output(root, *environment, "copier", *arguments, name="Copier", variables=alone)


def uncommitted(project: Project) -> Outcome:
    """What an update that is not committed yet left undone; Copier is asked only if there is one.

    Raises:
        UserError: if what the project was, or is, cannot be rendered any more.
    """
    root = project.root
    committed, answers = git.content(root, ANSWERS), recorded(project)
    if committed is None or (before := read(committed)) == answers:
        return Outcome(conflicts(root), {}, {})
    return outcome(root, render(root, before), render(root, answers))


def outcome(root: Path, old: Path, new: Path) -> Outcome:
    """What became of each file that both sides had changed since the last commit.

    Copier merges texts, and says where that conflicts. But it says nothing where one side has no
    such file any more, or where a file is no text: there, one side's changes are gone. `old` is
    what the template rendered before the update, `new` what it renders now.
    """
    unresolved, lost, missed = conflicts(root), dict[str, str](), dict[str, str]()
    moved: Counter[bytes] = Counter()  # a migration moves a file with what was changed in it
    for name in files(new) - files(old):
        moved += parts(content(root / name))
    committed, touched = (
        {*(git.output(root, *asked, "--name-only", "-z", "HEAD") or "").split("\0")}
        for asked in (("ls-tree", "-r"), ("diff", "--no-renames", "--relative"))
    )
    for name in sorted(files(old) | files(new)):
        was, wanted, now = (content(folder / name) for folder in (old, new, root))
        held = git.content(root, name) if name in touched else now
        ours = held if name in committed else None
        if ours in (was, wanted) or is_yours(name) or name in unresolved:
            continue
        if None not in (ours, wanted) and is_text(root, name, was, ours, wanted):
            continue
        changes = parts(ours) - parts(was)
        if now == wanted and changes - parts(now) - moved:
            lost[name] = TAKEN if now is None else REPLACED
        elif now == ours and was != wanted:
            missed[name] = ABSENT if wanted is not None else KEPT
    return Outcome(unresolved, lost, missed)


def files(folder: Path) -> set[str]:
    """The paths of all files in a folder but Copier's own record."""
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found} - {ANSWERS}


def content(path: Path) -> bytes | None:
    """What a file holds; None if there is none."""
    return path.read_bytes() if path.is_file() else None


def parts(file: bytes | None) -> Counter[bytes]:
    """What a file is made of: a text of its lines, but for blank ones; any other of itself."""
    if file is None or b"\0" in file:
        return Counter([file] if file else [])
    return Counter(line for line in file.splitlines() if line.strip())


def is_yours(name: str) -> bool:
    """Whether the template rendered a file once, and never looks at it again."""
    return any(map(PurePosixPath(name).match, YOURS))


def is_text(root: Path, name: str, *contents: bytes | None) -> bool:
    """Whether git merges the lines of a file."""
    attribute = git.output(root, "check-attr", "diff", "--", name) or ""
    return not attribute.endswith("unset") and not any(b"\0" in (it or b"") for it in contents)


def conflicts(root: Path) -> list[str]:
    """Files that git calls unmerged, or that hold the marks of a conflict, or a rejected part."""
    asked = (
        ("diff", "--name-only", "--relative", "--diff-filter=U", "-z"),
        ("grep", "--no-recurse-submodules", "--untracked", "-lzE", MARKER),
        ("ls-files", "--others", "--cached", "-z", "*.rej"),
    )
    found = "\0".join(git.output(root, *its) or "" for its in asked)
    return sorted({name for name in found.split("\0") if name})


def drift(root: Path, render: Path) -> Iterator[tuple[str, str]]:
    """Files that are kept current and differ from the render: path and diff, empty if gone."""
    for name in sorted(files(render)):
        if is_yours(name) or content(render / name) == content(root / name):
            continue
        if not (root / name).is_file():
            yield name, ""
            continue
        ours, theirs = lines(render / name), lines(root / name)
        if any(map(ANCHOR.match, ours)):
            theirs = without_additions(ours, theirs)
        found = "".join(difflib.unified_diff(ours, theirs, f"template/{name}", f"project/{name}"))
        if found:
            yield name, found


def lines(path: Path) -> list[str]:
    """The lines of a text, whatever its line ends; none if there is no file."""
    text = (content(path) or b"").decode(errors="replace")
    return text.replace("\r\n", "\n").splitlines(keepends=True)


def without_additions(ours: list[str], theirs: list[str]) -> list[str]:
    """The project's lines, without those that it added below a line that parts a shared file."""
    kept: list[str] = []
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for tag, start, _, first, last in matcher.get_opcodes():
        below = start > 0 and (ANCHOR.match(ours[start - 1]) or start == len(ours))
        if not (tag == "insert" and below):
            kept += theirs[first:last]
    return kept
