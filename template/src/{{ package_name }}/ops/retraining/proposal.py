"""`ops propose`: a retraining as a change that people review, on the host of the repository.

What the retraining wrote among the committed files becomes one commit on a branch of its own, made
beside the index and the working tree, which stay as they are. A proposal that is still open is
replaced: its branch moves, and its text is written anew.
"""

import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from .. import git
from ..bundle import Bundle
from ..doctor import remote
from ..errors import UserError
from ..evaluation import cards, metrics
from ..evaluation.document import Section, markdown
from ..evaluation.report import report
from ..project import Project
from ..tracking import ACCEPTED, Version, connected

BRANCH = "ops/retrain"

LONGEST = 60_000
"""Characters of a text; a host refuses more than 65,536."""

PICTURE = re.compile(r"^!\[.*\]\(.*\)\n+", re.MULTILINE)

FATAL = re.compile(r"(fatal|ERROR): ")

HELPER = '!answer() { echo "username=$PUSH_USER"; echo "password=$PUSH_TOKEN"; }; answer'
"""What tells git name and token, so that they stand in no file and on no command line."""


@dataclass(frozen=True)
class Proposal:
    """A change to the branch that people work on."""

    branch: str
    title: str
    text: str
    """Markdown."""


class Host(Protocol):
    """What keeps the repository and shows its proposals."""

    @property
    def repository(self) -> str:
        """Its address, for git."""

    @property
    def user(self) -> str:
        """The name that goes with the token, for git."""

    @property
    def token(self) -> str:
        """What allows to push, and to propose."""

    def propose(self, proposal: Proposal) -> str:
        """Open a proposal, or write the open one of its branch anew; gives the page to read it."""


def propose(project: Project, host: Host) -> None:
    """Push what the last retraining changed, and propose it; the same command twice proposes once.

    Raises:
        UserError: if its model is no challenger, or data, registry or host are out of reach.
    """
    commit = _commit(project, "Train the model anew")
    if commit is None:
        print("The last retraining changed nothing: there is nothing to propose.")
        return
    check(project)
    version = _challenger(project)
    proposal = Proposal(BRANCH, _title(version), _text(project, version))
    _do(project.root, "dvc", "push", "--quiet")
    _push(project.root, host, commit)
    print(f"Version {version.number} is proposed: {host.propose(proposal)}")


def check(project: Project) -> None:
    """Hold registry and remote to being reachable for whoever merges a proposal.

    Raises:
        UserError: if one of them is only on this machine.
    """
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


def _title(version: Version) -> str:
    score = metrics.find(version.tags["score"])
    return f"Retrain: version {version.number}, {score.label} {version.tags['value']}"


def _text(project: Project, version: Version) -> str:
    """How it stands beside the champion, why it was trained, what it can do, and its card."""
    asked = {gate["name"] for gate in Bundle(project.bundle).manifest["gates"]}
    added = [gate for gate in json.loads(version.tags["gates"]) if gate["name"] not in asked]
    beside = (
        f"Version {version.number} was trained on what has become known since, and waits as "
        "challenger. Merging this makes it the champion; until then, the next retraining replaces "
        "it. It was held to the champion on the same rows; the metrics further down compare with "
        "what was measured on the rows of before."
    )
    parts = [
        markdown("", [Section("", [beside, cards.verdicts({"gates": added})])]),
        _read(project.served / "monitoring" / "summary.md"),
        report(project, git.output(project.root, "rev-parse", "--short", "HEAD") or "HEAD"),
    ]
    text = "\n".join(part for part in parts if part)
    card = PICTURE.sub("", _read(project.reports / "cards" / "model.md"))
    folded = f"\n<details>\n<summary>Model card</summary>\n\n{card}\n</details>\n"
    return (text + folded if len(text + folded) <= LONGEST else text)[:LONGEST]


def _read(path: Path) -> str:
    """A text; empty if there is none."""
    return path.read_text(encoding="utf-8") if path.exists() else ""


def _commit(project: Project, message: str) -> str | None:
    """Commit what a retraining writes, on top of HEAD; None if that changes nothing."""
    root = project.root
    written = (root / "dvc.lock", project.data / "labelled", project.reports, project.schema)
    paths = [str(path) for path in written if path.exists()]
    with TemporaryDirectory() as folder:
        aside = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        _do(root, "git", "read-tree", "HEAD", **aside)
        _do(root, "git", "add", "--all", "--", *paths, **aside)
        tree = _do(root, "git", "write-tree", **aside)
    if tree == _do(root, "git", "rev-parse", "HEAD^{tree}"):
        return None
    return _do(root, "git", "commit-tree", tree, "-p", "HEAD", "-m", message)


def _push(root: Path, host: Host, commit: str) -> None:
    """Let the branch on the host be this commit, whatever it was before."""
    secret = {"PUSH_USER": host.user, "PUSH_TOKEN": host.token, "GIT_TERMINAL_PROMPT": "0"}
    only = ("-c", "credential.helper=", "-c", f"credential.helper={HELPER}")
    target = f"{commit}:refs/heads/{BRANCH}"
    _do(root, "git", *only, "push", "--quiet", "--force", host.repository, target, **secret)


def _do(root: Path, *command: str, **variables: str) -> str:
    """What a command prints.

    Raises:
        UserError: if it fails, with its reason.
    """
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or "it does not say why").splitlines()
        reason = next((line for line in said if FATAL.match(line)), said[-1])
        raise UserError(f"{command[0]} failed: {FATAL.sub('', reason)}")
    return done.stdout.strip()
