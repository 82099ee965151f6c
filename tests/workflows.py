"""Reads a CI configuration into the shell scripts that it runs, so that a test can run them too.

Both readers know only what the rendered files use: any other key, action, expression or rule is an
error, so that nothing is passed over in silence.
"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence
    from pathlib import Path

Node = dict[Any, Any]

ACTIONS = {
    "actions/checkout": {"fetch-depth", "persist-credentials"},
    "actions/upload-artifact": {"name", "path", "if-no-files-found"},
    "astral-sh/setup-uv": set(),
}
WORKFLOW = {"name", "on", "concurrency", "permissions", "env", "jobs"}
PUSH = {"paths"}
SETUP = [
    "apt-get update --quiet",
    "apt-get install --quiet --yes --no-install-recommends buildah podman",
]
"""What a job of GitLab installs beside the project; a machine that runs tests has it."""
UNSET = re.compile(r"(inputs|secrets|vars)\.\w+")
GITHUB_JOB = {
    *("name", "if", "needs", "runs-on", "timeout-minutes", "permissions", "env", "steps"),
    *("outputs", "environment", "concurrency"),
}
STEP = {"uses", "run", "with", "env", "if", "id"}

PIPELINE = ("workflow", "include", "stages", "variables", "default")
INCLUDE = {"local", "rules"}
DEFAULT = {"image", "interruptible", "timeout", "cache"}
GITLAB_JOB = {
    *("stage", "script", "needs", "timeout", "rules", "variables", "artifacts", "cache"),
    *("id_tokens", "interruptible", "resource_group", "before_script", "environment"),
}
NEED = {"job", "optional"}
ARTIFACTS = {"when", "expose_as", "paths", "reports"}
RULE = {"if", "when", "changes", "allow_failure"}


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


def truthy(value: str) -> bool:
    """Whether GitHub takes the value of an expression for true."""
    return value not in {"", "false"}


def known(node: Node, keys: set[str]) -> Node:
    """Refuse a key that the reader would pass over."""
    assert node.keys() <= keys, f"the reader does not know {node.keys() - keys}"
    return node


def merged(first: Node, second: Node) -> Node:
    """Two parts of a pipeline as GitLab takes them: keys of both, of which the second's count."""
    return first | {
        key: merged(first[key], value)
        if isinstance(value, dict) and isinstance(first.get(key), dict)
        else value
        for key, value in second.items()
    }


@dataclass(frozen=True)
class GitHub:
    """A workflow, and the contexts that it runs under, such as `github.event_name`."""

    path: Path
    contexts: Mapping[str, str]
    changed: Collection[str] = ()
    """The files that a push changes."""

    def value(self, expression: str) -> str:
        """What an expression comes to; its operators are like Python's under other names."""
        text = expression.strip().replace("&&", " and ").replace("||", " or ")
        return self._value(ast.parse(text, mode="eval").body)

    def _value(self, node: ast.expr) -> str:
        match node:
            case ast.Constant(str(text)):
                return text
            case ast.BoolOp(operator, parts):
                *first, last = parts
                ends = isinstance(operator, ast.Or)
                return next(
                    (value for value in map(self._value, first) if truthy(value) == ends),
                    self._value(last),
                )
            case ast.Compare(left, [ast.Eq() | ast.NotEq() as operator], [right]):
                same = self._value(left) == self._value(right)
                return str(same == isinstance(operator, ast.Eq)).lower()
        name = ast.unparse(node)
        if UNSET.fullmatch(name):
            return self.contexts.get(name, "")
        assert name in self.contexts, f"the reader does not know {name}"
        return self.contexts[name]

    def begins(self, triggers: Node) -> bool:
        """Whether the event is one that the workflow waits for."""
        event = self.contexts["github.event_name"]
        if event != "push" or event not in triggers:
            return event in triggers
        push = known(triggers["push"] or {}, PUSH)
        return "paths" not in push or not set(push["paths"]).isdisjoint(self.changed)

    def filled(self, text: str) -> str:
        """The text with the values of its expressions."""
        return re.sub(r"\$\{\{(.*?)\}\}", lambda found: self.value(found[1]), text)

    def runs(self, node: Node) -> bool:
        """Whether the condition of a job or a step holds."""
        return truthy(self.value(node.get("if", "'always'")))

    def jobs(self) -> Iterator[Job]:
        """The jobs that run, in order."""
        workflow = known(read(self.path), WORKFLOW)
        if not self.begins(workflow["on"]):
            return
        for name, job in workflow["jobs"].items():
            if self.runs(known(job, GITHUB_JOB)):
                steps = [step for step in job["steps"] if self.runs(known(step, STEP))]
                shared = {**workflow.get("env", {}), **job.get("env", {})}
                yield Job(
                    name,
                    tuple(self.script(step, shared) for step in steps if "run" in step),
                    tuple(self.artifacts(step for step in steps if "uses" in step)),
                    checkout=any("actions/checkout" in step.get("uses", "") for step in steps),
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
    changed: Collection[str] = ()
    """The files that a push changes."""
    failed: bool = False
    """Whether a job has failed."""

    def filled(self, text: str) -> str:
        """The text with the values of its variables."""
        return re.sub(r"\$(\w+)", lambda found: self.settings.get(found[1], ""), text)

    def holds(self, condition: str) -> bool:
        """Whether every term of a condition does: `$A`, `$A == "b"`, `$A == $B`, `$A == null`."""
        for term in condition.split(" && "):
            if absent := re.fullmatch(r"\$(\w+) == null", term):
                if absent[1] in self.settings:
                    return False
                continue
            found = re.fullmatch(r'\$(\w+)(?: == (?:"([^"]*)"|\$(\w+)))?', term)
            assert found, f"the reader does not know the rule {term}"
            value = self.settings.get(found[1], "")
            literal, other = found[2], found[3]
            wanted = literal if other is None else self.settings.get(other, "")
            if not value if wanted is None else value != wanted:
                return False
        return True

    def passes(self, rules: Sequence[Node]) -> bool:
        """Whether the first rule that holds lets a job run; without rules it always runs.

        A job that waits for a person runs: that person is here.
        """
        for rule in rules:
            changes = known(rule, RULE).get("changes")
            if self.holds(rule["if"]) and (
                changes is None or not set(changes).isdisjoint(self.changed)
            ):
                when = rule.get("when", "on_success")
                assert when in {"on_success", "on_failure", "manual", "always"}, when
                return when != "on_failure" or self.failed
        return not rules

    def included(self, entries: Sequence[Node]) -> Node:
        """The jobs of the files that are drawn in where they are."""
        jobs: Node = {}
        for entry in entries:
            pattern = known(entry, INCLUDE)["local"]
            assert entry["rules"] == [{"exists": [pattern]}], "a file that is absent is an error"
            for path in sorted(self.path.parent.glob(pattern)):
                jobs = merged(jobs, read(path))
        return jobs

    def jobs(self) -> Iterator[Job]:
        """The jobs that run, stage by stage."""
        pipeline = read(self.path)
        workflow, include, stages, shared, default = (pipeline.pop(key) for key in PIPELINE)
        pipeline = merged(self.included(include), pipeline)
        known(default, DEFAULT)
        assert self.passes(known(workflow, {"rules"})["rules"]), "the pipeline does not run"
        runs = {
            name: job
            for stage in stages
            for name, job in pipeline.items()
            if job["stage"] == stage and self.passes(known(job, GITLAB_JOB).get("rules", []))
        }
        for name, job in runs.items():
            yield self.job(name, {**job, "needs": list(self.needs(job, runs))}, shared)

    def needs(self, job: Node, runs: Collection[str]) -> Iterator[str]:
        """The jobs that one waits for, without those that it can miss and that do not run."""
        for need in job.get("needs", ()):
            if isinstance(need, str):
                yield need
            elif known(need, NEED)["job"] in runs or need["optional"] != "true":
                yield need["job"]

    def job(self, name: str, job: Node, shared: Node) -> Job:
        """A job that runs."""
        assert job.get("before_script", SETUP) == SETUP, "the reader does not know this setup"
        own = {**shared, **job.get("variables", {})}
        variables = {key: self.filled(value) for key, value in own.items()} | dict(self.settings)
        return Job(
            name,
            tuple(Step(line, variables) for line in job["script"]),
            tuple(known(job.get("artifacts", {}), ARTIFACTS).get("paths", ())),
            tuple(job.get("needs", ())),
            variables.get("GIT_STRATEGY") != "none",
        )
