"""The files for Vertex AI, read and sent by Google's own clients, to a stand-in that answers."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
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
