"""Models of real shapes with made-up weights: a text encoder and a convolutional classifier.

Their answers have margins as trained models have: the last layer reads out a mean over the sequence
or the image, so that a small error does not turn the largest class. Same arguments, same bytes.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


class Graph:
    """Collects nodes and weights; names are numbered."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.RandomState(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, *shape: int, scale: float | None = None) -> str:
        size = np.sqrt(1 / shape[0]) if scale is None else scale
        values = self.random.standard_normal(shape).astype(np.float32) * np.float32(size)
        return self.constant(values)

    def constant(self, values: object, dtype: type = np.float32) -> str:
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(np.asarray(values, dtype), name))
        return name

    def add(self, operator: str, *inputs: str, **attributes: object) -> str:
        name = f"n{len(self.nodes)}"
        node = helper.make_node(
            operator, list(inputs), [name], name=f"{operator}_{name}", **attributes
        )
        self.nodes.append(node)
        return name

    def model(self, inputs: list, output: str, shape: list, opset: int = 17) -> onnx.ModelProto:
        self.nodes[-1].output[0] = "logits" if self.nodes[-1].output[0] == output else output
        outputs = [helper.make_tensor_value_info("logits", FLOAT, shape)]
        graph = helper.make_graph(self.nodes, "graph", inputs, outputs, self.weights)
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests")


def encoder(
    layers: int = 2,
    hidden: int = 64,
    heads: int = 4,
    vocabulary: int = 500,
    classes: int = 4,
    seed: int = 3,
) -> onnx.ModelProto:
    """ids[N,S], mask[N,S] → logits[N,classes]: BERT's layers, as exporters write them."""
    g = Graph(seed)
    depth = hidden // heads
    x = g.add("Gather", g.weight(vocabulary, hidden, scale=1.0), "ids")
    mask = g.add("Unsqueeze", g.add("Cast", "mask", to=FLOAT), g.constant([1, 2], np.int64))
    bias = g.add("Mul", g.add("Sub", g.constant(1.0), mask), g.constant(-10000.0))

    def dense(value: str, width: int, into: int) -> str:
        return g.add(
            "Add", g.add("MatMul", value, g.weight(width, into)), g.weight(into, scale=0.02)
        )

    def split(value: str, order: list[int]) -> str:
        shape = g.constant([0, 0, heads, depth], np.int64)
        return g.add("Transpose", g.add("Reshape", value, shape), perm=order)

    def norm(value: str) -> str:
        ones, zeros = g.constant(np.ones(hidden)), g.constant(np.zeros(hidden))
        return g.add("LayerNormalization", value, ones, zeros, axis=-1, epsilon=1e-12)

    for _ in range(layers):
        q = split(dense(x, hidden, hidden), [0, 2, 1, 3])
        k = split(dense(x, hidden, hidden), [0, 2, 3, 1])
        v = split(dense(x, hidden, hidden), [0, 2, 1, 3])
        scores = g.add("Div", g.add("MatMul", q, k), g.constant(float(np.sqrt(depth))))
        weights = g.add("Softmax", g.add("Add", scores, bias), axis=-1)
        mixed = g.add("Transpose", g.add("MatMul", weights, v), perm=[0, 2, 1, 3])
        joined = g.add("Reshape", mixed, g.constant([0, 0, hidden], np.int64))
        x = norm(g.add("Add", dense(joined, hidden, hidden), x))
        inner = dense(x, hidden, 4 * hidden)
        half = g.add("Mul", inner, g.constant(0.5))
        erf = g.add("Erf", g.add("Div", inner, g.constant(float(np.sqrt(2)))))
        inner = g.add("Mul", half, g.add("Add", erf, g.constant(1.0)))
        x = norm(g.add("Add", dense(inner, 4 * hidden, hidden), x))
    pooled = g.add("ReduceMean", x, axes=[1], keepdims=0)
    logits = g.add("MatMul", pooled, g.weight(hidden, classes, scale=4.0))
    inputs = [
        helper.make_tensor_value_info("ids", INT64, ["batch", "sequence"]),
        helper.make_tensor_value_info("mask", INT64, ["batch", "sequence"]),
    ]
    return g.model(inputs, logits, ["batch", classes])


def encoder_samples(count: int, sequence: int = 32, vocabulary: int = 500) -> dict[str, np.ndarray]:
    """Texts about one thing each: most words come from a few neighbours of a topic."""
    random = np.random.RandomState(11)
    topics = random.randint(0, vocabulary, (count, 1))
    ids = (topics + random.randint(0, 4, (count, sequence))) % vocabulary
    mask = np.ones((count, sequence), np.int64)
    mask[:, sequence // 2 :] = random.randint(0, 2, (count, 1))
    return {"ids": ids.astype(np.int64), "mask": mask}


def convnet(
    widths: tuple[int, ...] = (16, 32), size: int = 16, classes: int = 6, seed: int = 5
) -> onnx.ModelProto:
    """image[N,3,size,size] → logits[N,classes]: residual blocks, pooling, a linear read-out."""
    g = Graph(seed)
    x, before = "image", 3
    for width in widths:
        x = g.add(
            "Relu",
            g.add(
                "Conv",
                x,
                g.weight(width, before, 3, 3, scale=0.6 / np.sqrt(before)),
                g.weight(width, scale=0.01),
                pads=[1, 1, 1, 1],
            ),
        )
        inner = g.add(
            "Relu",
            g.add(
                "Conv",
                x,
                g.weight(width, width, 3, 3, scale=0.3 / np.sqrt(width)),
                g.weight(width, scale=0.01),
                pads=[1, 1, 1, 1],
            ),
        )
        x = g.add("MaxPool", g.add("Add", x, inner), kernel_shape=[2, 2], strides=[2, 2])
        before = width
    pooled = g.add("Flatten", g.add("GlobalAveragePool", x))
    logits = g.add(
        "Gemm", pooled, g.weight(before, classes, scale=1.0), g.constant(np.zeros(classes))
    )
    inputs = [helper.make_tensor_value_info("image", FLOAT, ["batch", 3, size, size])]
    return g.model(inputs, logits, ["batch", classes])


def convnet_samples(count: int, size: int = 16) -> dict[str, np.ndarray]:
    """Images of one colour each with noise, so that classes lie apart."""
    random = np.random.RandomState(12)
    colours = random.standard_normal((count, 3, 1, 1)) * 2
    noise = random.standard_normal((count, 3, size, size)) * 0.3
    return {"image": (colours + noise).astype(np.float32)}
