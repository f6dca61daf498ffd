"""A decoder of the Llama kind as an ONNX graph, in the form that GenAI's builder gives.

Inputs `input_ids` [batch, sequence], `attention_mask` [batch, total], and for each layer
`past_key_values.N.key|value` [batch, kv_heads, past, head_size]; outputs `logits`
[batch, sequence, vocabulary] and `present.N.key|value`. Attention is GroupQueryAttention with
rotary positions, which takes the length of each row from the mask.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Weights = dict[str, np.ndarray]
MIXING = 0.5  # how much of the context a random layer lets through
FLOAT, INT64, INT32 = TensorProto.FLOAT, TensorProto.INT64, TensorProto.INT32


@dataclass(frozen=True)
class Shape:
    """Sizes of a decoder. `padding` layers cost time and add nothing: their outputs are zero."""

    vocabulary: int
    hidden: int = 512
    layers: int = 2
    heads: int = 4
    kv_heads: int = 2
    head_size: int = 48
    inner: int = 512
    context: int = 2048
    padding: int = 0


def random_weights(shape: Shape, seed: int) -> Weights:
    """Weights that mix what was read lately; only the head is trained (`training.py`)."""
    chance = np.random.default_rng(seed)

    def normal(*size: int, scale: float) -> np.ndarray:
        return (chance.standard_normal(size) * scale).astype(np.float32)

    wide = shape.hidden**-0.5
    weights = {
        "embed": normal(shape.vocabulary, shape.hidden, scale=1.0),
        "head": np.zeros((shape.hidden, shape.vocabulary), np.float32),
    }
    for layer in range(shape.layers + shape.padding):
        silent = 0.0 if layer >= shape.layers else MIXING
        for name, columns in (
            ("q", shape.heads * shape.head_size),
            ("k", shape.kv_heads * shape.head_size),
            ("v", shape.kv_heads * shape.head_size),
        ):
            weights[f"{layer}.{name}"] = normal(shape.hidden, columns, scale=wide)
        rows = shape.heads * shape.head_size
        weights[f"{layer}.o"] = normal(rows, shape.hidden, scale=silent * rows**-0.5)
        weights[f"{layer}.up"] = normal(shape.hidden, shape.inner, scale=wide)
        weights[f"{layer}.gate"] = normal(shape.hidden, shape.inner, scale=wide)
        down = silent * shape.inner**-0.5
        weights[f"{layer}.down"] = normal(shape.inner, shape.hidden, scale=down)
    return weights


def make(shape: Shape, weights: Weights) -> onnx.ModelProto:
    """The model. Its second output, `hidden`, is what the head is trained on."""
    builder = _Builder(weights)
    builder.constant("one", np.array([1], np.int64))
    builder.constant("axis", np.array([1], np.int64))
    builder.constant("scalar", np.array([], np.int64))
    builder.node("ReduceSum", ["attention_mask", "axis"], "lengths", keepdims=0)
    builder.node("Sub", ["lengths", "one"], "lasts")
    builder.node("Cast", ["lasts"], "seqlens_k", to=INT32)
    builder.node("Shape", ["attention_mask"], "mask_shape")
    builder.node("Gather", ["mask_shape", "axis"], "total_vector", axis=0)
    builder.node("Reshape", ["total_vector", "scalar"], "total_long")
    builder.node("Cast", ["total_long"], "total", to=INT32)
    angles = np.outer(
        np.arange(shape.context),
        10_000.0 ** (-np.arange(0, shape.head_size, 2) / shape.head_size),
    )
    builder.constant("cos", np.cos(angles).astype(np.float32))
    builder.constant("sin", np.sin(angles).astype(np.float32))
    builder.constant("unit", np.ones(shape.hidden, np.float32))
    builder.node("Gather", [builder.weight("embed"), "input_ids"], "x.0", axis=0)
    state = "x.0"
    for layer in range(shape.layers + shape.padding):
        state = _layer(builder, shape, layer, state)
    builder.node("SimplifiedLayerNormalization", [state, "unit"], "hidden", axis=-1, epsilon=1e-5)
    builder.node("MatMul", ["hidden", builder.weight("head")], "logits")
    return _model(builder, shape)


def _layer(builder: _Builder, shape: Shape, layer: int, state: str) -> str:
    def name(part: str) -> str:
        return f"{layer}.{part}"

    builder.node("SimplifiedLayerNormalization", [state, "unit"], name("n1"), axis=-1, epsilon=1e-5)
    for part in ("q", "k", "v"):
        builder.node("MatMul", [name("n1"), builder.weight(name(part))], name(f"{part}.out"))
    builder.node(
        "GroupQueryAttention",
        [
            *(name("q.out"), name("k.out"), name("v.out")),
            *(f"past_key_values.{layer}.key", f"past_key_values.{layer}.value"),
            *("seqlens_k", "total", "cos", "sin"),
        ],
        name("attention"),
        more=[f"present.{layer}.key", f"present.{layer}.value"],
        domain="com.microsoft",
        num_heads=shape.heads,
        kv_num_heads=shape.kv_heads,
        do_rotary=1,
    )
    builder.node("MatMul", [name("attention"), builder.weight(name("o"))], name("o.out"))
    builder.node("Add", [state, name("o.out")], name("mid"))
    builder.node(
        "SimplifiedLayerNormalization", [name("mid"), "unit"], name("n2"), axis=-1, epsilon=1e-5
    )
    builder.node("MatMul", [name("n2"), builder.weight(name("gate"))], name("gate.out"))
    builder.node("Sigmoid", [name("gate.out")], name("sigmoid"))
    builder.node("Mul", [name("gate.out"), name("sigmoid")], name("silu"))
    builder.node("MatMul", [name("n2"), builder.weight(name("up"))], name("up.out"))
    builder.node("Mul", [name("silu"), name("up.out")], name("inner"))
    builder.node("MatMul", [name("inner"), builder.weight(name("down"))], name("down.out"))
    builder.node("Add", [name("mid"), name("down.out")], name("end"))
    return name("end")


class _Builder:
    def __init__(self, weights: Weights) -> None:
        self._weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []

    def constant(self, name: str, value: np.ndarray) -> None:
        self.initializers.append(numpy_helper.from_array(value, name))

    def weight(self, name: str) -> str:
        self.constant(f"w.{name}", self._weights[name])
        return f"w.{name}"

    def node(
        self,
        kind: str,
        inputs: list[str],
        output: str,
        *,
        more: list[str] | None = None,
        domain: str = "",
        **attributes: object,
    ) -> None:
        self.nodes.append(
            helper.make_node(
                kind, inputs, [output, *(more or [])], f"/{output}", domain=domain, **attributes
            )
        )


def _model(builder: _Builder, shape: Shape) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info("input_ids", INT64, ["batch", "sequence"]),
        helper.make_tensor_value_info("attention_mask", INT64, ["batch", "total"]),
    ]
    outputs = [
        helper.make_tensor_value_info("logits", FLOAT, ["batch", "sequence", shape.vocabulary])
    ]
    for layer in range(shape.layers + shape.padding):
        for part in ("key", "value"):
            past = ["batch", shape.kv_heads, "past", shape.head_size]
            inputs.append(
                helper.make_tensor_value_info(f"past_key_values.{layer}.{part}", FLOAT, past)
            )
            present = ["batch", shape.kv_heads, "total", shape.head_size]
            outputs.append(helper.make_tensor_value_info(f"present.{layer}.{part}", FLOAT, present))
    graph = helper.make_graph(builder.nodes, "decoder", inputs, outputs, builder.initializers)
    return helper.make_model(
        graph,
        producer_name="packager examples",
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)],
    )
