"""Random edits by people, met by random changes of the template: nothing is lost unsaid.

A thousand scripts where every case is asked for, and a fourth of them by default.

Each file of a project is a script of its own, so that one update plays many. The template is the
rendered files themselves: every line of them may change.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Literal

import pytest
import yaml
from ownership import owner, patterns
from project_guard import outcome
from render import Template, run
from test_update import begin, update

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

UPDATES, FILES = 28, 36  # a thousand scripts, so each file meets about five
OFTEN = 7
RECORD = ".copier-answers.yml"
PICTURES = tuple(f"docs/ops/picture-{number}.png" for number in range(4))
ADDED = tuple(f"added-{number}.txt" for number in range(4))  # where both sides may add a file

Side = Literal["ours", "theirs"]


@dataclass(frozen=True)
class Edit:
    """A change of some lines.

    Attributes:
        kind: insert new lines before a place, delete some from there on, or put new for these.
        place: where, in thousandths of the file.
        length: how many lines.
    """

    kind: str
    place: int
    length: int

    def apply(self, lines: list[bytes], new: Callable[[], bytes]) -> None:
        """Change the lines."""
        at = self.place * len(lines) // 1000
        gone = 0 if self.kind == "insert" else self.length
        come = 0 if self.kind == "delete" else self.length
        lines[at : at + gone] = [new() for _ in range(come)]


@dataclass(frozen=True)
class Script:
    """What one side does to a file: a change of its lines, then perhaps of the whole file."""

    edits: tuple[Edit, ...]
    whole: str

    def play(self, side: Side, name: str, content: bytes | None) -> dict[str, bytes]:
        """What becomes of the file, by path. Lines that are new say whose they are."""
        number = iter(range(1000))

        def new() -> bytes:
            return f"{side} {next(number)} of {name}".encode()

        lines = (content or b"").splitlines()
        for edit in self.edits:
            edit.apply(lines, new)
        text = b"".join(line + b"\n" for line in lines) if self.edits else content or b""
        changed = {
            "edit": {name: text},
            "delete": {},
            "rename": {f"{name}.{side}": text},
            "replace": {name: b"".join(new() + b"\n" for _ in range(9))},
            "windows": {name: text.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")},
            "no end": {name: text.rstrip(b"\n")},
            "binary": {name: b"\0\1\2\n" + new()},
        }
        return changed[self.whole]


EDITS = ("insert", "delete", "change")
WHOLE = ("delete", "rename", "replace", "binary")  # what a template makes of a whole file
MOSTLY = ("edit",) * 6  # the whole file is a rarer thing to change
MAKERS = (*MOSTLY, *WHOLE)
PEOPLE = (*MAKERS, "windows", "no end")


def script(draw: Random, kinds: Sequence[str]) -> Script:
    """A script by chance, with up to four changes of lines."""
    edits = [
        Edit(draw.choice(EDITS), draw.randrange(1000), draw.randint(1, 4))
        for _ in range(draw.randint(0, 4))
    ]
    return Script(tuple(edits), draw.choice(kinds))


def written(content: bytes) -> list[bytes]:
    """The lines of people's own that a file holds."""
    return re.findall(rb"ours \d+ of \S+", content)


def tree(root: Path) -> dict[str, bytes]:
    """Every file of a folder, but for git's and Copier's own."""
    found = {path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_file()}
    return {
        name: path.read_bytes()
        for name, path in found.items()
        if not name.startswith(".git/") and name != RECORD
    }


def write(root: Path, files: Mapping[str, bytes]) -> None:
    """Make a folder hold these files, and none besides git's and Copier's own."""
    for name in tree(root).keys() - files.keys():
        (root / name).unlink()
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)


def release(template: Template, files: Mapping[str, bytes], tag: str) -> None:
    """Release a template whose render is these files, and which leaves alone what is yours."""
    write(template.source / "template", files)
    yours = patterns()["yours"]
    excluded = [f"{{{{ '{it}' if _copier_operation == 'update' else '' }}}}" for it in yours]
    said = {"_subdirectory": "template", "_exclude": excluded}
    (template.source / "copier.yml").write_text(yaml.safe_dump(said))
    record = template.source / "template" / f"{RECORD}.jinja"
    record.write_text("{{ _copier_answers | to_nice_yaml }}")
    template.release(tag)


def played(
    side: Side, files: Mapping[str, bytes], names: Sequence[str], scripts: Sequence[Script]
) -> dict[str, bytes]:
    """The files after one side's scripts."""
    after = {name: content for name, content in files.items() if name not in names}
    for name, script in zip(names, scripts, strict=True):
        after |= script.play(side, name, files.get(name))
    return after


def lacks(content: bytes, part: bytes) -> bool:
    """Whether a file has not what was written into it; what is no text is there as a whole."""
    return content != part if b"\0" in part else part not in content


@dataclass(frozen=True)
class Outcome:
    """What came of the files of an update: before it, after it, and as the guard has it.

    Attributes:
        rendered: what the template had rendered.
        new: what it renders since.
        before: what people had made of that.
        after: what the update made of that.
        named: the files of which the project says that changes of people are lost.
        told: the files of which it says that changes of the template did not come.
    """

    rendered: Mapping[str, bytes]
    new: Mapping[str, bytes]
    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    named: set[str]
    told: set[str]

    @property
    def lost(self) -> set[str]:
        """The files that lack a line which people had written; in a conflict, it is there.

        What is no text, and is not as the template had it, is people's own as a whole.
        """
        return {
            name
            for name, content in self.before.items()
            if any(lacks(self.after.get(name, b""), part) for part in self.ours(name, content))
        }

    @property
    def missed(self) -> set[str]:
        """The files that are kept current and lack a line which the template has written."""
        return {
            name
            for name, content in self.new.items()
            if owner(name) != "yours"
            and any(lacks(self.after.get(name, b""), part) for part in self.theirs(name, content))
        }

    def theirs(self, name: str, content: bytes) -> list[bytes]:
        """What the template has written into a file."""
        if b"\0" in content:
            return [content] if content != self.rendered.get(name) else []
        return re.findall(rb"theirs \d+ of \S+", content)

    def ours(self, name: str, content: bytes) -> list[bytes]:
        """What people had written into a file."""
        if b"\0" in content:
            return [content] if content != self.rendered.get(name) else []
        return written(content)


def play(
    folder: Path, base: Mapping[str, bytes], scripts: Mapping[str, tuple[Script, Script]]
) -> Outcome:
    """Render files, let both sides play their scripts, and update.

    Args:
        folder: an empty one, to work in.
        base: the files.
        scripts: of the template and of people, by path.
    """
    names = list(scripts)
    theirs, ours = zip(*scripts.values(), strict=True)
    template = Template(folder / "template")
    release(template, base, "v1.0.0")
    project = template.render(folder / "project", {}, "v1.0.0")
    begin(project)
    write(project, played("ours", base, names, ours))
    run("git", "add", "--all", cwd=project)
    run("git", "add", "--renormalize", ".", cwd=project)  # .gitattributes may be gone just now
    run("git", "commit", "--allow-empty", "--quiet", "--message", "Our own", cwd=project)
    before = tree(project)
    new = played("theirs", base, names, theirs)
    release(template, new, "v2.0.0")
    update(project)
    write(folder / "old", base)
    write(folder / "new", new)
    said = outcome(project, folder / "old", folder / "new")
    return Outcome(base, new, before, tree(project), {*said.lost}, {*said.missed})


@pytest.fixture(scope="module")
def everything(rendered: Callable[..., Path]) -> dict[str, bytes]:
    """All files that the template renders, and some pictures."""
    both = [tree(rendered(ci=ci)) for ci in ("github", "gitlab")]
    pictures = {name: b"\x89PNG\0\n" + name.encode() * 9 for name in PICTURES}
    return both[0] | both[1] | pictures


@pytest.mark.parametrize(
    "turn",
    [
        pytest.param(turn, marks=() if turn < OFTEN else pytest.mark.exhaustive)
        for turn in range(UPDATES)
    ],
)
def test_nothing_is_lost_unsaid(turn: int, everything: dict[str, bytes], tmp_path: Path) -> None:
    every = sorted(everything)
    its = [every[(turn * (FILES - len(ADDED)) + n) % len(every)] for n in range(FILES - len(ADDED))]
    names = [*its, *ADDED]

    draw = Random(turn)
    scripts = {name: (script(draw, MAKERS), script(draw, PEOPLE)) for name in names}
    base = {name: everything[name] for name in its}
    found = play(tmp_path, base, scripts)
    assert found.named == found.lost, "the guard names what is lost, and nothing else"
    assert found.missed <= found.told, "and it names what did not come"
    for name in found.told:
        assert found.new.get(name) != found.rendered.get(name), f"{name} is as it was rendered"
        assert found.after.get(name) == found.before.get(name), f"{name} has got something"
    deleted = found.rendered.keys() - found.before.keys()
    assert not deleted & found.after.keys(), "what people deleted stays deleted"
    for name, content in found.before.items():
        if owner(name) == "yours":
            assert found.after.get(name) == content, f"{name} is the people's own"


NOTHING, OURS = Script((), "edit"), Script((Edit("insert", 500, 2),), "edit")


def test_a_loss_is_seen_where_copier_says_nothing(
    everything: dict[str, bytes], tmp_path: Path
) -> None:
    """The test can fail: without the guard, these would be lost unsaid."""
    gone, moved, picture, drawn, kept, merged, absent = (
        ".editorconfig",
        "dvc.yaml",
        PICTURES[0],
        PICTURES[1],
        "Makefile",
        "LICENSE",
        "CODEOWNERS",
    )
    scripts = {
        gone: (Script((), "delete"), OURS),
        moved: (Script((), "rename"), OURS),
        picture: (NOTHING, Script((), "binary")),
        drawn: (Script((), "replace"), Script((), "replace")),
        kept: (Script((), "delete"), NOTHING),
        merged: (Script((Edit("insert", 0, 2),), "edit"), OURS),
        absent: (Script((Edit("insert", 0, 2),), "edit"), Script((), "delete")),
    }
    found = play(tmp_path, {name: everything[name] for name in scripts}, scripts)
    assert found.lost == found.named == {gone, moved, picture, drawn}
    assert found.missed == found.told == {absent}
