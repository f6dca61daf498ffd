"""Small real ONNX models, and the profiles that they are optimized for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.domain.artifact import Platform
from packager.domain.hardware import Confidence, HardwareProfile, Precision, Proof, Wheel

FLOAT = TensorProto.FLOAT


def _tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    return numpy_helper.from_array(array.astype(np.float32), name)


def _model(nodes: list, inputs: list, outputs: list, weights: list) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 17)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=8, producer_name="tests")


@pytest.fixture(scope="session")
def mlp() -> onnx.ModelProto:
    """x[N,16] → 2 layers → y[N,10]; the first outputs follow the first inputs with wide margins."""
    random = np.random.RandomState(7)
    first = random.standard_normal((16, 64))
    second = random.standard_normal((64, 10))
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "w2"], ["y"]),
    ]
    return _model(
        nodes,
        [helper.make_tensor_value_info("x", FLOAT, ["batch", 16])],
        [helper.make_tensor_value_info("y", FLOAT, ["batch", 10])],
        [_tensor("w1", first), _tensor("w2", second)],
    )


@pytest.fixture(scope="session")
def cnn() -> onnx.ModelProto:
    """image[N,3,8,8] → convolution → global pool → y[N,8]"""
    random = np.random.RandomState(5)
    nodes = [
        helper.make_node("Conv", ["image", "k"], ["c"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"]),
        helper.make_node("GlobalAveragePool", ["r"], ["p"]),
        helper.make_node("Flatten", ["p"], ["y"]),
    ]
    return _model(
        nodes,
        [helper.make_tensor_value_info("image", FLOAT, ["n", 3, 8, 8])],
        [helper.make_tensor_value_info("y", FLOAT, ["n", 8])],
        [_tensor("k", random.standard_normal((8, 3, 3, 3)))],
    )


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    """Writes a model below the test's folder and gives its path."""

    def save(proto: onnx.ModelProto, name: str = "model.onnx", **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        own = onnx.ModelProto()
        own.CopyFrom(proto)  # saving with external data takes the weights out of the model
        onnx.save_model(own, path, **options)
        return path

    return save


@pytest.fixture(scope="session")
def cpu() -> HardwareProfile:
    """An x86 CPU with VNNI that lists FP32 and INT8."""
    return HardwareProfile(
        id="x86-64-v4",
        name="test CPU",
        platform=Platform("linux", "amd64"),
        execution_provider="CPUExecutionProvider",
        wheel=Wheel("onnxruntime", "1.28.0"),
        precisions={Precision.FP32: 1.0, Precision.INT8: 4.0},
        memory_gb=16,
        bandwidth_gb_s=None,
        instructions=frozenset({"avx2", "avx512_vnni"}),
        accelerator=None,
        node_labels={},
        deployment_platforms=frozenset({"compose"}),
        power_w=None,
        price_class=None,
        export_class=None,
        proven=Proof.NEVER,
        proven_where=None,
        confidence=Confidence.HIGH,
        sources=(),
    )


@pytest.fixture(scope="session")
def gpu(cpu: HardwareProfile) -> HardwareProfile:
    """A CUDA device."""
    return replace(cpu, id="nvidia-l4", execution_provider="CUDAExecutionProvider")
