"""The parts of `make demo` that are its own: when it renders anew, and what it shows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import demo
from render import ROOT, run, working_tree

if TYPE_CHECKING:
    from pathlib import Path

    import pytest
    from project import Project


def test_it_renders_anew_only_when_the_template_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for file in working_tree():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / file, tmp_path / file)
    run("git", "init", "--quiet", cwd=tmp_path)
    monkeypatch.setattr(demo, "ROOT", tmp_path)
    before = demo.fingerprint()
    (tmp_path / "README.md").write_text("another")
    assert demo.fingerprint() == before
    for name in ("template/Makefile", "copier.yml", "samples/new.py", "licenses/MIT.txt"):
        (tmp_path / name).write_text("another")
        assert demo.fingerprint() != before
        before = demo.fingerprint()


def test_it_shows_metrics_the_version_and_where_to_look(
    sample: Project, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "PROJECT", sample.root)
    demo.show(42)
    shown = capfd.readouterr().out
    assert "Done in 42 s." in shown
    assert "roc_auc" in shown
    assert "champion" in shown
    for place in demo.PLACES:
        assert (sample.root / place).exists()
        assert place in shown
