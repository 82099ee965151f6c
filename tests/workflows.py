"""Reads a CI configuration into the shell scripts that it runs, so that a test can run them too.

Both readers know only what the rendered files use: any other key, action, expression or rule is an
error, so that nothing is passed over in silence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

Node = dict[Any, Any]

ACTIONS = {
    "actions/checkout": {"fetch-depth", "persist-credentials"},
    "actions/upload-artifact": {"name", "path", "if-no-files-found"},
    "astral-sh/setup-uv": set(),
}
WORKFLOW = {"name", "on", "concurrency", "permissions", "env", "jobs"}
GITHUB_JOB = {"name", "if", "runs-on", "timeout-minutes", "permissions", "steps"}
STEP = {"uses", "run", "with", "env", "if"}

PIPELINE = ("workflow", "stages", "variables", "default")
DEFAULT = {"image", "interruptible", "timeout", "cache"}
GITLAB_JOB = {"stage", "script", "needs", "timeout", "rules", "variables", "artifacts", "cache"}
ARTIFACTS = {"when", "expose_as", "paths"}
RULE = {"if", "when"}


@dataclass(frozen=True)
class Step:
    """One script of a job, with the variables that the configuration gives it."""

    script: str
    variables: Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """Scripts that share a checkout, and the files that they leave for people or later jobs."""

    name: str
    steps: tuple[Step, ...]
    artifacts: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    checkout: bool = True


def read(path: Path) -> Node:
    """A YAML file as its authors mean it: YAML 1.1 would read the key `on` as true."""
    tree: Node = yaml.load(path.read_text(), Loader=yaml.BaseLoader)  # noqa: S506 (text only)
    return tree


def known(node: Node, keys: set[str]) -> Node:
    """Refuse a key that the reader would pass over."""
    assert node.keys() <= keys, f"the reader does not know {node.keys() - keys}"
    return node


@dataclass(frozen=True)
class GitHub:
    """A workflow, and the contexts that it runs under, such as `github.event_name`."""

    path: Path
    contexts: Mapping[str, str]

    def value(self, expression: str) -> str:
        """What an expression comes to."""
        expression = expression.strip()
        if comparison := re.fullmatch(r"(.+?) == '([^']*)'", expression):
            return "true" if self.value(comparison[1]) == comparison[2] else "false"
        assert expression in self.contexts, f"the reader does not know {expression}"
        return self.contexts[expression]

    def filled(self, text: str) -> str:
        """The text with the values of its expressions."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: self.value(found[1]), text)

    def runs(self, node: Node) -> bool:
        """Whether the condition of a job or a step holds."""
        return self.value(node.get("if", "always()")) == "true"

    def jobs(self) -> Iterator[Job]:
        """The jobs that run, in order."""
        workflow = known(read(self.path), WORKFLOW)
        for name, job in workflow["jobs"].items():
            if self.runs(known(job, GITHUB_JOB)):
                steps = [step for step in job["steps"] if self.runs(known(step, STEP))]
                shared = workflow.get("env", {})
                yield Job(
                    name,
                    tuple(self.script(step, shared) for step in steps if "run" in step),
                    tuple(self.artifacts(step for step in steps if "uses" in step)),
                )

    def script(self, step: Node, shared: Node) -> Step:
        """A step that runs a script."""
        variables = {**shared, **step.get("env", {})}
        filled = {name: self.filled(value) for name, value in variables.items()}
        return Step(self.filled(step["run"]), filled)

    def artifacts(self, steps: Iterator[Node]) -> Iterator[str]:
        """What the actions of a job keep; every action must be known and pinned."""
        for step in steps:
            action, _, revision = step["uses"].partition("@")
            assert re.fullmatch(r"[0-9a-f]{40}", revision), f"{action} is not pinned"
            settings = known(step.get("with", {}), ACTIONS[action])
            if action == "actions/upload-artifact":
                yield settings["path"]


@dataclass(frozen=True)
class GitLab:
    """A pipeline, and the variables that GitLab and the project's CI settings give it.

    They override the variables of the same name in the file, as they do there.
    """

    path: Path
    settings: Mapping[str, str]

    def filled(self, text: str) -> str:
        """The text with the values of its variables."""
        return re.sub(r"\$(\w+)", lambda found: self.settings.get(found[1], ""), text)

    def holds(self, condition: str) -> bool:
        """Whether every term of a rule's condition does: `$A`, `$A == "b"` or `$A == $B`."""
        for term in condition.split(" && "):
            found = re.fullmatch(r'\$(\w+)(?: == (?:"([^"]*)"|\$(\w+)))?', term)
            assert found, f"the reader does not know the rule {term}"
            value = self.settings.get(found[1], "")
            literal, other = found[2], found[3]
            wanted = literal if other is None else self.settings.get(other, "")
            if not value if wanted is None else value != wanted:
                return False
        return True

    def passes(self, rules: Sequence[Node]) -> bool:
        """Whether the first rule that holds lets a job run; without rules it always runs."""
        for rule in rules:
            if self.holds(known(rule, RULE)["if"]):
                return rule.get("when") != "never"
        return not rules

    def jobs(self) -> Iterator[Job]:
        """The jobs that run, stage by stage."""
        pipeline = read(self.path)
        workflow, stages, shared, default = (pipeline.pop(key) for key in PIPELINE)
        known(default, DEFAULT)
        assert self.passes(known(workflow, {"rules"})["rules"]), "the pipeline does not run"
        for stage in stages:
            for name, job in pipeline.items():
                if job["stage"] == stage and self.passes(known(job, GITLAB_JOB).get("rules", [])):
                    yield self.job(name, job, shared)

    def job(self, name: str, job: Node, shared: Node) -> Job:
        """A job that runs."""
        own = {**shared, **job.get("variables", {})}
        variables = {key: self.filled(value) for key, value in own.items()} | dict(self.settings)
        return Job(
            name,
            tuple(Step(line, variables) for line in job["script"]),
            tuple(known(job.get("artifacts", {}), ARTIFACTS).get("paths", ())),
            tuple(job.get("needs", ())),
            variables.get("GIT_STRATEGY") != "none",
        )
