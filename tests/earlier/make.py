"""Make what a project of an earlier release has written: `python tests/earlier/make.py 0.4.0`.

The project is rendered from that release, and its own code trains two versions, promotes, serves,
logs, hears of the ground truth and retrains, as far as that release can. The archive beside this
file is the result, without the code that the template manages; tests/ops/test_earlier.py reads it
with the code of today. Run it in the environment of `make test`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from datetime import date, timedelta
from pathlib import Path
from urllib.request import Request, urlopen

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "hooks")]

from history import RELEASES, past  # noqa: E402

ROWS = 240
ASKED = 120
RULE = '''
    @dy.rule()
    def nothing_is_free(cls) -> pl.Expr:
        """Something was paid for whatever was placed by phone."""
        return (pl.col("channel") != "phone") | (pl.col("amount") > 0)
'''
DRY = (".venv", "__pycache__", ".pytest_cache", "cache", "tmp", "storage")


def rows(path: Path, seed: int, number: int) -> None:
    """Orders: numbers, a category, a text, a time, gaps; who leaves follows from three of them."""
    draw = random.Random(seed)
    with path.open("w", encoding="utf-8") as file:
        file.write("number,placed,amount,channel,express,note,left\n")
        for place in range(number):
            amount, late = draw.uniform(1, 90), draw.random() < 0.3
            channel = draw.choice(["web", "shop", "phone", ""])
            leaves = draw.random() < (0.8 if late else 0.15) + (0.1 if amount > 50 else 0)
            day = date(2024, 1, 1) + timedelta(days=place)
            note = "late again" if late else draw.choice(["", "fine"])
            express = draw.choice(["true", "false"])
            left = "yes" if leaves else "no"
            file.write(f"A{seed}-{place},{day},{amount:.2f},{channel},{express},{note},{left}\n")


class Maker:
    """A project of an earlier release, and its own code to run."""

    def __init__(self, root: Path, tools: Path) -> None:
        """Let its commands find its package, and `ops`."""
        self.root = root
        launcher = tools / "ops"
        tools.mkdir()
        launcher.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m my_model.ops.cli "$@"\n')
        launcher.chmod(0o755)
        path = [str(tools), str(Path(sys.executable).parent), os.environ["PATH"]]
        self.environment = {
            **os.environ,
            "PATH": os.pathsep.join(path),
            "PYTHONPATH": str(root / "src"),
            "GIT_CONFIG_GLOBAL": str(tools / "gitconfig"),
        }
        (tools / "gitconfig").write_text(
            "[user]\n  name = Ada Lovelace\n  email = ada@example.org\n"
        )

    def run(self, *command: str) -> str:
        """Run a command to its end."""
        done = subprocess.run(
            command,
            cwd=self.root,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def train(self, message: str) -> None:
        """Run the pipeline, register what comes out, commit."""
        self.run("dvc", "repro")
        print(self.run("ops", "register").strip())
        self.run("git", "add", "--all")
        self.run("git", "commit", "--quiet", "--no-verify", "--message", message)


def make(version: str, root: Path, tools: Path) -> None:
    """Live with a project of this release for a while."""
    with tempfile.TemporaryDirectory() as folder:
        template = past(Path(folder))
        template.render(root, {"package_name": "my_model", "sample": "none"}, f"v{version}")
    maker = Maker(root, tools)
    maker.run("git", "init", "--quiet", "--initial-branch=main")
    maker.run("git", "add", "--all")
    maker.run("git", "commit", "--quiet", "--message", "Begin")
    rows(root / "orders.csv", 1, ROWS)
    options = ("--id", "number", "--text", "note", "--time", "placed")
    maker.run("ops", "data", "use", "orders.csv", "--target", "left", *options)
    (root / "orders.csv").unlink()
    schema = root / "src" / "my_model" / "ml" / "schema.py"
    text = schema.read_text().rstrip() + "\n" + RULE
    text = (
        text
        if "import polars as pl" in text
        else text.replace(
            "import dataframely as dy\n", "import dataframely as dy\nimport polars as pl\n"
        )
    )
    schema.write_text(text)
    params = root / "params.yaml"
    params.write_text(params.read_text().replace("model: auto", "model: linear"))
    maker.run("git", "add", "--all")
    maker.run("git", "commit", "--quiet", "--no-verify", "--message", "Use our data")
    maker.train("Train")
    params.write_text(params.read_text().replace("folds: 5", "folds: 4"))
    maker.train("Train with other folds")
    if "serve" in maker.run("ops", "--help"):
        served(maker)
    if "retrain" in maker.run("ops", "--help"):
        maker.run("ops", "retrain")
        maker.run("git", "add", "--all")
        maker.run("git", "commit", "--quiet", "--no-verify", "--message", "Retrain")
    maker.run("ops", "promote", "1", "--reason", "the first was better")
    maker.run("git", "gc", "--quiet", "--aggressive", "--prune=now")
    print(maker.run("ops", "history"))


def served(maker: Maker) -> None:
    """Ask the service of that release, and tell it what became of most of its answers."""
    rows(maker.root / "asked.csv", 2, ASKED)
    names, *lines = (maker.root / "asked.csv").read_text().splitlines()
    (maker.root / "asked.csv").unlink()
    log = maker.root.parent / "served.log"
    with log.open("w") as out:
        service = subprocess.Popen(
            ["ops", "serve", "--port", "0"],
            cwd=maker.root,
            env=maker.environment,
            stdout=out,
            stderr=out,
            executable=str(maker.environment["PATH"].split(os.pathsep)[0] + "/ops"),
        )
    try:
        address = None
        while address is None:
            found = [word for word in log.read_text().split() if word.startswith("http://127")]
            address = found[0].rstrip("/.,") if found else None
            if service.poll() is not None:
                raise SystemExit(log.read_text())
        _await(f"{address}/ready")
        for line in lines:
            values = dict(zip(names.split(","), line.split(","), strict=True))
            left = values.pop("left")
            row = {
                "number": values["number"],
                "placed": f"{values['placed']}T00:00:00",
                "amount": float(values["amount"]),
                "channel": values["channel"] or None,
                "express": values["express"] == "true",
                "note": values["note"] or None,
            }
            answer = _post(f"{address}/predict", row)
            if values["express"] == "true":
                _post(
                    f"{address}/feedback", {"prediction_id": answer["prediction_id"], "truth": left}
                )
    finally:
        service.terminate()
        service.wait(60)


def _await(address: str) -> None:
    """Wait for the service, a minute at most."""
    for _ in range(600):
        try:
            with urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise SystemExit(f"{address} does not answer")


def _post(address: str, body: object) -> dict[str, str]:
    request = Request(address, json.dumps(body).encode(), {"Content-Type": "application/json"})
    with urlopen(request, timeout=60) as answer:
        told: dict[str, str] = json.load(answer)
    return told


def kept(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """What belongs into the archive: neither caches, nor who made it."""
    parts = Path(member.name).parts
    if any(part in DRY for part in parts) and "my_model" not in parts:
        return None
    if "__pycache__" in parts or (".git" in parts and {"hooks", "logs"} & set(parts)):
        return None
    if member.name.endswith((".png", ".html")) or member.name.startswith(
        "project/src/my_model/ops"
    ):
        return None
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


def main() -> None:
    """Make the archives of the releases that were named, or of all."""
    for version in sys.argv[1:] or RELEASES:
        folder = Path(tempfile.mkdtemp())
        make(version, folder / "project", folder / "tools")
        with tarfile.open(HERE / f"{version}.tar.xz", "w:xz") as archive:
            archive.add(folder / "project", "project", filter=kept)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
