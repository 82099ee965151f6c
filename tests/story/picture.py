"""The picture of the story: what share of the mails went to the right queue, window by window."""

from __future__ import annotations

import math
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

WIDTH, HEIGHT = 880, 470
LEFT, RIGHT, TOP, BOTTOM = 64, 24, 78, 118
LOW, HIGH = 0.2, 1.0
"""The accuracies between which the picture is drawn."""
INK, FAINT, GRID = "#1f2933", "#7b8794", "#e4e7eb"
VERSIONS = ("#3b6fb6", "#0f9d76", "#7c4dbd", "#b8860b")
DECISIONS = {"none": "#c3cad2", "alert": "#f0a020", "retrain": "#d64545"}
REFUSED = 3
"""The exit code."""
CHANGES = ("Products merge,", "names change,", "words are new,", "a chat opens")
SURE = 1.96
"""Standard errors on both sides of what was measured."""


class Picture:
    """The marks, and where windows and accuracies lie."""

    def __init__(self, windows: int) -> None:
        """Begin with an empty sheet."""
        self.windows = windows
        self.marks: list[str] = []

    def x(self, window: float) -> float:
        """Where the middle of a window lies."""
        return LEFT + (window + 0.5) * (WIDTH - LEFT - RIGHT) / self.windows

    def y(self, accuracy: float) -> float:
        """Where an accuracy lies."""
        share = (HIGH - accuracy) / (HIGH - LOW)
        return TOP + share * (HEIGHT - TOP - BOTTOM)

    def mark(self, name: str, text: str = "", /, **attributes: object) -> None:
        """Add an element."""
        told = " ".join(
            f'{key.replace("_", "-")}="{value:.1f}"'
            if isinstance(value, float)
            else f'{key.replace("_", "-")}="{value}"'
            for key, value in attributes.items()
        )
        self.marks.append(f"<{name} {told}>{escape(text)}</{name}>")

    def text(self, x: float, y: float, text: str, **attributes: object) -> None:
        """Add a text."""
        told = {"fill": FAINT, "font_size": 12, **attributes}
        self.mark("text", text, x=float(x), y=float(y), **told)

    def line(self, points: Sequence[tuple[float, float]], **attributes: object) -> None:
        """Join points."""
        joined = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        self.mark("polyline", points=joined, fill="none", **attributes)

    def svg(self) -> str:
        """The whole picture."""
        head = (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="system-ui, sans-serif" role="img">'
        )
        sheet = f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#ffffff"/>'
        return "\n".join([head, sheet, *self.marks, "</svg>\n"])


def draw(told: Mapping[str, Any], before: int) -> str:
    """Draw the story.

    Args:
        told: a `story.Story`, as plain data.
        before: how many windows came before the world changed.
    """
    windows, control = told["windows"], told["control"]
    picture = Picture(len(windows))
    change = picture.x(before - 0.5)
    _ground(picture, change, told)
    if control:
        points = [(picture.x(n), picture.y(_accuracy(it))) for n, it in enumerate(control)]
        picture.line(points, stroke=FAINT, stroke_width=1.5, stroke_dasharray="2 4")
    _windows(picture, windows)
    _champions(picture, {int(key): value for key, value in told["trained"].items()})
    _legend(picture, told)
    return picture.svg()


def _accuracy(window: Mapping[str, Any]) -> float:
    return float(window["right"] / window["rows"])


def _ground(picture: Picture, change: float, told: Mapping[str, Any]) -> None:
    """The grid, the two worlds, and what can be reached in each."""
    end, bottom = WIDTH - RIGHT, picture.y(LOW)
    picture.mark(
        "rect", x=change, y=float(TOP), width=end - change, height=bottom - TOP, fill="#fbf3e6"
    )
    for tenth in range(2, 11, 2):
        level = picture.y(tenth / 10)
        picture.line([(LEFT, level), (end, level)], stroke=GRID)
        picture.text(LEFT - 8, level + 4, f"{10 * tenth}%", text_anchor="end")
    for first, last, level in ((LEFT, change, told["best"][0]), (change, end, told["limit"])):
        at = picture.y(level)
        picture.line([(first, at), (last, at)], stroke=INK, stroke_dasharray="6 4")
    best = f"no model can exceed {told['best'][0]:.1%}"
    picture.text(LEFT + 6, picture.y(told["best"][0]) - 10, best)
    picture.text(
        end - 6,
        picture.y(told["limit"]) - 10,
        f"learnt without limit: {told['limit']:.1%}",
        text_anchor="end",
    )
    for line, words in enumerate(CHANGES):
        place = picture.y(0.68) + 17 * line
        picture.text(change + 10, place, words, font_style="italic", fill=INK)
    for number in range(picture.windows):
        picture.text(picture.x(number), bottom + 18, str(number + 1), text_anchor="middle")


def _windows(picture: Picture, windows: Sequence[Mapping[str, Any]]) -> None:
    """What was measured in each window, by the version that answered, and what was decided."""
    versions = sorted({window["version"] for window in windows}, key=int)
    strip = picture.y(LOW) + 36
    picture.text(LEFT - 8, strip + 4, "monitor", text_anchor="end")
    for number, window in enumerate(windows):
        accuracy, x = _accuracy(window), picture.x(number)
        colour = VERSIONS[versions.index(window["version"]) % len(VERSIONS)]
        spread = SURE * math.sqrt(accuracy * (1 - accuracy) / window["rows"])
        ends = [(x, picture.y(accuracy - spread)), (x, picture.y(accuracy + spread))]
        picture.line(ends, stroke=colour, stroke_width=2)
        picture.mark("circle", cx=x, cy=picture.y(accuracy), r=5, fill=colour)
        picture.text(
            x, picture.y(accuracy) + 22, f"{accuracy:.0%}", text_anchor="middle", fill=colour
        )
        picture.mark("circle", cx=x, cy=float(strip), r=6, fill=DECISIONS[window["decision"]])
        if window["decision"] != "none":
            picture.text(
                x, strip + 22, window["decision"], text_anchor="middle",
                fill=DECISIONS[window["decision"]], font_weight=600,
            )  # fmt: skip


def _champions(picture: Picture, trained: Mapping[int, str]) -> None:
    """Where a new champion came."""
    for number, version in trained.items():
        x = picture.x(number + 0.5)
        picture.line([(x, TOP), (x, picture.y(LOW))], stroke=INK, stroke_width=1)
        picture.text(x, TOP - 7, f"version {version}", fill=INK, text_anchor="middle")


def _legend(picture: Picture, told: Mapping[str, Any]) -> None:
    """What one sees, and what is not to be seen."""
    picture.text(
        LEFT, 30, "Mails that were sent to the right queue", font_size=18, font_weight=600, fill=INK
    )
    picture.text(
        LEFT,
        50,
        f"Simulated mails, {told['windows'][0]['rows']:,} in a window, whose truth is told one "
        "window later. Dotted: the same without a change.",
    )
    refused = "refused" if told["refused_with"] == REFUSED else "not refused"
    restored = "exactly" if told["restored"] else "not exactly"
    asked = f"{told['dropped']} of {told['asked']:,} requests made all the while were dropped."
    picture.text(
        LEFT,
        HEIGHT - 36,
        f"{_recovered(told):.0%} of what was lost is recovered. {asked}",
        fill=INK,
    )
    back = f"A rollback gave the earlier answers back {restored}."
    picture.text(
        LEFT, HEIGHT - 18, f"A challenger from shuffled queues was {refused}. {back}", fill=INK
    )


def _recovered(told: Mapping[str, Any]) -> float:
    first, *_, last = told["accuracy"].values()
    return float((last - first) / (told["limit"] - first))
