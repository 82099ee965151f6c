"""`ops template-check`: whether the project is as its template would have it today.

Copier runs in an environment of its own, by uv: the project does not depend on it.
"""

import difflib
import json
import re
import shlex
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any

from . import git
from .errors import UserError
from .project import Project

COPIER = "copier>=9.19,<10"
ANSWERS = ".copier-answers.yml"
ANCHOR = re.compile(r"\s*# project-specific")
"""Above the last such line, a file that is shared is the template's; below it, the project's."""

YOURS = ("README.md", "params.yaml", "src/*/ml/*", "tests/ml/*", "notebooks/*")
"""What the template rendered once, and never looks at again."""

MARKER = "^(<<<<<<< before updating|>>>>>>> after updating)"
"""What a conflict of `copier update` leaves in a file until somebody resolves it."""

TAKEN = "it held changes of yours, and the template has it no more"
REPLACED = "it held changes of yours, and the template's replaced it, as only text can be merged"

CURRENT, UNRESOLVED, BEHIND = 0, 3, 4
"""Exit codes; hand-made changes are no failure, for the next update merges them."""


@dataclass(frozen=True)
class State:
    """How a project stands to its template."""

    version: str
    newest: str
    """The newest release; the version itself if there is none beyond it."""

    conflicts: list[str]
    """Files in which an update left something to resolve."""

    lost: dict[str, str]
    """Files of which an update that is not committed yet dropped changes: by path, with why."""

    drift: dict[str, str]
    """What was changed by hand in files that are kept current: by path, as a diff."""

    @property
    def exit_code(self) -> int:
        """One of `CURRENT`, `UNRESOLVED` and `BEHIND`, the more urgent one if both are true."""
        if self.conflicts or self.lost:
            return UNRESOLVED
        return CURRENT if self.newest == self.version else BEHIND


def run(project: Project, *, as_json: bool = False) -> None:
    """Print how the project stands to its template.

    Raises:
        UserError: if the project came from no template, or the template cannot be reached.
        SystemExit: with the state's exit code.
    """
    state = check(project)
    if as_json:
        print(json.dumps(asdict(state), indent=2, ensure_ascii=False))
    else:
        tell(state)
    sys.exit(state.exit_code)


def tell(state: State) -> None:
    """Print the differences, then what they come to."""
    for path, text in state.drift.items():
        print(text or f"{path} is deleted here.")
    for sentence in to_resolve(state.conflicts, state.lost):
        print(sentence)
    changed = len(state.drift)
    print(
        f"{changed} of the files that are kept current are changed by hand"
        + ("; an update merges that." if changed else ".")
    )
    if state.newest == state.version:
        print(f"The project has the newest release of its template, {state.version}.")
    else:
        print(
            f"The project has {state.version} of its template, and {state.newest} is out; take it "
            "with `make template-update`."
        )


def to_resolve(conflicts: Iterable[str], lost: Mapping[str, str]) -> Iterator[str]:
    """What people have to do about each file, in a sentence."""
    for path in conflicts:
        yield f"{path}: an update left a conflict here; resolve it, then `git add` the file."
    for path, reason in lost.items():
        back = f"`git checkout HEAD -- {shlex.quote(path)}`"
        yield f"{path}: {reason}; bring yours back with {back}, or commit without it."


def check(project: Project) -> State:
    """Ask git for conflicts, and Copier for releases and for what it rendered; see `run`."""
    answers = recorded(project.root)
    version, latest = newest(project.root)
    with TemporaryDirectory() as folder:
        drift = dict(changes(render(project.root, answers, Path(folder)), project.root))
    return State(version, latest, conflicts(project.root), lost(project.root), drift)


def newest(root: Path) -> tuple[str, str]:
    """The release that a project has, and the newest; the same if there is none beyond it.

    Raises:
        UserError: if the template cannot be reached.
    """
    told = json.loads(copier(root, "check-update", "--output-format", "json"))
    version = str(told["current_version"])
    return version, str(told["latest_version"]) if told["update_available"] else version


def recorded(root: Path) -> Mapping[str, Any]:
    """What Copier wrote down of the project.

    Raises:
        UserError: if that is not there, or is not what Copier writes.
    """
    path = root / ANSWERS
    return said(path.read_bytes() if path.is_file() else b"")


def said(text: bytes) -> Mapping[str, Any]:
    """What the text of an answers file says.

    Raises:
        UserError: if that is not what Copier writes.
    """
    import yaml

    try:
        answers: Mapping[str, Any] = yaml.safe_load(text)
        known = {"_commit", "_src_path"} <= set(answers)
    except (TypeError, UnicodeDecodeError, yaml.YAMLError):
        known = False
    if not known:
        raise UserError(f"{ANSWERS} does not say which template this is; restore it from git.")
    return answers


def render(root: Path, answers: Mapping[str, Any], folder: Path) -> Path:
    """What the release that these answers name renders with them, in a folder.

    Raises:
        UserError: if it cannot be rendered any more.
    """
    import yaml

    given = {name: answer for name, answer in answers.items() if not name.startswith("_")}
    with TemporaryDirectory() as place:
        data = Path(place, "answers.yml")
        data.write_text(yaml.safe_dump(given, allow_unicode=True), encoding="utf-8")
        copier(
            root, "copy", "--quiet", "--defaults", "--vcs-ref", str(answers["_commit"]),
            "--data-file", str(data), str(answers["_src_path"]), str(folder),
        )  # fmt: skip
    return folder


def lost(root: Path) -> dict[str, str]:
    """Files of which an update that is not committed yet dropped changes: by path, with why.

    Copier merges texts, and says where that conflicts. But it says nothing where the template
    deleted or renamed a file, or leaves it out for another answer, nor of a file that is no text.
    Where no update is uncommitted, Copier is not asked.

    Raises:
        UserError: if what the project was, or is, cannot be rendered any more.
    """
    committed = git.content(root, ANSWERS)
    if committed is None or (before := said(committed)) == (after := recorded(root)):
        return {}
    with TemporaryDirectory() as folder:
        old = render(root, before, Path(folder, "old"))
        new = render(root, after, Path(folder, "new"))
        return dict(dropped(root, old, new))


def dropped(root: Path, old: Path, new: Path) -> Iterator[tuple[str, str]]:
    """Files that were changed in the last commit, and are as the template would have them now.

    Args:
        root: the project.
        old: what the template rendered before the update.
        new: what it renders now.
    """
    changed = git.output(root, "diff", "--numstat", "--no-renames", "--relative", "-z", "HEAD")
    found = [line.split("\t", 2) for line in (changed or "").split("\0") if line]
    come = [name for *_, name in found if git.content(root, name) is None]
    come += (git.output(root, "ls-files", "--others", "--exclude-standard", "-z") or "").split("\0")
    elsewhere: Counter[bytes] = Counter()  # a migration moves a file with its changes
    for name in come:
        if (new / name).is_file():
            elsewhere += parts(content(root / name))
    for count, _, name in found:
        committed = git.content(root, name)
        now = content(root / name)
        if committed is None or now != content(new / name) or is_yours(name):
            continue  # it is new, or is not what the template alone would make of it
        was = content(old / name)
        if (count != "-" and b"\0" not in (was or b"")) if now is not None else was is None:
            continue  # a text was merged; and what the template never had, it does not take away
        changes = parts(committed) - parts(was)
        if changes - parts(now) - elsewhere:
            yield name, TAKEN if now is None else REPLACED


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


def conflicts(root: Path) -> list[str]:
    """Files that git calls unmerged, or that hold the marks of a conflict, or a rejected part."""
    asked = (
        ("diff", "--name-only", "--relative", "--diff-filter=U", "-z"),
        ("grep", "--no-recurse-submodules", "--untracked", "-lzE", MARKER),
        ("ls-files", "--others", "--cached", "-z", "*.rej"),
    )
    found = "\0".join(git.output(root, "-c", "color.ui=false", *its) or "" for its in asked)
    return sorted({name for name in found.split("\0") if name})


def ignored(root: Path, old: Path, new: Path) -> list[str]:
    """Files that an update would replace or delete, and that are in no commit: git ignores them.

    Args:
        root: the project, with nothing else that is not committed.
        old: what the template rendered before the update.
        new: what it is to render.
    """
    committed = set((git.output(root, "ls-files", "-z") or "").split("\0"))
    rendered = {
        path.relative_to(folder).as_posix()
        for folder in (old, new)
        for path in folder.rglob("*")
        if path.is_file()
    }
    found = {name for name in rendered - committed if not is_yours(name) and (root / name).exists()}
    return sorted(name for name in found if content(root / name) != content(new / name))


def changes(render: Path, root: Path) -> Iterator[tuple[str, str]]:
    """Files that are kept current and differ from the render: path and diff."""
    for path in sorted(render.rglob("*")):
        name = path.relative_to(render).as_posix()
        if not path.is_file() or name == ANSWERS or is_yours(name):
            continue
        ours, theirs = lines(path), lines(root / name)
        if theirs is None:
            yield name, ""
        elif ours is not None and ours != theirs:
            if any(map(ANCHOR.match, ours)):
                theirs = without_additions(ours, theirs)
            found = difflib.unified_diff(ours, theirs, f"template/{name}", f"project/{name}")
            if text := "".join(found):
                yield name, text


def without_additions(ours: list[str], theirs: list[str]) -> list[str]:
    """The project's lines, without those that it added below a line that parts a shared file."""
    kept: list[str] = []
    matcher = difflib.SequenceMatcher(None, ours, theirs, autojunk=False)
    for tag, start, _, first, last in matcher.get_opcodes():
        below = start > 0 and (ANCHOR.match(ours[start - 1]) or start == len(ours))
        if not (tag == "insert" and below):
            kept += theirs[first:last]
    return kept


def lines(path: Path) -> list[str] | None:
    """The lines of a text, whatever its line ends; None if there is none to read."""
    try:
        return path.read_text(encoding="utf-8").splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return None


def copier(root: Path, *arguments: str) -> str:
    """What a command of Copier prints.

    Raises:
        UserError: if it fails, in its own last words, or uv is missing.
    """
    if shutil.which("uv") is None:
        raise UserError("uv is missing; install it: https://docs.astral.sh/uv")
    command = ("uv", "tool", "run", "--quiet", "--from", COPIER, "copier", *arguments)
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
        raise UserError(f"Copier cannot `{arguments[0]}`: {said[-1]}")
    return done.stdout
