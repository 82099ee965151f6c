"""What `make demo` runs: the default project, rendered, trained and shown.

The second run is quick: a project that this template rendered is kept, and DVC repeats no stage.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PROJECT = ROOT / "build" / "demo"
STAMP = ROOT / "build" / "demo.sha256"
NEWEST_PYTHON = (3, 13)
PLACES = {
    "README.md": "what it is, and how to bring your own data",
    "reports/cards/model.html": "the model's card, with its plots",
    "reports/cards/data.html": "the data's card",
    "models/champion": "the bundle that `ops score` uses",
}


def run(*command: str, cwd: Path = ROOT) -> None:
    """Show a command, then run it; the demo ends where it fails.

    Raises:
        SystemExit: with the command's own exit code.
    """
    print(f"\n\033[1m$ {' '.join(command)}\033[0m", flush=True)
    done = subprocess.run(command, cwd=cwd, check=False)
    if done.returncode:
        sys.exit(done.returncode)


def fingerprint() -> str:
    """A digest of everything that a render depends on, and of the interpreter."""
    digest = hashlib.sha256(repr(sys.version_info[:2]).encode())
    listed = subprocess.run(
        ["git", "ls-files", "-z", "-co", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    for name in sorted(listed.stdout.split("\0")):
        path = ROOT / name
        if name.startswith(("copier.yml", "reserved.yml", "template/", "samples/", "licenses/")):
            digest.update(name.encode() + b"\0" + path.read_bytes() if path.exists() else b"")
    return digest.hexdigest()


def render() -> None:
    """Render the project anew, unless it stands as this template renders it."""
    current = fingerprint()
    if STAMP.exists() and STAMP.read_text() == current and PROJECT.exists():
        print(f"{PROJECT} is rendered already.")
        return
    shutil.rmtree(PROJECT, ignore_errors=True)
    version = ".".join(map(str, min(sys.version_info[:2], NEWEST_PYTHON)))
    answers = ("--data", f"python_version={version}")
    template, project = str(ROOT), str(PROJECT)
    run("copier", "copy", "--quiet", "--defaults", "--vcs-ref", "HEAD", *answers, template, project)
    # The template's own repository lies around the folder, and ignores it.
    run("git", "init", "--quiet", "--initial-branch", "main", cwd=PROJECT)
    STAMP.write_text(current)


def show(seconds: float) -> None:
    """Print the metrics, the registered version, and where to look next."""
    run("uv", "run", "ops", "history", cwd=PROJECT)
    metrics = json.loads((PROJECT / "reports" / "metrics.json").read_text())
    print(f"\nDone in {seconds:.0f} s. On rows that the model had not seen:\n")
    for name, value in metrics.items():
        if isinstance(value, int | float):
            print(f"  {name:24} {value:.4g}")
    print(f"\nThe project: {PROJECT}")
    for place, what in PLACES.items():
        print(f"  {place:26} {what}")
    print("\nIn that folder: `make help` is the menu, `make ui` shows runs and versions.")
    if shutil.which("uv", path=path_of_the_person()) is None:
        print(f'It needs uv, which is here: export PATH="{ROOT / ".venv" / "bin"}:$PATH"')


def path_of_the_person() -> str:
    """Where the shell that called make looks for commands: without this environment's folder."""
    folders = os.environ["PATH"].split(os.pathsep)
    return os.pathsep.join(folder for folder in folders if Path(folder) != ROOT / ".venv" / "bin")


def main() -> None:
    """Render, set up, train, show."""
    start = time.monotonic()
    render()
    run("make", "--no-print-directory", "setup", "train", cwd=PROJECT)
    show(time.monotonic() - start)


if __name__ == "__main__":
    main()
