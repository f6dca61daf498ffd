"""Block-wise weights: what ONNX Runtime reads from them is what was packed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from optimizer_models import encoder, encoder_samples

from packager.optimize.blocks import block_weights, pack
from packager.optimize.engine import open_session

Saver = Callable[..., Path]


def _unpack(codes: np.ndarray, scales: np.ndarray, bits: int, rows: int) -> np.ndarray:
    """What the operator's documentation says that the bytes mean."""
    if bits == 4:
        codes = np.stack([codes & 15, codes >> 4], axis=-1).reshape(*codes.shape[:2], -1)
    middle = 1 << (bits - 1)
    values = (codes.astype(np.float32) - middle) * scales.reshape(codes.shape[:2])[..., None]
    return values.reshape(len(codes), -1)[:, :rows].T


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 80),
    st.integers(1, 5),
    st.sampled_from((4, 8)),
    st.sampled_from((16, 32)),
    st.integers(0, 2**31 - 1),
)
def test_each_weight_is_off_by_at_most_one_step(
    rows: int, columns: int, bits: int, block: int, seed: int
) -> None:
    weight = np.random.RandomState(seed).standard_normal((rows, columns)).astype(np.float32)
    codes, scales = pack(weight, bits, block)
    steps = np.repeat(np.abs(scales.reshape(columns, -1)), block, axis=1)[:, :rows].T
    assert (np.abs(_unpack(codes, scales, bits, rows) - weight) <= steps * 1.01).all()


@pytest.mark.parametrize(("bits", "tolerance"), [(8, 0.03), (4, 0.5)])
def test_the_engine_reads_what_was_packed(bits: int, tolerance: float, saved: Saver) -> None:
    model, feed = encoder(), encoder_samples(8)
    exact = open_session(saved(model), 1).run(None, feed)[0]
    made = onnx.ModelProto()
    made.CopyFrom(model)
    assert block_weights(made, bits, 32, 4) == 13
    found = open_session(saved(made, "made.onnx"), 1).run(None, feed)[0]
    assert np.abs(found - exact).max() / np.abs(exact).max() < tolerance
    assert len(made.SerializeToString()) < len(model.SerializeToString())


def test_shared_weights_are_packed_once_and_kept_where_others_read_them(saved: Saver) -> None:
    from onnx import TensorProto, helper, numpy_helper

    weight = np.random.RandomState(1).standard_normal((32, 32)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["a"]),
            helper.make_node("MatMul", ["a", "w"], ["b"]),
            helper.make_node("Add", ["b", "w"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [32, 32])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [32, 32])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    assert block_weights(model, 8, 32, 0) == 2
    assert sorted(one.name for one in model.graph.initializer) == ["w", "w__q8", "w__scales"]
    x = np.eye(32, dtype=np.float32)
    found = open_session(saved(model), 1).run(None, {"x": x})[0]
    assert np.allclose(found, weight @ weight + weight, atol=0.3)
