"""The bundle: one folder with the whole model and a manifest that explains it.

The model is in ONNX, or plain arrays that a function of `ml/predict.py` reads.

It is what evaluation passes, and what is registered, served and shipped. Reading and scoring it
takes numpy and ONNX Runtime, nothing else, and loads no pickle.
"""

import hashlib
from collections.abc import Callable, Collection, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..ml.features import features
from .contract import Column, Contract, kinds
from .errors import UserError
from .files import read_json, sha256, write_files, write_json
from .user_code import PACKAGE, digest, modules

MODEL, ARRAYS = "model.onnx", "model.npz"
JUDGED = "judged"
"""The folder, in a bundle or a candidate, of the model that was judged, if another one serves."""

MANIFEST = "manifest.json"
VERSION = "version.json"
"""Beside a bundle that the registry knows: which version it is, and where it comes from."""

NUMBERS, TEXTS = ":numbers", ":texts"
"""The inputs of a model: its numeric features as one array, and all others as another."""

UNKNOWN = "none"
FORMAT = 2
READABLE = (1, FORMAT)
"""Format 1, of releases before 0.5.0, compiled the contract's rules into the manifest, and its
model has an input for each feature."""

TYPES: dict[str, Any] = {"number": np.float32, "boolean": np.float32, "time": "datetime64[us]"}
"""Of the golden rows' columns, by kind, which JSON has as text; of others it is text."""

TOLERANCE = 1e-4
"""How far answers to the golden rows may lie apart, see `distance`, on machines of all kinds."""

OTHER_CODE = (
    "The code in ml/ that scores is not what the model was trained with, but lets it answer the "
    "golden rows alike."
)

Arrayed = Mapping[str, NDArray[Any]]
Predict = Callable[[Arrayed, NDArray[Any], NDArray[Any]], NDArray[Any]]
"""What `predict` of `ml/predict.py` is: from a model's arrays, and numbers and texts of shape
(rows, columns), to numbers (rows,) or probabilities (rows, classes)."""

Features = Callable[[Mapping[str, NDArray[Any]], Collection[str]], dict[str, NDArray[Any]]]
"""What `ml.features.features` is: from columns, and the names of those that hold text."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of some rows; indexed by rows, it says what it does of these."""

    values: NDArray[Any]
    """Shape (rows,): int64 positions in the contract's classes, or float32 numbers; of a
    recommendation the items, shape (rows, items), the best ones first."""
    probabilities: NDArray[np.float32] | None
    """Shape (rows, classes), or None for a regression; of a recommendation the items' scores."""

    def __len__(self) -> int:
        """How many rows."""
        return len(self.values)

    def __getitem__(self, rows: NDArray[Any] | slice) -> "Prediction":
        """What is said of some of them."""
        some = None if self.probabilities is None else self.probabilities[rows]
        return Prediction(self.values[rows], some)

    @property
    def scored(self) -> NDArray[Any]:
        """The probabilities or scores, or the numbers of a regression."""
        return self.values if self.probabilities is None else self.probabilities

    @property
    def first(self) -> NDArray[Any]:
        """One answer to each row, shape (rows,): of items the best one."""
        return self.values if self.values.ndim == 1 else self.values[:, 0]

    @property
    def columns(self) -> list[NDArray[Any]]:
        """All that is said, each of shape (rows,): of items their scores beside them."""
        if self.probabilities is None:
            return [self.values]
        if self.values.ndim == 1:
            return [self.values, *self.probabilities.T]
        pairs = zip(self.values.T, self.probabilities.T, strict=True)
        return [column for pair in pairs for column in pair]

    @property
    def finite(self) -> NDArray[np.bool_]:
        """Which rows have an answer that is a number, or of numbers, shape (rows,)."""
        return np.asarray(np.isfinite(np.atleast_2d(self.scored.T)).all(axis=0))


@dataclass(frozen=True)
class Decision:
    """How a class is chosen by the probabilities of all: the likeliest one, if nothing is told."""

    threshold: float | None = None
    """Of two classes, the probability of the second one from which on it is the answer."""
    costs: Sequence[Sequence[float]] | None = None
    """What each answer (column) costs where a class (row) is true: the least expected cost."""

    def answer(self, said: NDArray[Any]) -> Prediction:
        """Answer rows by probabilities, shape (rows, classes); the numbers of a regression."""
        if said.ndim == 1:
            return Prediction(said, None)
        if self.threshold is not None:
            return Prediction((said[:, 1] >= self.threshold).astype(np.int64), said)
        if self.costs is not None:
            return Prediction((said @ np.array(self.costs)).argmin(axis=1), said)
        return Prediction(said.argmax(axis=1), said)


def decided(told: Mapping[str, Any] | None) -> Decision:
    """What a manifest tells under `decision`; earlier releases told nothing."""
    return Decision(*((told or {}).get(name) for name in ("threshold", "costs")))


def joined(parts: Sequence[Prediction]) -> Prediction:
    """What is said of the rows of all parts; those without rows may have any shape."""
    parts = [part for part in parts if len(part)] or parts
    shares = [part.probabilities for part in parts if part.probabilities is not None]
    values = np.concatenate([part.values for part in parts])
    return Prediction(values, np.concatenate(shares) if shares else None)


class Origin(NamedTuple):
    """Where a bundle comes from; "none" for what is not known."""

    version: str  # its number in the registry, or the first digits of its digest if it has none
    commit: str  # the git commit that it was trained at
    data: str  # DVC's hash of the rows that it learnt from
    created: str = UNKNOWN  # when it was registered: ISO 8601, in UTC


class Session:
    """A whole pipeline in ONNX, fed by position: the converter renames odd names of features."""

    def __init__(self, model: Path | bytes, told: Mapping[str, Any] | None = None) -> None:
        """Load a model; it chooses the class by itself, unless a decision is `told`: `decided`."""
        import onnxruntime

        self._decision = decided(told) if told else None
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1  # the fastest for few rows; many are scored in parts
        options.log_severity_level = 3
        source = str(model) if isinstance(model, Path) else model
        self._session = onnxruntime.InferenceSession(
            source, options, providers=["CPUExecutionProvider"]
        )
        self._widths = {item.name: item.shape[1] for item in self._session.get_inputs()}
        self._names = list(self._widths)

    def run(self, columns: list[NDArray[Any]]) -> Prediction:
        """Score rows given as arrays, in the order of the model's features; see `unfolded`."""
        if {NUMBERS, TEXTS}.issuperset(self._names):
            parts = {
                NUMBERS: [values for values in columns if values.dtype.kind == "f"],
                TEXTS: [values for values in columns if values.dtype.kind != "f"],
            }
            feed = {
                name: _joined(values, self._widths[name])
                for name, values in parts.items()
                if values
            }
        else:
            each = [values for its in columns for values in np.atleast_2d(its.T)]
            named = zip(self._names, each, strict=True)
            feed = {name: values.reshape(-1, 1) for name, values in named}
        first, *rest = self._session.run(None, feed)
        if rest and self._decision:
            return self._decision.answer(rest[0])
        if rest:
            return Prediction(first, rest[0])
        return Prediction(first.reshape(-1), None)


class Arrays:
    """A model of plain arrays, which `predict` of `ml/predict.py` reads; it may be other code."""

    def __init__(self, model: Path | BinaryIO, told: Mapping[str, Any] | None = None) -> None:
        """Load the arrays; a decision may be `told`, see `decided`."""
        self._decision = decided(told)
        with np.load(model, allow_pickle=False) as arrays:
            self.arrays = dict(arrays)
        self.predict: Predict = own_predict

    def run(self, columns: list[NDArray[Any]]) -> Prediction:
        """Score rows, see `Session.run`."""
        numbers = [np.atleast_2d(values.T) for values in columns if values.dtype.kind == "f"]
        texts = [np.atleast_2d(values.T) for values in columns if values.dtype.kind != "f"]
        none = np.empty((0, len(columns[0])), np.float32)
        said = self.predict(
            self.arrays,
            np.concatenate([none, *numbers]).T,
            np.concatenate([none.astype(object), *texts]).T,
        )
        return self._decision.answer(np.asarray(said, np.float32))


def own_predict(arrays: Arrayed, numbers: NDArray[Any], texts: NDArray[Any]) -> NDArray[Any]:
    """What `ml/predict.py` of this project says of some rows: numbers, or probabilities."""
    said: NDArray[Any] = import_module(f"{PACKAGE.name}.ml.predict").predict(arrays, numbers, texts)
    return said


Scorer = Session | Arrays
"""A model that was loaded."""


def load(model: Path, told: Mapping[str, Any] | None) -> Scorer:
    """The model in a file, as its name says; see `Session`."""
    return Arrays(model, told) if model.name == ARRAYS else Session(model, told)


class Bundle:
    """A bundle that was read from its folder; `features` may be other code than this project's."""

    def __init__(self, folder: Path) -> None:
        """Read the manifest; the model itself is loaded when it is first used.

        A UserError if the folder holds no bundle, or one of a format not known here.
        """
        self.folder = folder
        self.features: Features = features
        try:
            self.manifest: dict[str, Any] = read_json(folder / MANIFEST)
        except FileNotFoundError:
            raise UserError(f"{folder} holds no model; run `make train` first.") from None
        except ValueError:
            raise UserError(f"{folder / MANIFEST} is broken; run `make train` again.") from None
        if self.manifest.get("format") not in READABLE:
            raise UserError(
                f"{folder} has bundle format {self.manifest.get('format')}, and this project "
                f"reads formats up to {FORMAT}; run `make train` to make a new one."
            )
        self.contract = Contract.from_dict(self.manifest["contract"])

    def __reduce__(self) -> tuple[Any, ...]:
        """A bundle on its way to another machine, which has the same code: model and manifest."""
        files = {it.name: it.read_bytes() for it in (self.model, self.folder / MANIFEST)}
        return _arrived, (files,)

    @property
    def model(self) -> Path:
        """The file of the model."""
        return self.folder / (ARRAYS if self.manifest.get("file") == ARRAYS else MODEL)

    @cached_property
    def session(self) -> Scorer:
        """The model, loaded once."""
        return load(self.model, self.manifest.get("decision"))

    @property
    def judged(self) -> "Bundle":
        """The same with the judged model: what serves may have learnt from the rows that judge.

        A UserError if its file is not the one that the manifest tells.
        """
        told = self.manifest.get("refit")
        if not told:
            return self
        judged, file = copy(self), self.folder / JUDGED / self.model.name
        if not file.is_file() or sha256(file) != told:
            raise UserError(f"{file} is not the model that was judged; promote the version again.")
        judged.session = load(file, self.manifest.get("decision"))
        if isinstance(judged.session, Arrays) and isinstance(self.session, Arrays):
            judged.session.predict = self.session.predict
        return judged

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the model and its manifest: the same bundle, the same digest."""
        digest = hashlib.sha256()
        for file in (self.model, self.folder / MANIFEST):
            digest.update(file.read_bytes())
        return digest.hexdigest()

    @property
    def fingerprint(self) -> str:
        """Of the contract, as it was when the bundle was made."""
        fingerprint: str = self.manifest["fingerprint"]
        return fingerprint

    @cached_property
    def origin(self) -> Origin:
        """Which version this is, and where it comes from, as far as a file beside it tells.

        A file that speaks of another bundle tells nothing.
        """
        try:
            told = read_json(self.folder / VERSION)
            if told["digest"] == self.digest:
                created = told.get("created", UNKNOWN)  # earlier releases did not say
                return Origin(told["version"], told["commit"], told["data"], created)
        except (OSError, ValueError, LookupError, TypeError):
            pass
        return Origin(self.digest[:12], UNKNOWN, UNKNOWN)

    def predict(self, columns: Mapping[str, NDArray[Any]]) -> Prediction:
        """Score rows given by the contract's columns, as `Contract.arrays` makes them."""
        return self.session.run(self.inputs(columns))

    def inputs(self, columns: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """What the model itself takes of such rows: the features, in its order."""
        made = self.features(columns, self.contract.text)
        return [made[feature["name"]] for feature in self.manifest["features"]]

    @property
    def has_other_code(self) -> bool:
        """Whether the code that scores is known not to be what it was trained with."""
        return self.manifest.get("code") not in (None, digest(modules()))

    def obstacle(self) -> str | None:
        """Why `features` cannot be what the model was trained with; None if they may be.

        They must be those that it asks for, and let it answer the golden rows as it did. A bundle
        of an earlier release has no such rows.
        """
        golden = self.manifest.get("golden") or {"columns": {}, "answers": []}
        columns = {
            column.name: _told(column, golden["columns"].get(column.name, ()))
            for column in self.contract.features
        }
        try:
            made = described(self.features(columns, self.contract.text), self.contract.text)
            for feature in self.manifest["features"]:
                if feature not in made:
                    return f"ml/features.py does not make its {feature['kind']} {feature['name']}"
            if not golden["answers"]:
                return None
            apart = distance(self.predict(columns).scored, np.array(golden["answers"]))
        except Exception as error:  # noqa: BLE001  of code that knows nothing of these columns
            return f"its golden rows cannot be scored ({type(error).__name__}: {error})"
        if apart <= TOLERANCE:
            return None
        return f"its answers to the golden rows are off by up to {apart:.2g}"


def _arrived(files: Mapping[str, bytes]) -> Bundle:
    """A bundle that came as its files."""
    with TemporaryDirectory() as folder:
        write_files(Path(folder, "bundle"), files)
        bundle = Bundle(Path(folder, "bundle"))
        _ = bundle.session  # loaded while the files are there
    return bundle


def described(features: Mapping[str, NDArray[Any]], text: Collection[str]) -> list[dict[str, Any]]:
    """Features as the manifest lists them: name, kind and, of an array, how many items."""
    return [
        {"name": name, "kind": kind} | ({"items": its.shape[1]} if its.ndim > 1 else {})
        for (name, kind), its in zip(kinds(features, text).items(), features.values(), strict=True)
    ]


def _joined(columns: list[NDArray[Any]], width: int) -> NDArray[Any]:
    """Columns, and arrays of some, as one array of shape (rows, width)."""
    each = columns if len(columns) == width else [values.T for values in columns]
    return np.concatenate(each, axis=None).reshape(width, -1).T


def _told(column: Column, values: Any) -> NDArray[Any]:
    """A column of golden rows, which JSON has as text."""
    told = np.array(values, str).astype(TYPES.get((column.item or column).kind, object))
    return told.reshape(-1, column.width) if column.item else told


def distance(answers: NDArray[Any], wanted: NDArray[Any]) -> float:
    """How far answers lie apart at most: probabilities as they are, numbers by their spread."""
    wanted = wanted.astype(np.float64)
    scale = 1.0 if wanted.ndim == 2 else float(wanted.std() or np.abs(wanted).max() or 1.0)
    return float(np.abs(answers - wanted).max() / scale)


def sign(folder: Path, origin: Origin) -> None:
    """Write beside the bundle in `folder` where it comes from; its digest stays the same."""
    write_json(folder / VERSION, {**origin._asdict(), "digest": Bundle(folder).digest})
