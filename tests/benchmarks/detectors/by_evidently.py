"""Evidently: each window beside all rows that were learnt from.

`DriftedColumnsCount` is what its `DataDriftPreset` says of all columns together, without the plots,
which take ten times as long.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.metrics import DriftedColumnsCount
from streams import CATEGORIES, FLAGS, NUMBERS

from .trial import columns, main

if TYPE_CHECKING:
    from collections.abc import Iterator

    from streams import Rows, Stream

NAMED = (*FLAGS, "wrong")
DEFINITION = DataDefinition(
    numerical_columns=[*NUMBERS, "answer"], categorical_columns=[*CATEGORIES, *NAMED]
)


def dataset(rows: Rows) -> Dataset:
    """All columns, flags as words."""
    made = pd.DataFrame(columns(rows))
    for name in NAMED:
        made[name] = np.where(made[name] > 0, "yes", "no")
    return Dataset.from_pandas(made, data_definition=DEFINITION)


def alarms(stream: Stream, _: str, first: int) -> Iterator[dict[str, bool]]:
    """Whether half of the columns drift, as the preset has it, and whether any does."""
    learnt = dataset(stream.learnt)
    for rows in stream.windows[first:]:
        found = Report([DriftedColumnsCount()]).run(dataset(rows), learnt)
        drifted = found.dict()["metrics"][0]["value"]
        yield {
            "evidently": drifted["share"] >= 0.5,
            "evidently, any column": drifted["count"] > 0,
        }


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(alarms)
