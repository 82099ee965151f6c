"""Make a release: `make release VERSION=0.4.0`.

Holds the tree to the last release by rendering both, with every choice of every question, and to
what projects of all releases have of their own. Then it writes what follows from that into
CHANGELOG.md, and moves the date that the projects' versions are resolved at.

Exit codes: 0 done; 2 there are reasons against it, each in one sentence.
"""

from __future__ import annotations

import argparse
import difflib
import re
import textwrap
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from commands import UserError, ends
from releases import CHANGELOG, number
from versions import History

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from migrations import Migration
    from versions import Files, Version

ROOT = Path(__file__).resolve().parent.parent
MIGRATE = "hooks/migrate.py"
DATED = Path("template", "pyproject.toml.jinja")
DATE = re.compile(r'^exclude-newer = "(\d{4}-\d\d-\d\d)T00:00:00Z"$', re.MULTILINE)
# By then, mirrors have what was uploaded, and a bad upload has been found and taken back.
AGE = timedelta(days=7)
UNRELEASED = re.compile(r"^## Unreleased\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
BY_HAND = re.compile(r"^### By hand$", re.MULTILINE)
ANCHOR = "# project-specific"
FEW = 2  # files of a folder that are named one by one
MANY = 20  # files that a migration moves or removes, and that are named one by one
WIDTH = 120


# ==================================================================================================
# What changed
# ==================================================================================================
@dataclass(frozen=True)
class Changes:
    """What is new since the last release, for projects that update.

    Attributes:
        questions: the new ones.
        choices: the new ones of older questions.
        added: managed and shared files that are new.
        changed: managed and shared files that say something else.
        seeds: files of the people's own, which only new projects get as they are now.
        lines: of shared files, the lines of the last release that changed.
        handed: files that were kept current, and are the people's own from now on.
        stricter: questions whose answers are judged otherwise.
    """

    questions: list[str]
    choices: dict[str, list[Any]]
    added: set[str]
    changed: set[str]
    seeds: set[str]
    lines: dict[str, list[str]]
    handed: set[str]
    stricter: list[str]


def changes(history: History, pairs: Sequence[tuple[Files, Files]], dates: Dates) -> Changes:
    """Compare renders of the last release with those of the tree, at its new date."""
    last, tree = history.last, history.tree
    before = set().union(*(old for old, _ in pairs))
    both: defaultdict[str, list[tuple[bytes, bytes]]] = defaultdict(list)
    for old, new in pairs:
        for name in old.keys() & new.keys():
            both[name].append((old[name], dates.moved(new[name])))
    changed = {name for name, its in both.items() if any(old != new for old, new in its)}
    added = set().union(*(new for _, new in pairs)) - before
    yours = {name for name in added | changed if yours_in(tree, name)}
    offered = {name: last.choices(name) for name in tree.questions if name in last.questions}
    return Changes(
        [name for name in tree.questions if name not in last.questions],
        {
            name: fresh
            for name, its in offered.items()
            if (fresh := [it for it in tree.choices(name) if it not in its])
        },
        added - yours,
        changed - yours,
        yours,
        {
            name: touched(*next(it for it in both[name] if it[0] != it[1]))
            for name in sorted(changed)
            if tree.owners.of(name) == "shared"
        },
        {name for name in both if yours_in(tree, name) and not yours_in(last, name)},
        [
            name
            for name in offered
            if tree.questions[name].get("validator")
            not in (None, last.questions[name].get("validator"))
        ],
    )


def yours_in(version: Version, name: str) -> bool:
    """Whether a file is the people's own."""
    return version.owners.of(name) == "yours"


def touched(old: bytes, new: bytes) -> list[str]:
    """The lines of a text that another one replaces, deletes or adds to, as ranges from 1."""
    before, after = (text.decode().splitlines() for text in (old, new))
    found = difflib.SequenceMatcher(None, before, after, autojunk=False).get_opcodes()
    ranges = [(first + 1, max(first + 1, end)) for tag, first, end, _, _ in found if tag != "equal"]
    return [str(first) if first == end else f"{first}–{end}" for first, end in ranges]  # noqa: RUF001


@dataclass(frozen=True)
class Dates:
    """The day that projects' versions are resolved at.

    Attributes:
        old: as the tree says it.
        new: as the release will.
    """

    old: date
    new: date

    @classmethod
    def of(cls, tree: Version, today: date) -> Dates:
        """The day a week ago, unless that is before what the tree says."""
        found = DATE.search((tree.tree / DATED).read_text(encoding="utf-8"))
        if not found:
            raise UserError(f"{DATED} holds no `exclude-newer`: restore it.")
        old = date.fromisoformat(found[1])
        return cls(old, max(old, today - AGE))

    def moved(self, content: bytes) -> bytes:
        """A text with the new date."""
        line = 'exclude-newer = "{}T'
        return content.replace(line.format(self.old).encode(), line.format(self.new).encode())


# ==================================================================================================
# What speaks against it
# ==================================================================================================
def against_words(found: re.Match[str] | None) -> Iterator[str]:
    """Nobody has said what is new."""
    if not found or not BY_HAND.split(found[1])[0].strip():
        yield f"{CHANGELOG} has no `## Unreleased` that says what is new: write it, and commit"


def against_version(history: History, version: str, changed: Changes) -> Iterator[str]:
    """The version does not follow the last one, or promises less than there is."""
    major, minor, patch = number(history.last.name).release
    steps = [(major, minor, patch + 1), (major, minor + 1, 0), (major + 1, 0, 0)]
    names = [".".join(map(str, step)) for step in steps]
    if version not in names:
        yield f"{version} does not follow {history.last.name}: make it {', '.join(names)}"
        return
    breaking = any(number(it) > number(history.last.name) for it in history.tree.migrations)
    adds = bool(changed.questions or changed.choices or changed.added)
    needed = (2 if major else 1) if breaking else int(adds)
    if names.index(version) < needed:
        what = "a migration" if breaking else "questions, choices or files that are new"
        yield f"{version} is too small a step for {what}: make it {names[needed]}"


def against_questions(history: History) -> Iterator[str]:
    """An update would have to ask, or would lose answers."""
    last, tree = history.last, history.tree
    for name, question in tree.configuration.items():
        for key in ("type", "default"):
            if not name.startswith("_") and key not in question:
                yield f"`{name}` has no {key}, and an update would have to ask: give it one"
    defaults = " ".join(str(its.get("default")) for its in tree.questions.values())
    for name, question in last.questions.items():
        now = tree.questions.get(name, {})
        if not now and not re.search(rf"\b{name}\b", defaults):
            yield (
                f"`{name}` is asked no more, and its answers would be lost: keep it, or let the "
                "default of the question in its place read it"
            )
        elif now.get("type", question["type"]) != question["type"]:
            yield f"`{name}` has another type than its answers: keep it {question['type']}"
        elif now and now.get("when") != question.get("when"):
            yield (
                f"`{name}` is asked on another condition, and Copier drops the answers to what it "
                "does not ask: keep its `when`"
            )


def against_choices(history: History, version: str) -> Iterator[str]:
    """An update would reset answers whose choice is gone."""
    last, tree = history.last, history.tree
    migration = history.migration(version)
    for name in last.questions.keys() & tree.questions.keys():
        heirs, offered = migration.answers.get(name, {}), tree.choices(name)
        for choice in last.choices(name):
            if offered and choice not in offered and heirs.get(choice) not in offered:
                yield (
                    f"`{name}` offers {choice} no more: keep it, or name the choice in its place "
                    f"in a migration of {version}"
                )
        for choice in heirs.keys() & {*offered}:
            yield f"The migration replaces {choice}, which `{name}` still offers: take that out"


def against_migrations(history: History, version: str) -> Iterator[str]:
    """What the table says, copier.yml does not run, or the other way round."""
    tree = history.tree
    blocks = tree.configuration.get("_migrations") or []
    named = [str(it.get("version")) for it in blocks if it.get("version")]
    if len(named) < len(blocks):
        yield "A migration in copier.yml has no version, so every update crosses it: give it one"
    for it in blocks:
        if "when" not in it or not any(MIGRATE in str(word) for word in it.get("command", ())):
            yield f"A migration in copier.yml must run {MIGRATE} at both stages: write its block"
    for one in sorted({*named, *tree.migrations}, key=number):
        if one not in tree.migrations or named.count(one) != 1:
            yield f"hooks/migrations.py and copier.yml must both name {one}, once: correct them"
        if number(one) > number(history.last.name) and one != version:
            yield f"The migration of {one} belongs to no release: make it one of {version}"


def against_moves(
    history: History, version: str, pairs: Sequence[tuple[Files, Files]]
) -> Iterator[str]:
    """The migration names files that there are not."""
    migration = history.migration(version)
    before, after = (set().union(*its) for its in zip(*pairs, strict=True))
    for old in (*migration.moved, *migration.removed):
        if old not in before or old in after:
            yield f"The migration takes {old} away, and the tree does not: correct it"
    for new in (*migration.moved.values(), *migration.seeds):
        if new not in after:
            yield f"The migration names {new}, which the tree does not render: correct it"


def against_files(
    history: History, version: str, pairs: Sequence[tuple[Files, Files]]
) -> Iterator[str]:
    """An update would take away what people may have edited."""
    migration = history.migration(version)
    named = {*migration.moved, *migration.removed}
    missing = {name for old, new in pairs for name in old.keys() - new.keys()}
    for name in sorted(missing - named):
        if not yours_in(history.last, name):
            yield (
                f"{name} is rendered no more, and what people wrote in it would be lost: keep its "
                f"name, or name it in a migration of {version}"
            )


def against_content(history: History, pairs: Sequence[tuple[Files, Files]]) -> Iterator[str]:
    """An update could not merge what people wrote, or would begin to change what is theirs."""
    last, tree = history.last, history.tree
    both = {name: (old[name], new[name]) for old, new in pairs for name in old.keys() & new.keys()}
    for name, (before, after) in sorted(both.items()):
        if yours_in(last, name) and not yours_in(tree, name):
            yield f"{name} is the people's own, and an update would change it: leave it to them"
        elif not yours_in(tree, name) and b"\0" in after and b"\0" not in before:
            yield (
                f"{name} is a text no more, and what people wrote in it would be lost: give it "
                "another name, and name the text in a migration"
            )


# ==================================================================================================
# What is written
# ==================================================================================================
def entry(history: History, version: str, words: str, found: Changes, dates: Dates) -> str:
    """The section of CHANGELOG.md for a version: what people wrote, and what follows from it."""
    tree, points = history.tree, []
    for name in found.questions:
        question = tree.questions[name]
        default = {True: "yes", False: "no"}.get(question["default"], question["default"])
        points.append(f"A new question, `{name}` ({default} by default): {question['help']}")
    for name, new in found.choices.items():
        points.append(f"A new choice for `{name}`: {', '.join(map(str, new))}.")
    brought = found.seeds & {*history.migration(version).seeds}
    files = {
        "Added": found.added | brought,
        "Changed": found.changed,
        "In new projects only": found.seeds - brought,
    }
    points += [f"{what}: {', '.join(grouped(names))}." for what, names in files.items() if names]
    if found.handed:
        points.append(
            f"Yours from now on, and not kept current: {', '.join(grouped(found.handed))}."
        )
    for name in found.stricter:
        points.append(
            f"`{name}` is judged otherwise: where an update refuses the answer, give another, "
            f"`-d {name}=VALUE`."
        )
    points.append(conflicts(found))
    if migration := tree.migrations.get(version):
        points.append(trust(version, migration))
    if not BY_HAND.search(words) and version not in tree.migrations:
        points.append("By hand: nothing but what every update asks for, `uv lock --upgrade`.")
    if dates.new > dates.old:
        points.append(f"`exclude-newer` is {dates.new}; it was {dates.old}.")
    wrapper = textwrap.TextWrapper(
        WIDTH, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False
    )
    made = "\n".join(wrapper.fill(f"- {point}") for point in points)
    return f"## {version}\n\n{words.strip()}\n\n### What an update brings\n\n{made}\n\n"


def conflicts(found: Changes) -> str:
    """Where a project's own edits would meet the release's."""
    if not found.changed | found.added:
        return "Conflicts: none, for no file changed that a project has."
    shared = [
        f"`{name}` {'line' if len(its) == 1 and its[0].isdigit() else 'lines'} {', '.join(its)}"
        for name, its in found.lines.items()
    ]
    where = f" In shared ones, these lines changed: {'; '.join(shared)}." if shared else ""
    return (
        "Conflicts: only in files that changed, where a project has edited the same lines or the "
        "lines beside them, and where it has a file of its own under the name of one that was "
        f"added.{where}"
    )


def trust(version: str, migration: Migration) -> str:
    """What a release with a migration asks for."""
    steps = [f"`{old}` is now `{new}`" for old, new in migration.moved.items()]
    steps += [f"`{name}` goes" for name in migration.removed]
    if len(steps) > MANY:
        steps = [f"{len(migration.moved)} files move and {len(migration.removed)} go"]
    steps += [f"`{name}` comes, and is yours" for name in migration.seeds]
    steps += [
        f"`{name}` {old} is now {new}"
        for name, choices in migration.answers.items()
        for old, new in choices.items()
    ]
    return (
        f"**This release has a migration and needs trust**: {'; '.join(steps)}. Read "
        f"`hooks/migrations.py` and `{MIGRATE}`, then type `make template-update TRUST={version}`, "
        "or where a project has no such target yet `uvx copier update --defaults --trust`. For a "
        f"scheduled update, add {version} to `TRUSTED_TEMPLATE_VERSIONS`; for a fleet, give "
        f"`hooks/fleet.py update` the option `--trust {version}`. Without it, an update refuses "
        "and changes nothing."
    )


def grouped(names: Iterable[str]) -> Iterator[str]:
    """Paths, and how many there are of folders with more than a few."""
    folders = defaultdict(list)
    for name in sorted(names):
        folders[PurePosixPath(name).parent].append(name)
    for folder, its in sorted(folders.items()):
        if len(its) > FEW and folder != PurePosixPath():
            yield f"`{folder}/` ({len(its)})"
        else:
            yield from (f"`{name}`" for name in its)


def release(
    root: Path,
    version: str,
    history: History,
    today: date,
    answers: Sequence[Mapping[str, Any]] | None = None,
) -> dict[Path, str]:
    """What a release of a tree writes: by path, the new text.

    Args:
        root: the tree.
        version: what it shall be called.
        history: the tree and the releases before it.
        today: the day.
        answers: what to compare renders with, if not each choice of each question.

    Raises:
        UserError: with every reason against it, one on a line.
    """
    changelog = (root / CHANGELOG).read_text(encoding="utf-8")
    words = UNRELEASED.search(changelog)
    reasons = [
        *against_words(words),
        *against_questions(history),
        *against_choices(history, version),
        *against_migrations(history, version),
    ]
    try:
        pairs = [*history.pairs(answers)]
    except UserError as error:
        raise UserError(told([*reasons, str(error)])) from None
    dates = Dates.of(history.tree, today)
    found = changes(history, pairs, dates)
    reasons += [
        *against_version(history, version, found),
        *against_moves(history, version, pairs),
        *against_files(history, version, pairs),
        *against_content(history, pairs),
    ]
    if reasons or not words:
        raise UserError(told(reasons))
    made = entry(history, version, words[1], found, dates)
    dated = (root / DATED).read_bytes()
    return {
        root / CHANGELOG: changelog[: words.start()] + made + changelog[words.end() :],
        root / DATED: dates.moved(dated).decode(),
    }


def told(reasons: Iterable[str]) -> str:
    """Reasons, each on a line, with its full stop."""
    return "\n".join(f"{reason.rstrip('.')}." for reason in reasons)


def shown(root: Path, written: Mapping[Path, str]) -> Iterator[str]:
    """The lines of a diff from what a tree holds to what would be written."""
    for path, text in written.items():
        name = path.relative_to(root).as_posix()
        old, new = path.read_text(encoding="utf-8").splitlines(), text.splitlines()
        yield from difflib.unified_diff(old, new, f"a/{name}", f"b/{name}", lineterm="")


def main() -> None:
    """Check and write, or only show; `--help` tells."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("version", metavar="VERSION", help="as in 0.4.0, without a v")
    parser.add_argument("--dry-run", action="store_true", help="show, and write nothing")
    options = parser.parse_args()
    ends("release", lambda: make(options))


def make(options: argparse.Namespace) -> int:
    """Do it, and give the exit code.

    Raises:
        UserError: if there are reasons against it.
    """
    version = options.version
    with TemporaryDirectory() as work:
        history = History.of(ROOT, Path(work))
        written = release(ROOT, version, history, datetime.now(tz=UTC).date())
    if options.dry_run:
        print("\n".join(shown(ROOT, written)))
        return 0
    for path, text in written.items():
        path.write_text(text, encoding="utf-8")
    print(f"{version} is written. Read it, then:\n")
    print("  make check test")
    print(f'  git commit --all --message "{version}: WHAT IT IS"')
    print(f"  git tag v{version}")
    return 0


if __name__ == "__main__":
    main()
