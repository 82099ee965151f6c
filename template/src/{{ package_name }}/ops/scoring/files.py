"""`ops score`: the rows of a file, and what a model says of each.

Rows are read, held to the contract, scored and written in batches, several at a time, so that
memory stays bounded and every core is busy. Finished batches lie beside the result, in
`.<result>.parts/`, until all of them are put together; a run that was killed is taken up there.
"""

import os
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from ...ml import source
from ...ml.features import features
from .. import contract as contracts
from ..bundle import Bundle
from ..data.reading import DataFile, open_file
from ..errors import UserError
from ..files import remove
from ..pipeline import parallel, parquet
from ..pipeline.parsing import parse
from ..pipeline.validate import check, unused
from ..project import Project
from ..registry.champion import located
from ..registry.feature_code import own_features
from ..user_code import PACKAGE, digest, modules
from .parts import Parts, kept
from .rows import BATCH_ROWS, answers, columns_of, unfit

FOLDER = "/"
FORMATS = (".csv", ".parquet", FOLDER)
NUMBERED = re.compile(r"\d{6}\.parquet")
CELLS = 1_500_000
"""About how many values a batch of rows has: what is held in memory is a few times that."""

WORKERS = 8  # as many batches are at work at most; each has use for more than one core


def score(
    project: Project,
    origin: str,
    destination: str,
    model: str | None = None,
    encoding: str | None = None,
) -> None:
    """Score a file, or a folder of Parquet files.

    The rows come back as they were and in their order, with a column `prediction` and, for a
    classification, `probability_<class>`. Rows that break the contract stay, without a
    prediction; they are repeated in `<result>.quarantine.<format>`, as they came, each with its
    number and the rules that it breaks. A row is judged and scored by itself, as it would be if
    it came alone: rules about several rows, such as a primary key, are not asked.

    Args:
        project: whose contract the rows must keep.
        origin: a CSV, Parquet or JSON lines file, or a folder of Parquet files.
        destination: the file to write; its suffix says whether as CSV or as Parquet. With a slash
            at its end, a folder of Parquet files.
        model: a folder, an alias or a version's number; the champion if none is named.
        encoding: of a text file, if not as guessed.

    Raises:
        UserError: if a file cannot be read or written, a column is missing or already there,
            or there is no model that fits the contract.
    """
    path, target = Path(origin), Path(destination)
    kind = FOLDER if destination.endswith(("/", os.sep)) else target.suffix
    _check_paths(path, target, kind)
    bundle = Bundle(located(project, model))
    if obstacle := unfit(bundle, contracts.load()):
        cure = "run `make train`, then `uv run ops promote`"
        raise UserError(f"The model does not fit ml/schema.py: {obstacle}; {cure}.")
    # What says what a row is, beside what a model sees of it.
    read = {name: (PACKAGE / "ml" / name).read_text("utf-8") for name in ("schema.py", "source.py")}
    subject = {
        "the file": _state(path),
        "the model": bundle.digest,
        "the code in ml/": digest(modules() | read),
        "the encoding": encoding or "as guessed",
    }
    with own_features(project, bundle), kept(target, subject) as parts:
        if parts.finished:
            print(f"Going on after {parts.rows:,} rows that are scored already.", file=sys.stderr)
        file = open_file(path, parts.folder, encoding=encoding, single_column=True)
        for note in file.notes:
            print(f"{path}: {note}", file=sys.stderr)
        job = Job(file, target, kind, bundle, parts)
        parts.prepare()
        job.run()
        if _state(path) != subject["the file"]:
            raise UserError(f"{path} changed while it was scored; run the same command again.")
        job.finish()


@dataclass
class Job:
    """The scoring of one file.

    A part holds the file's `columns`, those that scoring adds, and in the column `rules` what a row
    breaks; the quarantine has its number, in the column `number`.
    """

    file: DataFile
    target: Path
    kind: str  # one of `FORMATS`, of the target
    bundle: Bundle
    parts: Parts

    def __post_init__(self) -> None:
        """Look at the file.

        A UserError if it cannot be read, or one of its columns stands in the way.
        """
        origin = self.file.origin
        with self.file.explained():
            empty = self.file.scan().head(0).collect()
        self.columns = empty.columns
        if taken := [it for it in columns_of(self.bundle.manifest) if it in self.columns]:
            raise UserError(f"{origin} already has a column {taken[0]}; rename or drop it first.")
        parse(_tidy(empty.lazy()), labelled=False, origin=str(origin))
        if self.kind == ".csv":
            _check_fits_csv(empty, origin)
        self.number, self.rules = unused("row", self.columns), unused("rule", self.columns)

    def run(self) -> None:
        """Score what is not finished, several batches at a time, and say how far it is."""
        workers = min(WORKERS, pl.thread_pool_size())  # as many as a container may use
        is_parquet = self.file.format == "parquet"
        total = f" of {parquet.count(self.file.path):,}" if is_parquet else ""
        own = self.bundle.features is features
        scored = parallel.map(self._score, self._batches(), workers=workers, alone=not own)
        with parquet.progress(lambda: f"{self.parts.rows:,}{total} rows scored"):
            for rows in scored:
                self.parts.write(rows)

    def finish(self) -> None:
        """Put the parts together, first the quarantine if there is one, and say what was done."""
        rows, rules = self.parts.scan(), pl.col(self.rules)
        broken = rows.filter(rules.is_not_null())
        counts = dict(broken.group_by(rules).len().collect(engine="streaming").rows())
        bad, quarantine = sum(counts.values()), _quarantine(self.target)
        if bad:
            numbered = rows.with_row_index(self.number, offset=1).filter(rules.is_not_null())
            number = pl.col(self.number).cast(pl.Int64)
            self._write(numbered.select(number, rules, *self.columns), quarantine)
        else:
            remove(quarantine)
        self._write(rows.drop(self.rules), self.target)
        print(f"{self.parts.rows - bad:,} of {self.parts.rows:,} rows are scored in {self.target}.")
        if bad:
            print(
                f"{bad:,} break the contract and have no prediction: {_ranked(counts)}. "
                f"They lie in {quarantine}, too.",
                file=sys.stderr,
            )

    def _batches(self) -> Iterator[pl.DataFrame]:
        """The rows that are not finished, in batches; one batch at least of a file."""
        rows = self.file.scan()
        width = len(self.columns) + len(columns_of(self.bundle.manifest))
        size = max(1, CELLS // (width * BATCH_ROWS)) * BATCH_ROWS
        seen = self.parts.finished > 0
        with self.file.explained():
            for batch in rows.slice(self.parts.rows).collect_batches(chunk_size=size):
                seen = True
                yield batch
            if not seen:
                yield rows.head(0).collect()

    def _score(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Score a batch: the rows of a part."""
        origin = str(self.file.origin)
        parsed = parse(_tidy(batch.lazy()), labelled=False, origin=origin).rows.collect()
        if len(parsed) != len(batch):
            raise UserError(
                f"`tidy` in ml/source.py makes {len(parsed):,} rows of {len(batch):,}; "
                "let it return each row that it gets."
            )
        good, bad, _, kept = check(parsed, labelled=False)
        made = answers(self.bundle, good)
        rules = bad.to_series(-1).alias(self.rules).to_frame()
        placed = [_placed(made, kept), _placed(rules, ~kept)]
        return pl.concat([batch, *placed], how="horizontal")

    def _write(self, rows: pl.LazyFrame, target: Path) -> None:
        """Write rows aside, in a stream, and put them in place; an OSError if the disk is full."""
        aside = self.parts.folder / "result"
        remove(aside)
        if self.kind == ".csv":
            sink = rows.sink_csv(aside, separator=self.file.separator, lazy=True)
        else:
            sink = parquet.sink(rows, parquet.in_parts(aside) if self.kind == FOLDER else aside)
        try:
            sink.collect(engine="streaming")
        except pl.exceptions.PolarsError as error:
            raise OSError(str(error).partition("\n")[0].rpartition(": ")[2]) from error
        if target.is_dir():
            remove(target)
        aside.replace(target)


def _placed(values: pl.DataFrame, where: pl.Series) -> pl.DataFrame:
    """The values in the rows that are `where`, one after the other; null in the others."""
    return values.select(pl.all().gather((where.cum_sum() - 1).set(~where, None)))


def _tidy(rows: pl.LazyFrame) -> pl.LazyFrame:
    """Values as the project's own file writes them, if `ml/source.py` says how."""
    tidy: Callable[[pl.LazyFrame], pl.LazyFrame] = getattr(source, "tidy", lambda rows: rows)
    return tidy(rows)


def _state(path: Path) -> str:
    """What changes when a file does."""
    about = [part.stat() for part in parquet.parts(path)]
    return "; ".join(f"{it.st_size} bytes of {it.st_mtime_ns} in {it.st_ino}" for it in about)


def _ranked(counts: Mapping[str, int]) -> str:
    """How many rows break each rule, the most broken one first, given how many break which."""
    sums: Counter[str] = Counter()
    for broken, count in counts.items():
        sums.update(dict.fromkeys(broken.split("; "), count))
    ranked = sorted(sums.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{rule} ({count:,})" for rule, count in ranked)


def _quarantine(target: Path) -> Path:
    return target.with_suffix(f".quarantine{target.suffix}")


def _check_paths(path: Path, target: Path, kind: str) -> None:
    if not path.exists():
        raise UserError(f"{path} does not exist; name a CSV, Parquet or JSON lines file.")
    if kind not in FORMATS:
        raise UserError(f"{target} must end in .csv or .parquet, or in / for a folder of Parquet.")
    wanted = "folder" if kind == FOLDER else "file"
    for written in (target, _quarantine(target)):
        what = "folder" if written.is_dir() else "file"
        if written.exists() and written.samefile(path):
            raise UserError(f"{written} is the {what} to be scored; name another one.")
        if written.exists() and what != wanted:
            raise UserError(f"{written} is a {what}; name a {wanted} for the result.")
        if what == "folder" and not all(NUMBERED.fullmatch(it.name) for it in written.iterdir()):
            raise UserError(f"{written} holds more than an earlier result; name another folder.")
    if path.resolve() in target.resolve().parents and path.is_dir():
        raise UserError(f"{target} lies in the folder to be scored; name another place for it.")


def _check_fits_csv(rows: pl.DataFrame, origin: Path) -> None:
    """Refuse what has no text in a CSV file, before the work and not after it."""
    for column in rows.iter_columns():
        try:
            column.clear(1).to_frame().write_csv()
        except pl.exceptions.PolarsError as error:
            raise UserError(
                f"{origin} holds {column.dtype} in {column.name}, which CSV cannot hold; "
                "write the result to a .parquet file."
            ) from error
