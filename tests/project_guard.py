"""What a project itself says of an update that dropped changes, asked without its environment."""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING

from render import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

sys.path.insert(0, str(ROOT / "template" / "src" / "{{ package_name }}"))
dropped: Callable[[Path, Path, Path], Iterator[tuple[str, str]]]
dropped = importlib.import_module("ops.template").dropped
"""From a project, and what its template rendered before and after, to paths and reasons."""
