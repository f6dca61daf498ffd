"""The ceiling: the session alone, in a process of its own, without any server.

`python bare.py MODEL DTYPE WIDTH BATCH… ` prints JSON: start in seconds, resident MiB, rows per
second by batch size.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

BEGAN = time.perf_counter()

import numpy as np  # noqa: E402
import onnxruntime  # noqa: E402

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
started = time.perf_counter() - BEGAN
dtype, width = np.dtype(sys.argv[2]), int(sys.argv[3])
rates = {}
for batch in map(int, sys.argv[4:]):
    x = np.ones((batch, width), dtype)
    for _ in range(5):
        session.run(None, {"x": x})
    end, runs = time.perf_counter() + 1.0, 0
    while time.perf_counter() < end:
        session.run(None, {"x": x})
        runs += 1
    rates[batch] = runs * batch / (time.perf_counter() - end + 1.0)
resident = next(
    int(line.split()[1]) / 1024
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()
    if line.startswith("Pss:")
)
print(
    json.dumps(
        {
            "start": started,
            "rss": resident,
            "rates": rates,
        }
    )
)
