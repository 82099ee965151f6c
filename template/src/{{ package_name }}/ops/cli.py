"""`ops`: every verb of the project's life.

Exit codes: 0 done, 1 a fault, 2 the user's mistake, 3 refused by a gate, or left to resolve.
"""

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from inspect import signature
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from .errors import Refused, UserError
from .menu import Menu
from .project import Project
from .use_case.questions import QUESTIONS

STAGES = ("ingest", "validate", "split", "train", "evaluate")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one verb and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        getpass.getuser()
    except (KeyError, OSError):  # an account without a name, where DVC and MLflow ask for one
        os.environ["LOGNAME"] = f"uid-{os.getuid()}"
    try:
        run(options)
    except Exception as error:
        if options.debug:
            raise
        if isinstance(error, UserError | Refused):
            print(f"ops {options.verb}: {error}", file=sys.stderr)
            return error.exit_code
        from .user_code import place, said

        fault, own = f"{type(error).__name__}: {said(error)}", place(error)
        if own:
            print(f"ops {options.verb}: {own}: {fault.splitlines()[0]}", file=sys.stderr)
            return UserError.exit_code
        print(f"ops {options.verb}: {fault}\nWith --debug it shows where.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def run(options: argparse.Namespace) -> None:
    """Call what the verb does; its module, and what that needs, is imported here, and not before.

    An option has the name of the parameter that it is given to. Who asks for the `project`, the
    `host` of the repository, or all `options`, is given those.
    """
    does = resolve_name(f"{__package__}.{options.does}")
    given = {**vars(options), "options": options}
    asked = signature(does).parameters
    if "project" in asked:
        given["project"] = Project.find()
    if "host" in asked:
        given["host"] = import_module(".hosting", __package__).host(options.token)
    does(**{name: given[name] for name in asked if name in given})


def stage(project: Project, name: str) -> None:
    """Run one stage of the pipeline, and keep what that took."""
    import_module(f".pipeline.{name}", __package__).run(project)
    import_module(".costs", __package__).note(project, name)


def parser() -> argparse.ArgumentParser:
    """The menu."""
    menu = Menu()
    add = menu.add
    add("setup", "setup:run", "prepare git, DVC and the hooks (safe twice)")
    add("doctor", "doctor:run", "say what is amiss on this machine and in this project")
    purpose = "say what the model is for: answer by options, or be asked"
    asked = add("use-case", "use_case.wizard:run", purpose)
    for it in QUESTIONS:
        asked.add_argument(f"--{it.name.replace('_', '-')}", metavar="TEXT", help=it.asks)

    purpose = "bring your own data"
    data = menu.verbs.add_parser("data", help=purpose, description=purpose)
    purpose = "take a file of yours as the project's data and write its contract"
    use = add("use", "data.adopt:run", purpose, data.add_subparsers(required=True, metavar="VERB"))
    use.add_argument("file", metavar="FILE", help="CSV, Parquet or JSON lines")
    use.add_argument("--target", required=True, metavar="COLUMN", help="what to predict")
    tasks = ("classification", "regression", "recommendation")
    use.add_argument("--task", choices=tasks, help="if not as guessed")
    use.add_argument("--time", metavar="COLUMN", help="when a row happened: split by it")
    use.add_argument("--group", metavar="COLUMN", help="rows that belong together: split by it")
    use.add_argument("--weight", metavar="COLUMN", help="how much a row counts")
    for option, meaning in {
        "--id": "names a row, and is not learnt from",
        "--text": "free text",
        "--drop": "leave out",
    }.items():
        use.add_argument(
            option, metavar="COLUMN", action="append", default=[], help=f"{meaning} (repeatable)"
        )
    use.add_argument("--encoding", metavar="NAME", help="of its text, if not as guessed")

    stage = add("stage", "cli:stage", "run one stage of dvc.yaml")
    stage.add_argument("name", choices=STAGES)
    purpose = "search for better parameters within the budget, and write them to params.yaml"
    add("tune", "pipeline.tune:run", purpose)

    purpose = "register the model of the last training, if its gates pass"
    add("register", "registry.promotion:register", purpose)
    purpose = "make a version the champion (the challenger by default)"
    promote = add("promote", "registry.promotion:promote", purpose)
    promote.add_argument("name", nargs="?", metavar="VERSION")
    promote.add_argument("--reason", default="", help="why, for the log")
    promote.add_argument("--trained", action="store_true", help="the last training's version")
    purpose = "make the champion what it was before (again: before that)"
    rollback = add("rollback", "registry.promotion:rollback", purpose)
    rollback.add_argument("--reason", default="", help="why, for the log")
    history = add("history", "registry.history:run", "list versions and changes of the champion")
    as_json: dict[str, Any] = {"dest": "as_json", "action": "store_true"}
    history.add_argument("--json", **as_json, help="all that is known, as JSON")
    purpose = "train a version again, elsewhere, and say what differs"
    reproduce = add("reproduce", "registry.reproduction:run", purpose)
    reproduce.add_argument("name", metavar="VERSION", help="a number or an alias")

    purpose = "say how ready for production this is, by evidence (the ML Test Score)"
    add("scorecard", "scorecard:run", purpose)
    add("costs", "costs:run", "say what trainings, answers and the log cost, and what has changed")

    purpose = "put what is known of a version into one folder, for whoever examines it"
    evidence = add("evidence", "registry.evidence:run", purpose)
    evidence.add_argument("name", metavar="VERSION", help="a number or an alias")
    evidence.add_argument("--key", default="", metavar="FILE", help="signs it: a key of OpenSSH")

    purpose = "let a person's rows go, or what is older than params.yaml lets it be"
    forget = add("forget", "privacy:run", purpose)
    forget.add_argument("person", nargs="?", default="", metavar="COLUMN=VALUE")

    purpose = "score the rows of a file; the same command goes on after a kill"
    score = add("score", "scoring.files:score", purpose)
    score.add_argument("origin", metavar="IN", help="CSV, Parquet, JSON lines; a folder of Parquet")
    score.add_argument("destination", metavar="OUT", help="ends in .csv, .parquet or / (a folder)")
    score.add_argument(
        "--model",
        metavar="ALIAS|VERSION|FOLDER",
        help="the champion by default; other aliases and versions come from the registry",
    )
    score.add_argument("--encoding", metavar="NAME", help="of its text, if not as guessed")

    explain = add("explain", "scoring.explain:run", "say what made the answer to a row")
    explain.add_argument("row", metavar="ROW", help="as JSON, or the number of a held-out one")
    explain.add_argument("--model", metavar="MODEL", help="(the champion by default)")

    purpose = "compare the last training with another revision, as markdown"
    report = add("report", "evaluation.report:run", purpose)
    report.add_argument("--against", default="HEAD", metavar="REV", help="(HEAD by default)")

    purpose = "say whether the template has a newer release, and what differs"
    template = add("template-check", "template:run", purpose)
    template.add_argument("--json", **as_json, help="all that was found, as JSON")
    purpose = "bring the template's newest release, and upgrade the lock"
    update = add("template-update", "updating:update", purpose)
    update.add_argument(
        "--trust",
        dest="trusted",
        metavar="VERSION",
        action="append",
        default=[],
        help="let a release run the code of its migration (repeatable)",
    )
    purpose = "propose what an update changed, on the host of the repository"
    add("template-propose", "updating:propose", purpose, token="TEMPLATE_TOKEN")
    for room in sorted(Path(__file__).parent.glob("*/verbs.py")):
        import_module(f".{room.parent.name}.verbs", __package__).declare(menu)
    return menu.parser


if __name__ == "__main__":
    sys.exit(main())
