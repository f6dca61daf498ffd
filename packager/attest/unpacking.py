"""What a layer unpacks to, in constant memory and bounded time."""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from packager.decompression import largest_plain, plain
from packager.digest import CHUNK, Digest


def plain_digest(blob: BinaryIO, size: int, media_type: str) -> Digest:
    """Digest of what a layer's blob of `size` bytes unpacks to.

    Raises ValueError for a bomb and for a type that is no layer, `DAMAGE` for what is none.
    """
    limit = largest_plain(size)
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
