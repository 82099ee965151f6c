"""Read the rows of `ml/source.py`, and those of `data/labelled`, in the contract's types."""

import re
from pathlib import Path
from typing import Any

import polars as pl

from ...ml import source
from .. import contract as contracts
from ..errors import UserError
from ..project import Project
from ..settings import Settings
from ..wording import shortened
from . import labelled, parallel, parquet
from .parsing import parse

ROWS = "rows"  # what is made of a frame


def run(project: Project) -> None:
    """Write `data/raw.parquet/`; a UserError if the source cannot be read, or lacks something."""
    contract = contracts.load()
    if folder := Settings.load(project.params).data.source:
        refuse_empty(project.root / folder)
    try:
        loaded: Any = source.load(project.root)
        parsed = [parse(rows) for rows in (loaded if isinstance(loaded, list) else [loaded])]
        frames, dropped = [its.rows for its in parsed], parsed[0].dropped
        if (later := labelled.rows(project, contract)) is not None:
            frames.append(parse(later, origin="data/labelled").rows)
        joined = pl.concat(frames, how="diagonal")
        none = pl.LazyFrame(schema=joined.collect_schema())
        if isinstance(loaded, list):  # the columns that others have, too, and in one order
            frames = [pl.concat([none, rows], how="diagonal") for rows in frames]
        else:
            frames = [joined]
        with parquet.scratch(project.data / ".ingest") as made:
            count = sum(parallel.map(write, frames, into=made))
            if not count:
                raise UserError("The source has no rows; look at ml/source.py.")
            parquet.gather(made, ROWS, project.raw)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = shortened(str(error).strip().partition("\n\n")[0], 300)
        raise UserError(f"The source cannot be read; look at ml/source.py: {reason}") from error
    print(f"ingest: {count:,} rows of {len(contract.columns)} columns.")
    if dropped:
        print(f"ingest: left out, as the contract does not know them: {', '.join(dropped)}.")


def refuse_empty(folder: Path) -> None:
    """A UserError if a file of rows is empty: of a whole folder, polars reads the others alone."""
    for file in sorted(folder.rglob("[!._]*.*")):
        if file.is_file() and not file.stat().st_size:
            raise UserError(f"{file} is empty: bring it back, or delete it if it had no rows.")


def write(rows: pl.LazyFrame, folder: Path) -> int:
    """Write rows as parts, into `ROWS`, and count them; an error names the files they come from."""
    try:
        parquet.write({folder / ROWS: rows})
    except pl.exceptions.PolarsError as error:
        files = re.findall(r"SCAN \[(.+?)\]", rows.explain(optimized=False))
        raise pl.exceptions.ComputeError(": ".join([*files, str(error)])) from error
    return parquet.count(folder / ROWS)
