"""Which releases the template has had: each version, and the commit that is it.

A release is the commit that gave its version a heading in CHANGELOG.md, and is tagged `vX.Y.Z`. A
clone may lack the tags; the history of that one file tells the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from commands import UserError, git
from packaging.version import InvalidVersion, Version

if TYPE_CHECKING:
    from pathlib import Path

CHANGELOG = "CHANGELOG.md"
DESCRIBED = re.compile(r"-\d+-g[0-9a-f]+\Z")
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


def number(reference: str) -> Version:
    """The release that a reference of git names or follows: `v1.2.0-3-gabc` is 1.2.0.

    Raises:
        UserError: if it is none.
    """
    try:
        return Version(DESCRIBED.sub("", reference))
    except InvalidVersion:
        sentence = f"{reference} is no version of the template: write it like 1.2.0."
        raise UserError(sentence) from None
