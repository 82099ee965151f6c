"""The menu of `ops`: verbs, each with what it calls; every room may add its own by `verbs.py`."""

import argparse
from typing import Any


class Menu:
    """All verbs by now.

    Attributes:
        parser: what reads a command.
        verbs: what holds their parsers.
    """

    def __init__(self) -> None:
        """Begin without a verb."""
        self.parser = argparse.ArgumentParser(
            prog="ops", description="The operations of this project."
        )
        self._debug = argparse.ArgumentParser(add_help=False)
        self._debug.add_argument(
            "--debug", action="store_true", help="show where an error comes from"
        )
        self.verbs = self.parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(
        self, name: str, does: str, purpose: str, among: Any = None, **fixed: str
    ) -> argparse.ArgumentParser:
        """Add a verb, to those of `among` if given; what it `does` is MODULE:FUNCTION of `ops`."""
        verb: argparse.ArgumentParser = (among or self.verbs).add_parser(
            name, help=purpose, description=purpose, parents=[self._debug]
        )
        verb.set_defaults(does=does, **fixed)
        return verb
