"""BentoML with adaptive batching; the graph comes by `BENCH_GRAPH`."""

from __future__ import annotations

import os

import bentoml
import numpy as np
import onnxruntime


@bentoml.service(workers=1)
class Service:
    """One session, rows put together by BentoML."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(os.environ["BENCH_GRAPH"], options)
        self.dtype = np.int64 if "int64" in self.session.get_inputs()[0].type else np.float32

    @bentoml.api(batchable=True, max_batch_size=32, max_latency_ms=1000)
    def infer(self, x: np.ndarray) -> np.ndarray:
        return self.session.run(None, {"x": x.astype(self.dtype, copy=False)})[0]
