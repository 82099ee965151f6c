# /// script
# requires-python = ">=3.11"
# dependencies = ["copier>=9.19,<10", "packaging", "pathspec", "pyyaml"]
# ///
"""Bring a git repository that was never rendered under the template, with its files and history.

Without `--apply` it only tells: what the repository is, which answers follow from it, where each of
its files belongs, what collides. With it, a branch gets a render in one commit beside what is
there; from then on `make template-update` brings releases.

Exit codes: 0 done; 2 a mistake of yours, in one sentence; 3 the branch waits for you to resolve the
conflicts that were told.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
import tomllib
from configparser import ConfigParser
from configparser import Error as ConfigError
from dataclasses import dataclass
from email.utils import parseaddr
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import yaml
from commands import CommandError, UserError, copier, ends, git, paths, unmerged
from pathspec import GitIgnoreSpec
from source import ANSWERS, files

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

TEMPLATE = "gh:copier-mlops/copier-mlops"
BRANCH = "adopt-template"
IGNORED = ".gitignore"
# Prose and terms: what the people wrote is right, and no command reads it.
KEPT = re.compile(r"README\.md|LICENSE|notebooks/.*")

LICENSES = {
    "Apache-2.0": "apache license",
    "MIT": "permission is hereby granted, free of charge",
    "BSD-3-Clause": "neither the name of",
}
PYTHONS = ("3.11", "3.12", "3.13")
NO_PACKAGE = {"tests", "test", "docs", "scripts", "notebooks", "src"}
NAME = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
ADDRESS = re.compile(r"[A-Za-z0-9._%+-]+@([A-Za-z0-9-]+\.)+[A-Za-z]{2,}")
HOLDER = re.compile(
    r"copyright\s+(?:\(c\)|©|(?=\d))[\d,\s-]*(?:by\s+)?([^\d\s<>\[][^<>\n]*)", re.IGNORECASE
)
SETUP = re.compile(r"(\w+)\s*=\s*(?:\"([^\"\n]*)\"|'([^'\n]*)')")
REFUSED = re.compile(r"Validation error for question '(\w+)': (.+)")
TERMS = re.compile(r"\A(licen[cs]e|copying)(\.\w+)?\Z")
PROJECTS = r"(.+/)(pyproject\.toml|setup\.py|package\.json|go\.mod)\Z"
DATA = re.compile(r"\.(csv|tsv|parquet|jsonl|xlsx?|ods)(\.(gz|bz2|xz|zip))?\Z", re.IGNORECASE)
SHOWN = 5  # paths of a kind that are named one by one


# ==================================================================================================
# The repository
# ==================================================================================================
@dataclass(frozen=True)
class Repository:
    """A repository with a clean work tree, and the paths that git tracks in it."""

    root: Path
    paths: tuple[str, ...]

    @classmethod
    def at(cls, root: Path) -> Repository:
        """Look at a repository.

        Raises:
            UserError: if it is none, was rendered before, or holds what is not committed.
        """
        root = root.resolve()
        try:
            top = Path(git(root, "rev-parse", "--show-toplevel").strip())
        except (OSError, CommandError):
            raise UserError(f"{root} is no git repository: run `git init` and commit.") from None
        if top.resolve() != root:
            raise UserError(f"{root} lies inside a repository: name its root, {top}.")
        if git(root, "rev-parse", "--show-object-format").strip() != "sha1":
            raise UserError(f"{root} names its objects by SHA-256, which Copier's updates cannot.")
        if (root / ANSWERS).exists():
            raise UserError(f"{root} was rendered already: run `make template-update` there.")
        if git(root, "status", "--porcelain"):
            raise UserError(f"{root} holds changes that are not committed: commit or stash them.")
        tracked = tuple(paths(root, "ls-files"))
        if not tracked:
            raise UserError(f"{root} holds no committed file: render a new project instead.")
        if git(root, "branch", "--list", BRANCH):
            raise UserError(f"{root} has a branch {BRANCH} already: merge or delete it.")
        return cls(root, tracked)

    def has(self, pattern: str) -> list[str]:
        """The tracked paths that a regular expression matches from their beginning."""
        return [path for path in self.paths if re.match(pattern, path)]

    def text(self, name: str) -> str:
        """What a file holds; nothing where there is none."""
        path = self.root / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else ""

    def terms(self) -> str:
        """What the files of its licence hold; there may be one for each of several."""
        own = self.has(r"(?i)(licen[cs]e|copying)\b(?!.*(third|3rd))[^/]*\Z")
        return "\n".join(map(self.text, own))

    def kinds(self) -> list[str]:
        """What the repository is, as far as its shape tells."""
        shapes = {
            "cookiecutter-data-science": self.has(r"data/(raw|interim|processed|external)/")
            and self.has(r"(models|reports|references|notebooks)/"),
            "a DVC pipeline": self.has(r"dvc\.yaml\Z"),
            "MLflow": self.has("mlruns/") or self.mlflow(),
            "notebooks": self.has(r".*\.ipynb\Z"),
            "scripts": self.has(r"[^/]+\.py\Z"),
        }
        return [name for name, found in shapes.items() if found]

    def mlflow(self) -> list[str]:
        """The files that import MLflow."""
        asked = ("-lE", "(import|from) mlflow", "--", "*.py", "*.ipynb")
        return git(self.root, "grep", *asked, codes=(0, 1)).splitlines()  # 1: there is none

    def data(self) -> list[str]:
        """Files here that the contract could be written from: raw ones first, then the largest."""
        there = {it.relative_to(self.root).as_posix() for it in (self.root / "data").rglob("*")}
        found = {it: self.root / it for it in {*self.paths, *there} if DATA.search(it)}
        sizes = {name: it.stat().st_size for name, it in found.items() if it.is_file()}
        return sorted(sizes, key=lambda name: ("raw" not in name, -sizes[name], name))


# ==================================================================================================
# What follows from it
# ==================================================================================================
def derived(repository: Repository) -> dict[str, tuple[str, str]]:
    """Answers that follow from a repository, each with where it is seen."""
    about = project_table(repository)
    found = {
        "project_name": _project_name(repository, about),
        "package_name": _package(repository),
        "user_name": _holder(repository, about),
        "user_email": _address(repository, about),
        "license": _license(repository, about),
        "python_version": _python(repository, about),
        "ci": _ci(repository),
        "sample": ("none", "the data is yours"),
    }
    return {name: its for name, its in found.items() if its}


def project_table(repository: Repository) -> Mapping[str, Any]:
    """What pyproject.toml says of the project, in the standard's names or in Poetry's.

    Where it says nothing, what setup.cfg and setup.py say; `place` is which of them.
    """
    try:
        every = tomllib.loads(repository.text("pyproject.toml"))
    except tomllib.TOMLDecodeError:
        every = {}
    poetry = every.get("tool", {}).get("poetry", {})
    if not poetry and "project" not in every:
        return setup_table(repository)
    python = poetry.get("dependencies", {}).get("python", "")
    about = {"requires-python": python, **poetry, **every.get("project", {})}
    return {**about, "place": "pyproject.toml"}


def setup_table(repository: Repository) -> Mapping[str, Any]:
    """What setup.cfg says in plain words, else setup.py, in the standard's names."""
    parser = ConfigParser(interpolation=None, strict=False)
    try:
        parser.read_string(repository.text("setup.cfg"))
    except ConfigError:
        parser.clear()
    told = {
        name: it
        for section in ("options", "metadata")
        if section in parser
        for name, it in parser[section].items()
    }
    place = "setup.cfg" if told.get("name") else "setup.py"
    for name, *values in SETUP.findall(repository.text("setup.py")):
        told.setdefault(name, "".join(values))
    author = {"name": told.get("author", ""), "email": told.get("author_email", "")}
    return {
        "name": None if told.get("name") in NO_PACKAGE else told.get("name"),
        "authors": [author],
        "license": told.get("license", ""),
        "requires-python": told.get("python_requires", ""),
        "place": place,
    }


def _author(about: Mapping[str, Any]) -> Mapping[str, str]:
    """The first author with a name and an address, as far as they are told."""
    (first, *_) = about.get("authors") or [{}]
    if isinstance(first, str):  # Poetry's "Ada Lovelace <ada@example.org>"
        first = dict(zip(("name", "email"), parseaddr(first), strict=True))
    return {name: value for name, value in first.items() if value}


def _project_name(repository: Repository, about: Mapping[str, Any]) -> tuple[str, str]:
    if name := about.get("name"):
        return str(name), about["place"]
    return re.sub(r"[-_]+", " ", repository.root.name).strip().capitalize(), "the folder"


def _package(repository: Repository) -> tuple[str, str] | None:
    """The package with the most files, in src/ or at the root."""
    packages = [
        str(PurePosixPath(it).parent) for it in repository.has(r"(src/)?\w+/__init__\.py\Z")
    ]
    own = [it for it in packages if it.rpartition("/")[2] not in NO_PACKAGE]
    fitting = [it for it in own if NAME.fullmatch(it.rpartition("/")[2])]
    if not fitting:
        return None
    most = max(fitting, key=lambda it: len(repository.has(re.escape(f"{it}/"))))
    return most.rpartition("/")[2], f"the package {most}/"


def _holder(repository: Repository, about: Mapping[str, Any]) -> tuple[str, str] | None:
    if found := HOLDER.search(repository.terms()):
        return re.sub(r"(?i)\W*all rights reserved.*", "", found[1]).strip(" ."), "the licence"
    if name := _author(about).get("name"):
        return name, about["place"]
    author = git(repository.root, "log", "-1", "--format=%an").strip()
    return (author, "the last commit") if author else None


def _address(repository: Repository, about: Mapping[str, Any]) -> tuple[str, str] | None:
    if ADDRESS.fullmatch(stated := _author(about).get("email", "")):
        return stated, about["place"]
    address = git(repository.root, "log", "-1", "--format=%ae").strip()
    known = ADDRESS.fullmatch(address) and "noreply" not in address
    return (address, "the last commit") if known else None


def _license(repository: Repository, about: Mapping[str, Any]) -> tuple[str, str]:
    text = repository.terms().lower()
    for name, words in LICENSES.items():
        if words in " ".join(text.split()):
            return name, "the licence"
    stated = about.get("license", "")
    stated = stated.get("text", "") if isinstance(stated, dict) else stated
    if not text and stated in LICENSES:
        return stated, about["place"]
    return "Proprietary", "no licence that the template knows" if text else "there is no licence"


def _python(repository: Repository, about: Mapping[str, Any]) -> tuple[str, str] | None:
    places = {
        ".python-version": repository.text(".python-version"),
        about["place"]: str(about.get("requires-python", "")),
        "environment.yml": "".join(
            re.findall(r"python\s*[=>~]+\s*[\d.]+", repository.text("environment.yml"))
        ),
        "runtime.txt": repository.text("runtime.txt"),
    }
    for place, text in places.items():
        if stated := re.search(r"3\.(\d+)", re.sub(r"(<=?|!=)\s*[\d.*]+", "", text)):
            newer = [it for it in PYTHONS if int(it[2:]) >= int(stated[1])]
            below = re.search(r"<\s*3\.(\d|10|11)\b", text)
            side = "below" if below else "" if newer else "above"
            missed = f", which is {side} what the template has" if side else ""
            return (newer or PYTHONS[-1:])[0], f"{place} says {stated[0]}{missed}"
    return None


def _ci(repository: Repository) -> tuple[str, str]:
    if repository.has(r"\.gitlab-ci\.yml\Z"):
        return "gitlab", ".gitlab-ci.yml"
    if repository.has(r"\.github/"):
        return "github", ".github/"
    remotes = git(repository.root, "remote", "--verbose")
    return ("gitlab" if "gitlab" in remotes else "github"), "the remote" if remotes else "no remote"


# What people keep somewhere, and where it belongs here: a pattern of its paths, and the sentence,
# with {ml} for the folder that holds the four files of yours. The first that matches counts; what
# none matches stays where it is.
PLACES = {
    r"data/(interim|processed)/": "stays; `make train` makes its own steps from the raw data",
    r"data/external/": "stays; read it in {ml}/source.py if rows come from it",
    rf"(?i).*{DATA.pattern[:-2]}(\.dvc)?\Z": "`ops data use` reads it and writes {ml}/schema.py",
    r"data/": "stays",
    r"notebooks/": "stays: notebooks/ is yours",
    r".*\.ipynb\Z": "notebooks/, which is yours",
    r"models/": "stays; `make train` writes beside it, and git ignores what is new there",
    r"mlruns/|mlflow\.db": "stays; new runs go to mlflow.db, or where MLFLOW_TRACKING_URI says",
    r"reports/|references/|docs/": "stays",
    r"tests?/": "tests/, which pytest collects: the functions in {ml} are tested in tests/ml/",
    r"(requirements[\w-]*\.\w+|environment\.ya?ml|setup\.(py|cfg)|(Pipfile|poetry|pdm)\b.*)\Z": (
        "pyproject.toml, by `uv add`: the lock is made from there"
    ),
    r".*(feature|transform|preprocess)\w*\.py\Z": "{ml}/features.py: what the model sees",
    r".*(predict|inference|score|serve|app|api)\w*\.py\Z": "`ops score` and `ops serve` do it",
    r".*(train|model)\w*\.py\Z": "{ml}/model.py: the models, as one scikit-learn pipeline",
    r".*(dataset|load|source|ingest|data)\w*\.py\Z": "{ml}/source.py: where rows come from",
    r".*(evaluat|metric|plot|visuali[sz])\w*\.py\Z": "stays; reports/ gets scores and plots",
    r"[^/]+\.py\Z": "stays; what others import of it belongs in the package beside {ml}",
}
# What to do with a file that both sides have.
COLLISIONS = {
    "Makefile": "both menus in one: your targets below the line `# project-specific`",
    "pyproject.toml": "your dependencies and settings below the lines `# project-specific`",
    "dvc.yaml": "your stages beside the template's, under names and with outputs of their own",
    "params.yaml": "your keys beside the template's, which `dvc.yaml` reads",
    ".dvc/config": "your remote, with the template's settings",
}


# ==================================================================================================
# The merge
# ==================================================================================================
def rendered(source: str, reference: str | None, answers: Mapping[str, str], root: Path) -> Path:
    """A fresh render in a new folder, which knows nothing of the repository."""
    given = [part for name, value in answers.items() for part in ("-d", f"{name}={value}")]
    at_release = ["--vcs-ref", reference] if reference else []
    copier("copy", *at_release, *given, source, root, cwd=root.parent)
    return root


def fitting(
    source: str, reference: str | None, answers: dict[str, tuple[str, str]], root: Path
) -> tuple[Path, list[str]]:
    """A render, and what there is to say of guesses that the template refused.

    Raises:
        CommandError: if it refuses an answer that somebody gave.
    """
    refused: list[str] = []
    while True:
        given = {name: value for name, (value, _) in answers.items()}
        try:
            return rendered(source, reference, given, root), refused
        except CommandError as error:
            found = REFUSED.search(str(error))
            value, where = answers.pop(found[1], ("", "you")) if found else ("", "you")
            if not found or where == "you":
                raise
            refused.append(f"\nNot taken: {found[1]}={value}, from {where}. {found[2]}")


def own_code(repository: Repository, names: Iterable[str]) -> list[str]:
    """The people's code: the outermost folders and files that hold nothing of the template."""
    taken = {str(it) for name in names for it in (name, *PurePosixPath(name).parents)}
    inner = [it for it in repository.paths if (repository.root / it).is_dir()]  # of a submodule
    found = set()
    for path in (*repository.has(r".*\.(py|ipynb)\Z"), *inner):
        around = [*map(str, reversed(PurePosixPath(path).parents)), path]
        found |= {*[it for it in around if it not in taken][:1]}
    return sorted(found)


def left_alone(render: Path, code: list[str]) -> None:
    """Let ruff and mypy look at a project without code that was not written for them."""
    path = render / "pyproject.toml"
    text = path.read_text(encoding="utf-8")
    for line, name, what in (
        ("line-length = 100\n", "extend-exclude", code),
        ('files = ["src", "tests"]\n', "exclude", [f"^{re.escape(it)}" for it in code]),
    ):
        told = f"{name} = {json.dumps(what)} # until you take it in\n"
        text = text.replace(line, line + told if code else line, 1)
    path.write_text(text, encoding="utf-8")


def committed(render: Path) -> None:
    """Make a render a repository of one commit, by nobody in particular."""
    git(render, "init", "--quiet")
    git(render, "add", "--all", "--force")
    nobody = ("-c", "user.name=template", "-c", "user.email=template@localhost")
    git(render, *nobody, "commit", "--quiet", "--message", "Render")


def collisions(repository: Repository, render: Path) -> list[str]:
    """The paths that both have, with different content.

    Raises:
        UserError: if a file stands where the other side has a folder, or where git does not see it,
            or a link.
    """
    root, tracked, found = repository.root, set(repository.paths), []
    for name, path in files(render).items():
        now, own = root / name, PurePosixPath(name)
        around = [root / it for it in (own, *own.parents[:-1])]
        if link := next((it for it in around if it.is_symlink()), None):
            raise UserError(
                f"{link.relative_to(root)} is a link, and the template has one of that "
                "name: put what it points to in its place."
            )
        above = [it for it in own.parents if str(it) in tracked or (root / it).is_file()]
        if above or now.is_dir():
            kind = "submodule" if above and (root / above[0]).is_dir() else "file"
            what = f"{(*above, name)[0]} is a {kind}"
            raise UserError(f"{what} on one side and a folder on the other: move yours.")
        if now.is_file() and name not in tracked:
            raise UserError(f"{name} is yours, but git ignores it: move it, or commit it.")
        if now.is_file() and path.read_bytes() not in (b"", now.read_bytes()):
            found.append(name)
    return found


def merge(repository: Repository, render: Path, version: str) -> list[str]:
    """Squash the render into a branch of the repository, and give what conflicts.

    What collides is merged by git; of prose and terms the people's own is kept, and lines to ignore
    are joined. Without conflicts it is committed. If anything fails, the repository is as it was.
    """
    root = repository.root
    branch = git(root, "branch", "--show-current").strip()
    start = (branch,) if branch else ("--detach", git(root, "rev-parse", "HEAD").strip())
    committed(render)
    git(root, "fetch", "--quiet", "--no-tags", render, "HEAD")
    git(root, "switch", "--quiet", "--create", BRANCH)
    try:
        return _squash(repository, render, f"Adopt the template, release {version}")
    except BaseException:
        git(root, "reset", "--quiet", "--hard")
        git(root, "switch", "--quiet", *start)
        git(root, "branch", "--quiet", "-D", BRANCH)
        raise


def _squash(repository: Repository, render: Path, message: str) -> list[str]:
    root = repository.root
    squash = ("merge", "--squash", "--quiet", "--allow-unrelated-histories", "FETCH_HEAD")
    try:
        git(root, *squash)
    except CommandError:  # that is how it tells of conflicts, too
        if not (root / ANSWERS).exists():
            raise
    for name in unmerged(root):
        if KEPT.fullmatch(name):
            git(root, "checkout", "--quiet", "--ours", "--", name)
            git(root, "add", "--", name)
        elif name == IGNORED:
            (root / name).write_text(joined(repository, render), encoding="utf-8")
            git(root, "add", "--", name)
    if left := unmerged(root):
        # What `git commit` offers: git itself would list the commits and conflicts of the merge.
        for name, text in (("SQUASH_MSG", f"{message}\n"), ("MERGE_MSG", "")):
            place = root / git(root, "rev-parse", "--git-path", name).strip()
            place.write_text(text, encoding="utf-8")
    else:
        git(root, "commit", "--quiet", "--no-verify", "--message", message)
    return left


def joined(repository: Repository, render: Path) -> str:
    """The template's lines to ignore, and below its anchor the people's own that it lacks.

    A line that would hide a file of the template, or one that it makes for git, is left out.
    """
    ours = (render / IGNORED).read_text(encoding="utf-8")
    theirs = git(repository.root, "show", f"HEAD:{IGNORED}").splitlines()
    made = ("uv.lock", "dvc.lock", "data/source.csv.dvc", "reports/metrics.json")
    names = [*files(render), *made]
    hiding = [it for it in theirs if any(GitIgnoreSpec.from_lines([it]).match_files(names))]
    new = [line for line in theirs if line not in [*ours.splitlines(), *hiding]]
    return "\n".join([ours.rstrip("\n"), *new, ""])


# ==================================================================================================
# What a person types and sees
# ==================================================================================================
def main() -> None:
    """Tell, and with `--apply` do."""
    options = parser().parse_args()
    ends("adopt", lambda: adopt(options))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="adopt.py", description=__doc__.partition("\n")[0])
    options.add_argument("repository", type=Path, help="the root of its work tree")
    options.add_argument("--template", default=TEMPLATE, help="where Copier finds the template")
    options.add_argument("--vcs-ref", metavar="VERSION", help="the release, if not the newest")
    options.add_argument("-d", "--data", metavar="NAME=VALUE", action="append", default=[])
    options.add_argument("--apply", action="store_true", help=f"make the branch {BRANCH}")
    return options


def adopt(options: argparse.Namespace) -> int:
    """Adopt a repository; give the exit code.

    Raises:
        UserError: if it cannot be adopted as it is.
    """
    repository = Repository.at(options.repository)
    answers = derived(repository)
    for word in options.data:
        name, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{word} is no answer: write NAME=VALUE.")
        answers[name] = (value, "you")
    # Copier records the source, and every update looks there again.
    local = Path(options.template).expanduser()
    source = str(local.resolve()) if local.exists() else options.template
    with TemporaryDirectory(prefix="adopt-", ignore_cleanup_errors=True) as folder:
        render, refused = fitting(source, options.vcs_ref, answers, Path(folder, "render"))
        left_alone(render, own_code(repository, files(render)))
        recorded = yaml.safe_load((render / ANSWERS).read_text(encoding="utf-8"))
        colliding = collisions(repository, render)
        package = str(recorded["package_name"])
        answers.setdefault("package_name", (package, "the project's name"))
        print("\n".join([*told(repository, answers, colliding, package, files(render)), *refused]))
        if not options.apply:
            print(f"\nNothing was changed. `--apply` makes the branch {BRANCH}.")
            return 0
        left = merge(repository, render, str(recorded["_commit"]))
    print("\n".join(["", *done(left, repository.data())]))
    return 3 if left else 0


def told(
    repository: Repository,
    answers: Mapping[str, tuple[str, str]],
    colliding: Iterable[str],
    package: str,
    names: Iterable[str],
) -> Iterator[str]:
    """The report: what the repository is, what follows, where its files belong."""
    yield f"{repository.root.name}: {', '.join(repository.kinds()) or 'no shape that is known'}"
    yield "\nAnswers, each of which `-d NAME=VALUE` changes:"
    width = max(len(value) for value, _ in answers.values())
    for name, (value, where) in answers.items():
        yield f"  {name:15} {value:{width}}  {where}"
    yield "\nWhere your files belong; adopting moves none of them:"
    yield from grouped(repository, set(colliding), f"src/{package}/ml", package)
    ours = {TERMS.sub("license", name.lower()): name for name in names}
    alike = {name: ours.get(TERMS.sub("license", name.lower()), name) for name in repository.paths}
    empty = "the template's, for yours is empty"
    both = {name: collision(name) if repository.text(name) else empty for name in colliding} | {
        name: f"the template calls it {other}; keep one of them, under that name"
        for name, other in alike.items()
        if name != other
    }
    if both:
        yield "\nWhat both sides have:"
        yield from (f"  {name}: {sentence}" for name, sentence in both.items())
    within = sorted({match[1] for it in repository.paths if (match := re.match(PROJECTS, it))})
    if len(within) > 1:
        yield f"\nSeveral projects lie in it ({', '.join(within)}), and the template is of one:"
        yield "better begin a new one in a folder beside them, by `copier copy`."


def grouped(repository: Repository, colliding: set[str], ml: str, package: str) -> Iterator[str]:
    """Every path that stands alone, under the sentence that says where it belongs."""
    kinds: dict[str, list[str]] = {}
    for path in repository.paths:
        if path not in colliding:
            kinds.setdefault(belongs(path, package).format(ml=ml), []).append(path)
    for sentence, found in kinds.items():
        shown = found[:SHOWN]
        rest = len(found) - len(shown)
        more = f" and {rest} more" if rest else ""
        yield f"  {', '.join(shown)}{more}"
        yield f"    {sentence}"


def belongs(path: str, package: str) -> str:
    """Where a file belongs, in words."""
    if path.startswith(f"{package}/"):
        return f"src/{package}/: two packages of one name would hide each other"
    return next((its for kind, its in PLACES.items() if re.match(kind, path)), "stays")


def collision(name: str) -> str:
    """What becomes of a file that both sides have."""
    if KEPT.fullmatch(name):
        return "yours is kept"
    if name == IGNORED:
        return "the template's lines, and yours below them, but for those that hide its files"
    return f"conflicts; {COLLISIONS.get(name, 'take what you need of both')}"


def done(left: list[str], data: list[str]) -> Iterator[str]:
    """What was made, and what to do next."""
    if left:
        yield f"The branch {BRANCH} waits: resolve these, `git add` them, then `git commit`:"
        yield from (f"  {name}" for name in left)
        yield f"To take it back: git reset --hard && git switch - && git branch -D {BRANCH}"
    else:
        yield f"The branch {BRANCH} holds the render and all that is yours."
    yield "Next:\n  make setup"
    file = re.sub(r"\A-", "./-", data[0]) if data else "FILE"
    yield f"  uv run ops data use {shlex.quote(file)} --target COLUMN"
    yield "  make train"
    yield '  git add --all && git commit --message "Bring our data under the template"'


if __name__ == "__main__":
    main()
