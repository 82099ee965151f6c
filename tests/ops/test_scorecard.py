"""The scorecard: every row has evidence that can be there, and that can be taken away."""

from __future__ import annotations

import ast
import json
import os
import shutil
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest
from copies import client, git, set_params
from my_model.ops import scorecard as card
from my_model.ops.contract import load
from my_model.ops.files import read_json, write_json
from my_model.ops.registry.champion import note
from my_model.ops.registry.tracking import CHAMPION, Promotion, connected
from overlay import overlay

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from my_model.ops.project import Project

ROWS = {f"{group} {place}" for group in card.ROWS for place in range(1, 8)}
PIPELINE = {
    *("Data 1", "Data 4", "Data 5", "Data 6", "Data 7", "Model 2", "Infrastructure 1"),
    *("Infrastructure 2", "Infrastructure 3", "Infrastructure 7"),
    *(f"Monitoring {place}" for place in (1, 2, 3, 4, 7)),
}
"""Rows that a pipeline of the host repeats."""
TESTED = {"Data 1", "Data 4", "Data 7", "Monitoring 3"} | {
    f"Infrastructure {n}" for n in (1, 2, 3, 7)
}
GATED = {
    "latency": {"Data 3", "Infrastructure 4", "Monitoring 6"},
    "worst slice": {"Model 6", "Infrastructure 4"},
    "baseline gain": {"Model 5", "Infrastructure 4"},
    "export parity": {"Monitoring 5", "Infrastructure 4"},
    "fairness": {"Model 7", "Infrastructure 4"},
}
FAILED = {
    "test_rows_keep_the_contract": {"Data 1"},
    "test_no_feature_gives_the_target_away": {"Data 1", "Data 4"},
    "test_only_features_matter": {"Data 4", "Infrastructure 2"},
    "test_what_is_missing_stays_missing": {"Data 7"},
    "test_a_gap_gets_an_answer": {"Infrastructure 2"},
    "test_a_file_is_scored": {"Infrastructure 3"},
    "test_another_model_gives_way_to_the_same_model_as_before": {
        *("Infrastructure 1", "Infrastructure 3", "Infrastructure 7"),
    },
    "test_the_service_answers_as_a_file_is_scored": {"Monitoring 3"},
}
FOUND = {
    "contract": {"Monitoring 1"},
    "out of range": {"Monitoring 2"},
    "score": {"Monitoring 7"},
}


MET = {"champion": {"version": 1, "value": 0.9}}
"""What a version says that was judged beside an earlier one."""


def results(project: Project, failed: str = "") -> None:
    """Write what pytest would of the tests that a project is rendered with."""
    cases = []
    for file in sorted((overlay() / "tests").rglob("test_*.py")):
        place = ".".join(file.relative_to(overlay()).with_suffix("").parts)
        for node in ast.parse(file.read_text()).body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                amiss = "<failure/>" if node.name == failed else ""
                cases.append(f'<testcase classname="{place}" name="{node.name}">{amiss}</testcase>')
    (project.root / card.RESULTS).write_text(f"<testsuites>{''.join(cases)}</testsuites>")


def window(**values: Any) -> dict[str, Any]:
    score = {"name": "roc_auc", "value": 0.9, "low": 0.8, "high": 1.0, "expected": 0.95}
    told = {"rows": 100, "refused": 1, "end": "2030-01-02", "columns": {"a": {}}, "findings": []}
    return {**told, "score": score, **values}


def watch(project: Project, **values: Any) -> None:
    told = {"version": "2", "windows": [window(**values)]}
    write_json(project.served / "monitoring" / "monitoring.json", told)


def tag(project: Project, **tags: str) -> None:
    for name, value in tags.items():
        client(project).set_model_version_tag(project.name, "2", name.replace("_", "."), value)


def judge(project: Project, failed: str = "") -> None:
    """Let the champion have passed all gates, but for one."""
    passed = {name: {"name": name, "passed": name != failed, "reason": "It was."} for name in GATED}
    tag(project, gates=json.dumps([*passed.values()]))


def search(project: Project, value: str) -> None:
    """Write what `ops tune` would, of one trial."""
    with connected(project) as store:
        champion = store.versions()[-1]
        name, its = next(
            (name, its)
            for name, its in store.known(champion).params.items()
            if name.startswith("train.linear.")
        )
        run = store.log(("search", f"{datetime.now(UTC)}"), "ops tune")
        won = {name.rpartition(".")[2]: value or its}
        store.nest(run, "0 linear", won, "roc_auc", [0.9], chosen=True)


@pytest.fixture
def proven(project: Project) -> Project:
    """A project with evidence of every row."""
    root = project.root
    (root / "src" / "my_model" / "ml").mkdir(parents=True)
    (root / "src" / "my_model" / "ml" / "model.py").write_text('"""A model."""\n')
    shutil.copytree(overlay() / ".github", root / ".github")
    git(project, "init", "--quiet", "--initial-branch=main")
    git(project, "add", "src", ".github", "params.yaml", "dvc.lock")
    git(project, "commit", "--quiet", "--message", "Change\n\nReviewed-by: Grace <g@example.org>")
    git(project, "init", "--quiet", "--bare", str(root.parent / "host"))
    git(project, "remote", "add", "origin", str(root.parent / "host"))
    git(project, "push", "--quiet", "origin", "main")
    (root / "build").mkdir()
    results(project)
    set_params(project, "retention", log_days=30)
    log = project.served / "predictions" / "20300101T000000.jsonl"
    log.parent.mkdir(parents=True)
    log.write_text(json.dumps({"inputs": {load().inputs[0].name: 1}}) + "\n")
    with connected(project) as store:
        first = store.versions()[0]
        second = store.create(first.run, "", {**first.tags, "dvc.train": "newer"})
        store.alias(CHAMPION, second.number)
    promote(project, evidence={"shadow": "Yes."})
    tag(project, git_commit=git(project, "rev-parse", "HEAD").strip(), git_dirty="false")
    tag(project, evidence=json.dumps(MET))
    judge(project)
    watch(project)
    search(project, "")
    return project


def points(project: Project) -> dict[str, float]:
    return {row.name: row.points for row in card.scorecard(project)}


def test_what_has_all_evidence_has_every_point(
    proven: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert points(proven) == dict.fromkeys(ROWS, 1.0)
    card.run(proven)
    said = capsys.readouterr().out
    assert "ML Test Score: 7, the least of the four; together 28 of 28." in said
    assert "MLOps by Google: level 2 of 2; more needs nothing." in said
    assert "MLOps by Microsoft: level 4 of 4; more needs nothing." in said


def lost(project: Project, points_left: float = 0) -> set[str]:
    """The rows that have no whole point, but as many as are left."""
    now = points(project)
    assert {*now.values()} == {1.0, points_left}
    return {row for row in now if now[row] < 1}


def test_a_test_that_fails_or_is_older_than_the_code_takes_points(proven: Project) -> None:
    for test, rows in FAILED.items():
        results(proven, failed=test)
        assert lost(proven) == rows, test
    results(proven)
    later = datetime.now(UTC).timestamp() + 1
    os.utime(proven.root / "src" / "my_model" / "ml" / "model.py", (later, later))
    assert lost(proven) == TESTED


def test_what_training_and_monitoring_find_takes_points(proven: Project) -> None:
    for name, rows in GATED.items():
        judge(proven, failed=name)
        assert lost(proven) == rows, name
    judge(proven)
    for check, rows in FOUND.items():
        watch(proven, findings=[{"check": check}])
        assert lost(proven) == rows, check
    watch(proven, score={"name": "r2", "value": 0.5, "low": 0.4, "high": 0.6, "expected": 0.95})
    assert lost(proven) == {"Model 2"}
    watch(proven, end=None)
    assert lost(proven) == {"Model 2", *(f"Monitoring {place}" for place in (1, 2, 7))}
    watch(proven)
    findings = proven.reports / "findings"
    with changed(findings / "importance.json") as worth:
        worth[-1] |= {"importance": -0.1, "deviation": 0.01}
        write_json(findings / "importance.json", worth)
        assert lost(proven) == {"Data 2"}
    with changed(findings / "validation.json") as folds:
        write_json(findings / "validation.json", folds[:1])
        assert lost(proven) == {"Model 5"}
    with changed(proven.champion / "manifest.json") as manifest:
        manifest["golden"]["answers"][0][0] += 0.5
        write_json(proven.champion / "manifest.json", manifest)
        assert lost(proven) == {"Infrastructure 5"}


def test_what_the_registry_and_git_say_takes_points(
    proven: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(card, "FRESH", -1)
        assert lost(proven) == {"Monitoring 4"}
    tag(proven, evidence="{}")
    assert lost(proven) == {"Model 4"}
    tag(proven, evidence=json.dumps(MET))
    promote(proven, evidence={})
    assert lost(proven) == {"Infrastructure 6"}
    promote(proven, evidence={"shadow": "Yes."})
    search(proven, "0.123")
    assert lost(proven, points_left=0.5) == {"Model 3"}
    search(proven, "")
    tag(proven, git_dirty="true")
    assert {*points(proven).values()} == {1}  # what brought its hash to dvc.lock is reviewed
    tag(proven, dvc_bundle="0" * 32)
    assert lost(proven) == {"Model 1"}
    tag(proven, git_dirty="false")
    git(proven, "commit", "--quiet", "--amend", "--message", "Nobody has read it")
    tag(proven, git_commit=git(proven, "rev-parse", "HEAD").strip())
    assert lost(proven, points_left=0.5) == {"Model 1"}
    monkeypatch.setenv("GIT_COMMITTER_DATE", "2020-01-01T00:00:00Z")
    git(proven, "commit", "--quiet", "--amend", "--message", "It took years (#1)")
    tag(proven, git_commit=git(proven, "rev-parse", "HEAD").strip())
    assert lost(proven) == {"Data 6"}
    git(proven, "remote", "remove", "origin")
    now = points(proven)
    assert {row for row in now if now[row] == 0.5} == PIPELINE - {"Data 6"}


def test_what_nobody_may_read_is_not_in_the_log(
    proven: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, *others = load().columns
    known = replace(load(), columns=(replace(first, sensitive=True), *others))
    with monkeypatch.context() as patch:
        patch.setattr(card.contract, "load", lambda: known)
        assert lost(proven) == {"Data 5"}
    (proven.served / "predictions" / "20200101T000000.jsonl").touch()
    assert lost(proven) == {"Data 5"}
    shutil.rmtree(proven.served / "predictions")
    assert lost(proven) == {"Data 5"}


def promote(project: Project, evidence: dict[str, str]) -> None:
    with connected(project) as store:
        note(store, Promotion(datetime.now(UTC).isoformat(), 2, 1, "Ada", "", evidence=evidence))


@contextmanager
def changed(path: Path) -> Iterator[Any]:
    """What a file of JSON holds; it is as it was after the block."""
    before = path.read_bytes()
    yield read_json(path)
    path.write_bytes(before)
