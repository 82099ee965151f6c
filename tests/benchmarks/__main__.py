"""`make bench`: run the benchmarks, or those that are named, and write docs/benchmarks.md."""

from __future__ import annotations

import argparse
import os
import platform
from typing import TYPE_CHECKING

from render import ROOT

from . import (
    drift,
    engines,
    fleet,
    idle,
    large,
    last_release,
    models,
    rendering,
    scoring,
    serving,
    suite,
    ten_million,
    training,
    updating,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from .measuring import Part

BENCHMARKS: Mapping[str, Callable[[Path, int], Part]] = {
    "rendering": rendering.run,
    "updating": updating.run,
    "fleet": fleet.run,
    "training": training.run,
    "models": models.run,
    "idle": idle.run,
    "ten-million": ten_million.run,
    "large": large.run,
    "engines": engines.run,
    "serving": serving.run,
    "scoring": scoring.run,
    "drift": drift.run,
    "last-release": last_release.run,
    "suite": suite.run,
}
FOLDER = ROOT / "build" / "benchmarks"
PAGE = ROOT / "docs" / "benchmarks.md"

IDENTITY = "[user]\nname = Ada Lovelace\nemail = ada@example.org\n[init]\ndefaultBranch = main\n"

HEAD = """\
# Benchmarks

`make bench` wrote this page; `make bench ARGS="rendering idle"` measures some of it again. What is
compared ran in turn, with warm package caches and bytecode compiled at installation. Each ratio is
to the last line above it, or its own, that says 1.00. The machine does other work too, so ratios
say more than seconds, and those of processor time more than those of time.

{machine}.
"""


def machine() -> str:
    """The machine in neutral words."""
    system = platform.system()
    if system == "Linux":
        system = platform.freedesktop_os_release()["PRETTY_NAME"]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    python = platform.python_version()
    return f"{os.cpu_count()} cores, {memory:.0f} GB of memory, {system}, Python {python}"


def measured() -> dict[str, str]:
    """The parts of the page as it is, by title."""
    _, *parts = PAGE.read_text().split("\n## ")
    return {part.partition("\n")[0]: f"## {part.rstrip()}\n" for part in parts}


def main() -> None:
    """Measure what was asked for; what was measured before keeps its place on the page."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    options.add_argument("--runs", type=int, default=3, help="how often each contender runs")
    chosen = options.parse_args()
    if unknown := set(chosen.names) - set(BENCHMARKS):
        options.error(f"no such benchmark: {', '.join(sorted(unknown))}")

    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / "gitconfig").write_text(IDENTITY)
    os.environ["GIT_CONFIG_GLOBAL"] = str(FOLDER / "gitconfig")
    parts = measured()
    for name in chosen.names or BENCHMARKS:
        print(name, flush=True)
        part = BENCHMARKS[name](FOLDER, chosen.runs)
        parts[part.title] = part.markdown()
        page = [HEAD.format(machine=machine()), *parts.values()]
        PAGE.write_text("\n".join(page))


main()
