"""`ml` is yours: the problem. `ops` is kept current for you: the operations."""
