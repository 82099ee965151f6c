"""Hold rows out, and number the folds of the rest.

- With an event time, the newest rows are held out, and the folds follow each other in time: a
  model may learn from the folds before the one that it is validated on. Rows of one moment stay
  together; rows without a time count as the oldest. So that a class that came late can be learnt,
  fewer rows are held out, down to a quarter, until half of each class's rows are learnt from.
- Else with a group, the hash of the group decides: its rows stay together.
- Else the hash of the row's features decides: a row stays where it is however the data grow, and
  rows that are alike stay together. Where very many are alike, as in a survey of a few closed
  questions, they part in bunches of `ALIKE`, in the order in which they come.

The hash is the project's own (see `hashing`): no engine, version or machine moves a row.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from .. import contract as contracts
from ..contract import FOLD, Contract
from ..errors import UserError
from ..project import Project
from ..settings import Settings, Split
from . import parallel, parquet
from .hashing import Keys, mix, row_keys

LEARNT, JUDGED = "train", "holdout"  # what is made of a part
HELD_OUT = -1
ALIKE = 16
FOLD_SALT = np.uint64(0xD1B5_4A32_D192_ED03)
EVER = np.iinfo(np.int64).min
PIECE = 1_000_000
"""As many rows of all are worked on at once: what is held of each row is few bytes."""

Folds = NDArray[np.int16]
"""The fold of each row, counted from 0; `HELD_OUT` for none."""


def run(project: Project) -> None:
    """Write `data/train.parquet/`, with one column more (`__fold`), and `data/holdout.parquet/`.

    A UserError if a side would be left without rows, or a class without rows to learn from.
    """
    settings, contract = Settings.load(project.params).split, contracts.load()
    rows, parts = pl.scan_parquet(project.valid), parquet.parts(project.valid)
    sizes = [parquet.count(part) for part in parts]
    folds = assign(rows, contract, settings)
    held_out = folds == HELD_OUT
    if contract.task == "classification":
        _check_classes(rows, contract, folds)
    _check_weights(rows, contract, folds)
    its = np.split(folds, np.cumsum(sizes)[:-1])
    with parquet.scratch(project.data / ".split") as made:
        deque(parallel.map(part, parts, its, into=made, rows=sizes), maxlen=0)
        parquet.gather(made, LEARNT, project.train)
        parquet.gather(made, JUDGED, project.holdout)
    print(
        f"split: {np.sum(~held_out):,} rows in {folds.max() + 1} folds to learn from, "
        f"{np.sum(held_out):,} held out ({np.mean(held_out):.1%})."
    )


def part(path: Path, folds: Folds, folder: Path) -> None:
    """Part the rows of a part by their folds, into `LEARNT` and `JUDGED` in `folder`."""
    numbered = pl.concat([pl.scan_parquet(path), pl.LazyFrame({FOLD: folds})], how="horizontal")
    parquet.write(
        {
            folder / LEARNT: numbered.filter(pl.col(FOLD) != HELD_OUT),
            folder / JUDGED: numbered.filter(pl.col(FOLD) == HELD_OUT).drop(FOLD),
        }
    )


def rule(contract: Contract, settings: Split) -> dict[str, Any]:
    """What decides which rows are held out, as JSON-able data.

    Under another rule other rows are held out, and a model that learnt under this one may have
    learnt from some of them.
    """
    key = contract.with_role("event_time") or contract.with_role("group")
    columns = [key] if key else contract.features
    return {
        "by": key.role if key else "row",
        "columns": [[column.name, column.dtype] for column in columns],
        "holdout": settings.holdout,
    }


def assign(rows: pl.LazyFrame, contract: Contract, settings: Split) -> Folds:
    """Give every row its fold, see the module; a UserError if the rows differ too little."""
    if time := contract.with_role("event_time"):
        moments = rows.select(pl.col(time.name).to_physical().cast(pl.Int64).fill_null(EVER))
        times = moments.collect(engine="streaming").to_series().to_numpy()
        labels = _labels(rows, contract) if contract.task == "classification" else None
        folds = _by_time(times, settings, labels)
        kind = f"times in {time.name}"
    elif group := contract.with_role("group"):
        folds = _by_key(row_keys(rows, [group.name]), settings)
        kind = f"groups in {group.name}"
    else:
        hashes = row_keys(rows, [column.name for column in contract.features])
        folds = _by_key(_bunched(hashes), settings)
        kind = "rows"
    if folds.max(initial=HELD_OUT) < 1 or folds.min(initial=0) != HELD_OUT:
        raise UserError(
            f"There are too few different {kind} to hold some out and to compare models on the "
            "rest; bring more data, or change split in params.yaml or the roles in ml/schema.py."
        )
    return folds


def _by_time(
    times: NDArray[np.int64], settings: Split, labels: NDArray[np.int32] | None = None
) -> Folds:
    """Hold the newest rows out; the rest make folds of about equal size, the oldest first."""
    ordered = np.sort(times)
    starts = _cuts(ordered, [1 - settings.holdout])
    if starts and labels is not None:
        latest = _cuts(ordered, [1 - settings.holdout / 4])
        starts = [max(starts[0], min(_half_come(times, ordered, labels), *latest))]
    learnt = ordered[: np.searchsorted(ordered, starts[0])] if starts else ordered
    edges = _cuts(learnt, [fold / settings.folds for fold in range(1, settings.folds)])
    folds = np.empty(len(times), np.int16)
    for its, some in zip(_pieces(folds), _pieces(times), strict=True):
        its[:] = np.searchsorted(edges, some, side="right")
        its[some > learnt[-1]] = HELD_OUT
    return folds


def _half_come(
    times: NDArray[np.int64], ordered: NDArray[np.int64], labels: NDArray[np.int32]
) -> np.int64:
    """The first of the moments, `ordered`, by which half of each class's rows have come."""
    classes = int(labels.max()) + 1

    def come(moment: np.int64) -> NDArray[np.int64]:
        """How many rows of each class have come by a moment."""
        counts = np.zeros(classes, np.int64)
        for some, its in zip(_pieces(times), _pieces(labels), strict=True):
            counts += np.bincount(its[some <= moment], minlength=classes)
        return counts

    every = come(ordered[-1])
    wanted = np.minimum(every // 2 + 1, every)
    first = bisect_left(ordered, 1, key=lambda moment: int(np.all(come(moment) >= wanted)))
    return np.int64(ordered[first])


def _cuts(ordered: NDArray[np.int64], shares: Iterable[float]) -> list[np.int64]:
    """Moments before which about these shares of the times lie, each once.

    A cut never parts equal times, so it moves to the nearer end of their run; where there is
    nothing but one moment, there is no cut.
    """
    cuts = set()
    for share in shares:
        position = round(len(ordered) * share)
        moment = ordered[min(position, len(ordered) - 1)]
        run = [int(np.searchsorted(ordered, moment, side=side)) for side in ("left", "right")]
        inside = [end for end in run if 0 < end < len(ordered)]
        if inside:
            cuts.add(ordered[min(inside, key=lambda end: abs(end - position))])
    return sorted(cuts)


def _by_key(keys: Keys, settings: Split) -> Folds:
    """Hold a share of all possible keys out; other bits of the key number the fold."""
    folds = np.empty(len(keys), np.int16)
    for its, some in zip(_pieces(folds), _pieces(keys), strict=True):
        its[:] = mix(some ^ FOLD_SALT) % np.uint64(settings.folds)
        its[some < np.uint64(int(settings.holdout * 2**64))] = HELD_OUT
    filled = [fold for fold in range(settings.folds) if np.any(folds == fold)]
    for number, fold in enumerate(filled):
        folds[folds == fold] = number
    return folds


def _pieces(values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Views of the values, a million each."""
    return (values[first : first + PIECE] for first in range(0, len(values), PIECE))


def _bunched(keys: Keys) -> Keys:
    """Give rows that are alike different keys from the `ALIKE`th on, bunch by bunch."""
    ordered = np.sort(keys)
    if not np.any(ordered[ALIKE:] == ordered[:-ALIKE]):
        return keys
    place = pl.int_range(pl.len(), dtype=pl.UInt64).over("key")
    bunches = pl.DataFrame({"key": keys}).select(place // ALIKE).to_series()
    return keys ^ mix(bunches.to_numpy())  # mix(0) is 0: the first bunch stays


def _labels(rows: pl.LazyFrame, contract: Contract) -> NDArray[np.int32]:
    """The class of every row, as its position in the contract's."""
    batches = rows.select(contract.target.name).collect_batches(chunk_size=PIECE)
    return np.concatenate([contract.labels(batch).astype(np.int32) for batch in batches])


def _parted(rows: pl.LazyFrame, name: str, folds: Folds) -> Iterator[tuple[pl.DataFrame, Folds]]:
    """A column of the rows with their folds, some rows at a time."""
    first = 0
    for batch in rows.select(name).collect_batches(chunk_size=PIECE):
        yield batch, folds[first : first + len(batch)]
        first += len(batch)


def _check_weights(rows: pl.LazyFrame, contract: Contract, folds: Folds) -> None:
    """Raise a UserError where the rows of a fold, or those held out, weigh nothing."""
    if weight := contract.with_role("weight"):
        sums = np.zeros(folds.max() - HELD_OUT + 1)
        for batch, its in _parted(rows, weight.name, folds):
            sums += np.bincount(its - HELD_OUT, contract.weights(batch), len(sums))
        for place in np.flatnonzero(sums == 0) + HELD_OUT:
            which = "held out" if place == HELD_OUT else f"of fold {place}"
            raise UserError(
                f"All rows {which} have the weight 0 in {weight.name}, so nothing can be judged "
                "by them; mend the weights, or change split in params.yaml."
            )


def _check_classes(rows: pl.LazyFrame, contract: Contract, folds: Folds) -> None:
    """Raise a UserError where a class cannot be learnt, or where nothing can be judged."""
    learnt, judged = np.zeros((2, len(contract.classes)), bool)
    for batch, its in _parted(rows, contract.target.name, folds):
        labels = contract.labels(batch)
        learnt[labels[its != HELD_OUT]] = True
        judged[labels[its == HELD_OUT]] = True
    names = np.array(contract.classes)
    if not learnt.all():
        raise UserError(
            f"No row of class {', '.join(names[~learnt])} is among those to learn from; gather "
            "more rows of it, drop it from ml/schema.py, or change split.holdout in params.yaml."
        )
    if judged.sum() < 2:
        raise UserError(
            f"The rows held out are all of class {', '.join(names[judged])}; gather more rows, "
            "or change split in params.yaml."
        )
    if not judged.all():
        print(f"split: no row of class {', '.join(names[~judged])} is held out to judge by.")
