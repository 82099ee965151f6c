"""The verb of the service."""

from ..menu import Menu


def declare(menu: Menu) -> None:
    """Add it to the menu."""
    serve = menu.add("serve", "serving.server:run", "answer over HTTP with the champion")
    serve.add_argument("--model", metavar="MODEL", help="an alias, a version or a folder")
    serve.add_argument(
        "--shadow", metavar="MODEL", help="try another out on what comes in: challenger, for one"
    )
    serve.add_argument("--host", help="(127.0.0.1 by default)")
    serve.add_argument("--port", type=int, help="(8080 by default; 0 takes a free one)")
    serve.add_argument("--workers", type=int, metavar="N", help="processes (1 by default)")
