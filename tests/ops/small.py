"""A project of few rows and a contract of its own, trained and judged in this process."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import yaml
from my_model.ops import contract as contracts
from my_model.ops.files import write_json
from my_model.ops.pipeline import evaluate, train
from my_model.ops.project import Project

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import dataframely as dy

FOLDS = 3
COUNTED = {"valid": 1, "rows": 1, "quarantined": 0, "share": 0, "rules": {}, "duplicates": 0}


def folded(frame: pl.DataFrame) -> pl.DataFrame:
    """Training rows, in their folds."""
    return frame.with_columns(pl.Series(contracts.FOLD, np.arange(len(frame)) % FOLDS))


@contextmanager
def judged(
    root: Path,
    schema: type[dy.Schema],
    learnt: pl.DataFrame,
    held_out: pl.DataFrame,
    values: Mapping[str, Any],
) -> Iterator[Project]:
    """Train on rows by `train`'s values in `params.yaml`, and judge on others."""
    (root / "pyproject.toml").write_text('[project]\nname = "small"\n')
    project = Project(root)
    project.params.write_text(yaml.safe_dump({"train": dict(values), "split": {"folds": FOLDS}}))
    project.train.parent.mkdir()
    project.reports.mkdir()
    folded(learnt).write_parquet(project.train)
    held_out.write_parquet(project.holdout)
    write_json(project.reports / "validation.json", COUNTED)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(contracts, "schema", lambda: schema)
        train.run(project)
        evaluate.run(project)
        yield project
