"""The KServe SDK, which has no batching of its own: `kserve_start.py GRAPH PORT`."""

from __future__ import annotations

import sys
from typing import Any

import kserve
import onnxruntime


class Onnx(kserve.Model):  # type: ignore[misc]
    """One session, called in the handler."""

    def __init__(self) -> None:
        super().__init__("m")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(sys.argv[1], options)
        self.ready = True

    async def predict(self, payload: Any, headers: Any = None, response_headers: Any = None) -> Any:
        (y,) = self.session.run(None, {"x": payload.inputs[0].as_numpy()})
        output = kserve.InferOutput("y", list(y.shape), "FP32")
        output.set_data_from_numpy(y, binary_data=False)
        return kserve.InferResponse(
            response_id=payload.id or "1", model_name="m", infer_outputs=[output]
        )


if __name__ == "__main__":
    kserve.ModelServer(
        http_port=int(sys.argv[2]), enable_grpc=False, workers=1, access_log_format=None
    ).start([Onnx()])
