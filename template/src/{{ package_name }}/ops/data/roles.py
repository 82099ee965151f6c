"""What the columns of an unknown file are to the model: their roles, and why.

Only what every row must keep becomes part of the contract: types, and the classes of a
classification. Ranges, categories and gaps that the file merely shows do not.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from math import ceil, inf, isclose
from typing import Any, Literal, NamedTuple

import numpy as np
import polars as pl
from polars import selectors as cs

from ..contract import EXACT, FOLD, KEPT, LARGEST
from ..errors import UserError
from ..pipeline.parsing import read
from ..wording import closest, listed, shortened
from . import leaks, tasks
from .types import TOLERANCE, YEARS, Column, Role, decimal_comma, guess, stepped, years

Task = Literal["classification", "regression", "recommendation"]

MISSING = (
    *("", "?", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT"),
    *("null", "NULL", "Null", "(null)", "\\N"),
    *("-nan", "nan(ind)", "-nan(ind)", "-1.#IND", "1.#QNAN"),
    *("#DIV/0!", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!"),
)
"""Cells that are taken as missing wherever they stand; "None" and "-" may well be classes."""

ROUNDED = 2**24  # up to here a feature, which is a float32, holds every whole number
DATE_PARTS = ("days", "month", "weekday", "hour")  # that `ml/features.py` names after a column
SAMPLE = 50_000  # rows that guesses are made from; then all rows have their say
HEADS = 20  # columns that tell whether a row repeats the header
WIDE = 250  # columns that all rows are asked of at once
DISTINCT = 4  # numbers, of which one may stand apart from the others
ROWS = 50  # fewer cannot both teach and judge
CLASSES = 100  # more are no closed set
FEW = 20  # whole numbers with more values than this are a quantity
ROOM = 1.5  # times as long as the longest list, a later one may be
LARGE = 1000  # and so are larger ones
BOOL = {"true", "false"}
RARE = 10  # rows of a class, below which it is hard to learn
MANY = 50  # categories, above which a person should know
LONGEST = 40  # letters of a value in a sentence

IDENTIFIERS = re.compile(r"(^|_)(id|uuid|guid|key|index(_level_\d)?|rownames|row_?(no|nr|number))$")
CODES = re.compile(r"(^|_)(zip|zip_?code|postal_?code|post_?code|plz)$")
NINES = re.compile(r"99+(\.9+)?")
TOTALS = re.compile(
    r"(?i)((grand|sub)[ -]?)?totale?s?|sums?|(gesamt)?summe|(ins)?gesamt|gesamtergebnis|somme|suma|"
    r"average|mean|mittelwert|moyenne|итого|всего|[总總合小][计計]"
)
TIMES = re.compile(r"(^|_)(date|day|datetime|time|timestamp|ts)(_|$)|_at$")


@dataclass(frozen=True)
class Wish:
    """What the command line asks for: the target, the task, and columns by their role."""

    target: str
    task: Task | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)


@dataclass(frozen=True)
class Draft:
    """All that is decided on a file, of which the contract will be written."""

    task: Task
    columns: tuple[Column, ...]  # those that have a name, in the file's order
    rows: int
    lacking: Mapping[str, int]  # by column, the rows that lack what no row may lack
    missing: tuple[str, ...]  # the cells that are taken as missing
    padded: bool  # spaces stand around some values
    heads: bool  # a row or more repeat the header
    total: str  # a row at the end that seems to sum up the others, in words

    @property
    def target(self) -> Column:
        """The column to predict."""
        return next(column for column in self.columns if column.role == "target")

    @property
    def kept(self) -> tuple[Column, ...]:
        """The columns that are part of the contract."""
        return tuple(column for column in self.columns if column.role != "left out")

    @property
    def absent(self) -> tuple[str, ...]:
        """The words for missing; days that stand for none, such as 9999-12-31, as JSON has them."""
        found = dict.fromkeys(self.missing)
        for its in self.kept:
            words = [word for step in its.steps for word in step.options.get("words", ())]
            if words and its.type in ("Date", "Datetime"):
                others = tuple(step for step in its.steps if step.function != "unless")
                column = replace(its, steps=others)
                rows = stepped(pl.LazyFrame({its.name: words}), [column])
                days = rows.select(column.parsed(pl.String())).collect().to_series().drop_nulls()
                for day in days.cast(pl.Datetime("us")):
                    said = day.isoformat()
                    ways = said.removesuffix("T00:00:00"), said, f"{said}Z", said.replace("T", " ")
                    found |= dict.fromkeys(ways)
        return tuple(found)


class Census(NamedTuple):
    """What all rows together say of a column."""

    present: int = 0  # rows that have a value
    unfit: int = 0  # values that do not fit the type
    large: int = 0  # numbers that a feature cannot hold
    least: Any = None
    most: Any = None
    first: Any = None  # of the values that do not fit, in order
    last: Any = None
    decimals: int = 0  # how many of them are numbers

    @property
    def only(self) -> Any:
        """The one value that there is, if there is but one."""
        return self.least if self.least == self.most else None


def decide(rows: pl.LazyFrame, wish: Wish) -> Draft:
    """Decide on every column; a UserError if a wish cannot be granted, or nothing can be learnt."""
    names = rows.collect_schema().names()
    _check(wish, names)
    rows, total, missing, padded, heads = _clean(rows)
    if total < ROWS:
        raise UserError(f"The file holds {total} rows; to teach and to judge takes {ROWS}.")
    sample, ends = _sample(rows, total), rows.tail(5).collect(engine="streaming")
    rows = sample.lazy() if len(sample) == total else rows  # each pass over wide text is slow
    guesses = _guesses(sample, wish)
    blocks = [guesses[start : start + WIDE] for start in range(0, len(guesses), WIDE)]
    census = {name: its for block in blocks for name, its in _census(rows, block).items()}
    columns = {
        its.name: _measured(its, rows) if its.item else _held(its, census[its.name])
        for its in guesses
    }
    rows = stepped(rows, columns.values())

    target, task = _target(rows, columns[wish.target], census[wish.target], wish)
    columns[target.name] = target
    tidied = stepped(sample.lazy(), columns.values())
    found = tidied.collect_schema()
    parsed = tidied.select(its.parsed(found[its.name]) for its in columns.values()).collect()
    labelled = parsed.filter(pl.col(target.name).is_not_null())
    if task == "regression":
        labelled = labelled.filter(pl.col(target.name).cast(pl.Float64).abs() <= LARGEST)
    for name in names:
        if name != target.name:
            column = _with_role(columns[name], census[name], parsed[name], total, wish)
            columns[name] = _leak_checked(column, labelled, target, task)
    if task == "regression":
        others = {slug(its.name): its for its in parsed.drop(target.name)}
        warnings = filter(None, [target.warning, tasks.censored(slug(target.name), others)])
        columns[target.name] = target = replace(target, warning="; ".join(warnings))
    if not any(its.role in ("feature", "text", "event_time") for its in columns.values()):
        left = [f"{its.name!r} ({its.why})" for its in columns.values() if its != target]
        raise UserError(f"No column is left to learn from: {', '.join(left)}.")

    needed = [name for name in names if columns[name].role in ("target", "event_time", "group")]
    lacking = {name: gaps for name in needed if (gaps := total - census[name].present)}
    useful = total
    if lacking:
        complete = rows.drop_nulls(list(lacking)).select(pl.len())
        useful = int(complete.collect(engine="streaming").item())
    if useful < ROWS:
        have = f"Only {useful} of {total} rows have a value in {' and '.join(lacking)}"
        raise UserError(f"{have}; to teach and to judge takes {ROWS}.")
    summed = _total(ends, sample, parsed if len(parsed) == total else parsed.clear())
    draft = Draft(task, tuple(columns.values()), total, lacking, missing, padded, heads, summed)
    _check_names(draft)
    return draft


def _check(wish: Wish, names: list[str]) -> None:
    """Refuse a wish for a column that is not there, or that is asked to be two things."""
    for name in (wish.target, *wish.roles):
        if name not in names:
            close = " or ".join(map(repr, closest(name, names, 3, 0.5)))
            hint = f"did you mean {close}?" if close else f"it has {_listed(names)}."
            raise UserError(f"There is no column {name!r}; {hint}")
    if wish.target in wish.roles:
        raise UserError(f"{wish.target!r} is the target, and can have no other role.")


def _check_names(draft: Draft) -> None:
    """Refuse the names of columns that the pipeline, `ml/features.py` and scoring add."""
    kept = {column.name for column in draft.kept}
    added = {FOLD, KEPT, "prediction", *(f"probability_{it}" for it in draft.target.classes)}
    times = [column.name for column in draft.kept if column.type in ("Date", "Datetime")]
    added |= {f"{name} {part}" for name in times for part in DATE_PARTS}
    # Rules, and texts that could not be read, have names such as a|max and a|text.
    if taken := [repr(it) for it in kept if it in added or it.rpartition("|")[0] in kept]:
        raise UserError(
            f"The project itself calls a column {taken[0]}; rename yours, or leave it out by "
            "`--drop`."
        )


def _clean(rows: pl.LazyFrame) -> tuple[pl.LazyFrame, int, tuple[str, ...], bool, bool]:
    """Strip the text and take out the cells that mean missing.

    Gives the rows, their number, the cells that meant missing, whether some were padded, or heads.
    """
    rows = rows.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))
    text, stripped = pl.col(pl.String), pl.col(pl.String).str.strip_chars()
    texts = [name for name, given in rows.collect_schema().items() if given == pl.String]
    named = [pl.col(name).str.strip_chars() == name.strip() for name in texts[:HEADS]]
    answers = rows.select(
        pl.len().alias("\0"),
        (pl.all_horizontal(named).any() if len(named) > 1 else pl.lit(False)).alias("\0\0"),
        stripped.filter(stripped.is_in(MISSING)).unique().implode(),
        (text != stripped).any().name.suffix("\0"),
    )
    total, heads, *answered = answers.collect(engine="streaming").row(0)
    cells, padded = answered[: len(answered) // 2], any(answered[len(answered) // 2 :])
    missing = tuple(token for token in MISSING if any(token in seen for seen in cells))
    # `replace` would do, but in a stream it takes time with the square of the columns.
    told = pl.when(~stripped.is_in(missing)).then(stripped)
    return rows.with_columns(told), total, missing, padded, heads


def _sample(rows: pl.LazyFrame, total: int) -> pl.DataFrame:
    """Up to `SAMPLE` rows, evenly spread over the file."""
    every = -(-total // SAMPLE)
    if every > 1:
        rows = rows.with_row_index("\0").filter(pl.col("\0") % every == 0).drop("\0")
    return rows.collect(engine="streaming")


def _total(ends: pl.DataFrame, sample: pl.DataFrame, parsed: pl.DataFrame) -> str:
    """A row at the end that says so, or the last, if it holds the sums of all others; else ""."""
    rows = [{name: it for name, it in row.items() if it is not None} for row in ends.to_dicts()]
    for row in rows:
        words = [name for name, it in row.items() if TOTALS.fullmatch(str(it).rstrip(": "))]
        if any((sample[name] == row[name]).sum() < 2 for name in words):
            return _listed(row.values())
    numbers = [its for its in parsed.select(cs.numeric()).iter_columns() if its.tail(1).count()]
    summed = all(isclose(its[-1], its.head(-1).sum(), rel_tol=1e-4) for its in numbers)
    many = summed and any(its.n_unique() > DISTINCT for its in numbers)
    return _listed(rows[-1].values()) if many else ""


def _guesses(sample: pl.DataFrame, wish: Wish) -> list[Column]:
    """Guess every column's type, with regard to what was asked for."""
    comma = decimal_comma(sample)
    made = []
    for values in sample.iter_columns():
        role = wish.roles.get(values.name)
        timely = role == "event_time" or bool(TIMES.search(slug(values.name)))
        column = guess(values, comma=comma, timely=timely)
        if role == "text" and column.type is not None and not column.item:
            column = Column(values.name, "String", "as asked")
        if role == "event_time" and column.type == "Int64":
            numbers = values.cast(pl.Int64, strict=False)
            column = years(column) if numbers.is_between(*YEARS).all() else column
        made.append(column)
    return made


def _census(rows: pl.LazyFrame, columns: list[Column]) -> dict[str, Census]:
    """Ask all rows, in one pass, whether the guesses of some columns hold.

    No values are filtered: in a stream that takes memory with the square of the columns. Time is
    taken with it in any case, so few columns are asked at once.
    """
    rows = stepped(rows.select(its.name for its in columns), columns)
    given = rows.collect_schema()
    typed = [column for column in columns if column.type and not column.item]
    parsed = {its.name: its.parsed(given[its.name]) for its in typed if its.type != "String"}
    rows = rows.with_columns(made.alias(f"{name}\0") for name, made in parsed.items())
    asked = []
    for its in typed:
        raw, made = pl.col(its.name), pl.col(f"{its.name}\0" if its.name in parsed else its.name)
        odd = pl.when(raw.is_not_null() & made.is_null()).then(raw)
        beyond = made.abs().is_between(LARGEST, inf, closed="right")
        answers = pl.struct(
            present=raw.count(),
            unfit=raw.count() - made.count(),
            large=beyond.sum() if its.type == "Float64" else pl.lit(0),
            least=raw.min(),
            most=raw.max(),
            first=odd.min(),
            last=odd.max(),
            decimals=read(odd, given[its.name], pl.Float64()).count(),
        )
        asked.append(answers.alias(its.name))
    answered = rows.select(asked).collect(engine="streaming").row(0, named=True)
    return {its.name: Census(**answered.get(its.name, {})) for its in columns}


def _held(column: Column, census: Census) -> Column:
    """A guess as all rows bear it out: as it was, with a warning, wider, or taken back."""
    if census.large:
        it = "1 number is" if census.large == 1 else f"{census.large:,} numbers are"
        warning = f"{it} infinite or too large for a model: such rows go to quarantine"
        column = replace(column, warning=warning)
    if not census.unfit:
        return column
    if isinstance(census.first, int):
        return Column(column.name, "String", "codes: too many digits for a number")
    if column.type == "Int64" and census.decimals == census.unfit:
        return replace(column, type="Float64", why="numbers with decimals")
    shown = _listed(dict.fromkeys([census.first, census.last]))
    if census.unfit <= TOLERANCE * census.present:
        it = "1 value does" if census.unfit == 1 else f"{census.unfit} values do"
        warning = column.warning or f"{it} not fit ({shown}): such rows go to quarantine"
        return replace(column, warning=warning)
    return Column(column.name, "String", f"of several kinds, such as {shown}")


def _measured(column: Column, rows: pl.LazyFrame) -> Column:
    """An array with its length, and with a warning if some of its rows hold anything else."""
    raw, given = pl.col(column.name), rows.collect_schema()[column.name]
    lists = column.parsed(given)
    asked = rows.select(
        unfit=raw.count() - lists.count(),
        least=lists.list.len().min(),
        most=lists.list.len().max(),
        gaps=lists.list.eval(pl.element().is_null()).list.any().any(),
        differ=(lists != lists.first()).any() | raw.is_null().any(),
    )
    unfit, least, most, gaps, differ = asked.collect(engine="streaming").row(0)
    if not (most and differ):
        return replace(column, type=None, item=None, why=f"the same {column.why} in every row")
    warning = f"all but {unfit:,} are {column.why}; the rest goes to quarantine" if unfit else ""
    column = replace(column, gaps=bool(gaps), warning=warning)
    if least == most:
        return replace(column, type="Array", length=most, why=f"{column.why}, {most:,} in each")
    length, why = ceil(ROOM * most), f"{column.why}, {least:,} to {most:,} in each"
    return replace(column, length=length, why=why)


def _target(rows: pl.LazyFrame, column: Column, census: Census, wish: Wish) -> tuple[Column, Task]:
    """Decide whether the target is a class or a number, and which classes there are."""
    name = wish.target
    column = replace(column, role="target", nullable=False)
    if column.type in (None, "Date", "Datetime") or column.item:
        hint = " If they are labels, make a column of yes and no for each."
        raise UserError(
            f"The target {name!r} holds {column.why}; choose a class or a number."
            f"{hint if 'list' in column.why.lower() else ''}"
        )
    if census.only is not None:
        only = f"a single value, {census.only!r}"
        raise UserError(f"The target {name!r} has {only}: there is nothing to predict.")
    if wish.task == "recommendation":
        why = "items, of an open set"
        return replace(column, type="String", steps=(), why=why, warning=""), wish.task
    given = rows.collect_schema()[name]
    if column.type == "Float64" and wish.task != "regression":
        number = column.parsed(given)
        whole = ((number % 1 == 0) & (number.abs() < EXACT)).all()
        if rows.select(whole).collect(engine="streaming").item():
            column = replace(column, type="Int64", why="whole numbers")
    if column.type == "Float64":
        if wish.task == "classification":
            raise UserError(
                f"The target {name!r} holds numbers with decimals, which are no classes; "
                "leave out --task classification to predict the number."
            )
        return column, "regression"
    # The words of a boolean are counted as they stand, for they may become the classes.
    values = pl.col(name) if column.type == "Bool" else column.parsed(given)
    counted = rows.select(values).drop_nulls().group_by(name).len().head(CLASSES + 1)
    found = sorted(counted.collect(engine="streaming").rows(), key=str)
    counts = {value: int(count) for value, count in found}
    many = len(counts) > CLASSES or len(counts) > census.present / 2
    numbers = column.type == "Int64"
    if numbers and _is_quantity(counts, census.present, wish):
        different = "many" if many else f"{len(counts)}"
        why = f"whole numbers, {different} different ones"
        warning = tasks.item(slug(name), counts) if many else ""
        return replace(column, why=why, warning=warning or column.warning), "regression"
    if wish.task == "regression":
        raise UserError(
            f"The target {name!r} holds {_listed(counts)}, which are no numbers; "
            "leave out --task regression to predict the class."
        )
    if many:
        remedy = "leave out --task classification" if numbers else "choose another column"
        other = tasks.several_labels(counts) or tasks.item(slug(name), counts)
        raise UserError(
            f"The target {name!r} holds too many different {'numbers' if numbers else 'texts'} "
            f"for a classification, such as {_listed(counts)}; {remedy}. {other}".rstrip()
        )
    if column.type == "Bool" and len(counts) == 2 and {str(it).lower() for it in counts} != BOOL:
        column = replace(column, type="String")
    if column.type != "Bool":
        column = replace(column, classes=tuple(sorted(counts)))
    hint = " (--task regression if they are a quantity)"
    unasked = numbers and not wish.task and len(counts) > 2
    why = f"{len(counts)} classes{hint if unasked else ''}: {_most_frequent(counts)}"
    warnings = tasks.several_labels(counts), _rare(counts), _alike(map(str, column.classes))
    return replace(column, why=why, warning="; ".join(filter(None, warnings))), "classification"


def _is_quantity(counts: Mapping[int, int], present: int, wish: Wish) -> bool:
    """Whether whole numbers are a quantity to predict, and no classes: those are few and small."""
    few = len(counts) <= FEW and 10 * len(counts) <= present and max(map(abs, counts)) <= LARGE
    return wish.task == "regression" or not (wish.task or few or len(counts) == 2)


def _with_role(column: Column, census: Census, values: pl.Series, total: int, wish: Wish) -> Column:
    """Decide what a column other than the target is to the model."""
    asked = wish.roles.get(column.name)
    if asked == "left out":
        return replace(column, role=asked, why="as asked", warning="")
    if column.type is None:
        return replace(column, role="left out")
    if column.item:
        if asked:
            raise UserError(f"{column.name!r} holds {column.why}, which cannot be {asked}.")
        ids = wish.task == "recommendation" and column.item == "Int64"
        return replace(column, item="String") if ids else column
    present = values.drop_nulls()
    if asked == "event_time" and column.type not in ("Date", "Datetime"):
        raise UserError(f"--time {column.name!r} holds no days or times: {present[0]!r}.")
    if asked == "weight" and (column.type not in ("Int64", "Float64") or (present < 0).any()):
        raise UserError(f"--weight {column.name!r} must hold numbers of 0 or more.")
    if asked:
        nullable = asked not in ("event_time", "group")
        return replace(column, role=asked, why=column.why or "as asked", nullable=nullable)
    if census.only is not None and census.present == total:
        return replace(column, role="left out", why=f"{_listed([census.only])} in every row")
    called = slug(column.name)
    coded = bool(CODES.search(called))
    distinct = present.n_unique()
    unique = distinct / max(len(present), 1)
    if len(present) >= ROWS and not coded:
        whole = column.type == "Float64" and bool((present % 1 == 0).all())
        many = distinct > MANY or unique > 0.5
        if many and IDENTIFIERS.search(called) and (whole or column.type in ("Int64", "String")):
            why = "named like one, with many values"
            type_ = "Int64" if whole else column.type
            return replace(column, type=type_, role="identifier", why=why, warning="")
        if column.type == "Int64" and values.null_count() == 0 and _counts_up(values):
            return replace(column, role="identifier", why="counts the rows", warning="")
    if column.type == "Int64" and coded:
        return replace(column, why="codes", category=True)
    if column.type == "Int64" and (present.abs() > ROUNDED).any():
        warning = f"whole numbers beyond {ROUNDED:,} are rounded to seven digits for the model"
        column = replace(column, warning=column.warning or warning)
    if column.type in ("Float64", "Int64"):
        return replace(column, warning=column.warning or _stands_apart(present))
    if column.type != "String":
        return column
    words = float(present.str.count_matches(r"\S+").mean() or 0)  # type: ignore[arg-type]
    if (words >= 2 and unique > 0.5) or (words >= 5 and distinct > MANY):
        why = f"{words:.0f} words on average, {distinct:,} texts"
        return replace(column, role="text", why=why)
    if unique > 0.95 and len(present) >= ROWS and not coded:
        return replace(column, role="identifier", why="another value in nearly every row")
    why = column.why or (f"{distinct:,} categories" if distinct > 1 else "there or missing")
    if distinct > MANY and unique > 0.2:
        column = replace(column, warning=f"{distinct:,} categories, many for {total:,} rows")
    warnings = filter(None, [column.warning, _alike(present.unique().sort())])
    return replace(column, why=why, warning="; ".join(warnings))


def _stands_apart(present: pl.Series) -> str:
    """A warning of one number, such as -999, that may stand for a missing value.

    It is repeated, and further from all other numbers than these are from each other, or nearly
    so if it is made of nines.
    """
    numbers, times = np.unique(present.to_numpy(), return_counts=True)
    if len(numbers) < DISTINCT:
        return ""
    for end, beside, other in ((0, 1, -1), (-1, -2, 0)):
        gap, spread = abs(numbers[beside] - numbers[end]), abs(numbers[other] - numbers[beside])
        nines = NINES.fullmatch(f"{abs(numbers[end]):g}")
        if times[end] >= max(3, 0.002 * len(present)) and gap > (spread / 4 if nines else spread):
            it = f"{times[end]:,} values are {numbers[end]:g}"
            return f"{it}; leave such cells empty if it stands for no value"
    return ""


def _counts_up(values: pl.Series) -> bool:
    """Whether the values are 0, 1, 2, ... or 1, 2, 3, ..., as an index that was written along."""
    return values[0] in (0, 1) and bool((values.diff()[1:] == 1).all())


def _leak_checked(column: Column, parsed: pl.DataFrame, target: Column, task: Task) -> Column:
    """Leave out a feature that gives the target away; of an open set, that is not asked."""
    seen = column.role in ("feature", "text", "event_time") and not column.item
    if not seen or task == "recommendation":
        return column
    truth = parsed[target.name].cast(pl.String if task == "classification" else pl.Float64)
    strength = leaks.strength(parsed[column.name], truth)
    if not strength >= leaks.SUSPECT:  # it may be no number, where numbers are huge
        return column
    told = f"alone it tells {strength:.1%} of {target.name}"
    if strength < leaks.CERTAIN or column.role == "event_time":
        return replace(column, warning=f"a leak? {told}")
    why = f"a leak: {told}"
    warning = f"{why}, so it is left out; if it is known before that is, declare it in ml/schema.py"
    return replace(column, role="left out", why=why, warning=warning)


def slug(name: str) -> str:
    """A column's name in the letters of a Python name: lower case, words apart."""
    apart = unicodedata.normalize("NFKD", re.sub(r"\W+|_+", "_", name))
    latin = apart.encode("ascii", "ignore").decode()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", latin).lower().strip("_")


def _most_frequent(counts: Mapping[Any, int]) -> str:
    """The most frequent values, with how often they occur."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    rest = "" if len(ranked) <= 4 else ", and more"
    return ", ".join(f"{value} ({count:,})" for value, count in ranked[:4]) + rest


def _rare(counts: Mapping[Any, int]) -> str:
    """A warning of classes with few rows."""
    rare = sorted(str(value) for value, count in counts.items() if count < RARE)
    return f"few rows of {_listed(rare)}: hard to learn, and to judge" if rare else ""


def _alike(values: Iterable[str]) -> str:
    """A warning of two values that only case, spaces or hidden letters tell apart."""
    seen: dict[str, str] = {}
    for value in values:
        folded = unicodedata.normalize("NFKC", value).casefold()
        key = "".join(it for it in folded if unicodedata.category(it)[0] not in "ZC")
        if len(key) > 2 and (other := seen.setdefault(key, value)) != value:
            shown = f"{other[:LONGEST]!r} and {value[:LONGEST]!r}"
            return f"{shown} differ by case, spaces or hidden letters alone"
    return ""


def _listed(values: Iterable[object]) -> str:
    """Some values in a sentence, each cut if it is long."""
    return listed([shortened(repr(value), LONGEST) for value in values])
