"""Which class is answered: the likeliest one, or what `train.threshold` and `train.costs` ask for.

What is chosen is chosen on answers to training rows that the model had not learnt from.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..bundle import Decision
from ..contract import Contract, label
from ..errors import UserError
from ..evaluation import metrics
from ..evaluation.metrics import Array, Weights
from ..settings import Train

KINDS = {"regression": "is a number", "recommendation": "is one of an open set of items"}
"""What is said of a target without classes."""

THRESHOLDS = 200
"""How many thresholds are tried, at most: the quantiles of what the model says."""


def costs(train: Train, contract: Contract) -> list[list[float]] | None:
    """What each answer (column) costs where a class (row) is true; None if `params.yaml` is silent.

    A pair that is not named costs 1, and a right answer nothing.
    """
    if contract.classes and not train.costs and train.score == "cost":
        raise UserError("params.yaml: train.score is cost; say in train.costs what mistakes cost.")
    if not train.costs:
        return None
    target, classes = contract.target.name, contract.classes
    if not classes:
        kind = KINDS[contract.task]
        raise UserError(f"params.yaml: train.costs are of classes, and {target} {kind}.")
    matrix = 1 - np.eye(len(classes))
    for truth, answers in train.costs.items():
        for answer, cost in answers.items():
            named = label(truth), label(answer)
            for name in named:
                if name not in classes:
                    bare = " (quote a bare yes or no)" if name in ("true", "false") else ""
                    raise UserError(
                        f"params.yaml: train.costs names {name}{bare}, and {target} is one of "
                        f"{', '.join(classes)}."
                    )
            matrix[classes.index(named[0]), classes.index(named[1])] = cost
    if not np.isfinite(matrix).all():
        raise UserError("params.yaml: train.costs must be finite.")
    return matrix.tolist()


def choose(
    train: Train, contract: Contract, score: str, truth: Array, said: Array, weights: Weights
) -> dict[str, Any]:
    """How classes are chosen, as `Decision.of` reads it; empty if the likeliest one is answered.

    Args:
        train: what `params.yaml` asks for.
        contract: whose classes are answered.
        score: what a threshold is chosen by, unless costs are set.
        truth: of the training rows, see `metrics`.
        said: shape (rows, classes), what a model says that has not learnt from the row; or NaN.
        weights: of the rows.
    """
    matrix, wanted = costs(train, contract), train.threshold
    if wanted != "auto" and len(contract.classes) != 2:
        kind = KINDS.get(contract.task, f"has {len(contract.classes)} classes")
        raise UserError(
            f"params.yaml: train.threshold is {wanted}, and {contract.target.name} {kind}; it is "
            "for two classes, so use auto."
        )
    told: dict[str, Any] = {} if matrix is None else {"costs": matrix}
    if isinstance(wanted, float):
        return {**told, "threshold": wanted}
    if len(contract.classes) != 2 or not (told or wanted == "best"):
        return told
    by = score if wanted == "best" else "cost"
    known = np.isfinite(said).all(axis=1)
    rows = truth[known], said[known], weights[known]
    return {**told, "threshold": _best(by, told, *rows), "by": by}


def _best(name: str, told: Mapping[str, Any], truth: Array, said: Array, weights: Weights) -> float:
    """The threshold of the best score; of several, the one that suits exact probabilities most."""
    usual = 0.5
    if name == "cost":
        (right, alarm), (miss, hit) = told["costs"]
        wrong = alarm - right, miss - hit
        usual = wrong[0] / sum(wrong) if min(wrong) >= 0 < sum(wrong) else 0.5
    tried = np.quantile(said[:, 1], np.linspace(0, 1, THRESHOLDS))
    tried = np.unique([float(f"{it:.4g}") for it in (*tried, usual)])
    score, made = metrics.find(name, told.get("costs")), map(Decision, tried.tolist())
    scores = np.array([metrics.worth(score, truth, it.answer(said), weights) for it in made])
    if np.ptp(scores) == 0 and name != "cost":
        raise UserError(
            f"params.yaml: train.threshold is best, and {name} does not depend on a threshold; set "
            "train.score to one of answers, such as f1, or leave the threshold auto."
        )
    best = tried[scores >= scores.max()]
    return float(best[np.abs(best - usual).argmin()])
