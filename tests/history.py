"""The template's past: a repository of it with every release so far."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from releases import releases
from render import ROOT, UNREAD, Template, read, run

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = releases(ROOT)


def past(source: Path) -> Template:
    """Make a repository of the template with all its releases, the working tree as the newest."""
    template = Template(source)
    source.mkdir(exist_ok=True)
    for version, commit in RELEASES.items():
        clear(source)
        without = (f":(exclude){name}" for name in UNREAD)
        archive = subprocess.run(
            ["git", "-C", str(ROOT), "archive", commit, ".", *without],
            check=True,
            capture_output=True,
        )
        subprocess.run(["tar", "-x", "-C", str(source)], check=True, input=archive.stdout)
        template.release(f"v{version}")
    clear(source)
    return Template.of(read(), source).release("v9999.0.0")


def clear(repository: Path) -> None:
    """Take every file away but git's own."""
    if (repository / ".git").exists():
        run("git", "rm", "-r", "--quiet", "--force", ".", cwd=repository)
