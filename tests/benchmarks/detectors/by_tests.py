"""Tests of single columns by scipy, corrected for their number as Bonferroni has it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.stats import chi2_contingency, ks_2samp
from streams import NUMBERS

from .trial import columns, known, main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams import Rows, Stream

ALPHA = 0.01


def chances(then: Rows, now: Rows) -> list[float]:
    """How likely each difference is by chance: KS for numbers, chi-square for all else."""
    every, came = (
        {**columns(rows), "missing": np.isnan(rows.columns["distance"])} for rows in (then, now)
    )
    found = [
        ks_2samp(known(every[name]), known(came[name])).pvalue for name in (*NUMBERS, "answer")
    ]
    for name in ("area", "rain", "wrong", "missing"):
        values = sorted({*every[name].tolist(), *came[name].tolist()})
        table = [[np.sum(part[name] == value) for value in values] for part in (every, came)]
        found.append(chi2_contingency(table).pvalue)
    return found


def alarms(stream: Stream, _: str, first: int) -> Iterator[dict[str, bool]]:
    """Whether any column is other than in the rows that were learnt from."""
    for rows in stream.windows[first:]:
        found = chances(stream.learnt, rows)
        yield {"KS, chi-square": min(found) * len(found) <= ALPHA}


if __name__ == "__main__":
    main(alarms)
