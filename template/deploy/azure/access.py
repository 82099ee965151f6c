"""How an endpoint of Azure ML is asked for a prediction, and which image it runs, in JSON."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any


def az(*words: str) -> Any:
    """What `az ml online-endpoint` says of the endpoint."""
    name = ("--name", sys.argv[1])
    asked = ["az", "ml", "online-endpoint", *words, *name, "--output", "json"]
    return json.loads(subprocess.run(asked, check=True, stdout=subprocess.PIPE, timeout=120).stdout)


endpoint = az("show")
serving = [name for name, share in endpoint["traffic"].items() if share == 100]
if not serving:
    sys.exit(f"No deployment has all traffic: {endpoint['traffic']}.")
access = {
    "image": serving[0].removeprefix("image-"),
    "url": endpoint["scoring_uri"],
    "headers": {"Authorization": f"Bearer {az('get-credentials')['accessToken']}"},
    "body": (Path(__file__).parent.parent / "row.json").read_text(encoding="utf-8"),
}
print(json.dumps(access))
