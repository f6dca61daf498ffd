"""The transformations themselves, one function for each pass name. Runs in worker processes only.

Each function reads one model file and writes another. Quantizers work on the graph as the exporter
wrote it: on a fused graph they lose the types of contributed operators.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import onnx

from packager.optimize.engine import open_session, quantization
from packager.optimize.samples import Feed

DATA_FILE = "model.onnx.data"
"""Where a candidate keeps its weights when they stand beside the graph."""


def graph_optimization(
    source: Path, target: Path, parameters: Mapping[str, Any], feeds: Iterator[Feed], external: bool
) -> None:
    """ONNX Runtime's own optimizer, level EXTENDED, saved to a file."""
    del parameters, feeds
    open_session(source, 1, save_optimized=target)
    tidy(target, external)


def quantize_dynamic(
    source: Path, target: Path, parameters: Mapping[str, Any], feeds: Iterator[Feed], external: bool
) -> None:
    """8-bit weights now, 8-bit activations at run time."""
    del feeds
    tools = quantization()
    tools.quantize_dynamic(
        source,
        target,
        op_types_to_quantize=list(parameters["operators"]),
        per_channel=parameters["per_channel"],
        reduce_range=parameters["reduce_range"],
        weight_type=tools.QuantType.QInt8,
        use_external_data_format=external,
    )
    tidy(target, external)


def quantize_static(
    source: Path, target: Path, parameters: Mapping[str, Any], feeds: Iterator[Feed], external: bool
) -> None:
    """8-bit weights and activations, ranges from the calibration samples."""
    tools = quantization()

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Feed | None:
            return next(feeds, None)

    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        tools.quantize_static(
            source,
            Path(scratch) / target.name,
            Reader(),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=list(parameters["operators"]),
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            per_channel=parameters["per_channel"],
            reduce_range=parameters["reduce_range"],
            calibrate_method=tools.CalibrationMethod.MinMax,
            use_external_data_format=external,
        )
        save(onnx.load(Path(scratch) / target.name), target, external)


PASSES: dict[str, Callable[[Path, Path, Mapping[str, Any], Iterator[Feed], bool], None]] = {
    "graph_optimization": graph_optimization,
    "quantize_dynamic": quantize_dynamic,
    "quantize_static": quantize_static,
}


def tidy(target: Path, external: bool) -> None:
    """Write a pass's result again in our own form, without leftovers of the tool that made it."""
    proto = onnx.load(target)
    for leftover in target.parent.glob("*.data"):
        leftover.unlink()
    save(proto, target, external)


def save(proto: onnx.ModelProto, target: Path, external: bool) -> None:
    """Serialize with map entries in order; drop texts in which tools leave paths and dates."""
    proto.doc_string = ""
    proto.graph.doc_string = ""
    for node in proto.graph.node:
        node.doc_string = ""
    if external:
        onnx.save_model(
            proto, target, save_as_external_data=True, location=DATA_FILE, size_threshold=1024
        )
    else:
        target.write_bytes(proto.SerializeToString(deterministic=True))
