"""A team's project on a host: a bare repository, the host's interface, jobs of pipelines."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from project import Project
from render import run
from servers import StandIn
from workflows import GitHub, GitLab

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from workflows import Job

PROPOSALS = re.compile(r"/(repos/ada/model/pulls|projects/7/merge_requests)(/1)?\Z")
ISSUES = re.compile(r"/(repos/ada/model|projects/7)/issues\Z")


class World(StandIn):
    """The interface of a host, as far as proposals and issues go; both hosts in one."""

    def __init__(self) -> None:
        self.proposals: list[dict[str, Any]] = []
        self.issues: list[str] = []
        self.methods: list[str] = []
        super().__init__()

    def answer(self, method: str, path: str, body: str) -> object:
        """Keep what is opened, list what is open."""
        place = path.partition("?")[0]
        if PROPOSALS.match(place):
            if method == "GET":
                return [{"number": 1, "iid": 1}] if self.proposals else []
            self.methods.append(method)
            self.proposals.append(json.loads(body))
            page = f"{self.address}/proposals/1"
            return {"number": 1, "html_url": page, "web_url": page}
        assert ISSUES.match(place), path
        if method == "GET":
            return [{"number": 1, "iid": 1}] if self.issues else []
        self.issues.append(body)
        return {}


@dataclass(frozen=True)
class Hosted:
    """A team's project on a host, and what its jobs find around them.

    Attributes:
        host: github or gitlab.
        workflow: which of GitHub's workflows is meant.
        folder: where all of it lies.
        variables: the environment of every command.
        world: the host's interface.
        settings: what is set in the repository's own settings, secrets too.
    """

    host: str
    workflow: str
    folder: Path
    variables: Mapping[str, str]
    world: World
    settings: Mapping[str, str]
    clones: list[Path] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        """The bare one that everybody clones."""
        return self.folder / "remotes" / "ada" / "model.git"

    def git(self, *command: str) -> str:
        """What git says of the bare repository."""
        return run("git", *command, cwd=self.repository)

    def clone(self) -> Project:
        """What a runner checks out: the last commit of main, and nothing that git ignores."""
        root = self.folder / f"clone {len(self.clones)}"
        self.clones.append(root)
        remote = f"file://{self.repository}"
        run(
            *("git", "clone", "--quiet", "--depth=1", "--branch=main", remote, root),
            cwd=self.folder,
        )
        if self.host == "gitlab":
            run("git", "checkout", "--quiet", "--detach", cwd=root)
        return Project(root, self.variables)

    def jobs(self, event: str, *, failed: bool = False) -> dict[str, Job]:
        """The jobs of the pipeline that an event brings, by name."""
        root = self.clone().root
        if self.host == "github":
            contexts = {
                "always()": "true",
                "failure()": str(failed).lower(),
                "github.event_name": event,
                "github.ref_name": "main",
                "github.event.repository.default_branch": "main",
                "github.actor": "ada",
                "github.token": "a secret",
                "github.repository": "ada/model",
                "github.api_url": self.world.address,
                "github.server_url": "https://example.org",
                "github.run_id": "1",
                **{f"vars.{name}": value for name, value in self.settings.items()},
                **{f"secrets.{name}": value for name, value in self.settings.items()},
            }
            path = root / ".github" / "workflows" / f"{self.workflow}.yml"
            return {job.name: job for job in GitHub(path, contexts, ["dvc.lock"]).jobs()}
        settings = {
            **self.settings,
            "CI_PIPELINE_SOURCE": {"workflow_dispatch": "web"}.get(event, event),
            "CI_COMMIT_BRANCH": "main",
            "CI_COMMIT_REF_NAME": "main",
            "CI_DEFAULT_BRANCH": "main",
            "CI_API_V4_URL": self.world.address,
            "CI_PROJECT_ID": "7",
            "CI_PROJECT_URL": f"file://{self.repository}".removesuffix(".git"),
            "CI_PIPELINE_URL": "https://example.org/pipelines/1",
            "GITLAB_USER_NAME": "ada",
            "GITLAB_USER_EMAIL": "ada@example.org",
            "UV_CACHE_DIR": self.variables["UV_CACHE_DIR"],
            "UV_LINK_MODE": "hardlink",
        }
        pipeline = GitLab(root / ".gitlab-ci.yml", settings, ["dvc.lock"], failed=failed)
        return {job.name: job for job in pipeline.jobs()}

    def work(self, job: Job, **variables: str) -> tuple[Project, str]:
        """Run the scripts of a job in a clone of its own; gives it, and what they printed."""
        project = self.clone()
        said = ""
        for step in job.steps:
            shell = Project(project.root, {**project.environment, **step.variables, **variables})
            said += shell.run("bash", "-eo", "pipefail", "-c", step.script)
        return project, said


def runner(desk: Project, folder: Path, world: World, environment: Path) -> dict[str, str]:
    """What a runner's machine gives every job.

    Args:
        desk: the project of somebody who pushes to the host.
        folder: where all of it lies.
        world: the host's interface.
        environment: what all jobs have of Python.
    """
    return {
        **desk.environment,
        "CI": "true",
        "UV_CACHE_DIR": desk.run("uv", "cache", "dir").strip(),
        "UV_PROJECT_ENVIRONMENT": str(environment),
        "GITHUB_API_URL": world.address,
        "GITHUB_REPOSITORY": "ada/model",
        "GITHUB_REF_NAME": "main",
        "GITHUB_SERVER_URL": f"file://{folder}/remotes",
    }
