"""Let Vertex AI run the image that a state file names, or say how it is asked and what runs there.

The image is uploaded and deployed to the endpoint, beside what runs there. As soon as it answers on
its health route, all traffic goes to it; what ran before stays, without traffic.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["google-cloud-aiplatform>=2.7,<3", "pyyaml>=6"]
# ///

import argparse
import json
import re
import sys
from pathlib import Path
from typing import Any

import google.auth
import yaml
from google.auth.transport.requests import Request
from google.cloud import aiplatform_v1 as vertex

FOLDER = Path(__file__).parent
MINUTES = 60


def read(file: str, kind: Any) -> Any:
    """What a file says, as Vertex AI means it; an unknown field or another type is an error."""
    return kind.from_json(json.dumps(yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))))


def image(state: Path) -> str:
    """The image that is to run, by its digest."""
    if not state.exists():
        sys.exit(f"There is no {state} yet: docs/ops/google.md says how to write it.")
    named = str(yaml.safe_load(state.read_text(encoding="utf-8"))["image"])
    if not re.search(r"@sha256:[0-9a-f]{64}\Z", named):
        sys.exit(f"{state} must name the image by its digest.")
    return named


def find(endpoints: Any, parent: str, name: str) -> Any:
    """The endpoint of this name; None if there is none."""
    asked = {"parent": parent, "filter": f'display_name="{name}"'}
    return next(iter(endpoints.list_endpoints(request=asked)), None)


def access(endpoints: Any, parent: str, name: str, server: str, token: str) -> dict[str, object]:
    """How the endpoint is asked for a prediction, and the image that has all its traffic."""
    found = find(endpoints, parent, name)
    deployed = found.deployed_models if found else ()
    serving = [its.display_name for its in deployed if found.traffic_split.get(its.id) == 100]
    if not serving:
        sys.exit(f"No model has all traffic of an endpoint {name}.")
    row = json.loads((FOLDER.parent / "row.json").read_text(encoding="utf-8"))
    return {
        "image": serving[0],
        "url": f"{server}/v1/{found.name}:predict",
        "headers": {"Authorization": f"Bearer {token}"},
        "body": json.dumps({"instances": row if isinstance(row, list) else [row]}),
    }


def release(models: Any, endpoints: Any, parent: str, name: str, image: str) -> None:
    """Upload an image, and give it the traffic of the endpoint of this name.

    Args:
        models: the client of models.
        endpoints: the client of endpoints.
        parent: project and location.
        name: of endpoint and model, as people see it.
        image: by its digest.
    """
    model = read("model.yaml", vertex.Model)
    model.display_name, model.container_spec.image_uri = name, image
    deployed = read("deployment.yaml", vertex.DeployedModel)
    uploaded = models.upload_model(parent=parent, model=model).result(MINUTES * 60)
    deployed.display_name, deployed.model = image.rpartition(":")[2][:12], uploaded.model
    found = find(endpoints, parent, name)
    if found is None:
        wanted = vertex.Endpoint(display_name=name)
        found = endpoints.create_endpoint(parent=parent, endpoint=wanted).result(MINUTES * 60)
    traffic = {**dict.fromkeys((its.id for its in found.deployed_models), 0), "0": 100}
    answer = endpoints.deploy_model(
        endpoint=found.name, deployed_model=deployed, traffic_split=traffic
    )
    print(f"{name} answers with {answer.result(MINUTES * 60).deployed_model.display_name}.")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for option in ("project", "location", "name"):
        parser.add_argument(f"--{option}", required=True)
    parser.add_argument("--state", type=Path, help="what is to run; without it: say what does")
    options = parser.parse_args()
    host = f"{options.location}-aiplatform.googleapis.com"
    endpoints = vertex.EndpointServiceClient(client_options={"api_endpoint": host})
    parent = f"projects/{options.project}/locations/{options.location}"
    if options.state:
        models = vertex.ModelServiceClient(client_options={"api_endpoint": host})
        release(models, endpoints, parent, options.name, image(options.state))
    else:
        credentials, _ = google.auth.default()
        credentials.refresh(Request())
        said = access(endpoints, parent, options.name, f"https://{host}", str(credentials.token))
        print(json.dumps(said))
