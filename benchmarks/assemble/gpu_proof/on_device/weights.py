"""Weights that need not be carried: a function of name and position, equal on every machine."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

ALIGNMENT = 4096


def values(name: str, shape: tuple[int, ...], scale: float, dtype: str) -> np.ndarray:
    """Uniform in [-scale, scale): integers mixed by splitmix64, so no generator can differ."""
    count = int(np.prod(shape, dtype=np.int64))
    mixed = np.arange(count, dtype=np.uint64) + np.uint64(zlib.crc32(name.encode()) << 32)
    mixed = mixed * np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    unit = ((mixed >> np.uint64(40)).astype(np.float32) - np.float32(1 << 23)) / np.float32(1 << 23)
    return (unit * np.float32(scale)).astype(dtype).reshape(shape)


def write(path: Path, tensors: Iterable[dict]) -> None:
    """The file of external data: each tensor at its offset, zeros between."""
    with path.open("wb") as stream:
        for tensor in tensors:
            stream.write(bytes(tensor["offset"] - stream.tell()))
            array = values(tensor["name"], tuple(tensor["shape"]), tensor["scale"], tensor["dtype"])
            stream.write((array + np.asarray(tensor["add"], tensor["dtype"])).tobytes())
