"""The contract of the benchmark's orders."""

import dataframely as dy


class Row(dy.Schema):
    """One order of a shop."""

    order = dy.String(metadata={"identifier": True})
    placed = dy.Datetime()
    amount = dy.Float64(min=0)
    distance = dy.Float64(nullable=True)
    discount = dy.Float64(min=0, max=1)
    rating = dy.Float64(nullable=True)
    age = dy.Int64(min=18, max=110)
    items = dy.Int64(nullable=True)
    channel = dy.String()
    city = dy.String(nullable=True)
    member = dy.Bool()
    cancelled = dy.Enum(["no", "yes"], metadata={"target": True})
