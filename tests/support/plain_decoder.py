"""The tiny decoder again, with attention out of standard operators and a position of its own input.

The same weights say the same words as `tiny_decoder`, but there is no GroupQueryAttention in the
graph and it reads `position_ids`: what packager's own engine does not take.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper
from text_folder import configuration, write_configuration
from tiny_decoder import TEMPLATE, graph_module, save_tokenizer

INT64 = onnx.TensorProto.INT64
SMALL = {"hidden": 64, "heads": 4, "kv_heads": 2, "head_size": 16, "inner": 64, "context": 512}


def save_plain_folder(folder: Path, *, seed: int = 1, vocabulary: int = 300) -> Path:
    """Graph, tokenizer, chat template and genai_config.json in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    shape = save_plain_decoder(folder / "model.onnx", seed=seed, vocabulary=vocabulary)
    save_tokenizer(folder / "tokenizer.json", vocabulary)
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    write_configuration(folder, plain_configuration(shape))
    return folder


def plain_configuration(shape: Any) -> dict[str, Any]:
    """`genai_config.json` as the builder writes it for such a graph."""
    told = configuration(shape)
    told["model"]["decoder"] |= {
        "hidden_size": shape.hidden,
        "num_attention_heads": shape.heads,
        "inputs": {
            "input_ids": "input_ids",
            "attention_mask": "attention_mask",
            "position_ids": "position_ids",
            "past_key_names": "past_key_values.%d.key",
            "past_value_names": "past_key_values.%d.value",
        },
        "outputs": {
            "logits": "logits",
            "present_key_names": "present.%d.key",
            "present_value_names": "present.%d.value",
        },
    }
    told["search"] = {"max_length": shape.context, "past_present_share_buffer": False}
    return told


def save_plain_decoder(file: Path, *, seed: int = 1, vocabulary: int = 300) -> Any:
    """The weights of `tiny_decoder.save_decoder` with the same seed; its shape."""
    graph = graph_module()
    shape = graph.Shape(vocabulary, **SMALL)
    weights = graph.random_weights(shape, seed)
    head = np.random.default_rng(seed + 100).standard_normal((shape.hidden, vocabulary))
    weights["head"] = (head * 0.7).astype(np.float32)
    onnx.save(make(graph, shape, weights), file)
    return shape


def make(graph: Any, shape: Any, weights: dict[str, np.ndarray]) -> onnx.ModelProto:
    builder = graph._Builder(weights)
    for name, value in (("axis1", [1]), ("axis2", [2]), ("axis0", [0])):
        builder.constant(name, np.array(value, np.int64))
    builder.constant("zero", np.array(0, np.int64))
    builder.constant("one", np.array(1, np.int64))
    builder.constant("unit", np.ones(shape.hidden, np.float32))
    builder.constant("floor", np.array(-1e9, np.float32))
    builder.constant("nothing", np.array(0, np.float32))
    builder.constant("root", np.array(shape.head_size**-0.5, np.float32))
    angles = np.outer(
        np.arange(shape.context),
        10_000.0 ** (-np.arange(0, shape.head_size, 2) / shape.head_size),
    )
    builder.constant("cos", np.cos(angles).astype(np.float32))
    builder.constant("sin", np.sin(angles).astype(np.float32))
    for part in ("cos", "sin"):  # [batch, 1, sequence, half]
        builder.node("Gather", [part, "position_ids"], f"{part}.flat", axis=0)
        builder.node("Unsqueeze", [f"{part}.flat", "axis1"], f"{part}.at")
    # A key may be seen by whoever stands at it or behind it, if the mask has it.
    builder.node("Shape", ["input_ids"], "ids.shape")
    builder.node("Gather", ["ids.shape", "one"], "sequence", axis=0)
    builder.node("Shape", ["attention_mask"], "mask.shape")
    builder.node("Gather", ["mask.shape", "one"], "total", axis=0)
    builder.node("Sub", ["total", "sequence"], "past")
    builder.node("Range", ["past", "total", "one"], "rows")
    builder.node("Range", ["zero", "total", "one"], "columns")
    builder.node("Unsqueeze", ["rows", "axis1"], "rows.up")
    builder.node("GreaterOrEqual", ["rows.up", "columns"], "causal")
    builder.node("Cast", ["attention_mask"], "mask.bool", to=onnx.TensorProto.BOOL)
    builder.node("Unsqueeze", ["mask.bool", "axis1"], "mask.three")
    builder.node("Unsqueeze", ["mask.three", "axis2"], "mask.four")
    builder.node("And", ["causal", "mask.four"], "seen")
    builder.node("Where", ["seen", "nothing", "floor"], "bias")
    builder.node("Gather", [builder.weight("embed"), "input_ids"], "x.0", axis=0)
    state = "x.0"
    for layer in range(shape.layers):
        state = _layer(builder, shape, layer, state)
    builder.node("SimplifiedLayerNormalization", [state, "unit"], "hidden", axis=-1, epsilon=1e-5)
    builder.node("MatMul", ["hidden", builder.weight("head")], "logits")
    model = graph._model(builder, shape)
    model.graph.input.insert(
        2, helper.make_tensor_value_info("position_ids", INT64, ["batch", "sequence"])
    )
    return model


def _layer(builder: Any, shape: Any, layer: int, state: str) -> str:
    def name(part: str) -> str:
        return f"{layer}.{part}"

    builder.node("SimplifiedLayerNormalization", [state, "unit"], name("n1"), axis=-1, epsilon=1e-5)
    for part, heads in (("q", shape.heads), ("k", shape.kv_heads), ("v", shape.kv_heads)):
        builder.node("MatMul", [name("n1"), builder.weight(name(part))], name(f"{part}.out"))
        builder.constant(name(f"{part}.size"), np.array([0, 0, heads, shape.head_size], np.int64))
        builder.node("Reshape", [name(f"{part}.out"), name(f"{part}.size")], name(f"{part}.split"))
        builder.node("Transpose", [name(f"{part}.split")], name(f"{part}.heads"), perm=[0, 2, 1, 3])
    for part in ("q", "k"):
        _turned(builder, name(f"{part}.heads"), name(f"{part}.turned"))
    for part, now in (("key", "k.turned"), ("value", "v.heads")):
        past = f"past_key_values.{layer}.{part}"
        builder.node("Concat", [past, name(now)], f"present.{layer}.{part}", axis=2)
        # Each head of the cache serves several heads that ask: [b, kv, 1, t, s] many times over.
        many = shape.heads // shape.kv_heads
        builder.node("Unsqueeze", [f"present.{layer}.{part}", "axis2"], name(f"{part}.five"))
        builder.constant(name(f"{part}.many"), np.array([1, 1, many, 1, 1], np.int64))
        builder.node("Tile", [name(f"{part}.five"), name(f"{part}.many")], name(f"{part}.tiled"))
        builder.constant(
            name(f"{part}.flat"), np.array([0, shape.heads, -1, shape.head_size], np.int64)
        )
        builder.node("Reshape", [name(f"{part}.tiled"), name(f"{part}.flat")], name(part))
    builder.node("Transpose", [name("key")], name("key.t"), perm=[0, 1, 3, 2])
    builder.node("MatMul", [name("q.turned"), name("key.t")], name("raw"))
    builder.node("Mul", [name("raw"), "root"], name("scaled"))
    builder.node("Add", [name("scaled"), "bias"], name("biased"))
    builder.node("Softmax", [name("biased")], name("shares"), axis=-1)
    builder.node("MatMul", [name("shares"), name("value")], name("mixed"))
    builder.node("Transpose", [name("mixed")], name("mixed.t"), perm=[0, 2, 1, 3])
    builder.constant(name("wide"), np.array([0, 0, shape.heads * shape.head_size], np.int64))
    builder.node("Reshape", [name("mixed.t"), name("wide")], name("attention"))
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


def _turned(builder: Any, source: str, target: str) -> None:
    """Rotary positions: the two halves of a head are turned against each other."""
    builder.node("Split", [source], f"{target}.a", more=[f"{target}.b"], axis=-1)
    for part, other, sign in (("a", "b", "Sub"), ("b", "a", "Add")):
        builder.node("Mul", [f"{target}.{part}", "cos.at"], f"{target}.{part}.cos")
        builder.node("Mul", [f"{target}.{other}", "sin.at"], f"{target}.{part}.sin")
        builder.node(sign, [f"{target}.{part}.cos", f"{target}.{part}.sin"], f"{target}.{part}.out")
    builder.node("Concat", [f"{target}.a.out", f"{target}.b.out"], target, axis=-1)
