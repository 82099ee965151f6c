"""`ops score`: the rows of a file, and what a model says of each.

Rows are read, held to the contract, scored and written in batches, several at a time, so that
memory stays bounded and every core is busy. Finished batches lie beside the result, in
`.<result>.parts/`, until all of them are put together; a run that was killed is taken up there.
"""

import hashlib
import os
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import copyfileobj
from time import monotonic

import polars as pl

from ...ml import features, schema, source
from .. import contract as contracts
from ..bundle import MANIFEST, Bundle
from ..data import reading
from ..errors import UserError
from ..pipeline import parquet
from ..pipeline.parsing import parse
from ..pipeline.validate import check, rule_column
from ..project import Project
from ..scoring import BATCH_ROWS, answers, columns_of, unfit
from .parts import Part, Parts, kept

FORMATS = (".csv", ".parquet")
CELLS = 1_500_000
"""About how many values a batch of rows has: what is held in memory is a few times that."""

WORKERS = 8
"""As many batches are at work at most; each has use for more than one core."""

PATIENCE = 5.0
"""Seconds after which, again and again, a person wants to know how far it is."""

SAMPLES, SAMPLE = 64, 1 << 16
"""How many places of a file are looked at to know it again, and how many bytes at each."""


def score(project: Project, origin: str, destination: str, model: str | None = None) -> None:
    """Score a file.

    The rows come back as they were and in their order, with a column `prediction` and, for a
    classification, `probability_<class>`. Rows that break the contract stay, without a
    prediction; they are repeated in `<result>.quarantine.<format>`, as they came, each with its
    number and the rules that it breaks. A row is judged and scored by itself, as it would be if
    it came alone: rules about several rows, such as a primary key, are not asked.

    Args:
        project: whose contract the rows must keep.
        origin: a CSV, Parquet or JSON lines file.
        destination: the file to write; its suffix says whether as CSV or as Parquet.
        model: a folder, an alias or a version's number; the champion if none is named.

    Raises:
        UserError: if a file cannot be read or written, a column is missing or already there,
            or there is no model that fits the contract.
    """
    path, target = Path(origin), Path(destination)
    _check_paths(path, target)
    bundle = chosen(project, model)
    if obstacle := unfit(bundle, contracts.load()):
        raise UserError(f"The model does not fit ml/schema.py: {obstacle}; run `make train`.")
    subject = {
        "the file": fingerprint(path),
        "the model": bundle.digest,
        "the code in ml/": _code(),
    }
    with kept(target.with_name(f".{target.name}.parts"), subject) as parts:
        if parts.done:
            print(f"Going on after {parts.rows:,} rows that are scored already.", file=sys.stderr)
        job = Job.plan(path, target, bundle, parts)
        job.run()
        if fingerprint(path) != subject["the file"]:
            raise UserError(f"{path} changed while it was scored; run the same command again.")
        with _writing(target, parts):
            job.finish()
        job.tell()


def chosen(project: Project, model: str | None) -> Bundle:
    """The bundle that is asked for: `champion.located`, or the champion.

    The champion in `models/champion` is taken as it is; the registry is asked if it is not there.
    """
    if model is None and (project.champion / MANIFEST).exists():
        return Bundle(project.champion)
    from ..registry.champion import located
    from ..registry.tracking import CHAMPION

    return Bundle(located(project, model or CHAMPION))


def fingerprint(path: Path) -> str:
    """What changes when a file does: its size, its time, and a digest of places all over it.

    Raises:
        UserError: if it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            about = os.fstat(file.fileno())
            for place in range(SAMPLES):
                file.seek(max(0, about.st_size - SAMPLE) * place // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}.") from error
    return f"{about.st_size} {about.st_mtime_ns} {digest.hexdigest()}"


@dataclass(frozen=True)
class Table:
    """A file of rows that is written in pieces.

    Attributes:
        path: of the whole file; its suffix names the format.
        columns: the names of its columns.
        separator: between two fields, if it is a CSV file.
    """

    path: Path
    columns: list[str]
    separator: str

    def piece(self, rows: pl.DataFrame) -> bytes:
        """Some of the rows: lines of CSV without a header, or an Arrow file."""
        buffer = BytesIO()
        if self.path.suffix == ".csv":
            rows.write_csv(buffer, include_header=False, separator=self.separator)
        else:
            rows.write_ipc(buffer)
        return buffer.getvalue()

    def write(self, pieces: list[Path], aside: Path) -> None:
        """Put the pieces together, and what they make in place.

        Raises:
            OSError: if the disk is full, or something else is wrong with it.
        """
        if self.path.suffix == ".csv":
            with aside.open("wb") as file:
                pl.DataFrame(schema=self.columns).write_csv(file, separator=self.separator)
                for piece in pieces:
                    with piece.open("rb") as lines:
                        copyfileobj(lines, file)
        else:
            try:
                parquet.sink(pl.scan_ipc(pieces, glob=False), aside).collect(engine="streaming")
            except pl.exceptions.PolarsError as error:
                raise OSError(str(error).partition("\n")[0].rpartition(": ")[2]) from error
        aside.replace(self.path)


@dataclass(frozen=True)
class Job:
    """All that must be known to score one file.

    Attributes:
        path: the file.
        copied: the same file, as polars can read it.
        layout: how that is laid out.
        bundle: the model.
        parts: what is finished.
        rows: all the rows, with the model's answers.
        quarantine: the rows that break the contract, and why.
    """

    path: Path
    copied: Path
    layout: reading.Layout
    bundle: Bundle
    parts: Parts
    rows: Table
    quarantine: Table

    @classmethod
    def plan(cls, path: Path, target: Path, bundle: Bundle, parts: Parts) -> "Job":
        """Look at a file, and say what is to be done.

        Raises:
            UserError: if it cannot be read, or one of its columns stands in the way.
        """
        with _writing(target, parts):
            copied, layout = reading.opened(path, parts.folder, narrow=True)
        with reading.readable(path, copied, layout):
            empty = layout.scan(copied).head(0).collect()
        columns = empty.columns
        added = columns_of(bundle.contract)
        if taken := [name for name in added if name in columns]:
            raise UserError(f"{path} already has a column {taken[0]}; rename or drop it first.")
        parse(_tidy(empty.lazy()), labelled=False, origin=str(path))
        number = "row" if "row" not in columns else "__row"
        return cls(
            path,
            copied,
            layout,
            bundle,
            parts,
            Table(target, [*columns, *added], layout.separator),
            Table(_quarantine(target), [number, rule_column(columns), *columns], layout.separator),
        )

    def run(self) -> None:
        """Score what is not finished, several batches at a time.

        Raises:
            UserError: if the file is broken somewhere, or a part cannot be written.
        """
        workers = min(WORKERS, os.cpu_count() or 1)
        progress = Progress(self._total())
        first = self.parts.rows
        with _writing(self.rows.path, self.parts), ThreadPoolExecutor(workers) as pool:
            self.parts.prepare()
            working: deque[Future[Part]] = deque()
            for number, batch in enumerate(self._batches(), start=len(self.parts.done)):
                working.append(pool.submit(self._score, number, first, batch))
                first += len(batch)
                if len(working) > workers:
                    self.parts.done.append(working.popleft().result())
                    progress.tell(self.parts.rows)
            while working:
                self.parts.done.append(working.popleft().result())
                progress.tell(self.parts.rows)
        progress.close(self.rows.path)

    def finish(self) -> None:
        """Put the parts together: first the quarantine, if there is one, then the result."""
        pieces = self.parts.pieces("quarantine")
        if pieces:
            self.quarantine.write(pieces, self.parts.folder / "quarantine")
        else:
            self.quarantine.path.unlink(missing_ok=True)
        self.rows.write(self.parts.pieces("rows"), self.parts.folder / "rows")

    def tell(self) -> None:
        """Say what was done, and on standard error what is wrong with the rest."""
        bad = sum(part.bad for part in self.parts.done)
        total = self.parts.rows
        print(f"{total - bad:,} of {total:,} rows are scored in {self.rows.path}.")
        if bad:
            sums: Counter[str] = Counter()
            for part in self.parts.done:
                sums.update(part.counts)
            ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
            rules = ", ".join(f"{rule} ({count:,})" for rule, count in ranked)
            print(
                f"{bad:,} break the contract and have no prediction: {rules}. "
                f"They lie in {self.quarantine.path}, too.",
                file=sys.stderr,
            )

    def _batches(self) -> Iterator[pl.DataFrame]:
        """The rows that are not finished, in batches; one batch at least of a file."""
        rows = self.layout.scan(self.copied)
        width = max(1, CELLS // (len(self.rows.columns) * BATCH_ROWS)) * BATCH_ROWS
        seen = bool(self.parts.done)
        with reading.readable(self.path, self.copied, self.layout):
            for batch in rows.slice(self.parts.rows).collect_batches(chunk_size=width):
                seen = True
                yield batch
            if not seen:
                yield rows.head(0).collect()

    def _score(self, number: int, first: int, batch: pl.DataFrame) -> Part:
        """Score a batch whose first row has `first` rows before it, and keep what comes of it."""
        parsed = parse(_tidy(batch.lazy()), labelled=False, origin=str(self.path)).rows.collect()
        if len(parsed) != len(batch):
            raise UserError(
                f"`tidy` in ml/source.py makes {len(parsed):,} rows of {len(batch):,}; "
                "let it return each row that it gets."
            )
        good, bad, counts, kept = check(parsed, labelled=False)
        made = answers(self.bundle, good)
        place = (kept.cum_sum() - 1).set(~kept, None)
        scored = pl.concat([batch, made.select(pl.all().gather(place))], how="horizontal")
        pieces = {"rows": self.rows.piece(scored)}
        if len(bad):
            numbers, rules, *_ = self.quarantine.columns
            refused = batch.filter(~kept)
            refused.insert_column(0, bad[rule_column(bad.columns[:-1])].alias(rules))
            refused.insert_column(0, (~kept).arg_true().cast(pl.Int64).alias(numbers) + first + 1)
            pieces["quarantine"] = self.quarantine.piece(refused)
        part = Part(len(batch), len(bad), counts)
        self.parts.write(number, pieces, part)
        return part

    def _total(self) -> int | None:
        """How many rows the file has, if it says so."""
        return parquet.count(self.copied) if self.layout.format == "parquet" else None


class Progress:
    """What is said on standard error while it takes long."""

    def __init__(self, total: int | None) -> None:
        """Begin to count the time."""
        self._of = "" if total is None else f" of {total:,}"
        self._last = monotonic()
        self._told = False

    def tell(self, rows: int) -> None:
        """Say how many rows are scored, unless that was said a moment ago."""
        if monotonic() - self._last >= PATIENCE:
            self._last, self._told = monotonic(), True
            print(f"... {rows:,}{self._of} rows scored", file=sys.stderr, flush=True)

    def close(self, target: Path) -> None:
        """Say what comes after the last row, if anything was said before."""
        if self._told:
            print(f"... writing {target}", file=sys.stderr, flush=True)


def _tidy(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Values as the project's own file writes them, if `ml/source.py` says how."""
    tidy: Callable[[pl.LazyFrame], pl.LazyFrame] = getattr(source, "tidy", lambda rows: rows)
    return tidy(rows)


def _code() -> str:
    """A digest of the code that says what a row is, and what a model sees of it."""
    digest = hashlib.sha256()
    for module in (schema, source, features):
        digest.update(Path(str(module.__file__)).read_bytes())
    return digest.hexdigest()


def _quarantine(target: Path) -> Path:
    return target.with_suffix(f".quarantine{target.suffix}")


def _check_paths(path: Path, target: Path) -> None:
    if not path.exists():
        raise UserError(f"{path} does not exist; name a CSV, Parquet or JSON lines file.")
    if target.suffix not in FORMATS:
        raise UserError(f"{target} must end in {' or '.join(FORMATS)}, which names its format.")
    for written in (target, _quarantine(target)):
        if written.is_dir():
            raise UserError(f"{written} is a folder; name a file for the result.")
        if written.exists() and written.samefile(path):
            raise UserError(f"{written} is the file to be scored; name another one for the result.")


@contextmanager
def _writing(target: Path, parts: Parts) -> Iterator[None]:
    """Turn what a file system refuses into a sentence about `target`."""
    try:
        yield
    except OSError as error:
        hint = f"; the same command will go on after {parts.rows:,} rows" if parts.done else ""
        reason = error.strerror or str(error)
        raise UserError(f"{target} cannot be written: {reason}{hint}.") from error
