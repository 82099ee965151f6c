"""The model behind BentoML, batching on: `bentoml serve bentoml_service:Model`."""

import bentoml
import numpy as np
import scorer


@bentoml.service(workers=1, logging={"access": {"enabled": False}})
class Model:
    """One worker, in which requests that wait are scored together."""

    def __init__(self) -> None:
        """Load the model."""
        self.score = scorer.load()

    @bentoml.api(batchable=True, max_batch_size=4_096)
    def predict(self, rows: np.ndarray) -> np.ndarray:
        """Probabilities of rows."""
        return self.score(rows.astype(np.float32))
