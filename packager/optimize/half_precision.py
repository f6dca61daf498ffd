"""FP32 graphs in FP16 or BF16, and the twin that shows on a CPU what that does.

`convert` puts every node that may be into the format, with casts only where formats meet; inputs
and outputs of the model stay FP32. `emulate` makes a model that computes in FP32 and rounds every
value that `convert` would hold in the format: a value beyond its range becomes infinite there, as
it does on an accelerator, while a CPU that runs the converted model casts to FP32 and hides it.
`store` puts weights alone into FP16, for a runtime that computes in FP32.

Nodes with subgraphs stay as they are; what they see from outside keeps its name and format.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import ml_dtypes
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from packager.optimize.shapes import inferred

FORMATS = {"fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}
_NUMPY = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
FP16_LARGEST = 65504.0
FP16_SMALLEST_NORMAL = 6.104e-05

# Operators that providers of FP16 have kernels for. What is not listed stays FP32.
_HALF = frozenset(
    (
        *("Add", "Div", "Mul", "Neg", "Sqrt", "Sub", "Where"),
        *("Erf", "Gelu", "LeakyRelu", "PRelu", "Relu", "Sigmoid", "Tanh"),
        *("Conv", "ConvTranspose", "Gemm", "MatMul", "LogSoftmax", "Softmax"),
        *("BatchNormalization", "InstanceNormalization", "LayerNormalization"),
        *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"),
        *("Concat", "Expand", "Flatten", "Gather", "Identity", "Pad", "Reshape", "Slice", "Split"),
        *("Squeeze", "Transpose", "Unsqueeze"),
        # of the domain com.microsoft
        *("Attention", "BiasGelu", "FastGelu", "FusedMatMul", "MultiHeadAttention", "QuickGelu"),
        "SkipLayerNormalization",
    )
)
# Of these, ONNX Runtime's CUDA provider has no BF16 kernel (ORT issues 19502 and 25740).
_NO_BF16 = frozenset(
    (
        *("Erf", "LeakyRelu", "LogSoftmax", "Neg", "Pad", "PRelu", "Sigmoid"),
        *("Conv", "ConvTranspose", "BatchNormalization", "InstanceNormalization"),
        *("AveragePool", "GlobalAveragePool", "GlobalMaxPool", "MaxPool"),
        *("Attention", "MultiHeadAttention"),
    )
)
# Which input gives the type of the output, where it is not the first.
_DATA = {"Where": 1}
_FLOAT = TensorProto.FLOAT


def convert(model: onnx.ModelProto, name: str, blocked: Collection[str]) -> onnx.ModelProto:
    """The model in the format `name`; nodes whose first output is in `blocked` stay FP32."""
    return _Rewriting(model, name, blocked).converted()


def emulate(model: onnx.ModelProto, name: str, blocked: Collection[str]) -> onnx.ModelProto:
    """The twin in FP32 that rounds where `convert` would hold the format."""
    return _Rewriting(model, name, blocked).emulated()


def store(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its weights in FP16 and a cast to FP32 behind each.

    A weight that FP16 cannot hold (too large, or nothing but tiny values) stays as it is.
    """
    made = _copy(model)
    del made.graph.initializer[:]
    casts = []
    for tensor in model.graph.initializer:
        values = _values(tensor)
        if values is None or values.size < 64 or not fits_fp16(values):
            made.graph.initializer.append(tensor)
            continue
        stored = f"{tensor.name}__stored"
        made.graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=_FLOAT))
    nodes = list(made.graph.node)
    del made.graph.node[:]
    made.graph.node.extend([*casts, *nodes])
    drop_listed_inputs(made)
    return made


def fits_fp16(values: NDArray[np.float32]) -> bool:
    """Whether FP16 holds the largest of the values, with its full significance."""
    largest = float(np.abs(values).max(initial=0.0))
    return largest == 0 or FP16_SMALLEST_NORMAL <= largest <= FP16_LARGEST


class _Rewriting:
    def __init__(self, model: onnx.ModelProto, name: str, blocked: Collection[str]) -> None:
        self.model, self.name, self.blocked = model, name, set(blocked)
        self.format = FORMATS[name]
        self.types = element_types(model)
        self.floats = {name for name, kind in self.types.items() if kind == _FLOAT}
        self.weights = {
            tensor.name: tensor for tensor in model.graph.initializer if tensor.data_type == _FLOAT
        }

    def is_converted(self, node: onnx.NodeProto) -> bool:
        known = node.op_type in _HALF and not (self.name == "bf16" and node.op_type in _NO_BF16)
        if not known or node.domain not in ("", "ai.onnx", "com.microsoft"):
            return False
        outputs = [output for output in node.output if output]
        one_kind = node.op_type not in ("LayerNormalization", "BatchNormalization")
        return (
            outputs[0] not in self.blocked
            and all(output in self.floats for output in outputs)
            and all(name in self.types for name in node.input if name)
            and (one_kind or len(outputs) == 1)
            and self._weights_fit(node)
        )

    def _weights_fit(self, node: onnx.NodeProto) -> bool:
        if self.name == "bf16":
            return True
        own = (self.weights[name] for name in node.input if name in self.weights)
        return all(fits_fp16(numpy_helper.to_array(tensor)) for tensor in own)

    def converted(self) -> onnx.ModelProto:
        return _Conversion(self).made

    def rounded(self, tensor: onnx.TensorProto, name: str) -> onnx.TensorProto:
        values = numpy_helper.to_array(tensor).astype(_NUMPY[self.name])
        return numpy_helper.from_array(values, name)

    def emulated(self) -> onnx.ModelProto:
        made = _copy(self.model)
        del made.graph.node[:]
        rounded: dict[str, str] = {}

        def pair(name: str, into: str) -> Iterator[onnx.NodeProto]:
            between = f"{into}__in_{self.name}"
            yield helper.make_node("Cast", [name], [between], to=self.format)
            yield helper.make_node("Cast", [between], [into], to=_FLOAT)

        nodes: list[onnx.NodeProto] = []
        for node in self.model.graph.node:
            own = onnx.NodeProto()
            own.CopyFrom(node)
            if not self.is_converted(node):
                nodes.append(own)
                continue
            for position, name in enumerate(node.input):
                if name in self.floats:
                    if name not in rounded:
                        rounded[name] = f"{name}__rounded"
                        nodes.extend(pair(name, rounded[name]))
                    own.input[position] = rounded[name]
            exact = [f"{name}__exact" if name else "" for name in node.output]
            del own.output[:]
            own.output.extend(exact)
            nodes.append(own)
            for name, before in zip(node.output, exact, strict=True):
                if name:
                    nodes.extend(pair(before, name))
                    rounded[name] = name
        made.graph.node.extend(nodes)
        drop_listed_inputs(made)
        return made


class _Conversion:
    """The converted graph, node by node, with the casts where formats meet.

    `halves` maps a tensor to its name in the format, once it is there; `hidden` are tensors that
    exist in the format only, since nothing asked for them in FP32 so far.
    """

    def __init__(self, rewriting: _Rewriting) -> None:
        self.rewriting = rewriting
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.halves: dict[str, str] = {}
        self.hidden: set[str] = set()
        self.full: set[str] = set()
        model = rewriting.model
        for node in model.graph.node:
            self._add(node)
        for output in model.graph.output:
            self._in_full(output.name)
        self.made = _copy(model)
        del self.made.graph.node[:]
        del self.made.graph.initializer[:]
        del self.made.graph.value_info[:]
        self.made.graph.node.extend(self.nodes)
        kept = (one for one in model.graph.initializer if self._is_kept(one.name))
        self.made.graph.initializer.extend([*kept, *self.weights])
        drop_listed_inputs(self.made)

    def _add(self, node: onnx.NodeProto) -> None:
        own = onnx.NodeProto()
        own.CopyFrom(node)
        if not self.rewriting.is_converted(node):
            for name in names_read(node):
                self._in_full(name)
            self.nodes.append(own)
            return
        for position, name in enumerate(node.input):
            if name in self.rewriting.floats:
                own.input[position] = self._in_half(name)
        for position, name in enumerate(node.output):
            if name:
                self.halves[name] = own.output[position] = self._half_name(name)
                self.hidden.add(name)
        self.nodes.append(own)

    def _in_full(self, name: str) -> None:
        self.full.add(name)
        if name in self.hidden:
            self.hidden.discard(name)
            self.nodes.append(helper.make_node("Cast", [self.halves[name]], [name], to=_FLOAT))

    def _in_half(self, name: str) -> str:
        if name not in self.halves:
            half = self.halves[name] = self._half_name(name)
            if name in self.rewriting.weights:
                self.weights.append(self.rewriting.rounded(self.rewriting.weights[name], half))
            else:
                to = self.rewriting.format
                self.nodes.append(helper.make_node("Cast", [name], [half], to=to))
        return self.halves[name]

    def _half_name(self, name: str) -> str:
        return f"{name}__{self.rewriting.name}"

    def _is_kept(self, name: str) -> bool:
        """Whether a weight is still read in the format that it came in."""
        own = self.rewriting.weights
        return name not in own or name in self.full or name not in self.halves


def float_names(model: onnx.ModelProto) -> set[str]:
    """Tensors of the outer graph that are known to be FP32."""
    return {name for name, kind in element_types(model).items() if kind == _FLOAT}


def element_types(model: onnx.ModelProto) -> dict[str, int]:
    """Tensors of the outer graph whose element type is known. What is not known is not touched.

    Where ONNX's inference stops (it knows no operator of com.microsoft), the operators that we
    convert give what they are given.
    """
    graph = inferred(model)
    values = (*graph.input, *graph.output, *graph.value_info)
    known = {one.name: one.type.tensor_type.elem_type for one in values}
    known |= {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    for node in graph.node:
        data = node.input[_DATA.get(node.op_type, 0)] if node.input else ""
        if node.op_type in _HALF and known.get(data):
            whole = node.op_type in ("Split", "SkipLayerNormalization")
            for output in node.output if whole else node.output[:1]:
                if not known.get(output):
                    known[output] = known[data]
    return {name: kind for name, kind in known.items() if kind and name}


def names_read(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a node reads, those that its subgraphs take from outside included."""
    yield from node.input
    for attribute in node.attribute:
        graphs = [*attribute.graphs, *([attribute.g] if attribute.HasField("g") else [])]
        for graph in graphs:
            for inner in graph.node:
                yield from names_read(inner)
            yield from (output.name for output in graph.output)


def _values(tensor: onnx.TensorProto) -> NDArray[np.float32] | None:
    if tensor.data_type != _FLOAT:
        return None
    values: NDArray[np.float32] = numpy_helper.to_array(tensor)
    return values


def drop_listed_inputs(model: onnx.ModelProto) -> None:
    """Weights that are also listed as inputs (IR version 3 demanded it) are not listed any more."""
    given = {tensor.name for tensor in model.graph.initializer}
    made = {name for node in model.graph.node for name in node.output}
    inputs = [one for one in model.graph.input if one.name not in given and one.name not in made]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    model.ir_version = max(model.ir_version, 4)


def _copy(model: onnx.ModelProto) -> onnx.ModelProto:
    made = onnx.ModelProto()
    made.CopyFrom(model)
    return made
