"""The questions of the use case, and how what is typed is read."""

import re
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple


def _pairs(text: str) -> dict[str, str]:
    """What is typed as `NAME: VALUE; NAME: VALUE`; a ValueError if it is not."""
    parts = [] if text == "none" else text.split(";")
    return {name.strip(): value.strip() for name, value in (it.split(":", 1) for it in parts)}


def _costs(text: str) -> dict[str, dict[str, float]]:
    costs: dict[str, dict[str, float]] = {}
    for mistake, cost in _pairs(text).items():
        truth, answer = mistake.split(" as ")
        costs.setdefault(truth, {})[answer] = float(NUMBER(cost))
    return costs


def _ranked(text: str) -> str | dict[str, str]:
    """One use case by its name, or several with their numbers, the most promising one first."""
    if not re.search(r":[\d\s.,/]+(;|$)", text):
        return text
    return dict(sorted(_pairs(text).items(), key=lambda its: -promise(its[1])))


def _score(text: str) -> float:
    """A number, or a percentage."""
    return float(NUMBER(text.removesuffix("%"))) / (100 if text.endswith("%") else 1)


def promise(numbers: str) -> float:
    """Value times data at hand, by effort; a ValueError if these are not three of 1 to 5."""
    value, data, effort = map(int, _matching("[1-5] [1-5] [1-5]", numbers).split())
    return value * data / effort


def _matching(pattern: str, text: str) -> str:
    if not re.fullmatch(pattern, text):
        raise ValueError(text)
    return text


class Question(NamedTuple):
    """A question, and where its answer is kept: in a section of `params.yaml`, or in the page.

    `reads` makes of what is typed what is kept; a ValueError if it is no answer.
    """

    name: str
    asks: str
    example: str
    section: str = ""
    reads: Callable[[str], Any] = str


MANY = "What is predicted, and for what? (of several: value, data at hand and effort, 1 to 5)"
COSTS = "What does a wrong answer of each kind cost? (none: all cost the same)"
GROUPS = "Which groups must not be worse off, by a condition on columns? (none: there are none)"
KEPT = "How long is what kept? (days that are enforced: retention in params.yaml)"
NUMBER = partial(_matching, r"[-+\d.]+(e[-+]?\d+)?")
OWNER = partial(_matching, r"[^@\s,]*@[\w./-]+(,? [^@\s,]*@[\w./-]+)*")
RISK = partial(_matching, "(?i)minimal|limited|high")
QUESTIONS = (
    Question("use_case", MANY, "Route mail: 5 4 2; Write answers: 5 2 5", reads=_ranked),
    Question("decides", "Who decides what by a prediction?", "A clerk, by what is in her queue"),
    Question("affected", "Who is affected by it?", "Customers, who wait if their mail goes astray"),
    Question("replaces", "Which rule or person does it replace?", "A clerk who forwards all mail"),
    Question("limits", "What must it not be used for?", "To judge a customer, or a clerk"),
    Question("costs", COSTS, "fraud as other: 20; other as fraud: 1", "train", _costs),
    Question("minimum_score", "Which score is the least that is of use?", "0.8", "gates", _score),
    Question("groups", GROUPS, "elderly: age >= 65; channel: channel", "gates", _pairs),
    Question("owner", "Who answers for it, and reviews it?", "@ada, head@example.org", "", OWNER),
    Question("risk", "Of which risk is it: minimal, limited or high?", "limited", "", RISK),
    Question("retention", KEPT, "the log 90 days, labels for two years"),
)
