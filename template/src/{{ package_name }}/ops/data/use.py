"""`ops data use`: adopt a file, and write the contract and the source that go with it."""

import argparse
import shlex
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from .. import git
from ..errors import UserError
from ..files import write_text
from ..project import Project
from . import reading, writing
from .inference import Field, Finding, Role, Wish, infer


def run(project: Project, options: argparse.Namespace) -> None:
    """Make the file that `options` names the project's data; see `cli` for the options.

    Raises:
        UserError: if the file or the options will not do; then nothing has been changed.
    """
    wish = _wish(options)
    source = Path(options.file)
    schema_file, source_file = (
        project.package / "ml" / name for name in ("schema.py", "source.py")
    )
    _check_kept(project, schema_file, source_file)
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
            _dvc_add(project, path)
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


def _check_kept(project: Project, *files: Path) -> None:
    """Refuse to replace work that git has not got."""
    if shutil.which("git") is None or git.output(project.root, "rev-parse", "--git-dir") is None:
        raise UserError("The project is not in git yet; run `make setup` first.")
    names = [str(file.relative_to(project.root)) for file in files]
    for question in (["diff", "--name-only", "--relative"], ["ls-files", "--others"]):
        if edited := git.output(project.root, *question, "--", *names):
            raise UserError(
                f"{' and '.join(edited.splitlines())} would be replaced, with changes that git has not "
                "got; commit them first, so that nothing is lost."
            )


@contextmanager
def _restoring(project: Project, files: list[Path], aside: Path) -> Iterator[None]:
    """Take the last source away; if anything fails, put everything back as it was."""
    before = {file: file.read_bytes() for file in files}
    kept = aside / "kept"
    kept.mkdir()
    for file in project.data.glob("source.*"):
        file.rename(kept / file.name)
    try:
        yield
    except BaseException:
        for file in project.data.glob("source.*"):
            file.unlink()
        for file in kept.iterdir():
            file.rename(project.data / file.name)
        for file, content in before.items():
            file.write_bytes(content)
        raise


def _dvc_add(project: Project, path: str) -> None:
    """Have DVC keep the file at `path`."""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "add", "--quiet", path],
        cwd=project.root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = (done.stderr.strip() or "it is not installed").splitlines()[0]
        raise UserError(f"DVC cannot keep {path}: {reason}")


def _report(source: Path, layout: str, path: str, finding: Finding) -> str:
    """What was decided, and why."""
    width = min(32, max(len(item.name) for item in finding.fields))
    rows = [("column", "type", "role", "why")]
    rows += [
        (
            textwrap.shorten(item.name, width, placeholder="…") or item.name[:width],
            _type(item),
            item.role.replace("_", " "),
            item.why,
        )
        for item in finding.fields
    ]
    widths = [max(len(row[index]) for row in rows) for index in range(3)]
    table = [
        "  ".join([*(cell.ljust(size) for cell, size in zip(row, widths, strict=False)), row[3]])
        for row in rows
    ]
    table.insert(1, "  ".join("-" * size for size in [*widths, 3]))
    return "\n".join(
        [
            f"{source.name}: {finding.rows:,} rows, {layout}; now {path}, kept by DVC.",
            "",
            *(line.rstrip() for line in table),
            "",
            *(f"Mind {note}" for note in _notes(finding)),
            f"A {finding.task}. Read ml/schema.py, which is yours now; then `make train`.",
        ]
    )


def _type(item: Field) -> str:
    if item.role == "left out":
        return ""
    return "Enum" if item.classes and item.guess.type == "String" else item.guess.type or ""


def _notes(finding: Finding) -> list[str]:
    """What a person should look at, one sentence each."""
    notes = [f"{item.name}: {item.warning}." for item in finding.fields if item.warning]
    notes += [
        f"{count:,} rows without {name}: ml/source.py drops them."
        for name, count in finding.lacking.items()
    ]
    if finding.missing:
        cells = ", ".join(repr(token) for token in finding.missing)
        notes.append(f"cells that read {cells}: they are taken as missing.")
    times = [item.name for item in finding.kept if item.guess.type in ("Date", "Datetime")]
    if times and not any(item.role == "event_time" for item in finding.kept):
        notes.append(
            f"{times[0]}: if it says when a row happened, run this again with "
            f"`--time {shlex.quote(times[0])}`, to be judged on the latest rows."
        )
    return notes
