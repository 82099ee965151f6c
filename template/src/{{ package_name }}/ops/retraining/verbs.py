"""Verbs of retraining."""

from ..menu import Menu


def declare(menu: Menu) -> None:
    """Add them to the menu."""
    purpose = "learn from what was labelled since, and register what comes out"
    retrain = menu.add("retrain", "retraining.run:run", purpose)
    retrain.add_argument("--if-needed", action="store_true", help="if `ops monitor` decides so")
    retrain.add_argument(
        "--declare",
        metavar="COLUMN=VALUE",
        action="append",
        default=[],
        help="let a column take one more value (repeatable)",
    )
    retrain.add_argument("--propose", action="store_true", help="leave the promotion to a person")
    retrain.add_argument("--trust-labels", action="store_true", help="do not examine new labels")
    purpose = "show labels that were taken in, or exclude some from what is learnt"
    labels = menu.add("labels", "retraining.exclusion:run", purpose)
    labels.add_argument("action", choices=("show", "exclude"))
    for option, what in (("--id", "prediction"), ("--file", "file"), ("--key", "API key by name")):
        labels.add_argument(
            option, action="append", default=[], help=f"of this {what} (repeatable)"
        )
    for option, meaning in {"--since": "told then or later", "--until": "told before"}.items():
        labels.add_argument(option, metavar="2030-01-31T12:00:00Z", help=meaning)
    labels.add_argument("--reason", help="why, for the list")
    purpose = "propose what the last retraining changed, on the host of the repository"
    menu.add("propose", "retraining.proposal:propose", purpose, token="RETRAIN_TOKEN")
