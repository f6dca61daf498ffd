"""What a layer unpacks to, in constant memory and bounded time."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from packager.decompression import plain
from packager.digest import CHUNK, Digest

# A compressed layer may grow this much: far more than software does, far less than a bomb.
MAX_RATIO = 200
PLAIN_FLOOR = 256 << 20


def plain_digest(blob: BinaryIO, size: int, media_type: str) -> Digest:
    """Digest of what a layer's blob of `size` bytes unpacks to.

    Raises ValueError for a bomb and for a type that is no layer, `DAMAGE` for what is none.
    """
    limit = max(PLAIN_FLOOR, MAX_RATIO * size)
    sha = hashlib.sha256()
    seen = 0
    unpacked = plain(blob, media_type)
    if unpacked is None:
        raise ValueError(f"{media_type[:100]} is no layer")
    while chunk := unpacked.read(CHUNK):
        seen += len(chunk)
        if seen > limit:
            raise ValueError(f"it unpacks to more than {limit} bytes")
        sha.update(chunk)
    return Digest(sha.hexdigest())
