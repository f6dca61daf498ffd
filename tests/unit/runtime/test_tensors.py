"""Tensors in JSON and in binary, for every datatype, and what must not pass as one."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from packager.runtime.datatypes import DATATYPES
from packager.runtime.errors import RequestError
from packager.runtime.tensors import from_binary, from_json, json_text, to_binary

NUMERIC = [name for name in DATATYPES if name not in ("BOOL", "BYTES", "FP16", "BF16")]


def parsed(datatype: str, shape: tuple[int, ...], data: Any) -> np.ndarray:
    return from_json("x", DATATYPES[datatype], shape, data)


def unpacked(datatype: str, shape: tuple[int, ...], data: bytes) -> np.ndarray:
    return from_binary("x", DATATYPES[datatype], shape, memoryview(data))


@pytest.mark.parametrize("name", NUMERIC)
def test_flat_and_nested_json_are_the_same(name: str) -> None:
    nested = parsed(name, (2, 3), [[1, 2, 3], [4, 5, 6]])
    flat = parsed(name, (2, 3), [1, 2, 3, 4, 5, 6])
    assert nested.dtype == flat.dtype == DATATYPES[name].dtype
    assert np.array_equal(nested, flat)
    assert json.loads(json_text("x", DATATYPES[name], flat)) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("name", [name for name in DATATYPES if name != "BYTES"])
def test_binary_round_trip(name: str) -> None:
    array = np.array([[0, 1], [1, 0]]).astype(DATATYPES[name].dtype)
    data = to_binary(DATATYPES[name], array)
    assert len(data) == 4 * DATATYPES[name].itemsize
    assert np.array_equal(unpacked(name, (2, 2), data), array)


def test_binary_is_little_endian_and_bytes_carry_their_lengths() -> None:
    assert to_binary(DATATYPES["UINT16"], np.array([1], "<u2")) == b"\x01\x00"
    data = to_binary(DATATYPES["BYTES"], np.array(["é", ""], dtype=object))
    assert data == b"\x02\x00\x00\x00\xc3\xa9\x00\x00\x00\x00"
    assert unpacked("BYTES", (2,), data).tolist() == ["é", ""]


def test_unaligned_binary_is_copied_to_aligned_memory() -> None:
    data = memoryview(b"!" + np.arange(4, dtype="<f4").tobytes())[1:]
    array = from_binary("x", DATATYPES["FP32"], (4,), data)
    assert array.flags.aligned
    assert array.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("name", [name for name in NUMERIC if "INT" in name])
def test_the_limits_of_integers(name: str) -> None:
    limits = np.iinfo(DATATYPES[name].dtype)
    assert parsed(name, (2,), [limits.min, limits.max]).tolist() == [limits.min, limits.max]
    for value in (limits.min - 1, limits.max + 1, 10**40):
        with pytest.raises(RequestError, match="holds"):
            parsed(name, (1,), [value])


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", (2,), [1.0, "2"]),
        ("FP32", (2,), ["1", "2"]),
        ("FP32", (2,), [1.0, None]),
        ("FP32", (2,), [1.0, True]),
        ("FP32", (1,), [{}]),
        ("FP32", (1,), [1e39]),
        ("FP32", (1,), [10**400]),
        ("FP64", (1,), [float("inf")]),
        ("INT64", (1,), [1.0]),
        ("INT64", (1,), [True]),
        ("BOOL", (1,), [1]),
        ("BYTES", (1,), [1]),
        ("BYTES", (1,), ["\ud800"]),
        ("FP16", (1,), [1.0]),
        ("BF16", (1,), [1.0]),
        ("FP32", (1,), 1.0),
        ("FP32", (1,), "1"),
        ("FP32", (1,), None),
        ("FP32", (), [[1.0]]),
        ("FP32", (), []),
        ("FP32", (2,), [1.0]),
        ("FP32", (2,), [1.0, 2.0, 3.0]),
        ("FP32", (2, 2), [[1.0, 2.0], [3.0]]),
        ("FP32", (3, 2), [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        ("FP32", (2, 2), [[1.0, 2.0], 3.0, 4.0]),
        ("FP32", (1,), [[1.0]]),
        ("FP32", (2, 1), [[[1.0]], [[2.0]]]),
        ("FP32", (1 << 40,), [1.0]),
    ],
)
def test_json_that_is_not_the_tensor(datatype: str, shape: tuple[int, ...], data: Any) -> None:
    with pytest.raises(RequestError) as refused:
        parsed(datatype, shape, data)
    assert refused.value.status == 400


@pytest.mark.parametrize(
    ("datatype", "shape", "data"),
    [
        ("FP32", (2,), bytes(7)),
        ("FP32", (2,), bytes(9)),
        ("FP32", (1 << 40,), b""),
        ("BOOL", (2,), b"\x00\x02"),
        ("BYTES", (1,), b"\x01\x00\x00"),
        ("BYTES", (1,), b"\x02\x00\x00\x00a"),
        ("BYTES", (1,), b"\x01\x00\x00\x00ab"),
        ("BYTES", (1,), b"\x01\x00\x00\x00\xff"),
        ("BYTES", (1,), b"\xff\xff\xff\xff"),
        ("BYTES", (1 << 30,), b"\x00\x00\x00\x00"),
        ("BYTES", (2,), struct.pack("<I", 4) + b"abcd"),
    ],
)
def test_binary_that_is_not_the_tensor(datatype: str, shape: tuple[int, ...], data: bytes) -> None:
    with pytest.raises(RequestError) as refused:
        unpacked(datatype, shape, data)
    assert refused.value.status == 400


def test_empty_and_scalar_tensors() -> None:
    assert parsed("FP32", (0, 4), []).shape == (0, 4)
    assert parsed("FP32", (2, 0), [[], []]).shape == (2, 0)
    assert parsed("FP32", (), [3]).shape == ()
    assert unpacked("INT8", (0,), b"").shape == (0,)
    assert unpacked("BYTES", (0, 3), b"").shape == (0, 3)


def test_one_long_text_does_not_widen_the_others() -> None:
    texts = ["x" * 1_000_000] + ["y"] * 1000
    assert parsed("BYTES", (1001,), texts).nbytes < 100_000


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_json_cannot_say_nan_or_infinity(value: float) -> None:
    with pytest.raises(RequestError, match="ask for binary data"):
        json_text("y", DATATYPES["FP32"], np.array([value], "<f4"))


def test_json_cannot_say_half_precision() -> None:
    with pytest.raises(RequestError, match="FP16, which has no JSON form"):
        json_text("y", DATATYPES["FP16"], np.array([1], "<f2"))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_any_text_survives_both_forms(texts: list[str]) -> None:
    array = parsed("BYTES", (len(texts),), texts)
    assert json.loads(json_text("x", DATATYPES["BYTES"], array)) == texts
    packed = to_binary(DATATYPES["BYTES"], array)
    assert unpacked("BYTES", (len(texts),), packed).tolist() == texts


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False)))
def test_any_float_survives_both_forms(values: list[float]) -> None:
    array = parsed("FP32", (len(values),), values)
    told = json.loads(json_text("x", DATATYPES["FP32"], array))
    assert np.array_equal(parsed("FP32", (len(values),), told), array)
    packed = to_binary(DATATYPES["FP32"], array)
    assert np.array_equal(unpacked("FP32", (len(values),), packed), array)
