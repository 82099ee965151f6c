"""What an environment is meant to run: a file in git, `deploy/state/ENVIRONMENT.yaml`."""

import re
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import yaml

from .. import command, git
from ..errors import UserError, shortly
from ..files import write_text
from ..project import Project

IMAGE = re.compile(r"[a-z0-9][\w.:/-]*@sha256:[0-9a-f]{64}")

MODEL = re.compile(r"[1-9][0-9]{0,18}|(?![0-9]+\Z)[A-Za-z0-9_.-]{1,64}")
"""A version of a registry, or an alias."""

Model = (
    Annotated[int, msgspec.Meta(ge=1)]
    | Annotated[str, msgspec.Meta(pattern=rf"^({MODEL.pattern})?\Z")]
)
"""The same in a file, where a version is a number."""


class State(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What runs, or is to run."""

    image: Annotated[str, msgspec.Meta(pattern=rf"^{IMAGE.pattern}\Z")]
    """By its digest: registry/name@sha256:..."""
    model: Model = ""
    """A version that is meant, or an alias, which moves; empty: whatever the image holds."""
    monitor: Annotated[str, msgspec.Meta(pattern=rf"^({IMAGE.pattern})?\Z")] = ""
    """The image of a cluster's monitor, likewise; empty where there is none."""
    version: str = ""
    """The version that answered when it was rolled out."""
    since: str = ""
    by: str = ""
    rollback: bool = False
    """Whether it took the place of a later one."""

    def is_same(self, other: "State | None") -> bool:
        """Whether both mean the same images and the same model."""
        names = ("image", "model", "monitor")
        return other is not None and all(getattr(self, it) == getattr(other, it) for it in names)

    def is_answered_by(self, version: str) -> bool:
        """Whether a version is the one that is meant; what is no number may be any."""
        meant = str(self.model or self.version)
        return not meant.isdecimal() or version == meant

    @property
    def shown(self) -> str:
        """In one sentence's words."""
        name, _, digest = self.image.rpartition("@sha256:")
        model = str(self.model or self.version)
        model = f"version {model}" if model.isdecimal() else model
        return f"{name}@{digest[:12]}" + (f" with {model}" if model else "")


def path(project: Project, environment: str) -> Path:
    """Where the state of an environment is kept."""
    return project.root / "deploy" / "state" / f"{environment}.yaml"


def read(project: Project, environment: str) -> State | None:
    """What an environment is meant to run; None if nothing was deployed there yet."""
    file = path(project, environment)
    return _parsed(file.read_bytes(), file) if file.exists() else None


def write(file: Path, state: State) -> None:
    """Write a state to a file."""
    write_text(file, yaml.safe_dump(msgspec.to_builtins(state), sort_keys=False))


def record(project: Project, environment: str, state: State) -> State:
    """Write down, and commit, what an environment runs from now on; gives it with who and when.

    Raises:
        UserError: if git does not take it; the file is written then.
    """
    root, file = project.root, path(project, environment)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    state = msgspec.structs.replace(state, since=now, by=git.person(root))
    write(file, state)
    verb = "Roll back" if state.rollback else "Deploy to"
    message = f"{verb} {environment}: {state.shown}"
    commit = ("-c", "core.hooksPath=/dev/null", "commit", "--quiet", "--message", message)
    try:
        command.output(root, "git", "add", "--force", "--", str(file))
        command.output(root, "git", *commit, "--", str(file))
    except command.CommandError as error:
        name = file.relative_to(root).as_posix()
        raise UserError(f"{environment} runs {state.shown}, but {error}; commit {name}.") from None
    return state


def is_committed(project: Project, environment: str) -> bool:
    """Whether git holds the state as the file says it."""
    name = path(project, environment).relative_to(project.root).as_posix()
    return git.output(project.root, "status", "--porcelain", "--", name) == ""


def earlier(project: Project, environment: str) -> State:
    """What a rollback returns to: so one rollback after the other goes further back.

    Raises:
        UserError: if git knows of nothing before what runs now.
    """
    file = path(project, environment)
    name = file.relative_to(project.root).as_posix()
    commits = git.output(project.root, "log", "--reverse", "--format=%H", "--", name) or ""
    line: list[State] = []
    for commit in commits.split():
        with suppress(UserError):  # what a person once wrote there, and nobody has deployed
            state = _parsed(git.content(project.root, name, commit) or b"", file)
            while state.rollback and line and not state.is_same(line[-1]):
                line.pop()
            if not line or not state.is_same(line[-1]):
                line.append(state)
    if len(line) < 2:
        raise UserError(
            f"git knows of nothing that {environment} ran before; in a clone without its history, "
            "run `git fetch --unshallow` first."
        )
    return line[-2]


class _Once(yaml.SafeLoader):
    """Reads YAML, and no mapping that names a key twice, as a merge may leave it."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """What a mapping holds."""
        found = super().construct_mapping(node, deep)
        if len(found) < len(node.value):
            raise yaml.MarkedYAMLError(problem="a name stands there twice")
        return found


def plain(content: bytes) -> Any:
    """What YAML says; a ValueError, in short, if it is broken."""
    try:
        return _Once(content).get_single_data()
    except yaml.YAMLError as error:
        raise ValueError(getattr(error, "problem", None) or shortly(error)) from None


def _parsed(content: bytes, file: Path) -> State:
    try:
        return msgspec.convert(plain(content), State)
    except ValueError as error:
        name = f"deploy/state/{file.name}"
        raise UserError(
            f"{name} is not what `make deploy` wrote ({error}): `git checkout HEAD -- {name}` "
            f"brings back what git holds, and `git log --patch {name}` shows what it held before."
        ) from None
