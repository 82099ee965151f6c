"""What a good model is: scores, losses and gates of your own, beside those that are built in.

A score or a loss takes the truth and a model's answers, numpy arrays of shape (rows,): positions in
the contract's classes, or numbers. If it has a third parameter, that is the probabilities, of shape
(rows, classes). It gives one number; or, which is faster, one for each row, and their mean counts.
To use one of these here, name it below: docs/ops/scores.md.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import fbeta_score

Array = NDArray[Any]
Measure = Callable[..., Array | float]
Gate = Callable[..., tuple[bool, str]]


def pinball(quantile: float) -> Measure:
    """A loss: it is least where this share of the truth lies below the answers."""

    def loss(truth: Array, answers: Array) -> Array:
        return np.maximum(quantile * (truth - answers), (1 - quantile) * (answers - truth))

    return loss


def f_beta(beta: float) -> Measure:
    """A score: F of each class, in which recall counts so many times as much as precision."""

    def score(truth: Array, answers: Array) -> float:
        return float(fbeta_score(truth, answers, beta=beta, average="macro", zero_division=0))

    return score


def most(share: float, distance: float) -> Gate:
    """A gate: at most this share of the answers may be further than this from the truth."""

    def gate(truth: Array, answers: Array) -> tuple[bool, str]:
        far = float(np.mean(np.abs(answers - truth) > distance))
        return far <= share, f"{far:.1%} are off by more than {distance:g}; {share:.1%} may be."

    return gate


SCORES: Mapping[str, Measure] = {}
"""Higher is better: what `train.score` may name, and the model card shows: {"f2": f_beta(2)}."""

LOSSES: Mapping[str, Measure] = {}
"""Lower is better: {"pinball": pinball(0.9)}."""

LOSS = "auto"
"""Which loss of a row judges slices: auto is the one of `train.score`, if it has any."""

GATES: Mapping[str, Gate] = {}
"""What a model must pass, too: {"no surprise": most(0.01, distance=100)}.

A gate asks for what it needs by the names of its parameters: truth, columns (arrays by name),
weights, answers, probabilities, scores (by name), champion_answers, champion_probabilities,
champion_scores.
"""
