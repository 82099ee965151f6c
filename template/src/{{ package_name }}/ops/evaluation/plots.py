"""Pictures of the model and of the diagnostics, as PNG bytes: the same for the same answers.

Drawn by scikit-learn and matplotlib, under a style of their own, so that nobody's settings change
them. Colours are Okabe and Ito's; on white a picture is readable on a dark page too.
"""

import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import MaxNLocator, StrMethodFormatter
from sklearn.metrics import PrecisionRecallDisplay, PredictionErrorDisplay, RocCurveDisplay

from ..wording import shortened
from . import metrics
from .diagnostics import Record
from .metrics import Answers, Array, Score, Weights

INK, QUIET, LINE = "#1f2933", "#616e7c", "#e4e7eb"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"

STYLE = Path(__file__).with_name("plots.mplstyle")
"""How pictures look: whoever draws them does so under `rc_context(fname=STYLE)`."""

DASHED: dict[str, Any] = {"color": QUIET, "linewidth": 1, "linestyle": (0, (4, 4))}
"""What the model is held against."""

WIDTH = 6.4  # inches: at this resolution as wide as a README
HEAD = 0.6  # inches that the title takes
MOST_BARS = 15  # columns or slices that one picture shows
MOST_IN_LEGEND = 3  # names that fit beside the lines; the legend of more stands outside
MOST_CURVES = 8  # classes that have a curve of their own, the most frequent first
MOST_CELLS = 25  # classes that a confusion matrix shows
MOST_COUNTS = 10  # classes beside whose shades the numbers fit


@rc_context(fname=STYLE)
def draw(
    truth: Array,
    answers: Answers,
    classes: Sequence[str],
    found: Mapping[str, Sequence[Record]],
    score: Score,
    value: float,
    weights: Weights,
) -> dict[str, bytes]:
    """Draw the answers to the rows held out, and what was `found` of them, by file name.

    Only a classification has `classes`; `value` is the model's own on the primary score, and
    `weights` are of the rows.
    """
    said, figures = metrics.told(answers).scored, {}
    if classes:
        curves = partial(_curves, truth, said, classes, weights)
        figures = {
            "roc": curves("ROC curve", RocCurveDisplay, "lower right"),
            "precision_recall": curves(
                "Precision and recall", PrecisionRecallDisplay, "lower left"
            ),
            "confusion": confusion(found["confusion"]),
            "calibration": calibration(found["calibration"]),
        }
    elif said.ndim == 1:
        figures = {
            "predictions": _errors("Predicted and true", "actual_vs_predicted", truth, said),
            "residuals": _errors("Residuals", "residual_vs_predicted", truth, said),
        }
    figures["importance"] = importance(found["importance"], score)
    if any(record["score"] is not None for record in found["slices"]):
        figures["slices"] = slices(found["slices"], score, value)
    if found["learning_curve"]:
        figures["learning_curve"] = learning_curve(found["learning_curve"], score)
    return {f"{name}.png": png(figure) for name, figure in figures.items()}


def _curves(
    truth: Array,
    answers: Array,
    classes: Sequence[str],
    weights: Weights,
    title: str,
    display: Any,
    place: str,
) -> Figure:
    """A curve for each of the most frequent classes against the rest."""
    figure, axes = paper(title, "Of each class; dashed: by chance")
    counts = np.bincount(truth, minlength=len(classes))
    known = [c for c in metrics.positives(len(classes)) if 0 < counts[c] < len(truth)]
    for position in sorted(known, key=lambda c: -counts[c])[:MOST_CURVES]:
        display.from_predictions(
            truth == position,
            answers[:, position],
            sample_weight=weights,
            drop_intermediate=True,
            name=plain(classes[position], 20),
            ax=axes,
            plot_chance_level=True,
            chance_level_kw=DASHED | {"label": "_by chance"},
        )
    axes.set(
        xlabel=axes.get_xlabel().partition(" (")[0], ylabel=axes.get_ylabel().partition(" (")[0]
    )
    legend(axes, place)
    return figure


def confusion(records: Sequence[Record]) -> Figure:
    """How often each class was taken for each class; shades are shares of a row."""
    names = list(dict.fromkeys(_all(records, "truth")))
    table = np.array(_all(records, "rows"), dtype=np.float64).reshape(len(names), len(names))
    shown = np.sort(np.argsort(-table.sum(axis=1), kind="stable")[:MOST_CELLS])
    table, names = table[np.ix_(shown, shown)], [plain(names[place], 18) for place in shown]
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    height = 2.2 + min(4.2, max(1.9, 0.42 * len(names)))
    figure, axes = paper(
        "Confusion matrix", "Rows of each class, by the class they were taken for", height
    )
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1.15, edgecolor="white", linewidth=2)
    if len(names) <= MOST_COUNTS:
        for (row, column), share in np.ndenumerate(shares):
            said = f"{table[row, column]:,.0f}\n{share:.0%}"
            colour = "white" if share > 0.6 else INK
            axes.text(column + 0.5, row + 0.5, said, color=colour, ha="center", va="center")
    middles = np.arange(len(names)) + 0.5
    crowded: dict[str, Any] = {"rotation": 40, "ha": "right", "rotation_mode": "anchor"}
    axes.set_xticks(middles, names, **crowded if sum(map(len, names)) >= 60 else {})
    axes.set_yticks(middles, names)
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="answer", ylabel="truth")
    return figure


def calibration(records: Sequence[Record]) -> Figure:
    """Probabilities stated against shares observed."""
    figure, axes = paper("Calibration", "Does it happen as often as the model says it will?")
    axes.plot([0, 1], [0, 1], **DASHED, label="ideal")
    stated, observed, low, high = (
        np.array(_all(records, key)) for key in ("stated", "observed", "low", "high")
    )
    reach = np.maximum((observed - low, high - observed), 0)
    label = f"about {records[0]['rows']:,} rows each, with 95% interval"
    axes.errorbar(stated, observed, reach, color=BLUE, marker="o", label=label, clip_on=False)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability stated", ylabel="share observed")
    legend(axes, "upper left")
    return figure


def _errors(title: str, kind: str, truth: Array, answers: Array) -> Figure:
    """Some answers of a regression, against the truth or what they miss it by."""
    figure, axes = paper(title, "On the dashed line a prediction is exact")
    PredictionErrorDisplay.from_predictions(
        truth,
        answers,
        kind=kind,
        random_state=0,
        ax=axes,
        scatter_kwargs={"color": BLUE, "s": 16, "alpha": 0.4, "linewidth": 0},
        line_kwargs=DASHED,
    )
    return figure


def importance(records: Sequence[Record], score: Score) -> Figure:
    """What each column is worth, the most important at the top."""
    shown, told = records[:MOST_BARS], f"How much {score.label} is lost when a column is shuffled"
    names = _all(shown, "column")
    figure, axes = listing("Importance of columns", told, names, len(records))
    worth, deviation = _all(shown, "importance"), _all(shown, "deviation")
    colours = [BLUE if value > 0 else QUIET for value in worth]
    axes.barh(range(len(shown)), worth, xerr=deviation, color=colours, ecolor=INK, zorder=2)
    axes.axvline(0, color=INK, linewidth=1, zorder=3)
    axes.set_xlabel(f"{score.label} lost{' (share)' if score.loss else ''}")
    return figure


def slices(records: Sequence[Record], score: Score, value: float) -> Figure:
    """The score of the weakest slices beside the whole."""
    known = [record for record in records if record["score"] is not None]
    shown, told = known[:MOST_BARS], f"{score.label} of the weakest; the line is that of all rows"
    names = [f"{record['slice']} ({record['rows']:,})" for record in shown]
    figure, axes = listing("Scores by slice", told, names, len(known), longest=44)
    places, values = range(len(shown)), _all(shown, "score")
    axes.axvline(value, color=GREEN, zorder=1)
    axes.hlines(places, values, value, color=LINE, linewidth=3, zorder=1)
    axes.scatter(values, places, color=BLUE, s=44, zorder=3, clip_on=False)
    axes.set_xlabel(f"{score.label} (rows in brackets)")
    return figure


def learning_curve(records: Sequence[Record], score: Score) -> Figure:
    """How the score grows with the rows learnt from."""
    figure, axes = paper("Learning curve", "Where the line still climbs, more rows would help", 3.4)
    points = [record for record in records if record["score"] is not None]
    axes.plot(_all(points, "rows"), _all(points, "score"), color=BLUE, marker="o", zorder=3)
    axes.set(xlabel="rows learnt from", ylabel=f"{score.label} in validation")
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return figure


def paper(title: str, subtitle: str, height: float = 4.4) -> tuple[Figure, Axes]:
    """An empty picture, `height` inches high, with its two lines of title."""
    below = (0, 0, 1, 1 - HEAD / height)
    layout = ConstrainedLayoutEngine(rect=below, w_pad=0.12, h_pad=0.08)
    figure = Figure((WIDTH, height), layout=layout)
    left = 0.12 / WIDTH
    figure.text(left, 1 - 0.3 / height, title, color=INK, fontsize=13, fontweight="bold")
    figure.text(left, 1 - 0.52 / height, subtitle, color=QUIET, fontsize=9.5)
    return figure, figure.add_subplot()


def png(figure: Figure) -> bytes:
    """The picture as a file."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the reports spell it out.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def plain(text: str, longest: int = 30) -> str:
    """A name from the data, short; a legend would hide one that begins with `_`."""
    line = shortened(text, longest)
    return f" {line}" if line.startswith("_") else line


def legend(axes: Axes, place: str, title: str | None = None) -> None:
    """Say what the lines are, in the picture or, if they are many, beside it."""
    looks: dict[str, Any] = {"loc": place}
    if len(axes.get_legend_handles_labels()[1]) > MOST_IN_LEGEND:
        looks = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02), "frameon": False}
    box = axes.legend(**looks, title=title, alignment="left")
    box.get_title().set_color(QUIET)


def listing(
    title: str, subtitle: str, labels: Sequence[str], total: int, longest: int = 30
) -> tuple[Figure, Axes]:
    """An empty picture of rows with labels, the first at the top, which are some of a total."""
    title += f", {len(labels)} of {total}" if total > len(labels) else ""
    figure, axes = paper(title, subtitle, 1.6 + 0.27 * max(len(labels), 3))
    axes.set_yticks(range(len(labels)), [plain(label, longest) for label in labels])
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    return figure, axes


def _all(records: Sequence[Record], key: str) -> list[Any]:
    return [record[key] for record in records]
