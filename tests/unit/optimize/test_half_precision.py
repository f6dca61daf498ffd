"""FP16 and BF16: what a conversion does to the answers, and that overflow is seen on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from optimizer_models import convnet, convnet_samples, encoder, encoder_samples

from packager.optimize.engine import open_session
from packager.optimize.half_precision import convert, emulate, store
from packager.optimize.ranges import beyond_fp16, largest_values

Saver = Callable[..., Path]
MODELS = {
    "encoder": (encoder(), encoder_samples(8)),
    "convnet": (convnet(), convnet_samples(8)),
}


def _run(model: onnx.ModelProto, feed: dict[str, np.ndarray], saved: Saver) -> np.ndarray:
    onnx.checker.check_model(model, full_check=True)
    return open_session(saved(model, "run.onnx"), 1).run(None, feed)[0]


def _planted() -> onnx.ModelProto:
    """x → 320000·x → ·1e-3: overflows FP16 in the middle and nowhere else."""
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["large"]),
            helper.make_node("Mul", ["large", "s"], ["small"]),
            helper.make_node("MatMul", ["small", "v"], ["y"]),
        ],
        "graph",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(np.eye(4, dtype=np.float32) * 32000, "w"),
            numpy_helper.from_array(np.float32(1e-3), "s"),
            numpy_helper.from_array(np.eye(4, dtype=np.float32), "v"),
        ],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("name", MODELS)
def test_fp16_halves_the_file_and_keeps_the_answers(name: str, saved: Saver) -> None:
    model, feed = MODELS[name]
    exact = _run(model, feed, saved)
    made = convert(model, "fp16", ())
    assert len(model.SerializeToString()) / len(made.SerializeToString()) > 1.8
    scale = np.abs(exact).max()
    assert np.abs(_run(made, feed, saved) - exact).max() / scale < 1e-2
    assert np.abs(_run(emulate(model, "fp16", ()), feed, saved) - exact).max() / scale < 1e-2
    inputs = {one.name: one.type.tensor_type.elem_type for one in made.graph.input}
    assert inputs == {one.name: one.type.tensor_type.elem_type for one in model.graph.input}


@pytest.mark.parametrize("name", MODELS)
def test_the_twin_of_bf16_answers_coarsely_but_alike(name: str, saved: Saver) -> None:
    model, feed = MODELS[name]
    exact = _run(model, feed, saved)
    error = np.abs(_run(emulate(model, "bf16", ()), feed, saved) - exact).max()
    assert 0 < error / np.abs(exact).max() < 0.2
    made = convert(model, "bf16", ())
    onnx.checker.check_model(made, full_check=True)
    kinds = {tensor.data_type for tensor in made.graph.initializer}
    assert TensorProto.BFLOAT16 in kinds


def test_the_real_model_hides_overflow_on_a_cpu_and_the_twin_shows_it(saved: Saver) -> None:
    model = _planted()
    feed = {"x": np.full((1, 4), 10, np.float32)}
    hidden = _run(convert(model, "fp16", ()), feed, saved)
    shown = _run(emulate(model, "fp16", ()), feed, saved)
    assert not np.isfinite(shown).all()
    assert np.isfinite(_run(emulate(model, "bf16", ()), feed, saved)).all()
    # whatever a CPU makes of the converted model, it is no evidence for a GPU
    assert hidden.shape == shown.shape


def test_the_range_scan_keeps_the_planted_node_in_fp32(saved: Saver, tmp_path: Path) -> None:
    model = _planted()
    path = saved(model)
    feeds = [{"x": np.full((1, 4), size, np.float32)} for size in (1, 10)]
    assert largest_values(model, feeds, tmp_path / "scan.onnx")["large"] == pytest.approx(320000)
    blocked = beyond_fp16(path, model, feeds, tmp_path)
    assert blocked == {"large", "small"}, "both the node that writes it and the one that reads it"
    made = convert(model, "fp16", blocked)
    kinds = {tensor.name: tensor.data_type for tensor in made.graph.initializer}
    assert kinds["w"] == TensorProto.FLOAT
    assert kinds["v__fp16"] == TensorProto.FLOAT16
    feed = {"x": np.full((1, 4), 10, np.float32)}
    exact = _run(model, feed, saved)
    assert np.allclose(_run(emulate(model, "fp16", blocked), feed, saved), exact, rtol=1e-2)
    assert np.allclose(_run(made, feed, saved), exact, rtol=1e-2)
    assert not list(tmp_path.glob("scan*")), "nothing is left behind"


@pytest.mark.parametrize("name", MODELS)
def test_stored_weights_are_half_as_large_and_computed_in_fp32(name: str, saved: Saver) -> None:
    model, feed = MODELS[name]
    made = store(model)
    assert len(model.SerializeToString()) / len(made.SerializeToString()) > 1.8
    exact = _run(model, feed, saved)
    assert np.abs(_run(made, feed, saved) - exact).max() / np.abs(exact).max() < 1e-2


def test_a_weight_that_fp16_cannot_hold_stays(saved: Saver) -> None:
    model = _planted()
    large = numpy_helper.from_array(np.full((8, 8), 1e6, np.float32), "w")
    model.graph.initializer[0].CopyFrom(large)
    assert {tensor.name for tensor in store(model).graph.initializer} == {"w", "s", "v"}


def test_subgraphs_see_what_they_saw_before(saved: Saver) -> None:
    """An If whose branches read a tensor of the outer graph that is made in FP16."""
    then = helper.make_graph(
        [helper.make_node("Add", ["h", "one"], ["a"])],
        "then",
        [],
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, ["n", 4])],
    )
    other = helper.make_graph(
        [helper.make_node("Identity", ["h"], ["b"])],
        "else",
        [],
        [helper.make_tensor_value_info("b", TensorProto.FLOAT, ["n", 4])],
    )
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"]),
            helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other),
        ],
        "graph",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 4]),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
        ],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4])],
        [
            numpy_helper.from_array(np.eye(4, dtype=np.float32), "w"),
            numpy_helper.from_array(np.float32(1), "one"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    for name in ("fp16", "bf16"):
        for made in (convert(model, name, ()), emulate(model, name, ())):
            feed = {"x": np.ones((2, 4), np.float32), "c": np.array(True)}
            onnx.checker.check_model(made, full_check=True)
            if name == "fp16" or made.graph.node[0].op_type == "Cast":
                continue  # BF16 itself does not run on a CPU
            assert (_run(made, feed, saved) == 2).all()
    assert (_run(convert(model, "fp16", ()), feed, saved) == 2).all()


def test_fused_operators_are_converted_as_well(saved: Saver, tmp_path: Path) -> None:
    from packager.optimize.passes import Step, transformer_fusions

    model, feed = MODELS["encoder"]
    step = Step(
        saved(model), tmp_path / "fused.onnx", {"model_type": "bert"}, lambda: iter(()), False
    )
    notes = transformer_fusions(step)
    assert "SkipLayerNormalization 4" in notes[0]
    fused = onnx.load(step.target)
    exact = _run(model, feed, saved)
    for made in (convert(fused, "fp16", ()), emulate(fused, "fp16", ())):
        found = open_session(saved(made, "run.onnx"), 1).run(None, feed)[0]
        assert np.abs(found - exact).max() / np.abs(exact).max() < 1e-2
    halves = sum(
        one.name.endswith("__fp16") for one in convert(fused, "fp16", ()).graph.initializer
    )
    assert halves > 20
