"""One tensor between its two wire forms and a numpy array.

JSON: row-major numbers, flat or nested as the shape says. Binary: little-endian, row-major, without
padding; BOOL is one byte, an element of BYTES is its length as uint32 and then its bytes (Open
Inference Protocol, "Tensor Data"; Triton, "Binary Tensor Data Extension").

Numbers never pass through a Python loop: types, lengths and ranges of JSON data are checked with
`set(map(…))`, `min` and `max`, and the arrays are made in one step. Nothing is converted silently:
no float to integer, no text to number, no truth value to either.
"""

from __future__ import annotations

import math
import struct
from itertools import chain
from typing import Any

import numpy as np

from .datatypes import BOOL, BYTES, DATATYPES, Array, Datatype
from .errors import RequestError, quoted
from .exchange import dump

_LENGTH = struct.Struct("<I")
_MOST_PACKED = 1 << 12
_JSON_TYPES: dict[str, set[type]] = {
    "b": {bool},
    "u": {int},
    "i": {int},
    "f": {int, float},
    "O": {str},
}
_LARGEST = {
    known.name: float(np.finfo(known.dtype).max)
    for known in DATATYPES.values()
    if known.dtype.kind == "f"
}
_JSON_NAMES = {"b": "true or false", "u": "whole numbers", "i": "whole numbers", "f": "numbers"}


def bad(message: str) -> RequestError:
    """The error for a request that cannot be understood."""
    return RequestError(400, message)


def from_json(name: str, datatype: Datatype, shape: tuple[int, ...], data: Any) -> Array:
    """The array that JSON `data` stands for; raises RequestError (400) when it is not one."""
    if not datatype.json:
        raise bad(f"{_input(name)}: {datatype.name} has no JSON form; send it as binary data")
    kind = datatype.dtype.kind
    flat, types = _flattened(name, shape, data)
    if not types <= _JSON_TYPES[kind]:
        raise bad(
            f"{_input(name)}: data of {datatype.name} must be {_JSON_NAMES.get(kind, 'text')}"
        )
    if kind == "O":
        return _texts_from_json(name, flat).reshape(shape)
    if kind in "iu" and flat:
        _check_range(name, datatype, min(flat), max(flat))
    return _numbers(name, datatype, flat).reshape(shape)


def json_text(name: str, datatype: Datatype, array: Array) -> bytes:
    """A flat, row-major list as JSON; raises RequestError (400) for what JSON cannot say."""
    if not datatype.json:
        raise bad(
            f"output {name!r} is {datatype.name}, which has no JSON form; ask for binary data"
            ' with "parameters": {"binary_data": true}'
        )
    flat = array.ravel()
    text = dump(flat.tolist() if datatype is BYTES else flat)
    # NaN and infinity come out as null, and no number has an n.
    if flat.dtype.kind == "f" and b"n" in text:
        raise bad(
            f"output {name!r} holds NaN or infinity, which JSON cannot say; ask for binary data"
            ' with "parameters": {"binary_data": true}'
        )
    return text


def from_binary(name: str, datatype: Datatype, shape: tuple[int, ...], data: memoryview) -> Array:
    """The array that binary `data` holds, never written to; no copy where the bytes lie aligned.

    Raises RequestError (400) when the size is not what datatype and shape ask for.
    """
    count = math.prod(shape)
    if datatype is BYTES:
        return _texts_from_binary(name, count, data).reshape(shape)
    if len(data) != count * datatype.itemsize:
        raise bad(
            f"{_input(name)}: {datatype.name}{list(shape)} takes {count * datatype.itemsize} bytes,"
            f" got {len(data)}"
        )
    if datatype is BOOL and count and np.frombuffer(data, np.uint8).max() > 1:
        raise bad(f"{_input(name)}: a byte of BOOL must be 0 or 1")
    array = np.frombuffer(data, datatype.dtype)
    if not array.flags.aligned:
        # Copied as bytes, which are aligned: numpy would copy element by element.
        array = np.frombuffer(bytes(data), datatype.dtype)
    return array.reshape(shape)


def to_binary(datatype: Datatype, array: Array) -> bytes:
    """The binary form of an array, row-major."""
    if datatype is BYTES:
        encoded = [text.encode() for text in array.reshape(-1).tolist()]
        return b"".join(chain.from_iterable((_LENGTH.pack(len(raw)), raw) for raw in encoded))
    return array.tobytes()


def from_raw_text(name: str, rank: int, data: memoryview) -> Array:
    """A raw binary request for BYTES: the whole body is the one element, without a length."""
    return _texts([_text(name, data)]).reshape((1,) * rank)


def _flattened(name: str, shape: tuple[int, ...], data: Any) -> tuple[list[Any], set[type]]:
    """The elements of a flat list, or of one nested exactly as `shape` says, and their types."""
    if type(data) is not list:
        raise bad(f"{_input(name)}: data must be a list")
    count = math.prod(shape)
    types = set(map(type, data))
    if len(data) == count and list not in types:
        return data, types
    level: list[Any] = [data]
    for size in shape:
        if set(map(type, level)) - {list} or set(map(len, level)) - {size}:
            raise bad(f"{_input(name)}: data is neither flat nor nested as shape {list(shape)}")
        level = list(chain.from_iterable(level))
    types = set(map(type, level))
    if not shape or len(level) != count or list in types:
        raise bad(f"{_input(name)}: data must have {count} elements, as shape {list(shape)} says")
    return level, types


def _check_range(name: str, datatype: Datatype, least: int, most: int) -> None:
    limits = np.iinfo(datatype.dtype)
    if least < limits.min or most > limits.max:
        raise bad(
            f"{_input(name)}: {datatype.name} holds {limits.min} to {limits.max},"
            f" got {quoted(str(least if least < limits.min else most), 24)}"
        )


def _numbers(name: str, datatype: Datatype, flat: list[Any]) -> Array:
    if datatype.dtype.kind != "f":
        return np.array(flat, dtype=datatype.dtype)
    most = _LARGEST[datatype.name]
    try:
        wide = _doubles(flat)
        if wide.size and -most <= wide.min() and wide.max() <= most:
            return wide.astype(datatype.dtype, copy=False)
        with np.errstate(over="raise"):
            array: Array = wide.astype(datatype.dtype)
    except (OverflowError, FloatingPointError, struct.error):
        array = np.array([math.inf])
    if not np.isfinite(array).all():
        raise bad(f"{_input(name)}: a number is too large for {datatype.name}")
    return array


def _doubles(flat: list[Any]) -> Array:
    """FP64 of numbers; a third of the time that numpy takes, which asks each what it is."""
    if len(flat) > _MOST_PACKED:
        return np.array(flat, dtype=np.float64)
    return np.frombuffer(struct.pack(f"<{len(flat)}d", *flat), np.dtype("<f8"))


def _texts_from_json(name: str, flat: list[str]) -> Array:
    try:
        "".join(flat).encode()
    except UnicodeEncodeError as error:
        raise bad(f"{_input(name)}: text holds a lone surrogate, which is no character") from error
    return _texts(flat)


def _texts_from_binary(name: str, count: int, data: memoryview) -> Array:
    # Each element takes at least its length field, so a huge shape cannot make us allocate.
    if count * _LENGTH.size > len(data):
        raise bad(f"{_input(name)}: {len(data)} bytes are too few for {count} elements of BYTES")
    texts, position = [], 0
    for _ in range(count):
        if position + _LENGTH.size > len(data):
            raise bad(f"{_input(name)}: binary data ends within the length of an element")
        (length,) = _LENGTH.unpack_from(data, position)
        position += _LENGTH.size
        if position + length > len(data):
            raise bad(f"{_input(name)}: an element of BYTES is longer than the binary data")
        texts.append(_text(name, data[position : position + length]))
        position += length
    if position != len(data):
        raise bad(f"{_input(name)}: {len(data) - position} bytes follow the last element of BYTES")
    return _texts(texts)


def _text(name: str, data: memoryview) -> str:
    try:
        return str(data, "utf-8")
    except UnicodeDecodeError as error:
        raise bad(f"{_input(name)}: BYTES must be UTF-8, as ONNX strings are") from error


def _texts(values: list[str]) -> Array:
    # Not np.array(values): that would make fixed-width cells as wide as the longest text.
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _input(name: str) -> str:
    return f"input {quoted(name)}"
