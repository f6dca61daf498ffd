"""Tables of embeddings too large to be copied: a stand-in goes through the passes, and the table
itself is streamed, block by block, into the form that the pass gave its stand-in.

Quantizers hold several float copies of what they work on. Of a table that is only looked up
(`Gather` along its rows) they need to know the largest and the smallest value and nothing else, and
two rows have those. So a candidate of a model of gigabytes is made with the memory of its other
weights, and with the same bytes as without (`test_a_streamed_table_is_what_the_pass_would_make`).
Runs in worker processes only; `has_tables` anywhere.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, numpy_helper

from packager.optimize.engine import quantization
from packager.optimize.half_precision import names_read

LARGE = 256 << 20
"""Bytes from which on a table is set aside."""
STREAMING = frozenset(("store_half", "quantize_dynamic", "block_weights"))
"""Passes that treat a table of two rows as they would treat the whole."""
BLOCK_BYTES = 32 << 20
_ALIGNED = 4096
_EIGHT_BITS = (TensorProto.INT8, TensorProto.UINT8)
_FORMS = {"": (TensorProto.FLOAT,), "__stored": (TensorProto.FLOAT16,), "_quantized": _EIGHT_BITS}
"""What passes append to a name, and the element types that they give."""

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Table:
    """A float table [rows, width] in a file beside the graph."""

    name: str
    file: Path
    offset: int
    rows: int
    width: int

    def blocks(self) -> Iterator[Array]:
        """The rows, some at a time; each block is gone when the next one comes."""
        count = max(1, BLOCK_BYTES // (4 * self.width))
        with self.file.open("rb") as file:
            file.seek(self.offset)
            for start in range(0, self.rows, count):
                size = min(count, self.rows - start) * self.width
                block = np.fromfile(file, "<f4", size)
                if block.size < size:
                    raise ValueError(f"the external data of tensor {self.name!r} is cut short")
                yield block.reshape(-1, self.width)

    def extremes(self) -> Array:
        """The largest value of each column, and the smallest, in as many rows as give weights that
        no pass finds too small to bother."""
        pair = np.stack([np.full(self.width, sign * np.inf, np.float32) for sign in (-1, 1)])
        for block in self.blocks():
            np.maximum(pair[0], block.max(axis=0), out=pair[0])
            np.minimum(pair[1], block.min(axis=0), out=pair[1])
        return np.tile(pair, (-(-1024 // pair.nbytes), 1))


def has_tables(proto: onnx.ModelProto, folder: Path, large: int = LARGE) -> bool:
    """Whether a table of the model, read without external data, can be set aside."""
    return bool(_tables(proto, folder, large))


class Aside:
    """The tables of `source`, and the file `small` that stands for it while passes work on it."""

    def __init__(self, source: Path, small: Path, large: int = LARGE) -> None:
        proto = onnx.load(source, load_external_data=False)
        self.tables = _tables(proto, source.parent, large)
        self.rows: dict[str, int] = {}
        for tensor in proto.graph.initializer:
            if table := self.tables.get(tensor.name):
                tensor.CopyFrom(numpy_helper.from_array(table.extremes(), tensor.name))
                self.rows[table.name] = int(tensor.dims[0])
        external_data_helper.load_external_data_for_model(proto, str(source.parent))
        small.parent.mkdir(parents=True, exist_ok=True)
        data = f"{small.name}.data"
        onnx.save_model(proto, small, save_as_external_data=True, location=data)

    def put_back(self, target: Path) -> None:
        """The whole tables in place of their stand-ins, in the model that the passes made.

        Raises ValueError where a pass made something else of one.
        """
        proto = onnx.load(target, load_external_data=False)
        known = {tensor.name: tensor for tensor in proto.graph.initializer}
        found = {
            f"{name}{suffix}": (table, kinds)
            for name, table in self.tables.items()
            for suffix, kinds in _FORMS.items()
            if f"{name}{suffix}" in known
        }
        if {table.name for table, _ in found.values()} != set(self.tables):
            raise ValueError("a pass left nothing of a table that it was given")
        data = target.with_name(f"{target.name}.data")
        with data.open("r+b" if data.exists() else "wb") as file:
            for name, (table, kinds) in found.items():
                tensor = known[name]
                form = [self.rows[table.name], table.width]
                if tensor.data_type not in kinds or list(tensor.dims) != form:
                    raise ValueError(
                        f"a pass made something unforeseen of the table {table.name!r}"
                    )
                change = _changes(tensor.data_type, table.name, known, target.parent)
                _append(file, tensor, data.name, table, change)
        for value in proto.graph.value_info:
            if value.name in found:
                value.type.tensor_type.shape.dim[0].dim_value = found[value.name][0].rows
        target.write_bytes(proto.SerializeToString(deterministic=True))


def make_aside(
    source: Path, target: Path, passes: Callable[[Path], None], large: int = LARGE
) -> None:
    """Let `passes`, which make `target` of the file that they are given, work on stand-ins."""
    room = target.parent / "stand-in"
    aside = Aside(source, room / source.name, large)
    passes(room / source.name)
    shutil.rmtree(room)
    aside.put_back(target)


def _tables(proto: onnx.ModelProto, folder: Path, large: int) -> dict[str, Table]:
    candidates = {
        tensor.name: tensor
        for tensor in proto.graph.initializer
        if tensor.data_location == TensorProto.EXTERNAL
        and tensor.data_type == TensorProto.FLOAT
        and len(tensor.dims) == 2
        and 4 * tensor.dims[0] * tensor.dims[1] >= large
    }
    listed = {value.name for value in (*proto.graph.input, *proto.graph.output)}
    for name in _otherwise_read(proto.graph.node) | listed:
        candidates.pop(name, None)
    tables = {}
    for name, tensor in candidates.items():
        entries = {entry.key: entry.value for entry in tensor.external_data}
        rows, width = map(int, tensor.dims)
        offset = int(entries.get("offset", 0))
        tables[name] = Table(name, folder / entries["location"], offset, rows, width)
    return tables


def _otherwise_read(nodes: Collection[onnx.NodeProto]) -> set[str]:
    """What is read by anything but a look-up of rows in the outer graph."""
    read: set[str] = set()
    for node in nodes:
        axis = next((one.i for one in node.attribute if one.name == "axis"), 0)
        looks_up = node.op_type == "Gather" and not node.domain and not axis
        read.update(list(names_read(node))[1 if looks_up else 0 :])
    return read


def _changes(
    kind: int, name: str, known: dict[str, onnx.TensorProto], folder: Path
) -> Callable[[Array], Array]:
    if kind == TensorProto.FLOAT:
        return lambda block: block
    if kind == TensorProto.FLOAT16:
        return lambda block: block.astype(np.float16)
    scale, zero = (
        numpy_helper.to_array(known[f"{name}{suffix}"], str(folder))
        for suffix in ("_scale", "_zero_point")
    )
    if scale.size != 1:
        raise ValueError(f"the table {name!r} has a scale for each row or column")
    quantization()
    tools = import_module("onnxruntime.quantization.quant_utils")

    def quantized(block: Array) -> Array:
        made: Array = tools.quantize_nparray(kind, block, scale.reshape(()), zero.reshape(()))
        return made

    return quantized


def _append(file: BinaryIO, tensor: onnx.TensorProto, name: str, table: Table, change: Any) -> None:
    """Write the table behind what the file holds, and have `tensor` say where it is."""
    end = file.seek(0, 2)
    offset = -(-end // _ALIGNED) * _ALIGNED
    file.write(b"\0" * (offset - end))
    for block in table.blocks():
        file.write(np.ascontiguousarray(change(block)).data)
    whole = onnx.TensorProto(
        name=tensor.name, data_type=tensor.data_type, dims=[table.rows, table.width]
    )
    whole.data_location = TensorProto.EXTERNAL
    length = file.tell() - offset
    for key, value in (("location", name), ("offset", offset), ("length", length)):
        whole.external_data.add(key=key, value=str(value))
    tensor.CopyFrom(whole)
