"""Labelled rows, pooled over as many windows as it takes to have enough of them.

Who is labelled may depend on the answer: of a loan that was refused, nobody learns. So the answers
of labelled rows are compared with all answers. Where they differ beyond chance, a row weighs as
many answers of its kind as there are for each that is labelled (inverse propensity); where a kind
of answer has no labels, nothing makes up for them, and the score is not known.
"""

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ..bundle import Prediction, joined
from ..evaluation.metrics import Array, Weights
from ..prediction_log import moment
from ..wording import share
from . import drift
from .windows import Log, Window

LEAST_TRUTHS = 100  # labelled rows, or groups of them, without which a score is not judged
LEAST_OF_KIND = 5  # labels without which nothing is known of a kind of answer
UNTOLD = 0.02  # the share of all answers that may be of such kinds
UNLIKELY = 0.01  # how likely chance may make a random sample look like none
WEEK = 604_800  # seconds for which a score may be unknown where ground truth comes
NO_SAMPLE = "labelled rows are no random sample of the answers"
DELAYS = 3  # or times the usual delay of ground truth, if that is longer


class Pool(NamedTuple):
    """The champion's labelled rows in some windows, in order."""

    windows: Sequence[Window]
    truth: Array  # shape (rows,): numbers, or positions of the classes, -1 if there is no such one
    said: Prediction  # what the champion had said
    weights: Weights  # all alike if the rows are a random sample
    units: Array  # which of them resemble each other, see `Window.known`
    worth: float  # as many independent rows, all alike, would tell as much


def pooled(log: Log) -> tuple[list[Pool], str, bool]:
    """Pool windows, from the newest back to where the champion came.

    Returns:
        The pools, in order; in a sentence, of which rows the score is known, or why of none; and
        whether it has been unknown for too long.
    """
    pools, some, missing = list[Pool](), list[Window](), ""
    known, allowed = -1, float(WEEK)
    ended = [window for window in log.windows if window.whole]
    for window in reversed(ended):
        if 2 * window.own < window.asked:
            break
        some = [window, *some] if window.units else some
        if _units(some) >= LEAST_TRUTHS:
            found = _pool(some)
            if isinstance(found, Pool):
                pools, some = [found, *pools], []
            else:
                missing = found
    what, over = "groups" if ended and ended[0].reference.group else "rows", ""
    said = f"not known: fewer than {LEAST_TRUTHS} {what} are labelled, {_units(some)} in all"
    said += " windows together"
    if pools:
        newest = pools[-1].windows
        known, delays = newest[-1].end, [part for window in newest for part in window.delays]
        allowed = max(allowed, DELAYS * float(np.median(np.concatenate(delays))))
        over = f" of {len(newest)} windows" if len(newest) > 1 else ""
        said = f"that of {len(pools[-1].truth):,} labelled rows{over}, "
        said += f"{moment(newest[0].start + 1):%Y-%m-%d} to {moment(known):%Y-%m-%d}"
        if len(newest[-1].units) < LEAST_TRUTHS:
            said += f": the newest of them has fewer than {LEAST_TRUTHS}"
        said += "; no random sample, and so weighed" if np.ptp(pools[-1].weights) else ""
    elif missing:
        return [], f"The score is not known: {missing}.", False
    since = next((it.end for it in ended if it.own and it.start >= known), log.newest_prediction)
    late = log.newest_feedback > 0 and log.newest_prediction - since > 1e6 * allowed
    return pools, f"The score is {said}.", late


def _units(windows: Sequence[Window]) -> int:
    """How many labelled rows of some windows tell something of their own: of a group one does."""
    return len(set[int]().union(*(window.units for window in windows)))


def _pool(windows: Sequence[Window]) -> Pool | str:
    """Pool all labelled rows of some windows, or say why they do not tell the score."""
    parts = (part for window in windows for part in window.known)
    truths, answers, *rest = zip(*parts, strict=True)
    truth, labelled, units = map(np.concatenate, (truths, *rest))
    own = _units(windows) / len(truth)
    counted = sum((window.kinds for window in windows), Counter[int]())
    kinds = np.array(sorted(counted))
    every, places = np.array([counted[kind] for kind in kinds]), np.searchsorted(kinds, labelled)
    some, weights = np.bincount(places, minlength=len(every)), np.ones(len(truth))
    table = np.rint(own * np.stack([every - some, some])).astype(np.int64)
    if drift.chi_square(drift.pooled(table)) < UNLIKELY:
        untold = every[some < LEAST_OF_KIND].sum() / every.sum()
        if untold > UNTOLD:
            return f"{NO_SAMPLE}, and hardly any is like {share(untold)} of these"
        weights = (every / np.maximum(some, 1))[places]
        weights /= weights.mean()
    worth = float(own * weights.sum() ** 2 / np.square(weights).sum())
    if worth < LEAST_TRUTHS:
        return f"{NO_SAMPLE}, and too few to be weighed"
    return Pool(windows, truth, joined(answers), weights, units, worth)
