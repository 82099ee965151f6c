"""Fixtures that the whole suite shares."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import pytest
from render import Template, working_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

IDENTITY = """\
[user]
    name = Ada Lovelace
    email = ada@example.org
[init]
    defaultBranch = main
[commit]
    gpgSign = false
"""


@pytest.fixture(scope="session", autouse=True)
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep the person's own settings of git and Copier out of every test.

    An environment that forbids bytecode would recompile every library in every process.
    """
    home = tmp_path_factory.mktemp("settings")
    (home / "gitconfig").write_text(IDENTITY)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(("GIT_", "COPIER_", "DVC_"))]:
            patch.delenv(name)
        for name in ("PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            patch.delenv(name, raising=False)
        patch.setenv("GIT_CONFIG_GLOBAL", str(home / "gitconfig"))
        patch.setenv("GIT_CONFIG_NOSYSTEM", "1")
        patch.setenv("UV_COMPILE_BYTECODE", "1")
        yield


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory, isolated: None) -> Template:
    """The working tree as a release."""
    del isolated
    return Template.of(working_tree(), tmp_path_factory.mktemp("template")).release("v9999.0.0")


@pytest.fixture(scope="session")
def rendered(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Render once for each set of answers; tests must leave what they get as it is."""

    @cache
    def render(**answers: str) -> Path:
        return template.render(tmp_path_factory.mktemp("rendered"), answers)

    return render
