"""Answers of the Open Inference Protocol v2 over REST.

An answer is JSON, followed by those outputs that the client wanted as binary data, in the order of
the JSON, each of the size that its `binary_data_size` gives (Triton, "Binary Tensor Data
Extension").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .datatypes import Array
from .exchange import dump
from .protocol import InferenceRequest
from .tensors import to_binary, to_json


def render_response(
    model: str, version: str, request: InferenceRequest, results: Mapping[str, Array]
) -> tuple[bytes, int | None]:
    """The body of the answer, and the length of its JSON where binary tensors follow it."""
    described, tensors = [], []
    for output in request.outputs:
        spec, array = output.spec, results[output.spec.name]
        entry: dict[str, Any] = {
            "name": spec.name,
            "datatype": spec.datatype.name,
            "shape": list(array.shape),
        }
        if output.binary:
            tensors.append(to_binary(spec.datatype, array))
            entry["parameters"] = {"binary_data_size": len(tensors[-1])}
        else:
            entry["data"] = to_json(spec.name, spec.datatype, array)
        described.append(entry)
    answer: dict[str, Any] = {"model_name": model, "model_version": version}
    if request.id is not None:
        answer["id"] = request.id
    answer["outputs"] = described
    head = dump(answer)
    return (b"".join([head, *tensors]), len(head)) if tensors else (head, None)
