"""The bundle: what is exported answers as what was fitted did, and says what it is."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from my_model.ops.bundle import Bundle
from my_model.ops.cli import main
from my_model.ops.contract import Contract
from my_model.ops.errors import UserError
from my_model.ops.evaluation import gates
from my_model.ops.project import Project
from my_model.ops.settings import Gates
from numpy.typing import NDArray

Answer = Callable[[pl.DataFrame], NDArray[Any]]


def test_a_model_is_exported_as_it_was_fitted(
    rows: pl.DataFrame, model: tuple[Answer, Answer]
) -> None:
    fitted, exported = (answer(rows) for answer in model)
    assert_near(exported, fitted)


def test_the_bundle_answers_as_the_pipeline_did(trained: Project, contract: Contract) -> None:
    prediction = Bundle(trained.bundle).predict(contract.arrays(pl.read_parquet(trained.holdout)))
    with np.load(trained.candidate / "answers.npz") as answers:
        if contract.classes:
            assert_near(prediction.probabilities, answers["model_probabilities"])
            np.testing.assert_array_equal(prediction.values, answers["model_values"])
        else:
            assert prediction.probabilities is None
            assert_near(prediction.values, answers["model_values"])


def assert_near(found: NDArray[Any] | None, wanted: NDArray[Any]) -> None:
    """Compare as the gate does, by the same limit."""
    assert found is not None
    gate = gates.export_parity(found, wanted, Gates().parity)
    assert gate.passed, gate.reason


def test_the_manifest_says_what_the_model_is(trained: Project, contract: Contract) -> None:
    bundle = Bundle(trained.bundle)
    assert bundle.contract == contract
    assert bundle.contract.fingerprint == bundle.manifest["fingerprint"] == contract.fingerprint
    assert bundle.manifest["classes"] == list(contract.classes)
    for name, path in {"train": trained.train, "holdout": trained.holdout}.items():
        (part,) = path.iterdir()
        digest = hashlib.sha256(part.read_bytes()).hexdigest()
        assert bundle.manifest["data"]["sha256"][name] == digest
        assert bundle.manifest["data"]["rows"][name] == len(pl.read_parquet(path))


def test_a_good_model_passes_the_gates(trained: Project) -> None:
    manifest = Bundle(trained.bundle).manifest
    assert all(gate["passed"] for gate in manifest["gates"])
    gates = json.loads((trained.reports / "gates.json").read_text(encoding="utf-8"))
    assert list(gates.values()) == manifest["gates"]
    metrics = json.loads((trained.reports / "metrics.json").read_text(encoding="utf-8"))
    assert manifest["metrics"].items() <= metrics.items()


def test_the_same_inputs_give_the_same_bytes(trained: Project, project: Project) -> None:
    for produced in (project.candidate, project.bundle):
        shutil.rmtree(produced)
    for stage in ("train", "evaluate"):
        assert main(["stage", stage]) == 0
    assert contents(project.root) == contents(trained.root)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file under a project's folder, but for what DVC's folder tells of this machine."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    files = [path for path in found if ".dvc" not in path.parts]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def test_another_bundle_has_another_digest(project: Project) -> None:
    before = Bundle(project.bundle).digest
    assert Bundle(project.bundle).digest == before
    for name in ("model.onnx", "manifest.json"):
        path = project.bundle / name
        path.write_bytes(path.read_bytes() + b"\n")
        after = Bundle(project.bundle).digest
        assert after != before
        before = after


def test_what_is_no_bundle_is_refused(project: Project) -> None:
    with pytest.raises(UserError, match="holds no model; run `make train` first"):
        Bundle(project.data)
    path = project.bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"format": 99}), encoding="utf-8")
    with pytest.raises(UserError, match=r"has bundle format 99, .* reads formats up to 2"):
        Bundle(project.bundle)
