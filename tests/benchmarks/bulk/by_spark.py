"""ONNX Runtime over PySpark: `by_spark.py BUNDLE SOURCE DESTINATION`, folders both."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from onnx_model import Model
from pyspark.sql import SparkSession


def main(bundle: Path, source: Path, destination: Path) -> None:
    """Score what Spark reads, in as many processes as there are cores."""
    os.environ["PYSPARK_PYTHON"] = sys.executable
    model = Model(bundle)
    names = ", ".join(f"`probability_{name}` float" for name in model.classes)

    def score(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        model = Model(bundle, threads=1)
        for rows in batches:
            columns = [rows[name].to_numpy().astype(np.float32) for name in model.features]
            answers = model.answer(columns)
            arrays = [*rows.columns, *(pa.array(values) for values in answers.values())]
            yield pa.RecordBatch.from_arrays(arrays, [*rows.schema.names, *answers])

    spark = (
        SparkSession.builder.master("local[*]").config("spark.ui.enabled", "false").getOrCreate()
    )
    spark.sparkContext.addPyFile(str(Path(__file__).with_name("onnx_model.py")))
    rows = spark.read.parquet(str(source))
    schema = ", ".join(f"`{name}` {kind}" for name, kind in rows.dtypes)
    scored = rows.mapInArrow(score, f"{schema}, prediction string, {names}")
    scored.write.mode("overwrite").option("compression", "zstd").parquet(str(destination))
    spark.stop()


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
