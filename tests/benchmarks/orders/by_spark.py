"""The same work in PySpark: `by_spark.py ORDERS FOLDER`."""

import sys
from pathlib import Path

from by_duckdb import FEATURES, RULES
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql import functions as f

FINITE = "isfinite("
"""What Spark's SQL has no function for."""


def main(source: Path, folder: Path) -> None:
    """Ingest, validate and split."""
    spark = (
        SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    )

    def write(rows: DataFrame, name: str) -> DataFrame:
        path = str(folder / f"{name}.parquet")
        rows.write.mode("overwrite").option("compression", "zstd").parquet(path)
        return spark.read.parquet(path)

    raw = write(spark.read.parquet(str(source)), "raw")
    rules = {name: f.expr(_as_spark_says(rule)) for name, rule in RULES.items()}
    kept = f.lit(True)  # noqa: FBT003
    for rule in rules.values():
        kept = kept & f.coalesce(rule, f.lit(True))  # noqa: FBT003
    valid = write(raw.filter(kept), "valid")
    broken = [f.when(~rule, f.lit(name)) for name, rule in rules.items()]
    quarantine = write(
        raw.filter(~kept).withColumn("rule", f.concat_ws("; ", *broken)), "quarantine"
    )
    counts = quarantine.groupBy("rule").count().collect()
    distinct = raw.select(f.xxhash64(*FEATURES, "cancelled")).distinct().count()
    print(counts, raw.count() - distinct)

    keyed = valid.withColumn("key", f.xxhash64(*FEATURES))
    place = f.pmod("key", f.lit(100))
    fold = f.pmod(f.floor(f.col("key") / 100), f.lit(5)).cast("smallint")
    write(keyed.filter(place >= 20).withColumn("__fold", fold).drop("key"), "train")
    write(keyed.filter(place < 20).drop("key"), "holdout")
    spark.stop()


def _as_spark_says(rule: str) -> str:
    """A rule of DuckDB's in Spark's SQL."""
    rule = rule.replace('"', "`")
    if rule.startswith(FINITE):
        name = rule.removeprefix(FINITE).rstrip(")")
        return f"not isnan({name}) and abs({name}) < double('infinity')"
    return rule


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
