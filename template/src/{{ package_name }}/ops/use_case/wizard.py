"""`ops use-case`: who decides what by the model, and what it must do for that.

Words stand in the front matter of `docs/use-case.md`, what code obeys in `params.yaml`.
"""

import re
import signal
import sys
from argparse import Namespace
from contextlib import suppress
from typing import Any

from .. import contract as contracts
from ..errors import UserError
from ..files import replacing, write_text
from ..project import Project
from ..settings import Settings, with_values
from ..wording import listed, table
from .questions import QUESTIONS, Question, promise

ANCHOR = "# project-specific\n"
REVIEWED = ("/docs/use-case.md", "/params.yaml", "/src/*/ml/")
"""What decides, and is reviewed in CODEOWNERS by who answers for the model."""


def answers(project: Project, settings: Settings) -> dict[str, str | None]:
    """What is answered, by the name of the question; None where it is not."""
    words, said = _page(project)[0], {}
    for it in QUESTIONS:
        value = words.get(it.name)
        if it.section:
            value = getattr(getattr(settings, it.section), it.name)
        if it.name == "costs" and value:
            value = {
                f"{truth} as {answer}": cost
                for truth, costs in value.items()
                for answer, cost in costs.items()
            }
        if isinstance(value, dict):
            value = "; ".join(f"{name}: {its}" for name, its in value.items()) or "none"
        said[it.name] = None if value is None else str(value).strip() or None
    return said


def run(project: Project, options: Namespace) -> None:
    """Take answers from the options, or else ask for each; every one is kept at once.

    A UserError for what is no answer; in a terminal it is said, and asked again.
    """
    given = {it: told for it in QUESTIONS if (told := getattr(options, it.name)) is not None}
    for question, told in given.items():
        keep(project, question, told)
    try:
        if not given:
            _ask(project)
    except EOFError:
        print()
    except KeyboardInterrupt:
        print("\nEvery answer so far is kept; the same command goes on.")
        raise
    said = answers(project, Settings.load(project.params))
    if left := [name for name, its in said.items() if its is None]:
        print(f"Not answered: {listed(left)}.")
    print("docs/use-case.md, params.yaml and CODEOWNERS hold the answers: commit them.")


def _ask(project: Project) -> None:
    """Ask every question; nothing typed leaves an answer as it is."""
    settings = Settings.load(project.params)
    said, here = answers(project, settings), {"minimum_score": settings.train.score}
    with suppress(UserError):  # there may be no data yet
        contract = contracts.load()
        here["groups"] = listed([column.name for column in contract.columns])
        here["costs"] = listed(contract.classes or ["numbers, of which none applies"])
    print("Nothing typed leaves an answer as it is; each is kept at once, and Ctrl+C ends.")
    for place, question in enumerate(QUESTIONS, 1):
        print(f"\n{place}/{len(QUESTIONS)} {question.asks}\n     such as: {question.example}")
        if its := here.get(question.name):
            print(f"     here: {its}")
        while told := _typed(f"     [{said[question.name] or 'unanswered'}] "):
            try:
                keep(project, question, told)
                break
            except UserError as error:
                if not sys.stdin.isatty():
                    raise
                print(f"     {error}")


def _typed(prompt: str) -> str:
    """What a person types; Ctrl+C ends it, also where polars has changed what becomes of that."""
    signal.signal(signal.SIGINT, signal.getsignal(signal.SIGINT))
    return input(prompt).strip()


def keep(project: Project, question: Question, told: str) -> None:
    """Write what was told to where it belongs; a UserError if it is no answer."""
    try:
        if not told.strip():
            raise ValueError(told)
        value = question.reads(told)
    except ValueError:
        raise UserError(
            f"{told!r} is no answer to {question.name}; one is {question.example!r}."
        ) from None
    values = {question.name: value}
    if question.section:
        with replacing(project.params) as aside:
            text = project.params.read_text("utf-8")
            aside.write_text(with_values(text, question.section, values), "utf-8", newline="\n")
            _check(Settings.load(aside))
        return
    _, head, body = _page(project)
    head = with_values(head, "", values, project.use_case.name)
    write_text(project.use_case, f"---\n{head}---\n{body}")
    if isinstance(value, dict):
        heads = ("use case", "value, data, effort", "value x data / effort")
        print(table(heads, [(name, its, f"{promise(its):.1f}") for name, its in value.items()]))
    owners = project.root / "CODEOWNERS"
    if question.name == "owner" and owners.exists():
        above, _, below = owners.read_text("utf-8").partition(ANCHOR)
        lines = [it for it in below.splitlines() if not it.startswith(REVIEWED)]
        lines += [f"{path} {told.replace(',', '')}" for path in REVIEWED]
        write_text(owners, f"{above}{ANCHOR}" + "\n".join([*lines, ""]))


def _page(project: Project) -> tuple[dict[str, Any], str, str]:
    """The words of the page by question, the text that holds them, and the rest of the page."""
    import yaml

    try:
        text = project.use_case.read_text("utf-8-sig") if project.use_case.exists() else ""
        head, body = "", text
        if text.startswith("---"):
            _, head, body = re.split(r"^---[ \t]*(?:\n|\Z)", text, maxsplit=2, flags=re.MULTILINE)
        return {**(yaml.safe_load(head) or {})}, head, body
    except (TypeError, ValueError, yaml.YAMLError):
        raise UserError(
            "docs/use-case.md must begin with YAML between two lines of ---; "
            "mend it, or restore it with `git restore docs/use-case.md`."
        ) from None


def _check(settings: Settings) -> None:
    """Hold costs and groups to the contract, if there is one yet."""
    from ..evaluation import slices
    from ..pipeline import decisions

    try:
        contract = contracts.load()
    except UserError:
        return
    decisions.costs(settings.train, contract)
    slices.groups(settings.gates.groups or {}, contracts.schema().create_empty())
