"""Models of one operator each: what a slimmed provider has to have kernels for.

An operator whose kernel was cut away fails with "no kernel image is available"; one that the CUDA
provider never had is told apart by the refusal to fall back to the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from onnx import TensorProto, helper, numpy_helper

_ELEMENT = {
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "uint8": TensorProto.UINT8,
    "int8": TensorProto.INT8,
    "bool": TensorProto.BOOL,
}
_CONTRIB = "com.microsoft"
_UNARY = (
    "Abs",
    "Neg",
    "Exp",
    "Sqrt",
    "Sigmoid",
    "Tanh",
    "Relu",
    "Gelu",
    "Erf",
    "Floor",
    "Ceil",
    "Round",
    "Sin",
    "Cos",
    "LeakyRelu",
    "Elu",
    "Selu",
    "HardSigmoid",
    "HardSwish",
    "Softplus",
    "Softsign",
    "Reciprocal",
    "Log",
    "Sign",
    "Identity",
    "Softmax",
    "LogSoftmax",
)
_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Max", "Min")
_POSITIVE = {"Sqrt", "Log", "Reciprocal", "Pow", "Div"}
_FLOATS = ("float32", "float16")

Case = dict[str, Any]


def cases() -> Iterator[tuple[Case, bytes]]:
    """Each case: its name, its inputs (name → type, shape, what fills them), and the model."""
    for dtype in _FLOATS:
        yield from _elementwise(dtype)
        yield from _shapes(dtype)
        yield from _reductions(dtype)
        yield from _matrices(dtype)
        yield from _convolutions(dtype)
        yield from _recurrent(dtype)
        yield from _contributed(dtype)
    yield from _whole_numbers()


def _case(
    operator: str,
    inputs: dict[str, tuple[str, list[int]]],
    constants: dict[str, np.ndarray] | None = None,
    *,
    order: str = "",
    outputs: int = 1,
    label: str = "",
    domain: str = "",
    positive: bool = False,
    tolerance: float = 0.0,
    **attributes: Any,
) -> tuple[Case, bytes]:
    names = order.split(",") if order else [*inputs, *(constants or {})]
    results = [f"y{number}" for number in range(outputs)]
    node = helper.make_node(operator, names, results, domain=domain, **attributes)
    graph = helper.make_graph(
        [node],
        "case",
        [helper.make_tensor_value_info(n, _ELEMENT[t], shape) for n, (t, shape) in inputs.items()],
        [helper.ValueInfoProto(name=result) for result in results],
        [numpy_helper.from_array(array, name) for name, array in (constants or {}).items()],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid(_CONTRIB, 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    kinds = "-".join(dict.fromkeys(kind for kind, _ in inputs.values()))
    described = {
        "name": f"{operator}{f'.{label}' if label else ''}.{kinds}",
        "inputs": {name: [kind, shape, positive] for name, (kind, shape) in inputs.items()},
        "tolerance": tolerance or (0.02 if "float16" in kinds else 0.004),
    }
    return described, bytes(model.SerializeToString())


def _elementwise(t: str) -> Iterator[tuple[Case, bytes]]:
    x = {"x": (t, [4, 96, 40])}
    for operator in _UNARY:
        yield _case(operator, x, positive=operator in _POSITIVE)
    for operator in _BINARY:
        yield _case(operator, x | {"b": (t, [96, 1])}, positive=operator in _POSITIVE)
    for operator in ("Greater", "Less", "Equal", "GreaterOrEqual"):
        yield _case(operator, x | {"b": (t, [96, 1])})
    yield _case("Where", {"c": ("bool", [4, 96, 1]), "x": (t, [4, 96, 40]), "b": (t, [40])})
    yield _case("Clip", x, {"low": np.array(-0.5, t), "high": np.array(0.5, t)})
    for to in ("float32", "float16", "int32", "int64", "bool"):
        yield _case("Cast", x, label=to, to=_ELEMENT[to])
    yield _case("CumSum", x, {"axis": np.array(1, np.int64)})


def _shapes(t: str) -> Iterator[tuple[Case, bytes]]:
    x = {"x": (t, [4, 8, 6, 10])}
    ints = {name: np.array(value, np.int64) for name, value in {
        "shape": [4, -1], "two": [2, 1, 1, 3], "pads": [0, 0, 1, 1, 0, 0, 1, 1],
        "rows": [0, 3, 1], "starts": [1, 0], "ends": [4, 8], "axes": [0, 2], "parts": [3, 5],
        "wide": [4, 8, 6, 10], "k": [3], "one": [1],
    }.items()}  # fmt: skip

    def given(*names: str) -> dict[str, np.ndarray]:
        return {name: ints[name] for name in names}

    yield _case("Reshape", x, given("shape"))
    yield _case("Transpose", x, perm=[0, 2, 3, 1])
    yield _case("Concat", x | {"b": (t, [4, 8, 6, 10])}, axis=1)
    yield _case("Split", x, given("parts"), axis=1, outputs=2)
    yield _case("Slice", x, given("starts", "ends", "axes"))
    yield _case("Pad", x, given("pads"))
    yield _case("Gather", x, given("rows"), axis=1)
    index = {"index": np.arange(240, dtype=np.int64).reshape(4, 1, 6, 10) % 8}
    yield _case("GatherElements", x, index, axis=1)
    yield _case("GatherND", x, {"index": np.array([[0, 1], [3, 2]], np.int64)})
    places = {"index": np.array([[0, 1], [3, 2]], np.int64)}
    yield _case("ScatterND", x | {"u": (t, [2, 6, 10])}, places, order="x,index,u")
    yield _case("ScatterElements", x | {"u": (t, [4, 1, 6, 10])}, index, order="x,index,u", axis=1)
    yield _case("Expand", {"x": (t, [8, 1, 10])}, given("wide"))
    yield _case("Tile", x, given("two"))
    yield _case("TopK", x, given("k"), outputs=2)
    yield _case("DepthToSpace", x, blocksize=2)
    yield _case("SpaceToDepth", x, blocksize=2)
    yield _case("Trilu", x)
    yield _case("Unsqueeze", x, given("one"))
    scales = {"none": np.array([], t), "scales": np.array([1, 1, 2, 2], np.float32)}
    for mode in ("nearest", "linear", "cubic"):
        # An empty name: no region of interest.
        yield _case("Resize", x, {"scales": scales["scales"]}, order="x,,scales", label=mode,
                    mode=mode)  # fmt: skip


def _reductions(t: str) -> Iterator[tuple[Case, bytes]]:
    x, axes = {"x": (t, [4, 32, 48])}, {"axes": np.array([2], np.int64)}
    for operator in ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSumExp", "SumSquare"):
        yield _case(f"Reduce{operator}", x, axes, tolerance=0.02)
    yield _case("ArgMax", x, axis=2)
    yield _case("ArgMin", x, axis=2)
    size = np.ones(32, t)
    for operator, more in {
        "LayerNormalization": {"g": np.ones(48, t)},
        "InstanceNormalization": {"g": size, "b": size},
        "BatchNormalization": {"g": size, "b": size, "m": size * 0, "v": size},
        "LRN": {},
    }.items():
        if operator == "LRN":
            yield _case(operator, {"x": (t, [2, 8, 6, 6])}, size=3)
        else:
            yield _case(operator, x, more)


def _matrices(t: str) -> Iterator[tuple[Case, bytes]]:
    yield _case("MatMul", {"a": (t, [4, 96, 64]), "b": (t, [4, 64, 80])}, tolerance=0.05)
    yield _case("MatMul", {"a": (t, [1, 512]), "b": (t, [512, 300])}, label="row", tolerance=0.1)
    yield _case("Gemm", {"a": (t, [33, 65]), "b": (t, [65, 31]), "c": (t, [31])}, tolerance=0.05)
    yield _case("Einsum", {"a": (t, [4, 8, 16]), "b": (t, [4, 16, 8])},
                equation="bij,bjk->bik", tolerance=0.05)  # fmt: skip


def _convolutions(t: str) -> Iterator[tuple[Case, bytes]]:
    x = {"x": (t, [2, 16, 20, 20])}
    for label, weight, more in (
        ("3x3", [24, 16, 3, 3], {"pads": [1, 1, 1, 1]}),
        ("1x1", [24, 16, 1, 1], {}),
        ("depthwise", [16, 1, 3, 3], {"group": 16}),
        ("strided", [24, 16, 5, 5], {"strides": [2, 2]}),
        ("dilated", [24, 16, 3, 3], {"dilations": [2, 2]}),
    ):
        yield _case("Conv", x | {"w": (t, weight)}, label=label, tolerance=0.1, **more)
    yield _case("Conv", {"x": (t, [2, 16, 50]), "w": (t, [8, 16, 3])}, label="1d", tolerance=0.1)
    yield _case("ConvTranspose", x | {"w": (t, [16, 8, 3, 3])}, strides=[2, 2], tolerance=0.1)
    for operator in ("MaxPool", "AveragePool"):
        yield _case(operator, x, kernel_shape=[3, 3], strides=[2, 2])
    yield _case("GlobalAveragePool", x)
    yield _case("GlobalMaxPool", x)


def _recurrent(t: str) -> Iterator[tuple[Case, bytes]]:
    for operator, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        inputs = {
            "x": (t, [7, 2, 12]),
            "w": (t, [1, gates * 16, 12]),
            "r": (t, [1, gates * 16, 16]),
        }
        more = {"linear_before_reset": 1} if operator == "GRU" else {}
        yield _case(operator, inputs, hidden_size=16, tolerance=0.05, **more)


def _contributed(t: str) -> Iterator[tuple[Case, bytes]]:
    """Microsoft's own operators: what ONNX Runtime fuses transformers into."""
    x = {"x": (t, [2, 64, 256])}
    row = np.full(256, 0.5, t)
    yield _case("BiasGelu", x, {"b": row}, domain=_CONTRIB)
    yield _case("FastGelu", x, {"b": row}, domain=_CONTRIB)
    yield _case("QuickGelu", x, domain=_CONTRIB)
    yield _case("FusedMatMul", {"a": (t, [4, 96, 64]), "b": (t, [4, 80, 64])}, domain=_CONTRIB,
                transB=1, alpha=0.5, tolerance=0.05)  # fmt: skip
    yield _case("SkipLayerNormalization", x | {"s": (t, [2, 64, 256])}, {"g": row},
                domain=_CONTRIB)  # fmt: skip
    yield _case("SkipSimplifiedLayerNormalization", x | {"s": (t, [2, 64, 256])}, {"g": row},
                domain=_CONTRIB)  # fmt: skip
    triple = {name: (t, [2, 64, 256]) for name in ("query", "key", "value")}
    yield _case("MultiHeadAttention", triple, domain=_CONTRIB, num_heads=4)
    yield _case("MatMulNBits", {"a": (t, [3, 256])}, {
        "b": (np.arange(16384, dtype=np.uint32) * 37 % 256).astype("uint8").reshape(128, 8, 16),
        "scales": np.full(128 * 8, 0.05, t),
    }, domain=_CONTRIB, K=256, N=128, bits=4, block_size=32, tolerance=0.1)  # fmt: skip
    if t == "float16":
        attention = {name: (t, [1, 32, heads * 64]) for name, heads in
                     (("query", 8), ("key", 2), ("value", 2))}  # fmt: skip
        yield _case(
            "GroupQueryAttention", attention,
            {"last": np.array([31], np.int32), "total": np.array(32, np.int32)},
            order="query,key,value,,,last,total", outputs=3, domain=_CONTRIB,
            num_heads=8, kv_num_heads=2, tolerance=0.05,
        )  # fmt: skip


def _whole_numbers() -> Iterator[tuple[Case, bytes]]:
    for t in ("int64", "int32"):
        x = {"x": (t, [8, 30])}
        for operator in ("Add", "Sub", "Mul", "Equal", "Greater", "Max"):
            yield _case(operator, x | {"b": (t, [30])})
        yield _case("ReduceSum", x, {"axes": np.array([1], np.int64)})
        yield _case("Cast", x, label="float32", to=TensorProto.FLOAT)
    scale, zero = np.array(0.02, np.float32), np.array(3, np.int8)
    yield _case("QuantizeLinear", {"x": ("float32", [8, 30])}, {"s": scale, "z": zero}, tolerance=1)
    yield _case("DequantizeLinear", {"x": ("int8", [8, 30])}, {"s": scale, "z": zero})
    yield _case("And", {"x": ("bool", [8, 30]), "b": ("bool", [30])})
    yield _case("Not", {"x": ("bool", [8, 30])})
    yield _case("NonZero", {"x": ("int64", [8, 30])})
