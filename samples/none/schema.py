"""The contract: what is meant by a row. `uv run ops data use FILE --target COLUMN` writes it."""

import dataframely as dy


class Row(dy.Schema):
    """One row: no data yet."""
