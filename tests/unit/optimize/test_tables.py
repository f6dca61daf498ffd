"""Tables that are set aside while passes work on the rest: the same model, with less memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.optimize.engine import open_session
from packager.optimize.passes import PASSES, Step
from packager.optimize.tables import Aside, has_tables, make_aside

ROWS, WIDTH = 700, 24
DYNAMIC = {"operators": ("MatMul", "Gather"), "per_channel": True, "reduce_range": False}


def _model(folder: Path, *, read_otherwise: bool = False) -> Path:
    """ids → rows of a table → a product; the table beside the graph, behind something else."""
    folder.mkdir(parents=True)
    random = np.random.RandomState(5)
    table = (random.standard_normal((ROWS, WIDTH)) * 3).astype(np.float32)
    weight = random.standard_normal((WIDTH, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["table", "ids"], ["e"]),
        helper.make_node("MatMul", ["e", "w"], ["y"]),
    ]
    if read_otherwise:
        nodes.append(helper.make_node("ReduceSum", ["table"], ["z"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("ids", TensorProto.INT64, ["n", 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3, 8])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(table, "table")],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save_model(
        proto, folder / "model.onnx", save_as_external_data=True, location="all.bin",
        size_threshold=0,
    )  # fmt: skip
    return folder / "model.onnx"


def _weights(file: Path) -> dict[str, np.ndarray]:
    proto = onnx.load(file)
    return {one.name: numpy_helper.to_array(one) for one in proto.graph.initializer}


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("store_half", {}),
        ("quantize_dynamic", DYNAMIC),
        ("quantize_dynamic", DYNAMIC | {"operators": ("MatMul",), "per_channel": False}),
    ],
)
def test_a_streamed_table_is_what_the_pass_would_make(
    name: str, parameters: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("packager.optimize.tables.BLOCK_BYTES", 4 * WIDTH * 100)
    source = _model(tmp_path / "source")
    plain, aside = tmp_path / "plain/model.onnx", tmp_path / "aside/model.onnx"

    def passes(target: Path, of: Path) -> None:
        target.parent.mkdir(exist_ok=True)
        PASSES[name](Step(of, target, parameters, lambda: iter(()), external=True))

    own = _model(tmp_path / "own")
    passes(plain, own)
    make_aside(source, aside, lambda small: passes(aside, small), large=1)
    expected, made = _weights(plain), _weights(aside)
    assert expected.keys() == made.keys()
    for key, value in expected.items():
        assert made[key].dtype == value.dtype
        assert np.array_equal(made[key], value), key
    assert sorted(one.name for one in aside.parent.iterdir()) == ["model.onnx", "model.onnx.data"]
    assert sorted(one.name for one in source.parent.iterdir()) == ["all.bin", "model.onnx"]
    ids = np.array([[0, 5, ROWS - 1], [1, 2, 3]])
    ours, theirs = (open_session(one, 1).run(None, {"ids": ids})[0] for one in (aside, plain))
    assert np.array_equal(ours, theirs)
    onnx.checker.check_model(str(aside))


def test_a_table_that_is_read_otherwise_or_is_small_is_left_where_it_is(tmp_path: Path) -> None:
    shared = onnx.load(_model(tmp_path / "a", read_otherwise=True), load_external_data=False)
    assert not has_tables(shared, tmp_path / "a", large=1)
    alone = onnx.load(_model(tmp_path / "b"), load_external_data=False)
    assert has_tables(alone, tmp_path / "b", large=1)
    assert not has_tables(alone, tmp_path / "b")


def test_what_a_pass_made_of_a_table_unforeseen_is_no_candidate(tmp_path: Path) -> None:
    source, target = _model(tmp_path / "a"), tmp_path / "made/model.onnx"
    aside = Aside(source, tmp_path / "small/model.onnx", large=1)
    target.parent.mkdir()
    proto = onnx.load(tmp_path / "small/model.onnx")
    proto.graph.initializer[1].CopyFrom(numpy_helper.from_array(np.zeros((3, 3), "f4"), "table"))
    onnx.save(proto, target)
    with pytest.raises(ValueError, match="unforeseen of the table 'table'"):
        aside.put_back(target)
    del proto.graph.initializer[1]
    onnx.save(proto, target)
    with pytest.raises(ValueError, match="left nothing of a table"):
        aside.put_back(target)
