"""Whether the columns of a window, taken together, are like those that the model learnt from.

A small histogram boosting, a domain classifier, tells rows of the window from training rows: where
both are alike, its AUC is 0.5 on rows that it was not fitted on. It sees what no check of a single
column can: a column joined to the wrong rows. Bundles hold no rows, but `data/` may.
"""

from pathlib import Path

import numpy as np
import polars as pl
from scipy.special import ndtr

from .. import prediction_log as log
from ..files import sha256
from ..settings import Monitoring
from ..wording import listed
from .checks import FAMILIES, MOST_NAMED, Finding
from .decision import Verdict
from .reference import Reference
from .windows import LEAST_ROWS, Window

MOST_LEARNT, MOST_ROWS, RATIO = 50_000, 2_000, 4
"""Training rows and rows of a window that are looked at, and the most of those to one of these."""

AUC = 0.55  # what the classifier must reach
BEYOND = 1.5  # by how much it must exceed chance and windows of history
PIECES = 16  # windows of history
FOLLOWS = 0.1  # the share of a column's variance between them that tells the time

Pair = tuple[pl.DataFrame, pl.DataFrame]
NOT_DONE = "Columns were not compared together: data/ lacks the champion's rows, or there are few."


def compare(served: Path, reference: Reference, verdicts: list[Verdict], limits: Monitoring) -> str:
    """Add what is violated to the verdicts that decide, from the newest back; sum that one up."""
    if not verdicts or not len(learnt := _learnt(reference).drop(*limits.accepted, strict=False)):
        return NOT_DONE
    summary, reached = "", 0.5
    for verdict in reversed(verdicts[-limits.last :]):
        both, *history = _pairs(reference, learnt, _came(served, reference, verdict.window))
        if both[0].width < 2 or min(len(now) for _, now in (both, *history)) < LEAST_ROWS:
            break
        auc, deviation, columns = _tell(*both)
        if auc >= AUC and not summary:
            reached = max([reached, *(_tell(*pair)[0] for pair in history)])
        limit = max(AUC, 0.5 + BEYOND * (reached - 0.5))
        p = float(ndtr((reached - auc) / deviation))
        told = f"An AUC of {auc:.2f} tells the rows from training rows ({limit:.2f} is allowed)"
        summary = summary or f"Columns taken together: {told}."
        if auc < limit or p > limits.alpha / FAMILIES:
            break
        told += f", most of all by {listed(columns)}."
        what = "multivariate", columns[0], "domain classifier"
        verdict.came.append(Finding(*what, auc, limit, p, told, len(history)))
    return summary or NOT_DONE


def _tell(others: pl.DataFrame, now: pl.DataFrame) -> tuple[float, float, list[str]]:
    """How well rows are told from others: the AUC, how far chance moves it, by which columns."""
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.inspection import permutation_importance
    from sklearn.model_selection import StratifiedKFold, cross_val_score

    then = others.sample(min(len(others), RATIO * len(now)), seed=0)
    rows, labels = pl.concat([then, now]).to_numpy(), np.repeat([0, 1], [len(then), len(now)])
    model = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=12, random_state=0)
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    deviation = float(BEYOND * np.sqrt((1 / len(then) + 1 / len(now)) / 12))
    auc = float(cross_val_score(model, rows, labels, scoring="roc_auc", cv=folds).mean())
    if auc < AUC:
        return auc, deviation, []
    fitted, more = model.fit(rows, labels), {"n_repeats": 1, "random_state": 0}
    worth = permutation_importance(fitted, rows, labels, scoring="roc_auc", **more)
    most = np.argsort(-worth.importances_mean)[:MOST_NAMED]
    return auc, deviation, [now.columns[place] for place in most]


def _pairs(reference: Reference, learnt: pl.DataFrame, came: pl.DataFrame) -> list[Pair]:
    """Training rows and the window's, then each window of history beside the rest, all by ranks."""
    if group := reference.contract.with_role("group"):
        learnt, came = (frame.unique(group.name, maintain_order=True) for frame in (learnt, came))
    kinds = {"number": pl.Float32, "boolean": pl.String, "category": pl.String}
    watched = [it for it in reference.watched if it.kind in kinds and it.name in learnt.columns]
    plain = [pl.col(it.name).cast(kinds[it.kind]) for it in watched]
    both = pl.concat(frame.select(plain) for frame in (learnt, came))
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


def _learnt(reference: Reference) -> pl.DataFrame:
    """A sample of what the champion learnt from and was judged by, in time; empty without it."""
    told, files = reference.data, reference.files
    if not files or [sha256(it) for it in files if it.is_file()] != [*told["sha256"].values()]:
        return pl.DataFrame()
    rows = pl.concat(map(pl.scan_parquet, files), how="diagonal")
    sample = rows.gather_every(1 + sum(told["rows"].values()) // MOST_LEARNT).collect()
    time = reference.contract.with_role("event_time")
    return sample.sort(time.name) if time else sample


def _came(served: Path, reference: Reference, window: Window) -> pl.DataFrame:
    """A sample of a window's rows, by their ids, which are random."""
    schema = log.predictions(reference.contract, reference.contract.inputs)
    kept = pl.DataFrame(schema={name: schema[name] for name in ("id", "inputs")})
    within = pl.col("time").is_between(window.start, window.end, closed="right")
    for frame in log.Reader(schema).since(served / "predictions", window.start):
        its = frame.filter(within).select("id", "inputs").drop_nulls()
        rows = pl.concat([kept, its]).bottom_k(MOST_ROWS, by="id").to_dicts()
        kept = pl.DataFrame(rows, kept.schema)  # of a string that is kept, polars keeps its part
    return kept["inputs"].struct.unnest()
