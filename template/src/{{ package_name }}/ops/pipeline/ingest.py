"""Read the rows of `ml/source.py`, and those of `data/labelled`, in the contract's types."""

import re
from collections import deque
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from ...ml import source
from .. import contract as contracts
from ..errors import UserError
from ..files import replacing
from ..project import Project
from ..wording import shortened
from . import labelled, parallel, parquet
from .parsing import parse


def run(project: Project) -> None:
    """Write `data/raw.parquet/`; a UserError if the source cannot be read, or lacks something."""
    contract = contracts.load()
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
        with (
            replacing(project.raw) as aside,
            TemporaryDirectory(dir=project.data, prefix=".ingest-") as folder,
        ):
            made = Path(folder)
            deque(parallel.map(write, frames, into=made), maxlen=0)
            parquet.gather(sorted(made.iterdir()), aside)
            count = parquet.count(aside)
            if not count:
                raise UserError("The source has no rows; look at ml/source.py.")
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = shortened(str(error).strip().partition("\n\n")[0], 300)
        raise UserError(f"The source cannot be read; look at ml/source.py: {reason}") from error
    print(f"ingest: {count:,} rows of {len(contract.columns)} columns.")
    if dropped:
        print(f"ingest: left out, as the contract does not know them: {', '.join(dropped)}.")


def write(rows: pl.LazyFrame, folder: Path) -> None:
    """Write rows as parts; an error names the files that they were to be read from."""
    try:
        parquet.write({folder: rows})
    except pl.exceptions.PolarsError as error:
        files = re.findall(r"SCAN \[(.+?)\]", rows.explain(optimized=False))
        raise pl.exceptions.ComputeError(": ".join([*files, str(error)])) from error
