"""How far a regression's truth lies from its prediction, as often as promised."""

from math import ceil

import numpy as np

from .metrics import Array

COVERAGE = 0.9  # the share of rows whose truth lies within the interval


def interval(truth: Array, predictions: Array) -> dict[str, float] | None:
    """What to take from, and add to, a prediction to reach both ends of an interval.

    Split conformal prediction (Lei et al., 2018): a quantile of the errors on rows that the model
    had not learnt from. It holds for new rows that are like those, whatever the model. The
    `half_width` is in the unit of the target; None if the rows are too few to promise anything.
    """
    rows = len(truth)
    place = ceil((rows + 1) * COVERAGE)
    if place > rows:
        return None
    errors = np.sort(np.abs(np.asarray(truth, dtype=np.float64) - predictions))
    return {"coverage": COVERAGE, "half_width": float(f"{errors[place - 1]:.6g}")}
