"""Scans in FP32 what values a graph really holds: the block list for FP16.

A CPU that runs FP16 casts to FP32 and back, so a value of 320 000 shows no harm there and is
infinite on an accelerator. Here the FP32 graph runs on the calibration samples with every float
tensor as an output, and nodes that read or write values beyond the range are named.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from packager.optimize.engine import open_session
from packager.optimize.external_data import model_tensors
from packager.optimize.half_precision import FP16_LARGEST, FP16_SMALLEST_NORMAL, float_names
from packager.optimize.samples import Feed

HEADROOM = 2.0
"""Calibration does not see every input: what comes within this factor of the limit is blocked."""

SAMPLES_AT_MOST = 64
_TENSORS_AT_ONCE = 400


def beyond_fp16(
    model: Path, proto: onnx.ModelProto, feeds: Iterable[Feed], scratch: Path
) -> set[str]:
    """First outputs of the nodes that must stay FP32. Reads at most `SAMPLES_AT_MOST` samples.

    `proto` is the graph of the file `model`; `scratch` is a folder beside it, since external data
    is found relative to the graph.
    """
    largest = largest_values(proto, list(feeds)[:SAMPLES_AT_MOST], scratch / f"scan-{model.name}")
    outside = {
        name
        for name, value in largest.items()
        if value * HEADROOM > FP16_LARGEST or 0 < value < FP16_SMALLEST_NORMAL
    }
    return {
        node.output[0]
        for node in proto.graph.node
        if node.output and outside & {*node.input, *node.output}
    }


def largest_values(proto: onnx.ModelProto, feeds: list[Feed], scratch: Path) -> dict[str, float]:
    """Tensor name → largest absolute value over all samples, infinity where one is not finite."""
    names = _float_outputs(proto)
    found: dict[str, float] = {}
    for start in range(0, len(names), _TENSORS_AT_ONCE):
        part = names[start : start + _TENSORS_AT_ONCE]
        session = open_with_outputs(proto, part, scratch)
        for feed in feeds:
            for name, value in zip(part, session.run(part, feed), strict=True):
                values = np.abs(np.asarray(value))
                top = float(values.max(initial=0.0)) if np.isfinite(values).all() else np.inf
                found[name] = max(found.get(name, 0.0), top)
    return found


def _float_outputs(proto: onnx.ModelProto) -> list[str]:
    floats = float_names(proto)
    return [name for node in proto.graph.node for name in node.output if name in floats]


def open_with_outputs(
    proto: onnx.ModelProto, names: list[str], scratch: Path, same: Path | None = None
) -> Any:
    """A session of the same graph that gives `names`. Where weights stand beside it, it is written
    to `scratch` for a moment, in the folder of the graph, since they are found relative to it. The
    bytes are those of the file `same` where that holds the very graph."""
    known = {output.name for output in proto.graph.output}
    more = onnx.ModelProto()
    more.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in names if name not in known
    )
    whole = same.read_bytes() if same else proto.SerializeToString()
    opened = whole + more.SerializeToString()  # protobuf joins messages that stand side by side
    if all(one.data_location != onnx.TensorProto.EXTERNAL for one in model_tensors(proto)):
        return open_session(opened, 1)
    scratch.write_bytes(opened)
    try:
        return open_session(scratch, 1)
    finally:
        scratch.unlink()
