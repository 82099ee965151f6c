"""The files for Azure ML, read by its own loaders, and the commands that hand them over."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LIBRARY = "azure-ai-ml==1.35.2"
LOAD = """
import json, sys
from azure.ai.ml import load_online_deployment, load_online_endpoint
folder, told = sys.argv[1], json.load(sys.stdin)
endpoint = load_online_endpoint(f"{folder}/endpoint.yaml", params_override=told["endpoint"])
read = {"endpoint": endpoint.name, "auth": endpoint.auth_mode, "refused": []}
text = open(f"{folder}/deployment.yaml").read()
for changed in told["changes"]:
    with open(f"{folder}/changed.yaml", "w") as file:
        file.write(text.replace(*changed))
    try:
        it = load_online_deployment(f"{folder}/changed.yaml", params_override=told["deployment"])
    except Exception as error:
        read["refused"].append(changed[1])
    else:
        read["image"] = it.environment.image
        its = it.environment.inference_config
        read["routes"] = [its.liveness_route.path, its.readiness_route.path, its.scoring_route.path]
print(json.dumps(read))
"""
IMAGE = f"company.azurecr.io/my-model@sha256:{'ab' * 32}"
AZ = """#!/bin/sh
echo "$*" >> "$SAID"
case "$*" in $REFUSED) exit 1 ;; esac
"""


@pytest.fixture
def project(rendered: Callable[..., Path], tmp_path: Path) -> Path:
    """A project whose state file names an image, beside an `az` that only writes down."""
    root = shutil.copytree(rendered(deploy="[azure]"), tmp_path / "project")
    (root / "deploy" / "state").mkdir()
    (root / "deploy" / "state" / "dev.yaml").write_text(f"image: {IMAGE}\n")
    (tmp_path / "az").write_text(AZ)
    (tmp_path / "az").chmod(0o755)
    return root


def deploy(project: Path, refused: str = "") -> tuple[int, list[str]]:
    """Type what the page says; gives how it ended, and what `az` was asked."""
    (command,) = re.findall(
        r"^make azure-ml .+$", (project / "docs" / "ops" / "azure.md").read_text(), re.MULTILINE
    )
    folder = project.parent
    said = folder / "said"
    said.unlink(missing_ok=True)
    path = os.pathsep.join([str(folder), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "SAID": str(said), "REFUSED": refused}
    done = subprocess.run(command.split(), cwd=project, env=environment, check=False)
    return done.returncode, said.read_text().splitlines() if said.exists() else []


def test_azures_own_loaders_take_the_files_and_refuse_others(project: Path) -> None:
    told = {
        "endpoint": [{"name": "company-my-model-dev"}],
        "deployment": [{"name": "image-1"}, {"environment.image": IMAGE}],
        "changes": [
            ("scoring_route", "scoring_route"),
            ("scoring_route", "scorring_route"),
            ("instance_count: 1", "instance_count: many"),
            ("readiness_probe", "readyness_probe"),
        ],
    }
    command = ["uv", "run", "--quiet", "--no-project", "--with", LIBRARY, "python", "-c", LOAD]
    done = subprocess.run(
        [*command, str(project / "deploy" / "azure")],
        input=json.dumps(told),
        capture_output=True,
        text=True,
        check=True,
    )
    read = json.loads(done.stdout)
    assert (read["endpoint"], read["auth"]) == ("company-my-model-dev", "aad_token")
    assert read["image"] == IMAGE
    assert read["routes"] == ["/", "/ready", "/score"]
    assert read["refused"] == ["scorring_route", "instance_count: many", "readyness_probe"]


def test_traffic_goes_to_a_deployment_that_has_answered(project: Path) -> None:
    code, said = deploy(project)
    assert code == 0
    assert [line.split()[1:3] for line in said] == [
        ["online-endpoint", "show"],
        ["online-deployment", "create"],
        ["online-endpoint", "invoke"],
        ["online-endpoint", "update"],
    ]
    assert f"--name image-{'ab' * 6} " in said[1]
    assert said[1].endswith(f"--set environment.image={IMAGE}")
    assert said[3].endswith(f"--traffic image-{'ab' * 6}=100")


def test_one_that_does_not_answer_gets_none(project: Path) -> None:
    code, said = deploy(project, refused="*invoke*")
    assert code == 2
    assert "update" not in said[-1]


def test_an_image_by_its_tag_is_refused(project: Path) -> None:
    (project / "deploy" / "state" / "dev.yaml").write_text("image: my-model:latest\n")
    assert deploy(project) == (2, [])
