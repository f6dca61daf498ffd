"""Reads what a shared library asks for, from its ELF file alone (System V gABI, "Object Files").

64-bit little-endian files, which is what both architectures of ours have. Offsets come from a file
that nobody vouches for: whatever leads out of it is told as malformed, and nothing is executed.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from mmap import mmap

from packager.errors import LockError

Bytes = bytes | mmap
MAGIC = b"\x7fELF"
MACHINES = {62: "amd64", 183: "arm64"}
_LOAD, _DYNAMIC = 1, 2
_NEEDED, _STRTAB, _SONAME, _RPATH, _RUNPATH = 1, 5, 14, 15, 29
_VERNEED, _VERNEEDNUM = 0x6FFFFFFE, 0x6FFFFFFF
_ENTRIES_LIMIT = 1 << 16
_DAMAGE = (struct.error, ValueError, IndexError, OverflowError)
_GLIBC = re.compile(r"GLIBC_(\d+)\.(\d+)(?:\.\d+)?")


@dataclass(frozen=True, slots=True)
class Library:
    """`needed` and `search` (RPATH or RUNPATH) as written; `glibc` is the newest version asked."""

    architecture: str
    needed: tuple[str, ...]
    search: tuple[str, ...]
    glibc: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Section:
    """A section's name and where its bytes stand in the file."""

    name: str
    offset: int
    size: int


def read_library(data: Bytes, where: str) -> Library:
    """The dynamic section of the ELF file `data`. Raises LockError when it is malformed."""
    try:
        return _read(data)
    except _DAMAGE as error:
        raise _malformed(where, str(error)) from error


def sections(data: Bytes, where: str) -> tuple[Section, ...]:
    """The section headers in the order of the file. Raises LockError when they are malformed."""
    try:
        (offset,) = struct.unpack_from("<Q", data, 40)
        size, count, names = struct.unpack_from("<HHH", data, 58)
        headers = [struct.unpack_from("<IIQQQQ", data, offset + n * size) for n in range(count)]
        if not headers:
            return ()
        table = headers[names][4]
        return tuple(
            Section(_text(data, table + name), start, length)
            for name, kind, _flags, _address, start, length in headers
            if kind not in (0, 8)  # SHT_NULL and SHT_NOBITS have no bytes in the file
        )
    except _DAMAGE as error:
        raise _malformed(where, str(error)) from error


def _read(data: Bytes) -> Library:
    if data[:4] != MAGIC or data[4] != 2 or data[5] != 1:
        raise ValueError("not a 64-bit little-endian ELF file")
    (machine,) = struct.unpack_from("<H", data, 18)
    (offset,) = struct.unpack_from("<Q", data, 32)
    size, count = struct.unpack_from("<HH", data, 54)
    loads, dynamic = [], None
    for number in range(count):
        kind, _flags, start, address, _physical, length = struct.unpack_from(
            "<IIQQQQ", data, offset + number * size
        )
        if kind == _LOAD:
            loads.append((address, start, length))
        elif kind == _DYNAMIC:
            dynamic = (start, length)
    entries = _entries(data, *dynamic) if dynamic else []
    tags = dict(entries)
    strings = _place(tags[_STRTAB], loads) if _STRTAB in tags else 0
    search = tags.get(_RUNPATH, tags.get(_RPATH))
    return Library(
        architecture=MACHINES.get(machine, f"machine {machine}"),
        needed=tuple(_text(data, strings + value) for tag, value in entries if tag == _NEEDED),
        search=tuple(part for part in _text(data, strings + search).split(":") if part)
        if search is not None
        else (),
        glibc=_glibc(data, tags, loads, strings),
    )


def _entries(data: Bytes, start: int, length: int) -> list[tuple[int, int]]:
    found = []
    for number in range(min(length // 16, _ENTRIES_LIMIT)):
        tag, value = struct.unpack_from("<QQ", data, start + 16 * number)
        if tag == 0:
            break
        found.append((tag, value))
    return found


def _place(address: int, loads: list[tuple[int, int, int]]) -> int:
    """Where in the file the byte stands that is loaded at `address`."""
    for start, offset, length in loads:
        if start <= address < start + length:
            return offset + address - start
    raise ValueError(f"address {address:#x} is in no segment")


def _glibc(
    data: Bytes, tags: dict[int, int], loads: list[tuple[int, int, int]], strings: int
) -> tuple[int, int] | None:
    """The newest `GLIBC_x.y` among the symbol versions that the file needs (gABI, "verneed")."""
    if _VERNEED not in tags:
        return None
    found = []
    left = _ENTRIES_LIMIT  # counts in a damaged file multiply
    place = _place(tags[_VERNEED], loads)
    for _ in range(min(tags.get(_VERNEEDNUM, 0), _ENTRIES_LIMIT)):
        _version, count, _file, first, following = struct.unpack_from("<HHIII", data, place)
        one = place + first
        left -= count + 1
        if left < 0:
            raise ValueError("more symbol versions than any library has")
        for _ in range(count):
            _hash, _flags, _other, name, step = struct.unpack_from("<IHHII", data, one)
            if match := _GLIBC.fullmatch(_text(data, strings + name)):
                found.append((int(match[1]), int(match[2])))
            one += step
        place += following
    return max(found, default=None)


def _text(data: Bytes, offset: int) -> str:
    end = data.find(b"\0", offset, offset + 4096)
    if offset < 0 or end < 0:
        raise ValueError(f"no text at byte {offset}")
    return data[offset:end].decode("utf-8", "replace")


def _malformed(where: str, got: str) -> LockError:
    return LockError("a shared library is malformed", where=where, got=got[:200])
