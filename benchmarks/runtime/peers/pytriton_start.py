"""A real Triton out of the wheel of `nvidia-pytriton`, which has no ONNX backend: its dynamic
batcher puts rows together, and a function calls the session: `pytriton_start.py GRAPH PORT`."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import onnxruntime
from pytriton.decorators import batch
from pytriton.model_config import DynamicBatcher, ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
(given,), (made,) = session.get_inputs(), session.get_outputs()
dtype = np.int64 if "int64" in given.type else np.float32


@batch  # type: ignore[untyped-decorator]
def infer(x: Any) -> list[Any]:
    """The rows that Triton has put together."""
    return list(session.run(None, {"x": x}))


if __name__ == "__main__":
    port = int(sys.argv[2])
    config = TritonConfig(
        http_port=port,
        grpc_port=port + 1,
        metrics_port=port + 2,
        http_address="127.0.0.1",
        grpc_address="127.0.0.1",
        log_verbose=0,
    )
    with Triton(config=config) as triton:
        triton.bind(
            model_name="m",
            infer_func=infer,
            inputs=[Tensor(name="x", dtype=dtype, shape=(given.shape[1],))],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(made.shape[1],))],
            config=ModelConfig(max_batch_size=32, batcher=DynamicBatcher()),
            strict=False,
        )
        triton.serve()
