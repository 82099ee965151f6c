# /// script
# requires-python = ">=3.11"
# dependencies = ["copier>=9.19,<10", "packaging", "pathspec", "pyyaml"]
# ///
"""Keep many projects current: how each stands, the next release for all, an answer for all.

Projects are named by their repositories: paths, a folder of repositories, a file with one of them
on each line, or URLs. A repository may hold several projects. Everything happens in throw-away
clones of what is committed; a repository gets a branch, and only with `--push`.

Exit codes: 0 all is well; 1 a project failed, which stopped no other; 2 a mistake of yours, in one
sentence; 3 a project is behind, conflicts, or needs a release that you did not trust.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import subprocess
import sys
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

import yaml
from packaging.version import InvalidVersion, Version
from pathspec import GitIgnoreSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    # Gets all projects of one repository; one that fails is a finding like the others.
    Work = Callable[[list["Project"], "Templates"], list["Finding"]]

ANSWERS = ".copier-answers.yml"
PLACES = "path, folder of repositories, file with one of them on each line, or URL"
FIXED = ("package_name", "sample")  # renaming a package or its data is not an update
HOSTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
REMOTE = re.compile(r"\w+://|[\w.-]+@[\w.-]+:")
SECRET = re.compile(r"(\w+://)[^/\s]*@")
DESCRIBED = re.compile(r"-\d+-g[0-9a-f]+\Z")
MARKER = re.compile(rb"^<{7} ", re.MULTILINE)
PATIENCE = 1800  # seconds, after which a command has hung

TAKEN = "the template takes the file away, and the project had changed it"
LOST = "lines that the project had changed would be lost"
RUNS = "it crosses the migration of {}, which runs code: read that, then allow it with {}"

# Nobody is there to type a password, and nothing large is needed.
UNATTENDED = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_SSH_COMMAND": os.environ.get("GIT_SSH_COMMAND", "ssh -o BatchMode=yes"),
}


class UserError(Exception):
    """A mistake that the user can mend: one sentence that says what is wrong and what to do."""


class ProjectError(Exception):
    """What went wrong with one project, in a sentence."""


def run(*command: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    """What a command prints.

    Raises:
        ProjectError: with the last line of its complaint, if it fails or hangs.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=cwd,
            env={**os.environ, **UNATTENDED, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="surrogateescape",
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ProjectError(f"`{command[0]}` did not end within {PATIENCE} s") from error
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "no word").splitlines()
        raise ProjectError(public(said[-1]))
    return done.stdout


def git(repository: Path, *arguments: str | Path) -> str:
    """What a git command prints.

    Raises:
        ProjectError: if it fails.
    """
    return run("git", *arguments, cwd=repository)


def public(text: str) -> str:
    """A text without the credentials of the URLs in it."""
    return SECRET.sub(r"\1", text)


def several(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def version_of(reference: str) -> Version | None:
    """The release that a reference of git names or follows, or none: `v1.2.0-3-gabc` is 1.2.0."""
    try:
        return Version(DESCRIBED.sub("", reference))
    except InvalidVersion:
        return None


# ==================================================================================================
# The template
# ==================================================================================================
class _Loader(yaml.SafeLoader):
    """Reads copier.yml, whose own tags say nothing here."""


_Loader.add_multi_constructor("!", lambda *_: {})


@dataclass(frozen=True)
class Template:
    """A template that projects come from, cloned once for all of them.

    Attributes:
        source: what the projects' answers call it.
        mirror: the clone.
        work: a folder for what Copier keeps.
    """

    source: str
    mirror: Path
    work: Path

    @classmethod
    def clone(cls, source: str, work: Path) -> Template:
        """Clone a template.

        Raises:
            ProjectError: if there is none.
        """
        if source.startswith("-"):
            raise ProjectError(f"{source} is no template")
        mirror = work / "mirror.git"
        git(work, "clone", "--quiet", "--mirror", "--", expanded(source), mirror)
        return cls(source, mirror, work)

    @cached_property
    def releases(self) -> dict[Version, str]:
        """The tag of every release that Copier would take, the oldest first."""
        tags = git(self.mirror, "tag", "--list").split()
        numbered = {number: tag for tag in tags if (number := version_of(tag))}
        return {it: numbered[it] for it in sorted(numbered) if not it.is_prerelease}

    @property
    def newest(self) -> Version:
        """The newest release.

        Raises:
            ProjectError: if there is none.
        """
        if not self.releases:
            raise ProjectError("the template has no release: no tag is a version")
        return [*self.releases][-1]

    def configuration(self, reference: str) -> dict[str, Any]:
        """What copier.yml says in a release, without the files that it includes."""
        merged: dict[str, Any] = {}
        text = git(self.mirror, "show", f"{reference}:copier.yml")
        for document in yaml.load_all(text, Loader=_Loader):
            merged |= document or {}
        return merged

    @cached_property
    def options(self) -> list[str]:
        """The questions of the newest release whose answers can be counted."""
        asked = self.configuration(self.releases[self.newest])
        return [
            name
            for name, question in asked.items()
            if not name.startswith("_") and ("choices" in question or question["type"] == "bool")
        ]

    @cached_property
    def owners(self) -> dict[str, GitIgnoreSpec] | None:
        """Whose files are, as the newest release says; none if it does not say."""
        try:
            said = git(self.mirror, "show", f"{self.releases[self.newest]}:ownership.yml")
        except ProjectError:
            return None
        return {name: GitIgnoreSpec.from_lines(its) for name, its in yaml.safe_load(said).items()}

    def owner(self, path: str) -> str:
        """The class of a file: yours, shared or managed."""
        matching = (name for name, its in (self.owners or {}).items() if its.match_file(path))
        return next(matching, "managed")

    def migrations(self, old: Version, new: Version) -> list[str]:
        """The releases between two, besides the older, whose migrations run code in a project."""
        found = self.configuration(self.releases[new]).get("_migrations") or []
        named = [it.get("version") if isinstance(it, dict) else None for it in found]
        crossed = {Version(name) for name in named if name and old < Version(name) <= new}
        return [*map(str, sorted(crossed)), *(["any"] if None in named else [])]

    def environment(self) -> dict[str, str]:
        """Variables that make Copier use the clone, instead of asking the network for each copy."""
        return {
            "COPIER_CACHE_DIR": str(self.work / "cache"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.mirror}.insteadOf",
            "GIT_CONFIG_VALUE_0": expanded(self.source),
        }

    def copier(self, *arguments: str | Path, cwd: Path) -> None:
        """Run Copier.

        Raises:
            ProjectError: if it fails.
        """
        command = (sys.executable, "-W", "ignore", "-m", "copier", *arguments)
        run(*command, "--defaults", "--quiet", cwd=cwd, env=self.environment())

    def render(self, answers: Mapping[str, Any], folder: Path) -> Path:
        """What the release that a project has rendered, with its answers, before anybody wrote.

        Raises:
            ProjectError: if it cannot be rendered any more.
        """
        data = folder / "answers.yml"
        own = {name: value for name, value in answers.items() if not name.startswith("_")}
        data.write_text(yaml.safe_dump(own, allow_unicode=True), encoding="utf-8")
        at = ("--vcs-ref", str(answers["_commit"]), "--data-file", data)
        self.copier("copy", *at, self.source, folder / "render", cwd=folder)
        return folder / "render"


def expanded(source: str) -> str:
    """A template's source as Copier hands it to git."""
    for short, host in HOSTS.items():
        if source.startswith(short):
            source = host + source.removeprefix(short).removeprefix("/")
    source = source.removeprefix("git+")
    if source.startswith((*HOSTS.values(),)) and not source.endswith(".git"):
        return f"{source}.git"
    return str(Path(source).expanduser()) if source.startswith("~") else source


class Templates:
    """The templates that the fleet comes from, each cloned when first asked for."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self._found: dict[str, Template | ProjectError] = {}
        self._lock = Lock()

    def of(self, project: Project) -> Template:
        """The template of a project.

        Raises:
            ProjectError: if it cannot be cloned, which is tried once.
        """
        source = str(project.answers["_src_path"])
        with self._lock:
            if source not in self._found:
                place = self._work / f"template-{len(self._found)}"
                place.mkdir()
                try:
                    self._found[source] = Template.clone(source, place)
                except ProjectError as error:
                    self._found[source] = ProjectError(f"its template cannot be cloned: {error}")
            found = self._found[source]
        if isinstance(found, ProjectError):
            raise found
        return found


# ==================================================================================================
# The fleet
# ==================================================================================================
@dataclass(frozen=True)
class Project:
    """A rendered project, in a clone of its repository.

    Attributes:
        repository: the repository as a person named it, without credentials.
        clone: the clone's root.
        folder: the project's folder in it; "." where it is the root.
        answers: what its answers file holds.
    """

    repository: str
    clone: Path
    folder: str
    answers: Mapping[str, Any]

    @property
    def root(self) -> Path:
        """The project's own root."""
        return self.clone / self.folder

    @property
    def version(self) -> Version:
        """The release that it has.

        Raises:
            ProjectError: if its answers do not name one.
        """
        if version := version_of(str(self.answers.get("_commit"))):
            return version
        raise ProjectError(f"its {ANSWERS} names no release of the template: `_commit` is none")


@dataclass(frozen=True)
class Conflict:
    """A file that needs a person."""

    path: str
    reason: str


@dataclass(frozen=True)
class Drift:
    """How a project differs from what its release rendered, beside what an update expects.

    Attributes:
        edited: managed files with changes.
        deleted: managed and shared files that are gone.
        missing: the template's lines that shared files lack.
    """

    edited: list[str] = field(default_factory=list)
    deleted: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)

    def __str__(self) -> str:
        """The counts in words."""
        lines = sum(map(len, self.missing.values()))
        counts = {
            f"{len(self.edited)} edited": self.edited,
            f"{len(self.deleted)} deleted": self.deleted,
            f"{several(lines, 'line')} missing": self.missing,
        }
        return ", ".join(words for words, its in counts.items() if its) or "none"


@dataclass(frozen=True)
class Finding:
    """One project's line of the answer.

    Attributes:
        repository: the repository as a person named it, without credentials.
        folder: the project's folder in it; "." where it is the root.
        state: current, behind, updated, open, conflicts, untrusted, failed, or none where the
            repository holds no project.
        message: what there is to say about it, in a sentence.
        version: the release that it has.
        behind: how many releases are newer.
        drift: none where the template does not say whose each file is.
        updated: the day on which its release or an answer last changed.
        answers: its answers to questions that offer some.
        branch: the branch that holds what is new.
        conflicts: the files that need a person.
    """

    repository: str
    folder: str = "."
    state: str = "current"
    message: str = ""
    version: str | None = None
    behind: int | None = None
    drift: Drift | None = None
    updated: str | None = None
    answers: Mapping[str, Any] = field(default_factory=dict)
    branch: str | None = None
    conflicts: list[Conflict] = field(default_factory=list)

    @property
    def name(self) -> str:
        """The project as a table calls it."""
        return self.repository if self.folder == "." else f"{self.repository}:{self.folder}"

    @property
    def exit_code(self) -> int:
        """What it asks of the caller."""
        return {"failed": 1, "behind": 3, "conflicts": 3, "untrusted": 3}.get(self.state, 0)


def repositories(named: Sequence[str], base: Path) -> list[str]:
    """Every repository that a person named, once: paths are absolute, URLs as they are.

    Args:
        named: paths of repositories, folders of repositories and files of such lines, and URLs.
        base: what relative paths are relative to.

    Raises:
        UserError: if one is not there, or holds no repository.
    """
    return list(dict.fromkeys(one for name in named for one in _repositories(name, base)))


def _repositories(name: str, base: Path) -> Iterator[str]:
    path = base / Path(name).expanduser()
    if REMOTE.match(name):
        yield name
    elif is_repository(path):
        yield str(path.resolve())
    elif path.is_dir():
        inside = [str(it.resolve()) for it in sorted(path.iterdir()) if is_repository(it)]
        if not inside:
            raise UserError(f"{name} is no git repository and holds none: name another folder.")
        yield from inside
    elif path.is_file():
        for line in path.read_text(encoding="utf-8").splitlines():
            if said := line.partition("#")[0].strip():
                yield from _repositories(said, path.parent)
    else:
        raise UserError(f"{public(name)} is not there: name a repository, a folder or a list.")


def is_repository(path: Path) -> bool:
    """Whether a folder is the root of a repository, bare or not."""
    return (path / ".git").exists() or all(
        (path / part).exists() for part in ("HEAD", "objects", "refs")
    )


def projects(repository: str, clone: Path) -> list[Project]:
    """Every project in a clone of a repository.

    Raises:
        ProjectError: if an answers file cannot be read.
    """
    found = []
    for name in git(clone, "ls-files", "-z", f":(glob)**/{ANSWERS}").split("\0")[:-1]:
        try:
            answers = yaml.safe_load((clone / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise ProjectError(f"{name} cannot be read as YAML") from error
        # What other templates rendered is not asked for a package's name.
        if isinstance(answers, dict) and {"_src_path", "package_name"} <= answers.keys():
            found.append(Project(repository, clone, str(Path(name).parent), answers))
    return found


def each(sources: Sequence[str], work: Work, jobs: int) -> list[Finding]:
    """Do something with every repository of the fleet, several at a time, each in a clone.

    Args:
        sources: paths and URLs of repositories.
        work: gets the projects of one repository, and the templates; one that fails is a finding.
        jobs: how many repositories at a time.
    """
    with TemporaryDirectory(prefix="fleet-", ignore_cleanup_errors=True) as folder:
        cloned = partial(in_a_clone, work=work, folder=folder, templates=Templates(Path(folder)))
        with ThreadPoolExecutor(max(1, jobs)) as pool:
            return [finding for findings in pool.map(cloned, sources) for finding in findings]


def in_a_clone(source: str, work: Work, folder: str, templates: Templates) -> list[Finding]:
    """Do something with the projects of a repository, in a clone that goes away with it.

    Args:
        source: a path or URL.
        work: what to do with them.
        folder: where the clone may lie.
        templates: the templates that are cloned already.
    """
    name = public(source)
    try:
        with TemporaryDirectory(dir=folder, ignore_cleanup_errors=True) as place:
            clone = Path(place, "clone")
            alone = ("--config", "core.autocrlf=false", "--config", "core.hooksPath=/dev/null")
            git(Path(place), "clone", "--quiet", *alone, "--", source, clone)
            if found := projects(name, clone):
                return work(found, templates)
            return [Finding(name, state="none", message=f"no {ANSWERS} of this template")]
    except (ProjectError, OSError, ValueError) as error:
        return [Finding(name, state="failed", message=public(str(error)))]


def guarded(project: Project, work: Callable[[], Finding]) -> Finding:
    """What came of a project; a failure is its own, and no other's."""
    try:
        return work()
    except (ProjectError, OSError, ValueError, KeyError) as error:
        return Finding(
            project.repository, project.folder, "failed", public(str(error) or repr(error))
        )


# ==================================================================================================
# status
# ==================================================================================================
def status(found: list[Project], templates: Templates) -> list[Finding]:
    """How each project of a repository stands."""
    return [guarded(project, partial(_status, project, templates)) for project in found]


def _status(project: Project, templates: Templates) -> Finding:
    template = templates.of(project)
    behind = sum(number > project.version for number in template.releases)
    log = git(project.clone, "log", "-1", "--format=%cs", "--", project.root / ANSWERS)
    return Finding(
        project.repository,
        project.folder,
        "behind" if behind else "current",
        version=str(project.version),
        behind=behind,
        drift=drift(project, template),
        updated=log.strip(),
        answers={it: project.answers[it] for it in template.options if it in project.answers},
    )


def drift(project: Project, template: Template) -> Drift | None:
    """How a project differs from what its release rendered, beside what an update expects.

    Returns:
        None where the template's newest release does not say whose each file is.

    Raises:
        ProjectError: if its release cannot be rendered any more.
    """
    if template.owners is None:
        return None
    found = Drift()
    with TemporaryDirectory(dir=project.clone.parent) as folder:
        render = template.render(project.answers, Path(folder))
        for path in sorted(it for it in render.rglob("*") if it.is_file()):
            name = path.relative_to(render).as_posix()
            owner, now = template.owner(name), project.root / name
            if owner == "yours" or name == ANSWERS:
                continue
            if not now.is_file():
                found.deleted.append(name)
            elif owner == "managed" and path.read_bytes() != now.read_bytes():
                found.edited.append(name)
            elif owner == "shared" and (lines := lacking(text_of(now), text_of(path))):
                found.missing[name] = lines
    return found


def counted(text: str) -> Counter[str]:
    """The lines of a text and how often each is there, but for blank ones."""
    return Counter(line for line in text.splitlines() if line.strip())


def lacking(text: str, other: str) -> list[str]:
    """The lines of another text that a text has not, or not as often."""
    return [*(counted(other) - counted(text)).elements()]


def text_of(path: Path) -> str:
    """What a file holds; nothing where there is none."""
    return path.read_text(encoding="utf-8", errors="surrogateescape") if path.is_file() else ""


# ==================================================================================================
# update and set
# ==================================================================================================
@dataclass(frozen=True)
class Change:
    """What the fleet is to get.

    Attributes:
        answers: new answers; without any, it is a release.
        to: the release, the newest if none is named.
        trusted: the releases whose migrations may run.
        push: whether branches are brought into the repositories.
        keep: whether conflicts are committed too, on a branch that says so.
    """

    answers: Mapping[str, str] = field(default_factory=dict)
    to: Version | None = None
    trusted: frozenset[str] = frozenset()
    push: bool = False
    keep: bool = False

    def __call__(self, found: list[Project], templates: Templates) -> list[Finding]:
        """What came of each project of a repository; its branches are pushed together."""
        clone = found[0].clone
        base = git(clone, "rev-parse", "HEAD").strip()
        made = []
        for project in found:
            git(clone, "checkout", "--quiet", "--force", "--detach", base)
            git(clone, "clean", "-ffdq")
            made.append(guarded(project, partial(self.bring, project, templates)))
        branches = dict.fromkeys(it.branch for it in made if it.branch and it.state != "open")
        try:
            if self.push and branches:
                git(clone, "push", "--quiet", "origin", *(str(branch) for branch in branches))
        except ProjectError as error:
            told = f"the branch could not be pushed: {error}"
            return [
                replace(it, state="failed", message=told) if it.branch in branches else it
                for it in made
            ]
        return made

    def bring(self, project: Project, templates: Templates) -> Finding:
        """Bring the change to one project, and commit it on its branch of the clone.

        Raises:
            ProjectError: if Copier or git does.
        """
        template = templates.of(project)
        old = project.version
        new = old if self.answers else self.to or template.newest
        told = Finding(project.repository, project.folder, version=str(old))
        if self.has(project, template, new):
            return replace(told, message="has it already")
        crossed = [] if self.answers else template.migrations(old, new)
        # Copier trusts the release that is taken: its code runs the migrations of all.
        needed = list(dict.fromkeys([*crossed, str(new)])) if crossed else []
        if not self.trusted.issuperset(needed):
            options = " ".join(f"--trust {it}" for it in needed)
            message = RUNS.format(", ".join(crossed), options)
            return replace(told, state="untrusted", message=message)
        branch = self.branch(new)
        aside = f"{branch}-conflicts" + re.sub(r"\W+", "-", f"/{project.folder}").rstrip("-")
        for name in (branch, aside):
            if git(project.clone, "ls-remote", "origin", f"refs/heads/{name}"):
                message = f"the branch {name} is there already: merge or delete it"
                return replace(told, state="open", branch=name, message=message)
        # Another project of the repository may have begun the branch.
        with contextlib.suppress(ProjectError):
            git(project.clone, "checkout", "--quiet", "--detach", branch)
        self.copier(project, template, new, trust=bool(crossed))
        conflicts = needing_people(project, template)
        if conflicts and not self.keep:
            message = f"nothing made: {several(len(conflicts), 'file')} to resolve"
            return replace(told, state="conflicts", message=message, conflicts=conflicts)
        changed = git(project.clone, "diff", "--cached", "--name-only", "-z", "HEAD")
        if not changed:
            return replace(told, message="has it already")
        branch = aside if conflicts else branch
        git(project.clone, "commit", "--quiet", "--no-verify", "-m", self.title(project, new))
        git(project.clone, "branch", "--force", branch, "HEAD")
        done = "opened" if self.push else "would open"
        return replace(
            told,
            state="conflicts" if conflicts else "updated",
            branch=branch,
            message=f"{done} {branch}: {several(changed.count(chr(0)), 'file')}",
            conflicts=conflicts,
        )

    def has(self, project: Project, template: Template, new: Version) -> bool:
        """Whether a project has the change already.

        Raises:
            ProjectError: if an answer is to a question that its release does not ask.
        """
        asked = template.configuration(str(project.answers["_commit"])) if self.answers else {}
        for name in self.answers:
            if name not in asked:
                raise ProjectError(f"its release {new} does not ask `{name}`: update it first")
        if self.answers:
            return all(
                project.answers.get(name) == yaml.safe_load(value)
                for name, value in self.answers.items()
            )
        if new not in template.releases:
            raise ProjectError(f"the template has no release {new}")
        return project.version >= new

    def branch(self, new: Version) -> str:
        """The branch that the change is made on."""
        if not self.answers:
            return f"template/{new}"
        said = "-".join(f"{name}-{value}" for name, value in self.answers.items())
        return "template/" + re.sub(r"[^A-Za-z0-9]+", "-", said).strip("-")[:60]

    def title(self, project: Project, new: Version) -> str:
        """The message of the commit."""
        where = "" if project.folder == "." else f" of {project.folder}"
        if not self.answers:
            return f"Update the template{where} from {project.version} to {new}"
        said = ", ".join(f"{name}={value}" for name, value in self.answers.items())
        return f"Answer the template's questions{where} anew: {said}"

    def copier(self, project: Project, template: Template, new: Version, *, trust: bool) -> None:
        """Let Copier bring the change to the project's files.

        Raises:
            ProjectError: if it fails.
        """
        reference = ":current:" if self.answers else template.releases[new]
        arguments = ["update", "--vcs-ref", reference, *(["--trust"] if trust else [])]
        for name, value in self.answers.items():
            arguments += ["--data", f"{name}={value}"]
        template.copier(*arguments, cwd=project.root)


def needing_people(project: Project, template: Template) -> list[Conflict]:
    """The files that an update left to people, or changed without keeping what was theirs.

    Copier drops an edit without a word where the template deleted or renamed the file, and where
    the file is not text. So every line that people had added must still be there.

    Raises:
        ProjectError: if the old release cannot be rendered any more.
    """
    clone = project.clone
    listed = git(clone, "ls-files", "-z", "--unmerged").split("\0")[:-1]
    unmerged = {entry.partition("\t")[2] for entry in listed}
    found = [Conflict(name, marked(clone / name)) for name in sorted(unmerged)]
    git(clone, "add", "--all")
    changes = git(clone, "diff", "--cached", "--name-status", "--no-renames", "-z", "HEAD")
    parts = changes.split("\0")[:-1]
    changed = [*zip(parts[1::2], parts[::2], strict=True)]
    new = [counted(text_of(clone / name)) for name, kind in changed if kind == "A"]
    with TemporaryDirectory(dir=clone.parent) as folder:
        render = template.render(project.answers, Path(folder))
        for name, kind in changed:
            if kind == "A" or name in unmerged or Path(name).name == ANSWERS:
                continue
            rendered = render / Path(name).relative_to(project.folder)
            theirs = counted(git(clone, "show", f"HEAD:{name}")) - counted(text_of(rendered))
            # A migration carries what people wrote in a file over to its new place.
            now = new if kind == "D" else [counted(text_of(clone / name))]
            if theirs and not any(theirs <= lines for lines in now):
                found.append(Conflict(name, TAKEN if kind == "D" else LOST))
    return found


def marked(path: Path) -> str:
    """Where in a file both sides changed the same lines."""
    content = path.read_bytes() if path.is_file() else b""
    places = [content.count(b"\n", 0, it.start()) + 1 for it in MARKER.finditer(content)]
    if not places:
        return "one side deleted it, and the other changed it"
    lines = "line" if len(places) == 1 else "lines"
    return f"both changed {lines} {', '.join(map(str, places))}"


# ==================================================================================================
# What a person types and sees
# ==================================================================================================
def main() -> None:
    """Do what was asked for; `--help` tells."""
    options = parser().parse_args()
    try:
        sys.exit(options.verb(options))
    except UserError as error:
        print(f"fleet: {error}", file=sys.stderr)
        sys.exit(2)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="fleet.py", description=__doc__.partition("\n")[0])
    verbs = top.add_subparsers(required=True, metavar="VERB")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--json", action="store_true", help="the answer for a program")
    common.add_argument("--jobs", type=int, default=os.cpu_count(), help="repositories at a time")
    making = argparse.ArgumentParser(add_help=False)
    making.add_argument("--push", action="store_true", help="bring branches to the repositories")
    making.add_argument(
        "--keep-conflicts", action="store_true", help="commit them too, on a branch that says so"
    )

    verb = verbs.add_parser("status", parents=[common], help="how each project stands")
    verb.add_argument("named", nargs="+", metavar="REPOSITORY", help=PLACES)
    verb.set_defaults(verb=_say_status)

    verb = verbs.add_parser("update", parents=[common, making], help="bring a release to all")
    verb.add_argument("named", nargs="+", metavar="REPOSITORY", help=PLACES)
    verb.add_argument("--to", metavar="VERSION", help="the release, if not the newest")
    verb.add_argument(
        "--trust", metavar="VERSION", action="append", default=[], help="may run its migration"
    )
    verb.set_defaults(verb=_say_update)

    verb = verbs.add_parser("set", parents=[common, making], help="give an answer to all")
    verb.add_argument("named", nargs="+", metavar="NAME=VALUE|REPOSITORY", help=PLACES)
    verb.set_defaults(verb=_say_set)
    return top


def _say_status(options: argparse.Namespace) -> int:
    return report(each(repositories(options.named, Path.cwd()), status, options.jobs), options)


def _say_update(options: argparse.Namespace) -> int:
    trusted = frozenset(str(_named_version(name)) for name in options.trust)
    to = _named_version(options.to) if options.to else None
    change = Change({}, to, trusted, options.push, options.keep_conflicts)
    return report(each(repositories(options.named, Path.cwd()), change, options.jobs), options)


def _say_set(options: argparse.Namespace) -> int:
    answers, named = {}, []
    for word in options.named:
        name, equals, value = word.partition("=")
        if equals and name.isidentifier():
            answers[name] = value
        else:
            named.append(word)
    for name in FIXED:
        if name in answers:
            raise UserError(f"`{name}` is fixed once a project is generated: leave it out.")
    if not answers or not named:
        raise UserError("Give at least one NAME=VALUE and one repository.")
    if bad := next((name for name in answers if name.startswith("_")), None):
        raise UserError(f"`{bad}` is Copier's own: answers have names without a leading _.")
    change = Change(answers, push=options.push, keep=options.keep_conflicts)
    return report(each(repositories(named, Path.cwd()), change, options.jobs), options)


def _named_version(name: str) -> Version:
    if version := version_of(name):
        return version
    raise UserError(f"{name} is no version: write it like 1.2.0.")


def report(found: list[Finding], options: argparse.Namespace) -> int:
    """Print what came of the fleet, and give the exit code."""
    if options.json:
        print(json.dumps([asdict(it) for it in found], indent=2, ensure_ascii=False))
    else:
        shared = Path(os.path.commonpath(paths)) if (paths := local(found)) else None
        print("\n".join(table(found, shared)))
    codes = {finding.exit_code for finding in found}
    return 1 if 1 in codes else max(codes, default=0)


def local(found: Sequence[Finding]) -> list[Path]:
    """The folders in which the fleet's local repositories lie."""
    return [Path(it.repository).parent for it in found if not REMOTE.match(it.repository)]


def table(found: Sequence[Finding], shared: Path | None) -> Iterator[str]:
    """The lines of a table with the columns that say something, and what each project needs.

    Args:
        found: what came of each project.
        shared: the folder that local repositories share, which is left out of their names.
    """
    lines = [_cells(finding, shared) for finding in found]
    heads = [name for name in lines[0] if any(line[name] for line in lines)] if lines else []
    rows = [dict(zip(heads, heads, strict=True)), *lines]
    width = {name: max(len(row[name]) for row in rows) for name in heads}
    for row, finding in zip(rows, [None, *found], strict=True):
        yield "  ".join(row[name].ljust(width[name]) for name in heads).rstrip()
        for conflict in finding.conflicts if finding else ():
            yield f"    {conflict.path}: {conflict.reason}"


def _cells(finding: Finding, shared: Path | None) -> dict[str, str]:
    name = finding.name
    if shared:
        name = name.removeprefix(f"{shared}{os.sep}")
    return {
        "project": name,
        "state": finding.state,
        "version": finding.version or "",
        "behind": "" if finding.behind is None else str(finding.behind),
        "drift": "" if finding.drift is None else str(finding.drift),
        "updated": finding.updated or "",
        "answers": " ".join(f"{key}={_said(its)}" for key, its in finding.answers.items()),
        "message": finding.message,
    }


def _said(answer: object) -> str:
    return {True: "yes", False: "no"}[answer] if isinstance(answer, bool) else str(answer)


if __name__ == "__main__":
    main()
