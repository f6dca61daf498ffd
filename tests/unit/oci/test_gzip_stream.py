"""Gzip: the same bytes whatever the threads and the slices, readable by everybody, one member."""

import gzip
import io
import random
import subprocess
import threading
import zlib

import pytest

from packager.digest import Digest
from packager.oci.gzip_stream import BLOCK, HEADER, GzipStream

MIXED = random.Random(7).randbytes(BLOCK // 2) * 3 + b"words and words " * (BLOCK // 8)


def compressed(data: bytes, threads: int = 2, piece: int = 1 << 16) -> bytes:
    sink = io.BytesIO()
    with GzipStream(sink, threads=threads) as stream:
        for start in range(0, len(data), piece):
            stream.write(data[start : start + piece])
    return sink.getvalue()


@pytest.mark.parametrize("size", [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK + 17])
def test_reads_back_at_every_edge_of_a_block(size):
    data = MIXED[:size]
    packed = compressed(data)
    assert gzip.decompress(packed) == data
    reader = zlib.decompressobj(wbits=31)
    assert reader.decompress(packed) == data
    assert reader.eof
    assert reader.unused_data == b"", "more than one member"


def test_bytes_do_not_depend_on_threads_or_slices():
    once = compressed(MIXED, threads=1, piece=len(MIXED))
    for threads, piece in ((1, 511), (2, 1 << 14), (7, BLOCK + 3), (16, 3 * BLOCK)):
        assert compressed(MIXED, threads, piece) == once


def test_stock_gzip_takes_it():
    subprocess.run(["gzip", "-t"], input=compressed(MIXED), check=True)


def test_header_is_ours():
    packed = compressed(b"x")
    assert packed[:10] == HEADER == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


def test_blocks_see_what_was_before_them():
    """Without the dictionary, each block would start from nothing and weigh much more."""
    noise = random.Random(3).randbytes(30_000)
    data = noise * (4 * BLOCK // len(noise))
    assert len(compressed(data)) < 1.2 * len(gzip.compress(data, 6))


def test_golden_digest():
    data = b"".join(b"%d bottles\n" % number for number in range(200_000))
    assert str(Digest.of(compressed(data))) == (
        "sha256:2da3447be54051d5bef545e02e544e6ef37e3577259b7d18a980e04520774aa1"
    )


def test_a_failing_sink_ends_the_stream_and_its_threads():
    class Full(io.BytesIO):
        def write(self, data):
            if len(data) > 10:
                raise OSError(28, "No space left on device")
            return super().write(data)

    before = threading.active_count()
    with pytest.raises(OSError, match="No space"), GzipStream(Full(), threads=2) as stream:
        for _ in range(16):
            stream.write(MIXED[:BLOCK])
    assert threading.active_count() == before
