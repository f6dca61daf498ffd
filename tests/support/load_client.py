"""Asks a site for inferences without pause until its standard input ends; says what came of it.

    python load_client.py PORT [HOST]

Six callers: on connections that stay open and on fresh ones, small bodies and big ones, JSON,
binary tensors and chunks. The last line of stdout is a JSON document: answers by the factor that
they show (which version gave them), failures in words, latencies in milliseconds.
"""

from __future__ import annotations

import http.client
import json
import struct
import sys
import threading
import time
from collections import Counter

CALLERS = (
    # stays open, rows, binary, chunked
    (True, 1, False, False),
    (True, 1, True, False),
    (False, 1, False, False),
    (False, 200, True, False),
    (True, 5000, True, False),
    (True, 3, False, True),
)


def request(rows: int, binary: bool) -> tuple[bytes, dict[str, str]]:
    tensor: dict[str, object] = {"name": "x", "datatype": "FP32", "shape": [rows, 4]}
    if not binary:
        tensor["data"] = [1.0] * 4 * rows
        return json.dumps({"inputs": [tensor]}).encode(), {}
    data = struct.pack(f"<{4 * rows}f", *([1.0] * 4 * rows))
    tensor["parameters"] = {"binary_data_size": len(data)}
    head = json.dumps({"inputs": [tensor]}).encode()
    return head + data, {"Inference-Header-Content-Length": str(len(head))}


def call(where: tuple[str, int], stop: threading.Event, told: dict, caller: tuple) -> None:
    stays, rows, binary, chunked = caller
    body, headers = request(rows, binary)
    client = None
    while not stop.is_set():
        began = time.monotonic()
        try:
            client = client or http.client.HTTPConnection(*where, timeout=60)
            half = len(body) // 2
            sent = iter([body[:half], body[half:]]) if chunked else body
            path = "/v2/models/multiply/infer"
            client.request("POST", path, sent, headers, encode_chunked=chunked)
            answer = client.getresponse()
            data = answer.read()
            if answer.status != 200:
                raise OSError(f"HTTP {answer.status} {data[:100]!r}")
            values = json.loads(data)["outputs"][0]["data"]
            assert len(values) == 4 * rows, "the answer is of another size"
            told["answers"][str(values[0])] += 1
            told["latencies"].append(time.monotonic() - began)
        except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
            told["failures"].append(f"{caller}: {error!r}")
            client = None
        if client and not stays:
            client.close()
            client = None
        time.sleep(0.005)


def main(where: tuple[str, int]) -> None:
    stop = threading.Event()
    told: dict = {"answers": Counter(), "failures": [], "latencies": []}
    threads = [threading.Thread(target=call, args=(where, stop, told, one)) for one in CALLERS]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    slow = sorted(told.pop("latencies"))
    told["p50_ms"], told["p99_ms"], told["worst_ms"] = (
        round(slow[min(int(len(slow) * share), len(slow) - 1)] * 1000, 1)
        for share in (0.5, 0.99, 1.0)
    )
    print(json.dumps(told))


if __name__ == "__main__":
    main((sys.argv[2] if sys.argv[2:] else "127.0.0.1", int(sys.argv[1])))
