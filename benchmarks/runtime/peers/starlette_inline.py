"""The simplest server that one would write: Starlette, the session called in the handler."""

from __future__ import annotations

import json
import sys

import numpy as np
import onnxruntime
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
dtype = {"FP32": np.float32, "INT64": np.int64}


async def infer(request: Request) -> Response:
    """One request, one run, JSON both ways."""
    (given,) = json.loads(await request.body())["inputs"]
    x = np.array(given["data"], dtype[given["datatype"]]).reshape(given["shape"])
    (y,) = session.run(None, {"x": x})
    answer = {
        "model_name": "m",
        "outputs": [
            {"name": "y", "datatype": "FP32", "shape": list(y.shape), "data": y.ravel().tolist()}
        ],
    }
    return Response(json.dumps(answer), media_type="application/json")


async def ready(request: Request) -> Response:
    """Up."""
    return Response("")


app = Starlette(routes=[Route("/infer", infer, methods=["POST"]), Route("/v2/health/ready", ready)])
if __name__ == "__main__":
    uvicorn.run(
        app,
        port=int(sys.argv[2]),
        http="httptools",
        loop="asyncio",
        access_log=False,
        log_level="error",
    )
