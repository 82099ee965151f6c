"""The registry on a server, as teams have it: the real one, over HTTP, with files through it."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from servers import registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from project import Project


@pytest.fixture
def server(sample: Project, tmp_path: Path) -> Iterator[str]:
    """An MLflow server that keeps both runs and files, from the environment of `make ui`."""
    with registry(sample, tmp_path, f"{tmp_path}/files") as address:
        yield address


def test_a_server_holds_versions_and_files(sample: Project, server: str, tmp_path: Path) -> None:
    """All verbs, from a copy that has the trained bundle but no registry of its own."""
    root = tmp_path / "a clone"
    names = shutil.ignore_patterns(".venv*", "mlflow.db*", "mlartifacts", "champion")
    shutil.copytree(sample.root, root, ignore=names, symlinks=True)
    python = sample.root / ".venv" / "bin" / "python"

    def ops(*arguments: str) -> str:
        command = [str(python), "-m", "my_model.ops.cli", *arguments]
        return sample.run(*command, cwd=root, MLFLOW_TRACKING_URI=server)

    assert "Version 1 (champion) is registered" in ops("register")
    assert "Version 1 (champion) is this very model" in ops("register")
    assert not (root / "mlflow.db").exists()
    assert not (root / "mlartifacts").exists()

    bundle = {path.name: path.read_bytes() for path in (root / "models/bundle").iterdir()}
    shutil.rmtree(root / "models")
    assert "Version 1 was already the champion" in ops("promote", "1")
    fetched = {path.name: path.read_bytes() for path in (root / "models/champion").iterdir()}
    assert fetched.pop("version.json")
    assert fetched == bundle
    assert "the first champion" in ops("history")
