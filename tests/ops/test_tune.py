"""The search for parameters, with a model of one's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from copies import set_params
from my_model.ml import model as models
from my_model.ops import settings as settings_module
from my_model.ops.errors import UserError
from my_model.ops.pipeline import train, tune
from my_model.ops.settings import Settings
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import Pipeline, make_pipeline

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.project import Project

BUILD = models.build


def build(model: str, task: str, kinds: models.Kinds, own: dict[str, Any], seed: int) -> Pipeline:
    """Build a forest, too."""
    if model != "forest":
        return BUILD(model, task, kinds, own, seed)
    return make_pipeline(models.counted(kinds), ExtraTreesClassifier(5, random_state=seed, **own))


@pytest.fixture
def forest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of one's own in `ml/model.py`."""
    code = tmp_path / "package" / "ml" / "model.py"
    code.parent.mkdir(parents=True)
    code.write_text('MODELS = ("linear", "boosting", "forest")\n')
    monkeypatch.setattr(settings_module, "PACKAGE", tmp_path / "package")
    monkeypatch.setattr(models, "MODELS", ("linear", "boosting", "forest"))
    monkeypatch.setattr(models, "build", build)


@pytest.mark.parametrize("search", [{"max_depth": (1, 8)}, {}])
@pytest.mark.usefixtures("forest")
def test_a_model_of_ones_own_is_searched(
    project: Project, search: dict[str, tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_params(project, "train", model="forest", forest={"max_depth": 1})
    set_params(project, "tune", trials=3)
    monkeypatch.setattr(models, "SEARCH", {"forest": search} if search else {})
    tune.run(project)
    settings = Settings.load(project.params)
    found = train.parameters(settings.train, "forest")["max_depth"]
    assert found > 1 if search else found == 1
    assert settings.train.linear == Settings.load(project.params).train.linear


@pytest.mark.usefixtures("forest")
def test_a_section_of_no_model_is_refused(project: Project) -> None:
    set_params(project, "train", forst={"max_depth": 1})
    with pytest.raises(UserError, match=r"unknown key train\.forst"):
        Settings.load(project.params)


@pytest.mark.usefixtures("forest")
def test_a_section_must_be_one(project: Project) -> None:
    set_params(project, "train", forest=3)
    with pytest.raises(UserError, match=r"train\.forest must be a section"):
        Settings.load(project.params)
