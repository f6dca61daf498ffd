"""Frames come out as they went in, whatever the pieces that they come in."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ConnectionFault, ErrorCode
from packager.runtime.http2.frames import Frame, FrameReader, frame, unpadded

FRAMES = st.tuples(
    st.integers(0, 255),
    st.integers(0, 255),
    st.integers(0, frames.LARGEST_STREAM),
    st.binary(max_size=200) | st.just(b"x" * frames.LARGEST_FRAME),
)


def read(data: bytes, cuts: list[int]) -> list[Frame]:
    reader, found = FrameReader(), []
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    for first, last in pairwise(places):
        found += list(reader.feed(data[first:last]))
    return found


@settings(deadline=None)
@given(st.lists(FRAMES, max_size=8), st.lists(st.integers(0, 1 << 18), max_size=12))
def test_in_any_pieces(given_: list[Frame], cuts: list[int]) -> None:
    data = b"".join(frame(*one) for one in given_)
    assert read(data, cuts) == given_


@settings(deadline=None)
@given(st.binary(max_size=400), st.lists(st.integers(0, 400), max_size=8))
def test_any_bytes_in_any_pieces_mean_the_same(data: bytes, cuts: list[int]) -> None:
    def outcome(cuts: list[int]) -> list[Frame] | ErrorCode:
        try:
            return read(data, cuts)
        except ConnectionFault as fault:
            return fault.code

    assert outcome(cuts) == outcome([])


def test_the_reserved_bit_is_ignored() -> None:
    data = bytearray(frame(frames.PING, 0, 5, b"12345678"))
    data[5] |= 0x80
    assert list(FrameReader().feed(bytes(data))) == [(frames.PING, 0, 5, b"12345678")]


def test_a_frame_that_says_it_is_too_large_is_not_waited_for() -> None:
    reader = FrameReader()
    data = (frames.LARGEST_FRAME + 1).to_bytes(3, "big") + bytes(6)
    with pytest.raises(ConnectionFault) as fault:
        list(reader.feed(frame(frames.PING, 0, 0, bytes(8)) + data))
    assert fault.value.code is ErrorCode.FRAME_SIZE_ERROR


def test_no_more_than_a_frame_is_held() -> None:
    reader = FrameReader()
    data = frame(frames.DATA, 0, 1, b"x" * frames.LARGEST_FRAME)
    for _ in range(20):
        for place in range(0, len(data), 1000):
            list(reader.feed(data[place : place + 1000]))
            assert len(reader._rest) <= frames.LARGEST_FRAME + 9
    assert not reader.midway


@settings(deadline=None)
@given(st.binary(max_size=50), st.integers(0, 255))
def test_padding(data: bytes, padding: int) -> None:
    padded = bytes([padding]) + data + bytes(padding)
    assert unpadded(frames.PADDED, padded) == data
    assert unpadded(0, padded) == padded


@pytest.mark.parametrize(
    ("payload", "code"),
    [
        (b"", ErrorCode.FRAME_SIZE_ERROR),
        (b"\x01", ErrorCode.PROTOCOL_ERROR),
        (b"\x05abcd", ErrorCode.PROTOCOL_ERROR),
    ],
)
def test_padding_that_lies(payload: bytes, code: ErrorCode) -> None:
    with pytest.raises(ConnectionFault) as fault:
        unpadded(frames.PADDED, payload)
    assert fault.value.code is code
