"""Rendered projects, run: everything that they offer a person, from a fresh render."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from project import PROFILES, all_passed, asked, copied, interpreters
from render import choices, closed, reserved_names, run, several

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Project

LEFT_FOR_GIT = {
    "dvc.lock",
    "reports/validation.json",
    "reports/metrics.json",
    "reports/gates.json",
}
INSTALLED = """
import importlib.metadata as metadata, json
names = {name.lower() for name in metadata.packages_distributions()}
names |= {distribution.name.lower() for distribution in metadata.distributions()}
print(json.dumps(sorted(names)))
"""


def often(*names: str) -> list[Any]:
    """Every profile; those that are not named here run only where every case is asked for."""
    return [
        pytest.param(name, marks=() if name in names else pytest.mark.exhaustive)
        for name in PROFILES
    ]


def of(*names: str) -> pytest.MarkDecorator:
    """What is asked of these profiles' projects by default."""
    return pytest.mark.parametrize("project", often(*names), indirect=True)


# What must hold of `ops/` whatever the contract; tests/ops asks it of the first sample.
ANY_CONTRACT = [f"contract/test_{name}.py" for name in ("bundle", "contract", "pipeline", "score")]
ANY_SERVED = [f"contract/test_{name}.py" for name in ("requests", "log", "service")]
CONTRACTS = {
    "own-data": [*ANY_CONTRACT, *ANY_SERVED, "test_skew.py"],
    "regression": [*ANY_CONTRACT, *ANY_SERVED, "test_skew.py", "contract/test_monitoring.py"],
    "inside": ANY_CONTRACT,
}


@pytest.fixture(scope="module")
def copy(
    trained: Callable[[str], Project], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Project]:
    """A profile's project for the tests of this file alone; they leave it as it is."""

    @cache
    def take(name: str) -> Project:
        return copied(trained(name), PROFILES[name], tmp_path_factory.mktemp(name))

    return take


@pytest.fixture(scope="module", params=PROFILES)
def project(
    request: pytest.FixtureRequest,
    trained: Callable[[str], Project],
    copy: Callable[[str], Project],
) -> Project:
    """Each profile's project in turn: what is asked of every project."""
    del trained  # a test that needs it comes late
    return copy(request.param)


def test_the_profiles_hold_every_answer() -> None:
    """Of a question that takes several, each in some project, and none."""
    for name in closed():
        given, offered = {profile.answers[name] for profile in PROFILES.values()}, {*choices(name)}
        if several(name):
            assert "[]" in given
            given, offered = (set(re.findall(r"\w+", f"{answers}")) for answers in (given, offered))
        assert given == offered


def test_a_training_ends_with_a_champion(project: Project) -> None:
    assert re.search(r"^Version 1 \(champion\) is registered", project.said["train"], re.MULTILINE)
    assert re.search(r"^1 .* champion ", project.versions(), re.MULTILINE)
    metrics = json.loads((project.root / "reports" / "metrics.json").read_text())
    assert metrics


def test_a_training_leaves_for_git_what_the_readme_says(project: Project) -> None:
    folder = project.run("git", "rev-parse", "--show-prefix").strip()
    assert set(project.said["changes"].split("\n")) == {folder + name for name in LEFT_FOR_GIT}
    readme = (project.root / "README.md").read_text()
    assert "`dvc.lock` and `reports/*.json`" in readme
    assert project.changes() == set()


def test_setup_is_safe_twice(project: Project) -> None:
    assert project.run("git", "rev-parse", "HEAD") == project.said["head"]
    assert project.changes() == set()


def test_the_doctor_finds_nothing_amiss(sample: Project) -> None:
    said = sample.run("uv", "run", "ops", "doctor").splitlines()
    assert said[-1] == "All is well."
    assert all(line.startswith("ok ") for line in said[:-1])


@of("sample", "own-data", "inside")
def test_a_second_training_does_nothing(project: Project) -> None:
    before = project.versions()
    said = project.run("make", "train")
    assert "Running stage" not in said
    assert project.versions() == before
    assert project.changes() == set()


def test_a_clone_has_nothing_to_train(
    trained: Callable[[str], Project], copy: Callable[[str], Project], tmp_path: Path
) -> None:
    """Code that was checked out anew, and compiled, is the same code."""
    project = copy("own-data")
    project.run("git", "clone", "--quiet", str(project.root), str(tmp_path / "clone"))
    clone = replace(trained("own-data"), root=tmp_path / "clone")
    clone.run("make", "setup")
    clone.warm()
    project.run("uv", "run", "dvc", "push")
    storage = project.root / ".dvc" / "storage"
    clone.run("uv", "run", "dvc", "remote", "modify", "--local", "storage", "url", str(storage))
    clone.run("uv", "run", "dvc", "pull")
    clone.run("uv", "run", "python", "-m", "compileall", "-q", "src")
    assert "up to date" in clone.run("uv", "run", "dvc", "status")


@pytest.mark.parametrize("name", often("own-data"))
def test_a_forced_training_gives_the_same_hashes(
    trained: Callable[[str], Project], copy: Callable[[str], Project], name: str
) -> None:
    del trained
    project = copy(name)
    before = project.hashes()
    said = project.run("uv", "run", "dvc", "repro", "--force")
    assert said.count("Running stage") == len(stages(project))
    assert project.hashes() == before
    assert project.changes() == set()


def stages(project: Project) -> list[str]:
    """The names of the pipeline's stages."""
    return list(yaml.safe_load((project.root / "dvc.yaml").read_text())["stages"])


@pytest.mark.parametrize("name", ["own-data", "inside", "mail", "cart"])
def test_a_project_with_its_own_data_keeps_every_rule(
    trained: Callable[[str], Project], copy: Callable[[str], Project], name: str
) -> None:
    """The pipelines of the other profiles say the same of the samples (test_run_ci.py)."""
    del trained
    project = copy(name)
    project.run("make", "check")
    assert all_passed(project.run("make", "test"))
    assert project.changes() == set()


@pytest.mark.parametrize("name", CONTRACTS)
def test_what_must_hold_of_any_contract_holds_of_this_one(
    trained: Callable[[str], Project], name: str
) -> None:
    project = trained(name)
    assert all_passed(asked(project, *CONTRACTS[name]))
    assert project.changes() == set()


@pytest.mark.parametrize("name", [name for name, profile in PROFILES.items() if profile.data])
def test_without_data_a_project_says_what_to_do(
    trained: Callable[[str], Project], name: str
) -> None:
    said = trained(name).said
    assert "uv run ops data use FILE --target COLUMN" in said["train without data"]
    assert "Traceback" not in said["train without data"]
    assert all_passed(said["test without data"])


@of("sample", "inside")
def test_any_folder_of_the_project_will_do(project: Project) -> None:
    folder = next(project.root.glob("src/*/ml"))
    assert project.run("uv", "run", "ops", "history", cwd=folder) == project.versions()


@of("sample", "images", "own-data", "inside")
def test_the_notebook_runs(project: Project) -> None:
    notebook = json.loads((project.root / "notebooks" / "explore.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    code = "import matplotlib; matplotlib.use('agg')\n" + "\n".join(cells)
    project.run("uv", "run", "python", "-W", "error", "-c", code)


def test_no_package_can_hide_what_is_installed(project: Project) -> None:
    names = json.loads(project.run("uv", "run", "python", "-c", INSTALLED).splitlines()[-1])
    own = next(project.root.glob("src/*/ml")).parent.name
    legal = {re.sub(r"[-_.]+", "_", name) for name in names} - {own}
    legal = {name for name in legal if re.fullmatch(r"[a-z][a-z0-9]*(_[a-z0-9]+)*", name)}
    assert legal <= reserved_names(), sorted(legal - reserved_names())


@pytest.mark.parametrize("version", choices("python_version"))
def test_every_python_resolves(
    rendered: Callable[..., Path], sample: Project, tmp_path: Path, version: str
) -> None:
    """Also where the interpreter is absent: resolving for another Python needs none."""
    project = rendered(python_version=version)
    command = ["uv", "pip", "compile", "--quiet", "--python-version", version, "--all-extras"]
    groups = ["--group", "train", "--group", "dev"]
    output = tmp_path / "requirements.txt"
    run(
        *command, *groups, "--output-file", output, "pyproject.toml",
        cwd=project, env=sample.environment,
    )  # fmt: skip
    assert "scikit-learn==" in output.read_text()


def test_every_interpreter_of_this_machine_runs_a_project(
    trained: Callable[[str], Project],
) -> None:
    ran = {(trained(name).root / ".python-version").read_text().strip() for name in PROFILES}
    assert set(interpreters()) <= ran
