"""`params.yaml`, typed. A key that the file lacks has its default here."""

import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import reduce
from io import StringIO
from pathlib import Path
from typing import Annotated, Any, Literal, Self, get_args, get_type_hints

import msgspec
from msgspec import Meta

from .contract import words
from .errors import UserError
from .user_code import PACKAGE
from .wording import closest, listed

AUTO, BLEND = "auto", "blend"
"""What `train.model` may be beside a model of `ml/model.py`: the best of them, or their blend."""
EARLIER = ("linear", "boosting")
"""Sections of `train` that every release rendered, whether or not there are such models today."""

LEAST_ROWS = 100  # of a window by count: of fewer nothing can be said
MOST_ROWS = 1_000_000  # of a window by count: for more there are windows by time
SECONDS = {"m": 60, "h": 3_600, "d": 86_400, "w": 604_800}

Positive = Annotated[float, Meta(gt=0)]
AtLeastOne = Annotated[int, Meta(ge=1)]


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A section of the file: its keys, their types, bounds and defaults."""


class Data(Section, frozen=True):
    """Where the rows come from."""

    source: str = ""


class Validation(Section, frozen=True):
    """How many bad rows are too many."""

    quarantine: Annotated[float, Meta(ge=0, le=1)] = 0.05


class Split(Section, frozen=True):
    """The share held out, and the folds that models are compared on."""

    holdout: Annotated[float, Meta(gt=0, lt=1)] = 0.2
    folds: Annotated[int, Meta(ge=2, le=100)] = 5


class Train(Section, frozen=True):
    """Which model, by which score, with which parameters."""

    model: str = AUTO
    score: str = "auto"
    half_life: Positive | Literal["auto", "none"] = "auto"
    """Of the rows' weights, in days; `auto`: whichever suits the newest rows, if any does."""

    refit: bool = False
    """Whether the model is fitted again on all rows, for service, once it was judged."""

    threshold: Annotated[float, Meta(gt=0, lt=1)] | Literal["auto", "best"] = "auto"
    """Of two classes; `auto`: the likeliest one, or by `costs`; `best`: by the score."""
    costs: dict[Any, dict[Any, Annotated[float, Meta(ge=0)]]] | None = None
    """By the true class, what each answer costs; 1 if it is wrong and not named."""

    in_memory: AtLeastOne = 10_000_000
    """Rows; of more, as many compare and judge models, and `PARTS` may learn from all."""

    sections: dict[str, dict[str, Any]] = {}
    """By model of `ml/model.py`, its own parameters: in the file they stand in `train` itself."""


class Gates(Section, frozen=True):
    """What a model must show before it may be promoted."""

    baseline_gain: float = 0.02
    regression: float = 0.01
    improvement: float | None = None
    slice: float = 0.05
    parity: float = 1e-4
    latency_milliseconds: float = 20.0
    minimum_score: float | None = None
    groups: dict[str, str] | None = None
    """By name, rows that must not be worse off: a condition in SQL, or a column of such names."""
    group_gap: float = 0.05
    use_case: bool = False
    """Whether `docs/use-case.md` must be answered."""


class Registry(Section, frozen=True):
    """Whether an accepted model becomes champion by itself, and what it must show before."""

    promote: Literal["auto", "manual"] = "auto"
    shadow_rows: Annotated[int, Meta(ge=0)] = 0
    nested_runs: bool = True
    """Whether what `train` compared, and what `ops tune` tried, are runs of MLflow as well."""


class Tune(Section, frozen=True):
    """The budget of the search: whichever ends first."""

    trials: AtLeastOne = 30
    seconds: Positive = 120.0


Check = Literal[
    "contract", "missing", "out of range", "unknown categories", "vanished categories", "drift",
    "vocabulary", "multivariate", "predictions", "probabilities", "score", "calibration",
    "coverage", "unknown labels",
]  # fmt: skip


class Accepted(Section, frozen=True):
    """How far a column may move, as far as is known, until a day or a champion after `version`."""

    limits: dict[Check, float]
    reason: str
    version: str
    until: date | None = None


class Monitoring(Section, frozen=True):
    """How the log is looked at, and how far the data may move."""

    window: int | str = 1000
    """As many rows, or the rows of a time such as `7d` or `12h`."""
    cycle: Literal["day", "week", "year", "none"] = "none"
    """What comes back: windows are compared with the same part of it, where history has two."""
    last: AtLeastOne = 3
    violated: AtLeastOne = 2
    alpha: Annotated[float, Meta(gt=0, lt=1)] = 0.01
    psi: float = 0.2
    share: float = 0.05
    score: float = 0.03
    columns: dict[str, dict[Check, float]] = {}
    """Limits of single columns, by check; so are those of checks that have no column."""
    accepted: dict[str, Accepted] = {}

    @property
    def size(self) -> int | timedelta:
        """Of a window: rows or a time; a UserError if `window` is neither."""
        text = str(self.window).strip()
        if text.isdecimal() and LEAST_ROWS <= int(text) <= MOST_ROWS:
            return int(text)
        if (found := span(text)) is not None:
            return found
        raise UserError(
            f"params.yaml: monitoring.window is {self.window!r}; give it rows, from {LEAST_ROWS} "
            f"to {MOST_ROWS:,}, or a time such as 12h or 7d."
        )


class Retention(Section, frozen=True):
    """For how many days is kept what people are in; None: for ever."""

    log_days: AtLeastOne | None = None
    label_days: AtLeastOne | None = None


class Costs(Section, frozen=True):
    """What things cost, and what a busy core takes with its share of all else."""

    currency: str = "EUR"
    processor_hour: float = 0.05
    gigabyte_month: float = 0.02
    watts: float = 10.0


class Settings(Section, frozen=True):
    """All of `params.yaml`."""

    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 7
    data: Data = Data()
    validation: Validation = Validation()
    split: Split = Split()
    train: Train = Train()
    gates: Gates = Gates()
    registry: Registry = Registry()
    tune: Tune = Tune()
    monitoring: Monitoring = Monitoring()
    retention: Retention = Retention()
    costs: Costs = Costs()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `params.yaml`; a UserError if a key is unknown, or a value will not do."""
        import yaml

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing; restore it with `git restore {path.name}`."
            ) from None
        except (UnicodeDecodeError, yaml.YAMLError) as error:
            place = str(getattr(error, "problem_mark", "")).strip() or "as a text in UTF-8"
            raise UserError(f"params.yaml is not valid YAML: mend it {place}.") from None
        names = words("MODELS", (PACKAGE / "ml" / "model.py").read_text("utf-8"))
        if isinstance(values, dict) and isinstance(values.get("train"), dict):
            values["train"] = _with_sections(values["train"], names)
        try:
            settings = msgspec.convert(values, cls)
        except msgspec.ValidationError as error:
            raise UserError(f"params.yaml: {_mistake(str(error), values)}") from None
        if names and settings.train.model not in (AUTO, BLEND, *names):
            raise UserError(
                f"params.yaml: train.model is {settings.train.model!r}: expected "
                f"{', '.join((AUTO, BLEND, *names))}."
            )
        if settings.monitoring.violated > settings.monitoring.last:
            raise UserError("params.yaml: monitoring.violated must be at most monitoring.last.")
        return settings


def span(text: str) -> timedelta | None:
    """Read a time such as `12h` or `7d` (minutes, hours, days, weeks); None if it is none."""
    found = re.fullmatch(r"([1-9]\d{0,5})\s?([mhdw])", text.strip())
    return found and timedelta(seconds=int(found[1]) * SECONDS[found[2]])


def with_values(text: str, section: str, values: Mapping[str, Any], of: str = "params.yaml") -> str:
    """The text of a file of YAML with some values changed, and every comment as it was.

    They stand in a `section` such as `train.boosting`, which is made if need be, or in none.
    """
    import yaml
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError

    editor = YAML()
    editor.preserve_quotes = True
    editor.representer.add_representer(
        type(None), lambda writer, _: writer.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    try:
        document = editor.load(text) or {}
    except MarkedYAMLError as error:
        raise UserError(f"Mend {of}: {error.problem}.") from None
    place = document
    for key in filter(None, section.split(".")):
        place[key] = place.get(key) or {}
        place = place[key]
    # PyYAML, which reads it, takes a bare `no` or `12:30` for no text.
    place.update(editor.load(yaml.safe_dump(dict(values), allow_unicode=True, sort_keys=False)))
    made = StringIO()
    editor.dump(document, made)
    return made.getvalue()


def _with_sections(train: Mapping[Any, Any], names: Sequence[str]) -> dict[Any, Any]:
    """The section `train` with those of the models called `names` within `sections`.

    Where no names are known, as `ml/model.py` makes them when it runs, every section is taken.
    """
    keys = [key for key in Train.__struct_fields__ if key != "sections"]
    sections = {key: value for key, value in train.items() if key not in keys}
    for name, section in sections.items():
        if names and name not in (*names, *EARLIER):
            said = unknown(f"train.{name}", [*keys, *names])
            if isinstance(section, dict) and not closest(name, names):
                said = f"train.{name} is of no model in ml/model.py: {listed(names)} are there."
            raise UserError(f"params.yaml: {said}")
        if not isinstance(section, dict):
            raise UserError(f"params.yaml: train.{name} must be a section with keys.")
        if not all(isinstance(key, str) for key in section):
            raise UserError(f"params.yaml: a key in train.{name} is no text: write it in quotes.")
    return {key: train[key] for key in keys if key in train} | {"sections": sections}


def unknown(key: str, names: Iterable[str]) -> str:
    """What is said of a key where one of some names is expected."""
    (close,) = closest(key.rpartition(".")[-1], names, cutoff=0)
    return f"unknown key {key}; did you mean {close}?"


def _mistake(said: str, values: Any) -> str:
    """What msgspec says of the values, in words that name the place as people type it."""
    said, _, place = said.replace("`object`", "section").replace("`", "").partition(" - at $.")
    if " - at key in " in said:
        said, _, place = said.partition(" - at key in $")
        place = place.lstrip(".").partition("[")[0]
        if said.startswith("Invalid enum"):
            return f"{place} holds a check that is none: {said.split()[-1]}."
        return f"a key in {place or 'the file'} is no text: write it in quotes."
    if "[" in place:
        return f"a value of {place.partition('[')[0]} will not do: {said[0].lower()}{said[1:]}."
    keys = place.split(".") if place else []
    hint: Any = reduce(lambda section, key: get_type_hints(section)[key], keys, Settings)
    if said.startswith("Object contains unknown field "):
        return unknown(".".join([*keys, said.split()[-1]]), hint.__struct_fields__)
    if isinstance(hint, type) and issubclass(hint, Section):
        return f"{place or 'the file'} must be a section with keys."
    value = reduce(lambda section, key: section[key], keys, values)
    words = [word for part in (hint, *get_args(hint)) for word in get_args(part)]
    if said.startswith("Invalid enum value"):
        said = f"Expected {', '.join(str(word) for word in words if isinstance(word, str))}"
        said += " or a number" if float in get_args(hint) or Positive in get_args(hint) else ""
    return f"{place} is {value!r}: {said[0].lower()}{said[1:]}."
