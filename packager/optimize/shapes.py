"""Shape and type inference without the weights: of a large one ONNX needs the type and shape only,
and would copy its bytes several times."""

from __future__ import annotations

from math import prod

import onnx
from onnx import helper

SMALL = 1024
"""Elements up to which a constant may be a shape or an axis, whose values inference reads."""


def inferred(model: onnx.ModelProto, *, data_prop: bool = False) -> onnx.GraphProto:
    """The graph with every type and shape that ONNX can tell. Large weights come back as inputs.

    Raises what onnx.shape_inference raises.
    """
    return onnx.shape_inference.infer_shapes(without_weights(model), data_prop=data_prop).graph


def without_weights(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same model, large weights of the outer graph being inputs of their type and shape."""
    bare, graph = onnx.ModelProto(), onnx.GraphProto()
    for field, value in model.ListFields():
        if field.name != "graph":
            _set(bare, field.name, value)
    for field, value in model.graph.ListFields():
        if field.name != "initializer":
            _set(graph, field.name, value)
    listed = {one.name for one in graph.input}
    for tensor in model.graph.initializer:
        if prod(tensor.dims) <= SMALL and tensor.data_location != onnx.TensorProto.EXTERNAL:
            graph.initializer.append(tensor)
        elif tensor.name not in listed:
            graph.input.append(
                helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims)
            )
    bare.graph.CopyFrom(graph)
    return bare


def _set(message: object, name: str, value: object) -> None:
    """A field of a message, repeated or not."""
    if isinstance(value, int | float | str | bytes):
        setattr(message, name, value)
    elif hasattr(value, "extend"):
        getattr(message, name).extend(value)
    else:
        getattr(message, name).CopyFrom(value)
