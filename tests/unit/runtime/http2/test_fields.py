"""Header blocks: what is remembered means what it means when it is read, and answers are read by
others as they were meant."""

from __future__ import annotations

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.runtime.http2.faults import ConnectionFault, ErrorCode
from packager.runtime.http2.fields import Block, HeaderBlocks, Malformed, head_of

NAMES = st.sampled_from([b"te", b"x-a", b"x-b", b"grpc-timeout", b"user-agent", b"cookie"])
VALUES = st.sampled_from([b"trailers", b"1", b"22", b"x" * 90, b"5S"])
REQUEST = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", b"/a")]
HEADS = st.tuples(
    st.sampled_from([b"/a", b"/b", b"/" + b"c" * 60]),
    st.lists(st.tuples(NAMES.filter(lambda name: name != b"te"), VALUES), max_size=4),
    st.sampled_from([None, 0, 100, 4096]),
    st.booleans(),
)


@settings(deadline=None)
@given(st.lists(HEADS, max_size=30))
def test_what_is_remembered_means_the_same(
    heads: list[tuple[bytes, list, int | None, bool]],
) -> None:
    encoder, reader, plain = Encoder(), HeaderBlocks(1 << 16), Decoder(1 << 16)
    for path, fields, size, huffman in heads:
        if size is not None:
            encoder.header_table_size = size
        asked = [*REQUEST[:2], (b":path", path), *fields]
        for _ in range(3):
            block = encoder.encode(asked, huffman=huffman)
            head = reader.head(block)
            wanted = head_of((one[0], one[1]) for one in plain.decode(block, raw=True))
            assert (head.method, head.path, head.fields) == (b"POST", path, wanted.fields)


def test_a_head_that_changes_nothing_is_remembered() -> None:
    encoder, reader = Encoder(), HeaderBlocks(1 << 16)
    first = encoder.encode(REQUEST)
    second = encoder.encode(REQUEST)
    reader.head(first)
    assert reader.head(second) is reader.head(second)
    known = reader.head(second)
    reader.head(encoder.encode([*REQUEST, (b"x-new", b"1")]))
    assert reader.head(encoder.encode(REQUEST)) is not known


def test_little_is_remembered() -> None:
    reader = HeaderBlocks(1 << 16)
    encoder = Encoder()
    encoder.header_table_size = 0
    for number in range(500):
        reader.head(encoder.encode([*REQUEST[:2], (b":path", b"/%d" % number)]))
    assert len(reader._known) <= 16


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_head_or_a_fault(block: bytes) -> None:
    try:
        HeaderBlocks(1 << 12).head(block)
    except (ConnectionFault, Malformed) as error:
        assert isinstance(error, Malformed) or error.code is ErrorCode.COMPRESSION_ERROR


def test_a_bomb_does_not_unfold() -> None:
    """4 kB in the table, and one byte for each time that they are wanted."""
    encoder, reader = Encoder(), HeaderBlocks(1 << 16)
    reader.head(encoder.encode([*REQUEST, (b"x", b"y" * 4000)]))
    with pytest.raises(ConnectionFault) as fault:
        reader.head(encoder.encode(REQUEST) + b"\xbe" * 16384)
    assert fault.value.code is ErrorCode.COMPRESSION_ERROR


@pytest.mark.parametrize(
    "fields",
    [
        [],
        REQUEST[:2],
        [*REQUEST, (b":path", b"/b")],
        [*REQUEST, (b":status", b"200")],
        [(b"x", b"y"), *REQUEST],
        [*REQUEST[:2], (b":path", b"")],
        [*REQUEST[:2], (b":path", b"a")],
        [*REQUEST, (b"X", b"y")],
        [*REQUEST, (b"", b"y")],
        [*REQUEST, (b"a b", b"y")],
        [*REQUEST, (b"x", b"a\nb")],
        [*REQUEST, (b"x", b"a\0")],
        [*REQUEST, (b"x", b" y")],
        [*REQUEST, (b"connection", b"close")],
        [*REQUEST, (b"transfer-encoding", b"chunked")],
        [*REQUEST, (b"te", b"gzip")],
        [*REQUEST, (b"content-length", b"-1")],
        [*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")],
    ],
)
def test_heads_that_break_the_rules(fields: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Malformed):
        head_of(fields)


def test_fields_of_one_name_are_joined() -> None:
    head = head_of([*REQUEST, (b"x", b"1"), (b"x", b"2"), (b"content-length", b"7")])
    assert head.fields[b"x"] == b"1, 2"
    assert head.length == 7


FIELD = st.tuples(st.binary(min_size=1, max_size=300), st.binary(max_size=300))


@settings(deadline=None)
@given(st.lists(FIELD, max_size=5), st.sampled_from([None, 200, 415]))
def test_blocks_are_read_by_others_and_leave_no_trace(
    fields: list[tuple[bytes, bytes]], status: int | None
) -> None:
    block = Block.of(*fields, status=status)
    decoder = Decoder()
    wanted = [] if status is None else [(b":status", b"%d" % status)]
    assert [tuple(one) for one in decoder.decode(block.data, raw=True)] == [*wanted, *fields]
    assert not decoder.header_table.dynamic_entries
    assert block.opening[:3] == block.closing[:3] == len(block.data).to_bytes(3, "big")
    updated = block.behind_table_update()
    assert decoder.decode(updated.data, raw=True) == decoder.decode(block.data, raw=True)
    assert decoder.header_table_size == 0
