"""Millions of rows from the source to a judged model, in memory and in parts."""

from __future__ import annotations

import re
import shutil
from functools import partial
from typing import TYPE_CHECKING

from project import environment
from render import ROOT
from render import run as call

from .measuring import Cost, Section, compare, measure, rows
from .ten_million import SCRIPTS, prepare

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

STAGES = ("ingest", "validate", "split", "train", "evaluate")
MILLIONS = {"in parts": (1, 5, 20, 100), "in memory": (1, 5)}
SAMPLE = 1_000_000
RECIPE = re.compile(r"### XGBoost\n.*?```python\n(.*?)```", re.DOTALL)
CASE = '    if model == "xgboost":\n        return xgboost(classify, kinds, seed, **parameters)\n'
FIRST = '    classify = task == "classification"\n'
PARAMS = "train: {{model: xgboost, in_memory: {most}, xgboost: {{n_estimators: 100, n_jobs: 2}}}}\n"
TEXT = """\
Orders of twelve columns are parsed, held to their contract, split, learnt by XGBoost (100 trees,
as docs/ops/models.md builds it), exported and judged, one stage after the other, by one process
each. In parts, models are compared and judged on a million rows of each side at most
(`train.in_memory: 1000000`), and the model that is taken learns from all, a part at a time; in
memory all rows are held. Ratios are to a million rows in parts; memory is that of the largest
process.\
"""


def run(folder: Path, runs: int) -> Section:
    """Measure each size, in parts and, where that is reasonable, in memory."""
    place = folder / "large"
    variables = environment(place / "machine")
    project = prepare(place, variables)["project"].parents[2]
    extra = ("xgboost-cpu>=3,<4", "onnxmltools>=1.16")
    python = project / ".venv" / "bin" / "python"
    call("uv", "pip", "install", "--quiet", "--python", python, *extra, cwd=place, env=variables)
    paste(project / "src" / "my_model" / "ml" / "model.py")
    contenders: dict[str, Callable[[], Cost]] = {}
    for kind, sizes in MILLIONS.items():
        for millions in sizes:
            orders = place / f"orders-{millions}"
            if not orders.exists():
                call(python, SCRIPTS / "parts.py", str(millions * 10**6), orders, cwd=place)
            most = SAMPLE if kind == "in parts" else 10**9
            work = partial(train, project, orders, most, variables)
            contenders[f"{millions} million rows, {kind}"] = work
    return Section("Many rows", TEXT, runs, rows(compare(contenders, runs)), memory=True)


def paste(model: Path) -> None:
    """Bring XGBoost into `ml/model.py`, as the page says."""
    recipe = RECIPE.search((ROOT / "template" / "docs" / "ops" / "models.md").read_text())
    assert recipe
    text = model.read_text().replace("MODELS = (", 'MODELS = ("xgboost", ', 1)
    model.write_text(f"{text.replace(FIRST, FIRST + CASE)}\n\n{recipe[1]}")


def train(project: Path, orders: Path, most: int, variables: Mapping[str, str]) -> Cost:
    """Run the project's stages, one process each, as DVC does."""
    for name in ("data", "models", "reports"):
        shutil.rmtree(project / name, ignore_errors=True)
    (project / "data").mkdir()
    (project / "params.yaml").write_text(PARAMS.format(most=most))
    own = {**variables, "ORDERS": str(orders)}
    costs = {}
    for stage in STAGES:
        command = (project / ".venv" / "bin" / "ops", "stage", stage)
        costs[stage] = measure(*command, cwd=project, env=own)
        print(
            f"    {stage}: {costs[stage].processor_seconds:.0f} s, {costs[stage].megabytes:.0f} MB"
        )
    return sum(costs.values(), Cost())
