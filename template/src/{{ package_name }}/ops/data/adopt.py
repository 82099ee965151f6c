"""`ops data use`: adopt a file, and write the contract and the source that go with it."""

import argparse
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
from ..settings import with_values
from ..wording import listed, shortened, table, typed
from . import code
from .reading import DataFile, Format, open_file
from .roles import Draft, Wish, decide
from .types import Column, Role

LONGEST = 40


def run(project: Project, options: argparse.Namespace) -> None:
    """Make the file that `options` names the project's data; see `cli` for the options.

    A UserError if the file or the options will not do; then nothing has been changed.
    """
    wish = _wish(options)
    source = Path(options.file)
    schema_file, source_file = project.schema, project.schema.with_name("source.py")
    _check_kept(project, source, schema_file, source_file)
    project.data.mkdir(exist_ok=True)
    with TemporaryDirectory(dir=project.data, prefix=".use-") as folder:
        file = open_file(source, Path(folder), encoding=options.encoding)
        copied = Path(folder) / "copied"
        with file.explained():
            draft = decide(file.scan(), wish)
            if source.is_dir():
                file.scan().sink_parquet(copied)
            else:
                (shutil.copyfile if file.path == source else shutil.move)(file.path, copied)
        tracked = project.data / f"source.{file.format}"
        path = tracked.relative_to(project.root).as_posix()
        params = project.params.read_text(encoding="utf-8")
        texts = {
            schema_file: code.formatted(code.schema(draft, source.name), schema_file),
            source_file: code.formatted(code.source(draft, file, source.name), source_file),
            project.params: with_values(params, "data", {"source": path}),
        }
        with _restoring(project, list(texts), Path(folder)):
            copied.rename(tracked)
            dvc.ask(project.root, "add", path)
            for written, text in texts.items():
                write_text(written, text)
    names = [str(written.relative_to(project.root)) for written in texts]
    git.output(project.root, "add", "--all", "--", ":(glob)data/source.*.dvc", *names)
    print(_report(file, path, draft))


def _wish(options: argparse.Namespace) -> Wish:
    """What the command line asks for; a column can be asked to be one thing only."""
    asked: dict[Role, list[str | None]] = {
        "event_time": [options.time],
        "group": [options.group],
        "weight": [options.weight],
        "identifier": options.id,
        "text": options.text,
        "left out": options.drop,
    }
    roles: dict[str, Role] = {}
    for role, names in asked.items():
        for name in filter(None, names):
            if roles.setdefault(name, role) != role:
                raise UserError(f"{name!r} cannot be both {roles[name]} and {role}; keep one.")
    return Wish(options.target, options.task, roles)


def _check_kept(project: Project, source: Path, *files: Path) -> None:
    """Refuse to replace work that git or DVC has not got."""
    if shutil.which("git") is None or git.top(project.root) is None:
        raise UserError("The project is not in git yet; run `make setup` first.")
    names = [str(file.relative_to(project.root)) for file in files]
    for file in _sources(project):
        known = file.suffix == ".dvc" or file.with_name(f"{file.name}.dvc").exists()
        if not known and not (source.exists() and file.samefile(source)):
            raise UserError(f"{file} is not in DVC, and would be replaced; move it first.")
    for question in (["diff", "--name-only", "--relative"], ["ls-files", "--others"]):
        if edited := git.output(project.root, *question, "--", *names):
            would = f"{' and '.join(edited.splitlines())} would be replaced, with changes that git"
            raise UserError(f"{would} has not got; commit them first, so that nothing is lost.")


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
    names = [f"source.{format}{end}" for format in get_args(Format) for end in ("", ".dvc")]
    return [file for name in names if (file := project.data / name).exists()]


def _report(file: DataFile, path: str, draft: Draft) -> str:
    """What was decided, and why."""
    rows = [
        (shortened(column.name, LONGEST), _type(column), column.role.replace("_", " "), column.why)
        for column in draft.columns
    ]
    notes = [*file.notes, *_notes(draft)]
    lines = [
        f"{file.origin.name}: {draft.rows:,} rows, {file.description}; now {path}, kept by DVC.",
        "",
        table(("column", "type", "role", "why"), rows),
        "",
        *(["Worth a look:", *(f"- {note}" for note in notes), ""] if notes else []),
        f"A {draft.task}. Read ml/schema.py, which is yours now; then `make train`.",
    ]
    return "\n".join(lines)


def _notes(draft: Draft) -> Iterator[str]:
    """What a person should look at, one sentence each; leaks come first."""
    if draft.total:
        yield f"The row {draft.total} at the end seems to sum up the others; if so, delete it."
    if draft.heads:
        yield "The header stands among the rows again, and would be taken for values; delete it."
    warned = [column for column in draft.columns if column.warning]
    for column in sorted(warned, key=lambda column: "leak" not in column.warning):
        yield f"{column.name}: {column.warning}."
    for name, count in draft.lacking.items():
        yield f"{count:,} rows have no {name}: they are left out, and counted."
    if cells := ", ".join(repr(token) for token in draft.missing if token):
        yield f"Cells that read {cells} are taken as missing."
    for column in draft.kept:
        if words := [word for step in column.steps for word in step.options.get("words", ())]:
            yield f"{column.name}: cells that read {listed(words)} are taken as missing."
    unlearnt = [column for column in draft.columns if column.role in ("identifier", "left out")]
    if names := [shortened(column.name, LONGEST) for column in unlearnt]:
        yield f"Not learnt from, for the reasons in the table: {listed(names)}."
    times = [column.name for column in draft.kept if column.type in ("Date", "Datetime")]
    if times and not any(column.role == "event_time" for column in draft.kept):
        yield (
            f"{times[0]}: if it says when a row happened, `--time {typed(times[0])}` "
            "has the model judged on the latest rows."
        )


def _type(column: Column) -> str:
    if column.role == "left out":
        return ""
    if column.item:
        return f"{column.type} of {column.item}"
    return "Enum" if column.classes and column.type == "String" else column.type or ""
