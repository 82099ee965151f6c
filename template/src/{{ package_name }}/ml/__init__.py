"""The problem: what a row is, where rows come from, and the model that learns from them."""
