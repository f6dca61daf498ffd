"""A text model asked by stock tritonclient: `triton_text.py http|grpc HOST:PORT`; prints JSON."""

from __future__ import annotations

import json
import sys
from typing import Any

import numpy as np

kind, address = sys.argv[1:3]
if kind == "probe":
    print("{}")
    sys.exit()
if kind == "http":
    import tritonclient.http as client_module
else:
    import tritonclient.grpc as client_module
client: Any = client_module.InferenceServerClient(address)
ids = np.array([[2, 3]])
inputs = []
for name, array in (("input_ids", ids), ("attention_mask", np.ones_like(ids))):
    given = client_module.InferInput(name, array.shape, "INT64")
    given.set_data_from_numpy(array)
    inputs.append(given)
answer = client.infer("colours", inputs)
print(
    json.dumps(
        {
            "ready": client.is_model_ready("colours"),
            "vectors": answer.as_numpy("vectors")[0].tolist(),
        }
    )
)
