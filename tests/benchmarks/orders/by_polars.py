"""The same work in plain polars: `by_polars.py ORDERS FOLDER`."""

import sys
from pathlib import Path

import polars as pl

NUMBERS = ("amount", "distance", "discount", "rating")
FEATURES = (*NUMBERS, "placed", "age", "items", "channel", "city", "member")
REQUIRED = ("order", "placed", "amount", "discount", "age", "channel", "member", "cancelled")
RULES = {
    **{f"{name}|nullability": pl.col(name).is_not_null() for name in REQUIRED},
    **{f"{name}|finite": pl.col(name).is_finite() for name in NUMBERS},
    "amount|min": pl.col("amount") >= 0,
    "discount|min": pl.col("discount") >= 0,
    "discount|max": pl.col("discount") <= 1,
    "age|min": pl.col("age") >= 18,
    "age|max": pl.col("age") <= 110,
}
TYPES = {"placed": pl.Datetime("us"), "age": pl.Int64, "items": pl.Int64, "member": pl.Boolean}


def main(source: Path, folder: Path) -> None:
    """Ingest, validate and split."""

    def write(**frames: pl.LazyFrame) -> None:
        options = {"compression": "zstd", "compression_level": 1, "lazy": True}
        sinks = [
            rows.sink_parquet(folder / f"{name}.parquet", **options)
            for name, rows in frames.items()
        ]
        pl.collect_all(sinks, engine="streaming")

    text = source.suffix == ".csv"
    rows = pl.scan_csv(source, schema_overrides=TYPES) if text else pl.scan_parquet(source)
    write(raw=rows.with_columns(pl.col("cancelled").cast(pl.Enum(["no", "yes"]))))

    raw = pl.scan_parquet(folder / "raw.parquet")
    kept = pl.all_horizontal(rule.fill_null(value=True) for rule in RULES.values())
    broken = [pl.when(~rule).then(pl.lit(name)) for name, rule in RULES.items()]
    rule = pl.concat_str(broken, separator="; ", ignore_nulls=True)
    write(valid=raw.filter(kept), quarantine=raw.filter(~kept).with_columns(rule=rule))
    counts = pl.scan_parquet(folder / "quarantine.parquet").group_by("rule").len().collect()
    hashes = raw.select(pl.struct(*FEATURES, "cancelled").hash()).collect(engine="streaming")
    print(counts.rows(), hashes.height - hashes.to_series().n_unique())

    key = pl.struct(FEATURES).hash()
    fold = pl.when(key % 100 >= 20).then(key // 100 % 5).cast(pl.Int16)
    valid = pl.scan_parquet(folder / "valid.parquet").with_columns(__fold=fold)
    held_out = pl.col("__fold").is_null()
    write(train=valid.filter(~held_out), holdout=valid.filter(held_out).drop("__fold"))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
