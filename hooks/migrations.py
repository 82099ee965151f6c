"""What a release asks of projects beyond a merge: files that moved or went, choices that did.

Copier's merge drops what people wrote into a file that the template renames or deletes, and resets
a stored answer whose choice is gone. hooks/migrate.py does both justice, from this table. How to
write one: docs/develop.md.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Migration:
    """What one release asks for.

    Paths are those of a project, with `*` for the folder of its package: `src/*/ops/cli.py`.

    Attributes:
        moved: files by their old path, with the new one.
        removed: files that are no longer rendered.
        answers: by question, the choices that are gone, each with the one that replaces it.
    """

    moved: Mapping[str, str] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    answers: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


# `make release VERSION=0.5.0 ARGS=--migration` drafts an entry.
MIGRATIONS: dict[str, Migration] = {
    "0.5.0": Migration(
        removed=(
            "src/*/ops/hosting/rest.py",
            "src/*/ops/retraining/github.py",
            "src/*/ops/retraining/gitlab.py",
            "src/*/ops/retraining/rest.py",
        ),
    ),
}
"""By version. A version that stands here has a block under `_migrations` in copier.yml."""
