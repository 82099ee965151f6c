"""From a file that nobody has seen before to the project's data and its contract."""
