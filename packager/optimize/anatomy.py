"""What a graph is made of, as far as the rule table for candidates asks.

Operators by count (subgraphs included), and bytes of weights by number format. Values only: the
rules in `candidates` are decided from this without opening a file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod

import onnx

from packager.domain.hardware import Precision
from packager.optimize.external_data import model_tensors

# Bits of one element and the number format that it counts for. Integers of 16 bits and more are
# indices and shapes, never weights.
_WEIGHTS: dict[int, tuple[int, Precision]] = {
    onnx.TensorProto.FLOAT: (32, Precision.FP32),
    onnx.TensorProto.DOUBLE: (64, Precision.FP32),
    onnx.TensorProto.FLOAT16: (16, Precision.FP16),
    onnx.TensorProto.BFLOAT16: (16, Precision.BF16),
    onnx.TensorProto.INT8: (8, Precision.INT8),
    onnx.TensorProto.UINT8: (8, Precision.INT8),
    onnx.TensorProto.INT4: (4, Precision.INT4),
    onnx.TensorProto.UINT4: (4, Precision.INT4),
}
_QUANTIZED_OPERATORS = frozenset(
    (
        "QuantizeLinear",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "QLinearConv",
        "QLinearMatMul",
        "ConvInteger",
        "MatMulInteger",
        "MatMulNBits",
    )
)


@dataclass(frozen=True, slots=True)
class Anatomy:
    """Operator type → how often; `external` says that weights stand beside the graph."""

    operators: Mapping[str, int]
    precision: Precision
    external: bool
    custom_domains: tuple[str, ...]

    @property
    def quantized(self) -> bool:
        """Whether somebody quantized the model already."""
        return any(name in self.operators for name in _QUANTIZED_OPERATORS)


def anatomy_of(proto: onnx.ModelProto) -> Anatomy:
    """Count what the model consists of."""
    nodes = list(_nodes(proto.graph.node))
    for function in proto.functions:
        nodes.extend(_nodes(function.node))
    known = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
    return Anatomy(
        operators=dict(sorted(Counter(node.op_type for node in nodes).items())),
        precision=precision_of(proto),
        external=any(t.data_location == onnx.TensorProto.EXTERNAL for t in model_tensors(proto)),
        custom_domains=tuple(sorted({node.domain for node in nodes} - known)),
    )


def precision_of(proto: onnx.ModelProto) -> Precision:
    """The number format that most bytes of weights are in; FP32 for a model without weights."""
    sizes: Counter[Precision] = Counter()
    for tensor in model_tensors(proto):
        if known := _WEIGHTS.get(tensor.data_type):
            bits, precision = known
            sizes[precision] += prod(tensor.dims) * bits
    if not sizes:
        return Precision.FP32
    largest = max(sizes.values())
    return next(precision for precision in Precision if sizes[precision] == largest)


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            graphs = (
                [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
            )
            for graph in graphs:
                yield from _nodes(graph.node)
