"""What finds changes in streams, each run by the Python of an environment of its own."""
