"""Verbs of monitoring."""

from ..menu import Menu


def declare(menu: Menu) -> None:
    """Add them to the menu."""
    purpose = "compare requests and ground truth with the training, and decide what to do"
    monitor = menu.add("monitor", "monitoring.run:run", purpose)
    monitor.add_argument(
        "--exit-code", action="store_true", help="end with 4 for alert and 5 for retrain"
    )
    monitor.add_argument("--every", metavar="TIME", help="again and again, such as 1h; for ever")
    purpose = "let a column that has moved be as it is, for a reason"
    accept = menu.add(
        "accept", "monitoring.run:accept", purpose, monitor.add_subparsers(metavar="")
    )
    accept.add_argument("column", metavar="COLUMN", help="or a check, such as predictions")
    accept.add_argument("--reason", required=True, help="why, for the report")
    accept.add_argument("--until", metavar="DATE", help="(the next champion by default)")
