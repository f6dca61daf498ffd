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
# Operator → which of its inputs holds the weights.
_HOLDERS = {"MatMul": 1, "Gather": 0, "Conv": 1}
_WEIGHT_AT_LEAST = 64
"""Elements of a constant that counts as weights."""

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
    """Operator type → how often; `external` says that weights stand beside the graph.

    `weights` are bytes of float weights; the shares tell how much of them matrix products, tables
    of embeddings and convolutions hold. `free_dimensions`: some input has no fixed shape.
    `weights_in_nodes`: some stand in nodes of type Constant, as Paddle's exporter writes them.
    """

    operators: Mapping[str, int]
    precision: Precision
    external: bool
    custom_domains: tuple[str, ...]
    opset: int = 17
    weights: int = 1
    matrix_share: float = 0.0
    embedding_share: float = 0.0
    convolution_share: float = 0.0
    free_dimensions: bool = False
    weights_in_nodes: bool = False

    @property
    def quantized(self) -> bool:
        """Whether somebody quantized the model already."""
        return any(name in self.operators for name in _QUANTIZED_OPERATORS)

    @property
    def must_fold(self) -> bool:
        """Whether weights are not where passes look for them: in nodes, or scaled by a
        normalization of batches that belongs to the convolution before it."""
        return self.weights_in_nodes or "BatchNormalization" in self.operators

    @property
    def is_transformer(self) -> bool:
        """Whether attention may be in it: products of matrices around a softmax."""
        return all(self.operators.get(name, 0) >= 1 for name in ("MatMul", "Softmax"))


def anatomy_of(proto: onnx.ModelProto) -> Anatomy:
    """Count what the model consists of."""
    nodes = list(_nodes(proto.graph.node))
    for function in proto.functions:
        nodes.extend(_nodes(function.node))
    known = {"", "ai.onnx", "ai.onnx.ml", "com.microsoft"}
    in_nodes = _weights_in_nodes(proto)
    sizes = _float_weights(proto) | in_nodes
    total = sum(sizes.values())
    held = {name: _held(nodes, name, position, sizes) for name, position in _HOLDERS.items()}
    share = {name: round(size / total, 3) if total else 0.0 for name, size in held.items()}
    return Anatomy(
        operators=dict(sorted(Counter(node.op_type for node in nodes).items())),
        precision=precision_of(proto),
        external=any(t.data_location == onnx.TensorProto.EXTERNAL for t in model_tensors(proto)),
        custom_domains=tuple(sorted({node.domain for node in nodes} - known)),
        opset=max(
            (e.version for e in proto.opset_import if e.domain in ("", "ai.onnx")), default=1
        ),
        weights=total,
        matrix_share=share["MatMul"],
        embedding_share=share["Gather"],
        convolution_share=share["Conv"],
        free_dimensions=_has_free_dimensions(proto),
        weights_in_nodes=bool(in_nodes),
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


def _float_weights(proto: onnx.ModelProto) -> dict[str, int]:
    """Name of each initializer of FP32 → its bytes."""
    return {
        tensor.name: prod(tensor.dims) * 4
        for tensor in proto.graph.initializer
        if tensor.data_type == onnx.TensorProto.FLOAT
    }


def _weights_in_nodes(proto: onnx.ModelProto) -> dict[str, int]:
    """The same of nodes of type Constant; scalars and shapes are no weights."""
    return {
        node.output[0]: prod(attribute.t.dims) * 4
        for node in proto.graph.node
        if node.op_type == "Constant"
        for attribute in node.attribute
        if attribute.name == "value"
        and attribute.t.data_type == onnx.TensorProto.FLOAT
        and prod(attribute.t.dims) >= _WEIGHT_AT_LEAST
    }


def _held(
    nodes: Iterable[onnx.NodeProto], operator: str, position: int, sizes: Mapping[str, int]
) -> int:
    """Bytes of the weights that stand at `position` of the inputs of some `operator`."""
    names = {
        node.input[position]
        for node in nodes
        if node.op_type == operator and len(node.input) > position
    }
    return sum(sizes.get(name, 0) for name in names)


def _has_free_dimensions(proto: onnx.ModelProto) -> bool:
    weights = {tensor.name for tensor in proto.graph.initializer}
    return any(
        not dimension.HasField("dim_value") or dimension.dim_value < 0
        for value in proto.graph.input
        if value.name not in weights
        for dimension in value.type.tensor_type.shape.dim
    )


def _nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            graphs = (
                [attribute.g, *attribute.graphs] if attribute.HasField("g") else attribute.graphs
            )
            for graph in graphs:
                yield from _nodes(graph.node)
