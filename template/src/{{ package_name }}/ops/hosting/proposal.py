"""A change that people review, on a branch of its own.

It is committed beside the index and the working tree, which stay as they are. A proposal that is
still open is replaced: its branch moves, and its text is written anew.
"""

import os
import re
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from ..errors import UserError

LONGEST = 60_000
"""Characters of a text; a host refuses more than 65,536."""

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


def propose(root: Path, host: Host, commit: str, proposal: Proposal) -> str:
    """Push a commit and propose it, in place of what the branch held; gives the page to read it.

    Raises:
        UserError: if git or the host refuses.
    """
    secret = {"PUSH_USER": host.user, "PUSH_TOKEN": host.token, "GIT_TERMINAL_PROMPT": "0"}
    only = ("-c", "credential.helper=", "-c", f"credential.helper={HELPER}")
    target = f"{commit}:refs/heads/{proposal.branch}"
    do(root, "git", *only, "push", "--quiet", "--force", host.repository, target, **secret)
    return host.propose(proposal)


def committed(root: Path, paths: Iterable[str | Path], message: str) -> str | None:
    """Commit what these paths hold, on top of HEAD; None if that changes nothing."""
    with TemporaryDirectory() as folder:
        aside = {"GIT_INDEX_FILE": str(Path(folder) / "index")}
        do(root, "git", "read-tree", "HEAD", **aside)
        do(root, "git", "add", "--all", "--", *map(str, paths), **aside)
        tree = do(root, "git", "write-tree", **aside)
    if tree == do(root, "git", "rev-parse", "HEAD^{tree}"):
        return None
    return do(root, "git", "commit-tree", tree, "-p", "HEAD", "-m", message)


def do(root: Path, *command: str, **variables: str) -> str:
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
