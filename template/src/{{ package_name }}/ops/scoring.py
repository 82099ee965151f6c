"""Scoring rows with a bundle: a file for a person, arrays for the registry.

Only what every use needs is imported here; a file takes polars and the schema as well.
"""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..ml.features import features
from . import contract as contracts
from .bundle import MANIFEST, Bundle, Prediction
from .contract import Contract, Kind
from .errors import UserError
from .files import replacing
from .project import Project

if TYPE_CHECKING:
    import polars as pl

BATCH_ROWS = 4_096
"""Rows scored at once: the model's inner arrays, wide where there is text, stay small."""

PREDICTION = "prediction"
FORMATS = (".csv", ".parquet")

NUMBERS, TEXTS = np.empty(0, np.float32), np.empty(0, object)
EMPTY: dict[Kind, NDArray[Any]] = {
    "number": NUMBERS,
    "boolean": NUMBERS,
    "category": TEXTS,
    "text": TEXTS,
    "time": np.empty(0, "datetime64[us]"),
}
"""No rows of each kind of column, to ask `ml.features` what it makes of them."""


def score(project: Project, source: str, destination: str) -> None:
    """Score a file with the champion.

    The rows come back as they were and in their order, with a column `prediction` and, for a
    classification, `probability_<class>`. Rows that break the contract stay, without a
    prediction; how many break which rule is said on standard error.

    Raises:
        UserError: if a file cannot be read or written, a column is missing or already there,
            or there is no champion that fits the contract.
    """
    import polars as pl

    from ..ml import source as ours
    from .data import reading
    from .pipeline.parsing import parse
    from .pipeline.validate import check

    path, target = Path(source), Path(destination)
    if target.suffix not in FORMATS:
        raise UserError(f"{target} must end in {' or '.join(FORMATS)}, which names its format.")
    if target.exists() and path.exists() and target.samefile(path):
        raise UserError(f"{target} is the file to be scored; name another one for the result.")
    with TemporaryDirectory() as folder:
        copied, layout = reading.copy(path, Path(folder), narrow=True)
        with reading.readable(path, copied, layout):
            rows = layout.scan(copied).collect()
    bundle = champion(project)
    columns = columns_of(bundle.contract)
    if taken := [name for name in columns if name in rows.columns]:
        raise UserError(f"{path} already has a column {taken[0]}; rename or drop it first.")
    if obstacle := unfit(bundle, contracts.load()):
        raise UserError(f"The champion does not fit ml/schema.py: {obstacle}; run `make train`.")
    # How the project's own file writes its values, if `ml/source.py` says so.
    tidy: Callable[[pl.LazyFrame], pl.LazyFrame] = getattr(ours, "tidy", lambda rows: rows)
    parsed = parse(tidy(rows.lazy()), labelled=False, origin=str(path)).rows.collect()
    good, _, counts, kept = check(parsed, labelled=False)
    made = answers(bundle, good)
    place = (kept.cum_sum() - 1).set(~kept, None)
    scored = pl.concat([rows, made.select(pl.all().gather(place))], how="horizontal")
    try:
        with replacing(target) as aside:
            if target.suffix == ".csv":
                scored.write_csv(aside, separator=layout.separator)
            else:
                scored.write_parquet(aside)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror}.") from error
    print(f"{len(good):,} of {len(rows):,} rows are scored in {target}.")
    if counts:
        rules = ", ".join(f"{rule} ({count:,})" for rule, count in counts.items())
        bad = len(rows) - len(good)
        print(f"{bad:,} break the contract and have no prediction: {rules}.", file=sys.stderr)


def champion(project: Project) -> Bundle:
    """The bundle in models/champion, fetched from the registry if it is not there.

    Raises:
        UserError: if the registry knows no champion either.
    """
    if not (project.champion / MANIFEST).exists():
        from .registry import current
        from .tracking import connected

        with connected(project) as store:
            if current(project, store) is None:
                raise UserError("There is no champion yet: run `make train`.")
    return Bundle(project.champion)


def columns_of(contract: Contract) -> list[str]:
    """The names of the columns that scoring adds."""
    return [PREDICTION, *(f"probability_{label}" for label in contract.classes)]


def answers(bundle: Bundle, frame: "pl.DataFrame") -> "pl.DataFrame":
    """What a bundle says of rows that keep the contract, under the names of `columns_of`."""
    import polars as pl

    contract = bundle.contract
    values, probabilities = predict(bundle, contract.arrays(frame))
    if probabilities is None:
        return pl.DataFrame({PREDICTION: values})
    named = pl.Series(contract.target.choices).gather(values)
    parts = [named, *(pl.Series(column) for column in probabilities.T)]
    return pl.DataFrame(dict(zip(columns_of(contract), parts, strict=True)))


def unfit(bundle: Bundle, contract: Contract) -> str | None:
    """Why a bundle cannot score rows of this contract; None if it can."""
    kinds = {column.name: column.kind for column in contract.columns}
    for column in bundle.contract.features:
        if kinds.get(column.name) != column.kind:
            return f"it needs the column {column.name} as {column.kind}"
    nothing = {column.name: EMPTY[column.kind] for column in bundle.contract.features}
    made = contracts.kinds(features(nothing, bundle.contract.text), bundle.contract.text)
    for feature in bundle.manifest["features"]:
        if made.get(feature["name"]) != feature["kind"]:
            return f"ml/features.py does not make its {feature['kind']} {feature['name']}"
    return None


def predict(bundle: Bundle, columns: Mapping[str, NDArray[Any]]) -> Prediction:
    """Score any number of rows, given by the contract's columns, in bounded memory."""
    rows = len(next(iter(columns.values())))
    parts = [
        bundle.predict(
            {name: values[start : start + BATCH_ROWS] for name, values in columns.items()}
        )
        for start in range(0, max(rows, 1), BATCH_ROWS)
    ]
    probabilities = [part.probabilities for part in parts if part.probabilities is not None]
    return Prediction(
        np.concatenate([part.values for part in parts]),
        np.concatenate(probabilities) if probabilities else None,
    )
