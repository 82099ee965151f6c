"""Where the rows come from."""

from pathlib import Path

import polars as pl
from sklearn.datasets import load_diabetes

COLUMNS = [
    "age",
    "sex",
    "body_mass_index",
    "blood_pressure",
    "total_cholesterol",
    "low_density_lipoproteins",
    "high_density_lipoproteins",
    "cholesterol_ratio",
    "log_triglycerides",
    "blood_sugar",
]


def load(root: Path) -> pl.LazyFrame:
    """Read all rows, as they come; `root` is the project's folder.

    442 patients from the data set that scikit-learn ships.
    """
    data = load_diabetes(scaled=False)
    return pl.LazyFrame(data.data, schema=COLUMNS, orient="row").with_columns(
        progression=pl.Series(data.target)
    )
