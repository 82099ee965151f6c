"""The models: everything that is fitted, as one scikit-learn pipeline.

The whole pipeline is exported to ONNX, and the export is compared with it on every held-out row.
Three constructs export wrongly without an error, so keep away from them: a scaler in front of
trees, native categorical features of histogram boosting, and missing-value indicators.
"""

from collections.abc import Mapping
from math import inf
from typing import Any, Literal

from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

Kinds = Mapping[str, Literal["number", "category", "text"]]

MODELS = ("linear", "boosting")

SEARCH: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "linear": {"regularization": (1e-4, 1e4)},
    "boosting": {
        "learning_rate": (0.01, 0.3),
        "max_iter": (50, 500),
        "max_leaf_nodes": (4, 64),
        "max_features": (0.2, 1.0),
        "min_samples_leaf": (5, 100),
        "l2_regularization": (1e-3, 10.0),
    },
}
"""Where `ops tune` looks, on a logarithmic scale: whole numbers where both ends are."""


def build(
    model: str, task: str, kinds: Kinds, parameters: Mapping[str, Any], seed: int
) -> Pipeline:
    """Build an unfitted pipeline.

    Args:
        model: "trivial" (what every model must beat), "linear" or "boosting".
        task: "classification" or "regression".
        kinds: the features by name, in the order of the frame's columns.
        parameters: the model's own, as in `params.yaml`.
        seed: of whatever is random.
    """
    classify = task == "classification"
    if model == "trivial":
        return make_pipeline(DummyClassifier(strategy="prior") if classify else DummyRegressor())
    if model == "linear":
        return make_pipeline(scaled(kinds), linear(classify, **parameters))
    Boosting = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
    return make_pipeline(counted(kinds), Boosting(random_state=seed, **parameters))


def linear(classify: bool, regularization: float = 1.0) -> LogisticRegression | Ridge:
    """Weigh each column once; `regularization` keeps the weights small, 0 not at all."""
    if not classify:
        return Ridge(regularization)
    return LogisticRegression(C=1 / regularization if regularization else inf, max_iter=1000)


def scaled(kinds: Kinds) -> ColumnTransformer:
    """For a linear model: no gaps, one scale, one column per category, words by rarity."""
    numbers = make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )
    return ColumnTransformer(
        [
            ("numbers", numbers, names(kinds, "number")),
            ("categories", OneHotEncoder(handle_unknown="ignore"), names(kinds, "category")),
            *(
                (
                    f"text {name}",
                    TfidfVectorizer(lowercase=False, token_pattern=r"[^\s]+", max_features=20_000),
                    name,
                )
                for name in names(kinds, "text")
            ),
        ]
    )


def counted(kinds: Kinds) -> ColumnTransformer:
    """For trees: numbers as they are, categories by rank, frequent words by count."""
    categories = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    return ColumnTransformer(
        [
            ("numbers", "passthrough", names(kinds, "number")),
            ("categories", categories, names(kinds, "category")),
            *(
                (
                    f"text {name}",
                    CountVectorizer(lowercase=False, token_pattern=r"[^\s]+", max_features=500),
                    name,
                )
                for name in names(kinds, "text")
            ),
        ],
        sparse_threshold=0,
    )


def names(kinds: Kinds, kind: str) -> list[str]:
    """The features of one kind."""
    return [name for name, its in kinds.items() if its == kind]
