"""What people tell git to do everywhere, and no verb may be changed by."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = """\
[user]
    name = Ada Lovelace
    email = ada@example.org
[apply]
    whitespace = error
[color]
    ui = always
    diff = always
    grep = always
    status = always
[commit]
    cleanup = scissors
    gpgSign = true
    template = /nowhere
[core]
    autocrlf = true
    hooksPath = {hooks}
    quotePath = true
    safecrlf = true
[diff]
    context = 0
    external = false
    mnemonicPrefix = true
    noprefix = true
    renames = copies
[gpg]
    program = false
[grep]
    fullName = true
[init]
    defaultBranch = trunk
[log]
    showSignature = true
[pull]
    rebase = true
[push]
    followTags = true
    gpgSign = true
[status]
    showUntrackedFiles = no
[submodule]
    recurse = true
"""


def hostile(folder: Path) -> dict[str, str]:
    """The variables of a person with such settings, and with hooks that fail."""
    hooks = folder / "hooks"
    hooks.mkdir()
    for name in ("pre-commit", "prepare-commit-msg", "commit-msg", "post-checkout"):
        (hooks / name).write_text("#!/bin/sh\nexit 1\n")
        (hooks / name).chmod(0o755)
    (folder / "hostile").write_text(HOSTILE.format(hooks=hooks))
    return {"GIT_CONFIG_GLOBAL": str(folder / "hostile"), "GIT_EXTERNAL_DIFF": "false"}
