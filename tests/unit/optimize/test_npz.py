"""Deterministic .npz files."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from packager.optimize.npz import read_npz, write_npz

ARRAYS = {
    "input.a/b:0": np.arange(6, dtype=np.float32).reshape(2, 3),
    "output.scalar": np.array(4, dtype=np.int64),
    "output.text": np.array(["label", "ß"]),
    "output.fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
}


def test_equal_arrays_are_equal_bytes_in_any_order(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS)
    write_npz(tmp_path / "b.npz", dict(reversed(ARRAYS.items())))
    assert (tmp_path / "a.npz").read_bytes() == (tmp_path / "b.npz").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        assert {member.date_time for member in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_arrays_survive(tmp_path: Path) -> None:
    write_npz(tmp_path / "a.npz", ARRAYS)
    back = read_npz(tmp_path / "a.npz")
    assert set(back) == set(ARRAYS)
    for name, array in ARRAYS.items():
        assert back[name].shape == array.shape
        assert back[name].dtype == array.dtype
        assert np.array_equal(back[name], array)


def test_objects_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        write_npz(tmp_path / "a.npz", {"x": np.array([{}], dtype=object)})
