"""Retraining, with the real DVC, git and registry: whole, or not at all."""

from __future__ import annotations

import ast
import dataclasses
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl
import pytest
import yaml
from copies import (
    BEGUN,
    answer,
    environment,
    feed,
    git,
    learn,
    most_memory,
    new_rows,
    numbers_of,
    ops,
    run,
    set_params,
    state,
)
from gitconfig import hostile
from my_model.ops import cli
from my_model.ops import contract as contracts
from my_model.ops.bundle import Bundle, Prediction
from my_model.ops.contract import Column, Contract
from my_model.ops.errors import Refused, UserError
from my_model.ops.files import read_json
from my_model.ops.monitoring import windows
from my_model.ops.monitoring.reference import Reference
from my_model.ops.pipeline import labelled
from my_model.ops.prediction_log import micros
from my_model.ops.project import Project
from my_model.ops.registry import tracking
from my_model.ops.retraining import declaration, examination, exclusion, journal, labels
from my_model.ops.retraining import run as retraining

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

DOOMED = """
import importlib, os, signal, sys
from my_model.ops import cli

def die(*_, **__):
    os.killpg(0, signal.SIGKILL)

module, name = sys.argv[1].rsplit(".", 1)
setattr(importlib.import_module(module), name, die)
cli.main(sys.argv[2:])
"""
BARRIER = """
import os, pathlib, signal

if "HELD" in os.environ:
    pathlib.Path(os.environ["HELD"]).touch()
    signal.pause()
"""
"""Whatever imports this stands still, if it is told to, and says so by a file."""
NEVER = ("retrain", "--declare", "nothing=1")
"""A retraining that fails as soon as it has mended what an earlier one left."""


def test_labelled_rows_are_learnt_from_once(
    whole: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = feed(whole)
    with monkeypatch.context() as patch:
        for name, value in hostile(tmp_path).items():
            patch.setenv(name, value)
        said = ops(whole, "retrain")
    assert f"took in {len(told)} labelled rows" in said
    assert "Version 2 (champion) is registered" in said
    (taken,) = whole.labelled.glob("*.parquet")
    assert len(pl.read_parquet(whole.raw)) == 569 + len(told)
    assert f"data/labelled/{taken.name}.dvc" in git(whole, "diff", "--cached", "--name-only")
    assert "up to date" in run(whole, "dvc", "status").stdout

    after = state(whole)
    said = ops(whole, "retrain")
    assert "nothing new to learn from" in said
    assert "Running stage" not in said
    assert state(whole) == after

    git(whole, "add", "--all")
    git(whole, "commit", "--quiet", "--no-verify", "--message", "Retrain")
    assert run(whole, "dvc", "push").returncode == 0
    clone = Project(tmp_path / "clone")
    git(whole, "clone", "--quiet", ".", str(clone.root))
    storage = str(whole.root / ".dvc" / "storage")
    run(clone, "dvc", "remote", "modify", "--local", "storage", "url", storage)
    assert run(clone, "dvc", "pull").returncode == 0
    assert "up to date" in run(clone, "dvc", "status").stdout
    assert "Running stage" not in run(clone, "dvc", "repro").stdout
    assert (clone.labelled / taken.name).read_bytes() == taken.read_bytes()


def test_what_a_champion_learnt_is_excluded_after_its_rollback(whole: Project) -> None:
    """In 0.4.0 the next retraining learnt it again."""
    feed(whole)
    ops(whole, "retrain")
    (taken,) = whole.labelled.glob("*.parquet")
    said = ops(whole, "rollback")
    asked = f"ops labels exclude --file {taken.name} --reason TEXT"
    assert f"Version 2 had learnt from more labels. If they were wrong:\n`uv run {asked}`" in said
    said = ops(whole, *asked.split()[1:])
    assert f"{taken.name}: 60 labels told from 2030-01-02 00:00 to" in said
    assert "60 excluded" in said
    assert "?? data/labelled/excluded.yaml" in git(whole, "status", "--porcelain")
    said = ops(whole, "retrain")
    assert "nothing new to learn from" in said
    assert "Version 1 (champion) is this very model" in said
    assert len(pl.read_parquet(whole.raw)) == 569
    assert "60 excluded" in ops(whole, "labels", "show")


def test_a_new_label_waits_until_it_is_declared(whole: Project) -> None:
    told = feed(whole)
    names = list(told)[:20]
    learn(whole, dict.fromkeys(names, "unclear"), day=2)
    said = ops(whole, "retrain")
    assert "left out 20 rows, as the contract does not know their diagnosis: unclear (20)" in said
    assert "took in 40 labelled rows" in said
    before = whole.schema.read_text()
    said = ops(whole, "retrain", "--declare", "diagnosis=unclear")
    assert "diagnosis allows unclear from now on" in said
    assert "took in 20 labelled rows" in said
    assert "champion regression: ROC AUC" in said
    with_it = before.replace('["benign", "malignant"]', '["benign", "malignant", "unclear"]')
    assert whole.schema.read_text() == with_it
    assert read_json(whole.champion / "manifest.json")["classes"][-1] == "unclear"
    assert "allows unclear already" in ops(whole, "retrain", "--declare", "diagnosis=unclear")


def test_a_pipeline_that_fails_leaves_everything_as_it_was(whole: Project) -> None:
    feed(whole)
    before = state(whole)
    said = ops(whole, "retrain", "--declare", "diagnosis=never seen", code=2)
    assert "No row of class never seen is among those to learn from" in said
    assert "everything is as it was before" in said
    assert "Traceback" not in said
    assert state(whole) == before


def test_labels_that_are_refused_leave_everything_as_it_was(whole: Project) -> None:
    """A key that tells the same of every row is not believed."""
    rows, _ = new_rows(whole, 120)
    learn(whole, dict.fromkeys(answer(whole, rows), "malignant"), key="partner")
    before = state(whole)
    said = ops(whole, "retrain", code=3)
    assert "all told by key 'partner'" in said
    assert "Traceback" not in said
    assert state(whole) == before


def test_a_refused_model_leaves_the_champion_and_keeps_the_rows(whole: Project) -> None:
    feed(whole)
    set_params(whole, "gates", minimum_score=1.0)
    champion = read_json(whole.champion / "version.json")
    said = ops(whole, "retrain", code=3)
    assert "minimum score" in said
    assert "The champion stays, and so do the rows that were taken in." in said
    assert read_json(whole.champion / "version.json") == champion
    assert len(list(whole.labelled.glob("*.parquet.dvc"))) == 1


def test_a_proposal_is_not_promoted(whole: Project) -> None:
    feed(whole)
    assert "`uv run ops promote` makes it the champion" in ops(whole, "retrain", "--propose")
    with tracking.connected(whole) as store:
        assert store.aliases() == {"champion": 1, "challenger": 2}


def test_if_it_is_not_needed_nothing_is_done(whole: Project) -> None:
    feed(whole)
    before = state(whole)
    said = ops(whole, "retrain", "--if-needed")
    assert "not needed, for `ops monitor` decides: none" in said
    after = state(whole)
    watched = {name for name in after if "served/monitoring" in name}
    assert {name: value for name, value in after.items() if name not in watched} == before


def test_if_it_is_needed_it_is_done(whole: Project) -> None:
    """Three windows of rows that are nothing like those that were learnt from."""
    rows, truths = new_rows(whole, 300)
    moved = rows.select(pl.all() + 2 * pl.all().max())  # a factor would look like another unit
    learn(whole, dict(zip(answer(whole, moved), truths, strict=True)))
    params = yaml.safe_load(whole.params.read_text())
    params["monitoring"] = params.get("monitoring", {}) | {"window": 100}
    whole.params.write_text(yaml.safe_dump(params))
    said = ops(whole, "retrain", "--if-needed")
    assert "retrain: needed. " in said
    assert "took in 300 labelled rows" in said


def test_one_retraining_at_a_time(whole: Project) -> None:
    before = state(whole)
    with journal.alone(whole):
        said = ops(whole, "retrain", code=2)
    assert f"Another `ops retrain` is at work, process {os.getpid()}" in said
    assert state(whole) == before


def killed_at(place: str) -> Callable[[Project], None]:
    """Kills a retraining and its whole pipeline when it comes to a function."""

    def kill(project: Project) -> None:
        command = [sys.executable, "-c", DOOMED, f"my_model.ops.{place}", "retrain"]
        environ = environment(project)
        doomed = subprocess.run(
            command, cwd=project.root, env=environ, start_new_session=True, check=False
        )
        assert doomed.returncode == -signal.SIGKILL

    return kill


@contextmanager
def held_in_the_pipeline(project: Project) -> Iterator[subprocess.Popen[bytes]]:
    """A retraining that stands still in its fourth stage, and is killed with all that it began."""
    model, signal_file = project.schema.with_name("model.py"), project.root.with_name("held")
    before, lock = model.read_text(), (project.root / "dvc.lock").read_bytes()
    model.write_text(before + BARRIER)
    process = subprocess.Popen(
        [sys.executable, "-m", "my_model.ops.cli", "retrain"],
        cwd=project.root,
        env={**environment(project), "HELD": str(signal_file)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        while not signal_file.exists():
            assert process.poll() is None
            time.sleep(0.01)
        assert (project.root / "dvc.lock").read_bytes() != lock
        model.write_text(before)
        yield process
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def killed_in_the_pipeline(project: Project) -> None:
    """Kill a retraining after some of its stages, with everything that it has begun."""
    with held_in_the_pipeline(project):
        pass


def killed_while_it_restores(project: Project) -> None:
    """Kill the command that puts back what an earlier one has left."""
    killed_in_the_pipeline(project)
    killed_at("retraining.journal._unstage")(project)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no process groups to kill")
@pytest.mark.parametrize(
    "kill",
    [
        pytest.param(killed_at("retraining.journal.write_json"), id="journal"),
        pytest.param(killed_at("retraining.labels.write"), id="rows", marks=pytest.mark.exhaustive),
        pytest.param(killed_at("dvc.ask"), id="dvc add", marks=pytest.mark.exhaustive),
        pytest.param(killed_at("dvc.run"), id="dvc repro", marks=pytest.mark.exhaustive),
        pytest.param(killed_in_the_pipeline, id="pipeline", marks=pytest.mark.exhaustive),
        pytest.param(killed_while_it_restores, id="restore"),
        pytest.param(killed_at("retraining.journal._end"), id="end", marks=pytest.mark.exhaustive),
    ],
)
def test_a_kill_changes_nothing_in_the_end(
    whole: Project, kill: Callable[[Project], None], request: pytest.FixtureRequest
) -> None:
    told = feed(whole)
    before = state(whole)
    kill(whole)
    with tracking.connected(whole) as store:
        assert store.aliases() == {"champion": 1}
    said = ops(whole, *NEVER, code=2)
    assert ("cut short" in said) == ("journal]" not in request.node.name)
    assert state(whole) == before
    if kill is killed_in_the_pipeline:
        assert f"took in {len(told)} labelled rows" in ops(whole, "retrain")


def test_a_kill_after_the_pipeline_is_ended_by_the_next_one(whole: Project) -> None:
    feed(whole)
    killed_at("registry.promotion.register")(whole)
    said = ops(whole, "retrain")
    assert "cut short" not in said
    assert "nothing new to learn from" in said
    assert "Version 2 (champion) is registered" in said


def test_a_pipeline_that_lost_its_parent_is_waited_for(whole: Project) -> None:
    """Whoever kills the command alone leaves a pipeline at work; it holds the lock."""
    feed(whole)
    with held_in_the_pipeline(whole) as parent:
        parent.kill()
        parent.wait()
        assert f"is at work, process {parent.pid}" in ops(whole, *NEVER, code=2)


# What is joined


@pytest.fixture
def logs(trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A project that has nothing but the log of a service, and the trained one's rows."""
    monkeypatch.setenv("PREDICTIONS", str(tmp_path / "served"))
    monkeypatch.setattr(exclusion.git, "person", lambda _: "Ada")
    project = Project(tmp_path)
    project.labelled.mkdir(parents=True)
    shutil.copytree(trained.valid, project.valid)
    return project


def take(project: Project) -> labels.Labelled:
    """Take in whatever is new, and hold its rows."""
    with labels.gathered(project, contracts.load()) as found:
        if not found.taken:
            return found
        labels.write(found.rows, labels.destination(project))
        return found._replace(rows=found.rows.collect().lazy())


def predictions(found: labels.Labelled) -> list[str]:
    """The predictions whose rows were taken in."""
    return found.rows.collect()[labelled.PREDICTION].to_list()


def known(project: Project) -> dict[str, str]:
    """The truth of every prediction that was taken in."""
    rows = labelled.scan(project)
    assert rows is not None
    return dict(rows.select(labelled.PREDICTION, "diagnosis").collect().iter_rows())


def test_values_come_back_as_they_were_answered(logs: Project) -> None:
    rows, truths = new_rows(logs)
    learn(logs, dict(zip(answer(logs, rows), truths, strict=True)))
    take(logs)
    found = labelled.rows(logs, contracts.load())
    assert found is not None
    read = found.drop("diagnosis").collect().select(pl.all().cast(pl.Float64))
    assert read.sort(rows.columns).equals(rows.select(read.columns).sort(rows.columns))


@pytest.mark.parametrize("most", [labels.MOST, 2])
def test_the_newest_truth_counts_and_is_taken_once(
    logs: Project, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MOST", most)
    rows, _ = new_rows(logs, 6)
    one, two, three, *_ = ids = answer(logs, rows)
    learn(logs, dict.fromkeys(ids, "benign"), day=5)
    learn(logs, {one: "malignant"}, day=6)
    learn(logs, {two: "malignant"}, day=4)  # told late, and older than what is known
    learn(logs, {three: None}, day=7)
    assert take(logs).taken == 5  # the third was taken back
    assert known(logs) == dict.fromkeys({*ids} - {three}, "benign") | {one: "malignant"}
    assert take(logs).taken == 0
    learn(logs, {one: "malignant"}, day=8)  # nothing new
    learn(logs, {two: "malignant"}, day=8)
    assert predictions(take(logs)) == [two]
    assert known(logs)[two] == "malignant"
    assert len(known(logs)) == 5
    assert take(logs).taken == 0


def test_a_truth_that_was_learnt_from_can_be_taken_back(logs: Project) -> None:
    rows, _ = new_rows(logs, 3)
    one, *others = ids = answer(logs, rows)
    learn(logs, dict.fromkeys(ids, "benign"), day=5)
    take(logs)
    learn(logs, {one: None}, day=6)
    assert predictions(take(logs)) == [one]
    assert take(logs).taken == 0
    left = labelled.rows(logs, contracts.load())
    assert left is not None
    assert len(left.collect()) == len(others)
    learn(logs, {one: "malignant"}, day=7)
    take(logs)
    assert known(logs) == dict.fromkeys(others, "benign") | {one: "malignant"}


def exclude(project: Project, *arguments: str) -> None:
    """Exclude labels by command."""
    arguments = ("labels", "exclude", *arguments, "--reason", "wrong")
    exclusion.run(project, cli.parser().parse_args(arguments))


def learnt(project: Project) -> dict[str, int]:
    """How many rows are learnt from, by label."""
    found = labelled.rows(project, contracts.load())
    assert found is not None
    return dict(found.collect()["diagnosis"].value_counts().iter_rows())


def watched(project: Project, champion: Project) -> int:
    """How many labels monitoring compares with answers."""
    reference, now = Reference(Bundle(champion.champion), "1"), BEGUN + timedelta(days=30)
    excluded = labelled.excluded_in_log(project)
    length = timedelta(days=7)
    seen = windows.read(project.served, reference, length, (), micros(now), excluded)
    return sum(window.labelled for window in seen.windows)


@pytest.mark.parametrize("by", ["id", "file", "key", "since", "until"])
def test_labels_that_are_excluded_are_learnt_no_more(
    logs: Project, trained: Project, by: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither what was taken in, nor what the log has, nor what is told like it later.

    Nor does monitoring take the champion for wrong where only the labels are.
    """
    rows, _ = new_rows(logs, 12)
    ids = answer(logs, rows)
    good, bad = ids[:4], ids[4:8]
    learn(logs, dict.fromkeys(good, "benign"), day=5, key="clinic")
    take(logs)
    learn(logs, dict.fromkeys(bad, "malignant"), day=7, key="partner")
    take(logs)
    *_, file = sorted(path.name for path in logs.labelled.glob("*.parquet"))
    choice = {
        "id": [f"--id={name}" for name in bad],
        "file": [f"--file=data/labelled/{file}.dvc"],
        "key": ["--key=partner"],
        "since": ["--since=2030-01-07T00:00:00Z"],
        "until": [
            "--since=2030-01-08T01:00:00+01:00",
            "--until=2030-01-09T00:00:00Z",
            "--key=partner",
        ],
    }
    assert learnt(logs) == {"benign": 4, "malignant": 4}
    assert watched(logs, trained) == 8
    exclude(logs, *choice[by])
    assert watched(logs, trained) == 4
    said = capsys.readouterr().out
    assert f"{file}: 4 labels told by partner from 2030-01-08 00:00 to" in said
    assert "excluded, 4 of these: {'reason': 'wrong', 'by': 'Ada', " in said
    assert learnt(logs) == {"benign": 4}
    assert take(logs).taken == 0
    assert learnt(logs) == {"benign": 4}

    learn(logs, dict.fromkeys(ids[8:], "malignant"), day=7, key="partner")
    assert take(logs).taken == (4 if by in {"id", "file"} else 0)
    if by != "since":  # what is told otherwise later is another label, but of an id that is out
        learn(logs, dict.fromkeys(bad, "malignant"), day=20, key="clinic")
        assert take(logs).taken == (0 if by == "id" else 4)


def test_what_an_excluded_label_had_replaced_counts_again(logs: Project) -> None:
    rows, _ = new_rows(logs, 2)
    taken, waiting = answer(logs, rows)
    learn(logs, {taken: "benign"}, day=5)
    take(logs)
    learn(logs, {waiting: "benign"}, day=6)
    learn(logs, {taken: "malignant", waiting: "malignant"}, day=7, key="partner")
    exclude(logs, "--key", "partner")
    exclude(logs, "--id", "f" * 24)
    take(logs)
    assert learnt(logs) == {"benign": 2}


def test_a_file_that_is_excluded_and_gone_is_missed(logs: Project) -> None:
    """Its rows would come back from the log, as they did in 0.4.0."""
    rows, _ = new_rows(logs, 3)
    learn(logs, dict.fromkeys(answer(logs, rows), "benign"))
    take(logs)
    (file,) = logs.labelled.glob("*.parquet")
    exclude(logs, "--file", file.name)
    file.unlink()
    with pytest.raises(UserError, match=f"has no {file.name}, which is excluded"):
        take(logs)


@pytest.mark.parametrize(
    ("arguments", "text", "sentence"),
    [
        (["--id=a"], "", "Say why, --reason, and which"),
        (["--reason=x"], "", "Say why, --reason, and which"),
        (["--file=a.parquet", "--reason=x"], "", "data/labelled has no a.parquet"),
        (["--id=a", "--reason=x"], "- {id: [a]}", "no list of exclusions: Object missing required"),
        (["--id=a", "--reason=x"], "- {since: 2030-01-01, reason: x}", "no list of exclusions"),
        (["--id=a", "--reason=x"], "- [", "no list of exclusions"),
        (["--since=today", "--reason=x"], "", "no list of exclusions: Invalid"),
    ],
)
def test_what_cannot_be_excluded_is_said(
    logs: Project, arguments: list[str], text: str, sentence: str
) -> None:
    path = logs.labelled / "excluded.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=sentence):
        exclusion.run(logs, cli.parser().parse_args(["labels", "exclude", *arguments]))
    assert path.read_text() == text


def test_a_truth_can_be_taken_back_when_its_log_is_gone(logs: Project) -> None:
    rows, _ = new_rows(logs, 3)
    one, *_ = ids = answer(logs, rows)
    learn(logs, dict.fromkeys(ids, "benign"), day=5)
    take(logs)
    shutil.rmtree(logs.served / "predictions")
    learn(logs, {one: None}, day=6)
    assert (take(logs).taken, take(logs).taken) == (1, 0)
    assert learnt(logs) == {"benign": 2}


# What is examined before it is learnt


@pytest.fixture
def served(logs: Project, trained: Project, monkeypatch: pytest.MonkeyPatch) -> Project:
    """The same, with a champion."""
    shutil.copytree(trained.bundle, logs.champion)
    shutil.copyfile(trained.params, logs.params)
    monkeypatch.setattr(retraining.dvc, "ask", lambda *_: "")
    return logs


def tell_all(
    project: Project, keys: Sequence[str], says: Callable[[int, dict[str, Any]], str]
) -> None:
    """Answer a row for each of these keys, and tell by it what `says` makes of place and row."""
    rows = pl.read_parquet(project.valid).sample(len(keys), seed=7, with_replacement=True)
    moved = rows.select(pl.exclude("diagnosis") * pl.Series(np.linspace(0.99, 1.01, len(keys))))
    ids = answer(project, moved)
    truths = [says(place, row) for place, row in enumerate(rows.iter_rows(named=True))]
    for day, key in enumerate(dict.fromkeys(keys)):
        its = {ids[place]: truths[place] for place, own in enumerate(keys) if own == key}
        learn(project, its, day=5 + day, **({"key": key} if key else {}))


def honest(_: int, row: dict[str, Any]) -> str:
    return str(row["diagnosis"])


def flipped(place: int, label: str) -> str:
    """The other label for a fifth of the rows, but for the first 300."""
    wrong = place >= 300 and place % 5 == 0
    return {"malignant": "benign", "benign": "malignant"}[label] if wrong else label


def drifted(_: int, row: dict[str, Any]) -> str:
    """Another column decides now."""
    return "malignant" if row["mean texture"] > 19 else "benign"


PARTNER = ["clinic"] * 300 + ["partner"] * 200


@pytest.mark.parametrize("says", [honest, drifted])
def test_labels_that_are_wrong_are_refused_before_they_are_learnt(
    served: Project,
    says: Callable[[int, dict[str, Any]], str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A fifth of one key's labels is flipped, be the world as it was or not; 0.4.0 learnt them."""
    tell_all(served, PARTNER, lambda place, row: flipped(place, says(place, row)))
    with pytest.raises(Refused) as refusal:
        retraining._take(served, labels.destination(served), trust=False)
    said = str(refusal.value)
    found = re.fullmatch(
        r"(\d+) labels .* told by key 'partner':\n((?:  \w{24}: .*\n){10})Nothing was taken in\. .*"
        r"`uv run ops retrain --trust-labels` .*\n`uv run ops (labels exclude .* --reason) TEXT`\.",
        said,
    )
    assert found
    assert 20 <= int(found[1]) <= 50
    assert "clinic" not in said
    one = re.search(r": (\w+), and the champion says (\w+)", found[2])
    assert one
    assert one[1] != one[2]
    assert not list(served.labelled.glob("*.parquet"))

    exclusion.run(served, cli.parser().parse_args([*shlex.split(found[3]), "wrong"]))
    assert retraining._take(served, labels.destination(served), trust=False)
    assert learnt(served).keys() == {"benign", "malignant"}
    assert sum(learnt(served).values()) == 300
    assert "took in 300 labelled rows" in capsys.readouterr().out


def test_who_knows_better_may_let_labels_be_learnt(served: Project) -> None:
    tell_all(served, PARTNER, lambda place, row: flipped(place, honest(place, row)))
    assert retraining._take(served, labels.destination(served), trust=True)


@pytest.mark.parametrize(
    ("keys", "says"),
    [
        ([""] * 300, honest),
        (["clinic"] * 150, drifted),
        (PARTNER, drifted),
        (["clinic"] * 300 + ["partner"] * 20, drifted),
        (
            ["clinic"] * 300 + ["partner"] * 99,
            lambda place, row: flipped(5 * place, honest(place, row)),
        ),
    ],
    ids=["unchanged", "changed", "changed for all", "changed, and one is small", "few"],
)
def test_labels_of_a_world_that_has_changed_are_learnt(
    served: Project, keys: list[str], says: Callable[[int, dict[str, Any]], str]
) -> None:
    """So are those of a source with too few to say anything of it."""
    tell_all(served, keys, says)
    assert retraining._take(served, labels.destination(served), trust=False)


def test_labels_that_are_all_alike_are_refused(served: Project) -> None:
    """No model can learn from them, so the champion's answers count."""
    tell_all(served, [""] * 150, lambda *_: "benign")
    with pytest.raises(Refused, match=r"labels exclude --key '' --since 2030-01-06T00:00:00Z"):
        retraining._take(served, labels.destination(served), trust=False)


@pytest.mark.parametrize(("slope", "wrong"), [(3, 0.0), (-1, 0.0), (3, 0.2), (-1, 0.2)])
def test_numbers_are_held_to_the_interval(
    trained: Project, slope: int, wrong: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion says 3x, and is off by more than 1 for a tenth of the rows."""
    draw, size = np.random.default_rng(5), 400
    x = draw.normal(size=size).astype(np.float32)
    y = slope * x + draw.normal(scale=0.5, size=size) + 9 * (draw.random(size) < wrong)
    told = pl.DataFrame({"x": x, "y": y, "id": range(size)}).cast(pl.String).lazy()
    told = told.rename({"id": labelled.PREDICTION}).with_columns(
        pl.lit(None, pl.String).alias(labelled.KEY),
        pl.lit(BEGUN.replace(tzinfo=None)).alias(labelled.LABELLED),
    )
    contract = Contract(
        (
            Column("x", "Float64", "number", "feature", nullable=False, sensitive=False),
            Column("y", "Float64", "number", "target", nullable=False, sensitive=False),
        )
    )
    manifest = {
        "interval": {"coverage": 0.9, "half_width": 1.0},
        "metrics": {},
        "data": {"rows": {"holdout": 500}},
        "features": [{"name": "x", "kind": "number"}],
        "model": {"kind": "linear"},
    }
    champion = SimpleNamespace(
        manifest=manifest,
        contract=contract,
        judged=SimpleNamespace(session=None),
        inputs=lambda arrays: [arrays["x"]],
    )
    typed = pl.Float32, pl.Float64
    stubs: dict[str, Any] = {
        "Bundle": lambda _: champion,
        "own_features": lambda *_: nullcontext(),
        "parse": lambda rows: SimpleNamespace(rows=rows.cast(dict(zip("xy", typed, strict=True)))),
        "check": lambda frame: (frame, None, None, pl.Series([True] * len(frame))),
        "in_batches": lambda _, inputs: Prediction(3 * inputs[0], None),
    }
    for name, stub in stubs.items():
        monkeypatch.setattr(examination, name, stub)
    with pytest.raises(Refused, match="told by key ''") if wrong else nullcontext():
        examination.examine(trained, contract, told)


def test_a_champion_that_cannot_judge_labels_lets_them_pass(
    served: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    tell_all(served, [""] * 150, lambda *_: "benign")
    shutil.rmtree(served.champion)
    assert retraining._take(served, labels.destination(served), trust=False)
    assert "new labels are not held to the champion's answers" in capsys.readouterr().out


@pytest.mark.parametrize("most", [labels.MOST, 2])
def test_truths_that_cannot_be_used_are_counted(
    logs: Project, most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(labels, "MOST", most)
    rows, _ = new_rows(logs, 4)
    one, two, three, four = answer(logs, rows)
    learn(logs, {one: "benign", two: "wallet", three: "wallet", four: 7, "f" * 24: "benign"})
    found = take(logs)
    assert predictions(found) == [one]
    assert found.undeclared == {"wallet": 2, "7": 1}
    assert found.unanswered == 1


def test_columns_that_the_service_did_not_see_are_missing(logs: Project) -> None:
    rows, _ = new_rows(logs, 3)
    ids = answer(logs, rows.drop("mean radius").with_columns(old=pl.lit(1)))
    learn(logs, dict.fromkeys(ids, "benign"))
    take(logs)
    found = labelled.rows(logs, contracts.load())
    assert found is not None
    frame = found.collect()
    assert frame["mean radius"].null_count() == 3
    assert "old" not in frame.columns


def test_of_many_truths_only_some_are_held_at_once(
    logs: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []

    def newest(truths: pl.DataFrame) -> pl.DataFrame:
        held.append(len(truths))
        return everything(truths)

    everything = labels.newest
    monkeypatch.setattr(labels, "newest", newest)
    monkeypatch.setattr(labels, "MOST", 20)
    rows, truths = new_rows(logs, 200)
    told = dict(zip(answer(logs, rows), truths, strict=True))
    learn(logs, told)
    assert take(logs).taken == 200
    assert known(logs) == told
    assert max(held) < 2 * labels.MOST


def test_memory_does_not_grow_with_the_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten times the labels, of which a sixth may be held at once."""
    peaks = []
    for many in (30_000, 300_000):
        project = Project(tmp_path / f"{many} labels")
        project.labelled.mkdir(parents=True)
        for place in range(0, many, 10_000):
            log_labels(project.root / "served", place, place + 10_000)
        monkeypatch.setenv("PREDICTIONS", str(project.root / "served"))
        taken, peak = numbers_of(__file__, project.root)
        assert taken == many
        peaks.append(peak)
    assert peaks[1] < peaks[0] + 50 * 1024, peaks


def log_labels(served: Path, first: int, last: int) -> None:
    """Log some predictions, of few columns for the sake of time, and the truth of each."""
    names = [column.name for column in contracts.load().inputs][:4]
    numbers = np.random.default_rng(first).random((last - first, len(names)))
    rows = pl.DataFrame(
        {
            "id": [f"{place:024x}" for place in range(first, last)],
            "time": BEGUN.isoformat(),
            "inputs": pl.DataFrame(numbers, schema=names).to_struct(),
            "truth": "benign",
        }
    )
    for log, columns in {"predictions": ("inputs",), "feedback": ("truth",)}.items():
        (served / log).mkdir(parents=True, exist_ok=True)
        file = served / log / f"{BEGUN:%Y%m%d}T{first:06}.000000Z-0badcafe.jsonl"
        rows.select("id", "time", *columns).write_ndjson(file)


def take_and_weigh(root: Path) -> None:
    """Print how many labels are new, and the most memory that was held, in KiB."""
    labels.MOST = 50_000
    with labels.gathered(Project(root), contracts.load()) as found:
        print(found.taken, most_memory())  # noqa: T201


def test_without_a_log_there_is_nothing(logs: Project) -> None:
    assert take(logs).taken == 0
    assert labelled.rows(logs, contracts.load()) is None


def test_sensitive_columns_that_no_row_may_lack_are_named() -> None:
    contract = contracts.load()
    assert labels.unlogged(contract) == []
    first, *others = contract.columns
    for nullable, named in ((False, [first.name]), (True, [])):
        column = dataclasses.replace(first, sensitive=True, nullable=nullable)
        assert labels.unlogged(Contract((column, *others))) == named


# What is declared

SCHEMA = """
QUEUES = ["cards", "loans"]

class Row(dy.Schema):
    queue = dy.Enum(QUEUES, metadata={"target": True})
    land = dy.Enum(("ä", 'ö'), alias="Länder")  # a comment
    tier = dy.Int64(is_in=[
        1,
        2,  # the better one
    ])
    wide = dy.Enum([letter for letter in "abc"])
    none = dy.String()
"""


def closed(name: str, *choices: str | int) -> Column:
    """A column whose values are a closed set."""
    return dataclasses.replace(contracts.load().target, name=name, choices=choices)


@pytest.mark.parametrize(
    ("column", "value", "before", "after"),
    [
        (closed("queue", "cards"), "wallet", '"loans"]', '"loans", "wallet"]'),
        (closed("Länder", "ä"), "ß", "'ö')", "'ö', \"ß\")"),
        (closed("tier", 1), "3", "        2,  #", "        2, 3,  #"),
        (closed("queue", "cards"), 'a "b"', '"loans"]', '"loans", \'a "b"\']'),
    ],
)
def test_a_value_is_added_and_nothing_else(
    column: Column, value: str, before: str, after: str
) -> None:
    made = declaration.extended(SCHEMA, column, value)
    assert made == SCHEMA.replace(before, after) != SCHEMA
    ast.parse(made)


def test_what_cannot_be_written_is_said() -> None:
    with pytest.raises(UserError, match=r"no plain list in ml/schema\.py; add d there yourself"):
        declaration.extended(SCHEMA, closed("wide", "a", "b", "c"), "d")
    with pytest.raises(UserError, match="tier is Enum, and high is not"):
        declaration.extended(SCHEMA, closed("tier", 1), "high")


@pytest.mark.parametrize("text", ["queue", "=x", "queue=", ""])
def test_a_declaration_is_a_column_and_a_value(text: str) -> None:
    with pytest.raises(UserError, match="write COLUMN=VALUE"):
        declaration.parsed(text)


def test_a_value_may_hold_what_it_likes() -> None:
    assert declaration.parsed("a=b=c") == ("a", "b=c")


if __name__ == "__main__":
    take_and_weigh(*map(Path, sys.argv[1:]))
