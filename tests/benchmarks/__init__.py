"""How fast, and how large: `make bench` writes docs/benchmarks.md. Nothing here fails a test."""
