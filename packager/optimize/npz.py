"""Deterministic .npz files: two of the same arrays are the same bytes.

numpy promises nothing about order and zip headers. Here names are sorted, times are the zip
format's epoch (1 January 1980), modes are fixed, and nothing is compressed, so that no version of
zlib shows.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]

_EPOCH = (1980, 1, 1, 0, 0, 0)


def write_npz(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write `arrays` as `<name>.npy` members that `numpy.load` reads without pickle.

    Raises ValueError for an array of Python objects.
    """
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            member = zipfile.ZipInfo(f"{name}.npy", _EPOCH)
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, array_bytes(arrays[name]))


def read_npz(path: Path) -> dict[str, Array]:
    """The arrays that `write_npz` wrote."""
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def array_bytes(array: Array) -> bytes:
    """The array as the bytes of a .npy file, version 1.0, in C order."""
    stream = io.BytesIO()
    # no ascontiguousarray: it would turn a scalar into a vector
    np.lib.format.write_array(stream, np.array(array, order="C"), allow_pickle=False)
    return stream.getvalue()
