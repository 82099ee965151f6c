"""Ten million rows through ingest, validate and split."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from project import environment, interpreters
from render import Template, working_tree
from render import run as call

from .measuring import Cost, Section, compare, measure, rows

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

ROWS = 10_000_000
SCRIPTS = Path(__file__).parent / "orders"
TEXT = """\
Ten million rows of twelve columns (numbers, categories, times, text, with gaps; one row in a
hundred breaks a rule) are parsed, held to their contract with counts by rule, searched for
duplicates, and split by a hash of the row. All leave the same five Parquet files. A script does
the whole in one process; the project does it in three stages, reads text as its contract asks for
and keeps what it cannot read, and its hash is the same on every machine. Memory is that of the
largest process; the aim is less than 1,500 MB.\
"""


def run(folder: Path, runs: int) -> Section:
    """Compare the project's stages with scripts in plain polars and DuckDB."""
    place = folder / "ten-million"
    variables = environment(place / "machine")
    python = prepare(place, variables)
    table = []
    for kind in ("csv", "parquet"):
        orders = place / f"orders.{kind}"
        if not orders.exists():
            measure(python["project"], SCRIPTS / "make.py", str(ROWS), place, cwd=place)
        contenders: dict[str, Callable[[], Cost]] = {
            f"polars, from {kind}": partial(script, python["project"], "by_polars.py", orders),
            f"DuckDB, from {kind}": partial(script, python["duckdb"], "by_duckdb.py", orders),
            f"project, from {kind}": partial(stages, place / "project", orders, variables),
        }
        table += rows(compare(contenders, runs))
    return Section("Ten million rows", TEXT, runs, table, memory=True)


def prepare(place: Path, variables: Mapping[str, str]) -> dict[str, Path]:
    """A project with the contract of the orders, and an environment for DuckDB: their Pythons."""
    version = list(interpreters())[-1]
    project = place / "project"
    shutil.rmtree(project, ignore_errors=True)
    shutil.rmtree(place / "template", ignore_errors=True)
    template = Template.of(working_tree(), place / "template")
    template.render(project, {"sample": "none", "python_version": version})
    for name in ("schema.py", "source.py"):
        shutil.copyfile(SCRIPTS / name, project / "src" / "my_model" / "ml" / name)
    call("uv", "sync", "--quiet", "--no-dev", "--group", "train", cwd=project, env=variables)
    duckdb = place / "duckdb"
    call("uv", "venv", "--quiet", "--clear", "--python", version, duckdb, cwd=place, env=variables)
    call("uv", "pip", "install", "--quiet", "--python", duckdb, "duckdb", cwd=place, env=variables)
    return {"project": project / ".venv/bin/python", "duckdb": duckdb / "bin/python"}


def script(python: Path, name: str, orders: Path) -> Cost:
    """Run a script, which leaves its files in a folder of its own."""
    folder = orders.parent / name.removesuffix(".py")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    return measure(python, SCRIPTS / name, orders, folder, cwd=folder)


def stages(project: Path, orders: Path, variables: Mapping[str, str]) -> Cost:
    """Run the project's stages, one process each, as DVC does."""
    environment = {**variables, "ORDERS": str(orders)}
    costs = [
        measure(project / ".venv/bin/ops", "stage", stage, cwd=project, env=environment)
        for stage in ("ingest", "validate", "split")
    ]
    return sum(costs, Cost())
