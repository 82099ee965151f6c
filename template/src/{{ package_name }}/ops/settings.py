"""`params.yaml`, typed. A key that the file lacks has its default here."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, Self, Union, get_args, get_origin, get_type_hints

from .errors import UserError


@dataclass(frozen=True)
class Data:
    """Where the rows come from."""

    source: str = ""


@dataclass(frozen=True)
class Validation:
    """How many bad rows are too many."""

    quarantine: float = 0.05


@dataclass(frozen=True)
class Split:
    """The share held out, and the folds that models are compared on."""

    holdout: float = 0.2
    folds: int = 5


@dataclass(frozen=True)
class Train:
    """Which model, by which score, with which parameters."""

    model: Literal["auto", "linear", "boosting"] = "auto"
    score: str = "auto"
    half_life: float | Literal["auto", "none"] = "auto"
    """Of the rows' weights, in days; `auto`: whichever suits the newest rows, if any does."""

    linear: Mapping[str, Any] = field(default_factory=dict)
    boosting: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Gates:
    """What a model must show before it may be promoted."""

    baseline_gain: float = 0.02
    regression: float = 0.01
    slice: float = 0.05
    parity: float = 1e-4
    latency_milliseconds: float = 20.0
    minimum_score: float | None = None


@dataclass(frozen=True)
class Registry:
    """Whether an accepted model becomes champion by itself, and what it must show before."""

    promote: Literal["auto", "manual"] = "auto"
    shadow_rows: int = 0


@dataclass(frozen=True)
class Tune:
    """The budget of the search: whichever ends first."""

    trials: int = 30
    seconds: float = 120.0


@dataclass(frozen=True)
class Monitoring:
    """How the log is looked at, and how far the world may move."""

    window: int | str = 1000
    """As many rows, or the rows of a time such as `7d` or `12h`."""
    last: int = 3
    violated: int = 2
    alpha: float = 0.01
    psi: float = 0.2
    share: float = 0.05
    score: float = 0.03


@dataclass(frozen=True)
class Settings:
    """All of `params.yaml`."""

    seed: int = 7
    data: Data = Data()
    validation: Validation = Validation()
    split: Split = Split()
    train: Train = Train()
    gates: Gates = Gates()
    registry: Registry = Registry()
    tune: Tune = Tune()
    monitoring: Monitoring = Monitoring()

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read `params.yaml`.

        Raises:
            UserError: if it is not YAML, or a key is unknown or has a value that will not do.
        """
        import yaml

        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
        except FileNotFoundError:
            raise UserError(
                f"{path} is missing; restore it with `git restore {path.name}`."
            ) from None
        except yaml.YAMLError as error:
            place = str(getattr(error, "problem_mark", "")).strip()
            raise UserError(f"params.yaml is not valid YAML: mend it {place}.") from None
        settings: Self = _typed(cls, values, "")
        watch, fades = settings.monitoring, settings.train.half_life
        for place, fine, asked in (
            ("seed", 0 <= settings.seed < 2**32, "between 0 and 4294967295"),
            ("validation.quarantine", 0 <= settings.validation.quarantine <= 1, "from 0 to 1"),
            ("split.holdout", 0 < settings.split.holdout < 1, "between 0 and 1"),
            ("train.half_life", isinstance(fades, str) or fades > 0, "above 0"),
            ("split.folds", 2 <= settings.split.folds <= 100, "from 2 to 100"),
            ("registry.shadow_rows", settings.registry.shadow_rows >= 0, "0 or more"),
            ("tune.trials", settings.tune.trials >= 1, "1 or more"),
            ("monitoring.last", watch.last >= 1, "1 or more"),
            ("monitoring.violated", 1 <= watch.violated <= watch.last, "from 1 to monitoring.last"),
            ("monitoring.alpha", 0 < watch.alpha < 1, "between 0 and 1"),
        ):
            if not fine:
                raise UserError(f"params.yaml: {place} must be {asked}.")
        return settings


def _typed(kind: Any, value: Any, place: str) -> Any:
    """Hold `value` to `kind`, a dataclass or a plain type hint; `place` names it in messages."""
    if is_dataclass(kind):
        if not isinstance(value, Mapping):
            raise UserError(f"params.yaml: {place or 'the file'} must be a section with keys.")
        names = [item.name for item in fields(kind)]
        for key in value:
            if key not in names:
                close = difflib.get_close_matches(str(key), names, 1) or names
                raise UserError(
                    f"params.yaml: unknown key {_join(place, key)}; did you mean {close[0]}?"
                )
        hints = get_type_hints(kind)
        build: Any = kind
        return build(
            **{key: _typed(hints[key], item, _join(place, key)) for key, item in value.items()}
        )
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise UserError(f"params.yaml: {place} must be one of {', '.join(get_args(kind))}.")
    words: list[str] = []
    if get_origin(kind) in (UnionType, Union):
        if value is None and NoneType in get_args(kind):
            return None
        options = [item for item in get_args(kind) if item is not NoneType]
        words = [word for item in options for word in get_args(item)]
        if value in words:
            return value
        plain = [item for item in options if not get_args(item)]
        kind = next((item for item in plain if isinstance(value, item)), plain[0])
    if get_origin(kind) is not None:
        kind = Mapping
    if kind is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        name = "section" if kind is Mapping else kind.__name__
        of = "".join(f"{word}, or " for word in words) + f"of type {name}"
        raise UserError(f"params.yaml: {place} is {value!r}, and must be {of}.")
    return value


def _join(place: str, key: Any) -> str:
    return f"{place}.{key}" if place else str(key)
