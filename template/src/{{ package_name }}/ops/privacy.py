"""`ops forget`: all rows of a person who asks for it go, and what is older than it may be.

What they were in is named in `reports/forgotten.json`, which git keeps, and nothing that they held.
That is written before anything goes, and what the rest is found by goes last: who was cut short
types the same again. Models that have learnt from such rows stay until others take their place.
"""

import codecs
import csv
import html
import json
import re
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import chain, islice, tee
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from . import dvc, git
from .contract import load
from .data.reading import JSON, open_file
from .errors import UserError
from .files import read_json, replacing, write_json
from .pipeline import parquet
from .pipeline.labelled import LABELLED, PREDICTION
from .prediction_log import files, micros
from .project import Project
from .registry.tracking import Store, Version, address, connected
from .settings import Settings
from .wording import closest, listed

TABLES = {".parquet", ".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson"}
TEXTS = {".json", ".md", ".html", ".patch", ".py"}
MADE = {"manifest.json", "model.md", "importance.json"}  # in DVC's folders of such texts
LEAST = 4  # letters that a value has which is looked for in texts
NOTHING = re.compile("(?!)")


@dataclass(frozen=True)
class Meant:
    """Rows that go: with a value in a column, of some predictions, or told of before a time."""

    column: str = ""
    spellings: Collection[str] = ()
    ids: Collection[str] = ()
    before: datetime = datetime(1, 1, 1)

    def fits(self, value: Any) -> bool:
        """Whether a value of the column is meant."""
        return value is not None and str(value) in self.spellings

    def rows(self, schema: pl.Schema) -> pl.Expr:
        """Which rows of a table are meant."""
        parts = [pl.lit(value=False)]
        if self.column in schema and not schema[self.column].is_nested():
            parts.append(pl.col(self.column).cast(pl.String).is_in(self.spellings))
        if PREDICTION in schema:
            parts += [pl.col(PREDICTION).is_in(self.ids), pl.col(LABELLED) < self.before]
        return pl.any_horizontal(parts).fill_null(value=False)


def run(project: Project, person: str = "") -> None:
    """Forget the rows of a person, named as COLUMN=VALUE; without one, those that are too old.

    A UserError if the person is not named so, a retraining has not ended, or DVC or MLflow fails.
    """
    if project.laid_aside.exists():
        raise UserError("A retraining has begun and holds rows: let it end, then type this again.")
    if git.top(project.root) is None:
        raise UserError("The project is not in git yet; run `make setup` first.")
    if not person:
        old = expire(project, Settings.load(project.params), labels=True)
        return _destroy(project, _held(project, old) if old else [])
    column, _, value = person.partition("=")
    if not (column and value):
        raise UserError("Name a column and its value, such as customer=A-17.")
    spellings = _spelt(value)
    with suppress(ValueError):
        spellings.append(str(float(value)))
    with suppress(ValueError):
        at = datetime.fromisoformat(value)
        spellings += [at.isoformat(sep, its) for sep in " T" for its in ("auto", "microseconds")]
    meant, names = Meant(column, spellings), set[str]()

    def asked(line: Any) -> bool:
        names.update(line["inputs"])
        return meant.fits(line["inputs"][column])

    ids = _blank(project, "predictions", asked, write=False)
    for part in project.labelled.glob("*.parquet"):
        rows = pl.scan_parquet(part)
        ids |= {*rows.filter(meant.rows(rows.collect_schema())).collect()[PREDICTION]}
    meant = replace(meant, ids=[*ids])
    word = written(value) if len(value) >= LEAST else NOTHING
    held = _held(project, meant, word)
    if not held and column not in (names := names | _columns(project)):
        close = closest(column, names, 3)
        hint = f"did you mean {listed(close)}?" if close else "ml/schema.py names yours."
        raise UserError(f"No contract, log, labels or data know a column {column}; {hint}")
    objects = {f"{path.parent.name}{path.name}" for path in held}
    with connected(project) as store:
        known = store.versions()
        texts, served, left = _texts(project, store, known, word)
    parts = [(it, {it.tags.get("dvc.train"), it.tags.get("dvc.holdout")}) for it in known]
    versions = [str(it.number) for it, its in parts if objects & its]
    counts = _data(project, meant)
    told = {
        "at": f"{datetime.now(UTC):%FT%TZ}",
        "by": git.person(project.root),
        "column": column,
        "answered": len(ids),
        "rows": counts,
        "versions": versions,
        "dvc": sorted(objects),
        "texts": [*(it.relative_to(project.root).as_posix() for it in texts), *served],
    }
    write_json(project.forgotten, [*read_json(project.forgotten, []), told])
    for log in ("feedback", "shadow"):
        _blank(project, log, lambda line: line["id"] in ids)
    _data(project, meant, objects, write=True)
    _destroy(project, [*held, *texts])
    with connected(project) as store:
        store.delete(served)
    _blank(project, "predictions", lambda line: line["id"] in ids)
    print(
        f"Gone: {len(ids)} answered rows, {sum(counts.values())} rows of {len(counts)} files, "
        f"{len(objects)} objects of DVC's cache and remote, {len(texts) + len(served)} texts."
    )
    left += [path.name for path in _tracked(project) if path.suffix not in TABLES]
    if versions:
        print(f"Learnt or judged by them, never to be reproduced: version {listed(versions)}.")
    if left:
        print(f"Not looked into: {listed(left)}.")
    print("Run `make train`, commit and push; docs/ops/privacy.md tells what is left to you.")


def expire(project: Project, settings: Settings, *, labels: bool = False) -> Meant | None:
    """Let logs go that are too old by `params.yaml`, and labels if asked; give which labels are."""
    now, keeps = datetime.now(UTC), settings.retention
    ends = [days for days in (keeps.log_days, keeps.label_days) if days]
    logs = dict.fromkeys(("predictions", "shadow", "refusals"), keeps.log_days)
    for log, days in {**logs, "feedback": min(ends, default=None)}.items():
        for file in files(project.served / log) if days else ():
            if days and file.until <= micros(now - timedelta(days=days)):
                file.path.unlink(missing_ok=True)
    if not keeps.label_days:
        return None
    old = Meant(before=(now - timedelta(days=keeps.label_days)).replace(tzinfo=None))
    if labels:
        _data(project, old, write=True)
    return old


def _blank(
    project: Project, log: str, is_meant: Callable[[Any], bool], write: bool = True
) -> set[str]:
    """Write blanks over lines of a log, which may go on growing; give their ids."""
    ids = set()
    for path in sorted((project.served / log).glob("*.jsonl")):
        with path.open("r+b") as file:
            while line := file.readline():
                with suppress(ValueError, LookupError, TypeError):
                    if is_meant(told := json.loads(line)):
                        ids.add(told["id"])
                        if write:
                            file.seek(-len(line), 1)
                            file.write(b" " * (len(line) - 1) + b"\n")
    return ids


def _tracked(project: Project) -> list[Path]:
    """Data that people and retrainings gave to DVC."""
    return [path.with_suffix("") for path in sorted(project.data.rglob("*.dvc"))]


def _parts(project: Project) -> dict[Path, list[Path]]:
    """The files of all that DVC was given, and of what lies beside it, as the pipeline's does."""
    places = (*_tracked(project), *project.data.glob("*.parquet"))
    return {it: [it] if it.is_file() else sorted(it.rglob("*.*")) for it in places}


def _columns(project: Project) -> set[str]:
    """What columns are called in the contract, in data, and where others were forgotten."""
    names = {told["column"] for told in read_json(project.forgotten, [])}
    with suppress(UserError):  # there may be no contract yet
        names |= {column.name for column in load().columns}
    for part in chain(*_parts(project).values()):
        with suppress(UserError), TemporaryDirectory() as folder:  # it may be no table
            names |= {*open_file(part, Path(folder), single_column=True).columns}
    return names


def _data(
    project: Project, meant: Meant, gone: Collection[str] = (), *, write: bool = False
) -> dict[str, int]:
    """How many rows of which files are meant; they are left out, and DVC told, if asked for.

    DVC is told as well where it still names something that is to be `gone`.
    """
    found: dict[str, int] = {}
    for place, parts in _parts(project).items():
        known, name = place.with_name(f"{place.name}.dvc"), place.relative_to(project.root)
        counts = {
            part.relative_to(project.root).as_posix(): count
            for part in parts
            if (count := _rows(part, meant, write))
        }
        found |= counts
        if write and known.exists() and (counts or any(it in known.read_text() for it in gone)):
            dvc.ask(project.root, "add", name.as_posix())
    return found


def _held(project: Project, meant: Meant, word: re.Pattern[str] = NOTHING) -> list[Path]:
    """Files of any commit with such rows or texts, in DVC's cache, and folders that list these."""
    with suppress(UserError):  # there may be no remote, or not all in it
        dvc.ask(project.root, "fetch", "--all-commits")
    cache = project.root / dvc.ask(project.root, "cache", "dir") / "files" / "md5"
    held = {path for path in cache.glob("??/*") if _rows(path, meant)}
    folders = {}
    for folder in cache.glob("??/*.dir"):
        names = {cache / it["md5"][:2] / it["md5"][2:]: it["relpath"] for it in read_json(folder)}
        if not MADE.isdisjoint(names.values()):
            held |= {path for path, name in names.items() if _says(path, Path(name).suffix, word)}
        folders[folder] = names.keys()
    return [*held, *(folder for folder, its in folders.items() if its & held)]


def _says(path: Path, suffix: str, word: re.Pattern[str]) -> bool:
    """Whether a file is a text that holds a word."""
    readable = suffix in TEXTS and path.is_file()
    return readable and bool(word.search(path.read_text("utf-8", errors="replace")))


def _destroy(project: Project, paths: list[Path]) -> None:
    """Let files be gone, and what DVC's remote has of them."""
    from dvc.repo import Repo

    with Repo(str(project.root)) as repo:
        remote = repo.cloud.get_remote() if repo.config["core"].get("remote") else None
        for path in paths:
            if remote is not None:
                place = remote.fs.join(remote.path, "files", "md5", path.parent.name, path.name)
                if remote.fs.exists(place):
                    remote.fs.rm_file(place)
            path.unlink()


def _texts(
    project: Project, store: Store, versions: list[Version], word: re.Pattern[str]
) -> tuple[list[Path], list[str], list[str]]:
    """Texts here, and those that a server keeps of runs, that hold a value; and what it hides."""

    def holding(folder: Path) -> list[Path]:
        return [it for it in sorted(folder.rglob("*.*")) if _says(it, it.suffix, word)]

    places = [project.root / its for its in ("mlartifacts", "build/evidence", "reports")]
    places += [project.bundle, project.versions, project.served / "monitoring"]
    served, hidden = [], [it.name for it in project.root.glob("build/evidence/*.gz")]
    for its in versions if address(project).startswith("http") else ():
        try:
            with store.artifact(its, "", "artifacts") as folder:
                found = [it.relative_to(folder).as_posix() for it in holding(folder)]
            served += [f"{its.run}/{name}" for name in found]
        except Exception:  # noqa: BLE001  the run may be gone, or the store closed to this person
            hidden.append(f"the artifacts of version {its.number}")
    texts = [it for place in places for it in holding(place) if it != project.forgotten]
    return texts, served, hidden


def written(value: str) -> re.Pattern[str]:
    """What finds a value in a text, however JSON, HTML or Markdown escape it; no part of a word."""
    letters = []
    for letter in value:
        ways = {letter, f"\\{letter}", json.dumps(letter)[1:-1], html.escape(letter)}
        ways |= {f"&#{ord(letter)};", f"&#x{ord(letter):x};", f"{letter}\u200b"}
        ways |= {" "} if letter.isspace() else set()
        plain = letter.isascii() and letter.isalnum()
        letters.append(letter if plain else f"(?:{'|'.join(map(re.escape, sorted(ways)[::-1]))})")
    # What stands before may be the end of an escape, such as a new line in JSON.
    before = r"(?:(?<!\w)(?<!\w\.)|(?<=\\[bfnrt])|(?<=\\u[\da-f]{4}))"
    return re.compile(rf"{before}{''.join(letters)}(?!\w|\.\w)")


def _rows(path: Path, meant: Meant, write: bool = False) -> int:
    """How many rows of a table are meant, which are left out if told to; 0 if it is none."""
    with path.open("rb") as file:
        if file.read(4) == b"PAR1":
            table = pl.scan_parquet(path)
            told = meant.rows(table.collect_schema())
            count = int(table.select(told.sum()).collect().item())
            if count and write:
                with replacing(path) as aside:
                    parquet.sink(table.filter(~told), aside).collect(engine="streaming")
            return count
    try:
        count = sum(meant.fits(value) for _, value in _records(path, meant.column))
    except (ValueError, csv.Error):
        return 0
    if count and write:
        with replacing(path) as aside, aside.open("w", encoding="latin-1", newline="") as out:
            out.writelines(
                line for line, value in _records(path, meant.column) if not meant.fits(value)
            )
    return count


def _spelt(text: str) -> list[str]:
    """A text, and what it looks like where its bytes are read as latin-1."""
    encoded = (text.encode(code, "xmlcharrefreplace") for code in ("utf-8", "cp1252"))
    return [text, *(its.decode("latin-1") for its in encoded)]


def _records(path: Path, column: str) -> Iterator[tuple[str, Any]]:
    """The rows of CSV or JSON lines: as they stand there, byte by byte, and their value.

    None of what has no such column, and is no table at all.
    """
    csv.field_size_limit(2**31 - 1)
    with path.open(encoding="latin-1", newline="") as file:
        head = next(file, "")
        start = head.removeprefix(codecs.BOM_UTF8.decode("latin-1"))
        if start.startswith("{") and JSON.match(start):
            for line in chain([start], file):
                yield line, json.loads(line.encode("latin-1")).get(column)
            return
        separator = max(",;\t|", key=start.count)
        names = next(csv.reader([start], delimiter=separator), [])
        place = next((names.index(it) for it in _spelt(column) if it in names), None)
        if place is None:
            return
        yield head, None
        lines, read = tee(file)
        rows, done = csv.reader(read, delimiter=separator), 0
        for cells in rows:
            yield "".join(islice(lines, rows.line_num - done)), "".join(cells[place : place + 1])
            done = rows.line_num
