"""The template at each release and as it is committed now, rendered."""

from __future__ import annotations

import io
import re
import runpy
import tarfile
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import yaml
from commands import UserError, git, raw_git
from copier import Settings, run_copy
from migrations import Migration
from releases import CHANGELOG, releases
from source import ANSWERS, Owners, choices, configuration, files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

SAMPLE = "sample"  # the one question that files of the people's own depend on

Files = dict[str, bytes]  # what a render holds, by path with * for the folder of the package


@dataclass
class Version:
    """The template at a commit.

    Attributes:
        name: what people call it.
        tree: its files.
        work: an empty folder for renders.
    """

    name: str
    tree: Path
    work: Path

    @cached_property
    def configuration(self) -> dict[str, Any]:
        """What copier.yml says."""
        return configuration((self.tree / "copier.yml").read_text(encoding="utf-8"))

    @cached_property
    def questions(self) -> dict[str, dict[str, Any]]:
        """The questions that a person is asked, by name."""
        return {
            name: question
            for name, question in self.configuration.items()
            if not name.startswith("_") and question.get("when") is not False
        }

    def choices(self, name: str) -> list[Any]:
        """Every answer that a question offers; none if it takes any."""
        return choices(self.questions.get(name, {}))

    def answers(self) -> list[dict[str, Any]]:
        """Answers with which everything is rendered: the defaults, and each choice beside them."""
        beside = [
            {name: choice}
            for name, question in self.questions.items()
            for choice in self.choices(name)
            if choice != question.get("default")
        ]
        return [{}, *beside]

    def offers(self, answers: Mapping[str, Any]) -> bool:
        """Whether its questions take these answers."""
        return all(choice in self.choices(name) for name, choice in answers.items())

    @cached_property
    def migrations(self) -> dict[str, Migration]:
        """Its table of migrations, by version."""
        path = self.tree / "hooks" / "migrations.py"
        found: dict[str, Migration] = runpy.run_path(str(path))["MIGRATIONS"]
        return found

    @cached_property
    def owners(self) -> Owners:
        """Whose files are."""
        return Owners((self.tree / "ownership.yml").read_text(encoding="utf-8"))

    def folder(self, answers: Mapping[str, Any]) -> Path:
        """A render with answers.

        Raises:
            UserError: if it fails.
        """
        said = ", ".join(f"{name}={value}" for name, value in answers.items()) or "the defaults"
        place = self.work / re.sub(r"\W+", "-", said)
        if not place.exists():
            try:
                run_copy(
                    str(self.tree),
                    place,
                    dict(answers),
                    defaults=True,
                    quiet=True,
                    settings=Settings(),
                )
            except Exception as error:  # noqa: BLE001  of Copier, Jinja, YAML
                message = " ".join(str(error).split())
                raise UserError(f"{self.name} cannot be rendered with {said}: {message}.") from None
        return place

    def render(self, answers: Mapping[str, Any]) -> Files:
        """What a render with answers holds."""
        package = self.package(answers)
        return {
            re.sub(rf"^src/{package}/", "src/*/", name): path.read_bytes()
            for name, path in files(self.folder(answers)).items()
            if path.name != ANSWERS
        }

    def package(self, answers: Mapping[str, Any]) -> str:
        """The name of the package in a render with answers."""
        text = (self.folder(answers) / ANSWERS).read_text(encoding="utf-8")
        return str(yaml.safe_load(text)["package_name"])


@dataclass(frozen=True)
class History:
    """The template's releases, and the tree that shall be the next one, as committed.

    Attributes:
        earlier: every release, the oldest first.
        tree: the tree.
    """

    earlier: list[Version]
    tree: Version

    @property
    def last(self) -> Version:
        """The last release."""
        return self.earlier[-1]

    @classmethod
    def of(cls, root: Path, work: Path, known: Mapping[str, Version] | None = None) -> History:
        """Take every release and HEAD out of a clone.

        Args:
            root: the clone.
            work: an empty folder.
            known: releases that were taken out before, by version.

        Raises:
            UserError: if something is not committed, or there is no release.
        """
        if git(root, "status", "--porcelain"):
            raise UserError("The work tree holds what is not committed: commit or stash it.")
        if git(root, "rev-parse", "--is-shallow-repository").strip() == "true":
            raise UserError("The clone is shallow, so it has no releases: `git fetch --unshallow`.")
        found = releases(root)
        if not found:
            raise UserError(f"{CHANGELOG} names no release: fetch the history.")
        earlier = [
            (known or {}).get(name) or _extracted(root, commit, name, work / name)
            for name, commit in found.items()
        ]
        return cls(earlier, _extracted(root, "HEAD", "The tree", work / "tree"))

    def pairs(
        self, answers: Iterable[Mapping[str, Any]] | None = None
    ) -> Iterator[tuple[Files, Files]]:
        """Renders of the last release, empty if it did not offer an answer, and of the tree.

        Args:
            answers: what is answered in each; by default, every choice of every question once.
        """
        if answers is None:
            offered = [it for it in self.last.answers() if self.tree.offers(it)]
            answers = [*self.tree.answers(), *offered]
            answers = [it for place, it in enumerate(answers) if it not in answers[:place]]
        for its in answers:
            yield self.last.render(its) if self.last.offers(its) else {}, self.tree.render(its)

    def migration(self, version: str) -> Migration:
        """What the tree, as a version, asks of projects; nothing if the last one has asked it."""
        done = version == self.last.name
        return Migration() if done else self.tree.migrations.get(version, Migration())

    def people(self) -> list[tuple[str, Files]]:
        """What projects may have of their own: each release that gave it, and the files."""
        found: list[tuple[str, Files]] = []
        for version in self.earlier:
            default = version.questions[SAMPLE]["default"]
            for choice in version.choices(SAMPLE):
                render = version.render({} if choice == default else {SAMPLE: choice})
                own = {name: render[name] for name in self.yours([render])}
                if all(own != known for _, known in found):
                    found.append((version.name, own))
        return found

    def yours(self, renders: Iterable[Files]) -> set[str]:
        """The paths of some renders that are the people's own."""
        return {name for its in renders for name in its if self.tree.owners.of(name) == "yours"}


def _extracted(root: Path, commit: str, name: str, work: Path) -> Version:
    archive = raw_git(root, "archive", commit)
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(work / "template", filter="data")
    return Version(name, work / "template", work)
