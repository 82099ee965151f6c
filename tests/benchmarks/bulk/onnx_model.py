"""A model in ONNX whose features are numbers, asked in batches."""

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxruntime

BATCH_ROWS = 4_096


class Model:
    """What a bundle answers."""

    def __init__(self, bundle: Path, threads: int | None = None) -> None:
        """Load it; as many threads work as there are cores, if nothing else is said."""
        manifest = json.loads((bundle / "manifest.json").read_text())
        self.features = [feature["name"] for feature in manifest["features"]]
        self.classes = np.array(manifest["classes"])
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            bundle / "model.onnx", options, providers=["CPUExecutionProvider"]
        )
        self.threads = threads or os.cpu_count()

    def answer(self, columns: list[np.ndarray]) -> dict[str, np.ndarray]:
        """The prediction of each row, and how likely each class is."""
        (numbers,) = self.session.get_inputs()
        matrix = np.column_stack(columns)

        def some(start: int) -> list[np.ndarray]:
            return self.session.run(None, {numbers.name: matrix[start : start + BATCH_ROWS]})

        with ThreadPoolExecutor(self.threads) as pool:
            parts = list(pool.map(some, range(0, len(matrix), BATCH_ROWS)))
        places, likely = (np.concatenate(each) for each in zip(*parts, strict=True))
        names = [f"probability_{name}" for name in self.classes]
        return {"prediction": self.classes[places], **dict(zip(names, likely.T, strict=True))}
