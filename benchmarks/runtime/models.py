"""The three models of the comparison, each hard on another part of a server.

*wide*: an MLP of 25 MB whose weights are read once a batch, so that batching pays; *encoder*: four
transformer layers bound by arithmetic, so that it does not; *small*: an MLP that takes some
microseconds, so that nothing but the server is measured.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

ROUNDS_OPSET = 17


@dataclass(frozen=True)
class BenchModel:
    """Name, graph, and one row as the client sends it."""

    name: str
    graph: bytes
    datatype: str
    row: np.ndarray[Any, Any]
    outputs: list[dict[str, Any]]
    inline_rows: int = 0

    @property
    def inputs(self) -> list[dict[str, Any]]:
        return [{"name": "x", "datatype": self.datatype, "shape": [-1, *self.row.shape[1:]]}]


def wide() -> BenchModel:
    """512-2048-2048-512 with ReLU."""
    return _mlp("wide", (512, 2048, 2048, 512))


def small() -> BenchModel:
    """64-128-128-10 with ReLU."""
    return _mlp("small", (64, 128, 128, 10), inline_rows=8)


def encoder(layers: int = 4, width: int = 256, length: int = 32, heads: int = 4) -> BenchModel:
    """INT64[N, 32] → FP32[N, 256]: embedding, layers of attention and MLP, mean."""
    random = np.random.default_rng(7)
    constants: dict[str, Any] = {
        "table": random.normal(size=(1000, width)).astype(np.float32) / 16,
        "split": np.array([0, length, heads, width // heads]),
        "merge": np.array([0, length, width]),
        "scale": np.array(1 / np.sqrt(width // heads), np.float32),
    }
    nodes = [helper.make_node("Gather", ["table", "x"], ["h0"])]
    for layer in range(layers):
        nodes += _layer(layer, width, random, constants)
    nodes.append(helper.make_node("ReduceMean", [f"h{layers}"], ["y"], axes=[1], keepdims=0))
    graph = _graph(
        nodes,
        helper.make_tensor_value_info("x", TensorProto.INT64, ["N", length]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", width]),
        constants,
    )
    row = random.integers(0, 1000, (1, length))
    return BenchModel("encoder", graph, "INT64", row, [_output(width)])


def _layer(layer: int, width: int, random: Any, constants: dict[str, Any]) -> list[Any]:
    def name(part: str) -> str:
        return f"{part}{layer}"

    def weights(part: str, *shape: int) -> str:
        constants[name(part)] = random.normal(size=shape).astype(np.float32) / float(
            np.sqrt(shape[0])
        )
        return name(part)

    make = helper.make_node
    nodes = []
    for part in "qkv":
        nodes += [
            make("MatMul", [name("h"), weights(f"w{part}", width, width)], [name(f"{part}m")]),
            make("Reshape", [name(f"{part}m"), "split"], [name(f"{part}s")]),
            make(
                "Transpose",
                [name(f"{part}s")],
                [name(f"{part}t")],
                perm=[0, 2, 3, 1] if part == "k" else [0, 2, 1, 3],
            ),
        ]
    return [
        *nodes,
        make("MatMul", [name("qt"), name("kt")], [name("raw")]),
        make("Mul", [name("raw"), "scale"], [name("scaled")]),
        make("Softmax", [name("scaled")], [name("probability")], axis=-1),
        make("MatMul", [name("probability"), name("vt")], [name("mixed")]),
        make("Transpose", [name("mixed")], [name("back")], perm=[0, 2, 1, 3]),
        make("Reshape", [name("back"), "merge"], [name("flat")]),
        make("Add", [name("flat"), name("h")], [name("a")]),
        make("MatMul", [name("a"), weights("up", width, 4 * width)], [name("u")]),
        make("Relu", [name("u")], [name("r")]),
        make("MatMul", [name("r"), weights("down", 4 * width, width)], [name("d")]),
        make("Add", [name("d"), name("a")], [f"h{layer + 1}"]),
    ]


def _mlp(name: str, sizes: tuple[int, ...], inline_rows: int = 0) -> BenchModel:
    random = np.random.default_rng(7)
    constants: dict[str, Any] = {}
    nodes, last = [], "x"
    for place, (rows, columns) in enumerate(pairwise(sizes)):
        constants[f"w{place}"] = random.normal(size=(rows, columns)).astype(np.float32) / 32
        constants[f"b{place}"] = np.zeros(columns, np.float32)
        end = place == len(sizes) - 2
        out = "y" if end else f"s{place}"
        nodes.append(helper.make_node("Gemm", [last, f"w{place}", f"b{place}"], [out]))
        if not end:
            nodes.append(helper.make_node("Relu", [out], [f"r{place}"]))
        last = f"r{place}"
    graph = _graph(
        nodes,
        helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", sizes[0]]),
        helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", sizes[-1]]),
        constants,
    )
    row = random.normal(size=(1, sizes[0])).astype(np.float32)
    return BenchModel(name, graph, "FP32", row, [_output(sizes[-1])], inline_rows)


def _output(width: int) -> dict[str, Any]:
    return {"name": "y", "datatype": "FP32", "shape": [-1, width]}


def _graph(nodes: list[Any], given: Any, made: Any, constants: dict[str, Any]) -> bytes:
    initializers = [numpy_helper.from_array(array, name) for name, array in constants.items()]
    graph = helper.make_graph(nodes, "bench", [given], [made], initializers)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", ROUNDS_OPSET)], ir_version=10
    )
    return bytes(model.SerializeToString())


MODELS = {"wide": wide, "encoder": encoder, "small": small}
