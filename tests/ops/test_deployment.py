"""What ends a deployment before it begins, and what git remembers of those that were."""

import subprocess
from io import FileIO
from pathlib import Path
from typing import Any

import pytest
from my_model.ops.deployment import run, state
from my_model.ops.deployment.state import State
from my_model.ops.errors import UserError
from my_model.ops.files import lock
from my_model.ops.project import Project

FIRST, SECOND = (State(f"registry/name@sha256:{number:064x}", number) for number in (1, 2))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A repository with one environment, by somebody whom git knows."""
    settings = tmp_path / "gitconfig"
    settings.write_text("[user]\n    name = Ada\n    email = ada@example.org\n")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(settings))
    root = tmp_path / "project"
    overlay = root / "deploy" / "kubernetes" / "environments" / "dev" / "kustomization.yaml"
    overlay.parent.mkdir(parents=True)
    overlay.write_text("resources: []\n")
    (root / ".gitignore").write_text("build/\n")
    for words in (("init", "--quiet"), ("add", "."), ("commit", "--quiet", "--message=Begin")):
        subprocess.run(["git", *words], cwd=root, check=True)
    return Project(root)


def deploy(project: Project, **asked: Any) -> None:
    """Deploy to dev what is asked."""
    given = {"image": "", "version": "", "source": "", "rollback": False, "seconds": 0, **asked}
    run.deploy(project, "dev", **given)


def write(project: Project, text: str) -> None:
    """Commit the state of dev by hand."""
    file = state.path(project, "dev")
    file.write_text(text)
    commit = ["git", "commit", "--quiet", "--all", "--message=By hand"]
    subprocess.run(commit, cwd=file.parent, check=True)


def test_two_do_not_deploy_at_once(project: Project) -> None:
    folder = project.root / "build" / "deploy"
    folder.mkdir(parents=True)
    with FileIO(folder / "dev.lock", "a+") as held:
        assert lock(held)
        with pytest.raises(UserError, match="Another deployment to dev is at work"):
            deploy(project)


def test_git_must_be_able_to_take_what_is_written_down(project: Project, tmp_path: Path) -> None:
    (project.root / "deploy" / "load.yaml").write_text("{}\n")
    with pytest.raises(UserError, match="deploy/ has changes that git does not hold"):
        deploy(project)
    (tmp_path / "gitconfig").write_text("[user]\n    useConfigOnly = true\n")
    with pytest.raises(UserError, match="git failed: no email was given"):
        deploy(project)


@pytest.mark.parametrize("version", ["0", "007", "a b", "x/y", "-" * 65])
def test_a_version_is_a_number_or_an_alias(project: Project, version: str) -> None:
    with pytest.raises(UserError, match="is neither a number nor an alias"):
        deploy(project, image=FIRST.image, version=version)


def test_what_a_person_wrote_there_by_mistake_is_no_deployment(project: Project) -> None:
    for it in (FIRST, SECOND):
        state.record(project, "dev", it)
    whole = state.path(project, "dev").read_text()
    write(project, "image: latest\n")
    with pytest.raises(UserError, match=r"dev\.yaml is not what `make deploy` wrote"):
        deploy(project)
    write(project, whole)
    assert state.earlier(project, "dev").is_same(FIRST)


def test_what_git_does_not_take_is_told(project: Project) -> None:
    (project.root / ".git" / "index.lock").touch()
    with pytest.raises(
        UserError, match=r"^dev runs .*, but git failed: .* commit deploy/state/dev"
    ):
        state.record(project, "dev", FIRST)
