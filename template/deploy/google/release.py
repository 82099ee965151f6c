"""Let Vertex AI run the image that `deploy/state/ENVIRONMENT.yaml` names: `make vertex`.

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

import yaml
from google.cloud import aiplatform_v1 as vertex

FOLDER = Path(__file__).parent
MINUTES = 60


def read(file: str, kind: Any) -> Any:
    """What a file says, as Vertex AI means it; an unknown field or another type is an error."""
    return kind.from_json(json.dumps(yaml.safe_load((FOLDER / file).read_text(encoding="utf-8"))))


def image(environment: str) -> str:
    """The image that an environment is to run, by its digest."""
    state = FOLDER.parent / "state" / f"{environment}.yaml"
    if not state.exists():
        sys.exit(
            f"There is no {state.name} in deploy/state yet: docs/ops/google.md says how to write it."
        )
    named = str(yaml.safe_load(state.read_text(encoding="utf-8"))["image"])
    if not re.search(r"@sha256:[0-9a-f]{64}\Z", named):
        sys.exit(f"deploy/state/{state.name} must name the image by its digest.")
    return named


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
    found = next(
        iter(
            endpoints.list_endpoints(request={"parent": parent, "filter": f'display_name="{name}"'})
        ),
        None,
    )
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
    for option in ("project", "location", "name", "environment"):
        parser.add_argument(f"--{option}", required=True)
    options = parser.parse_args()
    server = {"api_endpoint": f"{options.location}-aiplatform.googleapis.com"}
    release(
        vertex.ModelServiceClient(client_options=server),
        vertex.EndpointServiceClient(client_options=server),
        f"projects/{options.project}/locations/{options.location}",
        options.name,
        image(options.environment),
    )
