"""Renders the template in this process, from a copy of the working tree."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from functools import cache
from itertools import combinations, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from copier import Settings, run_copy

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """Run a command to its end and give what it printed; a failure shows all of it."""
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}"
    return done.stdout


def working_tree() -> list[Path]:
    """Every file of the template that git knows or would add, relative to its root."""
    listed = run("git", "ls-files", "-z", "-co", "--exclude-standard", cwd=ROOT)
    return sorted({Path(name) for name in listed.split("\0") if name and (ROOT / name).is_file()})


UNREAD = ("tests", ".github", ".ci")
"""What no render reads; a template without it is cloned in half the time."""


def read() -> list[Path]:
    """The template without what no render reads."""
    return [file for file in working_tree() if file.parts[0] not in UNREAD]


def outline() -> list[Path]:
    """The template without most of its managed files: what renders fast, and asks the same."""
    kept = ("template", "samples", "licenses", "hooks")
    left_out = [("template", name) for name in ("docs", "monitoring", "tests")]
    return [
        file
        for file in working_tree()
        if file.parts[0] in kept or len(file.parts) == 1
        if file.parts[:2] not in left_out and "ops" not in file.parts
    ]


def updating() -> list[Path]:
    """That outline, with the verbs by which a project takes updates, and the pages on them."""
    verbs = {"ops", "hosting", "use_case"}
    named = [file for file in working_tree() if file.parts[0] == "template"]
    return [*outline(), *(file for file in named if file.parent.name in verbs)]


@cache
def configuration() -> dict[str, Any]:
    """Everything that copier.yml and the file that it includes say, in order."""
    merged: dict[str, Any] = {}
    text = (ROOT / "copier.yml").read_text()
    for document in text.split("\n---\n"):
        name = document.removeprefix("!include ").strip()
        included = document.startswith("!include ")
        merged |= yaml.safe_load((ROOT / name).read_text() if included else document)
    return merged


def questions() -> dict[str, dict[str, Any]]:
    """The questions that a person is asked, by name."""
    return {
        name: question
        for name, question in configuration().items()
        if not name.startswith("_") and question.get("when") is not False
    }


def reserved_names() -> set[str]:
    """What a package cannot be called."""
    return set(" ".join(configuration()["reserved_names"]["default"]).split())


def closed() -> list[str]:
    """The questions whose answers can be counted, by name."""
    return [name for name, its in questions().items() if "choices" in its or its["type"] == "bool"]


def choices(name: str) -> list[Any]:
    """Every answer that a closed question offers.

    Where several may be chosen: none, each, and all, written as a list.
    """
    question = questions()[name]
    if question["type"] == "bool":
        return [True, False]
    offered = question["choices"]
    each = list(offered.values() if isinstance(offered, dict) else offered)
    sets = [[], *([it] for it in each), each]
    return [*dict.fromkeys(f"[{', '.join(its)}]" for its in sets)] if several(name) else each


def several(name: str) -> bool:
    """Whether a question takes several of its choices."""
    return bool(questions()[name].get("multiselect"))


def all_pairs(options: Mapping[str, Sequence[Any]]) -> Iterator[dict[str, Any]]:
    """A small set of full answers in which any two answers to two questions meet.

    Greedy: each time the combination that holds most of the pairs not yet met.
    """
    every = [dict(zip(options, values, strict=True)) for values in product(*options.values())]
    missing = {pair for answers in every for pair in combinations(answers.items(), 2)}
    while missing:
        best = max(every, key=lambda answers: len(missing & {*combinations(answers.items(), 2)}))
        missing -= {*combinations(best.items(), 2)}
        yield best


@dataclass(frozen=True)
class Template:
    """A copy of the template that Copier can render."""

    source: Path

    @classmethod
    def of(cls, files: Iterable[Path], source: Path) -> Template:
        """Copy these files of the working tree to `source`."""
        for file in files:
            target = source / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / file, target)
        return cls(source)

    def release(self, tag: str) -> Template:
        """Make the copy a repository of one tagged commit.

        So a test sees what Copier sees of a release, whatever the state of the clone that it runs
        in: dirty, shallow, without tags.
        """
        run("git", "init", "--quiet", cwd=self.source)
        run("git", "add", "--all", "--force", cwd=self.source)
        message = ("--allow-empty", "--message", f"Release {tag}")
        run("git", "commit", "--quiet", *message, cwd=self.source)
        run("git", "tag", tag, cwd=self.source)
        return self

    def render(
        self, destination: Path, answers: Mapping[str, Any], version: str | None = None
    ) -> Path:
        """Render without trust, and without a question left unanswered.

        Copier keeps an unknown answer without a word, so a misspelt one fails here.
        """
        unknown = answers.keys() - questions().keys()
        assert not unknown, f"no such question: {sorted(unknown)}"
        run_copy(
            str(self.source),
            destination,
            dict(answers),
            vcs_ref=version,
            defaults=True,
            unsafe=False,
            quiet=True,
            settings=Settings(),
        )
        return destination
