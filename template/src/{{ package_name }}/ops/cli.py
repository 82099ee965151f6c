"""`ops`: every verb of the project's life.

Exit codes: 0 done, 1 a fault, 2 the user's mistake, 3 refused by a gate.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from .errors import Refused, UserError
from .project import Project

STAGES = ("ingest", "validate", "split", "train", "evaluate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        run(options)
    except Exception as error:
        if options.debug:
            raise
        if isinstance(error, UserError | Refused):
            print(f"ops {options.verb}: {error}", file=sys.stderr)
            return error.exit_code
        fault = f"{type(error).__name__}: {error}"
        print(f"ops {options.verb}: {fault}\nWith --debug it shows where.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(options: argparse.Namespace) -> None:
    """Run the verb that `options` names; what it needs is imported here, and not before."""
    if options.verb == "doctor":
        from . import doctor

        return doctor.run()
    project = Project.find()
    match options.verb:
        case "setup":
            from . import setup

            setup.run(project)
        case "data":
            from .data import use

            use.run(project, options)
        case "stage":
            import_module(f".pipeline.{options.name}", __package__).run(project)
        case "tune":
            from .pipeline import tune

            tune.run(project)
        case "register":
            from . import registry

            registry.register(project)
        case "promote":
            from . import registry

            registry.promote(project, options.version, options.reason)
        case "history":
            from . import registry

            registry.history(project)
        case "score":
            from . import scoring

            scoring.score(project, options.source, options.destination)
        case "report":
            from .evaluation import report

            report.run(project, options.against)


def parser() -> argparse.ArgumentParser:
    """The menu."""
    parser = argparse.ArgumentParser(prog="ops", description="The operations of this project.")
    debug = argparse.ArgumentParser(add_help=False)
    debug.add_argument("--debug", action="store_true", help="show where an error comes from")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def add(name: str, purpose: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=purpose, description=purpose, parents=[debug])

    add("setup", "prepare git, DVC and the hooks (safe twice)")
    add("doctor", "say what is missing on this machine and in this project")

    data = add("data", "bring your own data").add_subparsers(required=True, metavar="VERB")
    purpose = "take a file of yours as the project's data and write its contract"
    use = data.add_parser("use", help=purpose, description=purpose, parents=[debug])
    use.add_argument("file", metavar="FILE", help="CSV, Parquet or JSON lines")
    use.add_argument("--target", required=True, metavar="COLUMN", help="what to predict")
    use.add_argument("--task", choices=("classification", "regression"), help="if not as guessed")
    use.add_argument("--time", metavar="COLUMN", help="when a row happened: split by it")
    use.add_argument("--group", metavar="COLUMN", help="rows that belong together: split by it")
    for option, meaning in {
        "--id": "names a row, and is not learnt from",
        "--text": "free text",
        "--drop": "leave out",
    }.items():
        use.add_argument(
            option, metavar="COLUMN", action="append", default=[], help=f"{meaning} (repeatable)"
        )

    stage = add("stage", "run one stage of dvc.yaml")
    stage.add_argument("name", choices=STAGES)
    add("tune", "search for better parameters within the budget, and write them to params.yaml")

    add("register", "register the model of the last training, if its gates pass")
    promote = add("promote", "make a version the champion (the challenger by default)")
    promote.add_argument("version", nargs="?", metavar="VERSION")
    promote.add_argument("--reason", default="", help="why, for the log")
    add("history", "list versions and promotions")

    score = add("score", "score a CSV or Parquet file with the champion")
    score.add_argument("source", metavar="IN")
    score.add_argument("destination", metavar="OUT")

    report = add("report", "compare the last training with another revision, as markdown")
    report.add_argument("--against", default="HEAD", metavar="REV", help="(HEAD by default)")
    return parser


if __name__ == "__main__":
    sys.exit(main())
