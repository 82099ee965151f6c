"""`ops log URL`: what the service has logged, from where it is kept to `data/served`."""

from .. import dvc
from ..errors import UserError
from ..files import remove
from ..project import Project
from .places import Place, reached
from .scoring import is_address


def fetch(project: Project, address: str) -> None:
    """Copy all files of an address, or of a folder of this machine.

    Raises:
        UserError: if it cannot be read, or holds nothing; then there is no `data/served` either.
    """
    if not is_address(address):
        dvc.ask(project.root, "get-url", address, "data/served")
        return
    from dvc.fs import generic, localfs

    place, aside = Place.at(address), project.root / "build" / "served"
    names = list(place.sizes())
    if not names:
        raise UserError(f"{address} holds no file; let LOG_URL be where the log is kept.")
    remove(aside)
    with reached(address):
        paths = [str(aside.joinpath(*name.split("/"))) for name in names]
        generic.copy(place.system, [place.join(name) for name in names], localfs, paths)
    served = project.root / "data" / "served"
    served.parent.mkdir(exist_ok=True)
    aside.rename(served)
    print(f"{len(names):,} files of the log are in data/served.")
