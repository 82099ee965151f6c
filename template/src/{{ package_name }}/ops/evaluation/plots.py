"""Pictures of the findings, as PNG bytes: the same records, the same bytes.

Drawn with matplotlib's objects alone, for its pyplot keeps state. Colours are Okabe and Ito's,
which colour-blind readers can tell apart; the ground is white, so that a picture is readable on a
dark page too. Names come from the data: they are shortened, and never read as formulas.
"""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .diagnostics import Record, folds
from .gates import number
from .metrics import Score
from .page import shortened

INK, QUIET, LINE = "#1f2933", "#616e7c", "#e4e7eb"
BLUE, ORANGE, GREEN = "#0072b2", "#d55e00", "#009e73"
COLOURS = (BLUE, ORANGE, GREEN, "#e69f00", "#56b4e9", "#cc79a7", "#7b61b0", "#8a8a8a")

WIDTH = 6.4
"""Inches; at `RESOLUTION` a picture is as wide as a README."""
RESOLUTION = 150

HEAD = 0.6
"""Inches that the title takes."""

MOST_BARS = 15
"""Columns or slices that one picture shows."""

MOST_IN_LEGEND = 3
"""Names that fit beside the lines; the legend of more stands outside."""

MOST_CELLS = 25
"""Classes that a confusion matrix shows."""

Findings = Mapping[str, list[Record]]


def draw(findings: Findings, score: Score, value: float, chosen: str) -> dict[str, bytes]:
    """Draw everything that was found, by file name.

    Args:
        findings: by name, as the functions of `findings` make them.
        score: the primary score.
        value: the model's score on the holdout.
        chosen: the model that was chosen by validation.
    """
    pictures = {}
    if findings.get("roc"):
        pictures["roc"] = roc(findings["roc"])
        pictures["precision_recall"] = precision_recall(findings["precision_recall"])
    if findings.get("confusion"):
        pictures["confusion"] = confusion(findings["confusion"])
        pictures["calibration"] = calibration(findings["calibration"])
    if findings.get("predictions"):
        pictures["predictions"] = predictions(findings["predictions"])
        pictures["residuals"] = residuals(findings["predictions"])
        pictures["errors"] = errors(findings["errors"])
    pictures["importance"] = importance(findings["importance"], score)
    if any(record["score"] is not None for record in findings["slices"]):
        pictures["slices"] = slices(findings["slices"], score, value)
    if findings.get("learning_curve"):
        pictures["learning_curve"] = learning_curve(findings["learning_curve"], score)
    pictures["models"] = models(findings["validation"], score, chosen)
    return {f"{name}.png": picture for name, picture in pictures.items()}


def roc(records: Sequence[Record]) -> bytes:
    """The ROC curve, one line per class."""
    figure, axes = paper("ROC curve", "How many are found, at the price of which false alarms")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
    for colour, (name, points) in zip(COLOURS, _by(records, "class"), strict=False):
        across = [point["false positive rate"] for point in points]
        up = [point["true positive rate"] for point in points]
        label = f"{plain(name, 20)} ({number(points[0]['area'])})"
        axes.plot(across, up, color=colour, linewidth=2, label=label, clip_on=False, zorder=3)
    _unit_square(axes, "false positive rate", "true positive rate")
    legend(axes, "lower right", "area under the curve")
    return png(figure)


def precision_recall(records: Sequence[Record]) -> bytes:
    """Precision against recall, one line per class."""
    figure, axes = paper(
        "Precision and recall", "How many of those named are right, by how many are found"
    )
    for colour, (name, points) in zip(COLOURS, _by(records, "class"), strict=False):
        recall = [point["recall"] for point in points]
        precision = [point["precision"] for point in points]
        label = f"{plain(name, 20)} ({number(points[0]['area'])})"
        axes.step(
            [0, *recall],
            [precision[0], *precision],
            where="pre",
            color=colour,
            linewidth=2,
            label=label,
            clip_on=False,
            zorder=3,
        )
        share = precision[-1]
        axes.axhline(share, color=colour, linewidth=1, linestyle=(0, (4, 4)), alpha=0.6)
    _unit_square(axes, "recall", "precision")
    legend(axes, "lower left", "average precision\n(dashed: by chance)")
    return png(figure)


def confusion(records: Sequence[Record]) -> bytes:
    """How often each class was taken for each class; shades are shares of a row."""
    names = list(dict.fromkeys(record["truth"] for record in records))
    table = np.array([record["rows"] for record in records], dtype=np.float64)
    table = table.reshape(len(names), len(names))
    shown = np.sort(np.argsort(-table.sum(axis=1), kind="stable")[:MOST_CELLS])
    table, names = table[np.ix_(shown, shown)], [names[position] for position in shown]
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    height = 2.2 + min(4.2, max(1.9, 0.42 * len(names)))
    figure, axes = paper(
        "Confusion matrix", "Rows of each class, by the class they were taken for", height
    )
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1.15, aspect="auto")
    if len(names) <= 12:
        for row, column in np.ndindex(table.shape):
            ink = "white" if shares[row, column] > 0.6 else INK
            count = f"{table[row, column]:,.0f}"
            text = f"{count}\n{shares[row, column]:.0%}" if len(names) <= 5 else count
            size = 12 if len(names) <= 5 else 9
            axes.text(column, row, text, ha="center", va="center", color=ink, fontsize=size)
    ticks, labels = range(len(names)), [plain(name, 18) for name in names]
    slant = 0 if sum(map(len, labels)) < 60 else 40
    side = "center" if not slant else "right"
    axes.set_xticks(
        ticks, labels, rotation=slant, ha=side, rotation_mode="anchor", parse_math=False
    )
    if not slant:
        axes.tick_params(axis="x", pad=8)
    axes.set_yticks(ticks, labels, parse_math=False)
    axes.set_xlabel("answer", color=QUIET)
    axes.set_ylabel("truth", color=QUIET)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_xticks(np.arange(-0.5, len(names)), minor=True)
    axes.set_yticks(np.arange(-0.5, len(names)), minor=True)
    axes.grid(which="minor", color="white", linewidth=2)
    axes.tick_params(which="both", length=0)
    return png(figure)


def calibration(records: Sequence[Record]) -> bytes:
    """Probabilities stated against shares observed."""
    figure, axes = paper("Calibration", "Does it happen as often as the model says it will?")
    axes.plot([0, 1], [0, 1], color=QUIET, linewidth=1, linestyle=(0, (4, 4)), label="ideal")
    stated = [record["stated"] for record in records]
    observed = [record["observed"] for record in records]
    reach = [
        [max(0, record["observed"] - record["low"]) for record in records],
        [max(0, record["high"] - record["observed"]) for record in records],
    ]
    axes.errorbar(
        stated,
        observed,
        yerr=reach,
        color=BLUE,
        marker="o",
        markersize=6,
        linewidth=2,
        elinewidth=1.2,
        capsize=3,
        clip_on=False,
        zorder=3,
        label=f"about {records[0]['rows']:,} rows each, with 95% interval",
    )
    _unit_square(axes, "probability stated", "share observed")
    legend(axes, "upper left")
    return png(figure)


def predictions(records: Sequence[Record]) -> bytes:
    """Answers of a regression against the truth."""
    figure, axes = paper("Predicted and true", "On the dashed line a prediction is exact")
    true = [record["truth"] for record in records]
    answer = [record["answer"] for record in records]
    low, high = min(*true, *answer), max(*true, *answer)
    axes.plot([low, high], [low, high], color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
    _dots(axes, true, answer)
    axes.set_xlabel("true value", color=QUIET)
    axes.set_ylabel("predicted value", color=QUIET)
    return png(figure)


def residuals(records: Sequence[Record]) -> bytes:
    """How far a regression misses, by what it answered."""
    figure, axes = paper("Residuals", "A pattern here is something that the model has not learnt")
    answer = np.array([record["answer"] for record in records])
    missed = answer - np.array([record["truth"] for record in records])
    axes.axhline(0, color=QUIET, linewidth=1, linestyle=(0, (4, 4)))
    _dots(axes, answer, missed)
    order = np.argsort(answer, kind="stable")
    parts = np.array_split(order, int(np.clip(len(order) // 15, 1, 8)))
    axes.plot(
        [answer[part].mean() for part in parts],
        [missed[part].mean() for part in parts],
        color=ORANGE,
        linewidth=2,
        marker="o",
        markersize=4,
        label="mean",
        zorder=4,
    )
    axes.set_xlabel("predicted value", color=QUIET)
    axes.set_ylabel("error (predicted minus true)", color=QUIET)
    legend(axes, "best")
    return png(figure)


def errors(records: Sequence[Record]) -> bytes:
    """The distribution of a regression's errors."""
    figure, axes = paper("Errors", "Predicted minus true; the rarest 0.5% are in the outer bars")
    left = np.array([record["from"] for record in records])
    width = np.array([record["to"] for record in records]) - left
    rows = [record["rows"] for record in records]
    axes.bar(left, rows, width=width * 0.92, align="edge", color=BLUE, zorder=2)
    axes.axvline(0, color=INK, linewidth=1, linestyle=(0, (4, 4)), zorder=3)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(axis="x", visible=False)
    axes.set_xlabel("error (predicted minus true)", color=QUIET)
    axes.set_ylabel("rows", color=QUIET)
    return png(figure)


def importance(records: Sequence[Record], score: Score) -> bytes:
    """What each column is worth, the most important at the top."""
    shown = records[:MOST_BARS]
    more = f", {len(shown)} of {len(records)}" if len(records) > len(shown) else ""
    figure, axes = paper(
        f"Importance of columns{more}",
        f"How much {score.label} is lost when a column is shuffled",
        height(len(shown)),
    )
    worth = [record["importance"] for record in shown]
    axes.barh(
        range(len(shown)),
        worth,
        xerr=[record["deviation"] for record in shown],
        color=[BLUE if value > 0 else QUIET for value in worth],
        height=0.66,
        error_kw={"elinewidth": 1, "ecolor": INK, "capsize": 2},
        zorder=2,
    )
    axes.axvline(0, color=INK, linewidth=1, zorder=3)
    label_rows(axes, [record["column"] for record in shown])
    axes.set_xlabel(f"{score.label} lost{_as_share(score)}", color=QUIET)
    return png(figure)


def slices(records: Sequence[Record], score: Score, value: float) -> bytes:
    """The score of the weakest slices beside the whole."""
    known = [record for record in records if record["score"] is not None]
    shown = known[:MOST_BARS]
    figure, axes = paper(
        "Scores by slice" + (f", the weakest {len(shown)}" if len(known) > len(shown) else ""),
        f"{score.label} of rows that have something in common; the line is that of all rows",
        height(len(shown)),
    )
    values = [record["score"] for record in shown]
    axes.axvline(value, color=GREEN, linewidth=2, zorder=1)
    axes.hlines(range(len(shown)), values, value, color=LINE, linewidth=3, zorder=1)
    axes.scatter(values, range(len(shown)), color=BLUE, s=44, zorder=3, clip_on=False)
    label_rows(axes, [f"{record['slice']} ({record['rows']:,})" for record in shown], 44)
    axes.set_xlabel(f"{score.label} (rows in brackets)", color=QUIET)
    return png(figure)


def learning_curve(records: Sequence[Record], score: Score) -> bytes:
    """How the score grows with the rows learnt from."""
    figure, axes = paper("Learning curve", "Where the line still climbs, more rows would help", 3.4)
    points = [record for record in records if record["score"] is not None]
    rows = [record["rows"] for record in points]
    values = [record["score"] for record in points]
    axes.plot(rows, values, color=BLUE, linewidth=2, marker="o", markersize=6, zorder=3)
    axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter("{x:,.0f}")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("rows learnt from", color=QUIET)
    axes.set_ylabel(f"{score.label} in validation", color=QUIET)
    return png(figure)


def models(records: Sequence[Record], score: Score, chosen: str) -> bytes:
    """The models that were compared, fold by fold."""
    named = list(folds(records).items())
    figure, axes = paper(
        "Models compared",
        f"{score.label} in cross-validation: each fold, and the mean",
        1.6 + 0.55 * len(named),
    )
    for row, (name, values) in enumerate(named):
        colour = BLUE if name == chosen else QUIET
        axes.scatter(values, [row] * len(values), color=colour, s=36, alpha=0.45, zorder=2)
        if values:
            mean = float(np.mean(values))
            axes.scatter([mean], [row], color=colour, marker="|", s=420, linewidth=3, zorder=3)
            axes.annotate(
                number(mean),
                (mean, row),
                xytext=(0, 13),
                textcoords="offset points",
                ha="center",
                color=INK,
                fontsize=9,
            )
    label_rows(axes, [f"{name} (chosen)" if name == chosen else name for name, _ in named])
    axes.set_ylim(len(named) - 0.5, -0.75)
    axes.margins(x=0.08)
    axes.set_xlabel(score.label, color=QUIET)
    return png(figure)


def paper(title: str, subtitle: str, height: float = 4.4) -> tuple[Figure, Axes]:
    """An empty picture, `height` inches high, with its two lines of title."""
    figure = Figure((WIDTH, height), dpi=RESOLUTION, facecolor="white")
    FigureCanvasAgg(figure)
    below = 1 - HEAD / height
    figure.set_layout_engine("constrained", rect=(0, 0, 1, below), w_pad=0.12, h_pad=0.08)
    left = 0.12 / WIDTH
    figure.text(left, 1 - 0.3 / height, title, color=INK, fontsize=13, fontweight="bold")
    figure.text(left, 1 - 0.52 / height, subtitle, color=QUIET, fontsize=9.5)
    axes = figure.add_subplot()
    axes.set_axisbelow(True)
    axes.grid(color=LINE, linewidth=0.8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(LINE)
    axes.tick_params(colors=INK, labelsize=9, length=0)
    return figure, axes


def png(figure: Figure) -> bytes:
    """The picture as a file."""
    buffer = BytesIO()
    with warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; the reports spell it out.
        warnings.filterwarnings("ignore", message="Glyph", category=UserWarning)
        figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()


def height(bars: int) -> float:
    """Inches that so many horizontal bars take."""
    return 1.6 + 0.27 * max(bars, 3)


def _by(records: Sequence[Record], key: str) -> Iterator[tuple[str, list[Record]]]:
    for name in dict.fromkeys(record[key] for record in records):
        yield name, [record for record in records if record[key] == name]


def plain(text: str, longest: int = 30) -> str:
    """A name from the data, short; a legend would hide one that begins with `_`."""
    line = shortened(text, longest)
    return f" {line}" if line.startswith("_") else line


def _unit_square(axes: Axes, across: str, up: str) -> None:
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.005)
    axes.set_xlabel(across, color=QUIET)
    axes.set_ylabel(up, color=QUIET)


def legend(axes: Axes, place: str, title: str | None = None) -> None:
    """Say what the lines are, in the picture or, if they are many, beside it."""
    looks: dict[str, Any] = {"loc": place}
    if len(axes.get_legend_handles_labels()[1]) > MOST_IN_LEGEND:
        looks = {"loc": "upper left", "bbox_to_anchor": (1.02, 1.02), "frameon": False}
    box = axes.legend(
        **looks,
        fontsize=9,
        title=title,
        title_fontsize=9,
        labelcolor=INK,
        edgecolor=LINE,
        alignment="left",
    )
    box.get_title().set_color(QUIET)
    for text in box.get_texts():
        text.set_parse_math(False)


def _dots(axes: Axes, across: Any, up: Any) -> None:
    many = len(across) > 300
    axes.scatter(
        across,
        up,
        color=BLUE,
        s=12 if many else 24,
        alpha=0.35 if many else 0.6,
        linewidth=0,
        zorder=2,
    )


def label_rows(axes: Axes, labels: Sequence[str], longest: int = 30) -> None:
    """Name the rows of a horizontal picture, the first at the top."""
    axes.set_yticks(
        range(len(labels)), [plain(label, longest) for label in labels], parse_math=False
    )
    axes.set_ylim(len(labels) - 0.4, -0.6)
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)


def _as_share(score: Score) -> str:
    return " (share)" if score.loss else ""
