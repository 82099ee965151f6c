"""`ops data use` on real data that well-known packages carry, each in a file of another kind.

What happens to odd files in detail is tested in `ops/test_data_use.py`.
"""

from __future__ import annotations

import csv
import importlib
import json
import os
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from project import Project
from render import ROOT, run

if TYPE_CHECKING:
    from collections.abc import Callable

    from render import Template

GAIN = 0.1
"""How much better than always giving the same answer: ROC AUC, or R squared."""

CLOSE = 0.05
"""How far the default may be from a tuned gradient-boosting model."""

WINE = """
import polars, sys
from sklearn.datasets import load_wine
data = load_wine(as_frame=False)
rows = polars.DataFrame(data.data, schema=list(data.feature_names))
rows.with_columns(cultivar=polars.Series(data.target, dtype=polars.Int8)).write_parquet(sys.argv[1])
"""


def shipped(package: str, path: str) -> Path:
    """A file inside an installed package, which need not be imported for it."""
    found = find_spec(package)
    assert found
    assert found.origin
    return Path(found.origin).parent / path


def rows_of(package: str, path: str) -> list[list[str]]:
    """The rows of a CSV file inside a package, the header among them."""
    with shipped(package, path).open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def decimal_comma(cell: str) -> str:
    """A number as much of Europe writes it."""
    try:
        float(cell)
    except ValueError:
        return cell
    return cell.replace(".", ",")


def penguins(path: Path) -> None:
    """A German spreadsheet: odd names, gaps, a comment, each bird seen more than once."""
    header, *rows = rows_of("palmerpenguins", "data/penguins-raw.csv")
    day = header.index("Date Egg")
    with path.open("w", encoding="cp1252", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow([name.replace("o/oo", "‰") for name in header])
        for row in rows:
            row[day] = ".".join(reversed(row[day].split("-")))
            writer.writerow([decimal_comma(cell) for cell in row])


def weather(path: Path) -> None:
    """What Excel calls Unicode text: tabs in UTF-16."""
    with path.open("w", encoding="utf-16", newline="") as file:
        csv.writer(file, delimiter="\t").writerows(
            rows_of("vega_datasets", "_data/seattle-weather.csv")
        )


def temperatures(path: Path) -> None:
    """Hour by hour, with the day before the month."""
    _, *rows = rows_of("vega_datasets", "_data/seattle-temps.csv")
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter="|")
        writer.writerow(["When?", "°F"])
        for when, degrees in rows:
            date, time = when.split()
            day = "/".join(reversed(date.split("/")))
            writer.writerow([f"{day} {time}", decimal_comma(degrees)])


def cars(path: Path) -> None:
    """Numbers with gaps, in the target too, and names that are text."""
    every = json.loads(shipped("vega_datasets", "_data/cars.json").read_text(encoding="utf-8"))
    path.write_text("".join(json.dumps(car) + "\n" for car in every), encoding="utf-8")


def jokes(path: Path) -> None:
    """Nothing but text, in several languages, with a byte-order mark."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Language", "The joke"])
        for language in ("de", "en", "it", "pl"):
            module = importlib.import_module(f"pyjokes.jokes_{language}")
            lists = (value for value in vars(module).values() if isinstance(value, list))
            writer.writerows(
                [language, joke] for joke in sorted({j for each in lists for j in each})
            )


@dataclass(frozen=True)
class Data:
    """A file, what is asked of it, and what must come of it."""

    file: str
    write: Callable[[Path], None] | None
    target: str
    task: str
    options: tuple[str, ...] = ()
    classes: int = 0
    often: bool = False


EVERY = [
    Data(
        "penguins.csv",
        penguins,
        "Sex",
        "classification",
        ("--group", "Individual ID"),
        2,
        often=True,
    ),
    Data("weather.txt", weather, "temp_max", "regression", ("--time", "date"), often=True),
    Data("temperatures.csv", temperatures, "°F", "regression"),
    Data("cars.jsonl", cars, "Miles_per_Gallon", "regression"),
    Data("jokes.csv", jokes, "Language", "classification", (), 4),
    Data("wine.parquet", None, "cultivar", "classification", (), 3),
]


@dataclass
class Table:
    """The metrics, shown below the summary of the tests."""

    rows: list[tuple[str, ...]] = field(default_factory=list)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        terminalreporter.section("real data")
        header = ("data", "rows", "target", "score", "baseline", "ours", "tuned boosting", "model")
        for row in [header, *self.rows]:
            terminalreporter.write_line("{:<17}{:>6}  {:<17}{:<9}{:>8}{:>8}{:>16}  {}".format(*row))


@pytest.fixture(scope="module")
def shown(request: pytest.FixtureRequest) -> Table:
    """The table of this run."""
    table = Table()
    request.config.pluginmanager.register(table)
    return table


@pytest.fixture(scope="module")
def desk(sample: Project, template: Template, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A project without data, in the environment of another one."""
    root = template.render(
        tmp_path_factory.mktemp("desk") / "project",
        {"sample": "none", "package_name": "my_model", "python_version": "3.12"},
    )
    for command in (["init", "--quiet"], ["add", "--all"], ["commit", "--quiet", "-m", "Begin"]):
        run("git", *command, cwd=root)
    tools = str(sample.root / ".venv" / "bin")
    path = os.pathsep.join([tools, sample.environment["PATH"]])
    variables = {**sample.environment, "PATH": path, "PYTHONPATH": str(root / "src")}
    variables["OMP_NUM_THREADS"] = "1"  # on few rows, threads wait for each other longer than work
    return Project(root, variables)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(data, id=data.file, marks=[] if data.often else pytest.mark.exhaustive)
        for data in EVERY
    ],
)
def test_real_data(desk: Project, shown: Table, tmp_path: Path, data: Data) -> None:
    file = tmp_path / data.file
    if data.write:
        data.write(file)
    else:
        desk.run("python", "-c", WINE, str(file))
    said = desk.run("ops", "data", "use", str(file), "--target", data.target, *data.options)
    assert f"A {data.task}." in said

    desk.run("dvc", "repro")
    said = desk.run("ops", "register")
    assert "is registered" in said
    if "(champion)" not in said:  # the champion knows other data
        desk.run("ops", "promote", "--reason", "other data")
    reports = desk.root / "reports"
    metrics, validation = (
        json.loads((reports / f"{name}.json").read_text()) for name in ("metrics", "validation")
    )
    assert validation["quarantined"] == 0
    manifest = json.loads((desk.root / "models" / "bundle" / "manifest.json").read_text())
    assert len(manifest["classes"]) == data.classes

    out = tmp_path / "scored.csv"
    desk.run("ops", "score", str(file), str(out))
    assert "prediction" in out.read_text(encoding="utf-8").partition("\n")[0]

    score = "roc_auc" if data.task == "classification" else "r2"
    ours, baseline = metrics[score], metrics[f"baseline_{score}"]
    tuned = float(desk.run("python", str(ROOT / "tests" / "ops" / "reference.py")))
    shown.rows.append(
        (
            data.file,
            f"{validation['rows']:,}",
            data.target,
            score,
            *(f"{value:.3f}" for value in (baseline, ours, tuned)),
            manifest["model"]["kind"],
        )
    )
    assert ours - baseline >= GAIN
    assert ours >= tuned - CLOSE
