"""Faults that the default size of the suite must catch: `make mutants` puts in one at a time.

Each stands for what a case that is exhaustive now had caught, or might: the sample is large enough
as long as all of them are caught.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TREE = ROOT / "build" / "mutants"
OPS = "template/src/{{ package_name }}/ops"


@dataclass(frozen=True)
class Mutant:
    """A fault, and who must find it.

    Attributes:
        what: what is wrong then.
        file: where.
        old: what stands there once.
        new: what the fault makes of it.
        tests: what pytest is asked.
    """

    what: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


MUTANTS = [
    Mutant(
        "an update brings back what its people moved",
        "copier.yml",
        "{{ '/notebooks/*' if _copier_operation == 'update' else '' }}",
        "",
        ("tests/test_update.py", "-k", "outlives"),
    ),
    Mutant(
        "an update that replaced a picture says nothing",
        f"{OPS}/template.py",
        'not any(b"\\0" in (it or b"") for it in contents)',
        "bool(contents)",
        ("tests/test_update_random.py", "-k", "unsaid"),
    ),
    Mutant(
        "a training is not the same twice",
        f"{OPS}/pipeline/train.py",
        "settings.train, settings.seed\n",
        "settings.train, __import__('time').time_ns() % 1_000_000\n",
        ("tests/test_run.py", "-k", "forced"),
    ),
    Mutant(
        "a second training trains again",
        "template/dvc.yaml.jinja",
        "    desc: Read the rows",
        "    always_changed: true\n    desc: Read the rows",
        ("tests/test_run.py", "-k", "second_training"),
    ),
    Mutant(
        "a model of a library of one's own has no way to be served",
        f"{OPS}/own_export.py",
        "for library in LIBRARIES & families]",
        "for library in ()]",
        ("tests/ops/test_recipes.py",),
    ),
    Mutant(
        "a spreadsheet from Windows is read as another encoding",
        f"{OPS}/data/reading.py",
        '(found["encoding"] if found["confidence"] >= SURE else None) or "cp1252"',
        '"latin-1"',
        ("tests/ops/test_data_use.py", "-k", "encoding"),
    ),
    Mutant(
        "a fixture is gone that tests of earlier releases ask for",
        "template/tests/conftest.py.jinja",
        "def loss(",
        "def distance(",
        ("tests/test_rendered_tests.py",),
    ),
    Mutant(
        "the pipeline of GitLab proposes no update",
        "template/.gitlab/template.yml",
        "make template-propose",
        "true",
        ("tests/test_template_update.py", "-k", "gitlab"),
    ),
]


def git(*arguments: str) -> None:
    """Let git do something here."""
    subprocess.run(["git", *arguments], cwd=ROOT, check=True)


def caught(mutant: Mutant) -> bool:
    """Whether the tests fail with the fault."""
    path = TREE / mutant.file
    whole = path.read_text(encoding="utf-8")
    if whole.count(mutant.old) != 1:
        sys.exit(f"{mutant.file} has not once: {mutant.old}")
    path.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-x", "-q", *mutant.tests]
    done = subprocess.run(command, cwd=TREE, stdout=subprocess.DEVNULL, check=False)
    path.write_text(whole, encoding="utf-8")
    return done.returncode == 1


def main() -> None:
    """Put in each fault, in a work tree of the last commit, and say who was not caught."""
    asked = sys.argv[1:]
    git("worktree", "add", "--force", "--detach", str(TREE), "HEAD")
    missed = []
    try:
        for mutant in MUTANTS:
            if not asked or any(word in mutant.what for word in asked):
                is_caught = caught(mutant)
                print(f"{'caught' if is_caught else 'MISSED'}: {mutant.what}", flush=True)  # noqa: T201
                missed += [] if is_caught else [mutant.what]
    finally:
        git("worktree", "remove", "--force", str(TREE))
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
