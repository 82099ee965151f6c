"""What a project itself says of what an update left out, asked without its environment."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Protocol

from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path


class Outcome(Protocol):
    """Paths that are named, with the reason for each."""

    lost: Mapping[str, str]
    missed: Mapping[str, str]


sys.path.insert(0, str(ROOT / "template" / "src" / "{{ package_name }}"))
outcome: Callable[[Path, Path, Path], Outcome] = importlib.import_module("ops.template").outcome
"""From a project, and what its template rendered before and after."""
