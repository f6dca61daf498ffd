"""How much work one inference is: multiplications and additions, and bytes that must be moved.

Counted from shapes, for matrix products and convolutions, which are nearly all of it. What depends
on shapes that inference cannot find is left out, and `whole` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

import onnx

from packager.optimize.shapes import without_weights

Shape = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Work:
    """Operations of one inference (a multiplication and an addition are two)."""

    operations: int
    whole: bool


def work_of(proto: onnx.ModelProto, inputs: Mapping[str, Shape]) -> Work:
    """The work for inputs of the given shapes; the outer graph only."""
    shapes = _shapes(proto, inputs)
    total, whole = 0, True
    for node in proto.graph.node:
        if node.op_type not in _COUNTED:
            continue
        counted = _COUNTED[node.op_type](node, shapes)
        if counted is None:
            whole = False
        else:
            total += counted
    return Work(total, whole)


def _matrix_product(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
    if not left or output is None:
        return None
    return 2 * prod(output) * left[-1]


def _gemm(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    left, output = shapes.get(node.input[0]), shapes.get(node.output[0])
    if not left or output is None:
        return None
    transposed = any(one.name == "transA" and one.i for one in node.attribute)
    return 2 * prod(output) * left[0 if transposed else -1]


def _convolution(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    kernel, output = shapes.get(node.input[1]), shapes.get(node.output[0])
    if not kernel or output is None:
        return None
    return 2 * prod(output) * prod(kernel[1:])


_COUNTED = {"MatMul": _matrix_product, "Gemm": _gemm, "Conv": _convolution}


def _shapes(proto: onnx.ModelProto, inputs: Mapping[str, Shape]) -> dict[str, Shape]:
    made = without_weights(proto)
    for value in made.graph.input:
        for dimension, size in zip(
            value.type.tensor_type.shape.dim, inputs.get(value.name, ()), strict=False
        ):
            dimension.dim_value = size
    del made.graph.value_info[:]
    for value in made.graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        graph = onnx.shape_inference.infer_shapes(made, data_prop=True).graph
    except Exception:  # inference is an offer; what it cannot do is counted as unknown
        graph = made.graph
    found = {
        one.name: shape
        for one in (*graph.input, *graph.value_info, *graph.output)
        if (shape := _known(one)) is not None
    }
    return found | {tensor.name: tuple(tensor.dims) for tensor in proto.graph.initializer}


def _known(value: onnx.ValueInfoProto) -> Shape | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    sizes = [dimension.dim_value for dimension in tensor.shape.dim]
    return tuple(sizes) if all(size > 0 for size in sizes) else None
