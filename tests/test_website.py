"""The site that `make docs` builds: whole, and without a link that leads nowhere."""

from __future__ import annotations

import shutil
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
import website
from render import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def in_menu(entries: list[Any]) -> Iterator[str]:
    """Every page that a menu names."""
    for entry in entries:
        if isinstance(entry, str):
            yield entry
        else:
            for named in entry.values():
                yield from in_menu(named if isinstance(named, list) else [named])


def test_every_page_is_built_and_in_the_menu() -> None:
    run("make", "--assume-old=.venv/ready", "docs", cwd=ROOT)  # what runs this test is there
    site = ROOT / "build" / "site"
    placed = website.pages()
    shown = [it for it in placed.values() if it.endswith(".md")]
    for page in shown:
        address = site / page.removesuffix(".md").removesuffix("index") / "index.html"
        assert address.is_file(), page
    settings = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text())
    listed = [page for page in shown if not page.startswith("decisions/0")]
    assert sorted(in_menu(settings["project"]["nav"])) == sorted(listed)
    assert (site / "pictures" / "service.png").is_file()


@pytest.mark.parametrize("link", ["no-such-page.md", "project.md#no-such-heading"])
def test_a_link_that_leads_nowhere_ends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, link: str
) -> None:
    for name in ("README.md", "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path)
    for name in ("docs", "template/docs"):
        shutil.copytree(ROOT / name, tmp_path / name)
    with (tmp_path / "docs" / "story.md").open("a") as page:
        page.write(f"\n[more]({link})\n")
    monkeypatch.setattr(website, "ROOT", tmp_path)
    monkeypatch.setattr(website, "BUILD", tmp_path / "build")
    assert website.main() != 0


def test_a_link_to_a_file_that_is_no_page_leads_to_the_repository() -> None:
    known = {"docs/story.md": "story.md", "README.md": "index.md"}
    said = website.linked(
        "[a](../Makefile) [b](../README.md#c) [d](https://d) [e](#f)", "docs/story.md", known
    )
    assert said == f"[a]({website.REPOSITORY}Makefile) [b](index.md#c) [d](https://d) [e](#f)"
