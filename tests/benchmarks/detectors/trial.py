"""What each detector is put through: the same seeded streams, window by window.

    python -m benchmarks.detectors.by_river RUNS FILE

The file has a line of JSON for each stream: which windows raised the alarm, by each of the
detector's rules.
"""

from __future__ import annotations

import json
import sys
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from streams import CHANGES, CLASSES, draw

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from streams import Array, Rows, Stream

    Detector = Callable[[Stream, str, int], Iterator[dict[str, bool]]]
    """Which rules raise the alarm in each window, from one on, of a stream of a kind."""

KINDS = ("independent", "seasonal", "autocorrelated")
CALM = 2
"""As many times more streams without a change: false alarms are to be rare."""


class Trial(NamedTuple):
    """What a detector said of a stream.

    Attributes:
        kind: of the stream.
        change: what happens in it, or nothing.
        seed: of its draws.
        alarms: by rule, of each window from the first changed one on, or of all.
    """

    kind: str
    change: str | None
    seed: int
    alarms: dict[str, list[bool]]


def trial(
    detector: Detector,
    kind: str,
    change: str | None,
    seed: int,
    **sizes: int,
) -> Trial:
    """Let a detector see a stream: to its end, or until all of its rules have found the change."""
    stream = draw(kind, change, seed, **sizes)
    alarms: dict[str, list[bool]] = {}
    first = stream.changed.index(True) if change else 0
    for raised in detector(stream, kind, first):
        for rule, alarm in raised.items():
            alarms.setdefault(rule, []).append(bool(alarm))
        if change and all(map(any, alarms.values())):
            break
    return Trial(kind, change, seed, alarms)


def main(detector: Detector) -> None:
    """Tell of all streams: as many of each change as the command line says, and more calm ones."""
    runs = int(sys.argv[1])
    with Path(sys.argv[2]).open("w") as file:
        for kind, change in product(KINDS, (None, *CHANGES)):
            for seed in range(runs if change else CALM * runs):
                print(json.dumps(trial(detector, kind, change, seed)), file=file, flush=True)


def columns(rows: Rows) -> dict[str, Array]:
    """What came in, what was answered and whether that was wrong, for detectors of columns."""
    wrong = (rows.late > 0.5) != (rows.truth == CLASSES[0])
    return {**rows.columns, "answer": rows.late, "wrong": wrong}


def known(values: Array) -> Any:  # noqa: ANN401  an array
    """Numbers that are not missing."""
    return values[values == values]  # noqa: PLR0124  a NaN is not
