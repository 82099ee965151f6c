"""The models: which items are likeliest to come next, each of them learnt by a formula.

The score of an item is a sum: of what each item in the history weighs for it, and of its share of
the latest sales, which decides where the history says nothing. Models differ in the weights alone,
so they answer and are exported alike. Which items there are, they learn from the rows: one that
they have not seen says nothing, and is not suggested before it is learnt.
"""

from collections.abc import Mapping
from typing import Any, Literal, Self

import numpy as np
import polars as pl
from numpy.typing import NDArray
from onnx import ModelProto, helper, numpy_helper, parser
from scipy.sparse import csr_array, diags_array
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline, make_pipeline

Array = NDArray[Any]
Kinds = Mapping[str, Literal["number", "category", "text"]]

MODELS = ("item_to_item", "ease")

SEARCH: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "item_to_item": {"shrinkage": (0.1, 1000.0)},
    "ease": {"regularization": (1.0, 10_000.0)},
}
"""Where `ops tune` looks, on a logarithmic scale."""

ITEMS = 10
"""How many are suggested, by the rule too: lists of other lengths cannot be compared."""

HELD = np.float32(-10)
"""The score of an item that the history holds already: below all others."""

GRAPH = """
<ir_version: 9, opset_import: ["": 18, "ai.onnx.ml": 3]>
recommend (string[rows, texts] texts) => (string[rows, k] items, float[rows, k] scores) {
    history = Gather <axis: int = 1> (texts, columns)
    places = ai.onnx.ml.LabelEncoder (history)
    shape = Shape (places)
    ones = ConstantOfShape <value: tensor = float[1] {1}> (shape)
    rows = Shape <start: int = 0, end: int = 1> (places)
    table = Concat <axis: int = 0> (rows, width)
    nothing = ConstantOfShape <value: tensor = float[1] {0}> (table)
    held = ScatterElements <axis: int = 1> (nothing, places, ones)
    weighed = MatMul (held, weights)
    added = Add (weighed, shares)
    of_sold = Gather <axis: int = 1> (held, sold)
    known = Cast <to: int = 9> (of_sold)
    new = Where (known, least, added)
    scores, best = TopK (new, k)
    items = Gather (names, best)
}
"""
"""What `recommend` does, in the language of ONNX."""


def build(
    model: str, task: str, kinds: Kinds, parameters: Mapping[str, Any], seed: int
) -> Pipeline:
    """Build an unfitted pipeline.

    Args:
        model: "trivial" (what every model must beat), or one of MODELS.
        task: "recommendation".
        kinds: the features by name, in the order of the frame's columns.
        parameters: the model's own, as in `params.yaml`.
        seed: of whatever is random, which is nothing here.
    """
    if task != "recommendation":
        raise ValueError(f"these models recommend items, and make no {task}")
    makers = {"trivial": BestSellers, "item_to_item": ItemToItem, "ease": Ease}
    return make_pipeline(makers[model](**parameters))


class BestSellers(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """The rule: what sold best in the last week, for everybody."""

    def __init__(self, days: float = 7, k: int = ITEMS) -> None:
        """Suggest `k` items, of those that were sold in the last `days`."""
        self.days, self.k = days, k

    def fit(
        self,
        rows: pl.DataFrame,
        chosen: Array,
        sample_weight: Array | None = None,
        ages: Array | None = None,
    ) -> Self:
        """Learn from histories, and from the item that came next.

        Args:
            rows: the features; each place of a history is a column.
            chosen: the ids of the items that came next, shape (rows,).
            sample_weight: how much each row counts, shape (rows,).
            ages: how many days old each row is, shape (rows,).
        """
        held, following = holdings(rows), pl.Series("item", chosen, pl.String)
        self.items_ = pl.concat([held["item"], following]).unique().sort()
        weights = np.ones(len(rows)) if sample_weight is None else np.asarray(sample_weight)
        recent = weights if ages is None else weights * (ages - ages.min() <= self.days)
        whole = pl.concat([held, following.to_frame().with_row_index("row")])
        carts = self.matrix(whole, len(rows)).astype(np.float64)
        sales = recent @ carts
        if np.count_nonzero(sales) < self.k:  # hardly a shop: take what was ever sold
            sales = weights @ carts
        self.sold_ = np.flatnonzero(sales)
        if len(self.sold_) < self.k:
            raise ValueError(f"{len(self.sold_)} items are too few to suggest {self.k}")
        self.shares_ = (sales[self.sold_] / sales.sum()).astype(np.float32)
        together = (carts.T @ diags_array(weights) @ carts).toarray()
        self.weights_ = self.weigh(together)[:, self.sold_].astype(np.float32)
        return self

    def weigh(self, together: Array) -> Array:
        """What each item in a history weighs for each other one, shape (items, items).

        Args:
            together: how often both were in a cart, shape (items, items).
        """
        return np.zeros_like(together)

    def recommend(self, rows: pl.DataFrame) -> tuple[Array, Array]:
        """The likeliest items, best first, and their scores: of shape (rows, k) each."""
        held = self.matrix(holdings(rows), len(rows))
        scores = held @ self.weights_ + self.shares_
        scores[held[:, self.sold_].nonzero()] = HELD
        best = np.argsort(-scores, axis=1, kind="stable")[:, : self.k]
        return self.names()[best], np.take_along_axis(scores, best, axis=1)

    def names(self) -> Array:
        """The ids of the items that may be suggested."""
        return self.items_.to_numpy()[self.sold_]

    def places(self, items: pl.Series) -> Array:
        """The positions of items that were learnt."""
        order = pl.int_range(len(self.items_), eager=True)
        return items.replace_strict(self.items_, order).to_numpy()

    def matrix(self, held: pl.DataFrame, rows: int) -> csr_array:
        """Which of the items that were learnt are held, shape (rows, items): 1 or 0."""
        known = held.filter(pl.col("item").is_in(self.items_)).unique()
        places = known["row"].to_numpy(), self.places(known["item"])
        ones = np.ones(len(known), np.float32)
        return csr_array((ones, places), shape=(rows, len(self.items_)))

    def to_onnx(self, kinds: Kinds) -> ModelProto:
        """The same in ONNX: from all texts, shape (rows, texts), to the items and their scores."""
        texts = [name for name, kind in kinds.items() if kind != "number"]
        model = parser.parse_model(GRAPH)
        encoder = next(node for node in model.graph.node if node.op_type == "LabelEncoder")
        learnt = len(self.items_)
        encoder.attribute.extend(
            [
                helper.make_attribute("keys_strings", self.items_.to_list()),
                helper.make_attribute("values_int64s", range(learnt)),
                helper.make_attribute("default_int64", learnt),
            ]
        )
        values = {
            "columns": np.array([texts.index(name) for name in arrays(texts)]),
            "width": np.array([learnt + 1]),  # with one for all that were not learnt
            "weights": np.append(self.weights_, np.zeros_like(self.weights_[:1]), axis=0),
            "shares": self.shares_,
            "sold": self.sold_,
            "least": HELD,
            "k": np.array([self.k]),
            "names": self.names(),
        }
        model.graph.initializer.extend(
            numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()
        )
        return model


class ItemToItem(BestSellers):
    """Suggest what is often together with the items of the history, as a share of both's sales."""

    def __init__(self, days: float = 7, shrinkage: float = 10.0, k: int = ITEMS) -> None:
        """The larger `shrinkage`, the less do pairs count that are rare."""
        super().__init__(days, k)
        self.shrinkage = shrinkage

    def weigh(self, together: Array) -> Array:
        """The cosine of two items' columns in the table of carts."""
        sales = np.sqrt(together.diagonal())
        weights = together / (np.outer(sales, sales) + self.shrinkage)
        np.fill_diagonal(weights, 0)
        return weights


class Ease(BestSellers):
    """A linear model of each item by all others, fitted in one step (EASE; Steck, 2019)."""

    def __init__(self, days: float = 7, regularization: float = 100.0, k: int = ITEMS) -> None:
        """`regularization` keeps the weights small."""
        super().__init__(days, k)
        self.regularization = regularization

    def weigh(self, together: Array) -> Array:
        """The weights that tell a cart's items from its other ones with the least squares."""
        inverse = np.linalg.inv(together + self.regularization * np.eye(len(together)))
        weights = -inverse / inverse.diagonal()
        np.fill_diagonal(weights, 0)
        return weights


def holdings(rows: pl.DataFrame) -> pl.DataFrame:
    """Which row holds which items: the columns `row` and `item`."""
    columns = rows.select(arrays(rows.columns)).with_row_index("row")
    held = columns.unpivot(index="row", value_name="item").select("row", "item")
    return held.filter(pl.col("item") != "")


def arrays(names: list[str]) -> list[str]:
    """The features that are items of an array, as a history is."""
    return [name for name in names if name.endswith("]")]
