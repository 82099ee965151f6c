"""Where the rows come from."""

from pathlib import Path

import polars as pl
from sklearn.datasets import load_breast_cancer


def load(root: Path) -> pl.LazyFrame:
    """Read all rows, as they come; `root` is the project's folder.

    569 tumours from the data set that scikit-learn ships.
    """
    data = load_breast_cancer()
    labels = ["malignant", "benign"]
    return pl.LazyFrame(data.data, schema=list(data.feature_names), orient="row").with_columns(
        diagnosis=pl.Series([labels[target] for target in data.target])
    )
