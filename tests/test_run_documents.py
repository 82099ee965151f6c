"""What a person types: every command in the documents, every target of the menu."""

from __future__ import annotations

import json
import random
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from documents import commands, examples
from project import Project, all_passed, apart, change_params, orders
from servers import StandIn, service, stand_in, visit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# A target that waits for a person to look at it.
SERVERS = {
    "make ui": "MLflow",
    "make notebook": "JupyterLab",
    "make serve": "Predictions",
    "uv run ops serve --model NUMBER": "Predictions",
    "uv run ops serve --shadow challenger": "Predictions",
}
# What the jobs of test_run_ci.py run.
CI = {"make check", "make test", "make trial", "make audit"}
# What test_containers.py runs.
CONTAINERS = {"make image", "make up", "make down"}
# What test_image_pipeline.py runs.
IMAGES = {
    *(f"make image-{name}" for name in ("check", "smoke", "size", "sbom", "scan", "push")),
    *("make deliver", "make image-sign", "make image-verify", "make image-scan GRYPE=grype"),
}
# What test_run_retraining.py and test_template_update.py run.
PIPELINE = {"make log", "make challenge", "make propose", "make promote", "make template-propose"}
# What test_deployment.py and test_ray.py walk, where there is a cluster, and what they run.
WALKED = {"kubernetes.md", "ray.md"}
DEPLOYMENT = ("make deploy", "make rollback", "make image-worker")
# What tests/ops/test_experiments.py runs, in its order.
EXPERIMENTS = "uv run dvc exp"
# What tests/ops/test_parallel.py does, on a cluster of its own.
CLUSTER = ("uv sync --group cluster", "uv run ray ", "RAY_ADDRESS=")
# What test_recipes.py installs, in an environment of its own.
RECIPES = "uv add --group train "
SERVED_AT = re.compile(r"localhost:8080")
# What the README of the carts says as no other does.
HEADINGS = ("A new product", "Replace the sample by your data")
# A whole command, as a reader of this project would type it.
COMMANDS = {
    "uv run dvc add": "uv run dvc add data/source.csv",
    "uv run dvc add data/sources": (
        "mkdir data/sources && cp orders.csv data/sources && uv run dvc add data/sources"
    ),
    "uv run ops promote": "uv run ops promote 1",  # here, the last training left no challenger
    "uv run ops promote --reason TEXT": "uv run ops promote 1 --reason known",  # likewise
    "uv run ops retrain --declare COLUMN=LABEL": "uv run ops retrain --declare Kündigung?=stayed",
}
# What a document writes in capitals, leaves to the sentence around it, or only its reader has.
WORDS = {
    "FILE": "orders.csv",
    "COLUMN": "Kündigung?",
    "IN": "orders.csv",
    "OUT": "scores.csv",
    "NUMBER": "1",
    "s3://bucket/folder": "../shared",
}


def meant(command: str) -> str:
    """The command as a reader of this project would type it."""
    if command in COMMANDS:
        return COMMANDS[command]
    for name, value in WORDS.items():
        command = re.sub(rf"(?<![\w/]){re.escape(name)}(?!\w)", f"'{value}'", command)
    return command


@pytest.fixture(scope="module")
def reader(sample: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A copy of the project as it was before its first training, with files to try things on."""
    root = tmp_path_factory.mktemp("reader") / "project"
    shutil.copytree(sample.root, root, ignore=shutil.ignore_patterns(".venv*"), symlinks=True)
    settings = root.parent / "jupyter"
    settings.mkdir()
    server = {"ServerApp": {"allow_root": True, "open_browser": False}}
    (settings / "jupyter_server_config.json").write_text(json.dumps(server))
    with stand_in(StandIn()) as world:
        project = Project(
            root,
            {
                **sample.environment,
                "UV_PROJECT_ENVIRONMENT": str(root.parent / "environment"),
                "PIP_AUDIT_VULNERABILITY_SERVICE": "osv",
                "PIP_AUDIT_OSV_URL": world.address,
                "JUPYTER_CONFIG_DIR": str(settings),
                "PORT": "0",
            },
        )
        project.run("git", "reset", "--quiet", "--hard", "HEAD~1")
        change_params(project, {"trials: 30": "trials: 2", "model: blend": "model: linear"})
        project.commit("Search briefly, for one model", "--no-verify")
        project.install(root.parent / "environment")
        orders(root / "orders.csv")
        yield project


def test_every_documented_command_and_every_target_runs(reader: Project) -> None:
    readme = list(commands((reader.root / "README.md").read_text()))
    assert {"make setup", "make train"} <= set(readme)
    paths = [path for path in sorted(reader.root.glob("docs/**/*.md")) if path.name not in WALKED]
    pages = [path.read_text() for path in paths]
    others = {command for page in pages for command in commands(page)}
    others |= {f"make {target}" for target in reader.menu()}
    begun = ("curl ", EXPERIMENTS, RECIPES, *CLUSTER, *DEPLOYMENT)
    elsewhere = {command for command in others if command.startswith(begun)}
    elsewhere |= CI | CONTAINERS | IMAGES | PIPELINE
    for command in [*readme, *sorted(others - set(readme) - elsewhere)]:
        first = command in SERVERS and command not in readme
        if first:  # the first model is served again, with the rules of its own code
            reader.run("git", "stash", "push", "--quiet", "--", "src")
        if command in SERVERS:
            assert SERVERS[command] in visit(reader, meant(command))
        else:
            reader.run("bash", "-c", meant(command))
        if first:
            reader.run("git", "stash", "pop", "--quiet")
    assert (reader.root / "scores.csv").exists()


def test_the_readme_of_the_carts_brings_a_new_product_and_other_carts(
    trained: Callable[[str], Project], tmp_path: Path
) -> None:
    """What no other README says; the rest of it is typed above."""
    carts = apart(trained("cart"), tmp_path / "carts")
    readme = (carts.root / "README.md").read_text()
    product, others = (
        [*commands(readme.partition(f"\n## {it}\n")[2].partition("\n## ")[0])] for it in HEADINGS
    )
    assert {"make monitor", "make retrain"} < {*product}
    for command in product:
        carts.run("bash", "-c", command)
    (item,) = re.findall(r'echo "(\w+),', product[0])
    assert item.encode() in (carts.root / "models" / "champion" / "model.onnx").read_bytes()
    assert re.search(r"^2 .* champion ", carts.versions(), re.MULTILINE)
    assert "data/catalogue.csv.dvc" in carts.changes()
    assert not any(name.startswith("src/") for name in carts.changes())

    carts.commit("Sell crisps", "--no-verify")
    draw = random.Random(7)
    rows = [{"had": draw.choices(range(40), k=n % 5), "bought": n * n % 40} for n in range(900)]
    lines = "".join(json.dumps(row) + "\n" for row in rows)
    (carts.root / "carts.jsonl").write_text(lines)
    change_params(carts, {"baseline_gain: 0.02": "baseline_gain: -9"})  # nothing is to be learnt
    for command in others:
        typed = command.replace("FILE", "carts.jsonl").replace("COLUMN", "bought")
        carts.run("bash", "-c", typed)
    assert re.search(r"^3 .* champion ", carts.versions(), re.MULTILINE)
    assert all_passed(carts.run("make", "test"))


def test_a_documented_exception_lets_a_security_fix_through(
    reader: Project, tmp_path: Path
) -> None:
    page = (reader.root / "docs" / "ops" / "ci.md").read_text()
    (exception,) = re.findall(r"^exclude-newer-package = .+$", page, re.MULTILINE)
    for name in ("pyproject.toml", "uv.lock", "README.md"):
        shutil.copy(reader.root / name, tmp_path)
    settings = tmp_path / "pyproject.toml"
    place = re.compile(r"(?<=^exclude-newer = )(.+\n\n# project-specific\n)", re.MULTILINE)
    told = f"\\1{exception.replace('NAME', 'idna')}\n"
    settings.write_text(place.sub(told, settings.read_text()))
    reader.run("uv", "lock", "--upgrade-package", "idna", cwd=tmp_path)
    assert "[options.exclude-newer-package]\nidna = " in (tmp_path / "uv.lock").read_text()


def test_every_documented_call_of_the_service_is_answered(reader: Project) -> None:
    page = (reader.root / "docs" / "ops" / "serving.md").read_text()
    calls = [command for command in commands(page) if command.startswith("curl ")]
    (example,) = examples(page)
    log = reader.root.parent / "service.log"
    # The last commands brought other data; the champion is served with the rules of its own.
    reader.run("git", "checkout", "--quiet", "HEAD", "--", "src")
    with service(("uv", "run", "ops", "serve"), reader.root, log, reader.environment) as served:
        for call in calls:
            here = SERVED_AT.sub(f"localhost:{served.port}", call)
            reader.run("bash", "-c", here.replace("curl", "curl --silent --fail-with-body"))
        reader.run("python3", "-c", SERVED_AT.sub(f"localhost:{served.port}", example))
        assert served.metrics().total("service_rows_total") == 2
        assert served.metrics().total("service_feedback_total") == 1
