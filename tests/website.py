"""What `make docs` runs: the README and all pages of this repository and of a project, as a site.

Pages are copied to `build/docs`, where links between them lead from page to page, and links to
other files to the repository. A link that leads nowhere ends the build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path, PurePosixPath

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
REPOSITORY = "https://github.com/copier-mlops/copier-mlops/blob/main/"
LINK = re.compile(r"(?<=\]\()(?!https?:|mailto:)([^)#\s]+)")
TITLE = re.compile(r"^# (.+)$", re.MULTILINE)
ASSETS = {".md", ".png", ".svg"}


def pages() -> dict[str, str]:
    """Where each file of the site lies in the repository, and where on the site."""
    found = {"README.md": "index.md", "CHANGELOG.md": "changelog.md"}
    for folder, place in (("docs", ""), ("template/docs/ops", "project/")):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in ASSETS and "examples" not in path.parts:
                lies = path.relative_to(ROOT / folder).as_posix()
                found[f"{folder}/{lies}"] = place + lies
    return found | {"docs/decisions": "decisions/index.md"}


def linked(text: str, at: str, known: dict[str, str]) -> str:
    """The text of a page `at` a place of the repository, with its links as the site has them."""
    here = PurePosixPath(known[at]).parent

    def moved(link: re.Match[str]) -> str:
        path = os.path.normpath(PurePosixPath(at).parent / link[1])
        if path in known:
            return os.path.relpath(known[path], here)
        return REPOSITORY + path if (ROOT / path).exists() else link[1]

    return LINK.sub(moved, text)


def decisions(known: dict[str, str]) -> str:
    """A page that lists all decisions."""
    lines = ["# Decisions", ""]
    for path in (it for it in known if it.startswith("docs/decisions/")):
        title = TITLE.search((ROOT / path).read_text(encoding="utf-8"))
        lines.append(f"- [{title[1] if title else path}]({PurePosixPath(path).name})")
    return "\n".join([*lines, ""])


def main() -> int:
    """Copy the pages, and build the site to `build/site`."""
    shutil.rmtree(BUILD / "docs", ignore_errors=True)
    known = pages()
    for source, place in known.items():
        target = BUILD / "docs" / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if source == "docs/decisions":
            target.write_text(decisions(known), encoding="utf-8")
        elif target.suffix == ".md":
            text = (ROOT / source).read_text(encoding="utf-8")
            target.write_text(linked(text, source, known), encoding="utf-8")
        else:
            shutil.copyfile(ROOT / source, target)
    shutil.copyfile(ROOT / "docs" / "zensical.toml", BUILD / "zensical.toml")
    command = ["zensical", "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=BUILD, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
