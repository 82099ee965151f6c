"""Verbs of places beyond this machine."""

from importlib.util import find_spec

from ..menu import Menu


def declare(menu: Menu) -> None:
    """Add them to the menu; `ops score` takes addresses as well."""
    purpose = "keep data and models, and all that the DVC remote holds, elsewhere (safe twice)"
    storage = menu.add("storage", "storage.remote:move", purpose)
    storage.add_argument("address", metavar="URL", help="such as s3://bucket/folder")
    menu.verbs.choices["score"].set_defaults(does="storage.scoring:score")
    if find_spec(".log", __package__):
        purpose = "fetch what the service has logged to data/served"
        log = menu.add("log", "storage.log:fetch", purpose)
        log.add_argument("address", metavar="URL", help="such as s3://bucket/served")
    if find_spec(".login", __package__):
        purpose = "in a pipeline: log in to the cloud by a token of the host"
        login = menu.add("login", "storage.login:run", purpose)
        login.add_argument("audience", metavar="AUDIENCE", help="whom the token is for")
