"""How fast to forget: the weight of a training row falls with its age.

After a change of the world the old rows mislead; without one every row is worth as much. The newest
training rows tell which it is, and are asked at every training: a model learns from all rows before
them, once with equal weights, and with weights that halve in a quarter, a sixteenth and a
sixty-fourth of the training period. To forget must make the newest rows less of a surprise, beyond
chance; of the half-lives that do, the one with the best score is taken.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..errors import UserError
from ..evaluation import metrics
from ..settings import BLEND

if TYPE_CHECKING:
    from .train import Rows

Positions = NDArray[np.intp]
Ages = NDArray[np.float64]
"""In days before the newest row, shape (rows,)."""

PARTS = (4, 16, 64)  # the half-lives that are compared, as parts of the training period
LEAST = 1e-6  # however old a row is, it keeps this much of its weight, so that no class is lost
DEVIATIONS = 2  # how many standard errors are beyond chance
ENOUGH_ROWS = 20_000  # of more rows than these, as many that lie evenly among them say enough


def days(times: pl.Series) -> pl.Series:
    """Days since 1970."""
    return times.cast(pl.Datetime("us")).to_physical() / 86_400_000_000


def ages(times: pl.Series, newest: Any = None) -> Ages:
    """How old rows are, on the day of the newest one or another; of no time: as the oldest."""
    latest: Any = days(times).max() if newest is None else newest
    old = ((latest or 0.0) - days(times)).to_numpy()
    return np.asarray(np.nan_to_num(old, nan=float(np.nanmax(old, initial=0))))


def faded(ages: Ages, half_life: float) -> NDArray[np.float64]:
    """What rows of these ages weigh beside one without age; `half_life` is in days."""
    return np.maximum(np.exp2(-ages / half_life), LEAST)


def weights(ages: Ages, half_life: float) -> NDArray[np.float64]:
    """What rows of these ages weigh, 1 on average."""
    fallen = faded(ages - ages.min(), half_life)
    return np.asarray(fallen / fallen.mean())


def choose(rows: "Rows", model: str, own: Mapping[str, Any]) -> float | None:
    """The half-life of the rows' weights in days; None where they all weigh the same.

    It is what `params.yaml` asks for, or suits the newest rows best: if a model with `own`
    parameters weighs its rows at all. A UserError if one is asked for, and rows have no age.
    """
    wanted = rows.train.half_life
    if wanted == "none" or (wanted == "auto" and not rows.in_time):
        return None
    if not rows.in_time:
        raise UserError(
            f"params.yaml: train.half_life is {wanted}, and rows have no age; mark the column of "
            'their time in ml/schema.py with metadata={"event_time": True}, or use auto.'
        )
    members = own if model == BLEND else {model: {"parameters": own}}
    built = {name: rows.build(name, its["parameters"]) for name, its in members.items()}
    if not any(rows.weighs(name, pipeline) for name, pipeline in built.items()):
        return None
    if wanted != "auto":
        return wanted

    learn, held = _turn(rows.ages, rows.folds)
    if len(np.unique(rows.labels[learn])) < 2:
        return None

    def judged(half_life: float | None) -> tuple[float, NDArray[np.float64]]:
        """The score of the newest rows, and the loss of each by its weight."""
        said = rows.answers(model, own, learn, held, half_life)
        losses = metrics.losses(rows.score, rows.labels[held], said) * rows.weights[held]
        return rows.scored(held, said), losses

    (most, surprise), best = judged(None), None
    for part in PARTS:
        half_life = float(f"{rows.ages.max() / part:.3g}")
        reached, losses = judged(half_life)
        spared = surprise - losses
        sure = spared.mean() > DEVIATIONS * spared.std() / np.sqrt(len(held))
        if sure and reached > most:
            most, best = reached, half_life
    return best


def _turn(ages: Ages, folds: NDArray[np.integer]) -> tuple[Positions, Positions]:
    """Positions to learn from, and those that tell: the newer half of the newest fold.

    Half of it, so that the older half may hold rows from after a change. Rows of one moment stay
    together.
    """
    moment = np.median(ages[folds == folds.max()])
    learn, held = np.flatnonzero(ages > moment), np.flatnonzero(ages <= moment)
    return thinned(learn), thinned(held)


def thinned(rows: Positions) -> Positions:
    """Rows that lie evenly among many."""
    return rows[:: max(1, -(-len(rows) // ENOUGH_ROWS))]
