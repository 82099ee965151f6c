"""A model of plain arrays: `ml/predict.py` reads them, and its text is part of the model."""

from __future__ import annotations

import shutil
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from copies import set_params
from my_model.ml import model as models
from my_model.ops import bundle as bundles
from my_model.ops import cli, export, mlflow_model, user_code
from my_model.ops.bundle import Bundle
from my_model.ops.errors import UserError
from my_model.ops.files import read_json, write_json
from my_model.ops.pipeline import evaluate, train
from my_model.ops.registry import tracking
from my_model.ops.scoring import files
from my_model.ops.serving.locations import Unavailable, fetch, locate
from my_model.ops.serving.reloading import Follower
from my_model.ops.serving.settings import Strictness
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.project import Project

PREDICT = '''\
"""What the arrays of the model answer."""

import numpy as np


def predict(arrays, numbers, texts):
    """Probabilities of both classes."""
    assert texts.shape == (len(numbers), 0)
    score = (numbers - arrays["mean"]) / arrays["scale"] @ arrays["weights"] + arrays["bias"]
    share = 0.5 + np.tanh(score / 2) / 2
    return np.column_stack([1 - share, share])
'''


def arrays_of(pipeline: Pipeline, kinds: Any) -> dict[str, Any] | None:
    """What `export` of `ml/model.py` makes of a linear model; None of any other."""
    *_, (_, last) = pipeline.steps
    if not isinstance(last, LogisticRegression):
        return None
    scaler = pipeline[0]
    assert len(kinds) == len(scaler.mean_)
    return {
        "mean": scaler.mean_,
        "scale": scaler.scale_,
        "weights": last.coef_[0],
        "bias": last.intercept_,
    }


def written(patch: pytest.MonkeyPatch, package: Path, text: str) -> None:
    """Let this be `ml/predict.py` of the project; nothing is no such file."""
    module = ModuleType("my_model.ml.predict")
    exec(text, vars(module))  # noqa: S102  as an import would
    patch.setitem(sys.modules, "my_model.ml.predict", module)
    (package / "ml" / "predict.py").write_text(text)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The package with `ml/predict.py` in it, and a linear model that is plain arrays."""
    package = tmp_path / "src" / "my_model"
    (package / "ml").mkdir(parents=True)
    for name in (
        "__init__.py",
        *(f"ml/{its}.py" for its in ("__init__", "features", "schema", "source")),
    ):
        shutil.copyfile(user_code.PACKAGE / name, package / name)
    build = models.build

    def scaled(model: str, *arguments: Any) -> Pipeline:
        if model != "linear":
            return build(model, *arguments)
        return make_pipeline(StandardScaler(), LogisticRegression())

    for module in (user_code, files):
        monkeypatch.setattr(module, "PACKAGE", package)
    monkeypatch.setattr(models, "build", scaled)
    monkeypatch.setattr(models, "export", arrays_of, raising=False)
    written(monkeypatch, package, PREDICT)
    return package


def scores(project: Project) -> pl.DataFrame:
    """What `ops score` says of some rows."""
    inputs = pl.read_parquet(project.holdout).drop("diagnosis").head(20)
    inputs.write_parquet(project.root / "rows.parquet")
    assert cli.main(["score", "rows.parquet", "scores.parquet"]) == 0
    return pl.read_parquet(project.root / "scores.parquet")


def test_it_goes_the_way_of_every_model(
    project: Project,
    package: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    watched, taken = locate(str(project.champion)), list[str]()
    follower = Follower(watched, Strictness(), lambda its: taken.append(str(its and its.version)))
    follower.look()
    set_params(project, "train", model="linear", half_life="none")
    set_params(project, "split", folds=2)
    train.run(project)
    evaluate.run(project)
    made = {file.name for file in project.bundle.iterdir()}
    assert made == {"model.npz", "manifest.json", "MLmodel"}
    parity = read_json(project.reports / "gates.json")["export parity"]
    assert parity["passed"], parity
    first = (project.bundle / "model.npz").read_bytes()
    assert cli.main(["register"]) == 0
    follower.look()
    before = scores(project)
    with tracking.connected(project) as store:
        assert store.aliases()["champion"] == 2
        assert sorted(kept.relative_to(project.root).parts[-2:] for kept in project.root.glob(
            f"mlartifacts/{store.version(2).run}/artifacts/code/my_model/ml/*.py"
        )) == [("ml", "__init__.py"), ("ml", "features.py"), ("ml", "predict.py")]  # fmt: skip

    frame = pd.DataFrame(pl.read_parquet(project.root / "rows.parquet").to_dict(as_series=False))
    by_mlflow = mlflow_model._load_pyfunc(str(project.champion)).predict(frame)
    assert by_mlflow["prediction"].tolist() == before["prediction"].to_list()

    assert cli.main(["rollback"]) == 0
    follower.look()
    assert cli.main(["promote", "2"]) == 0
    follower.look()
    assert taken == ["1", "2", "1", "2"]

    train.run(project)
    assert (project.candidate / "model.npz").read_bytes() == first

    capsys.readouterr()
    for text in (PREDICT.replace("1 - share, share", "share, 1 - share"), "gone = True\n"):
        written(monkeypatch, package, text)
        assert "golden rows" in str(Bundle(project.champion).obstacle())
        assert scores(project).equals(before)
        assert "Version 2 is scored by its own code in ml/." in capsys.readouterr().err
        with pytest.raises(Unavailable, match="needs the code that it was trained with"):
            fetch(watched, tmp_path)
    written(monkeypatch, package, PREDICT.replace("Probabilities", "The shares"))
    assert scores(project).equals(before)
    assert capsys.readouterr().err == ""
    for code in project.root.glob("mlartifacts/*/artifacts/code"):
        shutil.rmtree(code)
    written(monkeypatch, package, "gone = True\n")
    assert cli.main(["score", "rows.parquet", "scores.parquet"]) == 2
    assert "neither git nor the registry has that" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"mean": np.array(["any", None], object)}, "Object arrays cannot be saved"),
        ({"mean": np.zeros(4)}, "could not be broadcast together"),
        ({"weights": np.zeros((2, 3))}, "answers 1 rows in shape (1, 6), not (1, 2)"),
    ],
)
def test_arrays_that_lie_are_refused(
    package: Path, changed: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del package
    rows = np.random.default_rng(0).normal(size=(50, 2))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, rows[:, 0] > 0)
    kinds = {"x": "number", "y": "number"}
    name, whole = export.export(pipeline, kinds)
    assert (name, whole[:2]) == ("model.npz", b"PK")
    monkeypatch.setattr(models, "export", lambda *its: {**(arrays_of(*its) or {}), **changed})
    with pytest.raises(UserError, match=r"docs/ops/models\.md") as refused:
        export.export(pipeline, kinds)
    assert sentence in str(refused.value)


def test_arrays_without_their_function_are_refused(
    package: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = np.random.default_rng(0).normal(size=(50, 2))
    pipeline = make_pipeline(StandardScaler(), LogisticRegression()).fit(rows, rows[:, 0] > 0)
    monkeypatch.delitem(sys.modules, "my_model.ml.predict")
    (package / "ml" / "predict.py").unlink()
    with pytest.raises(UserError, match=r"No module named 'my_model\.ml\.predict'"):
        export.export(pipeline, {"x": "number", "y": "number"})
    with pytest.raises(UserError, match="plain arrays of a model that is blended with others"):
        export.to_onnx(pipeline, {"x": "number", "y": "number"})
    pipeline = make_pipeline(StandardScaler(), Ridge()).fit(rows, rows[:, 0])
    assert export.to_onnx(pipeline, {"x": "number", "y": "number"})


def test_no_pickle_is_loaded(trained: Project, tmp_path: Path) -> None:
    folder = shutil.copytree(trained.bundle, tmp_path / "bundle")
    manifest = read_json(folder / "manifest.json")
    write_json(folder / "manifest.json", manifest | {"file": "model.npz"})
    np.savez(folder / "model.npz", mean=np.array([{}], object))
    assert "allow_pickle=False" in str(Bundle(folder).obstacle())
    assert bundles.ARRAYS == "model.npz"


def test_it_is_fitted_again_on_all_rows(project: Project, package: Path) -> None:
    assert package
    set_params(project, "train", model="linear", refit=True)
    train.run(project)
    evaluate.run(project)
    bundle = Bundle(project.bundle)
    rows = bundle.contract.arrays(pl.read_parquet(project.holdout))
    known = read_json(project.reports / "metrics.json")["accuracy"]
    truth = bundle.contract.labels(pl.read_parquet(project.holdout))
    said = bundle.judged.predict(rows).scored.argmax(axis=1)
    assert np.mean(said == truth) == pytest.approx(known, rel=1e-5)
    assert (bundle.folder / "judged" / "model.npz").read_bytes() != bundle.model.read_bytes()
    session: Any = bundle.session
    session.predict = arrays_of
    other: Any = bundle.judged.session
    assert other.predict is arrays_of, "its own code reads both"
