"""The operations around the model, kept current by the template."""

import os

# ONNX Runtime would tell its makers of every model that it loads; it asks once, on its import.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
