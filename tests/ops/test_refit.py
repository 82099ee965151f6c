"""A model is fitted again on all rows once it was judged: which one serves, which one judges."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from copies import set_params
from my_model.ml import model as models
from my_model.ops import cli
from my_model.ops.bundle import JUDGED, MODEL, Bundle
from my_model.ops.errors import UserError
from my_model.ops.evaluation import metrics
from my_model.ops.pipeline import evaluate, train
from my_model.ops.project import Project
from my_model.ops.registry import champion, comparison, tracking
from my_model.ops.scoring import predict
from my_model.ops.serving import locations
from my_model.ops.settings import Settings
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.tree import DecisionTreeClassifier
from test_recency import rows_of, trips

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILD = models.build
ACCURACY = metrics.find("accuracy")


def build(model: str, task: str, kinds: models.Kinds, own: Any, seed: int) -> Pipeline:
    """Build a tree that knows every row by heart that it has learnt from."""
    if model == "trivial":
        return BUILD(model, task, kinds, own, seed)
    return make_pipeline(models.counted(kinds), DecisionTreeClassifier(random_state=seed))


@pytest.fixture(scope="module")
def refitted(registered: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A project whose last model is such a tree, fitted again on all rows."""
    project = Project(tmp_path_factory.mktemp("refit") / "a project")
    shutil.copytree(registered.root, project.root)
    set_params(project, "train", model="linear", refit=True, score="accuracy")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(models, "build", build)
        train.run(project)
        evaluate.run(project)
        yield project


def accuracy(bundle: Bundle, project: Project) -> float:
    """How much of the holdout a bundle is right about."""
    frame = pl.read_parquet(project.holdout)
    said = predict(bundle, bundle.contract.arrays(frame))
    return metrics.value(ACCURACY, bundle.contract.labels(frame), said)


def test_one_serves_and_the_other_judges(refitted: Project) -> None:
    bundle = Bundle(refitted.bundle)
    known = bundle.manifest["metrics"]["accuracy"]
    assert accuracy(bundle, refitted) == 1.0 > known
    assert accuracy(bundle.judged, refitted) == pytest.approx(known)
    assert bundle.obstacle() is None, "the golden rows are those of the model that serves"
    said = {gate["name"]: gate["passed"] for gate in bundle.manifest["gates"]}
    assert said["export parity"]
    assert said["refitted export parity"]
    gap = bundle.manifest["calibration"]["gap"]
    assert gap == pytest.approx(known - 1, rel=1e-4), "monitoring expects what the judged one does"
    card = (refitted.reports / "cards" / "model.md").read_text()
    rows = bundle.manifest["data"]["rows"]
    assert f"fitted again on all {rows['train'] + rows['holdout']} rows" in card


def test_fitting_again_gives_the_same_bytes(refitted: Project, tmp_path: Path) -> None:
    project = Project(shutil.copytree(refitted.root, tmp_path / "again"))
    before, judged = Bundle(project.bundle).digest, project.bundle / JUDGED / MODEL
    bytes_before = judged.read_bytes()
    train.run(project)
    evaluate.run(project)
    assert (Bundle(project.bundle).digest, judged.read_bytes()) == (before, bytes_before)
    set_params(project, "train", refit=False)
    train.run(project)
    assert (project.candidate / MODEL).read_bytes() == bytes_before
    assert not (project.candidate / JUDGED).exists()


def test_a_model_that_was_not_fitted_again_is_the_one_that_was_judged(trained: Project) -> None:
    bundle = Bundle(trained.bundle)
    assert bundle.judged is bundle
    assert not (trained.bundle / JUDGED).exists()


def test_another_file_is_no_judged_model(refitted: Project, tmp_path: Path) -> None:
    folder = shutil.copytree(refitted.bundle, tmp_path / "bundle")
    shutil.copyfile(folder / MODEL, folder / JUDGED / MODEL)
    with pytest.raises(UserError, match="is not the model that was judged"):
        _ = Bundle(folder).judged
    shutil.rmtree(folder / JUDGED)
    with pytest.raises(UserError, match="is not the model that was judged"):
        _ = Bundle(folder).judged


def test_champions_are_compared_by_what_was_judged(
    refitted: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(refitted.root)
    cli.main(["register"])
    timed: list[Bundle] = []

    def latency(bundle: Bundle, _: object) -> float:
        timed.append(bundle)
        return 1.0

    monkeypatch.setattr(comparison, "latency", latency)
    with tracking.connected(refitted) as store:
        version, bundle = store.versions()[-1], Bundle(refitted.bundle)
        fetched = champion.kept(store, version)
        shutil.copytree(fetched, refitted.champion, dirs_exist_ok=True)
        _, evidence = comparison.judge(store, Settings(), bundle, version)
    known = bundle.manifest["metrics"]["accuracy"]
    assert evidence["champion"] == {"version": 2, "value": pytest.approx(known, rel=1e-5)}
    first, second = timed
    assert first is bundle
    assert second.session is not bundle.session


def test_a_service_needs_no_more_than_what_serves(refitted: Project, tmp_path: Path) -> None:
    copy = locations.fetch(locations.Folder(refitted.bundle), tmp_path)
    assert not (copy.folder / JUDGED).exists()
    assert accuracy(copy, refitted) == 1.0


def test_rows_keep_their_weights_by_age(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models, "build", BUILD)
    frame = trips(3, turns=1)
    rows = rows_of(frame)
    told = {"model": "linear", "seed": 7, "parameters": {"regularization": 1.0, "half_life": 20.0}}
    again = train.again(rows.others(frame), told)
    everything = np.arange(len(frame))
    same = rows.fit("linear", {"regularization": 1.0}, everything, 20.0)
    other = rows.fit("linear", {"regularization": 1.0}, everything)
    assert np.array_equal(again.predict_proba(rows.features), same.predict_proba(rows.features))
    assert not np.allclose(again.predict_proba(rows.features), other.predict_proba(rows.features))
