"""Which releases the template has had: each version, and the commit that is it.

A release is the commit that gave its version a heading in CHANGELOG.md, and is tagged `vX.Y.Z`. A
clone may lack the tags; the history of that one file tells the same.
"""

from __future__ import annotations

import re
import subprocess
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = "CHANGELOG.md"
HEADING = re.compile(r"^## (\d+\.\d+\.\d+)$", re.MULTILINE)


def releases(root: Path) -> dict[str, str]:
    """Every release, the oldest first: its version and its commit.

    A heading that was taken back and given again counts from the last time; a merge counts as one
    commit, whatever its branch began from.

    Args:
        root: a clone of the template with all its history: a shallow one ends at one commit.
    """
    found: dict[str, str] = {}
    before: set[str] = set()
    for commit in git(
        root, "log", "--first-parent", "--reverse", "--format=%H", "--", CHANGELOG
    ).split():
        named = set(HEADING.findall(git(root, "show", f"{commit}:{CHANGELOG}")))
        found |= dict.fromkeys(named - before, commit)
        before = named
    return {version: found[version] for version in sorted(before, key=number)}


def number(version: str) -> tuple[int, ...]:
    """A version as numbers, which sort as releases follow each other: v1.2.0-3-gabc is 1.2.0.

    Raises:
        ValueError: if it is none, in a sentence.
    """
    found = re.match(r"v?(\d+)\.(\d+)\.(\d+)", version)
    if not found:
        raise ValueError(f"{version} is no version of the template: write it like 1.2.0.")
    return tuple(map(int, found.groups()))


def git(root: Path, *arguments: str) -> str:
    """What a git command prints.

    Raises:
        subprocess.CalledProcessError: if it fails.
    """
    command = ("git", "-C", str(root), *arguments)
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout
