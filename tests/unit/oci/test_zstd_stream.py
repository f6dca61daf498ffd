"""Zstandard: the same bytes whatever the threads and the slices, readable by everybody."""

import io
import random
from typing import BinaryIO

import pytest
import zstandard

from packager.decompression import DAMAGE, plain
from packager.digest import Digest
from packager.domain.artifact import MediaType
from packager.oci.zstd_stream import ZstdStream

# Several jobs of libzstd: one is 32 MiB at this level.
LONG = (random.Random(7).randbytes(1 << 20) + b"words and words " * (1 << 16)) * 40


def compressed(data: bytes, threads: int = 2, piece: int = 1 << 20) -> bytes:
    sink = io.BytesIO()
    with ZstdStream(sink, threads=threads) as stream:
        for start in range(0, len(data), piece):
            stream.write(data[start : start + piece])
    return sink.getvalue()


def unpacked(packed: bytes) -> BinaryIO:
    stream = plain(io.BytesIO(packed), MediaType.LAYER_ZSTD, len(packed))
    assert stream
    return stream


@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_reads_back(size):
    packed = compressed(LONG[:size])
    assert unpacked(packed).read() == LONG[:size]


def test_bytes_do_not_depend_on_threads_or_slices():
    once = compressed(LONG, threads=1)
    assert compressed(LONG, threads=2, piece=(1 << 22) + 3) == once
    assert compressed(LONG, threads=5, piece=1 << 16) == once


def test_golden_digest():
    data = b"".join(b"%d bottles\n" % number for number in range(200_000))
    assert (
        str(Digest.of(compressed(data)))
        == "sha256:54eeb92950d964f86e5ad37c93c6cf95d4565f2f87d822bb9a639db2478d2f2d"
    )


def test_damage_is_damage():
    packed = bytearray(compressed(LONG[:100_000]))
    packed[len(packed) // 2] ^= 1
    stream = unpacked(bytes(packed))
    with pytest.raises(DAMAGE):
        while stream.read(1 << 16):
            pass


def test_a_window_that_would_eat_the_memory_is_refused():
    settings = zstandard.ZstdCompressionParameters.from_level(
        19, window_log=28, enable_ldm=True, write_content_size=False
    )
    packer = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    packed = packer.compress(b"x" * 1000) + packer.flush()
    with pytest.raises(DAMAGE):
        unpacked(packed).read(1)
