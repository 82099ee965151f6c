"""Models of several libraries on the same rows, each in an environment of its own."""

from typing import NamedTuple


class Trial(NamedTuple):
    """How one contender did on one data set.

    Attributes:
        learner: its name.
        rows: the name of the data set.
        run: which rows were held out.
        score: ROC AUC (of each class against the others, the mean), or R².
        loss: log loss, or the mean squared error.
        processor_seconds: of all that it takes from rows to answers.
    """

    learner: str
    rows: str
    run: int
    score: float
    loss: float
    processor_seconds: float
