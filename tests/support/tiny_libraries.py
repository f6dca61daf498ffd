"""Makes small ELF files with a dynamic section, symbol versions and device code."""

from __future__ import annotations

import struct

PTX, MACHINE_CODE = 1, 2
EXACT, FAMILY = 0x100000, 0x200000


def fat_entry(architecture: int, payload: bytes, *, kind: int = MACHINE_CODE, flags: int = 0):
    header = bytearray(64)
    struct.pack_into("<HHIQ", header, 0, kind, 0x101, 64, len(payload))
    struct.pack_into("<I", header, 28, architecture)
    struct.pack_into("<Q", header, 40, 0x11 | flags)
    return bytes(header) + payload


def fat_binary(*containers: list[bytes]) -> bytes:
    """Containers of entries, with padding between them as nvcc leaves it."""
    out = b""
    for entries in containers:
        body = b"".join(entries)
        out += struct.pack("<IHHQ", 0xBA55ED50, 1, 16, len(body)) + body + bytes(8)
    return out


def library(
    *,
    needed: tuple[str, ...] = (),
    search: str | None = None,
    glibc: tuple[str, ...] = (),
    machine: int = 62,
    device_code: bytes = b"",
) -> bytes:
    """An ELF file whose one segment is the whole file, loaded at address 0."""
    strings = bytearray(b"\0")

    def text(value: str) -> int:
        strings.extend(value.encode() + b"\0")
        return len(strings) - 1 - len(value.encode())

    names = [text(name) for name in needed]
    path = text(search) if search is not None else None
    versions = [text(name) for name in glibc]
    file = text("libc.so.6")
    verneed = b""
    if versions:
        verneed = struct.pack("<HHIII", 1, len(versions), file, 16, 0)
        for number, name in enumerate(versions):
            step = 16 if number + 1 < len(versions) else 0
            verneed += struct.pack("<IHHII", 0, 0, 2 + number, name, step)
    start = 64 + 2 * 56
    strings_at = start
    verneed_at = strings_at + len(strings)
    dynamic_at = verneed_at + len(verneed)
    dynamic = [(1, name) for name in names] + [(5, strings_at)]
    dynamic += [(29, path)] if path is not None else []
    dynamic += [(0x6FFFFFFE, verneed_at), (0x6FFFFFFF, 1)] if versions else []
    packed = b"".join(struct.pack("<QQ", *entry) for entry in [*dynamic, (0, 0)])
    device_at = dynamic_at + len(packed)
    section_names = b"\0.nv_fatbin\0.shstrtab\0"
    names_at = device_at + len(device_code)
    sections_at = names_at + len(section_names)
    end = sections_at + 3 * 64
    ident = b"\x7fELF" + bytes([2, 1, 1]) + bytes(9)
    header = ident + struct.pack(
        "<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, sections_at, 0, 64, 56, 2, 64, 3, 2
    )
    load = struct.pack("<IIQQQQQQ", 1, 5, 0, 0, 0, end, end, 4096)
    dyn = struct.pack(
        "<IIQQQQQQ", 2, 6, dynamic_at, dynamic_at, dynamic_at, len(packed), len(packed), 8
    )
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, device_at, len(device_code), 0, 0, 8, 0)
    sections += struct.pack("<IIQQQQIIQQ", 12, 3, 0, 0, names_at, len(section_names), 0, 0, 1, 0)
    return (
        header + load + dyn + bytes(strings) + verneed + packed + device_code + section_names
    ) + sections
