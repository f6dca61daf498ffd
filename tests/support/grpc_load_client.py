"""Asks a site by gRPC until its standard input ends, as stock `tritonclient` does it.

    python grpc_load_client.py HOST:PORT

One client whose connection stays, and one that makes a new connection every time. The last line of
stdout is a JSON document: answers by the factor that they show (which version gave them), and
failures in words.
"""

from __future__ import annotations

import json
import sys
import threading
from collections import Counter

import numpy as np
from tritonclient import grpc as triton
from tritonclient.utils import InferenceServerException


def call(address: str, stays: bool, stop: threading.Event, told: dict) -> None:
    client = triton.InferenceServerClient(address)
    tensor = triton.InferInput("x", [1, 4], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 4), np.float32))
    while not stop.is_set():
        try:
            answer = client.infer("multiply", [tensor], client_timeout=30).as_numpy("y")
            told["answers"][str(float(answer[0][0]))] += 1
        except InferenceServerException as error:
            told["failures"].append(f"{'stays' if stays else 'fresh'}: {error}")
        if not stays:
            client.close()
            client = triton.InferenceServerClient(address)
        stop.wait(0.02)
    client.close()


def main(address: str) -> None:
    stop = threading.Event()
    told: dict = {"answers": Counter(), "failures": []}
    threads = [
        threading.Thread(target=call, args=(address, stays, stop, told)) for stays in (True, False)
    ]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1])
