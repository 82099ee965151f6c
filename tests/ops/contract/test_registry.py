"""The registry: what becomes champion, what is refused, and what is remembered."""

import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from my_model.ops.bundle import Bundle
from my_model.ops.cli import main
from my_model.ops.contract import Contract
from my_model.ops.errors import UserError
from my_model.ops.project import Project
from my_model.ops.registry.champion import located
from my_model.ops.registry.promotion import register

# What MLflow and SQLAlchemy think of each other is for them to mend.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

Said = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def registered(trained: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """The trained project, with its model registered in a store of its own."""
    copy = Project(shutil.copytree(trained.root, tmp_path_factory.mktemp("registry") / "project"))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(copy.root)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        assert main(["register"]) == 0
    return copy


@pytest.fixture
def project(registered: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of that project; it is the current folder."""
    copy = Project(shutil.copytree(registered.root, tmp_path / "project"))
    monkeypatch.chdir(copy.root)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return copy


@pytest.fixture
def ops(capsys: pytest.CaptureFixture[str]) -> Said:
    """Runs a verb: the exit code, and all that was said."""

    def ops(*arguments: str) -> tuple[int, str]:
        code = main(arguments)
        output = capsys.readouterr()
        return code, output.out + output.err

    return ops


def vary(project: Project, name: str) -> str:
    """Make the bundle another one, whose model is as good, and return its digest."""
    path = project.bundle / "manifest.json"
    manifest = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(manifest | {"name": name}), encoding="utf-8")
    return Bundle(project.bundle).digest


def champion(project: Project) -> str:
    return Bundle(project.champion).digest


def set_parameters(project: Project, **sections: object) -> None:
    parameters = json.loads(project.params.read_text(encoding="utf-8"))
    project.params.write_text(json.dumps(parameters | sections), encoding="utf-8")


def test_the_first_good_model_is_champion(project: Project, ops: Said) -> None:
    assert champion(project) == Bundle(project.bundle).digest
    code, table = ops("history")
    assert code == 0
    assert "champion" in table
    assert "the first champion" in table


def test_the_same_model_is_registered_once(project: Project, ops: Said) -> None:
    code, said = ops("register")
    assert code == 0
    assert "is this very model: nothing to register" in said
    assert ops("promote", "2") == (
        2,
        "ops promote: There is no alias or version 2; there are champion, 1.\n",
    )


def test_an_equal_model_takes_over(project: Project, ops: Said) -> None:
    first, second = champion(project), vary(project, "second")
    code, said = ops("register")
    assert code == 0
    assert "champion regression" in said
    assert champion(project) == second != first


def test_with_manual_promotion_a_person_decides(project: Project, ops: Said) -> None:
    first = champion(project)
    set_parameters(project, registry={"promote": "manual"})
    second = vary(project, "second")
    assert ops("register")[0] == 0
    assert champion(project) == first
    assert ops("promote", "--reason", "it was asked for")[0] == 0
    assert champion(project) == second
    assert ops("promote", "1", "--reason", "second thoughts")[0] == 0
    assert champion(project) == first
    _, table = ops("history")
    log = [line for line in table.splitlines() if "it was asked" in line or "second th" in line]
    assert [line.split()[3:5] for line in log] == [["2", "1"], ["1", "2"]]
    assert "previous" in table


def test_rollbacks_go_back_and_never_forward(project: Project, ops: Said) -> None:
    digests = [champion(project)]
    for name in ("second", "third"):
        digests.append(vary(project, name))
        assert ops("register")[0] == 0
    for before in reversed(digests[:-1]):
        assert ops("rollback", "--reason", "the mails went astray")[0] == 0
        assert champion(project) == before
    code, said = ops("rollback")
    assert code == 2
    assert "There is no champion before version 1" in said
    assert champion(project) == digests[0]
    told = json.loads(ops("history", "--json")[1])
    log = [(event["kind"], event["version"], event["before"]) for event in told["promotions"]]
    assert log[-2:] == [("rollback", 2, 3), ("rollback", 1, 2)]
    assert [bool(version["rolled_back"]) for version in told["versions"]] == [False, True, True]


def test_what_was_rolled_back_comes_back_by_hand_alone(project: Project, ops: Said) -> None:
    first, second = champion(project), vary(project, "second")
    assert ops("register")[0] == 0
    assert ops("rollback")[0] == 0
    code, said = ops("register")
    assert code == 3
    assert "was rolled back: only `uv run ops promote 2` brings it back" in said
    assert champion(project) == first
    assert ops("promote", "2")[0] == 0
    assert champion(project) == second
    assert ops("register")[0] == 0


def test_a_proposal_waits_for_a_person(project: Project, ops: Said) -> None:
    first, second = champion(project), vary(project, "second")
    register(project, propose=True)
    assert champion(project) == first
    assert ops("promote", "--trained")[0] == 0
    assert champion(project) == second


def test_a_model_of_shuffled_labels_is_refused(
    project: Project, contract: Contract, ops: Said
) -> None:
    before = champion(project)
    shuffled = pl.col(contract.target.name).shuffle(seed=7)
    (part,) = project.train.iterdir()
    pl.read_parquet(part).with_columns(shuffled).write_parquet(part)
    for stage in ("train", "evaluate"):
        assert ops("stage", stage)[0] == 0
    for _ in range(2):
        code, said = ops("register")
        assert code == 3
        assert "REFUSED  champion regression: " in said
        assert "ersion 2 (refused) is not promoted" in said
    code, said = ops("promote", "2")
    assert code == 3
    assert "champion regression: " in said
    assert champion(project) == before
    assert "champion regression" in " ".join(ops("history")[1].split())


def test_a_champion_that_is_lost_comes_back(project: Project, ops: Said) -> None:
    before = champion(project)
    shutil.rmtree(project.champion)
    assert ops("register")[0] == 0
    assert champion(project) == before


def test_any_version_is_found_by_number_alias_or_folder(
    project: Project, tmp_path: Path, ops: Said
) -> None:
    first, second = champion(project), vary(project, "second")
    assert ops("register")[0] == 0
    for name, digest, number in (("champion", second, "2"), ("previous", first, "1")):
        bundle = Bundle(located(project, name))
        assert (bundle.digest, bundle.origin.version) == (digest, number)
    kept = located(project, "previous")
    (kept / "model.onnx").write_bytes(b"something else")
    assert located(project, "1") == kept
    assert Bundle(kept).digest == first
    assert located(project, str(tmp_path)) == tmp_path
    with pytest.raises(UserError, match="There is no folder, alias or version 3; there are champ"):
        located(project, "3")


def test_a_bundle_says_which_version_it_is(project: Project) -> None:
    version = json.loads((project.champion / "version.json").read_text(encoding="utf-8"))
    assert version["version"] == "1"
    assert datetime.fromisoformat(version["created"]) <= datetime.now(UTC)
    assert version["digest"] == champion(project) == Bundle(project.bundle).digest
    assert Bundle(project.bundle).origin == (version["digest"][:12], "none", "none", "none")
    vary(project, "second")
    shutil.copy(project.bundle / "manifest.json", project.champion)
    assert Bundle(project.champion).origin.version == champion(project)[:12]


def test_without_a_model_there_is_nothing_to_register(project: Project, ops: Said) -> None:
    shutil.rmtree(project.bundle)
    code, said = ops("register")
    assert code == 2
    assert "holds no model; run `make train` first" in said
