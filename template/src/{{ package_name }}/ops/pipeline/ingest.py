"""Read the rows of `ml/source.py`, and those of `data/labelled`, in the contract's types."""

import polars as pl

from ...ml import source
from .. import contract as contracts
from ..errors import UserError
from ..files import replacing
from ..project import Project
from ..wording import shortened
from . import labelled, parquet
from .parsing import parse


def run(project: Project) -> None:
    """Write `data/raw.parquet/`; a UserError if the source cannot be read, or lacks something."""
    contract = contracts.load()
    try:
        rows, dropped = parse(source.load(project.root))
        if (later := labelled.rows(project, contract)) is not None:
            rows = pl.concat([rows, parse(later, origin="data/labelled").rows], how="diagonal")
        with replacing(project.raw) as aside:
            parquet.write({aside: rows})
            count = parquet.count(aside)
            if not count:
                raise UserError("The source has no rows; look at ml/source.py.")
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = shortened(str(error).strip().partition("\n\n")[0], 300)
        raise UserError(f"The source cannot be read; look at ml/source.py: {reason}") from error
    print(f"ingest: {count:,} rows of {len(contract.columns)} columns.")
    if dropped:
        print(f"ingest: left out, as the contract does not know them: {', '.join(dropped)}.")
