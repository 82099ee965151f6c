"""The search for parameters, with a model of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from copies import client, set_params
from my_model.ml import model as models
from my_model.ops import settings as settings_module
from my_model.ops.errors import UserError
from my_model.ops.pipeline import train, tune
from my_model.ops.registry import tracking
from my_model.ops.settings import Settings
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import Pipeline, make_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow.entities import Run
    from my_model.ops.project import Project

BUILD = models.build
MODELS = (*models.MODELS, "grove")


def build(model: str, task: str, kinds: models.Kinds, own: dict[str, Any], seed: int) -> Pipeline:
    """Build a grove, too."""
    if model != "grove":
        return BUILD(model, task, kinds, own, seed)
    return make_pipeline(models.counted(kinds), ExtraTreesClassifier(5, random_state=seed, **own))


@pytest.fixture
def grove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of one's own in `ml/model.py`."""
    code = tmp_path / "package" / "ml" / "model.py"
    code.parent.mkdir(parents=True)
    code.write_text(f"MODELS = {MODELS}\n")
    monkeypatch.setattr(settings_module, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(models, "MODELS", MODELS)
    monkeypatch.setattr(models, "build", build)


@pytest.mark.parametrize("search", [{"max_depth": (1, 8)}, {}])
@pytest.mark.usefixtures("grove")
def test_a_model_of_ones_own_is_searched(
    project: Project, search: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params(project, "train", model="grove", grove={"max_depth": 1})
    set_params(project, "tune", trials=3)
    monkeypatch.setattr(models, "SEARCH", {"grove": search} if search else {})
    tune.run(project)
    settings = Settings.load(project.params)
    found = settings.train.sections["grove"]["max_depth"]
    assert found > 1 if search else found == 1
    search_run, trials = tried(project)
    assert search_run.data.metrics == {}
    assert sorted(trials) == ["0 grove", "1 grove", "2 grove"]
    best = [its.data.params for its in trials.values() if its.data.tags["chosen"] == "true"]
    assert best == [{"max_depth": str(found)}]
    assert {run.info.status for run in (search_run, *trials.values())} == {"FINISHED"}
    assert {"roc_auc", "roc_auc.fold", "seconds"} == set(trials["0 grove"].data.metrics)
    assert history(project) == ["1"]


def tried(project: Project) -> tuple[Run, dict[str, Run]]:
    """The run of the one search that there was, and those beneath it."""
    mlflow = client(project)
    experiments = [it.experiment_id for it in mlflow.search_experiments()]
    (search,) = mlflow.search_runs(experiments, "tags.search LIKE '%'")
    beneath = f"tags.`mlflow.parentRunId` = '{search.info.run_id}'"
    runs = mlflow.search_runs(experiments, beneath)
    return search, {run.info.run_name: run for run in runs}


def history(project: Project) -> list[str]:
    """The versions that there are."""
    with tracking.connected(project) as store:
        return [str(version.number) for version in store.versions()]


@pytest.mark.usefixtures("grove")
def test_a_search_that_is_interrupted_keeps_the_trials_that_have_ended(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A kill leaves no run at all, for they are written at the end."""
    fits = iter(range(99))

    def interrupted(*arguments: Any) -> Pipeline:
        if arguments[0] == "grove" and next(fits) == 2 + 2 * 5:  # two that hold its parameters
            raise KeyboardInterrupt
        return build(*arguments)

    monkeypatch.setattr(models, "build", interrupted)
    set_params(project, "train", model="grove", grove={"max_depth": 1})
    before = project.params.read_text()
    with pytest.raises(KeyboardInterrupt):
        tune.run(project)
    search_run, trials = tried(project)
    assert sorted(trials) == ["0 grove", "1 grove"]
    assert {run.info.status for run in (search_run, *trials.values())} == {"FINISHED"}
    assert project.params.read_text() == before


@pytest.mark.usefixtures("grove")
def test_trials_can_be_kept_to_oneself(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    set_params(project, "train", model="grove", grove={"max_depth": 1})
    set_params(project, "tune", trials=1)
    set_params(project, "registry", nested_runs=False)
    monkeypatch.setattr(tracking, "connected", None)
    tune.run(project)


@pytest.mark.usefixtures("grove")
def test_a_section_of_no_model_is_refused(project: Project) -> None:
    set_params(project, "train", grov={"max_depth": 1})
    with pytest.raises(UserError, match=r"unknown key train\.grov"):
        Settings.load(project.params)


@pytest.mark.parametrize(
    ("section", "sentence"),
    [
        (
            {"boosting": {"learning_rat": 0.1}},
            r"boosting\.learning_rat; did you mean learning_rate",
        ),
        ({"linear": {"regularisation": 1}}, r"train\.linear\.regularisation; did you mean regul"),
        (
            {"boosting": {"max_iter": -1}, "model": "boosting"},
            r"boosting does not fit: .*max_iter",
        ),
    ],
)
def test_a_parameter_that_no_model_takes_is_named(
    project: Project, section: dict[str, Any], sentence: str
) -> None:
    """Also that of a model which is not asked for."""
    set_params(project, "train", **{"model": "linear"} | section)
    with pytest.raises(UserError, match=sentence):
        train.run(project)


@pytest.mark.usefixtures("grove")
def test_names_that_are_made_when_the_code_runs_are_held_as_well(project: Project) -> None:
    code = settings_module.PACKAGE / "ml" / "model.py"
    code.write_text(f"MODELS = tuple({MODELS})\n")
    set_params(project, "train", model="linear", grov={})
    with pytest.raises(UserError, match=r"unknown key train\.grov; did you mean grove"):
        train.run(project)


@pytest.mark.usefixtures("grove")
def test_a_section_must_be_one(project: Project) -> None:
    set_params(project, "train", grove=3)
    with pytest.raises(UserError, match=r"train\.grove must be a section"):
        Settings.load(project.params)
