"""The same functions on the same parts: in this process, and on the machines of a Ray cluster."""

from __future__ import annotations

import hashlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import boto3
import polars as pl
import pytest
import yaml
from copies import copied, environment, fill, git, ops, run, set_params
from documents import commands
from my_model.ml import source
from my_model.ops import cli
from my_model.ops.pipeline import parquet
from my_model.ops.project import Project
from my_model.ops.registry import tracking
from overlay import SCRIPT
from render import ROOT
from render import run as finish
from servers import PATIENCE, free_port
from sharing import once
from stores import BUCKET, away_at_first, listening, s3

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PART_ROWS = 150
HEAD, OTHERS = (
    command
    for command in commands((ROOT / "template" / "docs" / "ops" / "cluster.md").read_text())
    if command.startswith("uv run ray start")
)
VERBS = ("stage ingest", "stage validate", "stage split", "score rows.parquet scored/")
PROGRAM = f"""\
import sys
from my_model.ops import cli
from my_model.ops.pipeline import parquet
from my_model.ops.scoring import files
files.CELLS, parquet.PART_ROWS = 1, {PART_ROWS}
sys.exit(next(filter(None, (cli.main(verb.split()) for verb in sys.argv[1:])), 0))
"""
"""Does one verb after the other, until one fails; rows are scored in the smallest batches."""

SOURCE = """\
from pathlib import Path

import polars as pl


def load(root: Path) -> list[pl.LazyFrame]:
    return [pl.scan_parquet(part) for part in sorted((root / "incoming").iterdir())]
"""

AFAR = f"""\
import polars as pl


def load(root: object) -> list[pl.LazyFrame]:
    return [pl.scan_parquet(f"s3://{BUCKET}/{{number:06}}.parquet") for number in range(4)]
"""

ANYTHING = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}],
}
"""A policy for somebody who may do all."""

QUIET = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": hashlib.sha256(os.urandom(32)).hexdigest(),
    "RAY_USAGE_STATS_ENABLED": "0",
}
"""Nobody else is let in, or told of it."""

FAULT = """

def _fail() -> None:
    import os, pathlib, signal, time

    mark = pathlib.Path({mark!r})
    if "FAULTY" in os.environ and not mark.exists():
        mark.write_text(str(os.getpid()))
        {does}
    while "SOUND" in os.environ and not mark.exists():
        time.sleep(0.1)


_fail()
"""
"""What befalls the first task that a faulty machine has, as soon as it looks at people's code.

Tasks of sound machines wait for it: where much else is at work, they would be done with all parts
before a faulty one has begun.
"""


class Cluster(NamedTuple):
    """A Ray cluster on loopback, and a Python that knows it."""

    python: Path
    address: str

    def start(self, project: Project, *verbs: str) -> subprocess.Popen[str]:
        """Begin to do some verbs."""
        return subprocess.Popen(
            [self.python, "-c", PROGRAM, *verbs],
            cwd=project.root,
            env={**environment(project), **QUIET, "RAY_ADDRESS": self.address},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ops(self, project: Project, *verbs: str, code: int = 0) -> str:
        """Do some verbs, and give what they said."""
        process = self.start(project, *verbs)
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == code, said
        return said


@pytest.fixture(scope="session")
def python() -> Path:
    """Python with Ray, beside the packages of the tests."""
    pyproject = (ROOT / "template" / "pyproject.toml.jinja").read_text()
    (asked,) = [line.strip(' ",') for line in pyproject.splitlines() if '"ray[' in line]
    asked = asked.partition('["')[2].rstrip('"]')
    digest = hashlib.sha256(f"{sys.executable} {asked}".encode()).hexdigest()[:16]
    return once(ROOT / "build" / "ray" / digest, lambda root: _install(root, asked)) / "bin/python"


def _install(root: Path, asked: str) -> None:
    finish("uv", "venv", "--quiet", "--python", sys.executable, root, cwd=ROOT)
    kept = root / "constraints.txt"
    kept.write_text(finish("uv", "pip", "freeze", "--quiet", "--python", sys.executable, cwd=ROOT))
    python = ("--python", root / "bin/python", "--constraints", kept)
    finish("uv", "pip", "install", "--quiet", "--no-compile-bytecode", *python, asked, cwd=ROOT)
    (site,) = root.glob("lib/python*/site-packages")
    own = Path(sys.executable).parents[1]
    (site / "tests.pth").write_text(f"{next(own.glob('lib/python*/site-packages'))}\n")


@contextmanager
def cluster(python: Path, folder: Path, *machines: int) -> Iterator[Cluster]:
    """A cluster of machines with so many processors; the last one is faulty."""
    port = free_port()
    address = f"127.0.0.1:{port}"
    log, temporary = folder / "ray.log", ["--include-dashboard=false", f"--temp-dir={folder}/ray"]
    with ExitStack() as stack:
        for number, processors in enumerate(machines):
            door = free_port() if number else port
            which = shlex.split(OTHERS if number else HEAD)[4:]
            which = [word.replace("6379", str(port)).replace("HEAD", "127.0.0.1") for word in which]
            which += ["--node-manager-port", str(door)] if number else temporary
            state = {"FAULTY" if number == len(machines) - 1 else "SOUND": "1"}
            small = ("--num-cpus", str(processors), "--object-store-memory", "100000000")
            command = [str(python.with_name("ray")), "start", "--block", *small, *which]
            stack.enter_context(listening(command, door, log, **QUIET, **state))
        yield Cluster(python, address)


@pytest.fixture
def twins(trained: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Project]:
    """Two projects with the same rows in four parts, some of which break the contract."""
    monkeypatch.setattr(parquet, "PART_ROWS", PART_ROWS)
    rows = source.load(trained.root).collect()
    radius = pl.when(pl.int_range(pl.len()) % 97 == 5).then(-1.0).otherwise("mean radius")
    made = []
    for name in ("here", "there"):
        project = Project(tmp_path / name)
        ignored = shutil.ignore_patterns("__pycache__", ".git", ".dvc")
        shutil.copytree(trained.root, project.root, ignore=ignored)
        fill(rows.with_columns(radius.alias("mean radius")), project.root / "incoming")
        shutil.copytree(project.root / "incoming", project.raw, dirs_exist_ok=True)
        (project.package / "ml" / "source.py").write_text(SOURCE)
        many = pl.concat([rows.drop("diagnosis")] * 20)
        many.write_parquet(project.root / "rows.parquet")
        made.append(project)
    return made


def outputs(project: Project) -> dict[str, str]:
    """The digest of every file that was made."""
    files = [project.reports / "validation.json", *project.root.glob("*/*.parquet/*.parquet")]
    return {
        str(file.relative_to(project.root)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted([*files, *project.root.glob("scored/*")])
    }


def alone(project: Project, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What this process makes of the parts."""
    monkeypatch.chdir(project.root)
    frames = [pl.scan_parquet(part) for part in parquet.parts(project.root / "incoming")]
    monkeypatch.setattr(source, "load", lambda root: frames)
    assert [cli.main(verb.split()) for verb in VERBS] == [0] * len(VERBS)
    return outputs(project)


def break_down(project: Project, module: str, does: str) -> Path:
    """Let a faulty machine do something in its first task; gives where it leaves its number."""
    mark = project.root / "failed"
    with (project.package / "ml" / module).open("a") as file:
        file.write(FAULT.format(mark=str(mark), does=does))
    return mark


def test_a_cluster_makes_the_same_of_the_same_parts(
    twins: list[Project], python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Although a process dies at work, and the bucket with the rows is away for some seconds."""
    here, there = twins
    mark = break_down(there, "schema.py", "os.kill(os.getpid(), signal.SIGKILL)")
    with ExitStack() as stack:
        store = stack.enter_context(s3(tmp_path, ANYTHING))
        for name, value in {**store.variables, "AWS_ALLOW_HTTP": "true"}.items():
            monkeypatch.setenv(name, value)
        bucket = boto3.client("s3")
        for part in parquet.parts(there.root / "incoming"):
            bucket.upload_file(str(part), BUCKET, part.name)
        shutil.rmtree(there.root / "incoming")
        (there.package / "ml" / "source.py").write_text(AFAR)
        address = stack.enter_context(away_at_first(store.variables["AWS_ENDPOINT_URL"]))
        monkeypatch.setenv("AWS_ENDPOINT_URL", address)
        machines = stack.enter_context(cluster(python, tmp_path, 2))
        machines.ops(there, *VERBS)
    assert mark.exists()
    assert len(parquet.parts(there.valid)) == 4
    assert outputs(there) == alone(here, monkeypatch)
    assert not [*there.data.glob(".*")], "nothing is left lying about"


def test_a_broken_part_is_named(
    twins: list[Project], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = twins[0]
    before = outputs(project)
    broken = parquet.parts(project.raw)[2]
    content = broken.read_bytes()
    broken.write_bytes(content[:500] + bytes(2000) + content[2500:])
    monkeypatch.chdir(project.root)
    assert cli.main(["stage", "validate"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ops stage: raw.parquet/000002.parquet cannot be worked through: ")
    broken.write_bytes(content)
    assert outputs(project) == before


FAULTS: dict[str, Callable[[pl.DataFrame], list[pl.DataFrame]]] = {
    "unable to find column": lambda rows: [rows.drop("mean radius", "__fold", strict=False)],
    "did not find column mean radius": lambda rows: [rows[:50], rows[50:].drop("mean radius")],
    "extra column in file": lambda rows: [rows[:50], rows[50:].with_columns(more=1)],
    "data type mismatch": lambda rows: [rows[:50], rows[50:].cast({"mean radius": pl.Int64})],
    "it has no rows": lambda rows: [rows.clear()],
    "expanded paths were empty": lambda rows: [],
}
"""What people may put in the place of parts, and what is said of it."""


READERS = {
    "stage train": "train",
    "tune": "train",
    "stage evaluate": "holdout",
    "register": "holdout",
    "explain 1": "holdout",
}
"""Verbs, and what they read."""


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("verb", READERS)
def test_parts_that_were_replaced_by_hand_are_named(
    trained: Project,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    verb: str,
) -> None:
    """In one sentence, whichever verb reads them."""
    project = copied(trained, tmp_path / "project")
    shutil.copytree(trained.root / "models", project.root / "models", dirs_exist_ok=True)
    output = project.data / f"{READERS[verb]}.parquet"
    rows = pl.read_parquet(output)
    shutil.rmtree(output)
    output.mkdir()
    for number, part in enumerate(FAULTS[fault](rows)):
        part.write_parquet(output / parquet.NUMBERED.format(number))
    monkeypatch.chdir(project.root)
    assert cli.main(verb.split()) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    start = f"{verb.partition(' ')[0]}: data/{output.name} cannot be worked through: "
    assert said.startswith(f"ops {start}")
    assert fault in said
    assert said.endswith("and let `dvc checkout`, `make pull` or `make train` bring it back.")


@pytest.mark.parametrize("verb", sorted(READERS.keys() - {"register"}))  # it knows this very model
def test_what_is_not_there_is_told_in_a_sentence(
    project: Project, capsys: pytest.CaptureFixture[str], verb: str
) -> None:
    output = project.data / f"{READERS[verb]}.parquet"
    shutil.rmtree(output)
    assert cli.main(verb.split()) == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"ops {verb.partition(' ')[0]}: data/{output.name} is not here; "
        "let `dvc checkout`, `make pull` or `make train` bring it back."
    )


def test_without_a_trained_model_nothing_is_judged(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not project.candidate.exists()
    assert cli.main(["stage", "evaluate"]) == 2
    assert "No model is trained yet: run `make train`." in capsys.readouterr().err


def test_a_cluster_needs_its_group(
    twins: list[Project], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ray is not among the packages of these tests, as it is not among those of a project."""
    monkeypatch.chdir(twins[0].root)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    assert cli.main(["stage", "validate"]) == 2
    assert "Ray is not installed; run `uv sync --group cluster`" in capsys.readouterr().err


JOBS = {
    path.stem: spec["spec"]["entrypoint"]
    for path in sorted((ROOT / "template" / "deploy" / "ray").glob("*.yaml"))
    if (spec := yaml.safe_load(path.read_text()))["kind"] == "RayJob"
}
"""What each job of deploy/ray types on the head of its cluster."""


@pytest.fixture
def head(trained: Project, python: Path, tmp_path: Path) -> dict[str, str]:
    """The variables of a head whose project others reach: its commands, its secret, its lock."""
    origin = Project(shutil.copytree(trained.root, tmp_path / "origin"))
    rows = source.load(trained.root).collect()
    for number, part in enumerate(rows.iter_slices(PART_ROWS)):
        place = origin.root / "incoming" / parquet.NUMBERED.format(number)
        place.parent.mkdir(exist_ok=True)
        part.write_parquet(place)
    (origin.package / "ml" / "source.py").write_text(SOURCE)
    (origin.root / "uv.lock").write_text("version = 1\n")
    set_params(origin, "train", model="linear")
    set_params(origin, "tune", trials=3)
    shared, tools, lock = tmp_path / "shared", tmp_path / "tools", tmp_path / "uv.lock"
    assert (
        run(origin, "dvc", "remote", "modify", "storage", "url", f"{shared}/data").returncode == 0
    )
    assert run(origin, "dvc", "push").returncode == 0
    for module in ("schema.py", "model.py"):  # one of them is asked for by any task
        break_down(origin, module, "pass")
    git(origin, "add", "--all")
    git(origin, "commit", "--quiet", "--message", "Come in parts")
    git(origin, "clone", "--quiet", "--bare", ".", f"{shared}/project.git")
    shutil.copy(origin.root / "uv.lock", lock)
    tools.mkdir()
    for name, module in (("ops", "my_model.ops.cli"), ("dvc", "dvc.cli")):
        (tools / name).write_text(SCRIPT.format(python=python, module=module))
    script = (ROOT / "template" / "deploy" / "ray" / "in-project").read_text()
    (tools / "in-project").write_text(script.replace("/app/uv.lock", str(lock)))
    for tool in tools.iterdir():
        tool.chmod(0o755)
    who = {"NAME": "Cluster", "EMAIL": "cluster@example.org"}
    return {
        **environment(origin),
        **QUIET,
        "PATH": f"{tools}:{os.environ['PATH']}",
        "REPOSITORY": f"{shared}/project.git",
        "MLFLOW_TRACKING_URI": tracking.address(origin),
        "IN": str(tmp_path / "rows.parquet"),
        "OUT": str(tmp_path / "scores.parquet"),
        **{f"GIT_{it}_{key}": its for it in ("AUTHOR", "COMMITTER") for key, its in who.items()},
    }


@pytest.mark.exhaustive
def test_jobs_of_kubernetes_do_what_their_files_say(
    head: dict[str, str], trained: Project, python: Path, tmp_path: Path
) -> None:
    """Each typed as KubeRay types it, on the machine with `--head`; its tasks go to the cluster."""
    rows = pl.read_parquet(trained.valid).drop("diagnosis")
    pl.concat([rows] * 100).write_parquet(head["IN"])  # two batches
    mark = tmp_path / "origin" / "failed"
    said = {}
    with cluster(python, tmp_path, 2) as machines:
        for name, entrypoint in JOBS.items():
            mark.unlink(missing_ok=True)
            done = subprocess.run(
                ["sh", "-c", entrypoint],
                cwd=tmp_path,
                env={**head, "RAY_ADDRESS": machines.address},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stdout
            assert mark.exists(), f"{name} has not asked the cluster: {done.stdout}"
            said[name] = done.stdout
    assert said.keys() == {"score", "train", "tune"}
    assert "Review the branch ops/cluster." in said["train"]
    lock = finish("git", "show", "ops/cluster:dvc.lock", cwd=Path(head["REPOSITORY"]))
    (raw,) = (it for it in yaml.safe_load(lock)["stages"]["ingest"]["outs"] if "raw" in it["path"])
    assert raw["nfiles"] == 4
    assert (
        "present parameters of linear" in said["tune"]
        or "params.yaml: train.linear" in said["tune"]
    )
    ops(trained, "score", head["IN"], str(tmp_path / "here.parquet"))
    assert pl.read_parquet(head["OUT"]).equals(pl.read_parquet(tmp_path / "here.parquet"))

    (tmp_path / "uv.lock").write_text("version = 2\n")
    done = subprocess.run(["sh", "-c", JOBS["train"]], env=head, capture_output=True, check=False)
    assert done.returncode == 2
    assert b"build its image again, docs/ops/ray.md says how" in done.stderr


@pytest.mark.exhaustive
@pytest.mark.parametrize("module", ["schema.py", "features.py"])
def test_a_machine_that_is_lost_changes_nothing(
    twins: list[Project],
    python: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    module: str,
) -> None:
    """In the middle of validation, and of scoring."""
    here, there = twins
    mark = break_down(there, module, "os.kill(os.getppid(), signal.SIGKILL)")
    with cluster(python, tmp_path, 1, 1) as machines:
        machines.ops(there, *VERBS)
    assert mark.exists()
    assert outputs(there) == alone(here, monkeypatch)


@pytest.mark.exhaustive
def test_what_a_person_sees_of_a_cluster(
    twins: list[Project], python: Path, tmp_path: Path
) -> None:
    """How far it is, an end when they ask for it, which part is broken, and who does not answer."""
    project = twins[1]
    mark = break_down(project, "schema.py", "time.sleep(600)")
    with cluster(python, tmp_path, 1) as machines:
        process = machines.start(project, "stage validate")
        deadline = time.monotonic() + PATIENCE
        while not mark.exists():
            assert time.monotonic() < deadline, process.communicate()
            time.sleep(0.2)
        time.sleep(6)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=PATIENCE)
        assert process.returncode == 130, said
        assert "... 0 of 4 parts, 0 rows a second" in said
        task = Path("/proc", mark.read_text())
        while task.exists():
            assert time.monotonic() < deadline, "the task goes on"
            time.sleep(0.2)
        broken = parquet.parts(project.raw)[1]
        broken.write_bytes(broken.read_bytes()[:-500] + bytes(500))
        said = machines.ops(project, "stage validate", code=2)
        assert "raw.parquet/000001.parquet cannot be worked through" in said
    shutil.copyfile(parquet.parts(project.raw)[0], broken)
    said = machines.ops(project, "stage validate", code=2)
    assert f"No cluster answers at RAY_ADDRESS={machines.address}" in said
