"""How a SageMaker endpoint is asked for a prediction, and which image it runs, in JSON.

`make sagemaker-access` hands over what Terraform knows of it. The request is signed once:
SageMaker takes it for five minutes, as often as it comes.
"""

# /// script
# requires-python = ">=3.11"
# dependencies = ["boto3>=1.40,<2"]
# ///

import json
import sys
from pathlib import Path

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

outputs = {name: output["value"] for name, output in json.load(sys.stdin).items()}
if not outputs:
    sys.exit("Terraform knows of no endpoint here yet.")
name, region = outputs["endpoint"], outputs["region"]

session = boto3.Session(region_name=region)
sagemaker = session.client("sagemaker")
endpoint = sagemaker.describe_endpoint(EndpointName=name)
if endpoint["EndpointStatus"] != "InService":
    sys.exit(f"The endpoint {name} is {endpoint['EndpointStatus']}.")
configuration = sagemaker.describe_endpoint_config(
    EndpointConfigName=endpoint["EndpointConfigName"]
)
variant = configuration["ProductionVariants"][0]
model = sagemaker.describe_model(ModelName=variant["ModelName"])

row = (Path(__file__).parent.parent / "row.json").read_text(encoding="utf-8")
server = session.client("sagemaker-runtime").meta.endpoint_url
request = AWSRequest(
    "POST",
    f"{server}/endpoints/{name}/invocations",
    {"Content-Type": "application/json"},
    row.encode(),
)
SigV4Auth(session.get_credentials(), "sagemaker", region).add_auth(request)
access = {
    "image": model["PrimaryContainer"]["Image"].rpartition(":")[2],
    "url": request.url,
    "headers": dict(request.headers),
    "body": row,
}
print(json.dumps(access))
