"""`ops template-update` and `ops template-propose`, by hand and in the pipeline of each host."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from copier import VcsRef
from following import CURRENT, MISTAKE, UNRESOLVED, Follower, edit, migrate
from gitconfig import hostile
from hosted import Hosted, World, runner
from render import ROOT, run
from servers import stand_in
from test_update import commit, update

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MANAGED = "dvc.yaml"
BRANCH = "ops/template"
SETTINGS = {"TEMPLATE_TOKEN": "a secret", "UPDATE_TEMPLATE": "weekly"}


def announce(follower: Follower, version: str) -> None:
    """Tell in the changelog of the template what a version brings."""
    changelog = follower.template.source / "CHANGELOG.md"
    edit(changelog, "\n## ", f"\n## {version}\n\nWhat {version} brings.\n\n## ")


def take(follower: Follower, *options: str, code: int = CURRENT) -> str:
    """Run `ops template-update`, which must end with this code."""
    return follower.project.refuse(follower.ops, "template-update", *options, code=code)


def status(follower: Follower) -> str:
    """What is changed in the project."""
    return run("git", "status", "--porcelain", cwd=follower.project.root)


def test_an_update_is_told_from_what_is_not_committed(follower: Follower, tmp_path: Path) -> None:
    """Whatever a person has told git to do everywhere, see gitconfig.py."""
    variables = {**follower.project.environment, **hostile(tmp_path)}
    follower = replace(follower, project=replace(follower.project, environment=variables))
    assert "newest release of its template, 9999.0.0" in take(follower)
    follower.release("v9999.1.0", MANAGED, "Read the rows", "Read each row")
    edit(follower.project.root / "params.yaml", "seed: 7", "seed: 8")
    before = status(follower)
    assert "commit or stash them first" in take(follower, code=MISTAKE)
    assert "write it like 1.2.0" in take(follower, "--trust", "all", code=MISTAKE)
    assert status(follower) == before
    commit(follower.project.root, "Another seed")
    assert "from 9999.0.0 to 9999.1.0" in take(follower)
    assert status(follower) == " M .copier-answers.yml\n M dvc.yaml\n?? uv.lock\n"
    assert follower.check(CURRENT)


def test_a_release_of_a_copy_comes_after_the_one_that_it_adds_to(follower: Follower) -> None:
    """docs/organisation.md tells teams to tag so what they change in a copy of the template."""
    follower.release("v9999.0.0.post1", MANAGED, "Read the rows", "Read each row")
    assert "from 9999.0.0 to 9999.0.0.post1" in take(follower)
    commit(follower.project.root, "Update")
    assert "newest release of its template, 9999.0.0.post1" in take(follower)


def test_what_git_ignores_is_not_replaced(follower: Follower) -> None:
    root = follower.project.root
    run("git", "rm", "--quiet", "--cached", ".editorconfig", cwd=root)
    with (root / ".gitignore").open("a") as file:
        file.write("/.editorconfig\n")
    commit(root, "Keep our editor to ourselves")
    (root / ".editorconfig").write_text("root = true # mine\n")
    follower.release("v9999.1.0", ".editorconfig", "root = true\n", "root = true # theirs\n")
    said = take(follower, code=MISTAKE)
    assert "Git ignores .editorconfig, and an update would replace it for good" in said
    assert (root / ".editorconfig").read_text() == "root = true # mine\n"
    assert status(follower) == ""


def test_what_is_dropped_is_for_people_to_resolve(follower: Follower) -> None:
    root = follower.project.root
    with (root / ".editorconfig").open("a") as file:
        file.write("# ours\n")
    commit(root, "Our line")
    (follower.template.source / "template" / ".editorconfig").unlink()
    announce(follower, "9999.1.0")
    follower.template.release("v9999.1.0")
    said = take(follower, code=UNRESOLVED)
    assert ".editorconfig: it held changes of yours" in said
    assert "What 9999.1.0 brings." in said
    assert "uv lock --upgrade" in said
    run("git", "checkout", "HEAD", "--", ".editorconfig", cwd=root)
    assert follower.lost(CURRENT) == {}


def test_code_that_was_formatted_otherwise_has_a_way_through(follower: Follower) -> None:
    root = follower.project.root
    run("ruff", "format", "--quiet", "--no-cache", "--line-length=79", "src", "tests", cwd=root)
    commit(root, "Our own style")
    page = " ".join((ROOT / "template" / "docs" / "ops" / "updating.md").read_text().split())
    (back,) = re.findall(r"`(git checkout COMMIT [^`]+)`", page)
    (last,) = re.findall(r"`(git log [^`]+)` tells COMMIT", page)
    run("bash", "-c", back.replace("COMMIT", f"$({last})"), cwd=root)
    commit(root, "The template's style")
    follower.release("v9999.1.0", "src/*/ops/updating.py", "an update needs that", "it must be")
    assert "Nothing is left to resolve" in take(follower)


@pytest.fixture(params=["github", "gitlab"])
def hosted(request: pytest.FixtureRequest, follower: Follower, tmp_path: Path) -> Iterator[Hosted]:
    """The project as a team has it on a host."""
    desk = follower.project
    if request.param == "gitlab":
        update(desk.root, vcs_ref=VcsRef.CURRENT, data={"ci": "gitlab"})
        commit(desk.root, "Move to GitLab")
    desk.run("uv", "lock", "--quiet")
    commit(desk.root, "Lock")
    with stand_in(World()) as world:
        bare = tmp_path / "remotes" / "ada" / "model.git"
        desk.run("git", "clone", "--quiet", "--bare", str(desk.root), str(bare))
        desk.run("git", "remote", "add", "origin", str(bare))
        variables = runner(desk, tmp_path, world, desk.install(tmp_path / "python"))
        yield Hosted(request.param, "template", tmp_path, variables, world, SETTINGS)


def propose(hosted: Hosted, **settings: str) -> str:
    """Let the scheduled job run; gives what its scripts printed."""
    known = replace(hosted, settings={**hosted.settings, **settings})
    _, said = known.work(known.jobs("schedule")["template"])
    return said


@pytest.mark.parametrize(
    "hosted", [pytest.param("github", marks=pytest.mark.exhaustive), "gitlab"], indirect=True
)
def test_the_pipeline_proposes_what_a_release_brings(hosted: Hosted, follower: Follower) -> None:
    world = hosted.world
    assert "There is no update to propose." in propose(hosted)
    assert world.proposals == []

    announce(follower, "9999.1.0")
    follower.release("v9999.1.0", MANAGED, "Read the rows", "Read each row")
    propose(hosted)
    assert hosted.git("rev-parse", f"{BRANCH}^") == hosted.git("rev-parse", "main")
    changed = set(hosted.git("diff", "--name-only", "main", BRANCH).split())
    assert (
        {".copier-answers.yml", MANAGED} <= changed <= {".copier-answers.yml", MANAGED, "uv.lock"}
    )
    (proposal,) = world.proposals
    assert proposal["title"] == "Update the template from 9999.0.0 to 9999.1.0"
    text = proposal.get("body") or proposal["description"]
    assert "## 9999.1.0\n\nWhat 9999.1.0 brings." in text
    assert "0.3.0" not in text


@pytest.mark.parametrize(
    "hosted", ["github", pytest.param("gitlab", marks=pytest.mark.exhaustive)], indirect=True
)
def test_the_pipeline_asks_before_code_runs_and_proposes_no_conflict(
    hosted: Hosted, follower: Follower
) -> None:
    world = hosted.world
    announce(follower, "9999.1.0")
    follower.release("v9999.1.0", MANAGED, "Read the rows", "Read each row")
    propose(hosted)

    # a release that runs code waits for somebody to allow it, and then replaces what is open
    migrate(follower.template.source, "v9999.2.0", "touch migrated.txt")
    announce(follower, "9999.2.0")
    follower.release("v9999.2.0", "params.yaml", "seed: 7", "seed: 8")
    with pytest.raises(
        AssertionError, match=r"9999\.2\.0 comes with a migration.* which runs code here"
    ):
        propose(hosted)
    assert len(world.proposals) == 1
    propose(hosted, TRUSTED_TEMPLATE_VERSIONS="9999.1.9, 9999.2.0")
    assert world.methods == ["POST", "PATCH" if hosted.host == "github" else "PUT"]
    assert world.proposals[1]["title"] == "Update the template from 9999.0.0 to 9999.2.0"
    text = json.dumps(world.proposals[1])
    assert "What 9999.1.0 brings." in text
    assert "What 9999.2.0 brings." in text
    assert "migrated.txt" in hosted.git("ls-tree", "--name-only", BRANCH)

    # what conflicts is proposed to nobody
    root = follower.project.root
    edit(root / MANAGED, "Read the rows", "Read all rows")
    commit(root, "Our words")
    run("git", "push", "--quiet", "origin", "HEAD:main", cwd=root)
    with pytest.raises(
        AssertionError, match=rf"(?s){MANAGED}: an update left a conflict.* Error 3"
    ):
        propose(hosted, TRUSTED_TEMPLATE_VERSIONS="9999.2.0")
    assert len(world.proposals) == 2


@pytest.mark.parametrize(
    "hosted", [pytest.param("github", marks=pytest.mark.exhaustive), "gitlab"], indirect=True
)
def test_where_nothing_is_set_up_only_a_run_by_hand_says_what_is_missing(hosted: Hosted) -> None:
    bare = replace(hosted, settings={})
    assert "template" not in bare.jobs("schedule")
    with pytest.raises(AssertionError, match="TEMPLATE_TOKEN is not set"):
        bare.work(bare.jobs("workflow_dispatch")["template"])
