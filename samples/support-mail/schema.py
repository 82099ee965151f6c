"""The contract: what is meant by a row, whatever the data at hand happen to show."""

import dataframely as dy


class Row(dy.Schema):
    """One mail that a customer sent to a bank, and the product queue that it belonged to.

    Simulated: no mail was ever sent. `ml/source.py` says how they come about, and how well the
    best of all models could tell their queues.
    """

    subject = dy.String(nullable=True, metadata={"text": True})
    body = dy.String(metadata={"text": True})
    channel = dy.String(metadata={"category": True})
    country = dy.String(nullable=True, metadata={"category": True})
    tier = dy.Enum(["basic", "plus", "premium"])
    arrived_at = dy.Datetime(metadata={"event_time": True})
    queue = dy.Enum(
        ["accounts", "cards", "insurance", "loans", "payments", "savings"],
        metadata={"target": True},
    )
