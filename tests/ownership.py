"""Whose each rendered path is, as ownership.yml says."""

from __future__ import annotations

from functools import cache
from typing import Any, Literal

import yaml
from pathspec import GitIgnoreSpec
from render import ROOT

Owner = Literal["yours", "shared", "managed"]
ANCHOR = "project-specific"


@cache
def patterns() -> dict[Owner, list[str]]:
    """The patterns of the classes that have some, in the order in which they are asked."""
    said: dict[Any, list[str]] = yaml.safe_load((ROOT / "ownership.yml").read_text())
    return said


def owner(path: str) -> Owner:
    """The class of a path, relative to the project and with forward slashes."""
    for name, its in patterns().items():
        if GitIgnoreSpec.from_lines(its).match_file(path):
            return name
    return "managed"
