"""Whether the columns of a window, taken together, are like those that the model learnt from.

A small histogram boosting, a domain classifier, tells rows of the window from training rows. Where
both are alike, its AUC is 0.5 on rows that it was not fitted on, and one in a hundred of the window
looks as the strangest hundredth of training rows. It sees what no check of a single column can: a
column joined to the wrong rows, or another unit in a tenth of them. Bundles hold no rows, but
`data/` may.
"""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray
from scipy.special import ndtr

from .. import prediction_log as log
from ..files import sha256
from ..settings import LEAST_ROWS, Monitoring
from ..wording import listed
from .checks import FAMILIES, MOST_NAMED, Finding, Verdict
from .reference import Reference
from .windows import Window

MOST_LEARNT, MOST_ROWS, RATIO = 50_000, 2_000, 4
"""Training rows and rows of a window that are looked at, and the most of those to one of these."""

BEYOND = 1.5  # by how much chance and windows of history must be exceeded
PIECES = 16  # windows of history
MOST_ITEMS = 64  # of a longer array, as many that lie evenly in it
FOLLOWS = 0.1  # the share of a column's variance between them that tells the time

SIGNS = (
    "An AUC of {:.2f} tells the rows from training rows ({:.2f} may)",
    "{:.1%} of the rows look as 1% of training rows do ({:.1%} may)",
)
"""What shows that rows can be told from others, with what it is and what it may be."""

ALIKE = np.array([0.5, 0.01])  # what each sign is where they cannot
FLOOR = np.array([0.55, 0.04])  # the least that it may be
VARIANCE = np.array([1 / 12, 0.0099])  # of one row, by chance

Array = NDArray[Any]
Pair = tuple[pl.DataFrame, pl.DataFrame]
ID, GROUP, ITEM = "\0id", "\0group", "\0"
"""Names of columns that no column has; the last one stands before the place of an array's item."""

NOT_DONE = "Columns were not compared together: data/ lacks the champion's rows, or there are few."


def compare(served: Path, reference: Reference, verdicts: list[Verdict], limits: Monitoring) -> str:
    """Add what is violated to the verdicts that decide, from the newest back; sum that one up."""
    if not verdicts or not len(learnt := _learnt(reference, limits)):
        return NOT_DONE
    summary, reached = "", ALIKE
    for verdict in reversed(verdicts[-limits.last :]):
        both, *history = _pairs(reference, learnt, _came(served, reference, limits, verdict.window))
        if both[0].width < 2 or min(len(now) for _, now in (both, *history)) < LEAST_ROWS:
            break
        values = _tell(*both)
        if not summary and (values >= FLOOR).any():
            reached = np.max([reached, *(_tell(*pair) for pair in history)], axis=0)
        allowed = np.maximum(FLOOR, ALIKE + BEYOND * (reached - ALIKE))
        sign = int(((values - ALIKE) / (allowed - ALIKE)).argmax())
        value, limit = float(values[sign]), float(allowed[sign])
        told = SIGNS[sign].format(value, limit)
        summary = summary or f"Columns taken together: {told}."
        rows = 1 / min(len(both[0]), RATIO * len(both[1])) + 1 / len(both[1])
        p = float(ndtr((reached[sign] - value) / (BEYOND * np.sqrt(VARIANCE[sign] * rows))))
        if value < limit or p > limits.alpha / FAMILIES / len(SIGNS):
            break
        columns = _columns(*both)
        told += f", most of all by {listed(columns)}."
        what = "multivariate", columns[0], "domain classifier"
        verdict.came.append(Finding(*what, value, limit, p, told, len(history)))
    return summary or NOT_DONE


def _tell(others: pl.DataFrame, now: pl.DataFrame) -> NDArray[np.float64]:
    """How well rows are told from others, by each sign, where the classifier had not seen them."""
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    model, rows, labels = _classifier(others, now)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    said = cross_val_predict(model, rows, labels, cv=folds, method="predict_proba")[:, 1]
    strange = said[labels == 1] > np.quantile(said[labels == 0], 1 - ALIKE[1])
    return np.array([roc_auc_score(labels, said), strange.mean()])


def _columns(others: pl.DataFrame, now: pl.DataFrame) -> list[str]:
    """By which columns rows are told from others, the most telling first."""
    from sklearn.inspection import permutation_importance

    model, rows, labels = _classifier(others, now)
    more = {"n_repeats": 1, "random_state": 0, "scoring": "roc_auc"}
    worth = permutation_importance(model.fit(rows, labels), rows, labels, **more)
    order = np.argsort(-worth.importances_mean)
    whole = dict.fromkeys(now.columns[place].partition(ITEM)[0] for place in order)
    return [*whole][:MOST_NAMED]


def _classifier(others: pl.DataFrame, now: pl.DataFrame) -> tuple[Any, Array, Array]:
    """What tells rows from others, with the rows of both and which they are: 1 are these."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    then = others.sample(min(len(others), RATIO * len(now)), seed=0)
    rows, labels = pl.concat([then, now]).to_numpy(), np.repeat([0, 1], [len(then), len(now)])
    model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=12, random_state=0)
    return model, rows, labels


def _pairs(reference: Reference, learnt: pl.DataFrame, came: pl.DataFrame) -> list[Pair]:
    """Training rows and the window's, then each window of history beside the rest, all by ranks."""
    if reference.contract.with_role("group"):
        learnt, came = (frame.unique(GROUP, maintain_order=True) for frame in (learnt, came))
    both = pl.concat(frame.drop(GROUP, strict=False) for frame in (learnt, came))
    ranks = both.select(pl.all().rank("dense").fill_null(0).cast(pl.Float32))
    past, now = ranks[: len(learnt)], ranks[len(learnt) :]
    if reference.contract.with_role("event_time") is None:
        return [(past, now)]
    size = min(len(now), len(past) // PIECES)
    starts = np.linspace(0, len(past) - size, PIECES, dtype=int).tolist()
    history = [(pl.concat([past[:at], past[at + size :]]), past[at : at + size]) for at in starts]
    between = (pl.concat(piece.mean() for _, piece in history).var() / past.var()).fill_null(0)
    kept = [name for name in past.columns if between[name].item() < FOLLOWS]
    return [(others.select(kept), rows.select(kept)) for others, rows in [(past, now), *history]]


def _compared(reference: Reference, limits: Monitoring) -> list[pl.Expr]:
    """What is compared of a row, and its group."""
    kinds = {"number": pl.Float32, "boolean": pl.String, "category": pl.String}
    group, made = reference.contract.with_role("group"), []
    for column in reference.watched:
        its = pl.col(column.name)
        if column.name in limits.accepted:
            continue
        if column.item:
            items = its.cast(pl.List(kinds[column.item.kind])).list
            for place in range(0, column.width, -(-column.width // MOST_ITEMS)):
                name = f"{column.name}{ITEM}{place}"
                made.append(items.get(place, null_on_oob=True).alias(name))
        elif column.kind in kinds:
            made.append(its.cast(kinds[column.kind]).alias(column.name))
    return [*made, *([pl.col(group.name).alias(GROUP)] if group else [])]


def _learnt(reference: Reference, limits: Monitoring) -> pl.DataFrame:
    """A sample of what the champion learnt from and was judged by, in time; empty without it."""
    told, files = reference.data, reference.files
    if not files or [sha256(it) for it in files if it.exists()] != [*told["sha256"].values()]:
        return pl.DataFrame()
    rows = pl.concat(map(pl.scan_parquet, files), how="diagonal")
    sample = rows.gather_every(1 + sum(told["rows"].values()) // MOST_LEARNT)
    if time := reference.contract.with_role("event_time"):
        sample = sample.sort(time.name)
    return sample.select(_compared(reference, limits)).collect()


def _came(served: Path, reference: Reference, limits: Monitoring, window: Window) -> pl.DataFrame:
    """A sample of a window's rows, by their ids, which are random."""
    schema = log.predictions(reference.contract, reference.contract.inputs)
    row = pl.col("id").alias(ID), pl.col("inputs").struct.unnest()
    columns = [ID, *_compared(reference, limits)]
    kept = pl.DataFrame(schema=schema).select(row).select(columns)
    within = pl.col("time").is_between(window.start, window.end, closed="right")
    for frame in log.Reader(schema).since(served / "predictions", window.start):
        its = frame.filter(within).drop_nulls(["id", "inputs"]).select(row).select(columns)
        rows = pl.concat([kept, its]).bottom_k(MOST_ROWS, by=ID).to_dicts()
        kept = pl.DataFrame(rows, kept.schema)  # of a string that is kept, polars keeps its part
    return kept.drop(ID)
