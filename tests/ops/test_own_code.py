"""Mistakes in ml/: each is a sentence that names its place, and none makes a wrong number."""

from __future__ import annotations

import runpy
import shutil
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from copies import run, set_params
from my_model.ml import metrics as own
from my_model.ml import model as models
from my_model.ops import cli, user_code
from my_model.ops import contract as contracts
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates, metrics
from my_model.ops.files import write_text
from my_model.ops.pipeline import train, tune
from my_model.ops.settings import Settings, Train
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import TunedThresholdClassifierCV
from sklearn.pipeline import Pipeline, make_pipeline
from test_evaluation import classified

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.project import Project
    from numpy.typing import NDArray

    Array = NDArray[Any]


class Failing(DummyClassifier):
    """A model that cannot learn."""

    def fit(self, *given: Any, **more: Any) -> Failing:
        """Fail as a library does."""
        raise RuntimeError("no validation data\nSee the manual.")


Ask = Callable[..., train.Rows]


@pytest.fixture
def rows(trained: Project) -> Ask:
    """Makes training rows of the first sample, of which `train` of `params.yaml` asks this."""
    contract, frame = contracts.load(), pl.read_parquet(trained.train)
    return lambda **asked: train.Rows(contract, frame, Settings(train=Train(**asked)))


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("\nraise KeyError('depth')", "ml/own.py, line 2: KeyError: 'depth'"),
        ("def load(:", "ml/own.py, line 1: SyntaxError: "),
        ("import numpy\nnumpy.ones(3) @ numpy.ones(2)", "ml/own.py, line 2: ValueError: matmul: "),
    ],
)
def test_an_error_in_ml_is_the_users_and_names_the_line(
    code: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = (tmp_path / room / "own.py" for room in ("ml", "ops"))
    for file in (ours, theirs):
        file.parent.mkdir()
        file.write_text(code)
    monkeypatch.setattr(user_code, "PACKAGE", tmp_path)
    monkeypatch.setattr(cli, "run", lambda _: runpy.run_path(str(ours)))
    assert cli.main(["stage", "train"]) == UserError.exit_code
    told = capsys.readouterr().err
    assert told.startswith(f"ops stage: {said}")
    assert len(told.splitlines()) == 1
    monkeypatch.setattr(cli, "run", lambda _: runpy.run_path(str(theirs)))
    assert cli.main(["stage", "train"]) == 1


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"MODELS": ()}, "MODELS will not do: Expected array of length >= 1"),
        ({"MODELS": "linear"}, "MODELS will not do: Expected array, got str"),
        ({"MODELS": ("linear", "score")}, "score in MODELS is taken"),
        ({"MODELS": ("linear", "blend")}, "blend in MODELS is taken"),
        ({"ROWS": {"linear": 0}}, "ROWS.* will not do: Expected int >= 1"),
        ({"SEARCH": {"linear": {"regularization": (0, 1)}}}, "SEARCH.* Expected float > 0"),
        ({"SEARCH": {"boostng": {}}}, "unknown key SEARCH.boostng; did you mean boosting?"),
        ({"ROWS": {"forrest": 9}}, "unknown key ROWS.forrest; did you mean forest?"),
        ({"PARTS": {"neurall": print}}, "unknown key PARTS.neurall; did you mean neural?"),
        ({"build": lambda *_: LogisticRegression()}, "build must give a Pipeline"),
        (
            {"build": lambda *_: make_pipeline(TunedThresholdClassifierCV(LogisticRegression()))},
            "linear has a threshold of its own, which no export holds",
        ),
    ],
)
def test_what_the_models_file_declares_is_held(
    declared: dict[str, Any], said: str, rows: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in declared.items():
        monkeypatch.setattr(models, name, value, raising=False)
    with pytest.raises(UserError, match=rf"ml/model.py: {said}"):
        train.hold(rows(model="linear"))


def test_a_model_that_is_left_aside_keeps_what_was_said_of_it(
    rows: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever takes a name out of MODELS need not look for it elsewhere."""
    monkeypatch.setattr(models, "MODELS", ("linear",))
    train.hold(rows(model="linear"))


def test_a_name_that_build_does_not_know_is_no_other_model(rows: Ask) -> None:
    with pytest.raises(UserError, match="makes no model called mine"):
        rows().build("mine", {})


def build(model: str, task: str, kinds: models.Kinds, own: Any, seed: int) -> Pipeline:
    """Build one that fails, too."""
    return make_pipeline(Failing()) if model == "own" else BUILD(model, task, kinds, own, seed)


BUILD = models.build


@pytest.mark.parametrize("asked", ["own", "auto"])
def test_a_model_that_fails_ends_in_a_sentence_or_is_left_out(
    asked: str,
    rows: Ask,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(models, "MODELS", ("own", "linear"))
    monkeypatch.setattr(models, "build", build)
    if asked == "auto":
        its = rows(model=asked, score="log_loss")
        train.compare(its)
        told = capsys.readouterr().out
        assert "own is left out" in told
        assert "linear: log_loss 0." in told
        assert [*its.validation] == ["trivial", "linear"]
        return
    with pytest.raises(UserError, match=r"own cannot be compared .*: no validation data$"):
        train.compare(rows(model=asked))


AT = "    return made\n\n\ndef date_parts"
"""Where `features` ends, in the file that people get."""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("made['x'] = made['mean radius'][1:]", "x of shape (460,); each of 461 rows"),
        ("made['x'] = made['mean radius'].mean()", "x of shape (); each of 461 rows"),
        ("made['x'] = made['mean radius'].tolist()", "x of object; numbers must be float32"),
        ("made['x'] = made['mean radius'] > 14", "x of bool; numbers must be float32"),
        ("made['x'] = made['mean radius'].astype(float)", "x of float64; numbers must be float32"),
        (
            "made['x'] = np.array([None if it < 14 else 'much' for it in made['mean radius']])",
            "x of object; numbers must be float32, all others strings",
        ),
        ("made['x'] = made['mean radius'] / np.float32(0)", "infinite x; use NaN instead"),
    ],
)
def test_what_features_makes_is_held_before_anything_is_learnt(
    line: str, said: str, project: Project, trained: Project
) -> None:
    """A service would answer with other features than those that were learnt from."""
    shutil.copytree(trained.root / "src", project.root / "src")
    file = project.schema.with_name("features.py")
    text = file.read_text()
    assert AT in text
    write_text(file, text.replace(AT, f"    {line}\n{AT}"))
    done = run(project, "ops", "stage", "train")
    assert done.returncode == UserError.exit_code, done.stdout
    told = done.stdout.splitlines()[-1]
    assert told.startswith(f"ops stage: ml/features.py makes {said}")
    assert not project.candidate.exists()


@pytest.mark.parametrize(
    "own",
    [
        lambda its: its - its.mean(),
        lambda its: np.roll(its, 1),
        lambda its: np.where(its > np.median(its), "large", "small"),
        lambda its: np.full(len(its), len(its), np.float32),
    ],
)
def test_a_feature_that_hangs_on_other_rows_is_said(
    own: Callable[[Array], Array], rows: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A service, which sees one row at a time, would answer something else."""
    make = train.features

    def features(columns: Any, text: Any) -> dict[str, Array]:
        return {**make(columns, text), "own": own(columns["mean radius"])}

    monkeypatch.setattr(train, "features", features)
    with pytest.raises(UserError, match=r"makes own of a row otherwise beside other rows;"):
        rows()


def test_features_that_are_no_arrays_by_name_are_said(
    rows: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "features", lambda *_: None)
    with pytest.raises(UserError, match=r"ml/features.py: features must give a dict of arrays"):
        rows()


class Odd(DummyClassifier):
    """A model whose probabilities are none."""

    def __init__(self, said: str = "", strategy: str = "prior") -> None:
        """Say this."""
        super().__init__(strategy=strategy)
        self.said = said

    def predict_proba(self, rows: Any) -> Array:
        """Give what was asked for."""
        its = super().predict_proba(rows)
        return {"one": its[:1], "first": its[:, :1], "more": 7 * its, "nan": its * np.nan}[
            self.said
        ]


@pytest.mark.parametrize("said", ["one", "first", "more", "nan"])
def test_probabilities_that_are_none_are_said(
    said: str, rows: Ask, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(model: str, *more: Any) -> Pipeline:
        return make_pipeline(Odd(said)) if model == "odd" else BUILD(model, *more)

    monkeypatch.setattr(models, "MODELS", ("odd",))
    monkeypatch.setattr(models, "build", build)
    with pytest.raises(UserError, match=r"odd cannot be compared .*: predict_proba must tell of"):
        train.compare(rows(model="odd"))


def test_a_search_for_what_a_model_does_not_take_is_not_begun(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params(project, "train", model="linear")
    monkeypatch.setattr(models, "SEARCH", {"linear": {"regularisation": (0.1, 1.0)}})
    before = project.params.read_bytes()
    said = r"ml/model.py: SEARCH.linear does not fit: .*regularisation"
    with pytest.raises(UserError, match=said):
        tune.run(project)
    assert project.params.read_bytes() == before


def test_a_score_that_is_no_number_is_said(rows: Ask, monkeypatch: pytest.MonkeyPatch) -> None:
    """A correlation has none with constant answers: those of the trivial baseline."""
    monkeypatch.setattr(own, "SCORES", {"odd": lambda truth, answers: float("nan")})
    with pytest.raises(UserError, match=r"trivial cannot be compared .*odd .* is no number"):
        train.compare(rows(model="linear", score="odd"))


def worst(truth: Array, answers: Array, probabilities: Array) -> Array:
    """A loss that spoils all that it gets."""
    for given in (truth, answers, probabilities):
        given[:] = 0
    return np.ones(len(truth))


def test_what_a_score_or_gate_writes_into_is_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    truth, answers = classified(3)
    said = metrics.told(answers)
    kept = truth.copy(), said.values.copy(), said.scored.copy()
    monkeypatch.setattr(own, "LOSSES", {"worst": worst})
    monkeypatch.setattr(own, "GATES", {"all": lambda truth: (bool(truth.fill(0)), "No.")})
    assert metrics.losses(metrics.find("worst"), truth, said).mean() == 1
    gates.own([], truth, {}, np.ones(len(truth)), said)
    for now, before in zip((truth, said.values, said.scored), kept, strict=True):
        np.testing.assert_array_equal(now, before)


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"SCORES": [worst]}, "SCORES must be functions by name"),
        ({"SCORES": {"odd": 3}}, "SCORES must be functions by name"),
        ({"SCORES": {"odd": worst}, "LOSSES": {"odd": worst}}, "'odd' is taken"),
        ({"LOSSES": {"odd": lambda truth: truth}}, "odd must take truth and answers"),
        ({"LOSS": "rmse"}, "LOSS is rmse, which tells no loss of each row"),
        ({"LOSS": 3}, "LOSS is 3, which tells no loss of each row"),
        ({"GATES": {"export parity": worst}}, "'export parity' is taken"),
    ],
)
def test_what_the_file_of_scores_declares_is_held(
    tables: dict[str, Any], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth, answers = classified(2)
    for name, value in tables.items():
        monkeypatch.setattr(own, name, value)

    def judge() -> None:
        for score in metrics.scores_of("classification"):
            metrics.losses(score, truth, answers)
        gates.own([], truth, {}, np.ones(len(truth)), metrics.told(answers))

    with pytest.raises(UserError, match=f"ml/metrics.py: {said}"):
        judge()


def test_a_wrong_conversion_is_not_taken_for_a_threshold() -> None:
    fitted, exported = np.array([[0.9, 0.1]] * 4), np.array([[0.2, 0.8]] * 4)
    labels = exported.argmax(axis=1), fitted.argmax(axis=1)
    refused = gates.export_parity(exported, fitted, 1e-4, labels)
    assert not refused.passed
    assert "converted wrongly: take another one, or export it yourself" in refused.reason
