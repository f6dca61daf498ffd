"""The models of the proof: an encoder of BERT-base's shape and a network of ResNet-50's.

Their weights are external data that the machine with the GPU makes itself (`on_device.weights`), so
that only the graphs travel. Weights are uniform with the usual variance, hence activations stay of
order one and a comparison with the CPU means something.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from benchmarks.assemble.gpu_proof.on_device.weights import ALIGNMENT

DATA = "weights.bin"
_ELEMENT = {"float16": TensorProto.FLOAT16, "float32": TensorProto.FLOAT}


@dataclass
class Builder:
    """Collects nodes and the tensors of the external data."""

    dtype: str
    nodes: list[Any] = field(default_factory=list)
    initializers: list[Any] = field(default_factory=list)
    tensors: list[dict[str, Any]] = field(default_factory=list)
    offset: int = 0

    def node(self, operator: str, *inputs: str, **attributes: Any) -> str:
        output = f"{operator.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output], **attributes))
        return output

    def constant(self, value: np.ndarray) -> str:
        name = f"constant{len(self.initializers)}"
        self.initializers.append(numpy_helper.from_array(value, name))
        return name

    def weight(self, name: str, *shape: int, scale: float, add: float = 0.0) -> str:
        size = math.prod(shape) * np.dtype(self.dtype).itemsize
        proto = TensorProto(name=name, data_type=_ELEMENT[self.dtype], dims=shape, data_location=1)
        place = {"location": DATA, "offset": self.offset, "length": size}
        for key, value in place.items():
            proto.external_data.add(key=key, value=str(value))
        self.initializers.append(proto)
        self.tensors.append(
            {"name": name, "shape": shape, "scale": scale, "add": add, "dtype": self.dtype,
             "offset": self.offset}
        )  # fmt: skip
        self.offset += -(-size // ALIGNMENT) * ALIGNMENT
        return name

    def linear(self, x: str, name: str, columns: int, rows: int) -> str:
        weight = self.weight(f"{name}.w", rows, columns, scale=math.sqrt(3 / rows))
        return self.node(
            "Add", self.node("MatMul", x, weight), self.weight(f"{name}.b", columns, scale=0.1)
        )

    def norm(self, x: str, name: str, size: int) -> str:
        gain = self.weight(f"{name}.g", size, scale=0.1, add=1.0)
        return self.node(
            "LayerNormalization", x, gain, self.weight(f"{name}.c", size, scale=0.1), axis=-1
        )

    def model(self, inputs: list[Any], outputs: list[Any]) -> bytes:
        graph = helper.make_graph(self.nodes, "proof", inputs, outputs, self.initializers)
        opsets = [helper.make_opsetid("", 20)]
        made = helper.make_model(graph, opset_imports=opsets, ir_version=10)
        return bytes(made.SerializeToString())


def transformer(layers: int = 12, hidden: int = 768, heads: int = 12) -> tuple[bytes, list[Any]]:
    """`ids` INT64[N, 128] → `scores` FP32[N, 16], in half precision; needs no cuDNN."""
    made = Builder("float16")
    table = made.weight("tokens", 8192, hidden, scale=1.0)
    places = made.weight("places", 128, hidden, scale=0.5)
    x = made.norm(made.node("Add", made.node("Gather", table, "ids"), places), "first", hidden)
    split = made.constant(np.array([0, 0, heads, hidden // heads], np.int64))
    joined = made.constant(np.array([0, 0, hidden], np.int64))
    scale = made.constant(np.array(1 / math.sqrt(hidden / heads), np.float16))
    for layer in range(layers):
        query, key, value = (
            made.node("Reshape", made.linear(x, f"{layer}.{part}", hidden, hidden), split)
            for part in "qkv"
        )
        scores = made.node(
            "MatMul",
            made.node("Transpose", query, perm=[0, 2, 1, 3]),
            made.node("Transpose", key, perm=[0, 2, 3, 1]),
        )
        weights = made.node("Softmax", made.node("Mul", scores, scale), axis=-1)
        mixed = made.node("MatMul", weights, made.node("Transpose", value, perm=[0, 2, 1, 3]))
        mixed = made.node("Reshape", made.node("Transpose", mixed, perm=[0, 2, 1, 3]), joined)
        x = made.node("Add", x, made.linear(mixed, f"{layer}.o", hidden, hidden))
        x = made.norm(x, f"{layer}.n1", hidden)
        wide = made.node("Gelu", made.linear(x, f"{layer}.f1", 4 * hidden, hidden))
        x = made.node("Add", x, made.linear(wide, f"{layer}.f2", hidden, 4 * hidden))
        x = made.norm(x, f"{layer}.n2", hidden)
    first = made.node("Gather", x, made.constant(np.array(0, np.int64)), axis=1)
    scores = made.linear(first, "head", 16, hidden)
    made.nodes.append(helper.make_node("Cast", [scores], ["scores"], to=TensorProto.FLOAT))
    ids = helper.make_tensor_value_info("ids", TensorProto.INT64, ["N", 128])
    answer = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 16])
    return made.model([ids], [answer]), made.tensors


def convolution() -> tuple[bytes, list[Any]]:
    """`image` FP32[N, 3, 224, 224] → `scores` FP32[N, 1000]; needs cuDNN."""
    made = Builder("float32")

    def conv(x: str, name: str, out: int, into: int, size: int, stride: int, gain: float) -> str:
        weight = made.weight(
            f"{name}.w", out, into, size, size, scale=gain * math.sqrt(6 / (into * size * size))
        )
        return made.node(
            "Conv", x, weight, made.weight(f"{name}.b", out, scale=0.05),
            strides=[stride, stride], pads=[size // 2] * 4, kernel_shape=[size, size],
        )  # fmt: skip

    x = made.node("Relu", conv("image", "stem", 64, 3, 7, 2, 1.0))
    x = made.node("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    channels = 64
    for stage, blocks in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for block in range(blocks):
            name, stride = f"{stage}.{block}", 2 if stage and not block else 1
            y = made.node("Relu", conv(x, f"{name}.1", width, channels, 1, 1, 1.0))
            y = made.node("Relu", conv(y, f"{name}.2", width, width, 3, stride, 1.0))
            y = conv(y, f"{name}.3", 4 * width, width, 1, 1, 0.35)
            if not block:
                x = conv(x, f"{name}.0", 4 * width, channels, 1, stride, 0.7)
            x = made.node("Relu", made.node("Add", x, y))
            channels = 4 * width
    x = made.node("Flatten", made.node("GlobalAveragePool", x))
    weight = made.weight("head.w", channels, 1000, scale=math.sqrt(3 / channels))
    bias = made.weight("head.b", 1000, scale=0.1)
    made.nodes.append(helper.make_node("Gemm", [x, weight, bias], ["scores"]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 224, 224])
    answer = helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 1000])
    return made.model([image], [answer]), made.tensors
