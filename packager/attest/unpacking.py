"""What a layer unpacks to, in constant memory and bounded time."""

from __future__ import annotations

import gzip
import hashlib
from typing import BinaryIO

from packager.digest import CHUNK, Digest

# A gzip layer may grow this much: far more than software does, far less than a bomb.
MAX_RATIO = 200
PLAIN_FLOOR = 256 << 20


def plain_digest(blob: BinaryIO, size: int) -> Digest:
    """Digest of what a gzip blob of `size` bytes unpacks to.

    Raises ValueError for a bomb, and what gzip raises for what is none.
    """
    limit = max(PLAIN_FLOOR, MAX_RATIO * size)
    sha = hashlib.sha256()
    seen = 0
    with gzip.GzipFile(fileobj=blob) as plain:
        while chunk := plain.read(CHUNK):
            seen += len(chunk)
            if seen > limit:
                raise ValueError(f"it unpacks to more than {limit} bytes")
            sha.update(chunk)
    return Digest(sha.hexdigest())
