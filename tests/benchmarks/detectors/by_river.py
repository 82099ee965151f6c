"""ADWIN of river: one for each column, value or flag, and one for the model's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from river.drift import ADWIN
from streams import AREAS, NUMBERS

from .trial import columns, known, main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams import Array, Rows, Stream


def series(rows: Rows, ranges: dict[str, tuple[float, float]]) -> list[Array]:
    """All that is watched, between 0 and 1 or nearly so, as ADWIN expects it."""
    every = columns(rows)
    made = [every["answer"], every["rain"], every["wrong"], np.isnan(every["distance"])]
    for name, (low, high) in ranges.items():
        made.append((known(every[name]) - low) / (high - low))
    made += [every["area"] == area for area in AREAS]
    return [values.astype(float) for values in made]


def alarms(stream: Stream, _: str, first: int) -> Iterator[dict[str, bool]]:
    """Whether any of them has found a change in a window's rows; the history comes first."""
    learnt = columns(stream.learnt)
    ranges = {name: (learnt[name].min(), learnt[name].max()) for name in NUMBERS}
    detectors = [ADWIN() for _ in series(stream.learnt, ranges)]
    for place, rows in enumerate([stream.learnt, *stream.windows], -1):
        raised = [
            detector.drift_detected
            for detector, values in zip(detectors, series(rows, ranges), strict=True)
            for value in values
            if detector.update(value) or True
        ]
        if place >= first:
            yield {"ADWIN": any(raised)}


if __name__ == "__main__":
    main(alarms)
