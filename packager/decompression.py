"""A layer's blob as the plain tar that it holds: how every reader of layers unpacks one.

Nothing here trusts a blob: the readers hash what they read, bound what comes out, and treat
`DAMAGE` as damage.
"""

from __future__ import annotations

import gzip
import zlib
from typing import BinaryIO, cast

import zstandard

from packager.domain.artifact import MediaType

DAMAGE = (gzip.BadGzipFile, EOFError, ValueError, zlib.error, zstandard.ZstdError)
# A compressed layer may grow this much: far more than software does, far less than a bomb.
MAX_RATIO = 200
PLAIN_FLOOR = 256 << 20
_LARGEST_WINDOW = 128 << 20  # memory that a frame may ask for; our own ask for 8 MiB


def plain(blob: BinaryIO, media_type: str) -> BinaryIO | None:
    """`blob` unpacked while it is read; None for a media type that is no layer of ours.

    Reading raises one of `DAMAGE` for what cannot be unpacked.
    """
    match media_type:
        case MediaType.LAYER_TAR:
            return blob
        case MediaType.LAYER_GZIP:
            return cast(BinaryIO, gzip.GzipFile(fileobj=blob))
        case MediaType.LAYER_ZSTD:
            reader = zstandard.ZstdDecompressor(max_window_size=_LARGEST_WINDOW)
            return cast(
                BinaryIO, reader.stream_reader(blob, read_across_frames=True, closefd=False)
            )
        case _:
            return None


def largest_plain(size: int) -> int:
    """How many bytes a blob of `size` may unpack to."""
    return max(PLAIN_FLOOR, MAX_RATIO * size)
