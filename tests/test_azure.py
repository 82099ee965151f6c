"""The files for Azure ML, read by its own loaders, and the commands that hand them over."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from render import run
from servers import StandIn, stand_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
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
AZ = f"""#!{sys.executable}
import fnmatch, json, os, pathlib, sys
said, words = pathlib.Path(os.environ["SAID"]), sys.argv[1:]
with said.open("a") as file:
    print(*words, file=file)
if fnmatch.fnmatch(" ".join(words), os.environ["REFUSED"]):
    sys.exit(1)
traffic = said.with_name("traffic")
if "--traffic" in words:
    traffic.write_text(words[-1].partition("=")[0])
if words[2] == "show":
    split = {{traffic.read_text(): 100}} if traffic.exists() else {{}}
    print(json.dumps({{"traffic": split, "scoring_uri": os.environ["SCORING"] + "/score"}}))
if words[2] == "get-credentials":
    print(json.dumps({{"accessToken": "a token"}}))
"""
"""Writes down what it is asked, and knows which deployment has the traffic."""


class Endpoint(StandIn):
    """What answers, wherever the traffic goes."""

    def answer(self, method: str, path: str, body: str) -> object:
        """A prediction."""
        super().answer(method, path, body)
        return {"prediction_id": "1", "model_version": "7"}


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """An endpoint of Azure ML, on this machine."""
    with stand_in(Endpoint()) as server:
        yield server


@pytest.fixture
def project(rendered: Callable[..., Path], tmp_path: Path) -> Path:
    """A project under git with a row to try deployments with, beside an `az` that is none."""
    root = shutil.copytree(rendered(deploy="[azure]"), tmp_path / "project")
    (root / "deploy" / "row.json").write_text('{"mean radius": 1.0}')
    run("git", "init", "--quiet", cwd=root)
    run("git", "add", "--all", cwd=root)
    run("git", "commit", "--quiet", "--message", "begin", cwd=root)
    (tmp_path / "az").write_text(AZ)
    (tmp_path / "az").chmod(0o755)
    return root


def ask(
    project: Path, endpoint: Endpoint, *command: str, refused: str = ""
) -> tuple[int, str, list[str]]:
    """Run a command; gives how it ended, what it said, and what `az` was asked."""
    folder = project.parent
    said = folder / "said"
    said.unlink(missing_ok=True)
    variables = {
        "PATH": os.pathsep.join([str(folder), os.environ["PATH"]]),
        "PYTHONPATH": str(project / "src"),
        "AZURE_ENDPOINTS": "company-my-model",
        "SAID": str(said),
        "SCORING": endpoint.address,
        "REFUSED": refused,
    }
    done = subprocess.run(
        command,
        cwd=project,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    asked = said.read_text().splitlines() if said.exists() else []
    return done.returncode, done.stdout, asked


OPS = (sys.executable, "-m", "my_model.ops.cli")


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


def test_traffic_goes_to_a_deployment_that_has_answered(project: Path, endpoint: Endpoint) -> None:
    """It is recorded then, and `deployed` asks the endpoint."""
    code, said, asked = ask(project, endpoint, *OPS, "deploy", "dev", "--image", IMAGE)
    assert code == 0, said
    assert [line.split()[1:3] for line in asked[:4]] == [
        ["online-endpoint", "show"],
        ["online-deployment", "create"],
        ["online-endpoint", "invoke"],
        ["online-endpoint", "update"],
    ]
    assert "--name company-my-model-dev" in asked[0]
    assert f"--name image-{'ab' * 6} " in asked[1]
    assert asked[1].endswith(f"--set environment.image={IMAGE}")
    assert asked[3].endswith(f"--traffic image-{'ab' * 6}=100")
    assert endpoint.asked == [("/score", '{"mean radius": 1.0}')]
    state = (project / "deploy" / "state" / "dev.yaml").read_text()
    assert state.startswith(f"image: {IMAGE}\nversion: '7'\n")
    code, said, _ = ask(project, endpoint, *OPS, "deployed", "dev")
    assert (code, "as git says, ready: 1, version: 7" in said) == (0, True)


def test_one_that_does_not_answer_gets_none(project: Path, endpoint: Endpoint) -> None:
    """What ran before answers, and nothing is written down."""
    ask(project, endpoint, *OPS, "deploy", "dev", "--image", IMAGE)
    other = IMAGE.replace("ab", "cd")
    refused = f"*invoke*image-{'cd' * 6}*"
    deploy = (*OPS, "deploy", "dev", "--image", other)
    code, said, asked = ask(project, endpoint, *deploy, refused=refused)
    assert code == 3, said
    assert "`make azure-ml` failed, as said above; dev runs" in said
    assert not any(line.endswith(f"--traffic image-{'cd' * 6}=100") for line in asked)
    assert IMAGE in (project / "deploy" / "state" / "dev.yaml").read_text()
    assert run("git", "status", "--porcelain", cwd=project) == ""


def test_one_command_leads_back(project: Path, endpoint: Endpoint) -> None:
    """To the deployment before, which is tried again and gets the traffic; git tells so."""
    other = IMAGE.replace("ab", "cd")
    for image in (IMAGE, other):
        code, said, _ = ask(project, endpoint, *OPS, "deploy", "dev", "--image", image)
        assert code == 0, said
    code, said, asked = ask(project, endpoint, *OPS, "deploy", "dev", "--rollback")
    assert code == 0, said
    assert f"--set environment.image={IMAGE}" in asked[1]
    assert asked[3].endswith(f"--traffic image-{'ab' * 6}=100")
    subject = run("git", "log", "-1", "--format=%s", cwd=project)
    assert subject.startswith("Roll back dev: company.azurecr.io/my-model@abababababab")
    code, said, _ = ask(project, endpoint, *OPS, "deployed")
    assert code == 0, said
    assert [line.split()[0] for line in said.splitlines()] == ["dev", "production", "staging"]
    assert "as git says, ready: 1, version: 7" in said.splitlines()[0]


def test_an_image_by_its_tag_is_refused(project: Path, endpoint: Endpoint) -> None:
    (project / "deploy" / "state").mkdir()
    (project / "deploy" / "state" / "dev.yaml").write_text("image: my-model:latest\n")
    code, said, asked = ask(project, endpoint, "make", "azure-ml", "ENVIRONMENT=dev")
    assert (code, asked) == (2, [])
    assert "must name the image by its digest" in said
