"""The second act: a season, a fault upstream and wrong labels; a model must learn from none.

A project learns from three years of deliveries whether one will be late. A fourth year comes, whose
seasons are those of the years before. Then a program upstream sends distances in another unit. It
is mended, a partner tells a fifth of its labels the wrong way round, and the depot takes some back.
"""

from __future__ import annotations

import re
import secrets
import shlex
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np
import polars as pl
from streams import CLASSES, CYCLE, draw

from .loop import ACCEPTED, Service, answers, looked, served

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from streams import Rows

    from .loop import Project

ROWS = 500
"""Deliveries in a window, which is a month."""
YEARS = 3
"""That the model learns from."""
AFTER = 3
"""Windows after the fault, whose labels are wrong in part."""
WRONG = 0.2
"""The share of the partner's labels that are told the wrong way round."""
SEED = 11
SETTINGS = {
    "window: 1000": f"window: {ROWS}",
    "cycle: none": "cycle: year",
    "model: blend": "model: linear",
}
"""In `params.yaml`: what its people know of their data."""
TAKEN_BACK = 60
"""Labels that the depot takes back."""
REFUSED = 3
"""The exit code."""


@dataclass
class Act:
    """All that is told."""

    season: list[str] = field(default_factory=list)
    """What `ops monitor` decided of each window of a year like the years before."""
    fault: str = ""
    """The same of the window in another unit."""
    advice: str = ""
    """The first line of that window's report."""
    if_needed: str = ""
    """What `ops retrain --if-needed` said then."""
    wrong: int = 0
    """Labels that the partner told the wrong way round."""
    refusal: str = ""
    """What `ops retrain` said of them."""
    sure: set[str] = field(default_factory=set)
    """Predictions of which the depot told what became, and took nothing back."""
    retrained: str = ""
    """What it said once they were excluded."""


def table(rows: Rows) -> pl.DataFrame:
    """What is known of deliveries when somebody asks for them."""
    return pl.DataFrame(
        {"ordered_at": rows.time, **{name: list(its) for name, its in rows.columns.items()}}
    ).with_columns(
        pl.col("ordered_at").dt.to_string("iso:strict") + "Z",
        pl.col("rain").cast(pl.Boolean),
    )


class Teller:
    """Lets the act happen in a project."""

    def __init__(self, project: Project, folder: Path, every: int = 1) -> None:
        """Prepare.

        Args:
            project: without a sample, set up.
            folder: for the file of deliveries, the keys and the log.
            every: after how many windows of the calm year there is a look at them.
        """
        self.project, self.folder, self.every, self.act = project, folder, every, Act()
        self.logs = folder / "served"
        self.keys = {name: secrets.token_hex(16) for name in ("shop", "depot", "partner")}
        self.draw = np.random.default_rng(SEED)

    def tell(self) -> Act:
        """Let it happen."""
        year, faulty, later = self.begin()
        keys = self.folder / "keys.txt"
        scopes = {"shop": "predict", "depot": "feedback", "partner": "feedback"}
        keys.write_text(
            "".join(f"{name}:{scopes[name]}:{key}\n" for name, key in self.keys.items())
        )
        with served(self.project, self.logs, API_KEYS_FILE=str(keys)) as port:
            for number, window in enumerate(year, 1):
                truths = self.pour(port, window)
                if number % self.every == 0:
                    self.act.season.append(self.monitor())
                self.tell_truly(port, truths)
            self.pour(port, faulty)
            self.act.fault = self.monitor()
            self.act.if_needed = self.retrain("--if-needed")
            for window in later:
                self.tell_labels(port, self.pour(port, window))
            self.take_back(port)
            time.sleep(1)
            self.act.refusal = self.retrain(code=REFUSED)
            self.exclude()
            self.act.retrained = self.retrain()
        return self.act

    def begin(self) -> tuple[list[Rows], Rows, list[Rows]]:
        """Train the first model; give the windows of a year, one with a fault, those after it."""
        count = {"history": YEARS * CYCLE, "windows": CYCLE + 1 + AFTER, "rows": ROWS}
        calm = draw("seasonal", None, SEED, **count)
        faulty = draw("seasonal", "unit changed", SEED, since=CYCLE, **count).windows[CYCLE]
        file = self.folder / "deliveries.csv"
        labelled = table(calm.learnt).with_columns(pl.Series("outcome", list(calm.learnt.truth)))
        labelled.write_csv(file)
        self.project.ops("data", "use", str(file), "--target", "outcome", "--time", "ordered_at")
        params = self.project.root / "params.yaml"
        text = params.read_text()
        for old, new in SETTINGS.items():
            text = text.replace(old, new)
        params.write_text(text)
        self.project.run("make", "train")
        self.project.commit("Train the first model")
        return calm.windows[:CYCLE], faulty, calm.windows[CYCLE + 1 :]

    def pour(self, port: int, window: Rows) -> dict[str, str]:
        """Ask for the deliveries of a window; give their true outcome by prediction."""
        told = answers(Service(port, self.keys["shop"]), table(window).to_dicts())
        numbers = (answer["prediction_id"] for answer in told)
        return dict(zip(numbers, map(str, window.truth), strict=True))

    def tell_labels(self, port: int, truths: Mapping[str, str]) -> None:
        """The depot tells what became of every other delivery, and the partner of the others."""
        told = list(truths.items())
        self.tell_truly(port, dict(told[::2]))
        wrong = self.draw.random(len(told[1::2])) < WRONG
        self.act.wrong += int(wrong.sum())
        other = dict(zip(CLASSES, reversed(CLASSES), strict=True))
        partner = zip(told[1::2], wrong, strict=True)
        said = {number: other[truth] if flip else truth for (number, truth), flip in partner}
        Service(port, self.keys["partner"]).tell(said)

    def tell_truly(self, port: int, truths: Mapping[str, str]) -> None:
        """The depot tells what became of deliveries."""
        Service(port, self.keys["depot"]).tell(truths)
        self.act.sure |= truths.keys()

    def take_back(self, port: int) -> None:
        """The depot takes back what it told of some deliveries.

        Raises:
            RuntimeError: if that is not taken.
        """
        gone = sorted(self.act.sure)[:TAKEN_BACK]
        told = [{"prediction_id": number, "retract": True} for number in gone]
        status, body = Service(port, self.keys["depot"]).ask("/feedback", told)
        if status != ACCEPTED:
            raise RuntimeError(f"/feedback said {status}: {body.decode()}")
        self.act.sure -= {*gone}

    def monitor(self) -> str:
        """Let the project look at what came in; give what it decided."""
        told = looked(self.project, self.logs)
        self.act.advice = told["action"]
        print(f"{told['decision']}: {told['action']}", flush=True)
        return str(told["decision"])

    def exclude(self) -> None:
        """Type the command that the refusal shows."""
        (command,) = re.findall(r"`uv run (ops labels exclude .+?) TEXT`", self.act.refusal)
        words = [*shlex.split(command), "a fifth was told the wrong way round"]
        print(self.project.run("uv", "run", *words, PREDICTIONS=str(self.logs)), flush=True)

    def retrain(self, *arguments: str, code: int = 0) -> str:
        """Let the project learn from what was labelled since, and keep what it made."""
        said = self.project.run(
            "uv", "run", "ops", "retrain", *arguments, code=code, PREDICTIONS=str(self.logs)
        )
        print("\n".join(said.strip().splitlines()[-8:]), flush=True)
        return said
