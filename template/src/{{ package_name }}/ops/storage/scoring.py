"""`ops score` from and to addresses such as `s3://bucket/rows.parquet`: fetch, score, send.

What is at work lies in `build/scoring/` until the result is where it belongs, so that the same
command goes on after a kill, as it does with files of this machine.
"""

import hashlib
from pathlib import Path, PurePosixPath

from ..errors import UserError
from ..files import read_json, remove, write_json
from ..project import Project
from ..scoring import files
from .places import Place


def score(
    project: Project,
    origin: str,
    destination: str,
    model: str | None = None,
    encoding: str | None = None,
) -> None:
    """Score a file, see `scoring.files.score`; it, its result or both may lie at an address.

    Raises:
        UserError: for what that function refuses, or if a place cannot be used.
    """
    if origin == destination:
        raise UserError(f"{origin} is the file to be scored; name another one for the result.")
    here = hashlib.sha256(f"{origin} {destination}".encode()).hexdigest()[:16]
    aside = project.root / "build" / "scoring" / here
    source, target = Path(origin), Path(destination)
    if is_address(destination):
        target = aside / PurePosixPath(destination).name
        Place.at(destination)
    if is_address(origin):
        source = _fetched(Place.at(origin), aside / "source")
    try:
        files.score(project, str(source), str(target), model, encoding)
    except UserError as error:
        said = str(error).replace(str(source), origin).replace(str(target), destination)
        raise UserError(said) from None
    if is_address(destination):
        quarantine = target.with_suffix(f".quarantine{target.suffix}")  # where rows broke a rule
        for file in (target, quarantine):
            _sent(file, Place.at(destination.removesuffix(target.name) + file.name))
    remove(aside)


def is_address(where: str) -> bool:
    """Whether it is no path of this machine."""
    return "://" in where


def _fetched(place: Place, copy: Path) -> Path:
    """A copy of a file, the one of before if nothing has changed since."""
    state, known = place.state(), copy.with_suffix(".json")
    if not copy.exists() or not known.exists() or read_json(known) != state:
        place.fetch(copy)
        write_json(known, state)
    return copy


def _sent(file: Path, place: Place) -> None:
    """Let a place hold what a file does, or nothing if there is none."""
    if file.exists():
        place.send(file)
        print(f"Sent to {place.address}.")
    elif place.exists():
        place.remove()
