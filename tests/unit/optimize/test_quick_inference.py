"""The quantizers with inference in memory give the very files that they give with files."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from packager.optimize import passes
from packager.optimize.quick_inference import quick_inference
from packager.optimize.shapes import SMALL, inferred, without_weights


@pytest.mark.parametrize("name", ["quantize_dynamic", "quantize_static"])
def test_equal_to_the_byte(
    name: str,
    mlp: onnx.ModelProto,
    cnn: onnx.ModelProto,
    saved: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    dynamic = name == "quantize_dynamic"
    path = saved(mlp if dynamic else cnn)
    feeds = [{"image": np.full((1, 3, 8, 8), value, np.float32)} for value in (-1.0, 0.5)]
    parameters = {
        "operators": ["MatMul"] if dynamic else ["Conv"],
        "per_channel": True,
        "reduce_range": False,
        "activations": "U8",
    }
    made = []
    for inference in (quick_inference, nullcontext):
        monkeypatch.setattr(passes, "quick_inference", inference)
        target = tmp_path / f"{inference.__name__}.onnx"
        passes.PASSES[name](passes.Step(path, target, parameters, lambda: iter(feeds), False))
        made.append(target.read_bytes())
    assert made[0] == made[1]


def test_weights_are_not_needed_to_infer() -> None:
    large = numpy_helper.from_array(np.ones((64, SMALL), np.float32), "w")
    shape = numpy_helper.from_array(np.array([-1, 4, SMALL // 4], np.int64), "s")
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("Reshape", ["h", "s"], ["y"]),
            helper.make_node("Relu", ["y"], ["z"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 64])],
        [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, None)],
        [large, shape],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.metadata_props.add(key="k", value="v")
    bare = without_weights(model)
    assert bare.ByteSize() < 1000
    assert [one.key for one in bare.metadata_props] == ["k"]
    whole = onnx.shape_inference.infer_shapes(model).graph
    assert list(inferred(model).value_info) == list(whole.value_info)
    assert list(inferred(model).output) == list(whole.output)
