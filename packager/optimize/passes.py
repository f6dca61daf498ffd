"""The transformations themselves, one function for each pass name. Runs in worker processes only.

Each function takes a `Step` from its source file to its target file and may leave notes for the
evidence. Quantizers work on the graph as the exporter wrote it: on a fused graph they lose the
types of contributed operators.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnx

from packager.optimize.blocks import block_weights
from packager.optimize.engine import open_session, quantization, transformer_optimizer
from packager.optimize.half_precision import (
    convert,
    drop_listed_inputs,
    emulate,
    names_read,
    store,
)
from packager.optimize.quick_inference import quick_inference
from packager.optimize.ranges import beyond_fp16
from packager.optimize.recipes import TWIN
from packager.optimize.samples import Feed

DATA_FILE = "model.onnx.data"
"""Where a candidate keeps its weights when they stand beside the graph."""


@dataclass(frozen=True, slots=True)
class Step:
    """One pass: what to read, where to write, with what. `external`: weights beside the graph."""

    source: Path
    target: Path
    parameters: Mapping[str, Any]
    feeds: Callable[[], Iterator[Feed]]
    external: bool


Notes = list[str]


def graph_optimization(step: Step) -> Notes:
    """ONNX Runtime's own optimizer, saved to a file."""
    beside = f"optimized-{DATA_FILE}" if step.external else ""
    level = step.parameters["level"]
    open_session(step.source, 1, save_optimized=step.target, beside=beside, level=level)
    tidy(step)
    return []


def transformer_fusions(step: Step) -> Notes:
    """ONNX Runtime's optimizer for transformers; heads and widths are found in the graph.

    Without its symbolic shape inference, which needs a package of eighty megabytes, and without the
    fusion of embeddings, which needs that.
    """
    tools, model_type = transformer_optimizer(), step.parameters["model_type"]
    options = tools.FusionOptions(model_type)
    options.enable_shape_inference = False
    options.enable_embed_layer_norm = False
    made = tools.optimize_model(
        str(step.source),
        model_type=model_type,
        num_heads=0,
        hidden_size=0,
        optimization_options=options,
        opt_level=0,
    )
    counts = made.get_fused_operator_statistics()
    contributed = {node.domain for node in made.model.graph.node} - {"", "ai.onnx"}
    known = {entry.domain for entry in made.model.opset_import}
    made.model.opset_import.extend(
        onnx.helper.make_opsetid(domain, 1) for domain in sorted(contributed - known)
    )
    save(made.model, step.target, step.external)
    told = ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
    return [f"fused: {told or 'nothing'}"]


def convert_opset(step: Step) -> Notes:
    """The same model in a newer opset, operators converted."""
    proto = onnx.load(step.source)
    save(
        onnx.version_converter.convert_version(proto, step.parameters["to"]),
        step.target,
        step.external,
    )
    return []


def fix_shapes(step: Step) -> Notes:
    """Free dimensions become those of the first sample. Raises ValueError where samples differ."""
    proto = onnx.load(step.source)
    feeds = list(step.feeds())
    if not feeds:
        raise ValueError("fixed shapes are those of the samples, and there are none")
    told = []
    for value in proto.graph.input:
        shapes = {feed[value.name].shape for feed in feeds if value.name in feed}
        if len(shapes) > 1:
            raise ValueError(f"the samples of {value.name!r} have several shapes: {sorted(shapes)}")
        for shape in shapes:
            for dimension, size in zip(value.type.tensor_type.shape.dim, shape, strict=True):
                dimension.dim_value = size
            told.append(f"{value.name} {'×'.join(map(str, shape))}")
    del proto.graph.value_info[:]
    save(onnx.shape_inference.infer_shapes(proto), step.target, step.external)
    return [f"fixed shapes: {', '.join(told)}"]


def half_precision(step: Step) -> Notes:
    """FP16 or BF16, and beside it the twin on which quality is judged."""
    proto, name = onnx.load(step.source), step.parameters["format"]
    blocked: set[str] = set()
    if name == "fp16":
        bare = onnx.load(step.source, load_external_data=False)
        blocked = beyond_fp16(step.source, bare, step.feeds(), step.source.parent)
    save(convert(proto, name, blocked), step.target, step.external)
    save(emulate(proto, name, blocked), step.target.with_name(TWIN), step.external)
    told = ", ".join(sorted(blocked)[:5]) + (" …" if len(blocked) > 5 else "")
    return [f"{len(blocked)} of {len(proto.graph.node)} nodes stay FP32: {told}"] if blocked else []


def store_half(step: Step) -> Notes:
    """Weights in FP16 in the file, FP32 in the session."""
    save(store(onnx.load(step.source)), step.target, step.external)
    return []


def quantize_dynamic(step: Step) -> Notes:
    """8-bit weights now, 8-bit activations at run time."""
    tools = quantization()
    with quick_inference():
        tools.quantize_dynamic(
            step.source,
            step.target,
            op_types_to_quantize=list(step.parameters["operators"]),
            per_channel=step.parameters["per_channel"],
            reduce_range=step.parameters["reduce_range"],
            weight_type=tools.QuantType.QInt8,
            use_external_data_format=step.external,
        )
    tidy(step)
    return []


def quantize_static(step: Step) -> Notes:
    """8-bit weights and activations, ranges from the calibration samples."""
    tools = quantization()
    feeds = step.feeds()

    class Reader(tools.CalibrationDataReader):  # type: ignore[misc, name-defined]
        def get_next(self) -> Feed | None:
            return next(feeds, None)

    symmetric = step.parameters["activations"] == "S8"
    with quick_inference(), tempfile.TemporaryDirectory(dir=step.target.parent) as scratch:
        tools.quantize_static(
            step.source,
            Path(scratch) / step.target.name,
            Reader(),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=list(step.parameters["operators"]),
            activation_type=tools.QuantType.QInt8 if symmetric else tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            per_channel=step.parameters["per_channel"],
            reduce_range=step.parameters["reduce_range"],
            calibrate_method=tools.CalibrationMethod.MinMax,
            use_external_data_format=step.external,
            extra_options={"ActivationSymmetric": symmetric, "WeightSymmetric": True},
        )
        save(onnx.load(Path(scratch) / step.target.name), step.target, step.external)
    return []


def quantize_blocks(step: Step) -> Notes:
    """Weights of matrix products in blocks of 4 or 8 bits."""
    proto = onnx.load(step.source)
    parameters = step.parameters
    count = block_weights(
        proto, parameters["bits"], parameters["block"], parameters["accuracy_level"]
    )
    if not count:
        raise ValueError("no matrix product has constant weights of two dimensions")
    save(proto, step.target, step.external)
    return [f"{count} matrix products in {parameters['bits']} bits"]


PASSES: dict[str, Callable[[Step], Notes]] = {
    "graph_optimization": graph_optimization,
    "transformer_fusions": transformer_fusions,
    "convert_opset": convert_opset,
    "fix_shapes": fix_shapes,
    "half_precision": half_precision,
    "store_half": store_half,
    "quantize_dynamic": quantize_dynamic,
    "quantize_static": quantize_static,
    "block_weights": quantize_blocks,
}


def tidy(step: Step) -> None:
    """Write a pass's result again in our own form, without leftovers of the tool that made it."""
    proto = onnx.load(step.target)
    for leftover in step.target.parent.glob("*.data"):
        leftover.unlink()
    save(proto, step.target, step.external)


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Bring the nodes into an order in which each comes after what it reads, where they are not:
    some tools append what they add. The order of those that may stay is kept."""
    made_by = {name: index for index, one in enumerate(graph.node) for name in one.output if name}
    waits_for = [
        {made_by[name] for name in names_read(one) if name in made_by} - {index}
        for index, one in enumerate(graph.node)
    ]
    if all(max(others, default=-1) < index for index, others in enumerate(waits_for)):
        return
    order: list[int] = []
    placed: set[int] = set()
    waiting = list(range(len(waits_for)))
    while waiting:
        ready = [index for index in waiting if waits_for[index] <= placed]
        if not ready:
            return  # a cycle: the checker says so
        order += ready
        placed |= set(ready)
        waiting = [index for index in waiting if index not in placed]
    nodes = [graph.node[index] for index in order]
    copies = [onnx.NodeProto.FromString(one.SerializeToString()) for one in nodes]
    del graph.node[:]
    graph.node.extend(copies)


def save(proto: onnx.ModelProto, target: Path, external: bool) -> None:
    """Serialize with map entries in order; drop texts in which tools leave paths and dates."""
    if proto.ir_version < 4:
        drop_listed_inputs(proto)
    sort_nodes(proto.graph)
    proto.doc_string = ""
    proto.graph.doc_string = ""
    for node in proto.graph.node:
        node.doc_string = ""
    if external:
        location = DATA_FILE if target.name != TWIN else f"{TWIN}.data"
        onnx.save_model(
            proto, target, save_as_external_data=True, location=location, size_threshold=1024
        )
    else:
        target.write_bytes(proto.SerializeToString(deterministic=True))
