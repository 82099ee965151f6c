"""Answers that change later: options come and go around the people's work; two are fixed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import yaml
from copier import Settings, VcsRef, run_recopy
from history import RELEASES
from ownership import owner
from project_guard import outcome
from render import run
from test_ownership import THEIRS, anchors, lines, names
from test_update import begin, commit, files, update

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from render import Template

NEWEST = "9999.0.0"

# What may change later: some answers, and others.
OPEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"serving": True}, {"serving": False}),
    ({"monitoring": True}, {"monitoring": False}),
    ({"ci": "github"}, {"ci": "gitlab"}),
    ({"deploy": "[kubernetes, aws, azure, google]"}, {"deploy": "[]"}),
    ({"storage": "folder"}, {"storage": "s3"}),
    (
        {
            "license": "MIT",
            "python_version": "3.12",
            "storage": "gcs",
            "deploy": "[kubernetes]",
        },
        {
            "license": "Apache-2.0",
            "python_version": "3.11",
            "storage": "azure",
            "deploy": "[kubernetes, google]",
        },
    ),
]
ADDED = (
    ".github/workflows/ours.yml",
    ".gitlab/ours.yml",
    "deploy/kubernetes/environments/ours/kustomization.yaml",
    "deploy/state/dev.yaml",
    "docs/ops/ours.md",
    "monitoring/ours.yml",
    "src/my_model/ops/monitoring/ours.py",
    "src/my_model/ops/serving/ours.py",
    "src/my_model/ops/storage/ours.py",
    "tests/ops/serving/test_ours.py",
)


def work(project: Path) -> dict[str, str]:
    """What people wrote into a project, by path: into their files, shared ones, and the image's."""
    for name in names(project):
        written = lines(project / name)
        places = anchors(written) if owner(name) == "shared" else [len(written) - 1]
        if owner(name) != "managed" or name == "Dockerfile":
            for place in places:
                written.insert(place + 1, f"# {THEIRS}")
            (project / name).write_text("\n".join([*written, ""]), encoding="utf-8")
    for name in ADDED:
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text(f"# {THEIRS}\n", encoding="utf-8")
    changed = run("git", "ls-files", "-z", "--modified", "--others", cwd=project)
    return {
        name: (project / name).read_text(encoding="utf-8") for name in changed.split("\0") if name
    }


@pytest.mark.parametrize(("first", "second"), OPEN, ids="-".join)
def test_an_answer_may_change_and_change_back(
    first: dict[str, Any],
    second: dict[str, Any],
    rendered: Callable[..., Path],
    template: Template,
    tmp_path: Path,
) -> None:
    """There, back, and there again, with the people's work in place."""
    project = template.render(tmp_path / "project", first)
    begin(project)
    ours = work(project)
    commit(project, "Our own")

    now = rendered(**first)
    for answers in (second, first, second):
        before, now = now, rendered(**answers)
        update(project, vcs_ref=VcsRef.CURRENT, data=answers)
        assert run("git", "ls-files", "--unmerged", cwd=project) == ""
        taken = {it for it in ours if it in names(before) - names(now)}
        assert outcome(project, before, now).lost.keys() == taken, "what is lost is named"
        ours = {it: text for it, text in ours.items() if it not in taken}
        fresh, found = files(now), files(project)
        assert found.keys() == fresh.keys() | {it for it in ours if owner(it) != "yours"}
        for it, text in found.items():
            assert text == fresh[it] if it not in ours else text.count(THEIRS), it
        for it, text in ours.items():
            kept = (project / it).read_text(encoding="utf-8")
            assert kept.count(THEIRS) == text.count(THEIRS), f"{it}: lines are lost"
            if answers == first or it in ADDED or owner(it) == "yours":
                assert kept == text, f"{it} is as it was"
        commit(project, "Answer anew")


# By default the first release that asks, and the newest.
ASKED = [
    pytest.param(
        version, marks=() if version in (next(iter(RELEASES)), NEWEST) else pytest.mark.exhaustive
    )
    for version in (*RELEASES, NEWEST)
]


@pytest.mark.parametrize("version", ASKED)
def test_two_answers_are_fixed(version: str, history: Template, tmp_path: Path) -> None:
    """One sentence says so, and nothing is touched; what is given as it is changes nothing."""
    answers = {"package_name": "first_model", "sample": "diabetes"}
    project = history.render(tmp_path / "project", answers, f"v{version}")
    begin(project)
    for name, other in (("package_name", "second_model"), ("sample", "none")):
        said = f"`{name}` is fixed once a project is generated: leave it out"
        with pytest.raises(ValueError, match=said):
            update(project, data={name: other, "ci": "gitlab"})
        assert run("git", "status", "--porcelain", cwd=project) == ""
    update(project, data=answers)
    run_recopy(project, defaults=True, overwrite=True, quiet=True, settings=Settings())
    recorded = yaml.safe_load((project / ".copier-answers.yml").read_text())
    assert recorded | answers == recorded


def test_the_answers_of_a_project_make_another(history: Template, tmp_path: Path) -> None:
    """Where nothing is recorded, nothing is fixed, and Copier has nothing to warn of."""
    first = history.render(tmp_path / "first", {"package_name": "first_model"})
    recorded = yaml.safe_load((first / ".copier-answers.yml").read_text())
    answers = {name: its for name, its in recorded.items() if not name.startswith("_")}
    assert files(history.render(tmp_path / "second", answers)) == files(first)
    answers["package_name"] = "second_model"
    assert (history.render(tmp_path / "third", answers) / "src" / "second_model").is_dir()
