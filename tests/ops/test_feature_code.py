"""Features that change: a version is scored by the code that it was trained with, or not at all."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
from typing import TYPE_CHECKING, Any

import dataframely as dy
import numpy as np
import polars as pl
import pytest
import yaml
from copies import git, set_params
from my_model.ml import features as ours
from my_model.ops import bundle as bundles
from my_model.ops import cli, sampling, user_code
from my_model.ops.bundle import OTHER_CODE, Bundle
from my_model.ops.errors import UserError
from my_model.ops.files import read_json, write_json
from my_model.ops.pipeline import evaluate, train, validate
from my_model.ops.registry import tracking
from my_model.ops.serving import service as services
from my_model.ops.serving.locations import Unavailable, fetch, locate
from my_model.ops.serving.reloading import Follower
from my_model.ops.serving.service import Service
from my_model.ops.serving.settings import Settings, Strictness
from render import ROOT
from small import judged

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from my_model.ops.contract import Contract
    from my_model.ops.project import Project
    from numpy.typing import NDArray

    Arrays = dict[str, NDArray[Any]]

REGISTERING = re.compile(r"make (trial|challenge|promote)\b")
AS_IT_IS = "            made[name] = values"


def doubled(columns: Arrays, text: Collection[str]) -> Arrays:
    """Features of the same names and another meaning."""
    return {name: values * np.float32(2) for name, values in ours.features(columns, text).items()}


def fewer(columns: Arrays, text: Collection[str]) -> Arrays:
    """Features without one that the champion asks for."""
    made = ours.features(columns, text)
    return {name: made[name] for name in list(made)[1:]}


def broken(columns: Arrays, text: Collection[str]) -> Arrays:
    """Code that asks for a column which the contract of the version has not."""
    return {"ratio": columns["a column of today"], **ours.features(columns, text)}


def poor(columns: Arrays, text: Collection[str]) -> Arrays:
    """Features of which one tells a little, and none tells much."""
    made = ours.features(columns, text)
    return {"dull": made["mean smoothness"]}


def at_hand(patch: pytest.MonkeyPatch, features: Any) -> None:
    """Let this be the code of the project."""
    for module in (bundles, evaluate, train):
        patch.setattr(module, "features", features)


def scores(project: Project) -> pl.DataFrame:
    """What `ops score` says of the rows held out by the champion."""
    inputs = pl.read_parquet(project.holdout).drop("diagnosis").head(20)
    inputs.write_parquet(project.root / "rows.parquet")
    assert cli.main(["score", "rows.parquet", "scores.parquet"]) == 0
    return pl.read_parquet(project.root / "scores.parquet")


def retrain(project: Project) -> None:
    """Train a linear model by the code at hand, and judge it."""
    set_params(project, "train", model="linear")
    train.run(project)
    evaluate.run(project)


def edited(bundle: Path) -> None:
    """Let a bundle be another one, with every gate passed."""
    manifest = read_json(bundle / "manifest.json")
    gates = [{**gate, "passed": True} for gate in manifest["gates"]]
    write_json(bundle / "manifest.json", {**manifest, "gates": gates, "edited": True})


def forget(project: Project, *keys: str) -> None:
    """Let the champion in store have no such keys in its manifest, as if it were an earlier one."""
    with tracking.connected(project) as store:
        (version,) = store.versions()
        folder = project.root / "mlartifacts" / version.run / "artifacts" / "bundle"
        manifest = read_json(folder / "manifest.json")
        write_json(folder / "manifest.json", {k: v for k, v in manifest.items() if k not in keys})
        store.tag(version, bundle=Bundle(folder).digest)


@pytest.mark.parametrize(
    ("features", "said"),
    [
        (doubled, "its answers to the golden rows are off by up to "),
        (fewer, "ml/features.py does not make its number mean radius"),
        (broken, "its golden rows cannot be scored (KeyError: 'a column of today')"),
    ],
)
def test_other_features_are_known_by_the_golden_rows(
    project: Project, features: Any, said: str
) -> None:
    bundle = Bundle(project.champion)
    assert bundle.obstacle() is None
    bundle.features = features
    assert said in str(bundle.obstacle())


@pytest.mark.parametrize("features", [doubled, fewer, broken])
def test_a_version_is_scored_by_its_own_code(
    project: Project,
    features: Any,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """There is no commit here: the text is at hand that was registered."""
    before = scores(project)
    assert cli.main(["explain", "1"]) == 0
    told = capsys.readouterr().out.splitlines()[-16:]
    at_hand(monkeypatch, features)
    assert scores(project).equals(before)
    assert cli.main(["explain", "1"]) == 0
    assert capsys.readouterr().out.splitlines()[-16:] == told


def test_a_worse_model_of_other_features_does_not_replace_the_champion(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    at_hand(monkeypatch, poor)
    retrain(project)
    edited(project.bundle)
    assert cli.main(["register"]) == 3
    assert "champion regression: ROC AUC" in capsys.readouterr().err
    assert Bundle(project.champion).origin.version == "1"


@pytest.mark.parametrize("kept", ["golden", "code"])
def test_what_cannot_be_scored_waits_for_a_person(
    project: Project,
    kept: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Of an earlier release, whose commit nobody has; or its own code is lost."""
    if kept == "code":
        forget(project, "golden", "code")
    else:
        at_hand(monkeypatch, doubled)
        retrain(project)
    (code,) = project.root.glob("mlartifacts/*/artifacts/code")
    shutil.rmtree(code)
    edited(project.bundle)
    assert cli.main(["register"]) == 0
    said = capsys.readouterr().out
    assert "skipped  champion regression: Version 1 needs the code that it was trained with" in said
    assert "`uv run ops promote --reason TEXT` makes it the champion" in said
    assert cli.main(["promote"]) == 2
    refused = capsys.readouterr().err
    assert "Version 2 was not compared. Version 1 needs the code" in refused
    assert "`uv run ops promote 2 --reason TEXT`" in refused
    with tracking.connected(project) as store:
        assert store.aliases() == {"champion": 1, "challenger": 2}
    assert cli.main(["promote", "--reason", "seen by Ada"]) == 0
    with tracking.connected(project) as store:
        assert store.promotions()[-1].why == "seen by Ada"
    assert cli.main(["rollback"]) == 0


def test_a_bundle_of_other_code_is_not_registered(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    edited(project.bundle)
    at_hand(monkeypatch, doubled)
    assert cli.main(["register"]) == 2
    assert "The code has changed since the training" in capsys.readouterr().err


def test_the_service_keeps_its_model_and_says_so(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    taken: list[str] = []
    watched = locate(str(project.champion))
    follower = Follower(
        watched, Strictness(), lambda model: taken.append(str(model and model.version))
    )
    follower.look()
    edited(project.bundle)
    assert cli.main(["register"]) == 0
    at_hand(monkeypatch, doubled)
    with caplog.at_level("WARNING", "service"):
        follower.look()
    assert follower.failing
    assert taken == ["1"]
    assert "No new model: Version 2 in" in caplog.text
    assert "needs the code that it was trained with" in caplog.text
    capsys.readouterr()
    assert cli.main(["serve"]) == 2
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "needs the code that it was trained with" in sentence
    with pytest.raises(Unavailable):
        fetch(watched, tmp_path)


def test_a_cold_start_scores_the_golden_rows_once_and_refuses_other_code(
    trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scored, score = [], Bundle.obstacle
    monkeypatch.setattr(Bundle, "obstacle", lambda its: scored.append(its) or score(its))
    folder = locate(str(trained.bundle))

    def service(address: str, place: Any) -> Service:
        monkeypatch.setattr(services, "locate", lambda _: place)
        return Service(Settings(bundle=address, predictions=str(tmp_path / "served")))

    async def begin(started: Service) -> None:
        started.start()
        async with started.running():
            assert started.model is not None

    asyncio.run(begin(service(str(trained.bundle), folder)))
    assert len(scored) == 1
    address = "http://host:5000/model@champion"
    nowhere = locate(str(tmp_path / "nowhere"))
    service(address, nowhere).start()  # it may still come
    with pytest.raises(UserError, match="There is no model"):
        service("nowhere", nowhere).start()
    at_hand(monkeypatch, doubled)
    with pytest.raises(UserError, match="needs the code that it was trained with"):
        service(address, folder).start()


def test_other_code_with_the_same_answers_is_only_warned_of(
    project: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = scores(project)
    assert OTHER_CODE not in capsys.readouterr().err
    monkeypatch.setattr(bundles, "digest", lambda _: "another")
    assert scores(project).equals(before)
    assert OTHER_CODE in capsys.readouterr().err
    with caplog.at_level("WARNING", "service"):
        fetch(locate(str(project.champion)), tmp_path)
    assert OTHER_CODE in caplog.text


def test_the_code_of_a_commit_is_found_with_its_changes(
    project: Project, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The commit has features of another meaning, which were mended before the training."""
    source = project.root / "src" / user_code.PACKAGE.name
    for name in ("__init__.py", "ml"):
        copy = shutil.copytree if name == "ml" else shutil.copy
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        copy(user_code.PACKAGE / name, source / name)
    text = (source / "ml" / "features.py").read_text()
    assert AS_IT_IS in text
    (source / "ml" / "features.py").write_text(text.replace(AS_IT_IS, f"{AS_IT_IS} * 2"))
    git(project, "init", "--quiet")
    git(project, "add", "src")
    git(project, "commit", "--quiet", "--message", "Begin")
    (source / "ml" / "features.py").write_text(text)
    edited(project.bundle)
    assert cli.main(["register"]) == 0
    before = scores(project)
    for code in project.root.glob("mlartifacts/*/artifacts/code"):
        shutil.rmtree(code)
    at_hand(monkeypatch, doubled)
    assert scores(project).equals(before)
    assert "by its own code in ml/" in capsys.readouterr().err
    shutil.rmtree(project.root / ".git")
    assert cli.main(["score", "rows.parquet", "scores.parquet"]) == 2
    assert "neither git nor the registry has that" in capsys.readouterr().err


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package whose features reach for other modules of it."""
    package = tmp_path / "a_package"
    files = {
        "__init__.py": "",
        "ml/__init__.py": '"""The problem."""\n',
        "ml/features.py": "import numpy\nfrom . import helpers\nfeatures = helpers.one\n",
        "ml/helpers.py": "def one():\n    from ..deep.inside import ONE\n    return ONE\n",
        "ml/model.py": "import sklearn\n",
        "deep/__init__.py": "",
        "deep/inside.py": "ONE = 1\n",
    }
    for name, text in files.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(user_code, "PACKAGE", package)
    return package


def test_the_code_is_what_the_features_reach(package: Path) -> None:
    reached = {name.removeprefix("a_package/") for name in user_code.modules()}
    assert {"ml/features.py", "ml/helpers.py", "deep/inside.py"} <= reached
    assert "ml/model.py" not in reached


@pytest.mark.parametrize(
    ("name", "text", "same"),
    [
        (
            "deep/inside.py",
            '"""Much about one."""\nONE = (\n    1  # so it is\n)\n"""Known."""\n',
            True,
        ),
        (
            "ml/helpers.py",
            'def one():\n    """One."""\n    from ..deep.inside import ONE\n    return ONE',
            True,
        ),
        ("ml/model.py", "import another", True),
        ("deep/inside.py", "ONE = 2\n", False),
        ("ml/helpers.py", "def one(): return 1\n", False),
    ],
)
def test_only_what_code_does_counts(package: Path, name: str, text: str, same: bool) -> None:
    before = user_code.digest(user_code.modules())
    (package / name).write_text(text)
    assert (user_code.digest(user_code.modules()) == before) is same


def test_golden_rows_keep_the_contract_and_are_nobodys(trained: Project) -> None:
    bundle = Bundle(trained.bundle)
    contract: Contract = bundle.contract
    rows = sampling.golden(contract, bundle.manifest["profile"])
    assert rows is not None
    assert len(rows) == sampling.GOLDEN
    assert not validate.check(rows, labelled=False).counts
    known = pl.read_parquet(trained.train)
    names = [column.name for column in contract.features]
    assert (
        rows.select(names)
        .cast(pl.Float32)
        .join(known.select(pl.col(names).cast(pl.Float32)), on=names, how="semi")
        .is_empty()
    )
    again = sampling.golden(contract, json.loads(json.dumps(bundle.manifest["profile"])))
    assert again is not None
    assert rows.equals(again)
    told = bundle.manifest["golden"]
    assert len(told["answers"]) == len(rows)
    assert len({tuple(answer) for answer in told["answers"]}) > sampling.GOLDEN // 2


class Order(dy.Schema):
    """An order of which much may be missing."""

    weight = dy.Float64(nullable=True)
    plan = dy.String(nullable=True, metadata={"category": True})
    late = dy.Bool(metadata={"target": True})


def orders(rows: int, seed: int) -> pl.DataFrame:
    """Orders that tell something where a value is missing, too."""
    draw = np.random.default_rng(seed)
    weight = [None if it > 1 else it for it in draw.normal(size=rows)]
    plan = draw.choice(np.array(["basic", "gold", None]), rows)
    frame = pl.DataFrame({"weight": weight, "plan": plan}, schema_overrides={"plan": pl.String})
    level = pl.col("weight").fill_null(2) + (pl.col("plan").fill_null("gold") == "gold")
    return frame.with_columns(late=level + draw.logistic(size=rows) > 1)


def filled(columns: Arrays, text: Collection[str]) -> Arrays:
    """The features, but of a number that is missing: it is nought."""
    made = ours.features(columns, text)
    return {**made, "weight": np.nan_to_num(made["weight"])}


def usual(columns: Arrays, text: Collection[str]) -> Arrays:
    """The features, but of a plan that is missing or new: it is the basic one."""
    made = ours.features(columns, text)
    known = np.isin(made["plan"].astype(str), ["basic", "gold"])
    return {**made, "plan": np.where(known, made["plan"], "basic").astype(object)}


def test_golden_rows_tell_what_code_makes_of_missing_and_unknown_values(tmp_path: Path) -> None:
    with judged(tmp_path, Order, orders(600, 1), orders(300, 2), {"model": "linear"}) as project:
        bundle = Bundle(project.bundle)
        rows = sampling.golden(bundle.contract, bundle.manifest["profile"])
        assert rows is not None
        assert all(rows[name].null_count() for name in ("weight", "plan"))
        known = {"basic", "gold"}
        assert known < {*rows["plan"].drop_nulls()}
        assert bundle.obstacle() is None
        for features in (filled, usual):
            bundle.features = features
            assert "its answers to the golden rows are off by up to " in str(bundle.obstacle())


@pytest.mark.parametrize(
    "name", [".github/workflows/ci.yml", ".github/workflows/retrain.yml", ".gitlab-ci.yml"]
)
def test_pipelines_that_register_have_the_history(name: str) -> None:
    jobs = yaml.safe_load((ROOT / "template" / name).read_text())
    jobs = jobs.get("jobs", jobs)
    if name == ".gitlab-ci.yml":
        jobs |= yaml.safe_load((ROOT / "template" / ".gitlab" / "retrain.yml").read_text())
    told = {key: str(job) for key, job in jobs.items()}
    asking = {key for key, job in told.items() if REGISTERING.search(job)}
    assert asking
    for key in asking:
        assert "'fetch-depth': 0" in told[key] or "'GIT_DEPTH': '0'" in told[key], key
