"""Models of every odd kind: optimized, or left as they are with a reason; never a wrong answer,
never a traceback.

Each is optimized for real. Whatever is chosen must answer as the source does.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from packager.domain.hardware import HardwareProfile
from packager.domain.model import Metric, Objective, QualityBudget, Verdict
from packager.errors import InputError
from packager.optimize.engine import open_session
from packager.optimize.optimizing import opened, optimize
from packager.optimize.passes import sort_nodes
from packager.optimize.reading import read_model
from packager.optimize.samples import read_samples
from packager.optimize.stopwatch import Stopwatch
from packager.progress import SILENT

FLOAT, INT64, STRING, BOOL = (
    TensorProto.FLOAT,
    TensorProto.INT64,
    TensorProto.STRING,
    TensorProto.BOOL,
)
RANDOM = np.random.RandomState(9)
W = RANDOM.standard_normal((32, 32)).astype(np.float32)
V = RANDOM.standard_normal((32, 4)).astype(np.float32)
X = RANDOM.standard_normal((640, 32)).astype(np.float32)


def info(name: str, kind: int, shape: list) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def tensor(name: str, values: Any, kind: type = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, kind), name)


def model(
    nodes: list, inputs: list, outputs: list, weights: list, opset: int = 17, ir: int = 8
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "graph", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=ir)


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def rows(name: str, width: int) -> onnx.ValueInfoProto:
    return info(name, FLOAT, ["n", width])


BOTH = [tensor("w", W), tensor("v", V)]


def _dynamic_sequence() -> tuple[onnx.ModelProto, dict]:
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "p")]
    nodes.append(node("ReduceMean", "p", "y", axes=[1], keepdims=0))
    made = model(
        nodes,
        [info("x", FLOAT, ["batch", "sequence", 32])],
        [info("y", FLOAT, ["batch", 4])],
        BOTH,
    )
    return made, {"x": X[:, None, :].repeat(5, axis=1)}


def _no_batch() -> tuple[onnx.ModelProto, dict]:
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    made = model(
        nodes,
        [info("x", FLOAT, [3, 32])],
        [info("y", FLOAT, [3, 4])],
        BOTH,
    )
    return made, {"x": np.stack([X, X + 1, X - 1], axis=1)}


def _several() -> tuple[onnx.ModelProto, dict]:
    nodes = [
        node("MatMul", "a w", "h"),
        node("Add", "h b", "s"),
        node("MatMul", "s v", "y"),
        node("ArgMax", "y", "z", axis=-1, keepdims=0),
    ]
    made = model(
        nodes,
        [info("a", FLOAT, ["n", 32]), info("b", FLOAT, ["n", 32])],
        [rows("y", 4), info("z", INT64, ["n"])],
        BOTH,
    )
    return made, {"a": X, "b": X[::-1].copy()}


def _shared() -> tuple[onnx.ModelProto, dict]:
    nodes = [node("MatMul", "x w", "h"), node("MatMul", "h w", "g"), node("Add", "g x", "y")]
    made = model(nodes, [rows("x", 32)], [rows("y", 32)], [tensor("w", W)])
    return made, {"x": X}


def _listed_weights() -> tuple[onnx.ModelProto, dict]:
    """IR version 3: weights are listed among the inputs."""
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    inputs = [rows("x", 32), info("w", FLOAT, [32, 32]), info("v", FLOAT, [32, 4])]
    weights = BOTH
    return model(nodes, inputs, [rows("y", 4)], weights, opset=9, ir=3), {"x": X}


def _subgraph() -> tuple[onnx.ModelProto, dict]:
    def branch(name: str, operator: str) -> onnx.GraphProto:
        out = f"{name}_y"
        return helper.make_graph(
            [node("MatMul", "h v", f"{name}_p"), node(operator, f"{name}_p", out)],
            name,
            [],
            [info(out, FLOAT, ["n", 4])],
        )

    nodes = [
        node("MatMul", "x w", "h"),
        node("ReduceSum", "h", "t", keepdims=0),
        node("Greater", "t zero", "c"),
        node("If", "c", "y", then_branch=branch("a", "Relu"), else_branch=branch("b", "Tanh")),
    ]
    weights = [tensor("w", W), tensor("v", V), tensor("zero", 0.0)]
    return model(nodes, [rows("x", 32)], [rows("y", 4)], weights), {"x": X[:, None, :]}


def _undeclared_output() -> tuple[onnx.ModelProto, dict]:
    """ONNX demands a shape there, ONNX Runtime does not, and exporters leave it out."""
    made, feeds = _opset(17)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    return made, feeds


def _sized_by_values() -> tuple[onnx.ModelProto, dict]:
    """As a detector's: how many rows come out depends on what is in the sample."""
    nodes = [node("NonZero", "x", "z"), node("MatMul", "x w", "h"), node("MatMul", "h v", "y")]
    outputs = [rows("y", 4), info("z", INT64, [2, "found"])]
    return model(nodes, [rows("x", 32)], outputs, BOTH), {"x": np.maximum(X, 0)}


def _rows_mixed() -> tuple[onnx.ModelProto, dict]:
    """What is less than the mean of the batch: of a single row nothing is left."""
    nodes = [
        node("ReduceMean", "x", "m", axes=[0], keepdims=1),
        node("Sub", "x m", "d"),
        node("MatMul", "d w", "h"),
        node("MatMul", "h v", "y"),
    ]
    return model(nodes, [rows("x", 32)], [rows("y", 4)], BOTH), {"x": X}


def _drawn() -> tuple[onnx.ModelProto, dict]:
    """Numbers that are drawn: no answer comes twice."""
    nodes = [
        node("RandomNormalLike", "x", "r"),
        node("Add", "x r", "s"),
        node("MatMul", "s v", "y"),
    ]
    return model(nodes, [rows("x", 32)], [rows("y", 4)], [tensor("v", V)]), {"x": X}


def _strings() -> tuple[onnx.ModelProto, dict]:
    nodes = [
        helper.make_node(
            "LabelEncoder",
            ["x"],
            ["i"],
            domain="ai.onnx.ml",
            keys_strings=["a", "b", "c"],
            values_int64s=[0, 1, 2],
            default_int64=0,
        ),
        node("Gather", "w i", "e"),
        node("MatMul", "e v", "y"),
    ]
    graph = helper.make_graph(
        nodes,
        "graph",
        [info("x", STRING, ["n"])],
        [rows("y", 4)],
        BOTH,
    )
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("ai.onnx.ml", 2)]
    made = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return made, {"x": np.array(["a", "b", "c"])[RANDOM.randint(0, 3, 640)]}


def _opset(version: int) -> tuple[onnx.ModelProto, dict]:
    nodes = [node("MatMul", "x w", "h"), node("Relu", "h", "r"), node("MatMul", "r v", "y")]
    made = model(
        nodes,
        [rows("x", 32)],
        [rows("y", 4)],
        BOTH,
        opset=version,
        ir=4 if version < 9 else 8 if version < 22 else 10,
    )
    return made, {"x": X}


def _loop() -> tuple[onnx.ModelProto, dict]:
    body = helper.make_graph(
        [node("Identity", "going", "still"), node("MatMul", "s w", "m"), node("Tanh", "m", "next")],
        "body",
        [info("i", INT64, []), info("going", BOOL, []), info("s", FLOAT, ["n", 32])],
        [info("still", BOOL, []), info("next", FLOAT, ["n", 32])],
    )
    nodes = [node("Loop", "count  x", "last", body=body), node("MatMul", "last v", "y")]
    nodes[0].input[:] = ["count", "", "x"]
    weights = [tensor("w", W), tensor("v", V), tensor("count", 3, np.int64)]
    return model(nodes, [rows("x", 32)], [rows("y", 4)], weights), {"x": X}


def _weights_in_nodes() -> tuple[onnx.ModelProto, dict]:
    """As Paddle's exporter writes them, with a normalization of batches behind a convolution."""
    kernel = np.tile(W[:16, :27].reshape(16, 3, 3, 3), (1, 1, 1, 1))
    scales = [np.abs(W[0, :16]) + 0.5, W[1, :16], W[2, :16], np.abs(W[3, :16]) + 0.5]
    held = {"k": kernel, "s": scales[0], "b": scales[1], "m": scales[2], "d": scales[3]}
    nodes = [node("Constant", "", name, value=tensor(name, v)) for name, v in held.items()]
    nodes += [
        node("Conv", "x k", "c", pads=[1, 1, 1, 1]),
        node("BatchNormalization", "c s b m d", "n"),
        node("Relu", "n", "r"),
        node("GlobalAveragePool", "r", "p"),
        node("Flatten", "p", "y"),
    ]
    made = model(nodes, [info("x", FLOAT, ["n", 3, 8, 8])], [rows("y", 16)], [], opset=11)
    return made, {"x": RANDOM.standard_normal((640, 3, 8, 8)).astype(np.float32)}


def _no_inputs() -> tuple[onnx.ModelProto, None]:
    made = model(
        [node("MatMul", "w v", "y")],
        [],
        [info("y", FLOAT, [32, 4])],
        BOTH,
    )
    return made, None


def _no_weights() -> tuple[onnx.ModelProto, dict]:
    made = model([node("Relu", "x", "y")], [rows("x", 32)], [rows("y", 32)], [])
    return made, {"x": X}


MODELS: dict[str, Callable[[], tuple[onnx.ModelProto, dict | None]]] = {
    "dynamic batch and sequence": _dynamic_sequence,
    "no batch dimension": _no_batch,
    "several inputs and outputs": _several,
    "shared initializers": _shared,
    "weights listed as inputs": _listed_weights,
    "subgraphs": _subgraph,
    "a loop": _loop,
    "strings": _strings,
    "an output without a shape": _undeclared_output,
    "sizes that depend on values": _sized_by_values,
    "rows that are mixed": _rows_mixed,
    "numbers that are drawn": _drawn,
    "weights in nodes": _weights_in_nodes,
    "no inputs": _no_inputs,
    "no weights": _no_weights,
    **{f"opset {version}": (lambda v=version: _opset(v)) for version in (7, 9, 11, 13, 19, 21, 22)},
}


LEFT = ("strings", "no inputs", "no weights", "rows that are mixed", "numbers that are drawn")
"""Of these nothing smaller can be made, or it cannot be proved."""


@pytest.mark.parametrize("name", MODELS)
def test_it_is_optimized_or_left_as_it_is(
    name: str,
    cpu: HardwareProfile,
    saved: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Stopwatch, "ask_callers", lambda *_: None)  # seconds that tell nothing here
    proto, feeds = MODELS[name]()
    path = saved(proto)
    read = read_model(path)
    samples = None
    if feeds is not None:
        np.savez(tmp_path / "samples.npz", **feeds)
        samples = read_samples(tmp_path / "samples.npz", read)
    into = tmp_path / "out"
    into.mkdir()
    with opened(read, samples, QualityBudget(Metric.COSINE, 0.99), into, SILENT) as bench:
        optimized, _ = optimize(
            bench, hardware=cpu, objective=Objective.SIZE, record=None, into=into, progress=SILENT
        )
        ours = bench.source.outputs
        theirs = bench.workshop.answer(
            "again", optimized.model.files[0].path, 0, len(bench.workshop.samples.evaluation)
        )
    assert all(row.reason for row in optimized.candidates)
    assert (optimized.chosen.name in ("source", "graph-extended")) == (name in LEFT)
    assert (optimized.golden is None) == (name in ("no inputs", "numbers that are drawn"))
    if name == "rows that are mixed":
        told = " ".join(row.reason for row in optimized.candidates)
        assert "rows of a batch change each other's answers" in told
    for key, exact in ours.items() if name != "numbers that are drawn" else ():
        found = theirs.outputs[key]
        if exact.dtype.kind == "f":
            scale = max(1e-6, float(np.abs(exact).max()))
            assert np.abs(found - exact).max() / scale < 0.1
    made = {row.name: row for row in optimized.candidates}
    if name == "weights in nodes":  # folded first: else no pass would find a weight
        assert {"fp16-stored", "int8-static-conv"} <= set(made)
        assert made["fp16-stored"].size < 0.75 * read.size
        assert "level=basic" in made["int8-static-conv"].passes[1]
    failed = {row.name: row.reason for row in optimized.candidates if row.verdict is Verdict.FAILED}
    if name == "no inputs":  # all of it is folded into one constant
        assert "without any operator" in failed.pop("graph-extended")
    if name == "an output without a shape":  # of ONNX Runtime's own operators none is inferred
        assert all(row.startswith("is not a valid model") for row in failed.values())
        failed = {}
    assert failed == {}


def _sequence() -> onnx.ModelProto:
    kind = helper.make_sequence_type_proto(helper.make_tensor_type_proto(FLOAT, ["n"]))
    given = helper.make_value_info("x", kind)
    return model(
        [node("ConcatFromSequence", "x", "y", axis=0)], [given], [info("y", FLOAT, ["n"])], []
    )


def _custom() -> onnx.ModelProto:
    made, _ = _shared()
    made.graph.node[0].domain = "com.example"
    made.opset_import.append(helper.make_opsetid("com.example", 1))
    return made


def _wrong_type() -> onnx.ModelProto:
    made, _ = _shared()
    made.graph.output[0].type.tensor_type.elem_type = INT64
    return made


def _wrong_shape() -> onnx.ModelProto:
    made, _ = _shared()
    made.graph.initializer[0].CopyFrom(tensor("w", V))
    return made


def _bf16_output() -> onnx.ModelProto:
    made, _ = _shared()
    made.graph.node.append(node("Cast", "y", "z", to=TensorProto.BFLOAT16))
    made.graph.output[0].CopyFrom(info("z", TensorProto.BFLOAT16, ["n", 32]))
    return made


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (_bf16_output, "outputs are BF16"),
        (_sequence, "Open Inference Protocol"),
        (_custom, "cannot run the model"),
        (_wrong_type, ""),
        (_wrong_shape, ""),
    ],
)
def test_what_cannot_be_served_is_an_error_in_words(
    make: Callable[[], onnx.ModelProto],
    told: str,
    cpu: HardwareProfile,
    saved: Callable[..., Path],
    tmp_path: Path,
) -> None:
    path = saved(make())
    into = tmp_path / "out"
    into.mkdir()
    with (
        pytest.raises(InputError) as caught,
        opened(read_model(path), None, QualityBudget(), into, SILENT),
    ):
        pass
    finding = caught.value.findings[0]
    assert told in finding.what
    assert finding.where
    assert finding.next_step


def test_nodes_in_any_order_are_sorted_and_a_sorted_graph_is_left_alone() -> None:
    proto, _ = _subgraph()
    before = [one.output[0] for one in proto.graph.node]
    sort_nodes(proto.graph)
    assert [one.output[0] for one in proto.graph.node] == before
    backwards = list(reversed(proto.graph.node))
    del proto.graph.node[:]
    proto.graph.node.extend(backwards)
    sort_nodes(proto.graph)
    onnx.checker.check_model(proto, full_check=True)


def test_the_engine_agrees_that_these_models_run(saved: Callable[..., Path]) -> None:
    """Otherwise the tests above would test nothing."""
    for make in MODELS.values():
        proto, feeds = make()
        feed = {key: array[:1] for key, array in (feeds or {}).items()}
        if make in (_no_batch, _subgraph):
            feed = {key: array[0] for key, array in feeds.items()}
        open_session(saved(proto, "run.onnx"), 1).run(None, feed)


def test_an_output_that_is_not_what_is_declared_is_told(
    saved: Callable[..., Path], tmp_path: Path
) -> None:
    """The engine runs it all the same, so it is no reason to refuse a model that works."""

    class Told:
        """A listener that keeps the notes."""

        notes: ClassVar[list[str]] = []

        def advance(self, detail: str, done: int, total: int) -> None:
            """The bar is not looked at."""

        def note(self, text: str) -> None:
            self.notes.append(text)

    nodes = [helper.make_node("Relu", ["x"], ["y"]), helper.make_node("Neg", ["x"], ["z"])]
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", size])
        for name, size in (("x", 8), ("y", 7), ("z", 8))
    ]
    graph = helper.make_graph(nodes, "g", values[:1], values[1:])
    opsets = [helper.make_opsetid("", 17)]
    path = saved(helper.make_model(graph, opset_imports=opsets, ir_version=8))
    budget = QualityBudget(Metric.COSINE, 0.9)
    with opened(read_model(path), None, budget, tmp_path, Told()):  # type: ignore[arg-type]
        assert Told.notes == [
            "output 'y' is declared as [-1, 7] and comes as [1, 8]: mend the declaration, which is"
            " what clients are told"
        ]
