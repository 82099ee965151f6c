"""Data sets that packages ship, as Parquet files: features, and the target as `:target`.

    python -m benchmarks.learners.sets FOLDER

Numbers are Float32, all else is text; a target of classes is their position.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
import polars.selectors as cs
import statsmodels.datasets
import vega_datasets
from sklearn import datasets

from .trial import CLASSES, NUMBER, TARGET

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MOST_ROWS = 20_000

STATSMODELS = Path(statsmodels.datasets.__file__).parent
VEGA = Path(vega_datasets.__file__).parent / "_data"

BUNDLED: dict[str, tuple[Callable[..., tuple[pl.DataFrame, pl.Series]], str]] = {
    "wine": (datasets.load_wine, CLASSES),
    "breast cancer": (datasets.load_breast_cancer, CLASSES),
    "iris": (datasets.load_iris, CLASSES),
    "digits": (datasets.load_digits, CLASSES),
    "diabetes": (datasets.load_diabetes, NUMBER),
}
FILES = {
    "fair": (STATSMODELS / "fair" / "fair.csv", "affairs", NUMBER),
    "randhie": (STATSMODELS / "randhie" / "randhie.csv", "mdvis", NUMBER),
    "barley": (VEGA / "barley.json", "yield", NUMBER),
    "cars": (VEGA / "cars.json", "Miles_per_Gallon", NUMBER),
    "weather": (VEGA / "seattle-weather.csv", "weather", CLASSES),
}


def read() -> Iterator[tuple[str, str, pl.DataFrame, pl.Series]]:
    """Each set: its name, what its target is, its features, and its target."""
    for name, (load, kind) in BUNDLED.items():
        values, target = load(return_X_y=True)
        yield name, kind, pl.DataFrame(values), pl.Series(target)
    for name, (path, target, kind) in FILES.items():
        csv = path.suffix == ".csv"
        rows = pl.read_csv(path, infer_schema_length=None) if csv else pl.read_json(path)
        rows = rows.drop_nulls(target).drop("date", strict=False)  # each has a row of its own
        yield name, kind, rows.drop(target), rows[target]


def main(folder: Path) -> None:
    """Write them all, in an order that says nothing."""
    folder.mkdir(exist_ok=True)
    for name, kind, features, target in read():
        made = features.select((~cs.string()).cast(pl.Float32), cs.string().fill_null(""))
        numbered = target.cast(pl.String).rank("dense").cast(pl.Int64) - 1
        wanted = numbered if kind == CLASSES else target.cast(pl.Float64)
        made = made.with_columns(wanted.alias(TARGET))
        made.sample(min(len(made), MOST_ROWS), shuffle=True, seed=0).write_parquet(
            folder / f"{name}.parquet"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
