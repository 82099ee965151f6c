"""Watching the model: what came in, what was answered, and what turned out to be true."""
