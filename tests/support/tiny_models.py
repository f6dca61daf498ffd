"""Tiny ONNX models made in code, and complete runtime folders around them."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

ONNX_TYPES = {
    "BOOL": TensorProto.BOOL,
    "UINT8": TensorProto.UINT8,
    "UINT16": TensorProto.UINT16,
    "UINT32": TensorProto.UINT32,
    "UINT64": TensorProto.UINT64,
    "INT8": TensorProto.INT8,
    "INT16": TensorProto.INT16,
    "INT32": TensorProto.INT32,
    "INT64": TensorProto.INT64,
    "FP16": TensorProto.FLOAT16,
    "FP32": TensorProto.FLOAT,
    "FP64": TensorProto.DOUBLE,
    "BF16": TensorProto.BFLOAT16,
    "BYTES": TensorProto.STRING,
}


def tensor(name: str, datatype: str, shape: list[int]) -> dict[str, Any]:
    """A tensor as server.json and the protocol's metadata describe it."""
    return {"name": name, "datatype": datatype, "shape": shape}


def identity(datatype: str, shape: list[int]) -> bytes:
    """y = x."""
    dims = [f"d{axis}" if size == -1 else size for axis, size in enumerate(shape)]
    kind = ONNX_TYPES[datatype]
    return _serialized(
        [helper.make_node("Identity", ["x"], ["y"])],
        [helper.make_tensor_value_info("x", kind, dims)],
        [helper.make_tensor_value_info("y", kind, dims)],
    )


def classifier() -> bytes:
    """scores = relu(x · W + b) for x FP32[N, 4], three scores; label = argmax as INT64[N]."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    bias = np.array([0.5, -0.25, 0.125], dtype=np.float32)
    return _serialized(
        [
            helper.make_node("Gemm", ["x", "weights", "bias"], ["sum"]),
            helper.make_node("Relu", ["sum"], ["scores"]),
            helper.make_node("ArgMax", ["scores"], ["label"], axis=1, keepdims=0),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3]),
            helper.make_tensor_value_info("label", TensorProto.INT64, ["N"]),
        ],
        {"weights": weights, "bias": bias},
    )


def classifier_answer(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What `classifier` must answer, computed with numpy."""
    weights = np.arange(12, dtype=np.float32).reshape(4, 3) / 10
    scores = np.maximum(x @ weights + np.array([0.5, -0.25, 0.125], dtype=np.float32), 0)
    return scores, scores.argmax(axis=1)


def adder() -> bytes:
    """sum = a + b for FP32[N, 2] and FP32[M, 2]: the free dimensions must agree."""
    return _serialized(
        [helper.make_node("Add", ["a", "b"], ["sum"])],
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, ["N", 2]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, ["M", 2]),
        ],
        [helper.make_tensor_value_info("sum", TensorProto.FLOAT, ["K", 2])],
    )


def lookup() -> bytes:
    """row = table[id] for a table of three rows: an id can be out of range."""
    return _serialized(
        [helper.make_node("Gather", ["table", "id"], ["row"])],
        [helper.make_tensor_value_info("id", TensorProto.INT64, ["N"])],
        [helper.make_tensor_value_info("row", TensorProto.FLOAT, ["N", 2])],
        {"table": np.arange(6, dtype=np.float32).reshape(3, 2)},
    )


def embedder() -> bytes:
    """vectors[text, token] = table[input_ids] for 8 tokens of 4 numbers; 0 is the padding."""
    return _serialized(
        [helper.make_node("Gather", ["table", "input_ids"], ["vectors"])],
        [
            helper.make_tensor_value_info("input_ids", TensorProto.INT64, ["N", "T"]),
            helper.make_tensor_value_info("attention_mask", TensorProto.INT64, ["N", "T"]),
        ],
        [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["N", "T", 4])],
        {"table": np.arange(32, dtype=np.float32).reshape(8, 4) ** 2},
    )


def brightness() -> bytes:
    """scores[N, 3] = mean of each channel of image FP32[N, 3, 4, 6]."""
    return _serialized(
        [helper.make_node("ReduceMean", ["image"], ["scores"], axes=[2, 3], keepdims=0)],
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 4, 6])],
        [helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", 3])],
    )


def widening(width: int = 4096) -> bytes:
    """y[N, 1] of x FP32[N, 4], by way of `width` values a row: little is asked, much is held."""
    return _serialized(
        [
            helper.make_node("MatMul", ["x", "wide"], ["a"]),
            helper.make_node("Erf", ["a"], ["b"]),
            helper.make_node("ReduceMean", ["b"], ["y"], axes=[1]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 1])],
        {"wide": np.ones((4, width), np.float32)},
    )


def relative() -> bytes:
    """y = x / max(x) over all rows: what one row gives depends on the others."""
    return _serialized(
        [
            helper.make_node("ReduceMax", ["x"], ["most"], keepdims=0),
            helper.make_node("Div", ["x", "most"], ["y"]),
        ],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
    )


def spinner(rounds: int = 20000) -> bytes:
    """y = x after `rounds` dependent matrix products: some milliseconds of work on any CPU."""
    body = helper.make_graph(
        [
            helper.make_node("Identity", ["going_in"], ["going_out"]),
            helper.make_node("MatMul", ["state_in", "turn"], ["state_out"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("round_number", TensorProto.INT64, []),
            helper.make_tensor_value_info("going_in", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_in", TensorProto.FLOAT, ["N", 4]),
        ],
        [
            helper.make_tensor_value_info("going_out", TensorProto.BOOL, []),
            helper.make_tensor_value_info("state_out", TensorProto.FLOAT, ["N", 4]),
        ],
    )
    return _serialized(
        [helper.make_node("Loop", ["rounds", "going", "x"], ["y"], body=body)],
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4])],
        {
            "rounds": np.array(rounds, dtype=np.int64),
            "going": np.array(True),
            "turn": np.eye(4, dtype=np.float32),
        },
    )


def _serialized(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[Any],
    constants: dict[str, np.ndarray] | None = None,
) -> bytes:
    initializers = [
        numpy_helper.from_array(array, name) for name, array in (constants or {}).items()
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, initializers)
    model: ModelProto = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10
    )
    return bytes(model.SerializeToString())


@dataclass
class RuntimeFolder:
    """A folder with server.json and models, as an image holds them; `document` may be edited."""

    path: Path
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = self.document or {
            "apiVersion": "packager.runtime/v1",
            "release": {"name": "tiny", "version": "1.2.3", "target": "de/x86-64-v3/compose"},
            "jurisdiction": {"id": "de", "regions": ["aws/eu-central-1", "site/lab"]},
            "models": [],
            "http": {
                "host": "127.0.0.1",
                "port": 0,
                "max_body_bytes": 1 << 20,
                "max_concurrency": 64,
                "drain_seconds": 10,
            },
        }

    def add(
        self,
        name: str,
        graph: bytes,
        inputs: list[dict[str, Any]],
        outputs: list[dict[str, Any]],
        *,
        golden: dict[str, np.ndarray] | None = None,
        version: str = "1",
    ) -> dict[str, Any]:
        """Add a model; `golden` maps `input.<tensor>` and `output.<tensor>` to arrays."""
        path = f"models/{name}/{version}/model.onnx"
        model: dict[str, Any] = {
            "name": name,
            "version": version,
            "path": path,
            "files": [self.file(path, graph)],
            "inputs": inputs,
            "outputs": outputs,
            "execution_provider": "CPUExecutionProvider",
            "provider_options": {},
            "intra_op_threads": 1,
            "golden": None,
        }
        if golden is not None:
            stream = io.BytesIO()
            np.savez(stream, **golden)
            golden_path = f"models/{name}/{version}/golden.npz"
            model["files"].append(self.file(golden_path, stream.getvalue()))
            model["golden"] = {"path": golden_path, "tolerance": 0.001}
        self.document["models"].append(model)
        return model

    def add_classifier(self, name: str = "classifier", **options: Any) -> dict[str, Any]:
        return self.add(
            name,
            classifier(),
            [tensor("x", "FP32", [-1, 4])],
            [tensor("scores", "FP32", [-1, 3]), tensor("label", "INT64", [-1])],
            **options,
        )

    def add_identity(self, datatype: str, shape: list[int]) -> dict[str, Any]:
        return self.add(
            datatype.lower(),
            identity(datatype, shape),
            [tensor("x", datatype, shape)],
            [tensor("y", datatype, shape)],
        )

    def file(self, path: str, data: bytes) -> dict[str, Any]:
        """Write a file and describe it."""
        target = self.path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}

    def write(self) -> Path:
        """Write server.json and return its path."""
        target = self.path / "server.json"
        target.write_text(json.dumps(self.document))
        return target
