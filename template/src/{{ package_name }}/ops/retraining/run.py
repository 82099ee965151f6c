"""`ops retrain`: take in what was labelled since, run the pipeline, register what comes out."""

import argparse
from pathlib import Path

from .. import dvc
from ..errors import Refused, UserError
from ..privacy import expire
from ..project import Project
from ..registry.promotion import register
from ..settings import Settings
from ..wording import listed, typed
from . import declaration, examination, journal, labels

NAMED_TRUTHS = 5
"""How many labels that the contract does not know are named."""


def run(project: Project, options: argparse.Namespace) -> None:
    """Retrain as `options` say; see `cli`.

    Raises:
        Refused: if new labels are refused, or a gate refuses the new model. Then what was taken in
            and declared stays, for it is true; the champion stays too.
        UserError: if anything else is in the way; then everything is as it was before.
    """
    options.declare = [declaration.parsed(text) for text in options.declare]
    with journal.alone(project) as lock:
        if journal.recover(project):
            print("retrain: an earlier one was cut short; everything is as it was before it.")
        if options.if_needed and not _needed(project):
            return
        expire(project, Settings.load(project.params), labels=True)
        learnt = _learn(project, options, lock)
        try:
            register(project, propose=options.propose)
        except Refused as refusal:
            stays = "\nThe champion stays, and so do the rows that were taken in."
            raise Refused(f"{refusal}{stays if learnt else ''}") from None


def _needed(project: Project) -> bool:
    """Whether monitoring has decided for it."""
    from ..monitoring.run import monitor

    report = monitor(project, Settings.load(project.params))
    if report.outcome.decision == "retrain":
        print(f"retrain: needed. {' '.join(report.outcome.reasons)}")
        return True
    decided = f"{report.outcome.decision}. {report.outcome.action}"
    print(f"retrain: not needed, for `ops monitor` decides: {decided}")
    return False


def _learn(project: Project, options: argparse.Namespace, lock: int) -> bool:
    """Take rows in and run the pipeline, or leave everything as it was; say if there were any."""
    path = labels.destination(project)
    with journal.reversible(project, made=[path, path.with_name(f"{path.name}.dvc")]):
        for sentence in declaration.declare(project, options.declare):
            print(f"retrain: {sentence}")
        taken = _take(project, path, trust=options.trust_labels)
        if not dvc.run(project.root, "repro", keep=[lock]):
            raise UserError("The pipeline failed, as said above; everything is as it was before.")
    return taken


def _take(project: Project, path: Path, *, trust: bool) -> bool:
    """Write the new labelled rows to a file that DVC keeps; say what there is, and what is not."""
    contract = declaration.reloaded()
    if unlogged := labels.unlogged(contract):
        print(
            f"retrain: the log has no {listed(unlogged)}: what is sensitive is never logged, and "
            "no row may lack it. So labelled rows cannot be used, and the source alone is."
        )
        return False
    with labels.gathered(project, contract) as found:
        _say(found, contract.target.name)
        if not found.taken:
            print("retrain: there is nothing new to learn from; what else has changed is run.")
            return False
        if not trust:
            examination.examine(project, contract, found.rows)
        labels.write(found.rows, path)
    name = path.relative_to(project.root).as_posix()
    dvc.ask(project.root, "add", name)
    print(f"retrain: took in {found.taken:,} labelled rows: {name}, kept by DVC.")
    return True


def _say(found: labels.Labelled, target: str) -> None:
    """Say which new truths are left out, and why."""
    if found.undeclared:
        first = found.undeclared.most_common(NAMED_TRUTHS)
        named = ", ".join(
            f"{truth if truth.isprintable() else ascii(truth)} ({count:,})"
            for truth, count in first
        )
        declared = typed(f"{target}={first[0][0]}")
        print(
            f"retrain: left out {found.undeclared.total():,} rows, as the contract does not "
            f"know their {target}: {named}; `--declare {declared}` lets it in."
        )
    if found.unanswered:
        print(f"retrain: left out {found.unanswered:,} of ground truth, as no log has their rows.")
