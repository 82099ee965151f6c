"""Proposals: what is committed, what is said, and what is in the way."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from my_model.ops import cli
from my_model.ops.hosting import proposal as hosting
from my_model.ops.retraining import proposal
from servers import Answer, StandIn, stand_in

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from my_model.ops.project import Project

REMOTE = """\
[core]
    remote = storage
['remote "storage"']
    url = {}
"""
VARIABLES = {
    "GITHUB_REPOSITORY": "ada/model",
    "GITHUB_REF_NAME": "main",
    "RETRAIN_TOKEN": "a secret",
}


class Pulls(StandIn):
    """Pull requests of one repository, and what they were asked."""

    def __init__(self) -> None:
        self.opened: list[dict[str, Any]] = []
        self.requests: list[tuple[str, str, dict[str, Any]]] = []
        super().__init__()

    def answer(self, method: str, path: str, body: str) -> object:
        """Open, write anew, list."""
        self.requests.append((method, path, json.loads(body or "{}")))
        if method == "GET":
            return self.opened
        self.opened = [{"number": 7, "html_url": "https://example.org/ada/model/pull/7"}]
        return self.opened[0]


class Refusing(Answer):
    """An answer of a host whose settings are against it."""

    def do_GET(self) -> None:  # noqa: N802  the name that the library looks for
        """Say why."""
        self.send_response(403)
        self.end_headers()
        self.wfile.write(b'{"message": "Actions is not permitted"}')


def git(root: Path, *arguments: str) -> str:
    """What git says."""
    done = subprocess.run(["git", *arguments], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def world() -> Iterator[Pulls]:
    """The host."""
    with stand_in(Pulls()) as server:
        yield server


@pytest.fixture
def shared(
    project: Project,
    trained: Project,
    world: Pulls,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Project:
    """A project whose registry and data others reach, committed and pushed."""
    shutil.copyfile(trained.root / ".gitignore", project.root / ".gitignore")
    remotes = tmp_path / "remotes"
    (project.root / ".dvc").mkdir()
    shutil.copyfile(trained.root / ".dvc/.gitignore", project.root / ".dvc/.gitignore")
    (project.root / ".dvc" / "config").write_text(REMOTE.format(tmp_path / "storage"))
    git(project.root, "init", "--quiet")
    git(project.root, "add", "--all")
    git(project.root, "commit", "--quiet", "--message", "Train")
    git(tmp_path, "clone", "--quiet", "--bare", str(project.root), str(remotes / "ada/model.git"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{project.root}/mlflow.db")
    monkeypatch.setenv("GITHUB_SERVER_URL", f"file://{remotes}")
    monkeypatch.setenv("GITHUB_API_URL", world.address)
    for name, value in VARIABLES.items():
        monkeypatch.setenv(name, value)
    return project


def retrained(project: Project) -> None:
    """Let the last training have changed what git keeps."""
    metrics = project.reports / "metrics.json"
    metrics.write_text(metrics.read_text().replace("{", '{"new": 1,', 1))


@pytest.mark.usefixtures("shared")
def test_nothing_new_is_not_proposed(world: Pulls, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["propose"]) == 0
    assert "nothing to propose" in capsys.readouterr().out
    assert world.requests == []


def test_a_proposal_leaves_index_and_working_tree_alone(shared: Project, tmp_path: Path) -> None:
    root = shared.root
    retrained(shared)
    for name in ("params.yaml", "pyproject.toml"):
        (root / name).write_text((root / name).read_text() + "\n")
    git(root, "add", "params.yaml")
    before = git(root, "status", "--porcelain")
    assert cli.main(["propose"]) == 0
    assert git(root, "status", "--porcelain") == before
    repository = tmp_path / "remotes/ada/model.git"
    changed = git(repository, "diff", "--name-only", "HEAD", proposal.BRANCH)
    assert changed == "reports/metrics.json"


def test_a_proposal_that_is_open_is_replaced(shared: Project, world: Pulls, tmp_path: Path) -> None:
    repository = tmp_path / "remotes/ada/model.git"
    retrained(shared)
    assert cli.main(["propose"]) == 0
    first = git(repository, "rev-parse", proposal.BRANCH)
    retrained(shared)
    assert cli.main(["propose"]) == 0
    assert git(repository, "rev-parse", proposal.BRANCH) != first
    assert git(repository, "rev-parse", f"{proposal.BRANCH}^") == git(
        repository, "rev-parse", "HEAD"
    )
    (_, asked, _), (_, _, opened), _, (method, address, written) = world.requests
    assert asked == "/repos/ada/model/pulls?state=open&head=ada%3Aops%2Fretrain&base=main"
    assert (opened["head"], opened["base"]) == ("ops/retrain", "main")
    assert (method, address) == ("PATCH", "/repos/ada/model/pulls/7")
    assert written.keys() == {"title", "body"}


def test_a_text_is_never_too_long_for_the_host(
    shared: Project, world: Pulls, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = shared.reports / "cards" / "model.md"
    card.write_text(card.read_text() + "word " * 20_000)
    retrained(shared)
    assert cli.main(["propose"]) == 0
    text = world.requests[-1][2]["body"]
    assert "champion regression" in text
    assert "<details>" not in text
    monkeypatch.setattr(hosting, "LONGEST", 100)
    assert cli.main(["propose"]) == 0
    assert len(world.requests[-1][2]["body"]) == 100


def test_monitoring_has_the_first_word(shared: Project, world: Pulls) -> None:
    summary = shared.served / "monitoring" / "summary.md"
    summary.parent.mkdir(parents=True)
    summary.write_text("It rained.\n")
    retrained(shared)
    assert cli.main(["propose"]) == 0
    text = world.requests[-1][2]["body"]
    assert text.index("challenger") < text.index("It rained.") < text.index("Metrics")
    assert "![" not in text


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        (("MLFLOW_TRACKING_URI", ""), "MLFLOW_TRACKING_URI is not set"),
        (("RETRAIN_TOKEN", ""), "RETRAIN_TOKEN is not set"),
        (("GITHUB_REPOSITORY", "ada/absent"), "git failed: '"),
        (("GITHUB_API_URL", "http://127.0.0.1:9"), "does not answer GET /repos/ada/model/pulls"),
    ],
)
def test_a_variable_that_will_not_do_is_named(
    variable: tuple[str, str],
    said: str,
    shared: Project,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    retrained(shared)
    monkeypatch.setenv(*variable)
    assert cli.main(["propose"]) == 2
    told = capsys.readouterr().err
    assert said in told
    assert "a secret" not in told


def test_data_that_nobody_reaches_is_not_proposed(
    shared: Project, world: Pulls, capsys: pytest.CaptureFixture[str]
) -> None:
    retrained(shared)
    (shared.root / ".dvc" / "config").write_text(REMOTE.format("storage"))
    assert cli.main(["propose"]) == 2
    assert "uv run dvc remote modify storage url URL" in capsys.readouterr().err
    assert world.requests == []


def test_a_model_that_is_no_challenger_is_not_proposed(
    shared: Project, world: Pulls, capsys: pytest.CaptureFixture[str]
) -> None:
    retrained(shared)
    manifest = shared.bundle / "manifest.json"
    manifest.write_text(manifest.read_text() + "\n")
    assert cli.main(["propose"]) == 2
    assert "run `uv run ops retrain --propose` first" in capsys.readouterr().err
    assert world.requests == []


def test_a_refusal_of_the_host_is_told_in_its_words(
    shared: Project, world: Pulls, capsys: pytest.CaptureFixture[str]
) -> None:
    retrained(shared)
    world.RequestHandlerClass = Refusing
    assert cli.main(["propose"]) == 2
    told = capsys.readouterr().err
    assert re.search(r"refuses GET /repos/ada/model/pulls: .*403.*not permitted", told)
