"""The contract: what is meant by a row, whatever the data at hand happen to show."""

import dataframely as dy


class Row(dy.Schema):
    """A cart in an online shop at some moment, and what the customer put into it next.

    Simulated: nobody ever bought anything. `ml/source.py` says how carts come about, and how well
    the best of all models could tell what comes next. The products are those of
    `data/catalogue.csv`; their ids are no closed set, so a new one changes nothing here.
    """

    history = dy.List(dy.String(), max_length=20)
    customer = dy.String(metadata={"group": True})
    chosen_at = dy.Datetime(metadata={"event_time": True})
    next_item = dy.String(metadata={"target": True, "item": True})
