"""moto's server, and what Terraform needs of it that it lacks.

Budgets have tags and subscribers, an endpoint knows how it was deployed and answers as its image
would, and a part that nobody gave is absent. Policies of buckets are kept, and not held to: moto
passes over their conditions, such as that of the transport.
"""

import json
import sys
from typing import Any, ClassVar

from moto.budgets import responses
from moto.core.responses import ActionResult
from moto.iam.access_control import PermissionResult
from moto.s3.models import FakeBucket
from moto.sagemaker.models import sagemaker_backends
from moto.sagemaker.responses import SageMakerResponse
from moto.sagemakerruntime.responses import SageMakerRuntimeResponse
from moto.server import main


class Budgets(responses.BudgetsResponse):
    """Budgets that have tags and subscribers."""

    tags: ClassVar[dict[str, list[dict[str, str]]]] = {}

    def create_budget(self) -> str:
        """Make a budget, with its tags."""
        Budgets.tags[self._get_param("Budget")["BudgetName"]] = self._get_param("ResourceTags", [])
        return super().create_budget()

    def list_tags_for_resource(self) -> str:
        """What a budget is tagged with."""
        name = self._get_param("ResourceARN").rpartition("/")[2]
        return json.dumps({"ResourceTags": Budgets.tags[name]})

    def describe_subscribers_for_notification(self) -> str:
        """Who hears of a notification."""
        budget = self.backend.budgets[self._get_param("AccountId")][self._get_param("BudgetName")]
        wanted = self._get_param("Notification").items()
        found = next(its for its in budget.notifications if wanted <= its.details.items())
        return json.dumps({"Subscribers": found.subscribers})


class Endpoints(SageMakerResponse):
    """Models and endpoints as SageMaker describes them."""

    deployments: ClassVar[dict[str, Any]] = {}

    def create_endpoint(self) -> ActionResult:
        """Make an endpoint, and keep how."""
        Endpoints.deployments[self._get_param("EndpointName")] = self._get_param("DeploymentConfig")
        return super().create_endpoint()

    def update_endpoint(self) -> ActionResult:
        """Let an endpoint have another configuration."""
        name = self._get_param("EndpointName")
        endpoint = self.sagemaker_backend.endpoints[name]
        endpoint.endpoint_config_name = self._get_param("EndpointConfigName")
        Endpoints.deployments[name] = self._get_param("DeploymentConfig")
        return ActionResult({"EndpointArn": endpoint.arn})

    def describe_endpoint(self) -> ActionResult:
        """Say also how it was deployed."""
        described = super().describe_endpoint().result
        deployment = Endpoints.deployments[self._get_param("EndpointName")]
        return ActionResult(given({**described, "LastDeploymentConfig": deployment}))

    def describe_endpoint_config(self) -> ActionResult:
        """Leave out what nobody gave."""
        return ActionResult(given(super().describe_endpoint_config().result))

    def describe_model(self) -> ActionResult:
        """Leave out what nobody gave."""
        return ActionResult(given(super().describe_model().result))


def invoked(response: SageMakerRuntimeResponse) -> tuple[int, dict[str, str], str]:
    """Answer as the service does, unless the image is a bad one."""
    sagemaker = sagemaker_backends[response.current_account][response.region]
    endpoint = sagemaker.endpoints[response.path.split("/")[2]]
    variants = sagemaker.endpoint_configs[endpoint.endpoint_config_name].production_variants
    model = sagemaker.describe_model(variants[0]["ModelName"])
    bad = ":bad" in model.primary_container["Image"]
    answer = {"error": "broken"} if bad else {"model_version": "7"}
    return 200, {"Content-Type": "application/json"}, json.dumps(answer)


def given(described: dict[str, Any]) -> dict[str, Any]:
    """A description without empty parts."""
    return {name: value for name, value in described.items() if value}


def undecided(*_: object) -> PermissionResult:
    """What a policy says of an action."""
    return PermissionResult.NEUTRAL


responses.BudgetsResponse = Budgets
SageMakerResponse.dispatch = Endpoints.dispatch
SageMakerRuntimeResponse.invoke_endpoint = invoked
FakeBucket.get_permission = undecided
main(sys.argv[1:])
