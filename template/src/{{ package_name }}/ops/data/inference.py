"""What the columns of an unknown file are to the model: their roles, and why.

Only what every row must keep becomes part of the contract: types, and the classes of a
classification. Ranges, categories and gaps that the file merely shows do not.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Any, Literal

import polars as pl

from ..errors import UserError
from . import leaks
from .guessing import TOLERANCE, WORDS, YEARS, Guess, decimal_comma, guess, stepped, years

Role = Literal["target", "feature", "text", "event_time", "identifier", "group", "left out"]
Task = Literal["classification", "regression"]

MISSING = (
    *("", "?", "NA", "N/A", "n/a", "na", "#N/A", "<NA>", "NaN", "nan", "NAN", "NaT"),
    *("null", "NULL", "Null"),
)
"""Cells that are taken as missing wherever they stand; "None" and "-" may well be classes."""

SAMPLE = 50_000  # rows that guesses are made from; then all rows have their say
ROWS = 50  # fewer cannot both teach and judge
CLASSES = 100  # more are no closed set
FEW = 20  # whole numbers with more values than this are a quantity
LARGE = 1000  # and so are larger ones
BOOL = {"true", "false"}
RARE = 10  # rows of a class, below which it is hard to learn
MANY = 50  # categories, above which a person should know

IDENTIFIERS = re.compile(r"(^|_)(id|uuid|guid|key|index|rownames|row_?(no|nr|number))$")
CODES = re.compile(r"(^|_)(zip|zip_?code|postal_?code|post_?code|plz)$")
TIMES = re.compile(r"(^|_)(date|day|datetime|time|timestamp|ts)(_|$)|_at$")


@dataclass(frozen=True)
class Wish:
    """What the command line asks for: the target, the task, and columns by their role."""

    target: str
    task: Task | None = None
    roles: Mapping[str, Role] = field(default_factory=dict)


@dataclass(frozen=True)
class Field:
    """What was decided on one column.

    Attributes:
        name: as it stands in the file, without spaces around it.
        guess: its type, and how to get there.
        role: what it is to the model.
        why: in a few words.
        nullable: whether a row may lack a value.
        classes: of a classification's target; empty for anything else.
        category: whether whole numbers are codes without an order.
        warning: what a person should look at; "" for nothing.
    """

    name: str
    guess: Guess
    role: Role
    why: str
    nullable: bool = True
    classes: tuple[str, ...] | tuple[int, ...] = ()
    category: bool = False
    warning: str = ""


@dataclass(frozen=True)
class Finding:
    """All that was decided on a file.

    Attributes:
        task: what the target asks for.
        fields: one for each column that has a name, in the file's order.
        rows: how many the file has.
        lacking: by column, how many rows lack what no row may lack, if any do.
        missing: the cells that are taken as missing.
        padded: whether spaces stand around some values.
    """

    task: Task
    fields: tuple[Field, ...]
    rows: int
    lacking: Mapping[str, int]
    missing: tuple[str, ...]
    padded: bool

    @property
    def target(self) -> Field:
        """The column to predict."""
        return next(item for item in self.fields if item.role == "target")

    @property
    def kept(self) -> tuple[Field, ...]:
        """The columns that are part of the contract."""
        return tuple(item for item in self.fields if item.role != "left out")


@dataclass(frozen=True)
class Census:
    """What all rows together say of a column.

    Attributes:
        present: how many rows have a value, once words that mean missing are out.
        unfit: how many of these values do not fit the type that was guessed.
        fractions: how many of the unfit ones are numbers all the same, of a column of whole ones.
        examples: some unfit values.
        only: the one value that there is, if there is but one.
    """

    present: int
    unfit: int = 0
    fractions: int = 0
    examples: tuple[str, ...] = ()
    only: object = None


def infer(rows: pl.LazyFrame, wish: Wish) -> Finding:
    """Decide on every column of `rows`; see the module.

    Raises:
        UserError: if a wish cannot be granted, or the rows cannot be learnt from.
    """
    names = rows.collect_schema().names()
    _check(wish, names)
    rows, total, missing, padded = _clean(rows)
    if total < ROWS:
        raise UserError(f"The file holds {total} rows; to teach and to judge takes {ROWS}.")
    sample = _sample(rows, total)
    guesses = _guesses(sample, wish)
    census = _census(rows, guesses, sample)
    guesses = {name: _held(guesses[name], census[name]) for name in names}
    rows = stepped(rows, guesses)

    target, task = _target(rows, guesses[wish.target], census[wish.target], wish)
    parsed = _parsed(sample, {**guesses, target.name: target.guess})
    labelled = parsed.filter(pl.col(target.name).is_not_null())
    fields = {target.name: target}
    for name in names:
        if name != target.name:
            item = _role(name, guesses[name], census[name], parsed[name], total, wish)
            fields[name] = _leak_checked(item, labelled, target, task)
    if not any(item.role in ("feature", "text", "event_time") for item in fields.values()):
        others = [f"{item.name!r} ({item.why})" for item in fields.values() if item != target]
        raise UserError(f"No column is left to learn from: {', '.join(others)}.")

    needed = [name for name in names if fields[name].role in ("target", "event_time", "group")]
    lacking = {name: gaps for name in needed if (gaps := total - census[name].present)}
    useful = total
    if lacking:
        complete = pl.all_horizontal(pl.col(*lacking).is_not_null()).sum()
        useful = int(rows.select(complete).collect(engine="streaming").item())
    if useful < ROWS:
        raise UserError(
            f"Only {useful} of {total} rows have a value in {' and '.join(lacking)}; "
            f"to teach and to judge takes {ROWS}."
        )
    in_order = tuple(fields[name] for name in names)
    return Finding(task, in_order, total, lacking, missing, padded)


def _check(wish: Wish, names: list[str]) -> None:
    """Refuse a wish for a column that is not there, or that is asked to be two things."""
    for name in (wish.target, *wish.roles):
        if name not in names:
            folded = {other.casefold(): other for other in names}
            close = get_close_matches(name.strip().casefold(), folded, 3, 0.5)
            meant = " or ".join(repr(folded[other]) for other in close)
            hint = f"did you mean {meant}?" if meant else f"it has {_listed(names)}."
            raise UserError(f"There is no column {name!r}; {hint}")
    if wish.target in wish.roles:
        raise UserError(f"{wish.target!r} is the target, and can have no other role.")


def _clean(rows: pl.LazyFrame) -> tuple[pl.LazyFrame, int, tuple[str, ...], bool]:
    """Strip the text and take out the cells that mean missing.

    Returns:
        The rows, how many there are, the cells that meant missing, and whether some were padded.
    """
    rows = rows.with_columns(pl.col(pl.Float32, pl.Float64).fill_nan(None))
    text, stripped = pl.col(pl.String), pl.col(pl.String).str.strip_chars()
    answers = rows.select(
        pl.len().alias("\0"),
        stripped.filter(stripped.is_in(MISSING)).unique().implode(),
        (text != stripped).any().name.suffix("\0"),
    )
    total, *answered = answers.collect(engine="streaming").row(0)
    cells, padded = answered[: len(answered) // 2], any(answered[len(answered) // 2 :])
    missing = tuple(token for token in MISSING if any(token in seen for seen in cells))
    return rows.with_columns(stripped.replace(list(missing), None)), total, missing, padded


def _sample(rows: pl.LazyFrame, total: int) -> pl.DataFrame:
    """Up to `SAMPLE` rows, evenly spread over the file."""
    every = -(-total // SAMPLE)
    if every > 1:
        rows = rows.with_row_index("\0").filter(pl.col("\0") % every == 0).drop("\0")
    return rows.collect(engine="streaming")


def _guesses(sample: pl.DataFrame, wish: Wish) -> dict[str, Guess]:
    """Guess every column's type, with regard to what was asked for."""
    comma = decimal_comma(sample)
    made: dict[str, Guess] = {}
    for column in sample.iter_columns():
        role = wish.roles.get(column.name)
        timely = role == "event_time" or bool(TIMES.search(slug(column.name)))
        found = guess(column, comma=comma, timely=timely)
        if role == "text" and found.type is not None:
            found = Guess("String", "as asked")
        if role == "event_time" and found.type == "Int64":
            numbers = column.cast(pl.Int64, strict=False)
            found = years(found) if numbers.is_between(*YEARS).all() else found
        made[column.name] = found
    return made


def _census(
    rows: pl.LazyFrame, guesses: Mapping[str, Guess], sample: pl.DataFrame
) -> dict[str, Census]:
    """Ask all rows whether the guesses hold: in one pass, and one more where some do not."""
    rows = stepped(rows, guesses)
    found = rows.collect_schema()

    def unfit(name: str, its: Guess) -> pl.Expr:
        return pl.col(name).is_not_null() & its.parsed(name, found[name]).is_null()

    typed = {name: its for name, its in guesses.items() if its.type}
    still = [name for name in typed if sample[name].drop_nulls().n_unique() <= 1 + WORDS]
    counts = rows.select(
        *(pl.col(name).count().alias(f"present {name}") for name in typed),
        *(unfit(name, its).sum().alias(f"unfit {name}") for name, its in typed.items()),
        *(pl.col(name).min().alias(f"low {name}") for name in still),
        *(pl.col(name).max().alias(f"high {name}") for name in still),
    )
    answer = counts.collect(engine="streaming").row(0, named=True)
    census = {name: Census(0) for name in guesses}
    for name in typed:
        low = answer.get(f"low {name}")
        only = low if low == answer.get(f"high {name}") else None
        census[name] = Census(answer[f"present {name}"], answer[f"unfit {name}"], only=only)
    for name, its in typed.items():
        if census[name].unfit:
            wider = replace(its, type="Float64") if its.type == "Int64" else its
            odd = rows.filter(unfit(name, its)).select(
                fractions=wider.parsed(name, found[name]).count(),
                examples=pl.col(name).head(3).cast(pl.String).implode(),
            )
            fractions, examples = odd.collect(engine="streaming").row(0)
            census[name] = replace(census[name], fractions=fractions, examples=tuple(examples))
    return census


def _held(guess: Guess, census: Census) -> Guess:
    """A guess as all rows bear it out: as it was, with a warning, wider, or taken back."""
    if guess.type in (None, "String") or census.unfit == 0:
        return guess
    if guess.type == "Int64" and census.fractions == census.unfit:
        return replace(guess, type="Float64", why="numbers with decimals")
    odd = _listed(census.examples)
    if census.unfit <= TOLERANCE * census.present:
        it = "1 value does" if census.unfit == 1 else f"{census.unfit} values do"
        return replace(guess, warning=f"{it} not fit ({odd}): such rows go to quarantine")
    return Guess("String", f"of several kinds, such as {odd}")


def _parsed(sample: pl.DataFrame, guesses: Mapping[str, Guess]) -> pl.DataFrame:
    """The sample in the contract's types."""
    rows = stepped(sample.lazy(), guesses)
    found = rows.collect_schema()
    return rows.select(its.parsed(name, found[name]) for name, its in guesses.items()).collect()


def _target(rows: pl.LazyFrame, guess: Guess, census: Census, wish: Wish) -> tuple[Field, Task]:
    """Decide whether the target is a class or a number, and which classes there are.

    Args:
        rows: past their steps.
        guess: the target's.
        census: the target's.
        wish: what was asked for.

    Raises:
        UserError: if it can be neither, or not what was asked for.
    """
    name = wish.target
    if guess.type is None or guess.type in ("Date", "Datetime"):
        raise UserError(f"The target {name!r} holds {guess.why}; choose a class or a number.")
    if census.only is not None:
        raise UserError(
            f"The target {name!r} has a single value, {census.only!r}: there is nothing to predict."
        )
    given = rows.collect_schema()[name]
    if guess.type == "Float64" and wish.task != "regression":
        number = guess.parsed(name, given)
        if rows.select((number % 1 == 0).all()).collect(engine="streaming").item():
            guess = replace(guess, type="Int64", why="whole numbers")
    if guess.type == "Float64":
        if wish.task == "classification":
            raise UserError(
                f"The target {name!r} holds numbers with decimals, which are no classes; "
                "leave out --task classification to predict the number."
            )
        return Field(name, guess, "target", guess.why, nullable=False), "regression"
    # The words of a boolean are counted as they stand, for they may become the classes.
    values = pl.col(name) if guess.type == "Bool" else guess.parsed(name, given)
    counted = rows.select(values).drop_nulls().group_by(name).len().head(CLASSES + 1)
    counts = {value: int(count) for value, count in counted.collect(engine="streaming").rows()}
    if guess.type == "Int64":
        return _whole_target(guess, counts, census.present, wish)
    if wish.task == "regression":
        raise UserError(
            f"The target {name!r} holds {_listed(counts)}, which are no numbers; "
            "leave out --task regression to predict the class."
        )
    if len(counts) > CLASSES or len(counts) > census.present / 2:
        raise UserError(
            f"The target {name!r} holds too many different texts for a classification, such as "
            f"{_listed(counts)}; choose another column."
        )
    of = f"{len(counts)} classes: {_tally(counts)}"
    if guess.type == "Bool" and (
        len(counts) > 2 or {str(value).lower() for value in counts} == BOOL
    ):
        return Field(name, guess, "target", of, False, warning=_rare(counts)), "classification"
    words = replace(guess, type="String")
    classes = tuple(sorted(counts))
    return Field(name, words, "target", of, False, classes, warning=_rare(counts)), "classification"


def _whole_target(
    guess: Guess, counts: Mapping[int, int], present: int, wish: Wish
) -> tuple[Field, Task]:
    """A target of whole numbers: classes if they are few, else a quantity."""
    many = len(counts) > CLASSES or len(counts) > present / 2
    few = len(counts) <= FEW and 10 * len(counts) <= present and max(map(abs, counts)) <= LARGE
    if wish.task == "regression" or not (wish.task or few or len(counts) == 2):
        of = "many" if many else f"{len(counts)}"
        why = f"whole numbers, {of} different ones"
        return Field(wish.target, guess, "target", why, nullable=False), "regression"
    if many:
        raise UserError(
            f"The target {wish.target!r} holds too many different numbers for a classification; "
            "leave out --task classification to predict the number."
        )
    hint = "" if wish.task or len(counts) == 2 else " (--task regression if they are a quantity)"
    why = f"{len(counts)} classes{hint}: {_tally(counts)}"
    classes = tuple(sorted(counts))
    field = Field(wish.target, guess, "target", why, False, classes, warning=_rare(counts))
    return field, "classification"


def _role(
    name: str, guess: Guess, census: Census, values: pl.Series, total: int, wish: Wish
) -> Field:
    """Decide what a column other than the target is to the model.

    Raises:
        UserError: if it cannot have the role that was asked for.
    """
    asked = wish.roles.get(name)
    if asked == "left out":
        return Field(name, guess, asked, "as asked")
    if guess.type is None:
        return Field(name, guess, "left out", guess.why)
    if asked == "event_time" and guess.type not in ("Date", "Datetime"):
        shown = values.drop_nulls().head(1).to_list()
        raise UserError(f"--time {name!r} holds no days or times that can be read: {shown[0]!r}.")
    if asked:
        needed = asked in ("event_time", "group")
        return Field(name, guess, asked, guess.why or "as asked", not needed, warning=guess.warning)
    present = values.drop_nulls()
    distinct = present.n_unique()
    unique = distinct / max(len(present), 1)
    if census.only is not None and census.present == total:
        return Field(name, guess, "left out", f"{_listed([census.only])} in every row")
    coded = bool(CODES.search(slug(name)))
    if guess.type in ("Int64", "String") and not coded and len(present) >= ROWS:
        if IDENTIFIERS.search(slug(name)) and (distinct > MANY or unique > 0.5):
            return Field(name, guess, "identifier", "named like one, with many values")
        if guess.type == "Int64" and values.null_count() == 0 and _counts_up(values):
            return Field(name, guess, "identifier", "counts the rows")
    if guess.type == "Int64":
        why = "codes" if coded else guess.why
        return Field(name, guess, "feature", why, category=coded, warning=guess.warning)
    if guess.type != "String":
        return Field(name, guess, "feature", guess.why, warning=guess.warning)
    words = float(present.str.count_matches(r"\S+").mean() or 0)  # type: ignore[arg-type]
    if (words >= 2 and unique > 0.5) or (words >= 5 and distinct > MANY):
        return Field(name, guess, "text", f"{words:.0f} words on average, {distinct:,} texts")
    if unique > 0.95 and len(present) >= ROWS and not coded:
        return Field(name, guess, "identifier", "another value in nearly every row")
    why = guess.why or (f"{distinct:,} categories" if distinct > 1 else "there or missing")
    many = "" if distinct <= MANY else f"{distinct:,} categories, many for {total:,} rows"
    return Field(name, guess, "feature", why, warning=many if unique > 0.2 else "")


def _counts_up(values: pl.Series) -> bool:
    """Whether the values are 0, 1, 2, ... or 1, 2, 3, ..., as an index that was written along."""
    return values[0] in (0, 1) and bool((values.diff()[1:] == 1).all())


def _leak_checked(field: Field, parsed: pl.DataFrame, target: Field, task: Task) -> Field:
    """Leave out a feature that gives the target away."""
    if field.role not in ("feature", "text", "event_time"):
        return field
    truth = parsed[target.name].cast(pl.String if task == "classification" else pl.Float64)
    strength = leaks.strength(parsed[field.name], truth)
    if strength < leaks.SUSPECT:
        return field
    told = f"alone it tells {strength:.1%} of {target.name}"
    if strength < leaks.CERTAIN or field.role == "event_time":
        return replace(field, warning=f"a leak? {told}")
    remedy = "if it is known before that is, declare it in ml/schema.py"
    why = f"a leak: {told}"
    return replace(field, role="left out", why=why, warning=f"{why}, so it is left out; {remedy}")


def slug(name: str) -> str:
    """A column's name in the letters of a Python name: lower case, words apart."""
    apart = unicodedata.normalize("NFKD", re.sub(r"\W+|_+", "_", name))
    latin = apart.encode("ascii", "ignore").decode()
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", latin).lower().strip("_")


def _tally(counts: Mapping[Any, int]) -> str:
    """The most frequent values, with how often they occur."""
    ranked = sorted(counts.items(), key=lambda item: (-item[1], str(item[0])))
    rest = "" if len(ranked) <= 4 else ", and more"
    return ", ".join(f"{value} ({count:,})" for value, count in ranked[:4]) + rest


def _rare(counts: Mapping[Any, int]) -> str:
    """A warning of classes with few rows."""
    rare = sorted(str(value) for value, count in counts.items() if count < RARE)
    return f"few rows of {_listed(rare)}: hard to learn, and to judge" if rare else ""


def _listed(values: Iterable[object]) -> str:
    """Some values, the first of them only if they are many, each cut if it is long."""
    shown = [repr(value) for value in values]
    shown = [text if len(text) <= 40 else f"{text[:36]}...'" for text in shown]
    return ", ".join(shown[:8]) + (", and more" if len(shown) > 8 else "")
