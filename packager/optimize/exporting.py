"""Text encoders of the BERT family from a Hugging Face folder to ONNX, without torch.

Reads `config.json` and `model.safetensors` (header: 8 bytes of length, JSON, then raw tensors) and
writes the graph that the architecture stands for, as exporters write it: embeddings, layers of
attention and feed-forward, and the pooling that `1_Pooling/config.json` asks for. Of any other
architecture it says so; nothing in the folder is executed.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from packager.digest import Digest
from packager.errors import InputError
from packager.optimize.model_package import package_of, packaged_graph
from packager.workspace import replacing

CONFIG, WEIGHTS = "config.json", "model.safetensors"
OPSET = 17
HEADER_AT_MOST = 100 << 20
_TYPES: dict[str, np.dtype[Any]] = {
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
}
Weights = Mapping[str, NDArray[Any]]


def is_exportable(path: Path) -> bool:
    """Whether `path` is a folder with weights in safetensors and without an ONNX model."""
    return path.is_dir() and (path / WEIGHTS).is_file() and not list(path.glob("*.onnx"))


def onnx_source(path: Path, cache: Path) -> Path:
    """`path` itself, or the graph of a model package's variant (`x.ortpackage#variant`), or for an
    exportable folder the ONNX file made from it, kept in `cache`.

    Raises InputError for an architecture or a file that cannot be exported, or a bad package.
    """
    if package := package_of(path):
        return packaged_graph(*package)
    if not is_exportable(path):
        return path
    try:
        files = [path / CONFIG, path / WEIGHTS, path / "1_Pooling" / CONFIG]
        present = [file for file in files if file.is_file()]
        text = Path(__file__).read_bytes()
        key = Digest.of_chunks([text, *(str(Digest.of_file(file)).encode() for file in present)])
        target = cache / "exported" / key.hex / "model.onnx"
        if not target.exists():
            proto = export(path)
            with replacing(target) as scratch:
                scratch.write_bytes(proto.SerializeToString(deterministic=True))
    except OSError as error:
        raise _refusal(path, str(error), "check the folder and its permissions") from error
    return target


def export(folder: Path) -> onnx.ModelProto:
    """The encoder in `folder` as a model: input_ids, attention_mask[, token_type_ids] → output.

    The output is `sentence_embedding` [batch, hidden], of length one, where the folder asks for
    the mean as pooling, else `last_hidden_state` [batch, sequence, hidden].
    """
    config = _config(folder)
    weights = read_safetensors(folder / WEIGHTS)
    pooling = folder / "1_Pooling" / CONFIG
    mean = pooling.is_file() and bool(
        json.loads(pooling.read_text()).get("pooling_mode_mean_tokens")
    )
    try:
        proto = _Encoder(config, weights).model(mean=mean)
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise _refusal(
            folder,
            f"no tensor {error}" if isinstance(error, KeyError) else str(error),
            "export it with torch.onnx.export or optimum",
        ) from error
    digest = Digest.of_file(folder / WEIGHTS)
    helper.set_model_props(proto, {"source.safetensors.sha256": digest.hex})
    return proto


def read_safetensors(file: Path) -> Weights:
    """Name → tensor, mapped from the file. Raises InputError for a damaged or strange file."""
    size = file.stat().st_size
    with file.open("rb") as stream:
        head = stream.read(8)
        length = struct.unpack("<Q", head)[0] if len(head) == 8 else -1
        if not 2 <= length <= min(HEADER_AT_MOST, size - 8):
            raise _refusal(file, "a header that does not fit", "copy the file again")
        try:
            header = json.loads(stream.read(length))
            entries = {name: one for name, one in header.items() if name != "__metadata__"}
            return {name: _tensor(file, 8 + length, one, size) for name, one in entries.items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise _refusal(file, f"{type(error).__name__}: {error}", "copy it again") from error


def _tensor(file: Path, base: int, entry: Mapping[str, Any], size: int) -> NDArray[Any]:
    kind, shape = _TYPES[entry["dtype"]], tuple(int(n) for n in entry["shape"])
    start, stop = (int(n) for n in entry["data_offsets"])
    if min((start, *shape), default=0) < 0 or stop - start != kind.itemsize * math.prod(shape):
        raise ValueError("a tensor whose extent is not that of its shape")
    if base + stop > size:
        raise ValueError("a tensor beyond the end of the file")
    if not math.prod(shape):
        return np.zeros(shape, kind)
    mapped: NDArray[Any] = np.memmap(file, dtype=kind, mode="r", offset=base + start, shape=shape)
    return mapped


def _config(folder: Path) -> Mapping[str, Any]:
    try:
        config = json.loads((folder / CONFIG).read_text())
        kind = config["model_type"]
        plain = config.get("position_embedding_type", "absolute") == "absolute"
        gelu = config.get("hidden_act", "gelu") == "gelu"
    except (ValueError, KeyError, TypeError) as error:
        raise _refusal(folder / CONFIG, f"{type(error).__name__}: {error}", "") from error
    if kind != "bert" or not plain or not gelu:
        raise _refusal(
            folder / CONFIG, f"model_type {kind}", "export it with torch.onnx.export or optimum"
        )
    found: Mapping[str, Any] = config
    return found


def _refusal(where: Path, got: str, next_step: str) -> InputError:
    return InputError(
        "the folder cannot be exported to ONNX here",
        where=str(where),
        expected="a text encoder of the BERT family: config.json and model.safetensors",
        got=got[:200],
        next_step=next_step or "export the model to ONNX first, for instance with optimum",
    )


class _Encoder:
    """The graph, node by node. Names of weights are those of the file."""

    def __init__(self, config: Mapping[str, Any], weights: Weights) -> None:
        self.config = config
        self.prefix = "bert." if "bert.embeddings.word_embeddings.weight" in weights else ""
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.tensors: dict[str, onnx.TensorProto] = {}
        self.hidden = int(config["hidden_size"])
        self.heads = int(config["num_attention_heads"])
        self.epsilon = float(config.get("layer_norm_eps", 1e-12))

    def model(self, *, mean: bool) -> onnx.ModelProto:
        mask = self.add("Cast", "attention_mask", to=TensorProto.FLOAT)
        x = self._embeddings()
        bias = self._mask_bias(mask)
        for layer in range(int(self.config["num_hidden_layers"])):
            x = self._layer(f"encoder.layer.{layer}", x, bias)
        axes: list[str | int] = ["batch", "sequence", self.hidden]
        name = "last_hidden_state"
        if mean:
            x, name, axes = self._mean(x, mask), "sentence_embedding", ["batch", self.hidden]
        self.nodes[-1].output[0] = name
        whole = [
            helper.make_tensor_value_info(one, TensorProto.INT64, ["batch", "sequence"])
            for one in ("input_ids", "attention_mask", "token_type_ids")
        ]
        output = helper.make_tensor_value_info(name, TensorProto.FLOAT, axes)
        graph = helper.make_graph(
            self.nodes, "encoder", whole, [output], list(self.tensors.values())
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=8, producer_name="packager"
        )

    def _embeddings(self) -> str:
        words = self.add("Gather", self.weight("embeddings.word_embeddings.weight"), "input_ids")
        length = self.add("Slice", self.add("Shape", "input_ids"), *self.ints([1], [2]))
        places = self.weight("embeddings.position_embeddings.weight")
        position = self.add("Slice", places, *self.ints([0]), length, *self.ints([0]))
        kinds = self.weight("embeddings.token_type_embeddings.weight")
        kind = self.add("Gather", kinds, "token_type_ids")
        together = self.add("Add", self.add("Add", words, kind), position)
        return self.norm("embeddings.LayerNorm", together)

    def _mask_bias(self, mask: str) -> str:
        """0 where a token is, a large negative number where padding is; FP16 can hold it."""
        wide = self.add("Unsqueeze", mask, *self.ints([1, 2]))
        absent = self.add("Sub", self.number("one", 1.0), wide)
        return self.add("Mul", absent, self.number("masked", -10000.0))

    def _layer(self, name: str, x: str, bias: str) -> str:
        own = f"{name}.attention"
        query = self.split(self.dense(f"{own}.self.query", x), [0, 2, 1, 3])
        key = self.split(self.dense(f"{own}.self.key", x), [0, 2, 3, 1])
        value = self.split(self.dense(f"{own}.self.value", x), [0, 2, 1, 3])
        root = self.number("root", math.sqrt(self.hidden // self.heads))
        scores = self.add("Div", self.add("MatMul", query, key), root)
        shares = self.add("Softmax", self.add("Add", scores, bias), axis=-1)
        mixed = self.add("Transpose", self.add("MatMul", shares, value), perm=[0, 2, 1, 3])
        joined = self.add("Reshape", mixed, *self.ints([0, 0, self.hidden]))
        attended = self.add("Add", self.dense(f"{own}.output.dense", joined), x)
        x = self.norm(f"{own}.output.LayerNorm", attended)
        inner = self.gelu(self.dense(f"{name}.intermediate.dense", x))
        outer = self.add("Add", self.dense(f"{name}.output.dense", inner), x)
        return self.norm(f"{name}.output.LayerNorm", outer)

    def _mean(self, x: str, mask: str) -> str:
        """The mean over the tokens, divided by its length."""
        wide = self.add("Unsqueeze", mask, *self.ints([2]))
        total = self.add("ReduceSum", self.add("Mul", x, wide), *self.ints([1]), keepdims=0)
        count = self.add("ReduceSum", wide, *self.ints([1]), keepdims=0)
        count = self.add("Max", count, self.number("least", 1e-9))
        mean = self.add("Div", total, count)
        length = self.add("ReduceL2", mean, axes=[1], keepdims=1)
        return self.add("Div", mean, self.add("Max", length, self.number("tiny", 1e-12)))

    def dense(self, name: str, x: str) -> str:
        product = self.add("MatMul", x, self.weight(f"{name}.weight", transposed=True))
        return self.add("Add", self.weight(f"{name}.bias"), product)

    def split(self, x: str, order: list[int]) -> str:
        shape = self.ints([0, 0, self.heads, self.hidden // self.heads])
        return self.add("Transpose", self.add("Reshape", x, *shape), perm=order)

    def norm(self, name: str, x: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.add("LayerNormalization", x, scale, bias, axis=-1, epsilon=self.epsilon)

    def gelu(self, x: str) -> str:
        erf = self.add("Erf", self.add("Div", x, self.number("root two", math.sqrt(2))))
        wide = self.add("Mul", x, self.add("Add", erf, self.number("one", 1.0)))
        return self.add("Mul", wide, self.number("half", 0.5))

    def weight(self, name: str, *, transposed: bool = False) -> str:
        if name not in self.tensors:
            values = np.asarray(self.weights[self.prefix + name]).astype(np.float32)
            self._keep(name, values.T if transposed else values)
        return name

    def number(self, name: str, value: float) -> str:
        return self._keep(name, np.float32(value))

    def ints(self, *lists: list[int]) -> list[str]:
        return [self._keep(f"ints {values}", np.array(values, np.int64)) for values in lists]

    def add(self, operator: str, *inputs: str, **attributes: Any) -> str:
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def _keep(self, name: str, values: Any) -> str:
        if name not in self.tensors:
            self.tensors[name] = numpy_helper.from_array(np.array(values, order="C"), name)
        return name
