"""Pictures of the windows, in the style of the training's."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ..evaluation import plots
from ..evaluation.distributions import NOW, THEN, Categories, Distribution, Numbers, Texts
from ..evaluation.metrics import Score
from ..evaluation.plots import BLUE, GREEN, ORANGE, QUIET
from ..prediction_log import moment
from ..wording import number
from .checks import Verdict
from .reference import HELD_OUT

if TYPE_CHECKING:
    from .report import Report

MOST_COLUMNS = 25  # columns that the map shows: those that moved most
MOST_PICTURES = 6  # columns of the newest window that are drawn then and now
MOST_BARS = 12  # values of a category, or words, that are drawn
MOST_TICKS = 8  # windows that are named below a picture


@rc_context(fname=plots.STYLE)
def draw(report: "Report") -> dict[str, bytes]:
    """Draw what was found: PNG files, by what they show."""
    figures: dict[str, Figure] = {}
    windows = [v for v in report.verdicts if v.window.whole and v.window.asked]
    if score := next((verdict.score.score for verdict in windows if verdict.score), None):
        figures[f"The true {score.label} of each window"] = timeline(report, windows, score)
    if windows := [verdict for verdict in windows if verdict.window.shown]:
        figures["How far each column moved in each window"] = heat_map(windows, report.limits.psi)
    if report.judged:
        newest, since = report.judged[-1], report.reference.since
        names = dict.fromkeys(found.column for found in newest.findings if found.column)
        for name in [*names][:MOST_PICTURES]:
            figure = then_and_now(name, newest.window.columns[name], since)
            figures[f"{name}, {since} and in the newest window"] = figure
        if any(found.check in ("predictions", "probabilities") for found in newest.findings):
            then = since if report.reference.told else HELD_OUT
            answers, *_ = newest.window.answers.values()
            figures[f"The predictions, {then} and now"] = then_and_now("Predictions", answers, then)
    return {caption: plots.png(figure) for caption, figure in figures.items()}


def timeline(report: "Report", windows: Sequence[Verdict], score: Score) -> Figure:
    """The true score of the windows whose truth is known, with its interval."""
    subtitle = "Each window's, with its 95% interval; orange is violated"
    figure, axes = plots.paper(f"True {score.label}", subtitle, 3.6)
    if expected := report.reference.expected(score):
        reach = 1.96 * expected.deviation
        axes.axhline(expected.value, color=GREEN, label=HELD_OUT)
        axes.axhspan(expected.value - reach, expected.value + reach, color=GREEN, alpha=0.12)
    known = [(place, v.score, v.true) for place, v in enumerate(windows) if v.score]
    axes.plot([place for place, _, _ in known], [scored.value for _, scored, _ in known], BLUE)
    for place, scored, violated in known:
        reaches = [[scored.value - scored.low], [scored.high - scored.value]]
        colour = ORANGE if violated else BLUE
        axes.errorbar(place, scored.value, np.maximum(reaches, 0), color=colour, fmt="o", capsize=3)
    _name_windows(axes, windows)
    plots.legend(axes, "best")
    axes.set_ylabel(score.label)
    return figure


def heat_map(windows: Sequence[Verdict], limit: float) -> Figure:
    """How far each column moved in each window; what is violated is framed."""
    moved = {
        name: [verdict.columns[name]["psi"] for verdict in windows]
        for name, measured in windows[0].columns.items()
        if measured["psi"] is not None
    }
    table = np.array([*moved.values()], dtype=np.float64).reshape(len(moved), len(windows))
    chosen = np.argsort(-table.max(axis=1), kind="stable")[:MOST_COLUMNS]
    names = [[*moved][place] for place in chosen]
    subtitle = f"Population stability index; {limit:g} is allowed; violated windows are framed"
    figure, axes = plots.listing("Columns by window", subtitle, names, len(moved))
    image = axes.imshow(table[chosen], cmap="Blues", vmin=0, vmax=3 * limit or 1, aspect="auto")
    for place, verdict in enumerate(windows):
        for name in {found.column or "" for found in verdict.findings} & set(names):
            corner = place - 0.5, names.index(name) - 0.5
            axes.add_patch(Rectangle(corner, 1, 1, fill=False, edgecolor=ORANGE, linewidth=2))
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=False)
    _name_windows(axes, windows)
    figure.colorbar(image, ax=axes, extend="max")
    return figure


def then_and_now(name: str, counted: Distribution, since: str) -> Figure:
    """Shares of values or words in the reference and in a window."""
    labels, table, rows = ["missing"], counted.missing[:, None], counted.rows
    match counted:
        case Numbers():
            labels, table = [*_bins(counted), *labels], np.hstack([counted.table, table])
        case Categories():
            labels = [*counted.names, "all others", *labels]
            table = np.hstack([counted.table, table])
        case Texts():
            new = [[0] * len(counted.new), list(counted.new.values())]
            labels, rows = [*counted.words, *counted.new], counted.texts
            table = np.hstack([counted.table, new])
    shares = table / np.maximum(rows, 1)[:, None]
    chosen = np.arange(len(labels))
    if not isinstance(counted, Numbers):
        size = np.abs(shares[NOW] - shares[THEN])
        chosen = np.sort(np.argsort(-size, kind="stable")[:MOST_BARS])
    what = "Share of texts with a word" if isinstance(counted, Texts) else "Share of rows"
    told, shown = f"{what}, {since} and now", [labels[place] for place in chosen]
    figure, axes = plots.listing(plots.plain(name, 50), told, shown, len(shown))
    places = np.arange(len(chosen))
    axes.barh(places - 0.2, shares[THEN, chosen], height=0.36, color=QUIET, label=since)
    axes.barh(places + 0.2, shares[NOW, chosen], height=0.36, color=ORANGE, label="now")
    axes.xaxis.set_major_formatter("{x:.0%}")
    plots.legend(axes, "best")
    return figure


def _bins(counts: Numbers) -> list[str]:
    """What each bin of a number holds."""
    edges = [number(edge) for edge in counts.edges]
    low, high = number(counts.lowest), number(counts.highest)
    last = f"above {edges[-1]}" if edges else f"{low} to {high}"
    return [f"below {low}", *(f"to {edge}" for edge in edges), last, f"above {high}"]


def _name_windows(axes: Axes, windows: Sequence[Verdict]) -> None:
    """Say below some of the windows when they ended."""
    step = -(-len(windows) // MOST_TICKS)
    ends = {place: moment(windows[place].window.end) for place in range(len(windows))[::-step]}
    axes.set_xticks(list(ends), [f"{end:%b %d\n%H:%M}" for end in ends.values()])
