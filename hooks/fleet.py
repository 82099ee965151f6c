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
import textwrap
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Lock
from typing import TYPE_CHECKING, Any

import yaml
from commands import CommandError, UserError, copier, ends, git, paths, public, unmerged
from releases import number
from source import ANSWERS, Owners, choices, configuration, files

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from packaging.version import Version

    # Gets all projects of one repository; one that fails is a finding like the others.
    Work = Callable[[list["Project"], "Templates"], list["Finding"]]

PLACES = "path, folder of repositories, file with one of them on each line, or URL"
FIXED = ("package_name", "sample")  # renaming a package or its data is not an update
HOSTS = {"gh:": "https://github.com/", "gl:": "https://gitlab.com/"}
REMOTE = re.compile(r"\w+://|[\w.-]+@[\w.-]+:")
MARKER = re.compile(rb"^<{7} ", re.MULTILINE)
WIDTH = 100

TAKEN = "the template takes the file away, and the project had changed it"
LOST = "lines that the project had changed would be lost"
DETACHED = "its HEAD is detached, on no branch"
RUNS = "it crosses the migration of {}, which runs code: read that, then allow it with {}"


def several(count: int, what: str) -> str:
    """A count with its noun."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


# ==================================================================================================
# The template
# ==================================================================================================
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
            CommandError: if it cannot be found from everywhere.
            CommandError: if there is none.
        """
        if source.startswith((".", "-")):
            raise CommandError(
                f"{source} is no address that everybody reaches: write one into `_src_path` of its "
                f"{ANSWERS}"
            )
        mirror = work / "mirror.git"
        git(work, "clone", "--quiet", "--mirror", "--", expanded(source), mirror)
        return cls(source, mirror, work)

    @cached_property
    def releases(self) -> dict[Version, str]:
        """The tag of every release that Copier would take, the oldest first."""
        numbered = {}
        for tag in git(self.mirror, "tag", "--list").split():
            with contextlib.suppress(UserError):
                numbered[number(tag)] = tag
        return {it: numbered[it] for it in sorted(numbered) if not it.is_prerelease}

    @property
    def newest(self) -> Version:
        """The newest release.

        Raises:
            CommandError: if there is none.
        """
        if not self.releases:
            raise CommandError("the template has no release: no tag is a version")
        return [*self.releases][-1]

    def configuration(self, reference: str) -> dict[str, Any]:
        """What copier.yml says in a release, without the files that it includes."""
        return configuration(git(self.mirror, "show", f"{reference}:copier.yml"))

    @cached_property
    def options(self) -> list[str]:
        """The questions of the newest release whose answers can be counted."""
        asked = self.configuration(self.releases[self.newest])
        return [name for name, its in asked.items() if not name.startswith("_") and choices(its)]

    @cached_property
    def owners(self) -> Owners | None:
        """Whose files are, as the newest release says; none if it does not say."""
        try:
            return Owners(git(self.mirror, "show", f"{self.releases[self.newest]}:ownership.yml"))
        except CommandError:
            return None

    def migrations(self, old: Version, new: Version) -> list[str]:
        """The releases between two, besides the older, whose migrations run code in a project."""
        found = self.configuration(self.releases[new]).get("_migrations") or []
        named = [it.get("version") if isinstance(it, dict) else None for it in found]
        crossed = {number(name) for name in named if name and old < number(name) <= new}
        return [*map(str, sorted(crossed)), *(["any"] if None in named else [])]

    def copier(self, *arguments: str | Path, cwd: Path) -> None:
        """Run Copier on the clone, instead of asking the network for each project."""
        environment = {
            "COPIER_CACHE_DIR": str(self.work / "cache"),
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": f"url.{self.mirror}.insteadOf",
            "GIT_CONFIG_VALUE_0": expanded(self.source),
        }
        copier(*arguments, cwd=cwd, env=environment)

    def render(self, answers: Mapping[str, Any], folder: Path) -> Path:
        """What the release that a project has rendered, with its answers, before anybody wrote."""
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
        self._found: dict[str, Template | CommandError] = {}
        self._lock = Lock()

    def of(self, project: Project) -> Template:
        """The template of a project."""
        source = str(project.answers["_src_path"])
        with self._lock:
            if source not in self._found:
                place = self._work / f"template-{len(self._found)}"
                place.mkdir()
                try:
                    self._found[source] = Template.clone(source, place)
                except CommandError as error:
                    self._found[source] = CommandError(f"its template cannot be cloned: {error}")
            found = self._found[source]
        if isinstance(found, CommandError):
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
            CommandError: if its answers do not name one.
        """
        commit = self.answers.get("_commit")
        try:
            return number(str(commit))
        except UserError:
            raise CommandError(
                f"`_commit` is {commit}, which is no release of its template"
            ) from None


@dataclass(frozen=True)
class Conflict:
    """A file that needs a person."""

    path: str
    reason: str


@dataclass(frozen=True)
class Finding:
    """One project's line of the answer.

    Attributes:
        repository: the repository as a person named it, without credentials.
        folder: the project's folder in it; "." where it is the root.
        state: current, behind, updated, would update, open, conflicts, untrusted, failed, or none
            where the repository holds no project.
        message: what there is to say about it, in a sentence.
        version: the release that it has.
        behind: how many releases are newer.
        drift: how it differs from what its release rendered; none where the template does not say
            whose each file is.
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
    drift: Mapping[str, Any] | None = None
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

    def details(self) -> Iterator[str]:
        """What a table has no room for."""
        if self.message:
            yield self.message
        if self.drift and any(self.drift.values()):
            lines = sum(map(len, self.drift["missing"].values()))
            edited, deleted = (len(self.drift[kind]) for kind in ("edited", "deleted"))
            counts = f"{edited} edited, {deleted} deleted, {several(lines, 'line')} missing"
            yield f"drift: {counts}"
        if self.answers:
            yield "answers: " + ", ".join(f"{name} {its}" for name, its in self.answers.items())
        for conflict in self.conflicts:
            yield f"{conflict.path}: {conflict.reason}"


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
        CommandError: if an answers file cannot be read.
    """
    found = []
    for name in paths(clone, "ls-files", f":(glob)**/{ANSWERS}"):
        try:
            answers = yaml.safe_load((clone / name).read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
            raise CommandError(f"{name} cannot be read as YAML") from error
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
            if not (found := projects(name, clone)):
                return [Finding(name, state="none", message=f"no {ANSWERS} of this template")]
            # A clone is on a branch even so, if one is at the same commit.
            branch = git(clone, "ls-remote", "--symref", "origin", "HEAD").startswith("ref:")
            done = work(found, templates)
    except (UserError, OSError, ValueError) as error:
        return [Finding(name, state="failed", message=public(str(error)))]
    if branch:
        return done
    return [replace(it, message=f"{it.message}; {DETACHED}".removeprefix("; ")) for it in done]


def guarded(project: Project, work: Callable[[], Finding]) -> Finding:
    """What came of a project; a failure is its own, and no other's."""
    try:
        return work()
    except (UserError, OSError, ValueError, KeyError) as error:
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


def drift(project: Project, template: Template) -> dict[str, Any] | None:
    """How a project differs from what its release rendered, beside what an update expects.

    Returns:
        Managed files that were edited, files of the template that were deleted, and the template's
        lines that shared files are missing.
    """
    if template.owners is None:
        return None
    edited, deleted, missing = [], [], {}
    with TemporaryDirectory(dir=project.clone.parent) as folder:
        render = template.render(project.answers, Path(folder))
        for name, path in files(render).items():
            owner, now = template.owners.of(name), project.root / name
            if owner == "yours" or name == ANSWERS:
                continue
            if not now.is_file():
                deleted.append(name)
            elif owner == "managed" and path.read_bytes() != now.read_bytes():
                edited.append(name)
            elif owner == "shared" and (lines := lacking(text_of(now), text_of(path))):
                missing[name] = lines
    return {"edited": edited, "deleted": deleted, "missing": missing}


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
        except CommandError as error:
            told = f"the branch could not be pushed: {error}"
            return [
                replace(it, state="failed", message=told) if it.branch in branches else it
                for it in made
            ]
        return made

    def bring(self, project: Project, templates: Templates) -> Finding:
        """Bring the change to one project, and commit it on its branch of the clone."""
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
        with contextlib.suppress(CommandError):
            git(project.clone, "checkout", "--quiet", "--detach", branch)
        self.copier(project, template, new, trust=bool(crossed))
        conflicts = needing_people(project, template)
        if conflicts and not self.keep:
            message = f"nothing made: {several(len(conflicts), 'file')} to resolve"
            return replace(told, state="conflicts", message=message, conflicts=conflicts)
        changed = paths(project.clone, "diff", "--cached", "--name-only", "HEAD")
        if not changed:
            return replace(told, message="has it already")
        branch = aside if conflicts else branch
        git(project.clone, "commit", "--quiet", "--no-verify", "-m", self.title(project, new))
        git(project.clone, "branch", "--force", branch, "HEAD")
        state, done = ("updated", "made") if self.push else ("would update", "would make")
        return replace(
            told,
            state="conflicts" if conflicts else state,
            branch=branch,
            message=f"{done} the branch {branch}: {several(len(changed), 'file')}",
            conflicts=conflicts,
        )

    def has(self, project: Project, template: Template, new: Version) -> bool:
        """Whether a project has the change already.

        Raises:
            CommandError: if an answer is to a question that its release does not ask.
        """
        asked = template.configuration(str(project.answers["_commit"])) if self.answers else {}
        for name in self.answers:
            if name not in asked:
                raise CommandError(f"its release {new} does not ask `{name}`: update it first")
        if self.answers:
            return all(
                project.answers.get(name) == yaml.safe_load(value)
                for name, value in self.answers.items()
            )
        if new not in template.releases:
            raise CommandError(f"the template has no release {new}")
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
        """Let Copier bring the change to the project's files."""
        reference = ":current:" if self.answers else template.releases[new]
        arguments = ["update", "--vcs-ref", reference, *(["--trust"] if trust else [])]
        for name, value in self.answers.items():
            arguments += ["--data", f"{name}={value}"]
        template.copier(*arguments, cwd=project.root)


def needing_people(project: Project, template: Template) -> list[Conflict]:
    """The files that an update left to people, or changed without keeping what was theirs.

    Copier drops an edit without a word where the template deleted or renamed the file, and where
    the file is not text. So every line that people had added must still be there.
    """
    clone = project.clone
    conflicting = unmerged(clone)
    found = [Conflict(name, marked(clone / name)) for name in conflicting]
    git(clone, "add", "--all")
    parts = paths(clone, "diff", "--cached", "--name-status", "--no-renames", "HEAD")
    changed = [*zip(parts[1::2], parts[::2], strict=True)]
    new = [counted(text_of(clone / name)) for name, kind in changed if kind == "A"]
    with TemporaryDirectory(dir=clone.parent) as folder:
        render = template.render(project.answers, Path(folder))
        for name, kind in changed:
            if kind == "A" or name in conflicting or Path(name).name == ANSWERS:
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
    ends("fleet", lambda: answer(options))


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
    verb.set_defaults(work=lambda _: status)

    verb = verbs.add_parser("update", parents=[common, making], help="bring a release to all")
    verb.add_argument("named", nargs="+", metavar="REPOSITORY", help=PLACES)
    verb.add_argument("--to", metavar="VERSION", help="the release, if not the newest")
    verb.add_argument(
        "--trust", metavar="VERSION", action="append", default=[], help="may run its migration"
    )
    verb.set_defaults(work=_release)

    verb = verbs.add_parser("set", parents=[common, making], help="give an answer to all")
    verb.add_argument("named", nargs="+", metavar="NAME=VALUE|REPOSITORY", help=PLACES)
    verb.set_defaults(work=_answers)
    return top


def _release(options: argparse.Namespace) -> Change:
    trusted = frozenset(str(number(name)) for name in options.trust)
    to = number(options.to) if options.to else None
    return Change({}, to, trusted, options.push, options.keep_conflicts)


def _answers(options: argparse.Namespace) -> Change:
    """The change; what is no answer among the words is left as the fleet."""
    said = [word.partition("=") for word in options.named]
    answers = {name: value for name, equals, value in said if equals and name.isidentifier()}
    options.named = [word for word in options.named if word.partition("=")[0] not in answers]
    for name in answers:
        if name in FIXED:
            raise UserError(f"`{name}` is fixed once a project is generated: leave it out.")
        if name.startswith("_"):
            raise UserError(f"`{name}` is Copier's own: answers have names without a leading _.")
    if not answers or not options.named:
        raise UserError("Give at least one NAME=VALUE and one repository.")
    return Change(answers, push=options.push, keep=options.keep_conflicts)


def answer(options: argparse.Namespace) -> int:
    """Do what was asked for, print what came of the fleet, and give the exit code."""
    work: Work = options.work(options)
    found = each(repositories(options.named, Path.cwd()), work, options.jobs)
    if options.json:
        print(json.dumps([asdict(it) for it in found], indent=2, ensure_ascii=False))
    else:
        print("\n".join(table(found)))
    codes = {finding.exit_code for finding in found}
    return 1 if 1 in codes else max(codes, default=0)


def table(found: Sequence[Finding]) -> Iterator[str]:
    """The lines of a table with the columns that say something; below each row, its details.

    What all local repositories share is left out of their names.
    """
    local = [Path(it.repository).parent for it in found if not REMOTE.match(it.repository)]
    shared = f"{os.path.commonpath(local)}{os.sep}" if local else ""
    lines = [
        {
            "project": finding.name.removeprefix(shared),
            "state": finding.state,
            "version": finding.version or "",
            "behind": "" if finding.behind is None else str(finding.behind),
            "updated": finding.updated or "",
        }
        for finding in found
    ]
    heads = [name for name in lines[0] if any(line[name] for line in lines)] if lines else []
    width = {name: max(len(row[name]) for row in [{name: name}, *lines]) for name in heads}
    yield "  ".join(name.ljust(width[name]) for name in heads).rstrip()
    for row, finding in zip(lines, found, strict=True):
        yield "  ".join(row[name].ljust(width[name]) for name in heads).rstrip()
        for detail in finding.details():
            yield from textwrap.wrap(
                detail, WIDTH, initial_indent="    ", subsequent_indent="      "
            )


if __name__ == "__main__":
    main()
