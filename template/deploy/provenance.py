"""Where an image comes from, as SLSA says it (https://slsa.dev/spec/v1.0/provenance)."""

import json
import os
import subprocess

commit = subprocess.check_output(["git", "rev-parse", "HEAD"], text=True, timeout=10).strip()
source = os.environ["SOURCE"]
run = os.environ["RUN"]

provenance = {
    "buildDefinition": {
        "buildType": "https://slsa.dev/container-based-build/v0.1",
        "externalParameters": {"source": source, "command": ["make", "image"]},
        "resolvedDependencies": [{"uri": f"git+{source}", "digest": {"gitCommit": commit}}],
    },
    "runDetails": {"builder": {"id": source}, "metadata": {"invocationId": run}},
}
print(json.dumps(provenance, indent=2))
