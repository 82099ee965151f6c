"""`ops data use`: adopt a file, and write the contract and the source that go with it."""

import argparse
import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import get_args

from .. import dvc, git
from ..errors import UserError
from ..files import write_text
from ..project import Project
from . import reading, writing
from .inference import Field, Finding, Role, Wish, infer

LONGEST = 40


def run(project: Project, options: argparse.Namespace) -> None:
    """Make the file that `options` names the project's data; see `cli` for the options.

    Raises:
        UserError: if the file or the options will not do; then nothing has been changed.
    """
    wish = _wish(options)
    source = Path(options.file)
    schema_file, source_file = project.schema, project.schema.with_name("source.py")
    _check_kept(project, source, schema_file, source_file)
    project.data.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=project.data, prefix=".use-") as folder:
        copied, layout = reading.copy(source, Path(folder))
        with reading.readable(source, copied, layout):
            finding = infer(layout.scan(copied), wish)
        tracked = project.data / copied.name
        path = tracked.relative_to(project.root).as_posix()
        texts = {
            schema_file: writing.schema(finding, source.name),
            source_file: writing.source(finding, layout, source.name),
            project.params: writing.params(project.params.read_text(encoding="utf-8"), path),
        }
        with _restoring(project, list(texts), Path(folder)):
            copied.rename(tracked)
            dvc.add(project.root, path)
            for file, text in texts.items():
                write_text(file, text)
    names = [str(file.relative_to(project.root)) for file in texts]
    git.output(project.root, "add", "--all", "--", ":(glob)data/source.*.dvc", *names)
    print(_report(source, layout.description, path, finding))


def _wish(options: argparse.Namespace) -> Wish:
    """What the command line asks for; a column can be asked to be one thing only."""
    asked: list[tuple[str, Role]] = [
        *((name, "event_time") for name in [options.time] if name),
        *((name, "group") for name in [options.group] if name),
        *((name, "identifier") for name in options.id),
        *((name, "text") for name in options.text),
        *((name, "left out") for name in options.drop),
    ]
    roles: dict[str, Role] = {}
    for name, role in asked:
        if roles.setdefault(name, role) != role:
            raise UserError(f"{name!r} cannot be both {roles[name]} and {role}; keep one.")
    return Wish(options.target, options.task, roles)


def _check_kept(project: Project, source: Path, *files: Path) -> None:
    """Refuse to replace work that git or DVC has not got."""
    if shutil.which("git") is None or git.output(project.root, "rev-parse", "--git-dir") is None:
        raise UserError("The project is not in git yet; run `make setup` first.")
    names = [str(file.relative_to(project.root)) for file in files]
    for file in _sources(project):
        known = file.suffix == ".dvc" or file.with_name(f"{file.name}.dvc").exists()
        if not known and not (source.exists() and file.samefile(source)):
            raise UserError(f"{file} is not in DVC, and would be replaced; move it first.")
    for question in (["diff", "--name-only", "--relative"], ["ls-files", "--others"]):
        if edited := git.output(project.root, *question, "--", *names):
            raise UserError(
                f"{' and '.join(edited.splitlines())} would be replaced, with changes that git "
                "has not got; commit them first, so that nothing is lost."
            )


@contextmanager
def _restoring(project: Project, files: list[Path], aside: Path) -> Iterator[None]:
    """Take the last source away; if anything fails, put everything back as it was."""
    before = {file: file.read_bytes() for file in files}
    kept = aside / "kept"
    kept.mkdir()
    for file in _sources(project):
        file.rename(kept / file.name)
    try:
        yield
    except BaseException:
        for file in _sources(project):
            file.unlink()
        for file in kept.iterdir():
            file.rename(project.data / file.name)
        for file, content in before.items():
            file.write_bytes(content)
        raise


def _sources(project: Project) -> list[Path]:
    """The file that is the project's data now, and the one that stands for it in git."""
    names = [f"source.{format}{end}" for format in get_args(reading.Format) for end in ("", ".dvc")]
    return [file for name in names if (file := project.data / name).exists()]


def _report(source: Path, layout: str, path: str, finding: Finding) -> str:
    """What was decided, and why."""
    rows = [("column", "type", "role", "why")]
    rows += [
        (_cut(item.name), _type(item), item.role.replace("_", " "), item.why)
        for item in finding.fields
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(3)]
    rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2], "-" * len("why")))
    table = [
        "  ".join([*map(str.ljust, row[:3], widths), row[3]]).rstrip()  # the last one may be long
        for row in rows
    ]
    notes = _notes(finding)
    lines = [
        f"{source.name}: {finding.rows:,} rows, {layout}; now {path}, kept by DVC.",
        "",
        *table,
        "",
        *(["Worth a look:", *(f"- {note}" for note in notes), ""] if notes else []),
        f"A {finding.task}. Read ml/schema.py, which is yours now; then `make train`.",
    ]
    return "\n".join(lines)


def _notes(finding: Finding) -> list[str]:
    """What a person should look at, one sentence each; leaks come first."""
    warned = [item for item in finding.fields if item.warning]
    warned.sort(key=lambda item: "leak" not in item.warning)
    notes = [f"{item.name}: {item.warning}." for item in warned]
    notes += [
        f"{count:,} rows have no {name}: ml/source.py drops them."
        for name, count in finding.lacking.items()
    ]
    if cells := ", ".join(repr(token) for token in finding.missing if token):
        notes.append(f"Cells that read {cells} are taken as missing.")
    times = [item.name for item in finding.kept if item.guess.type in ("Date", "Datetime")]
    if times and not any(item.role == "event_time" for item in finding.kept):
        notes.append(
            f"{times[0]}: if it says when a row happened, `--time {shlex.quote(times[0])}` "
            "has the model judged on the latest rows."
        )
    return notes


def _type(item: Field) -> str:
    if item.role == "left out":
        return ""
    return "Enum" if item.classes and item.guess.type == "String" else item.guess.type or ""


def _cut(name: str) -> str:
    shown = "".join(letter if letter.isprintable() else " " for letter in name)
    return shown if len(shown) <= LONGEST else f"{shown[: LONGEST - 1]}…"
