"""Device code in a shared library: for which GPUs it is there, and what a given GPU never reads.

nvcc puts code for several GPUs side by side into section `.nv_fatbin`, a row of containers, one for
each source file. A container holds entries: machine code for one compute capability, or PTX that
the driver compiles when it has nothing better. The format is not documented; field by field it was
read from wheels of ORT 1.26 and 1.28, CUDA 12.9 and 13.5, and the two flags were compared with the
machine code's own header (`sm_90a`) and the PTX's `.target` line (`sm_120f`).

Which entry a GPU takes (CUDA C++ Programming Guide, "Application Compatibility"): machine code of
the same major version and the highest minor version not above its own; not across the border of
NVIDIA's embedded chips; else PTX of any lower version. Code with the suffix `a` runs on exactly its
own capability and `f` within its family.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packager.assemble.elf import Bytes, sections
from packager.errors import LockError

SECTION = ".nv_fatbin"
_MAGIC = 0xBA55ED50
_PTX, _MACHINE_CODE = 1, 2
_EXACT, _FAMILY = 0x100000, 0x200000
_EMBEDDED = frozenset({53, 62, 72, 87, 101, 110})  # Jetson and Drive: never interchangeable


@dataclass(frozen=True, slots=True, order=True)
class Code:
    """Code for one target. `architecture` is 89 for compute capability 8.9; `suffix` '', a or f."""

    architecture: int
    suffix: str
    ptx: bool

    def __str__(self) -> str:
        return f"{'PTX ' if self.ptx else ''}sm_{self.architecture}{self.suffix}"

    def runs_on(self, capability: int) -> bool:
        """Whether a GPU of that capability can use it."""
        if self.architecture == capability:
            return True
        if self.suffix == "a" or self.architecture > capability:
            return False
        if self.ptx and not self.suffix:
            return True
        if {self.architecture, capability} & _EMBEDDED:
            return False
        return self.architecture // 10 == capability // 10


@dataclass(frozen=True, slots=True)
class FatEntry:
    """An entry of a container; its payload stands at `offset`, `size` bytes long."""

    code: Code
    offset: int
    size: int


def read_fat_binary(data: Bytes, where: str) -> tuple[tuple[FatEntry, ...], ...]:
    """The containers of an ELF file, empty when it has no device code. Raises LockError."""
    try:
        return tuple(
            container
            for section in sections(data, where)
            if section.name == SECTION
            for container in _containers(data, section.offset, section.offset + section.size)
        )
    except (struct.error, ValueError, OverflowError) as error:
        raise LockError(
            "the device code of a library cannot be read",
            where=where,
            got=str(error)[:200],
            next_step="build without slimming, and report it: the format may have changed",
        ) from error


def capability_number(text: str) -> int:
    """`8.9` as 89. Raises ValueError for anything else."""
    major, _, minor = text.partition(".")
    if not (major.isdecimal() and len(minor) == 1 and minor.isdecimal()):
        raise ValueError(f"not a compute capability: {text!r}")
    return int(major) * 10 + int(minor)


def taken(container: Iterable[FatEntry], capability: int) -> frozenset[Code]:
    """What a GPU of that capability may take from a container: its best machine code, else PTX.

    Among entries of one version the plain and the suffixed ones are all kept: which of them a
    driver prefers is its own affair.
    """
    usable = {entry.code for entry in container if entry.code.runs_on(capability)}
    machine = {code for code in usable if not code.ptx}
    best = max((code.architecture for code in machine or usable), default=0)
    return frozenset(code for code in machine or usable if code.architecture == best)


def unused(containers: Iterable[tuple[FatEntry, ...]], capability: int) -> Iterator[FatEntry]:
    """The entries that a GPU of that capability never reads, in the order of the file."""
    for container in containers:
        kept = taken(container, capability)
        yield from (entry for entry in container if entry.code not in kept)


def _containers(data: Bytes, position: int, end: int) -> Iterator[tuple[FatEntry, ...]]:
    while position + 16 <= end:
        magic, _version, header, payload = struct.unpack_from("<IHHQ", data, position)
        if magic == 0:  # padding between containers
            position += 8
            continue
        if magic != _MAGIC or header < 16 or position + header + payload > end:
            raise ValueError(f"no container at byte {position}")
        yield tuple(_entries(data, position + header, position + header + payload))
        position += header + payload


def _entries(data: Bytes, position: int, end: int) -> Iterator[FatEntry]:
    while position + 64 <= end:
        kind, _attributes, header, payload = struct.unpack_from("<HHIQ", data, position)
        (architecture,) = struct.unpack_from("<I", data, position + 28)
        (flags,) = struct.unpack_from("<Q", data, position + 40)
        if kind not in (_PTX, _MACHINE_CODE) or header < 64 or position + header + payload > end:
            raise ValueError(f"no entry at byte {position}")
        suffix = "a" if flags & _EXACT else "f" if flags & _FAMILY else ""
        yield FatEntry(Code(architecture, suffix, kind == _PTX), position + header, payload)
        position += header + payload
