"""The registry, with real models and a real store."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import datetime
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
import pytest
import yaml
from bundles import scale
from copies import client, copied, fill
from my_model.ops import cli
from my_model.ops.bundle import Bundle, Prediction
from my_model.ops.contract import FOLD
from my_model.ops.errors import UserError
from my_model.ops.evaluation import metrics
from my_model.ops.files import read_json, write_json
from my_model.ops.pipeline import evaluate, labelled, train
from my_model.ops.registry import comparison, tracking
from my_model.ops.registry.champion import best, located, succession
from my_model.ops.registry.lineage import lineage
from my_model.ops.serving.locations import fetch, locate
from my_model.ops.serving.server import configure
from my_model.ops.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mlflow.entities import Run
    from my_model.ops.project import Project

KILLED = """
import os, signal, sys
from mlflow import MlflowClient
from my_model.ops import cli
from my_model.ops.registry import tracking

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

owner, method = sys.argv[1].split(".")
setattr({"MlflowClient": MlflowClient, "Store": tracking.Store}[owner], method, die)
cli.main(sys.argv[2:])
"""


@pytest.fixture(scope="session")
def weak(registered: Project, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that has learnt from one weak column, its own gates all passed."""
    project = copied(registered, tmp_path_factory.mktemp("weak"))
    rows = pl.read_parquet(project.train)
    kept = ("mean smoothness", "diagnosis", FOLD)
    constant = [pl.lit(1.0).alias(name) for name in rows.columns if name not in kept]
    passed = Bundle(project.bundle).manifest["gates"]
    retrain(project, rows.with_columns(constant))
    with manifest(project) as values:
        values["gates"] = passed
    return project.bundle


@contextmanager
def manifest(project: Project) -> Iterator[dict[str, Any]]:
    """Change the manifest of the bundle, which makes it another bundle."""
    path = project.bundle / "manifest.json"
    values = read_json(path)
    yield values
    write_json(path, values)


def set_params(project: Project, section: str, **values: object) -> None:
    params = yaml.safe_load(project.params.read_text())
    params[section] |= values
    project.params.write_text(yaml.safe_dump(params))


def retrain(project: Project, rows: pl.DataFrame) -> None:
    """Train a linear model on other rows, and judge it on the same holdout."""
    fill(rows, project.train)
    set_params(project, "train", model="linear")
    train.run(project)
    evaluate.run(project)


def put(project: Project, bundle: Path) -> None:
    """Make another bundle the one of the last training."""
    shutil.rmtree(project.bundle)
    shutil.copytree(bundle, project.bundle)


def state(project: Project) -> tuple[list[str], dict[str, int]]:
    """The status of each version, and the aliases."""
    with tracking.connected(project) as store:
        return [version.status for version in store.versions()], store.aliases()


def champion(project: Project) -> str:
    """The digest of the bundle in service."""
    return Bundle(project.champion).digest


def beneath(project: Project, run: str) -> dict[str, Run]:
    """The runs beneath another one, by name."""
    mlflow = client(project)
    experiment = mlflow.get_run(run).info.experiment_id
    found = mlflow.search_runs([experiment], f"tags.`mlflow.parentRunId` = '{run}'")
    return {run.info.run_name: run for run in found}


def test_what_was_compared_are_runs_beneath_that_of_the_version(project: Project) -> None:
    with tracking.connected(project) as store:
        (version,) = store.versions()
    runs = beneath(project, version.run)
    folds = read_json(project.reports / "findings" / "validation.json")
    assert set(runs) == {record["model"] for record in folds} > {"trivial", "linear"}
    kind = Bundle(project.bundle).manifest["model"]["kind"]
    assert {name for name, its in runs.items() if its.data.tags["chosen"] == "true"} == {kind}
    assert runs["linear"].data.params == {"regularization": "1.0"}
    assert {its.info.status for its in runs.values()} == {"FINISHED"}
    told = client(project).get_metric_history(runs["linear"].info.run_id, "roc_auc.fold")
    scores = [record["score"] for record in folds if record["model"] == "linear"]
    assert [metric.value for metric in sorted(told, key=lambda its: its.step)] == scores
    assert runs["linear"].data.metrics["roc_auc"] == pytest.approx(np.mean(scores))


def test_what_was_compared_can_be_kept_to_oneself(unregistered: Project) -> None:
    set_params(unregistered, "registry", nested_runs=False)
    with manifest(unregistered) as values:
        values["libraries"]["numpy"] = "another"
    assert cli.main(["register"]) == 0
    with tracking.connected(unregistered) as store:
        (version,) = store.versions()
    assert not beneath(unregistered, version.run)


def test_the_first_good_model_is_champion(project: Project) -> None:
    assert state(project) == (["accepted"], {"champion": 1})
    assert champion(project) == Bundle(project.bundle).digest
    with tracking.connected(project) as store:
        (version,) = store.versions()
        (event,) = store.promotions()
    assert (event.version, event.before, event.why) == (1, None, "the first champion")
    assert version.tags["contract"] == Bundle(project.bundle).contract.fingerprint
    gates = {gate["name"]: gate for gate in json.loads(version.tags["gates"])}
    assert gates["champion regression"]["skipped"]
    assert gates["latency"]["value"] > 0


def test_the_run_holds_what_a_reader_looks_for(project: Project) -> None:
    with tracking.connected(project) as store:
        (version,) = store.versions()
        run = client(project).get_run(version.run)
        files = {
            item.path
            for folder in ("bundle", "reports", "reports/plots", "reports/cards")
            for item in client(project).list_artifacts(version.run, folder)
        }
    assert run.info.status == "FINISHED"
    metrics = Bundle(project.bundle).manifest["metrics"]
    assert run.data.metrics["roc_auc"] == pytest.approx(metrics["roc_auc"])
    assert run.data.params["gates.regression"] == "0.01"
    assert {"bundle/MLmodel", "bundle/model.onnx", "reports/metrics.json"} <= files
    assert {"reports/plots/roc.png", "reports/cards/model.md", "reports/cards/data.md"} <= files


def test_a_worse_model_does_not_replace_the_champion(
    project: Project, weak: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(project, weak)
    assert cli.main(["register"]) == 3
    assert "champion regression: ROC AUC" in capsys.readouterr().err
    assert state(project) == (["accepted", "refused"], {"champion": 1})


def test_mlflow_finds_its_way_from_every_version_that_was_registered(project: Project) -> None:
    """What earlier releases wrote cannot be changed, and names this module."""
    loader = read_json(project.champion / "MLmodel")["flavors"]["python_function"]["loader_module"]
    assert loader == "my_model.ops.mlflow_model"
    assert callable(import_module(loader)._load_pyfunc)


def test_a_better_model_replaces_a_worse_champion(
    unregistered: Project, weak: Path, trained: Project
) -> None:
    put(unregistered, weak)
    assert cli.main(["register"]) == 0
    put(unregistered, trained.bundle)
    assert cli.main(["register"]) == 0
    assert state(unregistered) == (["accepted"] * 2, {"champion": 2, "previous": 1})


def test_a_slow_model_is_refused_until_the_limit_allows_it(project: Project) -> None:
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    set_params(project, "gates", latency_milliseconds=1e-6)
    assert cli.main(["register"]) == 3
    assert state(project) == (["accepted", "refused"], {"champion": 1})
    set_params(project, "gates", latency_milliseconds=1000.0)
    assert cli.main(["register"]) == 0
    assert state(project) == (["accepted"] * 2, {"champion": 2, "previous": 1})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("target", "it predicts outcome"),
        ("classes", "it tells other values of diagnosis apart"),
        ("column", "it needs the column unheard of as number"),
        ("kind", "it needs the column worst fractal dimension as category"),
        ("split", "rows were held out by another rule"),
    ],
)
def test_a_champion_of_another_contract_is_not_comparable(
    project: Project, trained: Project, change: str, said: str
) -> None:
    strange(project, change)
    obstacle = comparison.incomparable(Bundle(project.bundle), Bundle(trained.bundle))
    assert obstacle is not None
    assert said in obstacle


def strange(project: Project, change: str) -> None:
    """Make the bundle one of another contract."""
    with manifest(project) as values:
        *_, feature, target = values["contract"]["columns"]
        match change:
            case "target":
                target["name"] = "outcome"
            case "classes":
                target["choices"] = ["no", "yes"]
            case "column":
                feature["name"] = "unheard of"
            case "kind":
                feature["kind"] = "category"
            case "split":
                values["data"]["split"]["holdout"] = 0.1


def test_a_champion_of_another_contract_gives_way_only_to_a_reason(
    project: Project, trained: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """The champion in store is made a stranger; the bundle that comes next is the trained one."""
    strange(project, "target")
    foreign = Bundle(project.bundle)
    with tracking.connected(project) as store:
        folders = {"bundle": foreign.folder}
        run = store.log(("bundle", foreign.digest), "x", folders=folders)
        tags = {"bundle": foreign.digest, "status": "accepted"}
        store.alias("champion", store.create(run, "a stranger", tags).number)
    put(project, trained.bundle)
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"

    assert cli.main(["register"]) == 0
    assert "Version 2, the champion, is not comparable" in capsys.readouterr().out
    waiting = {"champion": 2, "challenger": 3, "previous": 1}
    assert state(project) == (["accepted"] * 3, waiting)
    assert cli.main(["promote"]) == 2
    assert "`uv run ops promote 3 --reason TEXT`" in capsys.readouterr().err
    assert cli.main(["promote", "--reason", "other data"]) == 0
    assert state(project) == (["accepted"] * 3, {"champion": 3, "previous": 2})


def test_promotion_by_hand(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    set_params(project, "registry", promote="manual")
    first = champion(project)
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    second = Bundle(project.bundle).digest

    assert cli.main(["register"]) == 0
    assert state(project) == (["accepted"] * 2, {"champion": 1, "challenger": 2})
    assert champion(project) == first

    assert cli.main(["promote", "--reason", "the board said so"]) == 0
    assert state(project) == (["accepted"] * 2, {"champion": 2, "previous": 1})
    assert champion(project) == second

    assert cli.main(["promote", "v1"]) == 0
    assert state(project) == (["accepted"] * 2, {"champion": 1, "previous": 2})
    assert champion(project) == first

    capsys.readouterr()
    assert cli.main(["history"]) == 0
    said = capsys.readouterr().out
    versions, promotions = said.split("\n\n")
    assert [line.split()[0] for line in versions.splitlines()[1:]] == ["1", "2"]
    assert "champion" in versions.splitlines()[1]
    assert [line.split()[3:5] for line in promotions.splitlines()[1:]] == [
        ["1", "-"],
        ["2", "1"],
        ["1", "2"],
    ]
    assert "the board said so" in promotions


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ([], "There is no challenger; there are champion, 1."),
        (["7"], "There is no alias or version 7; there are champion, 1."),
        (["best"], "There is no alias or version best; there are champion, 1."),
    ],
)
def test_what_cannot_be_promoted(
    project: Project, arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["promote", *arguments]) == 2
    assert capsys.readouterr().err == f"ops promote: {sentence}\n"
    assert state(project) == (["accepted"], {"champion": 1})


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("MlflowClient.log_artifacts", marks=pytest.mark.exhaustive),
        pytest.param("Store.nest", marks=pytest.mark.exhaustive),
        pytest.param("Store.create", marks=pytest.mark.exhaustive),
        "Store.alias",
        "Store.record",
    ],
)
def test_a_kill_leaves_nothing_that_the_next_command_does_not_mend(
    project: Project, moment: str
) -> None:
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    before, after = champion(project), Bundle(project.bundle).digest
    killed = subprocess.run([sys.executable, "-c", KILLED, moment, "register"], check=False)
    assert killed.returncode == -9
    assert champion(project) == before
    assert state(project)[0] in (["accepted"], ["accepted", "pending"])

    assert cli.main(["register"]) == 0
    assert state(project) == (["accepted"] * 2, {"champion": 2, "previous": 1})
    assert champion(project) == after
    with tracking.connected(project) as store:
        assert [event.version for event in store.promotions()] == [1, 2]
        version = store.versions()[-1]
        experiments = [item.experiment_id for item in client(project).search_experiments()]
        runs = client(project).search_runs(experiments)
    compared = len(beneath(project, version.run))
    assert [run.info.status for run in runs] == ["FINISHED"] * 2 * (1 + compared)


@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("Store.fetch", marks=pytest.mark.exhaustive),
        pytest.param("Store.tag", marks=pytest.mark.exhaustive),
        "Store.alias",
        "Store.record",
    ],
)
def test_a_killed_rollback_is_ended_by_the_next_one(project: Project, moment: str) -> None:
    first = champion(project)
    for name in ("second", "third"):
        with manifest(project) as values:
            values["libraries"]["numpy"] = name
        assert cli.main(["register"]) == 0
    third = champion(project)
    assert cli.main(["rollback"]) == 0
    second = champion(project)
    killed = subprocess.run([sys.executable, "-c", KILLED, moment, "rollback"], check=False)
    assert killed.returncode == -9
    assert champion(project) == second != third
    moved = state(project)[1]["champion"] == 1
    assert moved == (moment == "Store.record")
    # Where the alias has moved, there is nothing to go back to, and the folder follows it.
    assert cli.main(["history" if moved else "rollback"]) == 0
    assert cli.main(["rollback"]) == 2
    assert located(project, "champion") == project.champion
    assert champion(project) == first
    assert state(project)[1] == {"champion": 1}


def test_a_service_takes_what_was_rolled_back_to(project: Project, tmp_path: Path) -> None:
    """It watches the folder, which is exchanged as a whole."""
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    assert cli.main(["register"]) == 0
    watched = locate(str(project.champion))
    before = watched.state()
    assert fetch(watched, tmp_path).origin.version == "2"
    assert cli.main(["rollback"]) == 0
    assert watched.state() != before
    found = fetch(watched, tmp_path)
    assert found.origin.version == "1"
    assert found.digest == champion(project)


def test_the_log_says_what_spoke_for_a_version(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    assert cli.main(["register"]) == 0
    assert cli.main(["rollback", "--reason", "complaints"]) == 0
    capsys.readouterr()
    assert cli.main(["history", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    _, promotion, rollback = told["promotions"]
    assert promotion["kind"] == "promotion"
    evidence = promotion["evidence"]
    value = Bundle(project.bundle).manifest["metrics"]["roc_auc"]
    assert evidence["score"] == "roc_auc"
    assert evidence["value"] == value
    assert evidence["champion"] == {"version": 1, "value": pytest.approx(value, abs=1e-5)}
    assert evidence["holdout"] == told["versions"][1]["data"]["holdout"]
    assert evidence["gates"]["champion regression"] == "passed"
    assert (rollback["why"], rollback["version"], rollback["before"]) == ("complaints", 1, 2)
    assert rollback["evidence"]["undoes"] == promotion["at"]
    assert rollback["evidence"]["champion"] == {"version": 2, "value": value}
    assert told["versions"][1]["metrics"]["roc_auc"] == pytest.approx(value)
    assert cli.main(["history"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) <= 120
    assert any("rollback" in line and "against" in line for line in lines)


def test_a_log_of_an_earlier_release_reads(project: Project) -> None:
    old = {"at": "2020-01-01T00:00:00.000000+00:00", "version": 1, "before": None}
    entry = json.dumps(old | {"by": "Ada", "why": "the first champion"})
    client(project).set_registered_model_tag(
        project.name, "promotion 20200101T000000.000000Z", entry
    )
    with tracking.connected(project) as store:
        first, _ = store.promotions()
    assert (first.kind, first.by, first.evidence) == ("promotion", "Ada", {})


def test_succession() -> None:
    def entry(kind: Literal["promotion", "rollback", "found"], version: int) -> tracking.Promotion:
        return tracking.Promotion("", version, None, "", "", kind)

    log: list[tracking.Promotion] = []
    steps = [
        (("promotion", 1), [1]),
        (("promotion", 2), [1, 2]),
        (("promotion", 3), [1, 2, 3]),
        (("rollback", 2), [1, 2]),
        (("promotion", 4), [1, 2, 4]),
        (("found", 1), [1]),
        (("found", 5), [1, 5]),
        (("promotion", 1), [1, 5, 1]),
        (("rollback", 5), [1, 5]),
        (("rollback", 1), [1]),
    ]
    for (kind, version), line in steps:
        log.append(entry(kind, version))
        assert [event.version for event in succession(log)] == line


def test_the_best_since_a_person_promoted_is_not_forgotten() -> None:
    """Whatever rows each was measured on: what counts is what it gained on the one before it."""
    scores = {score.name: score for score in metrics.SCORES}
    accuracy, loss = scores["accuracy"], scores["log_loss"]
    pairs = [(0.7, None), (0.8, 0.7), (0.6, 0.5), (0.59, 0.6), (0.9, 0.91), (0.92, 0.9)]
    for score, sign in ((accuracy, 1), (loss, -1)):
        line = [
            tracking.Promotion(
                *("", version, None, "", ""),
                evidence={
                    "score": score.name,
                    "value": sign * ours,
                    "champion": {"value": theirs and sign * theirs},
                },
            )
            for version, (ours, theirs) in enumerate(pairs, 1)
        ]
        assert best(line, score) == 3
        assert best(line[3:], score) == 6
    assert best(line, accuracy) == 1  # of another score


def test_a_champion_of_fewer_classes_is_measured_on_the_same_rows(
    project: Project, trained: Project
) -> None:
    """To a champion that never heard of a class, it has probability 0."""
    with manifest(project) as values:
        *_, target = values["contract"]["columns"]
        target["choices"] = ["benign", "unclear", "malignant"]
    wider, known = Bundle(project.bundle).contract, Bundle(trained.bundle)
    assert comparison.incomparable(known, Bundle(project.bundle)) is None
    assert comparison.incomparable(Bundle(project.bundle), known)
    rows = pl.read_parquet(project.holdout)
    own = comparison.answers(known, known.contract, rows)
    padded = comparison.answers(known, wider, rows)
    assert padded.scored.shape == (len(rows), 3)
    assert np.array_equal(padded.scored[:, [0, 2]], own.scored)
    assert np.array_equal(padded.values, 2 * own.values)
    assert not padded.scored[:, 1].any()


def spoilt(project: Project, factor: float) -> None:
    """Make the model less sure of itself, which costs log loss."""
    scale(project.bundle, factor)
    with manifest(project) as values:
        values["score"] = "log_loss"


def test_losses_since_a_person_promoted_stay_within_the_limit_together(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each step loses what the gate lets pass; so 0.4.0 let the second one pass, too."""
    set_params(project, "gates", regression=0.42)
    for factor, code in ((0.5, 0), (0.6, 3)):
        spoilt(project, factor)
        assert cli.main(["register"]) == code
    said = capsys.readouterr().out
    assert "REFUSED  champion regression: log loss" in said
    assert "against version 1's" in said
    assert state(project) == (["accepted", "accepted", "refused"], {"champion": 2, "previous": 1})

    for _ in range(2):  # a person accepts what was lost, which the log says once
        assert cli.main(["promote", "champion", "--reason", "it suffices"]) == 0
    with tracking.connected(project) as store:
        assert [event.version for event in store.promotions()] == [1, 2, 2]
        assert store.aliases()["previous"] == 1
    assert cli.main(["register"]) == 0
    assert "against the champion's" in capsys.readouterr().out
    assert state(project)[1] == {"champion": 3, "previous": 2}


def test_a_gain_can_be_asked_for(project: Project, capsys: pytest.CaptureFixture[str]) -> None:
    set_params(project, "gates", improvement=0.0)
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    assert cli.main(["register"]) == 3
    assert "it is better by 0.000 or more; over 0.000 is asked" in capsys.readouterr().out


@pytest.mark.parametrize(("learnt", "enough"), [(12, False), (17, True)])
def test_a_new_class_is_no_excuse(
    project: Project, learnt: int, enough: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A challenger that alone knows three rows, and is worse on all others, is refused."""
    with manifest(project) as values:
        *_, target = values["contract"]["columns"]
        target["choices"] = ["benign", "malignant", "unclear"]
        values["profile"]["target"]["unclear"] = learnt
    diagnosis = pl.col("diagnosis").cast(pl.String)
    rows = pl.read_parquet(project.holdout).with_columns(diagnosis)
    unclear = rows.head(3).with_columns(diagnosis=pl.lit("unclear"))
    fill(pl.concat([rows, unclear]), project.holdout)
    draw, champion = np.random.default_rng(0), Bundle(project.champion)

    def worse(bundle: Bundle, columns: dict[str, Any]) -> Prediction:
        if bundle.contract.classes == champion.contract.classes:
            return bundle.predict(columns)
        known = champion.predict(columns).probabilities
        assert known is not None
        known = 0.4 * known + 0.6 * draw.random(known.shape)
        new = np.arange(len(known)) >= len(rows)
        said = np.column_stack([known * ~new[:, None], new])
        return Prediction(said.argmax(axis=1), said)

    monkeypatch.setattr(comparison, "predict", worse)
    monkeypatch.setattr(comparison, "latency", lambda *_: 1.0)
    monkeypatch.setattr(Bundle, "obstacle", lambda _: None)
    with tracking.connected(project) as store:
        settings = Settings.load(project.params)
        bundle = Bundle(project.bundle)
        verdicts, _ = comparison.judge(store, settings, bundle, store.version(1))
    gates = {gate.name: gate for gate in verdicts}
    assert not gates["champion regression"].passed
    assert "On 108 rows" in gates["champion regression"].reason
    assert gates["new class"].passed == enough
    assert f"unclear, which has {learnt + 3} rows; 20 are asked" in gates["new class"].reason


@pytest.mark.parametrize(
    ("loses", "gains", "verdict"),
    [(True, False, False), (True, True, True), (False, False, True)],
    ids=["it lost and gained nothing", "the world has changed", "it lost nothing"],
)
def test_rows_from_before_new_labels_judge_too(
    project: Project, loses: bool, gains: bool, verdict: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """0.4.0 let labels that may be wrong judge the model that had learnt them."""
    draw, new = np.random.default_rng(0), 40
    rows = pl.read_parquet(project.holdout).with_columns(pl.col("diagnosis").cast(pl.String))
    others = pl.col("diagnosis").replace({"benign": "malignant", "malignant": "benign"})
    changed = rows.head(new).with_columns(others) if gains else rows.head(new)
    fill(pl.concat([changed, rows.slice(new)]), project.holdout)
    taken = changed.select(pl.all().cast(pl.String)).with_columns(
        pl.lit(datetime(2030, 1, 1)).alias(labelled.LABELLED),
        pl.int_range(pl.len()).cast(pl.String).alias(labelled.PREDICTION),
    )

    def said(bundle: Bundle, columns: dict[str, Any]) -> Prediction:
        known = bundle.predict(columns).probabilities
        assert known is not None
        if bundle.folder != project.champion and loses:
            known[new:] = 0.2 * known[new:] + 0.8 * draw.random(known[new:].shape)
        if bundle.folder != project.champion and gains:
            known[:new] = known[:new, ::-1]
        return Prediction(known.argmax(axis=1), known)

    monkeypatch.setattr(comparison, "predict", said)
    monkeypatch.setattr(comparison, "latency", lambda *_: 1.0)
    monkeypatch.setattr(Bundle, "obstacle", lambda _: None)
    settings, bundle, found = Settings.load(project.params), Bundle(project.bundle), []
    for day in ("20000101", "29990101"):  # before the champion was trained, and since
        shutil.rmtree(project.labelled, ignore_errors=True)
        project.labelled.mkdir(parents=True)
        taken.write_parquet(project.labelled / f"{day}T000000000000Z.parquet")
        with tracking.connected(project) as store:
            verdicts, _ = comparison.judge(store, settings, bundle, store.version(1))
        found.append({gate.name: gate for gate in verdicts})
    assert "earlier rows" not in found[0]
    assert found[1]["earlier rows"].passed == verdict
    assert "On 68 rows" in found[1]["earlier rows"].reason


def test_an_alias_that_somebody_moved_is_followed(project: Project) -> None:
    set_params(project, "registry", promote="manual")
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    assert cli.main(["register"]) == 0
    with tracking.connected(project) as store:
        store.alias("champion", 2)
    assert cli.main(["register"]) == 0
    assert champion(project) == Bundle(project.bundle).digest
    with tracking.connected(project) as store:
        *_, event = store.promotions()
    assert (event.version, event.before, event.by) == (2, 1, "unknown")


def test_files_that_were_changed_or_lost_are_not_promoted(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    assert cli.main(["register"]) == 0
    in_service = champion(project)
    with tracking.connected(project) as store:
        first = store.version(1)
        assert first
    files = project.root / "mlartifacts" / first.run / "artifacts/bundle"
    (files / "model.onnx").write_bytes(b"something else")
    assert cli.main(["promote", "1"]) == 2
    assert "are not the ones that were registered" in capsys.readouterr().err
    shutil.rmtree(files)
    assert cli.main(["promote", "1"]) == 2
    assert "are gone" in capsys.readouterr().err
    assert state(project)[1] == {"champion": 2, "previous": 1}
    assert champion(project) == in_service


def test_a_version_is_looked_at_whatever_its_status(project: Project, weak: Path) -> None:
    put(project, weak)
    assert cli.main(["register"]) == 3
    refused = located(project, "2")
    assert refused == project.root / "models/versions/2"
    assert Bundle(refused).digest == Bundle(weak).digest
    assert Bundle(located(project, "v2")).origin.version == "2"
    assert champion(project) != Bundle(weak).digest


def test_a_champion_says_where_it_comes_from(project: Project) -> None:
    with tracking.connected(project) as store:
        (version,) = store.versions()
    told = read_json(project.champion / "version.json")
    assert told == {
        "version": "1",
        "commit": version.tags["git.commit"],
        "data": version.tags["dvc.train"],
        "created": version.created.isoformat(timespec="seconds"),
        "digest": version.digest,
    }
    assert len(told["data"].removesuffix(".dir")) == 32
    (project.champion / "version.json").unlink()
    assert located(project, "champion") == project.champion
    assert read_json(project.champion / "version.json") == told


@pytest.mark.parametrize("name", ["7", "best", "v0"])
def test_a_version_that_is_not_there(project: Project, name: str) -> None:
    sentence = f"There is no folder, alias or version {name}; there are champion, 1."
    with pytest.raises(UserError, match=re.escape(sentence)):
        located(project, name)


def test_what_another_program_registered_has_no_bundle(project: Project) -> None:
    with tracking.connected(project) as store:
        (version,) = store.versions()
        store.create(version.run, "a stranger", {})
    with pytest.raises(UserError, match="Version 2 was not registered by `ops register`"):
        located(project, "2")


def test_lineage_without_git_and_with_it(project: Project) -> None:
    bundle = Bundle(project.bundle)
    without = lineage(project, bundle)
    assert (without["git.commit"], without["git.dirty"]) == ("none", "none")
    lock = yaml.safe_load((project.root / "dvc.lock").read_text())
    hashes = {out["path"]: out["md5"] for out in lock["stages"]["split"]["outs"]}
    assert without["dvc.train"] == hashes["data/train.parquet"]

    ignored = "/data/\n/models/\n/mlartifacts/\n/mlflow.db*\n"
    (project.root / ".gitignore").write_text(ignored)

    def git(*arguments: str) -> str:
        command = ["git", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    git("init", "--quiet")
    git("add", "--all")
    git("commit", "--quiet", "--message", "x")
    tags = lineage(project, bundle)
    assert (tags["git.commit"], tags["git.dirty"]) == (git("rev-parse", "HEAD"), "false")
    with (project.root / "dvc.lock").open("a") as lock_file:
        lock_file.write("\n")
    assert lineage(project, bundle)["git.dirty"] == "false"
    set_params(project, "registry", promote="manual")
    assert lineage(project, bundle)["git.dirty"] == "true"


def test_nothing_registered(unregistered: Project, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["history"]) == 0
    assert capsys.readouterr().out == "Nothing is registered yet: run `make train`.\n"
    assert cli.main(["promote"]) == 2
    assert "run `make train`" in capsys.readouterr().err
    shutil.rmtree(unregistered.bundle)
    assert cli.main(["register"]) == 2
    assert "run `make train`" in capsys.readouterr().err
    for name, sentence in (("champion", "no champion yet"), ("1", "Nothing is registered yet")):
        with pytest.raises(UserError, match=sentence):
            located(unregistered, name)


def test_a_holdout_that_was_not_pulled(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    with manifest(project) as values:
        values["libraries"]["numpy"] = "another"
    shutil.rmtree(project.holdout)
    assert cli.main(["register"]) == 2
    assert "data/holdout.parquet is not here; let `dvc checkout`" in capsys.readouterr().err
    assert state(project) == (["accepted"], {"champion": 1})


@pytest.mark.parametrize(
    "address", ["http://ada:secret@127.0.0.1:9", "http://nowhere.invalid", "http://[", "elsewhere"]
)
def test_a_registry_out_of_reach_is_one_sentence(
    project: Project,
    address: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    assert cli.main(["register"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "MLflow" in sentence
    assert "secret" not in sentence
    assert not project.root.joinpath("mlruns").exists()


def test_a_damaged_store_is_one_sentence(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    (project.root / "mlflow.db").write_text("this is no database" * 100)
    assert cli.main(["history"]) == 2
    assert "file is not a database" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "served", "shadow"),
    [
        ([], "champion", ""),
        (["--model", "1"], "versions/1", ""),
        (["--shadow", "challenger"], "champion", "challenger"),
        (["--shadow", "1"], "champion", "versions/1"),
    ],
)
def test_what_is_served_is_called_as_elsewhere(
    project: Project, monkeypatch: pytest.MonkeyPatch, options: list[str], served: str, shadow: str
) -> None:
    monkeypatch.delenv("BUNDLE", raising=False)
    settings = configure(cli.parser().parse_args(["serve", *options]))
    models = project.root / "models"
    assert settings.bundle == str(models / served)
    assert settings.shadow == (str(models / shadow) if shadow else "")
