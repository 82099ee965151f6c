"""What earlier releases wrote is read by this one: models, logs, ground truth, the registry.

The archives in tests/earlier hold a project of each release, which lived for a while with the code
of that release (make.py beside them). Here its `ops/` is the template's of today.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import polars as pl
import pytest
from copies import environment, git, ops, run, set_params
from history import RELEASES
from my_model.ops.contract import Contract
from my_model.ops.errors import UserError
from my_model.ops.project import Project
from my_model.ops.retraining import journal
from my_model.ops.serving.row_rules import RowRules
from overlay import under_test
from releases import number
from render import ROOT
from servers import service
from sharing import common, once

if TYPE_CHECKING:
    from pathlib import Path

ARCHIVES = {path.name.removesuffix(".tar.xz"): path for path in ROOT.glob("tests/earlier/*.tar.xz")}
SERVED = sorted(version for version in ARCHIVES if number(version) >= number("0.2.0"))
COMPARED = [
    pytest.param(version, marks=() if turn in {0, len(ARCHIVES) - 1} else pytest.mark.exhaustive)
    for turn, version in enumerate(sorted(ARCHIVES))
]
LOAD = """\
import sys
import mlflow, pandas, polars
model = mlflow.pyfunc.load_model(sys.argv[1])
rows = polars.read_parquet("data/holdout.parquet").drop("left")
rows = pandas.DataFrame({name: rows[name].to_list() for name in rows.columns})
print(len(model.predict(rows)))
"""
ASKED = 30
"""How many of the logged predictions are asked for again."""


@pytest.fixture(scope="module", params=sorted(ARCHIVES))
def version(request: pytest.FixtureRequest) -> str:
    """Each release in turn."""
    return str(request.param)


@pytest.fixture(scope="module")
def lived(version: str, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project that the release left, with the code of today; tests leave it as it is."""

    def unpack(folder: Path) -> None:
        with tarfile.open(ARCHIVES[version]) as archive:
            archive.extractall(folder, filter="data")
        package = folder / "project" / "src" / "my_model"
        shutil.copytree(under_test() / "src" / "my_model" / "ops", package / "ops")

    return Project(once(common(tmp_path_factory) / "earlier" / version, unpack) / "project")


@pytest.fixture
def project(lived: Project, tmp_path: Path) -> Project:
    """A copy of it, to do with as one likes."""
    return Project(shutil.copytree(lived.root, tmp_path / "a project", symlinks=True))


@pytest.fixture(scope="module")
def logged(lived: Project) -> list[dict[str, Any]]:
    """What its service has logged of its answers; nothing before there was one."""
    files = sorted((lived.served / "predictions").glob("*.jsonl"))
    return [json.loads(line) for file in files for line in file.read_text().splitlines()][:ASKED]


def history(project: Project) -> dict[str, Any]:
    """What `ops history` knows."""
    told: dict[str, Any] = json.loads(ops(project, "history", "--json"))
    return told


def champion(project: Project) -> int:
    """The number of the champion."""
    numbers = [
        its["version"] for its in history(project)["versions"] if "champion" in its["aliases"]
    ]
    return int(*numbers)


def test_every_release_has_left_a_project() -> None:
    assert {release for release in RELEASES if number(release) < number("0.5.0")} == set(ARCHIVES)


def test_versions_and_promotions_are_listed(version: str, lived: Project) -> None:
    told = history(lived)
    trained = 3 if number(version) >= number("0.3.0") else 2
    assert [its["version"] for its in told["versions"]] == list(range(1, trained + 1))
    assert {its["status"] for its in told["versions"]} == {"accepted"}
    assert champion(lived) == 1
    assert [its["version"] for its in told["promotions"]] == [*range(1, trained + 1), 1]
    assert told["promotions"][-1]["why"] == "the first was better"


def test_each_version_scores(version: str, project: Project) -> None:
    rows = pl.read_parquet(project.holdout).drop("left")
    rows.write_parquet(project.root / "rows.parquet")
    newest = "3" if number(version) >= number("0.3.0") else "2"
    scored = {}
    for model in ("champion", "1", newest):
        ops(project, "score", "rows.parquet", f"{model}.parquet", "--model", model)
        scored[model] = pl.read_parquet(project.root / f"{model}.parquet")
    assert scored["champion"].equals(scored["1"])
    assert scored["champion"].equals(scored[newest]) == (newest == "2")  # other folds, same model
    assert len(scored[newest]) == len(rows)


@pytest.mark.parametrize("version", SERVED, scope="module")
def test_the_service_answers_as_it_did(
    project: Project, logged: list[dict[str, Any]], tmp_path: Path
) -> None:
    command = (sys.executable, "-m", "my_model.ops.cli", "serve")
    variables = {**environment(project), "PREDICTIONS": str(tmp_path / "served")}
    with service(command, project.root, tmp_path / "said", variables) as served:
        rows = json.loads(pl.read_parquet(project.holdout).drop("left").head(3).write_json())
        assert served.ask("/predict", rows).status == 200
        broken = rows[0] | {"channel": "phone", "amount": -1.0}
        assert served.ask("/predict", broken).status == 422
        for line in logged:
            if line["version"] == "1":
                answer = served.ask("/predict", line["inputs"]).body
                assert answer["probabilities"] == line["probabilities"]


def test_a_model_from_before_there_was_a_service_is_not_served() -> None:
    """Its bundle does not say which rules a row must keep."""
    with tarfile.open(ARCHIVES["0.1.0"]) as archive:
        file = archive.extractfile("project/models/champion/manifest.json")
        assert file
        contract = Contract.from_dict(json.load(file)["contract"])
    with pytest.raises(UserError, match="made before services could check its contract"):
        RowRules.of(contract)


def test_its_log_is_monitored(version: str, project: Project) -> None:
    if number(version) < number("0.2.0"):
        assert "There are no requests" in ops(project, "monitor")
        return
    set_params(project, "monitoring", window=100)
    ops(project, "monitor")
    (report,) = project.served.rglob("monitoring.json")
    told = json.loads(report.read_text())
    assert told["windows"][0]["rows"] == 100


@pytest.mark.parametrize("version", COMPARED, scope="module")
def test_a_challenger_is_compared_with_its_champion(version: str, project: Project) -> None:
    set_params(project, "split", folds=3)
    repro = run(project, "dvc", "repro", "--force")
    assert repro.returncode == 0, repro.stdout
    said = ops(project, "register")
    assert "champion regression" in said
    unknown = "0.1.0 did not say by which rule it held rows out" in said
    assert unknown == (version == "0.1.0")
    assert ("not comparable" in said) == unknown
    if unknown:
        ops(project, "promote", code=2)
        ops(project, "promote", "--reason", "known to be as good")
    assert champion(project) == history(project)["versions"][-1]["version"]
    assert "champion" in ops(project, "rollback", "--reason", "as before")
    assert champion(project) == 1


def test_a_version_loads_in_mlflow(project: Project) -> None:
    folder = next(project.root.glob("mlartifacts/*/artifacts/bundle"))
    done = subprocess.run(
        [sys.executable, "-c", LOAD, str(folder)],
        cwd=project.root,
        env=environment(project),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == len(pl.read_parquet(project.holdout))


def test_files_of_the_pipeline_become_folders_and_files_again(
    version: str, project: Project
) -> None:
    """Before 0.5.0 each output was one file."""
    if version != "0.4.0":
        return
    outputs = [project.raw, project.valid, project.quarantine, project.train, project.holdout]
    before = [pl.read_parquet(path) for path in outputs]
    assert all(path.is_file() for path in outputs)
    assert run(project, "dvc", "commit", "--force").returncode == 0
    with suppress(KeyboardInterrupt), journal.reversible(project, []):
        assert run(project, "dvc", "repro", "--force", "split").returncode == 0
        assert all(path.is_dir() for path in outputs)
        for path, rows in zip(outputs, before, strict=True):
            assert pl.read_parquet(path).equals(rows)
        raise KeyboardInterrupt
    assert all(path.is_file() for path in outputs)
    assert run(project, "dvc", "repro", "split").returncode == 0
    assert all(path.is_file() for path in outputs), "what has not changed is not made anew"
    set_params(project, "validation", quarantine=0.06)
    assert run(project, "dvc", "repro", "split").returncode == 0
    assert [path.is_dir() for path in outputs] == [False, True, True, True, True]
    git(project, "checkout", "HEAD", "--", "dvc.lock", "params.yaml")
    assert run(project, "dvc", "checkout", "ingest", "validate", "split").returncode == 0
    assert all(path.is_file() for path in outputs)


def test_labelled_rows_are_learnt_from(version: str, project: Project) -> None:
    if number(version) < number("0.3.0"):
        assert not list(project.labelled.glob("*.parquet"))
        return
    (taken,) = project.labelled.glob("*.parquet")
    known = len(pl.read_parquet(taken))
    assert run(project, "dvc", "repro", "--single-item", "--force", "ingest").returncode == 0
    assert len(pl.read_parquet(project.raw)) > known
    git(project, "status", "--porcelain")
