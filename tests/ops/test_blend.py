"""The blend of the models: its weights, its export, when it is taken, and who knows of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
from copies import answer, client, git, learn, new_rows, ops, run, set_params
from my_model.ml import model as models
from my_model.ops import cli
from my_model.ops.bundle import JUDGED, MODEL, Bundle, Session
from my_model.ops.errors import UserError
from my_model.ops.evaluation import metrics
from my_model.ops.files import read_json
from my_model.ops.pipeline import blend, evaluate, recency, train, tune
from my_model.ops.registry import comparison
from my_model.ops.settings import Settings, Train
from onnx import checker, load_from_string
from test_recency import rows_of, trips
from threadpoolctl import threadpool_limits

if TYPE_CHECKING:
    from my_model.ops.project import Project

OWN: dict[str, dict[str, Any]] = {
    "linear": {},
    "boosting": {"max_iter": 5},
    "forest": {"n_estimators": 5},
    "neural": {
        "max_iter": 20,
        "early_stopping": True,
        "learning_rate_init": 0.004,
        "hidden_layer_sizes": [100],
    },
}
R2 = metrics.find("r2")
KINDS: models.Kinds = {
    "size": "number",
    "few": "category",
    "many": "category",
    "words": "text",
    "gaps": "number",
}


def rows(classes: int, number: int = 400) -> tuple[dict[str, Any], Any]:
    """Columns of every kind, and a target that all of them say something of."""
    draw = np.random.default_rng(classes)
    size, gaps = draw.normal(size=(2, number)).astype(np.float32)
    gaps[::7] = np.nan
    few = draw.choice(["web", "shop", ""], number).astype(object)
    many = np.array([f"place {value}" for value in draw.zipf(1.5, number) % 40], object)
    words = np.array([" ".join(draw.choice(["ä", "bb", "ccc"], 3)) for _ in few], object)
    level = size + (few == "web") + np.array([len(name) for name in many]) / 9
    level = level + np.array([text.count("ä") for text in words]) + np.nan_to_num(gaps)
    target = np.searchsorted(np.quantile(level, np.arange(1, classes) / classes), level)
    named = {"size": size, "few": few, "many": many, "words": words, "gaps": gaps}
    return named, target if classes else 1e4 * level


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("classes", [2, 3, 0])
@threadpool_limits.wrap(limits=1)
def test_an_exported_blend_answers_as_its_members_do(classes: int) -> None:
    """Every model, with unknown categories and gaps; and twice the same bytes."""
    columns, target = rows(classes)
    task = "classification" if classes else "regression"
    frame = train.frame_of(columns, KINDS)

    def fitted() -> blend.Blend:
        members = {
            name: models.build(name, task, KINDS, own, 7).fit(frame[:300], target[:300])
            for name, own in OWN.items()
        }
        return blend.Blend(members, [0.4, 0.2, 0.2, 0.2])

    made = fitted()
    exported = blend.export(made, KINDS)[1]
    checker.check_model(load_from_string(exported))
    assert exported == blend.export(fitted(), KINDS)[1]
    columns["many"][-3:], columns["few"][-5:] = "never seen", "never seen"
    frame = train.frame_of(columns, KINDS)
    wanted = (made.predict_proba if classes else made.predict)(frame)
    for some in (slice(0, 1), slice(None)):
        said = Session(exported).run([values[some] for values in columns.values()])
        apart = np.abs(said.scored - wanted[some]).max() / (1 if classes else 1e4)
        assert apart < 1e-5
    if classes:
        assert (said.values == made.predict(frame)).all()


def test_weights_are_fifths_with_the_least_loss_out_of_fold() -> None:
    draw = np.random.default_rng(0)
    truth, *errors = draw.normal(size=(5, 1000))
    said = {name: truth + error for name, error in zip("abcd", errors, strict=True)}
    said["d"] = truth + 9 * errors[3]
    weights = blend.weigh(truth, said, R2, np.ones(len(truth)))
    assert weights.keys() == set("abc")  # what errs that much weighs nothing
    assert sum(weights.values()) == pytest.approx(1)
    assert all(5 * weight == round(5 * weight) for weight in weights.values())
    assert blend.weigh(truth, {"a": said["a"], "b": truth}, R2, np.ones(len(truth))) == {"b": 1}


def test_of_many_models_the_best_ones_are_weighed() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=200)
    said = {str(n): truth + n * draw.normal(size=200) for n in range(20, 0, -1)}
    assert {int(name) for name in blend.weigh(truth, said, R2, np.ones(len(truth)))} <= set(
        range(1, 7)
    )


@pytest.mark.parametrize("one_fold", [False, True])
@pytest.mark.parametrize(("noise", "taken"), [(1, True), (2, False)])
def test_a_blend_may_score_lower_by_chance_alone(
    *, one_fold: bool, noise: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside a model that ranks well, and whose probabilities are far off."""
    monkeypatch.setattr(train, "ENOUGH_WORK", 1 if one_fold else 100_000)
    frame = trips(1, turns=1)
    rows = rows_of(frame, train=Train(model="blend", score="roc_auc"))
    assert len(rows.splits) == (1 if one_fold else 4)
    draw = np.random.default_rng(0)
    level = 3 * (frame["length"] + 0.5 * frame["wind"]).to_numpy()
    shy = (level + 0.6 * draw.normal(size=len(level))) / 50
    levels = {"trivial": 0 * level, "shy": shy}
    levels |= {name: level + noise * draw.normal(size=len(level)) for name in ("one", "other")}
    for name, its in levels.items():
        late = 1 / (1 + np.exp(-its))
        rows.judge(name, np.array([1 - late, late, 0 * late], np.float32).T)
    weights, why = blend.offer(rows, "shy")
    assert np.mean(rows.validation["shy"]) > np.mean(rows.validation[blend.BLEND])
    assert bool(weights) is taken
    assert ("but its roc_auc is worse, so shy is taken" in why) is not taken


@pytest.mark.parametrize("best", ["sure", "shy"])
def test_where_one_model_loses_least_alone_the_one_that_is_taken_is_named(best: str) -> None:
    """Beside one that ranks as well as it, and whose probabilities are far off."""
    rows = rows_of(trips(1, turns=1), train=Train(model="blend", score="roc_auc"))
    truth = np.eye(3, dtype=np.float32)[rows.labels]
    rows.judge("trivial", np.full_like(truth, 1 / 3))
    rows.judge("sure", 0.9 * truth + np.float32(0.1 / 3))
    rows.judge("shy", 0.01 * truth + np.float32(0.99 / 3))
    weights, why = blend.offer(rows, best)
    assert not weights
    assert why == f"By loss no blend beats sure alone; by score {best} is taken."


@pytest.fixture
def quick(project: Project) -> Project:
    """A project whose blend costs little, and loses less than the best of its models."""
    own = {**OWN, "linear": {"regularization": 1e3}}
    set_params(project, "train", model="blend", score="log_loss", **own)
    set_params(project, "split", folds=2)
    return project


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_a_blend_goes_all_the_way(quick: Project) -> None:
    train.run(quick)
    evaluate.run(quick)
    model = Bundle(quick.bundle).manifest["model"]
    assert model["kind"] == "blend"
    assert sum(its["weight"] for its in model["parameters"].values()) == pytest.approx(1)
    member = next(iter(model["parameters"]))
    assert model["parameters"][member]["parameters"] == OWN[member]
    assert model["remark"] in (quick.reports / "cards" / "model.md").read_text()
    assert read_json(quick.reports / "gates.json")["export parity"]["passed"]
    frame = pl.read_parquet(quick.holdout)
    columns, bundle = Bundle(quick.bundle).contract.arrays(frame), Bundle(quick.bundle)
    parts = [
        Session(part).run(bundle.inputs(columns)).values
        for _, part in blend.members(bundle.model, model)
    ]
    said = bundle.predict(columns).scored.ravel()
    assert np.allclose(np.sum(parts, axis=0), said, atol=1e-6)
    assert comparison.slow_member(bundle, columns) in model["parameters"]
    before = (quick.candidate / "model.onnx").read_bytes()
    train.run(quick)
    assert (quick.candidate / "model.onnx").read_bytes() == before
    assert cli.main(["register"]) == 3  # the champion knows better parameters
    version = client(quick).get_model_version(quick.name, "2")
    run = client(quick).get_run(str(version.run_id))
    assert run.data.params["train.model"] == run.data.params["model.kind"] == "blend"
    assert float(run.data.params[f"model.parameters.{member}.weight"]) > 0


def test_a_blend_is_fitted_again_comes_out_again_and_judges_new_labels(whole: Project) -> None:
    """One that serves what it learnt from all rows, and is champion when labels are examined."""
    own = {**OWN, "linear": {"regularization": 1e3}}
    set_params(whole, "train", model="blend", score="log_loss", refit=True, **own)
    set_params(whole, "gates", regression=1)
    assert run(whole, "dvc", "repro").returncode == 0
    ops(whole, "register")
    bundle = Bundle(whole.champion)
    assert bundle.manifest["model"]["kind"] == "blend"
    assert (bundle.folder / JUDGED / MODEL).read_bytes() != bundle.model.read_bytes()
    git(whole, "commit", "--quiet", "--no-verify", "--all", "--message", "Blend")
    assert "Version 2 is reproduced" in ops(whole, "reproduce", "2")
    rows, truths = new_rows(whole, 150)
    other = {"malignant": "benign", "benign": "malignant"}
    told = [truth if place % 3 else other[truth] for place, truth in enumerate(truths)]
    learn(whole, dict(zip(answer(whole, rows), told, strict=True)))
    assert "labels are neither what the champion says" in ops(whole, "retrain", code=3)


def test_a_blend_forgets_as_its_members_do() -> None:
    """They fade together, by one half-life."""
    rows = rows_of(trips(1, turns=0.85))
    members = {name: {"weight": 0.5, "parameters": OWN[name]} for name in ("linear", "boosting")}
    half_life = recency.choose(rows, blend.BLEND, members)
    assert half_life is not None
    everything = np.arange(len(rows.labels))
    made = rows.fit(blend.BLEND, members, everything, half_life)
    parts = [rows.fit(name, OWN[name], everything, half_life) for name in members]
    said = [its.predict_proba(rows.features) for its in (made, *parts)]
    assert np.allclose(said[0], (said[1] + said[2]) / 2)
    without = rows.fit(blend.BLEND, members, everything).predict_proba(rows.features)
    assert not np.allclose(said[0], without)


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize(
    ("strayed", "errors", "reason"),
    [(0.1, 1, "Its export strays by 0.1, so"), (0.0, 9, "that may be chance, so")],
)
def test_a_single_model_is_taken_where_the_blend_is_not(
    quick: Project,
    strayed: float,
    errors: int,
    reason: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blend, "ERRORS", errors)
    monkeypatch.setattr(train, "astray", lambda *_: strayed)
    train.run(quick)
    training = read_json(quick.candidate / "training.json")
    scores = {name: np.mean(values) for name, values in training["validation"].items()}
    assert training["model"] == max(OWN, key=lambda name: scores[name])
    assert "blend" in scores
    assert reason in training["remark"]
    assert training["remark"].endswith(f"so {training['model']} is taken.")


def test_a_member_of_plain_arrays_is_refused_before_others_learn(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = rows_of(trips(1, turns=1), train=Train(model="blend", score="accuracy"))
    monkeypatch.setattr(models, "export", lambda *_: {"weights": np.ones(2)}, raising=False)
    with pytest.raises(UserError, match="plain arrays of a model that is blended"):
        train.compare(rows)
    assert [*rows.validation] == ["trivial"]
    assert "linear" not in capsys.readouterr().out


def test_a_model_that_cannot_learn_is_left_out(
    quick: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    set_params(quick, "train", neural={"early_stopping": True, "validation_fraction": 1e-3})
    train.run(quick)
    assert "neural is left out, for it cannot learn from these rows" in capsys.readouterr().out
    assert "neural" not in read_json(quick.candidate / "training.json")["validation"]


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
def test_each_member_is_tuned(quick: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    search = {"linear": {"regularization": (1e-4, 1e4)}, "boosting": {"max_iter": (5, 20)}}
    monkeypatch.setattr(models, "SEARCH", search)
    set_params(quick, "train", linear={"regularization": 1e4})
    set_params(quick, "tune", trials=8)
    tune.run(quick)
    found = Settings.load(quick.params).train.sections
    assert found["linear"]["regularization"] < 1e4
    assert found["boosting"]["max_iter"] > 5
    assert found["forest"] == OWN["forest"]


def test_a_model_learns_from_no_more_rows_than_it_says(
    trained: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    its = train.Rows(train.contracts.load(), pl.read_parquet(trained.train))
    everything = np.arange(len(its.labels))
    monkeypatch.setattr(models, "ROWS", {"linear": 50})
    learnt = []
    monkeypatch.setattr(models.Pipeline, "fit", lambda self, _, y: learnt.append(len(y)) or self)
    for model in ("linear", "boosting"):
        its.fit(model, {}, everything)
    assert 50 <= learnt[0] <= 50 + len(its.contract.classes)
    assert learnt[1] == len(everything)
