"""A real Triton out of the wheel of `nvidia-pytriton`, with the models of the conformance suite:
`triton_start.py HTTP_PORT GRPC_PORT`. It has no ONNX backend, so the models are functions.
"""

from __future__ import annotations

import signal
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig, TritonSecurityConfig

DTYPES = {
    "bool": np.bool_,
    "fp16": np.float16,
    "fp32": np.float32,
    "fp64": np.float64,
    **{np.dtype(kind).name: np.dtype(kind).type for kind in "bhiqBHIQ"},
    "bytes": np.bytes_,
}
WEIGHTS = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
BIAS = np.array([0.5, -0.25, 0.125], np.float32)


def classify(requests: Any) -> Any:
    """As `tests/support/tiny_models.py`, `classifier`."""
    answers = []
    for request in requests:
        scores = np.maximum(request["x"] @ WEIGHTS + BIAS, 0)
        answers.append({"scores": scores, "label": scores.argmax(axis=1)})
    return answers


def same(requests: Any) -> Any:
    """What came."""
    return [{"y": request["x"]} for request in requests]


def slow(requests: Any) -> Any:
    """What came, late."""
    time.sleep(0.5)
    return same(requests)


def main() -> None:
    """Serve until killed."""
    config = TritonConfig(
        http_port=int(sys.argv[1]),
        grpc_port=int(sys.argv[2]),
        metrics_port=int(sys.argv[2]) + 1,
        http_address="127.0.0.1",
        grpc_address="127.0.0.1",
        log_verbose=0,
    )
    usual = ModelConfig(batching=False)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    # PyTriton asks for a token before it tells statistics and index; Triton itself does not.
    open_to_all = TritonSecurityConfig(restricted_endpoints=[])
    with (
        tempfile.TemporaryDirectory() as folder,
        Triton(config=config, security_config=open_to_all, workspace=Path(folder, "w")) as triton,
    ):
        triton.bind(
            model_name="classifier",
            infer_func=classify,
            inputs=[Tensor(name="x", dtype=np.float32, shape=(-1, 4))],
            outputs=[
                Tensor(name="scores", dtype=np.float32, shape=(-1, 3)),
                Tensor(name="label", dtype=np.int64, shape=(-1,)),
            ],
            config=usual,
            strict=False,
        )
        for name, dtype in DTYPES.items():
            tensor = {"dtype": dtype, "shape": (-1, 2)}
            triton.bind(
                model_name=name,
                infer_func=same,
                inputs=[Tensor(name="x", **tensor)],
                outputs=[Tensor(name="y", **tensor)],
                config=usual,
                strict=False,
            )
        triton.bind(
            model_name="slow",
            infer_func=slow,
            inputs=[Tensor(name="x", dtype=np.float32, shape=(-1, 4))],
            outputs=[Tensor(name="y", dtype=np.float32, shape=(-1, 4))],
            config=usual,
            strict=False,
        )
        triton.run()
        # Triton's index looks into its repository, beside which PyTriton has loaded the models.
        for name in ("classifier", "slow", *DTYPES):
            Path(folder, "w", "model-store", name).mkdir(exist_ok=True)
        signal.pause()


if __name__ == "__main__":
    main()
