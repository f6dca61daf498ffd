"""Datatypes of the Open Inference Protocol v2 ("Tensor Data Types") as numpy writes them.

Little-endian, as the binary tensor extension sends them. BYTES has no fixed size and BF16 no type
of numpy's own, so neither stands here. The runtime, an island, has a table of its own.
"""

from __future__ import annotations

NUMPY_CODES = {
    "BOOL": "?",
    "UINT8": "u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "INT8": "i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
}
