"""The evidence of a version: whole, named file by file, and signed by a real key."""

from __future__ import annotations

import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from copies import git
from my_model.ops import cli
from my_model.ops.files import read_json, sha256, write_json

if TYPE_CHECKING:
    from pathlib import Path

    from my_model.ops.project import Project

HELD = {
    *("bundle/manifest.json", "bundle/model.onnx", "reports/cards/model.md", "reports/gates.json"),
    *("version.json", "parameters.json", "promotions.json", "scorecard.json"),
    *("deployments.txt", "monitoring.json", "sbom.json", "forgotten.json"),
}


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """A key of Ada's."""
    path = tmp_path / "key"
    made = ("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "ada", "-f", str(path))
    subprocess.run(made, check=True)
    return path


def verified(archive: Path, key: Path) -> bool:
    """Whether Ada has signed an archive, as whoever has her public key asks."""
    allowed = key.with_name("allowed")
    allowed.write_text(f"ada {key.with_suffix('.pub').read_text()}")
    asked = ("ssh-keygen", "-Y", "verify", "-f", str(allowed), "-I", "ada", "-n", "evidence", "-s")
    done = subprocess.run(
        [*asked, f"{archive}.sig"], input=archive.read_bytes(), capture_output=True, check=False
    )
    return done.returncode == 0


def test_what_is_known_of_a_version_is_in_one_folder_and_signed(
    project: Project, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project.root
    state = root / "deploy" / "state" / "dev.yaml"
    state.parent.mkdir(parents=True)
    state.write_text("model: 1\n")
    git(project, "init", "--quiet")
    git(project, "add", "deploy")
    git(project, "commit", "--quiet", "--message", "Deploy to dev: version 1")
    (root / "build").mkdir()
    write_json(root / "build" / "sbom.json", {"components": []})
    write_json(project.reports / "forgotten.json", [])
    write_json(project.served / "monitoring" / "monitoring.json", {"decision": "none"})
    assert cli.main(["evidence", "champion", "--key", str(key)]) == 0
    folder = root / "build" / "evidence" / "1"
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert files >= HELD
    assert any(name.startswith("code/") for name in files)
    sums = dict(
        reversed(line.split("  ")) for line in (folder / "SHA256SUMS").read_text().splitlines()
    )
    assert sums == {name: sha256(folder / name) for name in files - {"SHA256SUMS"}}
    assert read_json(folder / "version.json")["data"]["train"]
    (promotion,) = read_json(folder / "promotions.json")
    assert (promotion["version"], promotion["why"]) == (1, "the first champion")
    assert "+model: 1" in (folder / "deployments.txt").read_text()
    archive = folder.with_name("1.tar.gz")
    assert verified(archive, key)
    with tarfile.open(archive) as tar:
        assert {name.removeprefix("1/") for name in tar.getnames()} >= files
    archive.write_bytes(archive.read_bytes() + b"\0")
    assert not verified(archive, key)
    assert cli.main(["evidence", "champion", "--key", str(key.with_name("none"))]) == 2
    assert "ssh-keygen failed: " in capsys.readouterr().err


def test_who_asks_for_no_version_is_told_which_there_are(
    project: Project, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["evidence", "9"]) == 2
    assert "There is no alias or version 9; there are champion, 1." in capsys.readouterr().err
    assert not (project.root / "build" / "evidence").exists()
