"""Where the rows come from: a simulator of carts in an online shop. Nobody bought anything.

A customer fills a cart for two plans, such as a barbecue and a breakfast, and mostly from one range
of products, such as the organic ones. Of what is sold that week things are chosen one by one, each
at most once and of one range: cheap ones more often, and some that belong to no plan of the cart.
As every chance is known, so is the NDCG@10 that no model can exceed: `best_ndcg` computes 0.305 for
the rows of `load` that are held out. A score near that is a good one; a better one is luck, or a
leak.
"""

from datetime import datetime, timedelta
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

Array = NDArray[Any]

BEGINS = datetime(2025, 7, 7)  # a Monday, as each week begins with one
CUSTOMERS = 4000
LOYALTY = 0.9
"""How much of what customers choose is of their own range, if all ranges cost the same."""
STRAY = 0.1
"""How much of what they choose may belong to any plan."""
MOST = 20
"""How many products a cart holds at most, before the next one."""


def load(root: Path) -> pl.LazyFrame:
    """Read all rows, as they come; `root` is the project's folder.

    20,800 simulated carts of half a year, with the products of `data/catalogue.csv`.
    """
    return simulate(read(root / "data" / "catalogue.csv"), BEGINS, weeks=26).lazy()


def read(catalogue: Path) -> pl.DataFrame:
    """Read the products: what they are for and cost, and from and until when each is sold."""
    return pl.read_csv(catalogue, schema_overrides={"from": pl.Date, "until": pl.Date})


def simulate(
    catalogue: pl.DataFrame, start: datetime, weeks: int, carts: int = 800, seed: int = 7
) -> pl.DataFrame:
    """Draw some carts for each of the weeks from a Monday on, in order."""
    mondays = [start + timedelta(weeks=week) for week in range(weeks)]
    return pl.concat(
        fill(np.random.default_rng([seed, monday.toordinal()]), catalogue, monday, carts)
        for monday in mondays
    )


def fill(
    draw: np.random.Generator, catalogue: pl.DataFrame, monday: datetime, carts: int
) -> pl.DataFrame:
    """Draw carts of a week, each as it was at some moment, and what came next."""
    sold = on_sale(catalogue, monday)
    wants, same = chances(sold), alike(sold)
    customers = draw.integers(CUSTOMERS, size=carts)
    left = wants[customers % len(wants), draw.integers(wants.shape[1], size=carts)]
    lengths = np.minimum(draw.geometric(0.15, size=carts) - 1, MOST)
    chosen = np.empty((carts, MOST + 1), np.int64)
    for place in range(MOST + 1):
        sums = left.cumsum(axis=1)
        chosen[:, place] = (sums <= draw.random((carts, 1)) * sums[:, -1:]).sum(axis=1)
        left = left * ~same[chosen[:, place]]
    items = sold["item"].to_numpy()[chosen]
    seconds = np.sort(draw.integers(7 * 86_400, size=carts)).astype("timedelta64[s]")
    return pl.DataFrame(
        {
            "history": [its[:length].tolist() for its, length in zip(items, lengths, strict=True)],
            "customer": [f"C{number:04}" for number in customers],
            "chosen_at": np.datetime64(monday, "us") + seconds,
            "next_item": items[np.arange(carts), lengths],
        }
    )


def on_sale(catalogue: pl.DataFrame, monday: datetime) -> pl.DataFrame:
    """The products that are sold in the week of a Monday."""
    gone = pl.col("until").is_not_null() & (pl.col("until") <= monday)
    return catalogue.filter(pl.col("from") <= monday, ~gone)


def chances(sold: pl.DataFrame) -> Array:
    """How likely each product is the first choice: shape (ranges, pairs of plans, products)."""
    plans, ranges = (
        np.equal.outer(sold[name].unique().sort().to_numpy(), sold[name].to_numpy())
        for name in ("plan", "range")
    )
    pairs = [np.add(*both, dtype=float) for both in combinations_with_replacement(plans, 2)]
    planned = (1 - STRAY) * np.array(pairs) / 2 + STRAY / len(plans)
    own = np.where(ranges, LOYALTY, (1 - LOYALTY) / (len(ranges) - 1))
    wants = own[:, None] * planned / sold["price"].to_numpy() ** 2
    shares: Array = wants / wants.sum(axis=2, keepdims=True)
    return shares


def alike(sold: pl.DataFrame) -> Array:
    """Which products are one thing of several ranges, shape (products, products)."""
    things = sold["name"].str.replace(r"^\w+ ", "").to_numpy()
    same: Array = np.equal.outer(things, things)
    return same


def best_ndcg(catalogue: pl.DataFrame, rows: pl.DataFrame) -> float:
    """The NDCG@10 to be expected of whoever knows all chances, and sees of a cart what it holds."""
    discounts = 1 / np.log2(np.arange(2, 12))
    expected = [
        np.sort(following(on_sale(catalogue, monday), week["history"]))[:, :-11:-1] @ discounts
        for (monday,), week in rows.group_by(pl.col("chosen_at").dt.truncate("1w"))
    ]
    return float(np.concatenate(expected).mean())


def following(sold: pl.DataFrame, carts: pl.Series) -> Array:
    """How likely each product comes next, shape (carts, products).

    What a cart holds says by Bayes' rule how likely each range with each pair of plans is.
    """
    wants, same = chances(sold).reshape(-1, len(sold)), alike(sold)
    things = wants @ same
    places = {item: place for place, item in enumerate(sold["item"])}
    made = np.empty((len(carts), len(sold)))
    for its, cart in zip(made, carts, strict=True):
        held = [places[item] for item in cart]
        left = np.insert(1 - np.cumsum(things[:, held], axis=1), 0, 1, axis=1)
        likely = (wants[:, held] / left[:, :-1]).prod(axis=1)
        its[:] = (likely / likely.sum() / left[:, -1]) @ wants
        its[same[held].any(axis=0)] = 0
    return made
