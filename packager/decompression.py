"""A layer's blob as the plain tar that it holds: how every reader of layers unpacks one.

Nothing here trusts a blob: what comes out is bounded, and the readers hash what they read and treat
`DAMAGE` as damage. zlib-ng unpacks three times as fast as Python's own zlib.
"""

from __future__ import annotations

import gzip
import io
import zlib
from typing import Any, BinaryIO, cast

import zstandard
from zlib_ng import gzip_ng, zlib_ng

from packager.domain.artifact import MediaType

DAMAGE = (
    gzip.BadGzipFile,
    EOFError,
    ValueError,
    zlib.error,
    cast("type[Exception]", zlib_ng.error),  # its stub calls it an instance
    zstandard.ZstdError,
)
# A compressed layer may grow this much: far more than software does, far less than a bomb.
MAX_RATIO = 200
PLAIN_FLOOR = 256 << 20
_LARGEST_WINDOW = 128 << 20  # memory that a frame may ask for; our own ask for 8 MiB


def plain(blob: BinaryIO, media_type: str, size: int) -> BinaryIO | None:
    """`blob` of `size` bytes unpacked while it is read; None for a media type that is no layer of
    ours.

    Reading raises one of `DAMAGE` for what cannot be unpacked, and for a bomb as soon as more than
    `largest_plain(size)` bytes came out.
    """
    match media_type:
        case MediaType.LAYER_TAR:
            return blob
        case MediaType.LAYER_GZIP:
            opened: BinaryIO = cast(Any, gzip_ng).open(_Raw(blob), "rb")  # has no types
            return cast(BinaryIO, _Bounded(opened, largest_plain(size)))
        case MediaType.LAYER_ZSTD:
            reader = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
            stream = reader.stream_reader(blob, read_across_frames=True, closefd=False)
            return cast(BinaryIO, _Bounded(cast(BinaryIO, stream), largest_plain(size)))
        case _:
            return None


def largest_plain(size: int) -> int:
    """How many bytes a blob of `size` may unpack to."""
    return max(PLAIN_FLOOR, MAX_RATIO * size)


class _Raw(io.RawIOBase):
    """A stream that has nothing but `read`, in the form that zlib-ng reads."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__()
        self._stream = stream

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Bounded:
    """A stream that raises ValueError instead of giving more than `limit` bytes."""

    def __init__(self, stream: BinaryIO, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._left = limit

    def read(self, count: int = -1) -> bytes:
        data = self._stream.read(self._left + 1 if count < 0 else min(count, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise ValueError(f"it unpacks to more than {self._limit} bytes")
        return data

    def close(self) -> None:
        self._stream.close()
