"""Plain arrays out of an .npz, as `packager` writes it: a zip whose members are not compressed.

numpy reads the same by way of `zipfile`, which takes longer to load than a small model does; what
this does not know is given to numpy.
"""

from __future__ import annotations

import io
import math
import re
import struct
from typing import Any

import numpy as np

from .datatypes import Array

_SIZE = rb"(?:0|[1-9][0-9]{0,11})"
_SHAPE = rb"(?:%b(?:, %b)+|%b,|)" % (_SIZE, _SIZE, _SIZE)
_HEAD = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"\{'descr': '(?P<dtype>[<|][biuf][1248]|<[SU][1-9][0-9]{0,5})',"
    rb" 'fortran_order': False, 'shape': \((?P<shape>%b)\), \} *\n" % _SHAPE,
    re.DOTALL,
)
_END = struct.Struct("<4s4H2LH")
_ENTRY = struct.Struct("<4s4B4HL2L5H2L")
_LOCAL = struct.Struct("<4s2B4HL2L2H")


def read_npz(data: bytes) -> dict[str, Array]:
    """The arrays by name; never an object, which would be code. Raises ValueError and others of
    numpy's when it is something else."""
    members = _stored(data)
    if members is None:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            return {key: archive[key] for key in archive.files}
    return {name.removesuffix(".npy"): _array(member) for name, member in members.items()}


def _array(member: bytes) -> Array:
    """An array of numbers in C order with a header of version 1.0, as numpy writes it; numpy reads
    the same by way of `ast`, which takes 8 ms to load, and is given all others."""
    head = _HEAD.match(member)
    if head is not None:
        shape = tuple(int(size) for size in head["shape"].replace(b",", b" ").split())
        dtype = np.dtype(head["dtype"].decode())
        begin = 10 + int.from_bytes(head["length"], "little")
        if head.end() == begin and len(member) == begin + dtype.itemsize * math.prod(shape):
            return np.frombuffer(member, dtype, offset=begin).reshape(shape).copy()
    read: Any = np.lib.format.read_array
    array: Array = read(io.BytesIO(member), allow_pickle=False)
    return array


def _stored(data: bytes) -> dict[str, bytes] | None:
    """The members by name; None unless all are stored as they are (APPNOTE.TXT, 4.3)."""
    if len(data) < _END.size:
        return None
    mark, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(
        data, len(data) - _END.size
    )
    if mark != b"PK\5\6" or disk or first_disk or here != count or comment:
        return None
    if offset + size + _END.size != len(data):
        return None
    members: dict[str, bytes] = {}
    for _ in range(count):
        if offset + _ENTRY.size > len(data):
            return None
        entry = _ENTRY.unpack_from(data, offset)
        flags, method, packed, plain = entry[5], entry[6], entry[10], entry[11]
        name_size, more, said, begin = entry[12], entry[13], entry[14], entry[18]
        if entry[0] != b"PK\1\2" or flags & ~0x800 or method or packed != plain:
            return None
        name = data[offset + _ENTRY.size : offset + _ENTRY.size + name_size]
        offset += _ENTRY.size + name_size + more + said
        if begin + _LOCAL.size > len(data) or data[begin : begin + 4] != b"PK\3\4":
            return None
        local = _LOCAL.unpack_from(data, begin)
        begin += _LOCAL.size + local[10] + local[11]
        text = name.decode("utf-8" if flags & 0x800 else "ascii", "replace")
        if begin + plain > len(data) or not text.endswith(".npy") or text in members:
            return None
        members[text] = data[begin : begin + plain]
    return members
