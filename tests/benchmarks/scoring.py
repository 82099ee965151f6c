"""How fast a file is scored."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from render import run as call

from .measuring import Cost, Section, compare, measure, rows
from .trained import Trained, trained

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 2_000_000
SCRIPTS = Path(__file__).parent / "bulk"
TEXT = """\
{rows:,} rows of 30 numbers, from Parquet to Parquet and from CSV to CSV. The script reads the file
with polars, scores batches of 4,096 rows with ONNX Runtime in as many threads as there are cores,
and writes the rows with the answers beside them: in memory, without a look at the rows. `ops
score` scores as large batches in as many threads; it holds every row to the contract as well,
keeps what is finished in case it is killed, and needs as much memory however many rows there are.
Both files say the same, within 1e-6. The aim is at least 80 % of the script's speed: a ratio of
1.25 at most; reached: {reached}.\
"""


def run(folder: Path, runs: int) -> Section:
    """Compare `ops score` with bare ONNX Runtime over polars."""
    project = trained(folder)
    place = folder / "scoring"
    place.mkdir(exist_ok=True)
    python = project.bin / "python"
    if not (place / "rows.csv").exists():
        command = (python, SCRIPTS / "make.py", str(ROWS), place)
        call(*command, cwd=project.root, env=project.variables)
    table, reached = [], []
    for kind in ("parquet", "csv"):
        bare, ours = (place / f"{name}.{kind}" for name in ("bare", "ops"))
        contenders: dict[str, Callable[[], Cost]] = {
            f"ONNX Runtime over polars, {kind}": partial(script, project, place, bare),
            f"`ops score`, {kind}": partial(score, project, place, ours),
        }
        table += rows(compare(contenders, runs))
        reached.append(f"{1 / table[-1].ratio:.0%} ({kind})")
        call(python, SCRIPTS / "same.py", bare, ours, cwd=place)
    text = TEXT.format(rows=ROWS, reached=" and ".join(reached))
    return Section("Scoring a file", text, runs, table, memory=True)


def script(project: Trained, place: Path, target: Path) -> Cost:
    """Score with the script."""
    champion = project.root / "models" / "champion"
    command = (project.bin / "python", SCRIPTS / "bare.py", champion)
    source = place / f"rows{target.suffix}"
    return measure(*command, source, target, cwd=place, env=project.variables)


def score(project: Trained, place: Path, target: Path) -> Cost:
    """Score with the project."""
    source = place / f"rows{target.suffix}"
    command = (project.bin / "ops", "score", source, target)
    return measure(*command, cwd=project.root, env=project.variables)
