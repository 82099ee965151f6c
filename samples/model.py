"""The models: everything that is fitted, as one scikit-learn pipeline.

The whole pipeline is exported to ONNX, and the export is compared with it on every held-out row.
Four constructs export wrongly without an error, so keep away from them: a scaler in front of
trees, gaps in front of a forest, native categorical features of histogram boosting, and
missing-value indicators.
"""

from collections.abc import Mapping
from functools import partial
from math import inf
from typing import Any, Literal

import polars as pl
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
)
from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

Kinds = Mapping[str, Literal["number", "category", "text"]]

MODELS = ("linear", "boosting", "forest", "neural")

ROWS: Mapping[str, int] = {"forest": 50_000, "neural": 50_000}
"""From how many rows a model learns at most, drawn at random; from all, if it is not here."""

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
    "forest": {"min_samples_leaf": (1, 20), "max_features": (0.1, 1.0)},
    "neural": {"alpha": (1e-5, 1.0), "learning_rate_init": (3e-4, 1e-2)},
}
"""Where `ops tune` looks, on a logarithmic scale: whole numbers where both ends are."""

MANY_VALUES, MOST_VALUES = 12, 1000
"""A category with more values is encoded by what the target is on average where it has each; for a
linear model, which has a weight for each, only beyond the second number."""


def build(
    model: str, task: str, kinds: Kinds, parameters: Mapping[str, Any], seed: int
) -> Pipeline:
    """Build an unfitted pipeline.

    Args:
        model: "trivial" (what every model must beat), or one of MODELS.
        task: "classification" or "regression".
        kinds: the features by name, in the order of the frame's columns.
        parameters: the model's own, as in `params.yaml`.
        seed: of whatever is random.
    """
    classify = task == "classification"
    if model == "trivial":
        return make_pipeline(DummyClassifier(strategy="prior") if classify else DummyRegressor())
    if model == "linear":
        return make_pipeline(scaled(kinds, seed), linear(classify, **parameters))
    if model == "neural":
        return make_pipeline(dense(kinds, seed), neural(classify, seed, **parameters))
    if model == "forest":
        Forest = ExtraTreesClassifier if classify else ExtraTreesRegressor
        return make_pipeline(
            counted(kinds, seed),
            SimpleImputer(strategy="median", keep_empty_features=True),
            Forest(random_state=seed, **parameters),
        )
    if model == "boosting":
        Boosting = HistGradientBoostingClassifier if classify else HistGradientBoostingRegressor
        return make_pipeline(counted(kinds, seed), Boosting(random_state=seed, **parameters))
    raise ValueError(f"build in ml/model.py makes no model called {model}")


def linear(classify: bool, regularization: float = 1.0) -> LogisticRegression | Ridge:
    """Weigh each column once; `regularization` keeps the weights small, 0 not at all."""
    if not classify:
        return Ridge(regularization)
    return LogisticRegression(C=1 / regularization if regularization else inf, max_iter=1000)


def neural(
    classify: bool, seed: int, **parameters: Any
) -> MLPClassifier | TransformedTargetRegressor:
    """A small net, which learns until its loss no longer falls; large weights are part of that.

    Numbers are learnt on a scale of their own, whatever their unit is.
    """
    own = {
        "alpha": 0.5,
        "hidden_layer_sizes": (64, 32),
        "learning_rate_init": 0.01,
        "max_iter": 500,
        "n_iter_no_change": 2,
        "random_state": seed,
        "tol": 0.004,
    }
    if classify:
        return MLPClassifier(**own | parameters)
    return TransformedTargetRegressor(
        MLPRegressor(**own | parameters), transformer=StandardScaler()
    )


def scaled(kinds: Kinds, seed: int = 0) -> ColumnTransformer:
    """For a linear model: no gaps, one scale, one column per category, words by rarity."""
    few, many = by_values(kinds, MOST_VALUES)
    return ColumnTransformer(
        [
            ("numbers", on_one_scale(), names(kinds, "number")),
            ("categories", OneHotEncoder(handle_unknown="ignore"), few),
            ("many values", make_pipeline(target_means(seed), StandardScaler()), many),
            *words(kinds, TfidfVectorizer, 20_000),
        ]
    )


def dense(kinds: Kinds, seed: int) -> ColumnTransformer:
    """For a net: as for a linear model, but few columns for many values or words."""
    few, many = by_values(kinds)
    return ColumnTransformer(
        [
            ("numbers", on_one_scale(), names(kinds, "number")),
            ("few values", OneHotEncoder(handle_unknown="ignore"), few),
            ("many values", make_pipeline(target_means(seed), StandardScaler()), many),
            *words(kinds, TfidfVectorizer, 500),
        ]
    )


def counted(kinds: Kinds, seed: int = 0) -> ColumnTransformer:
    """For trees: numbers as they are, categories by rank or target, frequent words by count."""
    ranks = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    few, many = by_values(kinds)
    return ColumnTransformer(
        [
            ("numbers", "passthrough", names(kinds, "number")),
            ("few values", ranks, few),
            ("many values", target_means(seed), many),
            *words(kinds, CountVectorizer, 500),
        ],
        sparse_threshold=0,
    )


def on_one_scale() -> Pipeline:
    """Gaps are filled with the median, and numbers have mean 0 and standard deviation 1."""
    return make_pipeline(
        SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler()
    )


def target_means(seed: int) -> TargetEncoder:
    """What the target is on average, of classes their position; no row sees its own."""
    others = KFold(3, shuffle=True, random_state=seed)
    return TargetEncoder(target_type="continuous", cv=others)


def words(kinds: Kinds, vectorizer: type[CountVectorizer], most: int) -> list[tuple[str, Any, str]]:
    """For each text, its most frequent words; `ml.features` has taken it apart."""
    return [
        (
            f"text {name}",
            vectorizer(lowercase=False, token_pattern=r"[^\s]+", max_features=most),
            name,
        )
        for name in names(kinds, "text")
    ]


def by_values(kinds: Kinds, most: int = MANY_VALUES) -> tuple[Any, Any]:
    """Choose, when a pipeline is fitted, the categories with few values, and those with many."""

    def chosen(frame: pl.DataFrame, many: bool) -> list[str]:
        categories = names(kinds, "category")
        return [name for name in categories if (frame[name].n_unique() > most) is many]

    return partial(chosen, many=False), partial(chosen, many=True)


def names(kinds: Kinds, kind: str) -> list[str]:
    """The features of one kind."""
    return [name for name, its in kinds.items() if its == kind]
