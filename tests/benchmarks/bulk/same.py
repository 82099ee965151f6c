"""Whether two files of scored rows say the same: `same.py ONE OTHER`."""

import sys

import polars as pl

TOLERANCE = 1e-6


def main(*paths: str) -> None:
    """Compare them row by row.

    Raises:
        SystemExit: if they differ.
    """
    one, other = (pl.read_csv(p) if p.endswith("csv") else pl.read_parquet(p) for p in paths)
    pl.testing.assert_frame_equal(one, other, check_dtypes=False, abs_tol=TOLERANCE)


if __name__ == "__main__":
    import polars.testing

    main(*sys.argv[1:])
