"""A page as a browser paints it, coarse enough that fonts do not matter, fine enough for layout.

A screenshot at half its size is averaged over blocks of pixels to a small grey picture,
kept as a plain PGM file that any viewer opens.
"""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

SCALE = 0.5
BLOCK = 10
Grey = NDArray[np.float64]


def blocks(png: bytes) -> Grey:
    """The mean brightness (0 to 255) of every 10 × 10 pixels of an 8-bit RGB or RGBA picture."""
    pixels = _decode(png)[..., :3].mean(axis=2)
    height, width = (size // BLOCK * BLOCK for size in pixels.shape)
    cut = pixels[:height, :width]
    return np.rint(cut.reshape(height // BLOCK, BLOCK, width // BLOCK, BLOCK).mean(axis=(1, 3)))


def write_grey(file: Path, picture: Grey) -> None:
    """As PGM in plain text, one row a line."""
    rows = "\n".join(" ".join(str(int(value)) for value in row) for row in picture)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"P2\n{picture.shape[1]} {picture.shape[0]}\n255\n{rows}\n")


def read_grey(file: Path) -> Grey:
    _, width, height, _, *values = file.read_text().split()
    return np.array(values, dtype=np.float64).reshape(int(height), int(width))


def _decode(png: bytes) -> NDArray[np.uint8]:
    """Height × width × channels of a PNG without interlacing (ISO/IEC 15948)."""
    if png[:8] != b"\x89PNG\r\n\x1a\n":
        raise ValueError("no PNG")
    position, packed, width, height, channels = 8, b"", 0, 0, 0
    while position < len(png):
        (size,) = struct.unpack_from(">I", png, position)
        kind, data = png[position + 4 : position + 8], png[position + 8 : position + 8 + size]
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", data)
            if depth != 8 or colour not in (2, 6) or interlaced:
                raise ValueError("no 8-bit RGB or RGBA picture without interlacing")
            channels = 3 if colour == 2 else 4
        elif kind == b"IDAT":
            packed += data
        position += size + 12
    raw = np.frombuffer(zlib.decompress(packed), np.uint8).reshape(height, width * channels + 1)
    rows = np.zeros((height + 1, width + 1, channels), np.int64)
    for number, line in enumerate(raw, start=1):
        _unfilter(int(line[0]), line[1:].reshape(width, channels), rows, number)
    return rows[1:, 1:].astype(np.uint8)


def _unfilter(kind: int, line: NDArray[np.uint8], rows: NDArray[np.int64], number: int) -> None:
    """One line, back to its pixels: none, sub, up, average or Paeth."""
    above, row = rows[number - 1], rows[number]
    if kind == 0:
        row[1:] = line
    elif kind == 1:
        row[1:] = np.cumsum(line.astype(np.int64), axis=0) % 256
    elif kind == 2:
        row[1:] = (line + above[1:]) % 256
    else:
        for x in range(1, len(row)):
            left, up, corner = row[x - 1], above[x], above[x - 1]
            guess = (left + up) // 2 if kind == 3 else _paeth(left, up, corner)
            row[x] = (line[x - 1] + guess) % 256


def _paeth(
    left: NDArray[np.int64], up: NDArray[np.int64], corner: NDArray[np.int64]
) -> NDArray[np.int64]:
    guess = left + up - corner
    near = np.abs(np.stack([guess - left, guess - up, guess - corner]))
    return np.where(
        (near[0] <= near[1]) & (near[0] <= near[2]), left, np.where(near[1] <= near[2], up, corner)
    )
