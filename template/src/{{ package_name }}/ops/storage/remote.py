"""`ops storage URL`: DVC's remote, with all that it holds, to another place.

The address is written once everything is there, so whatever cuts this short changes nothing, and
the same command goes on.
"""

from .. import dvc
from ..errors import UserError
from ..project import Project
from .places import Place, reached


def move(project: Project, address: str) -> None:
    """Copy what the remote holds, write the new address, and push what the work tree needs.

    Raises:
        UserError: if one of the places cannot be used; the remote is then what it was.
    """
    from dvc.fs import generic
    from dvc.repo import Repo

    address = address.strip()
    if not (address.isascii() and address.isprintable()):
        raise UserError(f"{address!r} is more than DVC can write down: use plain letters.")
    with reached(".dvc/config"), Repo(str(project.root)) as repo:
        remote = repo.cloud.get_remote()
        old = Place(str(repo.config["remote"][remote.name]["url"]), remote.fs, remote.path)
        own = repo.config.load_one("local")["remote"].get(remote.name, {})
    if "url" in own:
        raise UserError(".dvc/config.local hides any new address: take its `url` out first.")
    new = Place.at(address)
    there = new.sizes()
    if old.address != new.address:
        absent = [name for name, size in old.sizes().items() if there.get(name) != size]
        from_paths, to_paths = ([it.join(name) for name in absent] for it in (old, new))
        with reached(address):
            generic.copy(old.system, from_paths, new.system, to_paths)
        print(f"{len(absent):,} files copied from {old.address}.")
    config = project.root / ".dvc" / "config"
    before = config.read_bytes()
    try:
        dvc.ask(project.root, "remote", "modify", remote.name, "url", address)
        dvc.ask(project.root, "push")
    except BaseException:  # an interrupt as well
        config.write_bytes(before)
        raise
    print(f"Data and models are kept at {address}; commit .dvc/config, and every clone knows.")
