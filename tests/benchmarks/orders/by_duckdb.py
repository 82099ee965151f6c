"""The same work in DuckDB: `by_duckdb.py ORDERS FOLDER`."""

import sys
from pathlib import Path

import duckdb

NUMBERS = ("amount", "distance", "discount", "rating")
FEATURES = (*NUMBERS, "placed", "age", "items", "channel", "city", "member")
REQUIRED = ("order", "placed", "amount", "discount", "age", "channel", "member", "cancelled")
RULES = {
    **{f"{name}|nullability": f'"{name}" is not null' for name in REQUIRED},
    **{f"{name}|finite": f"isfinite({name})" for name in NUMBERS},
    "amount|min": "amount >= 0",
    "discount|min": "discount >= 0",
    "discount|max": "discount <= 1",
    "age|min": "age >= 18",
    "age|max": "age <= 110",
}


def main(source: Path, folder: Path) -> None:
    """Ingest, validate and split."""

    def write(query: str, name: str) -> None:
        options = "format parquet, compression zstd, compression_level 1"
        connection.execute(f"copy ({query}) to '{folder / name}.parquet' ({options})")

    connection = duckdb.connect()
    rows = f"read_csv('{source}')" if source.suffix == ".csv" else f"'{source}'"
    write(f"select * replace (cancelled::enum('no', 'yes') as cancelled) from {rows}", "raw")

    raw = f"'{folder}/raw.parquet'"
    kept = " and ".join(f"coalesce({rule}, true)" for rule in RULES.values())
    broken = ", ".join(f"case when not ({rule}) then '{name}' end" for name, rule in RULES.items())
    write(f"select * from {raw} where {kept}", "valid")
    write(
        f"select *, concat_ws('; ', {broken}) as rule from {raw} where not ({kept})", "quarantine"
    )
    counts = f"select rule, count(*) from '{folder}/quarantine.parquet' group by rule"
    hashed = f"hash({', '.join(FEATURES)}, cancelled)"
    duplicates = f"select count(*) - count(distinct {hashed}) from {raw}"
    print(connection.sql(counts).fetchall(), connection.sql(duplicates).fetchall())

    valid = f"(select *, hash({', '.join(FEATURES)}) as key from '{folder}/valid.parquet')"
    fold = "((key // 100) % 5)::smallint as __fold"
    write(f"select * exclude key, {fold} from {valid} where key % 100 >= 20", "train")
    write(f"select * exclude key from {valid} where key % 100 < 20", "holdout")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
