# /// script
# requires-python = ">=3.10"
# dependencies = ["copier>=9.19,<10", "packaging", "pathspec", "pyyaml"]
# ///
"""Carry a project over what a merge cannot: files that moved, went or came, and choices.

In a project it only tells what the releases of this template that it lacks would do. Copier runs
it with `--stage`, once before and once after an update, for each release that asks for something:
before, answers get the choices that replace theirs; after, what people had written into a file is
merged into the file that took its place, and files come that are people's own from then on. It may
run twice, and loses nothing: what cannot be merged stays where it was.

Exit codes: 0 done, conflicts included, as Copier does; 1 a command that it needs failed; 2 a
mistake of yours, in one sentence.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from commands import CommandError, UserError, copier, ends, git, paths, raw_git
from migrations import MIGRATIONS, Migration
from releases import number
from source import ANSWERS, files

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

LABELS = ("before updating", "last update", "after updating")  # as Copier marks a conflict
CONFLICTS = range(128)  # git merge-file counts up to here; beyond, it failed
TEMPLATE = Path(__file__).parents[1] / "template"
BACK = "nothing is lost, and `git reset --hard; git clean -fd` takes you back to before the update"


@dataclass(frozen=True)
class Project:
    """A rendered project; HEAD is what it was before the update, which needs a clean work tree.

    Attributes:
        root: its folder, which may lie inside a larger repository.
        base: an empty folder for what its last release had rendered.
    """

    root: Path
    base: Path

    @cached_property
    def tracked(self) -> set[str]:
        """The paths that HEAD holds."""
        return {*paths(self.root, "ls-tree", "-r", "--name-only", "HEAD", ".")}

    @cached_property
    def executable(self) -> set[str]:
        """The paths that HEAD holds as programs."""
        entries = paths(self.root, "ls-tree", "-r", "HEAD", ".")
        return {it.partition("\t")[2] for it in entries if it.startswith("100755")}

    def before(self, path: str) -> bytes:
        """What HEAD holds of a path."""
        return raw_git(self.root, "show", f"HEAD:./{path}")

    @cached_property
    def answers(self) -> dict[str, Any]:
        """What HEAD holds of Copier's answers.

        Raises:
            UserError: if there are none.
        """
        try:
            return dict(yaml.safe_load(self.before(ANSWERS)))
        except CommandError:
            sentence = f"{self.root} has committed no {ANSWERS}: name a project."
            raise UserError(sentence) from None

    @cached_property
    def rendered(self) -> dict[str, Path]:
        """What its last release had rendered for its answers, by path."""
        given, render = self.base / "answers.yml", self.base / "render"
        given.write_bytes(self.before(ANSWERS))
        at = ("--vcs-ref", str(self.answers["_commit"]), "--data-file", given)
        copier("copy", *at, str(self.answers["_src_path"]), render, cwd=self.root)
        return files(render)


# ==================================================================================================
# Answers
# ==================================================================================================
def answered(text: str, answers: Mapping[str, Mapping[str, str]]) -> str:
    """The text of an answers file with the choices that replace those which are gone."""
    for question, choices in answers.items():
        found = re.search(rf"^{question}: (['\"]?)(.*)\1$", text, re.MULTILINE)
        if found and found[2] in choices:
            said = f"{question}: {json.dumps(choices[found[2]], ensure_ascii=False)}"
            text = text[: found.start()] + said + text[found.end() :]
    return text


def answer(project: Project, migrations: list[Migration], *, dry: bool) -> Iterator[str]:
    """Replace answers whose choices are gone, and say so."""
    path = project.root / ANSWERS
    text = path.read_text(encoding="utf-8")
    for migration in migrations:
        now = answered(text, migration.answers)
        for old, new in zip(text.splitlines(), now.splitlines(), strict=True):
            if old != new:
                yield f"{old} becomes {new}"
        text = now
    if not dry and text != path.read_text(encoding="utf-8"):
        aside = path.with_name(f"{path.name}.new")
        aside.write_text(text, encoding="utf-8")
        aside.replace(path)


# ==================================================================================================
# Files
# ==================================================================================================
def targets(migrations: Mapping[str, Migration], version: str, paths: set[str]) -> dict[str, str]:
    """Where the files that a release moved or removed are by now; "" for nowhere.

    Args:
        migrations: all of them, by version.
        version: the release.
        paths: the files that there may be.
    """
    found = {}
    for path in paths:
        now = _moved(migrations[version], path)
        for later in sorted(migrations, key=number):
            if now and number(later) > number(version):
                then = _moved(migrations[later], now)
                now = now if then is None else then
        if now is not None:
            found[path] = now
    return found


def _moved(migration: Migration, path: str) -> str | None:
    """Where a migration moves a path, "" if it removes it, none if it leaves it alone."""
    for old, new in (*migration.moved.items(), *((it, "") for it in migration.removed)):
        pattern = re.escape(old).replace(r"\*", "([^/]*)")
        if found := re.fullmatch(pattern, path):
            return new.replace("*", found[1]) if "*" in new else new
    return None


def carry(project: Project, version: str, *, dry: bool) -> Iterator[str]:
    """Bring what people wrote into the files that took the place of theirs, and say so."""
    migration = MIGRATIONS[version]
    if not (migration.moved or migration.removed):
        return
    for path, target in sorted(targets(MIGRATIONS, version, {*project.rendered}).items()):
        base, new = project.rendered[path].read_bytes(), project.root / target
        if path in project.executable and new.is_file() and not dry:
            new.chmod(new.stat().st_mode | 0o111)
        if path not in project.tracked:
            if target and target not in project.tracked:
                yield f"{path} was deleted here, and so {target} does not come"
                if not dry:
                    (project.root / target).unlink(missing_ok=True)
        elif project.before(path) == base:
            continue  # nobody wrote there
        elif dry:
            yield f"{path} was edited: that goes into {target}" if target else _kept(path)
        else:
            yield _carried(project, path, target, base)


def _carried(project: Project, path: str, target: str, base: bytes) -> str:
    """Merge an edited file into its new place, or keep it where it was; say which."""
    new = project.root / target
    if not target or target in project.tracked or not new.is_file():
        git(project.root, "checkout", "--quiet", "HEAD", "--", path)
        return _kept(path, target if target in project.tracked else "")
    if paths(project.root, "ls-files", "--unmerged", "--", target):
        return f"{target} waits for you to resolve its conflicts"
    stages = (base, project.before(path), new.read_bytes())
    last, ours, theirs = (project.base / name for name in ("last", "ours", "theirs"))
    for file, content in zip((last, ours, theirs), stages, strict=True):
        file.write_bytes(content)
    labels = [word for label in LABELS for word in ("-L", label)]
    try:
        git(project.root, "merge-file", "--quiet", *labels, ours, last, theirs, codes=CONFLICTS)
    except CommandError:  # not text
        git(project.root, "checkout", "--quiet", "HEAD", "--", path)
        return _kept(path, target)
    new.write_bytes(ours.read_bytes())
    if f"<<<<<<< {LABELS[0]}".encode() not in ours.read_bytes():
        return f"{path} was edited: that is in {target} now"
    _mark(project, target, stages)
    return f"{path} was edited, and so were the same lines of {target}: resolve the conflict there"


def _kept(path: str, target: str = "") -> str:
    """Say that a file stays, beside the one that was to take its place if there is one."""
    beside = f"; bring what you wrote into {target}" if target else ""
    return f"{path} was edited, and stays: the template leaves it to you now{beside}"


def _mark(project: Project, path: str, stages: tuple[bytes, bytes, bytes]) -> None:
    """Let git call a file unmerged, with the last render, ours and theirs for its tools."""
    whole = git(project.root, "rev-parse", "--show-prefix").strip() + path
    mode = "100755" if (project.root / path).stat().st_mode & 0o100 else "100644"
    lines = [f"0 {'0' * 40}\t{whole}"]
    for stage, content in enumerate(stages, start=1):
        digest = git(project.root, "hash-object", "-w", "--stdin", given=content).strip()
        lines.append(f"{mode} {digest} {stage}\t{whole}")
    git(project.root, "update-index", "--index-info", given="\n".join(lines).encode())


def sow(project: Project, version: str, *, dry: bool) -> Iterator[str]:
    """Bring the files that are people's own from this release on, where there is none; say so."""
    for seed in MIGRATIONS[version].seeds:
        path = project.root / seed.replace("*", str(project.answers["package_name"]))
        if not path.exists():
            yield f"{path.relative_to(project.root).as_posix()} comes, and is yours"
            if not dry:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes((TEMPLATE / seed.replace("*", "{{ package_name }}")).read_bytes())


# ==================================================================================================
# What Copier or a person types
# ==================================================================================================
def migrate(root: Path, stage: str | None = None, version: str | None = None) -> Iterator[str]:
    """Do what a release asks for at a stage, or tell what all that the project lacks would do.

    Args:
        root: the project.
        stage: "before" or "after" Copier's own work; none for a dry run.
        version: the release; none for all that are newer than the project's.

    Raises:
        UserError: if there is no such project or release, or git or Copier fails.
    """
    if not root.is_dir():
        raise UserError(f"{root} is no folder: name a project.")
    if version and version not in MIGRATIONS:
        raise UserError(f"No migration belongs to {version}: name one of hooks/migrations.py.")
    with TemporaryDirectory(prefix="migrate-") as folder:
        project = Project(root.resolve(), Path(folder))
        last = number(str(project.answers.get("_commit")))
        newer = (it for it in MIGRATIONS if number(it) > last)
        crossed = [version] if version else sorted(newer, key=number)
        if stage != "after":
            migrations = [MIGRATIONS[it] for it in crossed]
            yield from answer(project, migrations, dry=stage is None)
        if stage != "before":
            for each in crossed:
                yield from carry(project, each, dry=stage is None)
                yield from sow(project, each, dry=stage is None)


def main() -> None:
    """Do what was asked for; `--help` tells."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("project", nargs="?", type=Path, default=Path(), help="its folder")
    parser.add_argument("--stage", choices=("before", "after"), help="what Copier asks for")
    parser.add_argument("--version", help="the release that asks, if not all that are newer")
    ends("migrate", lambda: told(parser.parse_args()))


def told(options: argparse.Namespace) -> int:
    """Do what was asked for, say it, and give the exit code.

    Raises:
        UserError: if there is a mistake.
    """
    try:
        for sentence in migrate(options.project, options.stage, options.version):
            print(f"migrate: {sentence}.", file=sys.stderr)
    except CommandError as error:
        print(f"migrate: {error}; {BACK}.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    main()
