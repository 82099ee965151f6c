"""`ops propose`: a retraining as a change that people review, on the host of the repository."""

import os
import re
from pathlib import Path

from .. import dvc, git
from ..bundle import Bundle
from ..doctor import remote
from ..errors import UserError
from ..evaluation import cards, metrics
from ..evaluation.report import report
from ..hosting.proposal import LONGEST, Host, commit
from ..project import Project
from ..registry.tracking import ACCEPTED, Version, connected

BRANCH = "ops/retrain"

PICTURE = re.compile(r"^!\[.*\]\(.*\)\n+", re.MULTILINE)


def propose(project: Project, host: Host) -> None:
    """Push what the last retraining changed, and propose it; the same command twice proposes once.

    A UserError if its model is no challenger, or data, registry or host are out of reach.
    """
    root = project.root
    written = (root / "dvc.lock", project.data / "labelled", project.reports, project.schema)
    paths = [path for path in written if path.exists()]
    trained = commit(root, paths, "Train the model anew")
    if trained is None:
        print("The last retraining changed nothing: there is nothing to propose.")
        return
    check(project)
    version = _challenger(project)
    score = metrics.find(version.tags["score"])
    title = f"Retrain: version {version.number}, {score.label} {version.tags['value']}"
    text = _text(project, version)
    dvc.ask(root, "push", "--quiet")
    page = host.propose(root, trained, BRANCH, title, text)
    print(f"Version {version.number} is proposed: {page}")


def check(project: Project) -> None:
    """Hold registry and remote to being reachable for whoever merges a proposal."""
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        raise UserError(
            "A proposal needs a registry that others reach, and MLFLOW_TRACKING_URI is not set: "
            "let it name your MLflow server."
        )
    if remote(project) in ("", "storage"):
        raise UserError(
            "A proposal needs data that others reach, and DVC's remote is a folder of this "
            "project: `uv run dvc remote modify storage url URL`."
        )


def _challenger(project: Project) -> Version:
    """The version that holds the bundle of the last training."""
    with connected(project) as store:
        version = store.find(Bundle(project.bundle).digest)
    if version is None or version.status != ACCEPTED:
        raise UserError(
            "The model in models/bundle is no challenger: run `uv run ops retrain --propose` first."
        )
    return version


def _text(project: Project, version: Version) -> str:
    """How it stands beside the champion, why it was trained, what it can do, and its card."""
    asked = {gate["name"] for gate in Bundle(project.bundle).manifest["gates"]}
    added = [gate for gate in version.gates if gate["name"] not in asked]
    beside = (
        f"Version {version.number} was trained on what has become known since, and waits as "
        "challenger. Merging this makes it the champion; until then, the next retraining replaces "
        "it. It was held to the champion on the same rows; the metrics further down compare with "
        "what was measured on the rows of before."
    )
    parts = [
        f"{beside}\n\n{cards.verdicts(added)}",
        _read(project.served / "monitoring" / "summary.md"),
        report(project, git.output(project.root, "rev-parse", "--short", "HEAD") or "HEAD"),
    ]
    text = "\n".join(part for part in parts if part)
    card = PICTURE.sub("", _read(project.reports / "cards" / "model.md"))
    folded = f"\n<details>\n<summary>Model card</summary>\n\n{card}\n</details>\n"
    return text + folded if len(text + folded) <= LONGEST else text


def _read(path: Path) -> str:
    """A text; empty if there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""
