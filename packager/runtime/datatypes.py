"""The Open Inference Protocol's datatypes, in numpy's and in ONNX Runtime's words.

Source: Open Inference Protocol, "Tensor Data Types"; BF16 from Triton's binary tensor extension.
BF16 has no numpy type and travels here as the `uint16` that holds its bits; BYTES is text as
Python's `str` in arrays of objects, because ONNX strings are UTF-8 (onnx.proto, `string_data`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray[Any, np.dtype[Any]]


class Datatype(NamedTuple):
    """One datatype. `onnx` is ONNX Runtime's name; `json` says whether JSON can carry it.

    `dtype` is the array's numpy type, little-endian; an element of BYTES has no fixed size.
    """

    name: str
    onnx: str
    dtype: np.dtype[Any]
    json: bool = True

    @property
    def itemsize(self) -> int:
        """Bytes of one element in the binary form; raises ValueError for BYTES."""
        if self is BYTES:
            raise ValueError("an element of BYTES has no fixed size")
        return int(self.dtype.itemsize)


BOOL = Datatype("BOOL", "tensor(bool)", np.dtype(np.bool_))
FP16 = Datatype("FP16", "tensor(float16)", np.dtype("<f2"), json=False)
BF16 = Datatype("BF16", "tensor(bfloat16)", np.dtype("<u2"), json=False)
BYTES = Datatype("BYTES", "tensor(string)", np.dtype(object))

DATATYPES = {
    datatype.name: datatype
    for datatype in (
        BOOL,
        Datatype("UINT8", "tensor(uint8)", np.dtype("<u1")),
        Datatype("UINT16", "tensor(uint16)", np.dtype("<u2")),
        Datatype("UINT32", "tensor(uint32)", np.dtype("<u4")),
        Datatype("UINT64", "tensor(uint64)", np.dtype("<u8")),
        Datatype("INT8", "tensor(int8)", np.dtype("<i1")),
        Datatype("INT16", "tensor(int16)", np.dtype("<i2")),
        Datatype("INT32", "tensor(int32)", np.dtype("<i4")),
        Datatype("INT64", "tensor(int64)", np.dtype("<i8")),
        FP16,
        Datatype("FP32", "tensor(float)", np.dtype("<f4")),
        Datatype("FP64", "tensor(double)", np.dtype("<f8")),
        BF16,
        BYTES,
    )
}
BY_ONNX = {datatype.onnx: datatype for datatype in DATATYPES.values()}


class TensorSpec(NamedTuple):
    """A declared input or output; `shape` has a size for each dimension, -1 where it is free."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.datatype.name}{list(self.shape)}"

    def as_dict(self) -> dict[str, object]:
        """The form of the protocol's model metadata."""
        return {"name": self.name, "datatype": self.datatype.name, "shape": list(self.shape)}
