"""The champion: its alias, the log of how it came there, and its files.

The alias is what counts. The log is mended where the alias has moved without a word there, and
`models/champion`, a copy for everything that scores, follows: a crash in between leaves the former
champion in service, whole, until the next command that opens the registry.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ..bundle import MANIFEST, Bundle, sign
from ..errors import UserError
from ..files import remove, replacing
from ..project import Project
from .tracking import CHALLENGER, CHAMPION, PREVIOUS, REFUSED, Promotion, Store, Version, connected

if TYPE_CHECKING:
    from ..evaluation.metrics import Score  # polars, which not every image of the service has


def located(project: Project, name: str | None = None) -> Path:
    """The folder of a bundle, by its path or else by an alias or number, whatever its status.

    The champion lies in `models/champion` and gives way there to the next one; any other version
    lies in `models/versions/<number>`, and stays. Without a name it is the champion, of which the
    registry is asked only if it does not lie there. A UserError if there is nothing of that name.
    """
    if name is None and (project.champion / MANIFEST).exists():
        return project.champion
    name = name or CHAMPION
    folder = Path(name)
    if folder.is_dir() or folder.name != name:
        return folder
    with connected(project) as store:
        if name != CHAMPION:
            return kept(store, named(store, name, "folder, alias or version"))
        if current(store) is None:
            raise UserError("There is no champion yet: run `make train`.")
        return project.champion


def named(store: Store, name: str, kind: str = "alias or version") -> Version:
    """The version that an alias or a number names, and that holds a bundle.

    A UserError if there is none of the `kind` that is looked for.
    """
    aliases = store.aliases()
    versions = {str(version.number): version for version in store.versions()}
    if not versions:
        raise UserError("Nothing is registered yet: run `make train`.")
    version = versions.get(str(aliases.get(name, name.removeprefix("v"))))
    if version is None:
        wanted = name if name in (CHAMPION, CHALLENGER, PREVIOUS) else f"{kind} {name}"
        known = ", ".join([*sorted(aliases), *versions])
        raise UserError(f"There is no {wanted}; there are {known}.")
    if not version.digest:
        raise UserError(
            f"Version {version.number} was not registered by `ops register`; it has no bundle."
        )
    return version


def current(store: Store) -> Version | None:
    """The champion, after log and folder were made to agree with its alias."""
    version = in_office(store)
    if version is not None:
        kept(store, version, store.project.champion)
    return version


def in_office(store: Store) -> Version | None:
    """The champion, after the log was made to agree with its alias."""
    number = store.aliases().get(CHAMPION)
    if number is None:
        return None
    last = next((event.version for event in reversed(store.promotions())), None)
    if last != number:
        why = "the alias was moved elsewhere, or a promotion was cut short"
        note(store, Promotion(now(), number, last, "unknown", why, "found"))
    return store.version(number)


def note(store: Store, event: Promotion) -> None:
    """Let the alias `previous` name what a rollback returns to now, and append to the log."""
    previous = before(store, [*store.promotions(), event])
    store.alias(PREVIOUS, None if previous is None else previous.number)
    store.record(event)


def before(store: Store, log: Sequence[Promotion]) -> Version | None:
    """What a rollback returns to: the last champion before this one that can serve again."""
    *line, champion = succession(log)
    for event in reversed(line):
        version = store.version(event.version) if event.version != champion.version else None
        if version and version.digest and not version.rolled_back and version.status != REFUSED:
            return version
    return None


def rivals(store: Store, champion: Version, score: "Score") -> list[Version]:
    """Champions before this one that a challenger is held to as well, the oldest first.

    They are the last one that a person promoted, the best and the ten newest since: each may have
    lost a little to the one before it, and together they may lose no more than one alone.
    """
    line = succession(store.promotions())
    begun = max((place for place, event in enumerate(line) if event.by_person), default=0)
    first, *later = line[begun:]
    numbers = {event.version for event in (first, *later[-10:])} | {best(line[begun:], score)}
    earlier = filter(None, map(store.version, sorted(numbers - {champion.number})))
    return [version for version in earlier if version.digest]


def best(line: Sequence[Promotion], score: "Score") -> int:
    """The version that gained most, each by what it was measured against the one before it."""
    gained = list(accumulate((_gain(event, score) for event in line[1:]), initial=0.0))
    return line[gained.index(max(gained))].version


def _gain(event: Promotion, score: "Score") -> float:
    """How much better it was than the champion before it, on the same rows; 0 if not known."""
    told = event.evidence
    ours, theirs = told.get("value"), (told.get("champion") or {}).get("value")
    if told.get("score") != score.name or ours is None or theirs is None:
        return 0.0
    return score.gain(ours, theirs)


def succession(log: Iterable[Promotion]) -> list[Promotion]:
    """How the champions that lie behind the one in office came there; its own is the last.

    A promotion lays a version on top. A rollback, or an alias that was found at a version from
    further down, takes everything above that version away: so one rollback after the other goes
    further back, and none goes forward again.
    """
    line: list[Promotion] = []
    for event in log:
        if event.kind != "promotion" and event.version in [its.version for its in line]:
            while line[-1].version != event.version:
                line.pop()
        else:
            if line and line[-1].version == event.version:  # a person has confirmed it
                line.pop()
            line.append(event)
    return line


def follow_challenger(store: Store) -> None:
    """Let `models/challenger` hold what the alias names, or nothing: a shadow may follow it."""
    number = store.aliases().get(CHALLENGER)
    version = None if number is None else store.version(number)
    if version is None:
        remove(store.project.challenger)
    else:
        kept(store, version, store.project.challenger)


def kept(store: Store, version: Version, folder: Path | None = None) -> Path:
    """A folder that holds the bundle of a version, and says so beside it; its own by default."""
    folder = folder or store.project.versions / str(version.number)
    try:
        held = Bundle(folder).digest
    except (UserError, OSError):
        held = ""
    if held != version.digest:
        with replacing(folder) as aside:
            store.fetch(version, aside)
    elif Bundle(folder).origin != version.origin:
        sign(folder, version.origin)
    return folder


def now() -> str:
    """The moment, as the log writes it."""
    return datetime.now(UTC).isoformat(timespec="microseconds")
