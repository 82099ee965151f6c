"""Verbs of deployments."""

from ..menu import Menu


def declare(menu: Menu) -> None:
    """Add them to the menu."""
    purpose = "let an environment run an image and a version of the model"
    deploy = menu.add("deploy", "deployment.run:deploy", purpose)
    deploy.add_argument("environment", metavar="ENVIRONMENT", help="such as dev")
    deploy.add_argument("--image", default="", metavar="NAME@sha256:...", help="(as it is)")
    deploy.add_argument("--version", default="", help="of the registry, or an alias (as it is)")
    deploy.add_argument(
        "--from", dest="source", default="", metavar="ENVIRONMENT", help="what runs there"
    )
    deploy.add_argument("--monitor", default="", metavar="NAME@sha256:...", help="(as it is)")
    deploy.add_argument("--rollback", action="store_true", help="what ran here before")
    deploy.add_argument("--seconds", type=int, default=0, help="(as the platform needs)")
    purpose = "say what runs where, since when, and whether git says the same"
    deployed = menu.add("deployed", "deployment.run:deployed", purpose)
    deployed.add_argument("environment", nargs="?", default="", metavar="ENVIRONMENT")
