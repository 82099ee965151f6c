"""Pictures of what people get, taken in a project that has lived through the story.

Each picture holds an outline of its page, the words that stand on it whatever the numbers are: so
a test can tell that a page has changed since its picture was taken.
"""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING, NamedTuple

from browser import browser
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from .loop import served

if TYPE_CHECKING:
    from pathlib import Path

    from browser import Page

    from .loop import Project

WIDTH, HEIGHT = 1200, 900
COLOURS = 64
OUTLINE = "[...document.querySelectorAll('h2, h3, th, label, button')].map(it => it.innerText)"
FIGURES = re.compile(r"[-\d.,:%]+")
PAGES = ("model-card", "monitoring")
"""What the story keeps, each as a page of that name."""


class Screen(NamedTuple):
    """The upper part of a page."""

    picture: bytes
    outline: str

    def write(self, path: Path) -> None:
        """Write it as a small PNG that holds its outline."""
        notes = PngInfo()
        notes.add_text("outline", self.outline)
        whole = Image.open(io.BytesIO(self.picture)).convert("RGB")
        top = whole.crop((0, 0, whole.width, min(whole.height, HEIGHT)))
        top.quantize(COLOURS, dither=Image.Dither.NONE).save(path, pnginfo=notes, optimize=True)


def outline(path: Path) -> str:
    """The outline of the page that a picture shows."""
    with Image.open(path) as picture:
        return str(picture.info["outline"])


def take(project: Project, kept: Path, folder: Path) -> dict[str, Screen]:
    """Look at the pages that people get, by the name of their picture.

    Args:
        project: whose champion is served.
        kept: where the story keeps `PAGES`.
        folder: where the service and the browser write.
    """
    with served(project, folder / "log") as port, browser(folder) as page:
        page.open(f"http://127.0.0.1:{port}")
        page.until("document.querySelectorAll('#fields [name]').length")
        page.click("button[type=submit]")
        page.until("document.querySelector('#result strong')?.textContent")
        found = {"service": _screen(page, folder)}
        for name in PAGES:
            page.open((kept / f"{name}.html").as_uri())
            page.until(f"document.URL.includes('{name}') && document.readyState == 'complete'")
            found[name] = _screen(page, folder)
    return found


def _screen(page: Page, folder: Path) -> Screen:
    words = " ".join(page.value(OUTLINE))
    picture = page.picture(folder / "page.png", "light", width=WIDTH)
    return Screen(picture, " ".join(FIGURES.sub("", words).split()))
