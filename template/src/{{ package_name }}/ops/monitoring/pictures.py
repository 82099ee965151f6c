"""Pictures of the windows, in the style of the training's."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ..evaluation.gates import number
from ..evaluation.metrics import Array
from ..evaluation.plots import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    QUIET,
    height,
    label_rows,
    legend,
    paper,
    plain,
    png,
)
from .checks import measured
from .decision import Verdict
from .log import moment
from .reference import Categories, Numbers
from .report import Report
from .tally import Categorised, Numbered, Tally, Worded

MOST_COLUMNS = 25
"""Columns that the map shows: those that moved most."""

MOST_PICTURES = 6
"""Columns of the newest window that are drawn then and now."""

MOST_BARS = 12
"""Values of a category, or words, that are drawn."""

MOST_TICKS = 8
"""Windows that are named below a picture."""

Picture = tuple[str, bytes]
"""What it shows, and the PNG."""


def draw(report: Report) -> dict[str, Picture]:
    """Draw what was found, by file name."""
    pictures: dict[str, Picture] = {}
    windows = [verdict for verdict in report.whole if verdict.window.rows]
    if any(verdict.score for verdict in windows):
        label = report.reference.score.label
        pictures["score"] = f"The true {label} of each window", timeline(report, windows)
    if windows:
        drawn = heat_map(windows, report.limits.psi)
        pictures["map"] = "How far each column moved in each window", drawn
    if report.judged:
        newest, since = report.judged[-1], report.reference.since
        moved = dict.fromkeys(found.column for found in newest.findings if found.column)
        for place, name in enumerate(list(moved)[:MOST_PICTURES]):
            counts = newest.window.columns[name]
            if (picture := then_and_now(name, counts, since)) is not None:
                pictures[f"column{place}"] = f"{name}, {since} and in the newest window", picture
        if any(found.check in ("predictions", "probabilities") for found in newest.findings):
            picture = then_and_now("Predictions", newest.window.answers, "on the holdout")
            if picture is not None:
                pictures["answers"] = "The predictions, on the holdout and now", picture
    return {f"{name}.png": picture for name, picture in pictures.items()}


def timeline(report: Report, windows: Sequence[Verdict]) -> bytes:
    """The true score of the windows whose truth is known, with its interval."""
    score = report.reference.score
    figure, axes = paper(
        f"True {score.label}", "Each window's, with its 95% interval; orange is violated", 3.6
    )
    expected = report.reference.expected(score)
    if expected is not None:
        axes.axhline(expected.value, color=GREEN, linewidth=2, label="on the holdout", zorder=1)
        reach = 1.96 * expected.deviation
        axes.axhspan(
            expected.value - reach, expected.value + reach, color=GREEN, alpha=0.12, linewidth=0
        )
    known = [(place, v.score, bool(v.true)) for place, v in enumerate(windows) if v.score]
    places = [place for place, _, _ in known]
    axes.plot(places, [scored.value for _, scored, _ in known], color=BLUE, linewidth=1.5)
    for violated, colour, label in ((False, BLUE, "a window"), (True, ORANGE, "violated")):
        shown = [(place, scored) for place, scored, bad in known if bad == violated]
        if shown:
            values = [scored.value for _, scored in shown]
            spread = [
                [max(0.0, scored.value - scored.low) for _, scored in shown],
                [max(0.0, scored.high - scored.value) for _, scored in shown],
            ]
            axes.errorbar(
                [place for place, _ in shown], values, yerr=spread, color=colour, marker="o",
                markersize=6, linestyle="none", elinewidth=1.2, capsize=3, label=label, zorder=3,
            )  # fmt: skip
    _name_windows(axes, windows)
    legend(axes, "best")
    axes.set_ylabel(score.label, color=QUIET)
    return png(figure)


def heat_map(windows: Sequence[Verdict], limit: float) -> bytes:
    """How far each column moved in each window; what is violated is framed."""
    moved: dict[str, list[float]] = {}
    for place, verdict in enumerate(windows):
        for name, counts in verdict.window.columns.items():
            psi = measured(counts)["psi"]
            if psi is not None:
                moved.setdefault(name, [np.nan] * len(windows))[place] = psi
    names = sorted(moved, key=lambda name: -np.nanmax(moved[name]))[:MOST_COLUMNS]
    figure, axes = paper(
        "Columns by window"
        + (f", {len(names)} of {len(moved)}" if len(moved) > len(names) else ""),
        f"Population stability index; {limit:g} is allowed; violated windows are framed",
        height(len(names)) + 0.3,
    )
    table = np.array([moved[name] for name in names]).reshape(len(names), len(windows))
    image = axes.imshow(table, cmap="Blues", vmin=0, vmax=3 * limit or 1, aspect="auto")
    for place, verdict in enumerate(windows):
        for name in {found.column or "" for found in verdict.findings} & set(names):
            corner = place - 0.5, names.index(name) - 0.5
            frame = Rectangle(corner, 1, 1, fill=False, edgecolor=ORANGE, linewidth=2, zorder=4)
            axes.add_patch(frame)
    label_rows(axes, names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    _name_windows(axes, windows)
    axes.set_xlim(-0.5, len(windows) - 0.5)
    bar = figure.colorbar(image, ax=axes, pad=0.02, extend="max")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=8, length=0, colors=QUIET)
    return png(figure)


def then_and_now(name: str, counts: Tally, since: str) -> bytes | None:
    """Shares of values or words in the reference and in a window; None if nothing is counted."""
    match counts:
        case Numbered():
            labels = [*_bins(counts), "missing"]
            then, now = _shares(counts.seen), _shares(counts)
        case Categorised():
            labels = [*counts.seen.names, "all others", "missing"]
            then, now = _shares(counts.seen), _shares(counts)
            labels, then, now = _largest(labels, then, now, np.maximum(then, now))
        case Worded() if counts.rows and counts.seen.rows:
            labels = [*counts.seen.tokens, *counts.new]
            then = np.append(counts.seen.counts, [0] * len(counts.new)) / counts.seen.rows
            now = np.append(counts.counts, list(counts.new.values())) / counts.rows
            labels, then, now = _largest(labels, then, now, np.abs(now - then))
        case _:
            return None
    if not labels:
        return None
    what = "Share of texts with a word" if isinstance(counts, Worded) else "Share of rows"
    figure, axes = paper(plain(name, 50), f"{what}, {since} and now", height(len(labels)))
    places = np.arange(len(labels))
    axes.barh(places - 0.2, then, height=0.36, color=QUIET, label=since, zorder=2)
    axes.barh(places + 0.2, now, height=0.36, color=ORANGE, label="now", zorder=2)
    label_rows(axes, labels)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.axvline(0, color=INK, linewidth=1, zorder=3)
    legend(axes, "best")
    return png(figure)


def _largest(
    labels: list[str], then: Array, now: Array, size: Array
) -> tuple[list[str], Array, Array]:
    """The values that say most, in their order."""
    chosen = np.sort(np.argsort(-size, kind="stable")[:MOST_BARS])
    chosen = chosen[size[chosen] > 0]
    return [labels[place] for place in chosen], then[chosen], now[chosen]


def _bins(counts: Numbered) -> list[str]:
    """What each bin of a number holds."""
    edges = [number(edge) for edge in counts.seen.edges]
    low, high = number(counts.seen.lowest), number(counts.seen.highest)
    if not edges:
        return [f"below {low}", f"{low} to {high}", f"above {high}"]
    between = [f"to {edge}" for edge in edges]
    return [f"below {low}", *between, f"above {edges[-1]}", f"above {high}"]


def _shares(counted: Categorised | Numbered | Categories | Numbers) -> Array:
    """The share of all rows in each cell, and of those without a value."""
    rows = np.append(counted.counts, counted.missing)
    return rows / max(int(rows.sum()), 1)


def _name_windows(axes: Axes, windows: Sequence[Verdict]) -> None:
    """Say below some of the windows when they ended."""
    step = -(-len(windows) // MOST_TICKS)
    chosen = range(len(windows) - 1, -1, -step)
    days = {moment(verdict.window.end).date() for verdict in windows}
    form = "%b %d" if len(days) >= len(windows) else "%b %d\n%H:%M"
    axes.set_xticks(
        list(chosen), [f"{moment(windows[place].window.end):{form}}" for place in chosen]
    )
