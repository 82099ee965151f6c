"""Compare models by cross-validation, fit the best one on all training rows, and export it."""

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from copy import copy
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import polars as pl
from msgspec import Meta
from numpy.typing import NDArray
from sklearn.dummy import DummyRegressor
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import has_fit_parameter
from threadpoolctl import threadpool_limits

from ...ml import model as models
from ...ml.features import features
from .. import contract as contracts
from .. import user_code
from ..bundle import JUDGED, TOLERANCE, Prediction, Session, decided, described, distance
from ..contract import FOLD, Contract
from ..errors import UserError, shortly
from ..evaluation import metrics
from ..evaluation.metrics import Array
from ..export import blendable
from ..files import replacing, write_json
from ..project import Project
from ..settings import AUTO, BLEND, EARLIER, AtLeastOne, Positive, Settings, Train, unknown
from . import blend, decisions, parallel, parquet, recency
from .blend import Blend

ENOUGH_WORK = 100_000
"""Rows, times classes: from here on one fold says enough, at a fraction of the time."""
FEW_ROWS = 20_000
"""Up to here threads wait for each other longer than they work, most of all on a busy machine."""

FEW_TIMES = 1_000  # so many rows show which features follow the event time
SEASON = 0.9  # the share of its range that a recurring feature runs through in every fold
CURVE = (0.25, 0.5, 1.0)  # shares of the training rows that make the learning curve
PERCENTILES = np.arange(0.01, 1, 0.01)  # of the target, which the baseline may be
FEW_COLUMNS = 10  # the features that `FEW_ROWS` is meant for; of more, fewer rows are enough
MANY_COLUMNS = 500  # features, times classes: from here on one fold says enough, too
ENOUGH_ROWS = 1_000  # held rows compare models; in time all folds do, for monitoring's history
MANY_ROWS = 1_000_000  # from here on it is said what they cost
BYTES = 44  # of memory, for each feature of a row that is learnt from: measured


class Rows:
    """Training rows as the models take them, and what `params.yaml` asks of these."""

    def __init__(
        self, contract: Contract, frame: pl.DataFrame, settings: Settings | None = None
    ) -> None:
        """Make features and labels once, for all folds and models."""
        settings = settings or Settings()
        self.contract, self.train, self.seed = contract, settings.train, settings.seed
        costs = decisions.costs(self.train, contract)
        self.score = metrics.find(self.train.score, costs, contract.task)
        self._read(frame)
        self.folds = frame[FOLD].to_numpy()
        self.splits = list(self._splits())
        if not self.splits:
            raise UserError(
                f"No fold has different values of {contract.target.name} both to learn from and "
                "to validate on; gather more rows, or change split in params.yaml."
            )
        arrays = contract.arrays(frame)
        made = make_features(arrays, contract.text)
        self.passing = self._passing(arrays, made)
        made = {
            name: values
            for name, values in made.items()
            if name not in self.passing and all(_varies(values[learn]) for learn, _ in self.splits)
        }
        if not made:
            raise UserError("No feature has two different values in the training rows.")
        self.inputs = described(made, contract.text)
        self.kinds = contracts.kinds(contracts.unfolded(made), contract.text)
        self.features = frame_of(made, self.kinds)
        self.weighed, self.told = contract.with_role("weight") is not None, set[str]()
        self.said: dict[str, NDArray[np.float32]] = {}  # by models that had not learnt from the row
        self.items: dict[str, Array] = {}  # what they recommended
        self.validation: dict[str, list[float]] = {}  # the scores of these, fold by fold
        self.parts: Sequence[Path] = ()  # of all rows, where these are but some of them
        self.in_parts: set[str] = set()  # the models that have learnt from the parts
        self.decisions: dict[str, dict[str, Any]] = {}  # of each model, see `decisions.choose`

    def _read(self, frame: pl.DataFrame, newest: float | None = None) -> None:
        """Take the labels and weights of rows, and their ages, before the newest of them or all."""
        self.labels, self.weights = self.contract.labels(frame), self.contract.weights(frame)
        time = self.contract.with_role("event_time")
        self.in_time = time is not None
        self.newest: Any = newest
        if time is not None and newest is None:
            self.newest = recency.days(frame[time.name]).max()
        self.ages = recency.ages(frame[time.name], self.newest) if time else np.zeros(len(frame))

    def others(self, frame: pl.DataFrame, newest: float | None = None) -> "Rows":
        """Other rows with the features of these, which need no folds."""
        others = copy(self)
        others._read(frame, newest)
        made = features(self.contract.arrays(frame), self.contract.text)
        others.features = frame_of(made, self.kinds)
        return others

    def _splits(self) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
        """Positions to learn from and to validate on; never the past from the future.

        Folds where the target does not vary on both sides can compare nothing, and are left out.
        """
        names = np.unique(self.folds)
        enough = -ENOUGH_ROWS * len(names) // len(self.labels)  # the last folds, rounded up
        turns = names[1:] if self.in_time else names[enough:]
        classes = len(self.contract.classes)
        trees = classes if classes > 2 else 1
        wide = sum(it.width for it in self.contract.features) * trees >= MANY_COLUMNS
        if wide or len(self.labels) * trees >= ENOUGH_WORK:
            turns = turns[-1:]
        for turn in turns:
            learn = np.flatnonzero(self.folds < turn if self.in_time else self.folds != turn)
            held = np.flatnonzero(self.folds == turn)
            if _varies(self.labels[learn]) and _varies(self.labels[held]):
                yield learn, held

    def _passing(self, arrays: Mapping[str, Array], made: Mapping[str, Array]) -> list[str]:
        """Features that follow the event time, and whose range not every fold has gone through.

        A date never comes back, and a season that came once is none: a model would take it for
        whatever else has changed meanwhile, and be wrong of all later rows.
        """
        time = self.contract.with_role("event_time")
        if time is None:
            return []
        step = max(1, len(self.labels) // FEW_TIMES)
        few = {name: values[::step] for name, values in arrays.items()}
        turned = features(few | {time.name: few[time.name][::-1]}, self.contract.text)
        folds = [self.folds == fold for fold in np.unique(self.folds)]
        return [
            name
            for name, values in turned.items()
            if values.dtype.kind == "f"
            and not np.array_equal(values, made[name][::step], equal_nan=True)
            and min(_range(made[name][fold]) for fold in folds) < SEASON * _range(made[name])
        ]

    def build(self, model: str, parameters: Mapping[str, Any]) -> Pipeline:
        """Build an unfitted pipeline; a UserError if the model does not take its parameters."""
        build = partial(models.build, model, self.contract.task, self.kinds)
        try:
            made = build(parameters, self.seed)
        except (TypeError, ValueError) as error:
            names = set(searched(model))
            with suppress(TypeError, ValueError):
                names |= build({}, self.seed).steps[-1][1].get_params().keys()
            wrong = [it for it in parameters if it not in names and f"'{it}'" in str(error)]
            said = f"train.{model} does not fit: {error}"
            if names and wrong:
                said = unknown(f"train.{model}.{wrong[0]}", names)
            raise UserError(f"params.yaml: {said}") from error
        if not isinstance(made, Pipeline):
            raise UserError(f"ml/model.py: build must give a Pipeline of scikit-learn for {model}.")
        if isinstance(made[-1], FixedThresholdClassifier | TunedThresholdClassifierCV):
            raise UserError(
                f"ml/model.py: {model} has a threshold of its own, which no export holds; give the "
                "classifier in it, and set train.threshold in params.yaml."
            )
        return made

    def fit(
        self,
        model: str,
        parameters: Mapping[str, Any],
        rows: NDArray[np.intp] | None = None,
        half_life: float | None = None,
    ) -> Pipeline | Blend:
        """Fit a fresh pipeline on some rows, or on all, which weigh less the older they are.

        Of a blend, `parameters` are of each member its `weight` and its own `parameters`.
        """
        if model == BLEND:
            each = parameters.items()
            fitted = {name: self.fit(name, it["parameters"], rows, half_life) for name, it in each}
            return Blend(fitted, [it["weight"] for it in parameters.values()])
        pipeline = self.build(model, parameters)
        in_parts = getattr(models, "PARTS", {}).get(model)
        if rows is None and self.parts and in_parts:
            self.in_parts.add(model)
            said = f"{model} learns from all rows, a part at a time, of {len(self.parts)}"
            print(said, flush=True)
            return self._fit_parts(in_parts, pipeline, half_life)
        rows = self._bounded(model, np.arange(len(self.labels)) if rows is None else rows)
        if model == "trivial" and isinstance(pipeline[-1], DummyRegressor):
            pipeline[-1].set_params(**self._least(rows))
        weighed, weights = {}, self.weights[rows]
        if half_life is not None:
            weights = weights * recency.weights(self.ages[rows], half_life)
        name, last = pipeline.steps[-1]
        if (half_life is not None or self.weighed) and self.weighs(model, pipeline):
            weighed[f"{name}__sample_weight"] = weights
        if has_fit_parameter(last, "ages"):
            weighed[f"{name}__ages"] = self.ages[rows]
        try:
            return pipeline.fit(self.features[rows], self.labels[rows], **weighed)
        except TypeError as error:  # scikit-learn's own for a value that is out of range, too
            raise UserError(f"params.yaml: train.{model} does not fit: {error}") from error

    def _fit_parts(
        self, fit: Callable[..., None], pipeline: Pipeline, half_life: float | None
    ) -> Pipeline:
        """Fit the last step on all parts, one of which is held at a time; the others on these rows.

        To `fit`, of `PARTS` in `ml/model.py`, is given that step, for each part what reads its
        columns, labels and weights, and the number of classes.
        """
        *steps, last = pipeline.steps
        before = Pipeline(steps).fit(self.features, self.labels) if steps else None

        def taken(part: Path) -> tuple[Any, Array, NDArray[np.float64]]:
            rows = self.others(pl.read_parquet(part), self.newest)
            columns = before.transform(rows.features) if before else rows.features
            weights = rows.weights * (recency.faded(rows.ages, half_life) if half_life else 1.0)
            return columns, rows.labels, weights

        reads = [partial(taken, part) for part in self.parts]
        fit(last[1], reads, len(self.contract.classes))
        return Pipeline([*(before.steps if before else ()), last])

    def _least(self, rows: NDArray[np.intp]) -> dict[str, Any]:
        """Options of the baseline: the number that loses least by the score, if not the mean."""
        rows = recency.thinned(rows)
        truth, weights = self.labels[rows], self.weights[rows]

        def loss(number: float) -> float:
            lost = metrics.losses(self.score, truth, np.full(len(truth), number))
            return metrics.mean(lost, weights)

        numbers = [metrics.mean(truth, weights), *np.quantile(truth, PERCENTILES)]
        best = min(numbers, key=loss)
        return {} if best == numbers[0] else {"strategy": "constant", "constant": best}

    def weighs(self, model: str, pipeline: Pipeline) -> bool:
        """Whether a model weighs its rows; if its last step does not, it is said once."""
        last = pipeline.steps[-1][1]
        if has_fit_parameter(getattr(last, "regressor", last), "sample_weight"):
            return True
        if model not in self.told:
            print(f"{model} weighs all rows the same: its last step takes no sample_weight.")
        self.told.add(model)
        return False

    def _bounded(self, model: str, rows: NDArray[np.intp]) -> NDArray[np.intp]:
        """As many of some rows as ROWS in `ml/model.py` grants a model, and one of each class."""
        most = getattr(models, "ROWS", {}).get(model, len(rows))
        if len(rows) <= most:
            return rows
        drawn = np.random.default_rng(self.seed).choice(len(rows), most, replace=False)
        if self.contract.classes:
            drawn = np.union1d(drawn, np.unique(self.labels[rows], return_index=True)[1])
        return np.asarray(rows[np.sort(drawn)])

    def answers(
        self,
        model: str,
        parameters: Mapping[str, Any],
        learn: NDArray[np.intp],
        held: NDArray[np.intp],
        half_life: float | None = None,
    ) -> Prediction:
        """What a model that learns from some rows says of others."""
        with threads(self):  # on whichever machine
            pipeline = self.fit(model, parameters, learn, half_life)
        if self.train.model == BLEND and isinstance(pipeline, Pipeline) and model != "trivial":
            blendable(pipeline, self.kinds)
        return predict(pipeline, self.contract, self.features[held], self.decisions.get(model))

    def validate(self, model: str, parameters: Mapping[str, Any]) -> list[float]:
        """The score of a model on each fold, learnt from the others; its answers are kept."""
        answered = partial(self.answers, model, parameters)
        parts = list(parallel.map(answered, *zip(*self.splits, strict=True)))
        if self.contract.task == "recommendation":
            self.items[model] = self._placed([part.values for part in parts], "")
        return self.judge(model, self._placed([part.scored for part in parts], np.nan))

    def _placed(self, parts: Sequence[Array], unknown: Any) -> Array:
        """What is said of each fold as an array of all rows."""
        made = np.full((len(self.labels), *parts[0].shape[1:]), unknown, parts[0].dtype)
        for (_, held), part in zip(self.splits, parts, strict=True):
            made[held] = part
        return made

    def judge(self, model: str, said: NDArray[np.float32]) -> list[float]:
        """The score on each fold of what a model `said` of rows that it had not learnt from."""
        about = self.train, self.contract, self.score.name, self.labels, said, self.weights
        told = self.decisions[model] = decisions.choose(*about)
        self.said[model] = said
        items = self.items.get(model)
        answers = decided(told).answer(said) if items is None else Prediction(items, said)
        scores = [self.scored(held, answers[held]) for _, held in self.splits]
        if not np.isfinite(scores).all():
            raise ValueError(f"{self.score.name} of what it answers is no number")
        self.validation[model] = scores
        return scores

    def scored(self, rows: NDArray[np.intp], answers: Prediction) -> float:
        """The score of the answers to some rows; higher is better."""
        return metrics.worth(self.score, self.labels[rows], answers, self.weights[rows])


class Declared(msgspec.Struct, frozen=True):
    """What `ml/model.py` must declare, and may."""

    build: Any
    MODELS: Annotated[tuple[str, ...], Meta(min_length=1)]
    PARTS: dict[str, Any] = {}
    ROWS: dict[str, AtLeastOne] = {}
    SEARCH: dict[str, dict[str, tuple[Positive, Positive]]] = {}


def searched(model: str) -> Mapping[str, tuple[float, float]]:
    """Where `ops tune` looks for a model's parameters; nothing where `ml/model.py` says nothing."""
    ranges: Mapping[str, tuple[float, float]] = getattr(models, "SEARCH", {}).get(model, {})
    return ranges


def threads(rows: Rows) -> threadpool_limits:
    """A context in which as many threads fit models as pay for these rows."""
    few = len(rows.labels) * len(rows.kinds) <= FEW_ROWS * FEW_COLUMNS
    return threadpool_limits(1 if few else pl.thread_pool_size())  # what a container may use


def afford(rows: int, columns: int) -> None:
    """Say what many rows take to learn from in memory; a UserError if this machine has it not."""
    needed = rows * columns * BYTES
    pages = ("SC_PAGE_SIZE", "SC_PHYS_PAGES")
    there = np.prod([os.sysconf(name) for name in pages]) if hasattr(os, "sysconf") else np.inf
    if needed > there:
        raise UserError(
            f"{rows:,} rows take about {needed / 1e9:,.1f} GB to learn from in memory, and this "
            f"machine has {there / 1e9:.1f} GB; set train.in_memory in params.yaml to "
            f"{int(there / 2 / (columns * BYTES)):,}, and see docs/ops/pipeline.md."
        )
    if rows >= MANY_ROWS:
        print(f"{rows:,} rows take about {needed / 1e9:,.1f} GB to learn from", flush=True)


def run(project: Project) -> None:
    """Write `models/candidate`: the exported model, how it was chosen, and its own answers."""
    settings = Settings.load(project.params)
    contract, most = contracts.load(), settings.train.in_memory
    every = parquet.count(project.train)
    afford(min(every, most), len(contract.features))
    learnt = parquet.spread(project.train, contract, most, folded=True)
    kept = parquet.spread(project.holdout, contract, most)
    rows = Rows(contract, learnt, settings)
    if len(learnt) < every:
        print(f"models are compared on {len(learnt):,} of {every:,} rows, spread evenly")
        rows.parts = parquet.parts(project.train)
    if rows.passing:
        print(f"left out, as not every fold has seen its whole range: {', '.join(rows.passing)}")
    with threads(rows):
        training, fitted = choose(rows)
        if settings.train.refit:
            both = rows.others(pl.concat([learnt.drop(FOLD), kept]))
            both.parts = [*rows.parts, *parquet.parts(project.holdout)] if rows.parts else ()
            fitted["served"] = again(both, training)
    if rows.parts:
        training["sample"] = {"rows": len(learnt), "of": every, "in_parts": sorted(rows.in_parts)}
    held = rows.others(kept).features
    answers: dict[str, Any] = {}
    used = dict.fromkeys(fitted, training["model"]) | {"trivial": "trivial"}
    for name, pipeline in fitted.items():
        said = vars(predict(pipeline, rows.contract, held, rows.decisions[used[name]]))
        answers |= {f"{name}_{kind}": array for kind, array in said.items() if array is not None}
    answers["history"] = rows.said[training["model"]] if rows.in_time else np.empty(0)
    if rows.items:
        answers["history_items"] = rows.items[training["model"]]
    elif not training["decision"]:  # by its own threshold, if it has one
        own = fitted.keys() - {"trivial"}
        answers |= {f"{name}_values": np.ravel(fitted[name].predict(held)) for name in own}
    with replacing(project.candidate) as folder:
        judged = folder / JUDGED if settings.train.refit else folder
        judged.mkdir(parents=True)
        for place, name in ((folder, "served"), (judged, "model")):
            if name in fitted:
                training["file"], model = blend.export(fitted[name], rows.kinds)
                (place / training["file"]).write_bytes(model)
        plain = {  # written without pickle: texts of one length
            name: its.astype(str) if its.dtype == object else its for name, its in answers.items()
        }
        np.savez(folder / "answers.npz", **plain)
        write_json(folder / "training.json", training)


def choose(rows: Rows) -> tuple[dict[str, Any], dict[str, Pipeline | Blend]]:
    """Compare the models, and fit the best one, or their blend, and the baseline on all rows.

    Gives how the model was chosen and made, as JSON-able data; and both, `model` and `trivial`.
    """
    hold(rows)
    compare(rows)
    best = max([*rows.validation][1:], key=lambda model: float(np.mean(rows.validation[model])))
    sections, remark = rows.train.sections, ""
    options: list[tuple[str, Mapping[str, Any]]] = [(best, sections.get(best, {}))]
    if rows.train.model == BLEND:
        weights, remark = blend.offer(rows, best)
        print(remark, flush=True)
        members = {
            name: {"weight": weight, "parameters": sections.get(name, {})}
            for name, weight in weights.items()
        }
        options = [(BLEND, members), *options] if members else options
    for chosen, own in options:
        half_life = recency.choose(rows, chosen, own)
        fading = "" if half_life is None else f", whose weight halves every {half_life:g} days"
        which = "" if rows.parts else f" on all {len(rows.labels):,} training rows"
        print(f"{chosen} is fitted{which}{fading}", flush=True)
        pipeline = rows.fit(chosen, own, half_life=half_life)
        if chosen == best or (strayed := astray(rows, pipeline)) <= TOLERANCE:
            break
        remark = f"{remark} Its export strays by {strayed:.1g}, so {best} is taken."
    if threshold := rows.decisions[chosen].get("threshold"):
        print(f"{rows.contract.classes[1]} is answered from a probability of {threshold:g} on")
    training = {
        "model": chosen,
        "parameters": {**own, **({"half_life": half_life or "none"} if rows.in_time else {})},
        "remark": remark,
        "seed": rows.seed,
        "score": rows.score.name,
        "decision": rows.decisions[chosen],
        "contract": rows.contract.to_dict(),
        "features": rows.inputs,
        "validation": rows.validation,
        "learning_curve": learning_curve(rows, chosen, own, half_life),
    }
    return training, {"model": pipeline, "trivial": rows.fit("trivial", {})}


def astray(rows: Rows, model: Blend) -> float:
    """How far what is exported of a blend strays from what was fitted, on some training rows."""
    some = rows.features[:: -(-len(rows.features) // FEW_TIMES)]
    session = Session(blend.export(model, rows.kinds)[1])
    said = session.run([column.to_numpy() for column in some.iter_columns()])
    return distance(said.scored, predict(model, rows.contract, some).scored)


def compare(rows: Rows) -> None:
    """Validate the baseline and the models asked for; of several, one that fails is left out."""
    for model in ("trivial", *asked(rows.train)):
        try:
            mean = float(np.mean(rows.validate(model, rows.train.sections.get(model, {}))))
            said = f"{rows.score.name} {-mean if rows.score.loss else mean:.4f}"
            print(f"{model}: {said} in cross-validation", flush=True)
        except UserError:
            raise
        except Exception as error:
            if model not in ("trivial", rows.train.model):
                said = f"{model} is left out, for it cannot learn from these rows: {error}"
                print(said, flush=True)
            elif user_code.place(error):
                raise
            else:
                said = f"{model} cannot be compared on these rows: {shortly(error)}"
                raise UserError(said) from error
    if len(rows.validation) == 1:
        raise UserError("No model of ml/model.py can learn from these rows; see what each said.")


def again(rows: Rows, training: Mapping[str, Any]) -> Pipeline | Blend:
    """Fit what was chosen on other rows, with the same parameters and half-life."""
    print(f"{training['model']} is fitted again on all {len(rows.labels):,} rows", flush=True)
    own = dict(training["parameters"])
    fading: Any = own.pop("half_life") if rows.in_time else "none"
    return rows.fit(training["model"], own, half_life=None if fading == "none" else fading)


def make_features(columns: Mapping[str, Array], text: Collection[str]) -> dict[str, Array]:
    """What `ml/features.py` makes of rows; a UserError if no model takes it, or can be asked it.

    A service sees a row alone, so every second one at most must be the same without the others.
    """
    made: Any = features(columns, text)
    rows = len(next(iter(columns.values())))
    some = slice(None, None, -max(2, rows // FEW_TIMES))
    alone = features({name: values[some] for name, values in columns.items()}, text)
    if not isinstance(made, dict):
        raise UserError("ml/features.py: features must give a dict of arrays by their names.")
    for name, values in made.items():
        its = values if isinstance(values, np.ndarray) else np.array(values, object)
        if its.shape[:1] != (rows,) or its.ndim > 2:
            wrong = f"{name} of shape {its.shape}; each of {rows} rows must have its own"
        elif its.dtype != np.float32 and {*map(type, its.ravel().tolist())} != {str}:
            wrong = f"{name} of {its.dtype}; numbers must be float32, all others strings"
        elif its.dtype == np.float32 and np.isinf(its).any():
            wrong = f"infinite {name}; use NaN instead"
        elif not _alike(alone[name], its[some]):
            wrong = f"{name} of a row otherwise beside other rows; let a step in ml/model.py learn"
        else:
            continue
        raise UserError(f"ml/features.py makes {wrong}.")
    return dict(made)


def _alike(one: Array, other: Array) -> bool:
    """Whether features are the same, but for rounding."""
    if one.dtype.kind != "f":
        return np.array_equal(one, other)
    return distance(np.nan_to_num(one.ravel()), np.nan_to_num(other.ravel())) <= TOLERANCE


def hold(rows: Rows) -> None:
    """Hold `params.yaml` to the models of `ml/model.py`, also to those not asked for today.

    A UserError as well if that file declares none, or what is none.
    """
    train = rows.train
    try:
        declared = msgspec.convert(vars(models), Declared)
    except msgspec.ValidationError as error:
        said, _, place = str(error).replace("`", "").partition(" - at $.")
        raise UserError(
            f"ml/model.py: {place or 'it'} will not do: {said}; see docs/ops/models.md."
        ) from error
    for table in ("PARTS", "ROWS", "SEARCH"):
        for name in getattr(declared, table).keys() - {*declared.MODELS}:
            try:
                rows.build(name, {})  # one that is left aside for now
            except UserError as error:
                said = unknown(f"{table}.{name}", declared.MODELS)
                raise UserError(f"ml/model.py: {said}") from error
    if taken := {*declared.MODELS} & {"trivial", AUTO, BLEND, *Train.__struct_fields__}:
        raise UserError(f"ml/model.py: {taken.pop()} in MODELS is taken; use another name.")
    if train.model == BLEND and rows.contract.task == "recommendation":
        raise UserError(
            "params.yaml: train.model is blend, and lists of items have no mean; use auto, or one "
            f"of {', '.join(models.MODELS)}."
        )
    for name in (train.model, *train.sections):
        if name in models.MODELS:
            rows.build(name, train.sections.get(name, {}))
        elif name not in (AUTO, BLEND, *EARLIER):
            raise UserError(f"params.yaml: {unknown(f'train.{name}', models.MODELS)}")


def asked(train: Train) -> Sequence[str]:
    """The models that `params.yaml` asks for: all, or one."""
    return models.MODELS if train.model in (AUTO, BLEND) else (train.model,)


def learning_curve(
    rows: Rows, model: str, own: Mapping[str, Any], half_life: float | None
) -> list[dict[str, float]]:
    """How the score on the last fold grows with the rows learnt from."""
    learn, held = rows.splits[-1]
    if not rows.in_time:
        learn = np.random.default_rng(rows.seed).permutation(learn)
    classes = len(np.unique(rows.labels[learn])) if rows.contract.classes else 0
    curve, known = [], half_life is None and model in rows.validation
    for share in CURVE:
        size = max(1, round(share * len(learn)))
        some = np.sort(learn[-size:])
        if known and size == len(learn):
            curve.append({"rows": size, "score": rows.validation[model][-1]})
        elif len(np.unique(rows.labels[some])) >= classes:
            with suppress(ValueError):  # of a model that cannot learn from so few
                said = rows.answers(model, own, some, held, half_life)
                curve.append({"rows": size, "score": rows.scored(held, said)})
    return curve


def predict(
    pipeline: Pipeline,
    contract: Contract,
    frame: pl.DataFrame,
    told: Mapping[str, Any] | None = None,
) -> Prediction:
    """What a fitted pipeline says, in the form in which the bundle says it.

    A class that was not learnt from has probability 0. `told` is how a class is chosen.
    """
    if contract.task == "regression":
        numbers = np.asarray(pipeline.predict(frame))
        if numbers.shape not in ((len(frame),), (len(frame), 1)):
            raise ValueError(f"predict must give one number for each row, not {numbers.shape}")
        return Prediction(numbers.ravel().astype(np.float32), None)
    if contract.task == "recommendation":
        *steps, (_, last) = pipeline.steps
        if steps or not hasattr(last, "recommend"):
            raise UserError(
                f"{type(last).__name__} in ml/model.py must recommend items: let the only step of "
                "the pipeline have a method recommend; docs/ops/models.md says which."
            )
        items, scores = last.recommend(frame)
        return Prediction(np.asarray(items, object), np.asarray(scores, np.float32))
    if not hasattr(pipeline, "predict_proba") or not hasattr(pipeline, "predict"):
        raise UserError(
            f"{type(pipeline[-1]).__name__} in ml/model.py gives no probabilities (predict_proba); "
            "wrap it in CalibratedClassifierCV, or take another model."
        )
    learnt, said = np.asarray(pipeline.classes_), np.asarray(pipeline.predict_proba(frame))
    if said.shape != (len(frame), len(learnt)) or not np.allclose(said.sum(axis=1), 1, atol=1e-3):
        raise ValueError("predict_proba must tell of each row how likely each class is")
    probabilities = np.zeros((len(frame), len(contract.classes)), dtype=np.float32)
    probabilities[:, learnt] = said
    return decided(told).answer(probabilities)


def frame_of(made: Mapping[str, Array], kinds: Mapping[str, str]) -> pl.DataFrame:
    """Features as the frame that the pipelines take: Float32 and String columns, see `unfolded`."""
    columns = contracts.unfolded(made)
    schema = {its: pl.Float32 if kind == "number" else pl.String for its, kind in kinds.items()}
    return pl.DataFrame([pl.Series(its, columns[its], dtype) for its, dtype in schema.items()])


def _range(values: Array) -> float:
    """How far the known values lie apart."""
    known = values[~np.isnan(values)]
    return float(np.ptp(known)) if len(known) else 0.0


def _varies(values: Array) -> bool:
    """Whether a feature can tell two rows apart."""
    return any(pl.Series(its).n_unique() > 1 for its in np.atleast_2d(values.T))
