"""The model behind LitServe, batching on: `litserve_server.py PORT`."""

import sys
from typing import Any

import litserve
import numpy as np
import scorer

Parts = list[np.ndarray]


class Model(litserve.LitAPI):
    """One worker, in which requests that wait are scored together."""

    def setup(self, device: str) -> None:
        """Load the model."""
        del device
        self.score = scorer.load()

    def decode_request(self, request: dict[str, Any]) -> np.ndarray:
        """The rows of a request."""
        return np.asarray(request["rows"], dtype=np.float32)

    def batch(self, inputs: Parts) -> Parts:
        """The requests as they are, for they differ in length."""
        return inputs

    def predict(self, parts: Parts) -> Parts:
        """Score all rows at once, and give each request its own."""
        ends = np.cumsum([len(part) for part in parts])
        return np.split(self.score(np.concatenate(parts)), ends[:-1])

    def unbatch(self, output: Parts) -> Parts:
        """The answers, request by request."""
        return output

    def encode_response(self, output: np.ndarray) -> dict[str, Any]:
        """The answer to one request."""
        return {"probabilities": output.tolist()}


if __name__ == "__main__":
    model = Model(max_batch_size=256, batch_timeout=0.001)
    server = litserve.LitServer(model, accelerator="cpu", fast_queue=True)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[1]),
        num_api_servers=1,
        log_level="warning",
        generate_client_file=False,
    )
