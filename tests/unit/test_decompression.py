"""Unpacking layers: zlib-ng says what Python's own gzip says, of whole and of harmed streams."""

import gzip
import io

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.decompression import DAMAGE, largest_plain, plain
from packager.domain.artifact import MediaType

ZEROS = bytes(4096)


def unpacked(blob: bytes) -> bytes | None:
    """None where it is refused as damaged."""
    stream = plain(io.BytesIO(blob), MediaType.LAYER_GZIP, len(blob))
    assert stream is not None
    try:
        return stream.read()
    except DAMAGE:
        return None


def by_python(blob: bytes) -> bytes | None:
    try:
        return gzip.decompress(blob)
    except DAMAGE:
        return None


members = st.lists(
    st.tuples(st.binary(max_size=300), st.integers(0, 9), st.integers(1, 40)).map(
        lambda made: gzip.compress(made[0] * made[2], made[1], mtime=0)
    ),
    min_size=1,
    max_size=3,
).map(b"".join)


@settings(max_examples=150, deadline=None)
@given(members)
def test_whole_streams_unpack_to_the_same(blob):
    assert unpacked(blob) == by_python(blob) is not None


@settings(max_examples=300, deadline=None)
@given(members, st.data())
def test_harmed_streams_are_refused_by_both_or_by_neither(blob, data):
    harmed = bytearray(blob)
    for _ in range(data.draw(st.integers(1, 3))):
        harmed[data.draw(st.integers(0, len(blob) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(blob)))
    more = data.draw(st.sampled_from([b"", b"\0" * 8, b"\x1f\x8b", b"more"]))
    mixed = bytes(harmed[:cut]) + more
    assert unpacked(mixed) == by_python(mixed)


def test_a_bomb_stops_at_the_bound(monkeypatch):
    monkeypatch.setattr("packager.decompression.PLAIN_FLOOR", 1 << 20)
    blob = gzip.compress(ZEROS * 1024, 9)
    assert len(blob) * 200 < len(ZEROS) * 1024
    stream = plain(io.BytesIO(blob), MediaType.LAYER_GZIP, len(blob))
    assert stream is not None
    with pytest.raises(ValueError, match=f"more than {largest_plain(len(blob))} bytes"):
        while stream.read(1 << 16):
            pass


def test_what_is_no_layer_of_ours_is_not_opened():
    assert plain(io.BytesIO(b"x"), "application/vnd.oci.image.config.v1+json", 1) is None
