"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
import tempfile
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from following import Follower, follow
from history import past
from project import PROFILES, begin, environment, kept
from quickly import COMPILED, quicken
from render import Template, read, updating
from sharing import common, memory, once

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from project import Project

IDENTITY = """\
[user]
    name = Ada Lovelace
    email = ada@example.org
[init]
    defaultBranch = main
[commit]
    gpgSign = false
[maintenance]
    auto = false
"""


LONG = (
    "test_run_documents.py",
    "test_onboarding.py",
    "test_run_ci.py",
    "test_story.py",
    "test_containers.py",
    "test_deployment.py",
    "test_run_retraining.py",
    "test_serving.py",
)
"""Files that are begun first among those that need a trained project, so that none ends late.

Those of two tests come first: while both are still to run, their process is dealt another file.
"""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Offer the sizes that are too long for every change; a nightly workflow asks for them."""
    parser.addoption(
        "--exhaustive",
        action="store_true",
        help="every case of what is sampled by default: edits, streams, releases, profiles",
    )


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a test of bytes by its argument: what is packed holds the second at which it was.

    The processes of a run must find the same names, and each packs for itself.
    """
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what is marked exhaustive, unless it is asked for; then fast tests first.

    Those that need a trained project come last.
    """
    if not config.getoption("--exhaustive"):
        left = [item for item in items if item.get_closest_marker("exhaustive")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("exhaustive")]
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[bool, int]:
    """Where a test comes: whether it needs a trained project, and then how long it takes."""
    if item.path.parent != Path(__file__).parent or "trained" not in getattr(
        item, "fixturenames", ()
    ):
        return False, 0
    return True, LONG.index(item.path.name) if item.path.name in LONG else len(LONG)


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the person's own settings of git, Copier and make out of every test.

    Where bytecode is forbidden, every process compiles every library again; where uv compiles it,
    a project's environment costs half a minute more than what its commands import.
    """
    home = tmp_path_factory.mktemp("settings")
    (home / "gitconfig").write_text(IDENTITY)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "COPIER_", "DVC_"))]:
            patch.delenv(name)
        for name in (
            "PYTHONDONTWRITEBYTECODE",
            "UV_COMPILE_BYTECODE",
            "VIRTUAL_ENV",
            "ARGS",
            "MAKEFLAGS",
            "MAKELEVEL",
            "MFLAGS",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("HYPOTHESIS_STORAGE_DIRECTORY", str(home / "hypothesis"))
        yield


@pytest.fixture(scope="session", autouse=True)
def rendered_quickly(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Let Copier render in half the time, here and in each process that is begun from here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(COMPILED, str(common(tmp_path_factory) / "compiled"))
        patch.setenv("PYTHONPATH", str(Path(__file__).parent / "quick"))
        quicken()
        yield


@pytest.fixture(scope="session", autouse=True)
def in_memory(isolated: None) -> Iterator[Path | None]:
    """Let everything that is temporary lie in memory, if there is room.

    Copier writes five whole trees for an update, and where so many files come and go, a disk's file
    system takes half of the time. Environments of projects are links into uv's cache, so they, and
    what pytest keeps, stay beside it.
    """
    del isolated
    place = memory()
    if place is None:
        yield None
        return
    with (
        TemporaryDirectory(dir=place, prefix="tests-") as folder,
        pytest.MonkeyPatch.context() as patch,
    ):
        patch.setenv("TMPDIR", folder)
        patch.setattr(tempfile, "tempdir", None)
        yield Path(folder)


@pytest.fixture
def tmp_path(
    request: pytest.FixtureRequest, in_memory: Path | None, tmp_path: Path
) -> Iterator[Path]:
    """An empty folder; in memory, unless the test makes an environment in it."""
    names = {*request.fixturenames}
    if in_memory is None or ("machine" in names and ("follower" not in names or "hosted" in names)):
        yield tmp_path
        return
    with TemporaryDirectory(dir=in_memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def exhaustive(request: pytest.FixtureRequest) -> bool:
    """Whether every case is asked for, where a sample of them does by default."""
    return bool(request.config.getoption("--exhaustive"))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Template:
    """The working tree as a release."""
    del isolated
    return Template(once(common(tmp_path_factory) / "template", _release))


def _release(source: Path) -> None:
    Template.of(read(), source).release("v9999.0.0")


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Template:
    """A repository of the template with all its releases; tests leave it as it is."""
    del isolated
    return Template(once(common(tmp_path_factory) / "history", past))


@pytest.fixture(scope="session")
def rendered(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Render once for each set of answers; tests must leave what they get as it is."""

    @cache
    def render(**answers: str) -> Path:
        return template.render(tmp_path_factory.mktemp("rendered"), answers)

    return render


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> dict[str, str]:
    """The variables that projects run with."""
    del isolated
    return environment(once(common(tmp_path_factory) / "machine", environment))


@pytest.fixture(scope="session")
def trained(
    template: Template, machine: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], Project]:
    """The project of a profile, rendered, set up and trained once for all processes.

    Tests leave it as it is; who must change something takes a copy.
    """

    @cache
    def project(name: str) -> Project:
        profile, folder = PROFILES[name], common(tmp_path_factory) / "trained" / name
        return kept(profile, once(folder, partial(begin, template, profile, machine)), machine)

    return project


@pytest.fixture(scope="session")
def sample(trained: Callable[[str], Project]) -> Project:
    """The project that most people see first: what needs to be asked of one only."""
    return trained("sample")


@pytest.fixture
def follower(isolated: None, machine: dict[str, str], tmp_path: Path) -> Follower:
    """The project that most people see first, and a template that is its alone."""
    del isolated
    own = Template.of(updating(), tmp_path / "template").release("v9999.0.0")
    return follow(own, machine, tmp_path)
