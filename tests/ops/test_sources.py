"""Where rows come from: several files, lookups, lags."""

from __future__ import annotations

import re
import shutil
from datetime import date, timedelta
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from copies import run, set_params
from documents import examples
from my_model.ops.errors import UserError
from my_model.ops.pipeline.parsing import parse
from my_model.ops.project import Project
from render import ROOT

if TYPE_CHECKING:
    from pathlib import Path

PAGE = (ROOT / "template" / "docs" / "ops" / "data.md").read_text()
LOOKED_UP = '''"""Where the rows come from: two files, what is known besides, and a lookup."""

from pathlib import Path

import polars as pl


def load(root: Path) -> pl.LazyFrame:
    """Read all rows."""
    sources = root / "data" / "sources"
    rows = pl.scan_csv(sources / "rows-*.csv")
    more = pl.scan_parquet(sources / "more.parquet")
    names = pl.scan_csv(Path(__file__).with_name("names.csv"))
    return rows.join(more, on="row").join(names, on="code").sort("row").drop("row", "code")
'''


def test_several_files_and_a_lookup_are_watched(trained: Project, tmp_path: Path) -> None:
    ignored = shutil.ignore_patterns("models", "reports", "__pycache__")
    project = Project(shutil.copytree(trained.root, tmp_path / "a project", ignore=ignored))
    before = pl.read_parquet(project.raw).drop("diagnosis|text")
    code = (pl.col("diagnosis") == "benign").cast(pl.Int64)
    rows = before.with_row_index("row").with_columns(code=code)
    names = rows.select("code", "diagnosis").unique()
    sources = project.data / "sources"
    sources.mkdir()
    first, *others = before.columns[:-1]
    rows[:300].select("row", "code", first).write_csv(sources / "rows-1.csv")
    rows[300:].select("row", "code", first).write_csv(sources / "rows-2.csv")
    rows.select("row", *others).write_parquet(sources / "more.parquet")
    lookup = project.schema.with_name("names.csv")
    names.write_csv(lookup)
    project.schema.with_name("source.py").write_text(LOOKED_UP)
    set_params(project, "data", source="data/sources")
    pipeline = project.root / "dvc.yaml"
    line = re.search(r"^( *)# project-specific.*\n", pipeline.read_text(), re.MULTILINE)
    assert line
    added = f"{line[0]}{line[1]}- {lookup.relative_to(project.root).as_posix()}\n"
    pipeline.write_text(pipeline.read_text().replace(line[0], added))
    assert run(project, "dvc", "add", "data/sources").returncode == 0

    done = run(project, "dvc", "repro", "ingest")
    assert "Running stage 'ingest'" in done.stdout, done.stdout
    assert pl.read_parquet(project.raw).select(before.columns).equals(before)
    assert "up to date" in run(project, "dvc", "repro", "ingest").stdout
    names.with_columns(diagnosis=pl.lit("benign")).write_csv(lookup)
    assert "Running stage 'ingest'" in run(project, "dvc", "repro", "ingest").stdout
    assert pl.read_parquet(project.raw)["diagnosis"].unique().to_list() == ["benign"]


def documented(folder: Path) -> dict[str, Any]:
    """The page's own `load`, run as the `ml/source.py` in a folder."""
    (text,) = (it for it in examples(PAGE) if "def load" in it)
    made: dict[str, Any] = {"__file__": str(folder / "source.py")}
    exec(compile(text, "source.py", "exec"), made)  # noqa: S102  a page's own
    return made


def test_the_documented_source_joins_files_and_makes_lags(tmp_path: Path) -> None:
    sources = tmp_path / "data" / "sources"
    sources.mkdir(parents=True)
    days = [date(2030, 1, 1) + timedelta(days=day) for day in (0, 1, 7, 8, 14)]
    sales = pl.DataFrame({"day": days * 2, "shop": [1] * 5 + [2] * 5, "sold": range(10)})
    sales[:4].write_csv(sources / "sales-2029.csv")
    sales[4:].write_csv(sources / "sales-2030.csv")
    shops = pl.DataFrame({"shop": [1, 2], "region": ["north", "south"]})
    shops.write_parquet(sources / "shops.parquet")
    (tmp_path / "regions.csv").write_text("region,people\nnorth,10\nsouth,20\n")
    rows = documented(tmp_path)["load"](tmp_path).collect()
    assert rows["people"].to_list() == [10] * 5 + [20] * 5
    before = [None, None, 0, 1, 2]
    assert rows["sold a week before"].to_list() == [*before, None, None, 5, 6, 7]


def test_a_file_without_lags_is_told_where_they_are_made() -> None:
    rows = pl.LazyFrame({"mean radius": [1.0]})
    with pytest.raises(UserError, match=r"also what `load` in ml/source\.py makes"):
        parse(rows, labelled=False, origin="new.csv")
    with pytest.raises(UserError) as refused:
        parse(rows)
    assert "makes" not in str(refused.value)
