"""A model's signature in the words of the Open Inference Protocol.

Inputs and outputs become `TensorSpec`s with the protocol's datatypes (Open Inference Protocol v2,
"Tensor Data Types"). What the protocol cannot carry (sequences, maps, optional values, number
formats that it has no word for) is found here, before any work is done.
"""

from __future__ import annotations

from collections.abc import Iterable

import onnx

from packager.domain.model import TensorSpec
from packager.errors import Finding

DATATYPES: dict[int, str] = {
    onnx.TensorProto.BOOL: "BOOL",
    onnx.TensorProto.UINT8: "UINT8",
    onnx.TensorProto.UINT16: "UINT16",
    onnx.TensorProto.UINT32: "UINT32",
    onnx.TensorProto.UINT64: "UINT64",
    onnx.TensorProto.INT8: "INT8",
    onnx.TensorProto.INT16: "INT16",
    onnx.TensorProto.INT32: "INT32",
    onnx.TensorProto.INT64: "INT64",
    onnx.TensorProto.FLOAT16: "FP16",
    onnx.TensorProto.FLOAT: "FP32",
    onnx.TensorProto.DOUBLE: "FP64",
    onnx.TensorProto.BFLOAT16: "BF16",
    onnx.TensorProto.STRING: "BYTES",
}

# numpy's names for what a sample of that datatype looks like; BF16 has none in numpy itself
NUMPY_NAMES = {
    "BOOL": "bool",
    "FP16": "float16",
    "FP32": "float32",
    "FP64": "float64",
    "BYTES": "str",
    **{name: name.lower() for name in ("UINT8", "UINT16", "UINT32", "UINT64")},
    **{name: name.lower() for name in ("INT8", "INT16", "INT32", "INT64")},
}


def signature(
    proto: onnx.ModelProto, where: str
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...], tuple[Finding, ...]]:
    """Inputs, outputs and everything that the protocol cannot carry.

    Initializers that are also listed as inputs (IR version 3 demanded it) are no inputs.
    """
    graph = proto.graph
    weights = {tensor.name for tensor in graph.initializer}
    findings: list[Finding] = []
    inputs = _specs((i for i in graph.input if i.name not in weights), "input", where, findings)
    outputs = _specs(inferred_outputs(proto), "output", where, findings)
    if not graph.output:
        findings.append(Finding("the model has no output", where, "at least one output"))
    return inputs, outputs, tuple(findings)


def _specs(
    values: Iterable[onnx.ValueInfoProto], role: str, where: str, findings: list[Finding]
) -> tuple[TensorSpec, ...]:
    specs = []
    for value in values:
        kind = value.type.WhichOneof("value")
        tensor = value.type.tensor_type
        datatype = DATATYPES.get(tensor.elem_type)
        if kind != "tensor_type":
            got = (kind or "no type at all").replace("_type", "").replace("_", " ")
            findings.append(_untyped(role, value.name, where, got))
        elif datatype is None:
            findings.append(_untyped(role, value.name, where, _element_name(tensor.elem_type)))
        elif not tensor.HasField("shape"):
            findings.append(
                Finding(
                    f"the {role} {value.name!r} does not say how many dimensions it has",
                    where,
                    "a shape, free dimensions included",
                    next_step="export the model with shapes, or run onnx.shape_inference over it",
                )
            )
        else:
            shape = tuple(
                dim.dim_value if dim.HasField("dim_value") and dim.dim_value >= 0 else -1
                for dim in tensor.shape.dim
            )
            specs.append(TensorSpec(value.name, datatype, shape))
    return tuple(specs)


def _untyped(role: str, name: str, where: str, got: str) -> Finding:
    return Finding(
        f"the {role} {name!r} cannot be sent over the Open Inference Protocol",
        where,
        f"a tensor of one of {', '.join(DATATYPES.values())}",
        got,
        "export the model with plain tensors as inputs and outputs (scikit-learn: zipmap=False)",
    )


def _element_name(element: int) -> str:
    try:
        return f"a tensor of {onnx.TensorProto.DataType.Name(element)}"
    except ValueError:
        return f"a tensor of unknown element type {element}"


def inferred_outputs(proto: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    """The outputs, with shapes inferred where the model does not declare them."""
    declared = list(proto.graph.output)
    if all(output.type.tensor_type.HasField("shape") for output in declared):
        return declared
    try:
        return list(onnx.shape_inference.infer_shapes(proto).graph.output)
    except Exception:  # inference is an offer: what it cannot do is told by the caller
        return declared
