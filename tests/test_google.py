"""The files for Vertex AI, read and sent by Google's own clients, to a stand-in that answers."""

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

LIBRARIES = ("google-cloud-aiplatform==2.7.0", "pyyaml")
PARENT = "projects/company/locations/europe-west4"
IMAGE = f"europe-west4-docker.pkg.dev/company/models/my-model@sha256:{'ab' * 32}"
RELEASE = """
import json, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import release
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1 as vertex
from google.cloud.aiplatform_v1.services.endpoint_service.transports import (
    EndpointServiceRestTransport)
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceRestTransport
server = {"host": sys.argv[2], "url_scheme": "http", "credentials": AnonymousCredentials()}
models = vertex.ModelServiceClient(transport=ModelServiceRestTransport(**server))
endpoints = vertex.EndpointServiceClient(transport=EndpointServiceRestTransport(**server))
if sys.argv[4:]:
    image = release.image(Path(sys.argv[4]))
    release.release(models, endpoints, sys.argv[3], "my-model-dev", image)
else:
    said = release.access(endpoints, sys.argv[3], "my-model-dev", "https://server", "a token")
    print(json.dumps(said))
"""

TYPED = """
import io, os, runpy, sys
from contextlib import redirect_stdout
import google.auth
from google.auth.credentials import AnonymousCredentials
from google.cloud import aiplatform_v1 as vertex
from google.cloud.aiplatform_v1.services.endpoint_service.transports import (
    EndpointServiceRestTransport)
from google.cloud.aiplatform_v1.services.model_service.transports import ModelServiceRestTransport
server = {"host": os.environ["STAND_IN"], "url_scheme": "http"}
server["credentials"] = AnonymousCredentials()

class Person(AnonymousCredentials):
    token = "a token"
    def refresh(self, request): pass

def client(kind, transport):
    def made(client_options):
        assert client_options == {"api_endpoint": "europe-west4-aiplatform.googleapis.com"}
        return kind(transport=transport(**server))
    return made

google.auth.default = lambda: (Person(), None)
vertex.ModelServiceClient = client(vertex.ModelServiceClient, ModelServiceRestTransport)
vertex.EndpointServiceClient = client(vertex.EndpointServiceClient, EndpointServiceRestTransport)
sys.argv = sys.argv[1:]
with redirect_stdout(io.StringIO()) as said:
    runpy.run_path(sys.argv[0], run_name="__main__")
host = "https://europe-west4-aiplatform.googleapis.com"
print(said.getvalue().replace(host, f"http://{os.environ['STAND_IN']}"), end="")
"""
"""Runs the whole of release.py, as somebody who is logged in, at the stand-in's address."""
UV = """#!/bin/sh
case "$4" in
deploy/google/release.py)
  shift 3
  exec {uv} run --quiet --no-project {packages} python {typed} "$@" ;;
*) exec {uv} "$@" ;;
esac
"""
"""Lends release.py those versions of Google's library that the tests have, and that address."""


class Vertex(StandIn):
    """An endpoint with one deployed model; every operation is done at once."""

    def answer(self, method: str, path: str, body: str) -> object:
        """What Vertex AI would answer."""
        path = path.partition("?")[0]
        super().answer(method, path, body)
        kind = "type.googleapis.com/google.cloud.aiplatform.v1."
        done = {"name": f"{PARENT}/operations/1", "done": True}
        if path.endswith("models:upload"):
            model = {"@type": f"{kind}UploadModelResponse", "model": f"{PARENT}/models/7"}
            return {**done, "response": model}
        if path.endswith(":deployModel"):
            sent = json.loads(body)["deployedModel"]
            return {
                **done,
                "response": {"@type": f"{kind}DeployModelResponse", "deployedModel": sent},
            }
        deployed = [{"id": "41", "displayName": "cd" * 6}, {"id": "42", "displayName": "ab" * 6}]
        its = {"deployedModels": deployed, "trafficSplit": {"41": 0, "42": 100}}
        return {"endpoints": [{"name": f"{PARENT}/endpoints/5", **its}]}


@pytest.fixture
def vertex() -> Iterator[Vertex]:
    """Vertex AI, on this machine."""
    with stand_in(Vertex()) as server:
        yield server


@pytest.fixture
def folder(rendered: Callable[..., Path], tmp_path: Path) -> Path:
    """The files of a project whose state file names an image."""
    deploy = tmp_path / "deploy"
    shutil.copytree(rendered(deploy="[google]") / "deploy", deploy)
    (deploy / "state").mkdir()
    (deploy / "state" / "dev.yaml").write_text(f"image: {IMAGE}\n")
    return deploy / "google"


def release(folder: Path, vertex: Vertex, *state: str) -> subprocess.CompletedProcess[str]:
    """Release the image of a state file; without one, ask how the endpoint is asked."""
    packages = [part for library in LIBRARIES for part in ("--with", library)]
    command = ["uv", "run", "--quiet", "--no-project", *packages, "python", "-c", RELEASE]
    arguments = [str(folder), vertex.address.removeprefix("http://"), PARENT, *state]
    return subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)


class Remembering(Vertex):
    """An endpoint that knows what was deployed to it, and predicts."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[str] = []

    def answer(self, method: str, path: str, body: str) -> object:
        """What Vertex AI would answer, of the endpoint as it is by now."""
        path = path.partition("?")[0]
        if path.endswith(":predict"):
            return {"prediction_id": "1", "model_version": "7"}
        said = super().answer(method, path, body)
        if path.endswith(":deployModel"):
            self.images.append(json.loads(body)["deployedModel"]["displayName"])
        if not path.endswith("/endpoints"):
            return said
        deployed = [{"id": str(place), "displayName": it} for place, it in enumerate(self.images)]
        split = {its["id"]: 0 for its in deployed} | {str(len(deployed) - 1): 100}
        its = {"deployedModels": deployed, "trafficSplit": split if deployed else {}}
        return {"endpoints": [{"name": f"{PARENT}/endpoints/5", **its}]}


def test_the_verbs_of_a_cluster_lead_there_and_back(
    rendered: Callable[..., Path], tmp_path: Path
) -> None:
    """By the targets that a person can type, with the record in git."""
    project = shutil.copytree(rendered(deploy="[google]"), tmp_path / "project")
    (project / "deploy" / "row.json").write_text('{"mean radius": 1.0}')
    for words in ("init --quiet", "add --all", "commit --quiet --message begin"):
        run("git", *words.split(), cwd=project)
    (tmp_path / "typed.py").write_text(TYPED)
    packages = " ".join(f"--with {library}" for library in LIBRARIES)
    real = {"uv": shutil.which("uv"), "packages": packages, "typed": tmp_path / "typed.py"}
    (tmp_path / "uv").write_text(UV.format(**real))
    (tmp_path / "uv").chmod(0o755)
    other = IMAGE.replace("ab", "cd")
    with stand_in(Remembering()) as vertex:
        environment = {
            **os.environ,
            "PATH": os.pathsep.join([str(tmp_path), os.environ["PATH"]]),
            "PYTHONPATH": str(project / "src"),
            "STAND_IN": vertex.address.removeprefix("http://"),
            "VERTEX_PROJECT": "company",
            "VERTEX_LOCATION": "europe-west4",
            "VERTEX_ENDPOINTS": "my-model",
        }

        def ops(*words: str) -> str:
            command = (sys.executable, "-m", "my_model.ops.cli", *words)
            return run(*command, cwd=project, env=environment)

        for image in (IMAGE, other):
            assert "dev runs" in ops("deploy", "dev", "--image", image)
        ops("deploy", "dev", "--rollback")
        assert vertex.images == ["ab" * 6, "cd" * 6, "ab" * 6]
        said = ops("deployed")
    assert [line.split()[0] for line in said.splitlines()] == ["dev", "production", "staging"]
    assert "as git says, ready: 1, version: 7" in said.splitlines()[0]
    subject = run("git", "log", "-1", "--format=%s", cwd=project)
    assert subject.startswith("Roll back dev: ")


def state(folder: Path) -> str:
    """The file that says what dev is to run."""
    return str(folder.parent / "state" / "dev.yaml")


def test_the_new_image_gets_all_traffic_beside_the_old_one(folder: Path, vertex: Vertex) -> None:
    done = release(folder, vertex, state(folder))
    assert done.stdout == "my-model-dev answers with abababababab.\n", done.stderr
    sent = {path.rpartition("/")[2]: body for path, body in vertex.asked}
    model = json.loads(sent["models:upload"])["model"]
    assert model["containerSpec"] == {
        "imageUri": IMAGE,
        "predictRoute": "/predict",
        "healthRoute": "/ready",
        "ports": [{"containerPort": 8080}],
    }
    deployed = json.loads(sent["5:deployModel"])
    assert deployed["deployedModel"]["model"] == f"{PARENT}/models/7"
    assert deployed["trafficSplit"] == {"41": 0, "42": 0, "0": 100}


def test_an_endpoint_says_what_runs_and_how_it_is_asked(folder: Path, vertex: Vertex) -> None:
    (folder.parent / "row.json").write_text('{"mean radius": 1.0}')
    done = release(folder, vertex)
    assert json.loads(done.stdout) == {
        "image": "ab" * 6,
        "url": f"https://server/v1/{PARENT}/endpoints/5:predict",
        "headers": {"Authorization": "Bearer a token"},
        "body": '{"instances": [{"mean radius": 1.0}]}',
    }, done.stderr


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("model.yaml", "healthRoute", "healthPath"),
        ("deployment.yaml", "minReplicaCount: 1", "minReplicaCount: one"),
        ("../state/dev.yaml", f"@sha256:{'ab' * 32}", ":latest"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_sent(
    folder: Path, vertex: Vertex, file: str, right: str, wrong: str
) -> None:
    (folder / file).write_text((folder / file).read_text().replace(right, wrong))
    assert release(folder, vertex, state(folder)).returncode == 1
    assert vertex.asked == []
