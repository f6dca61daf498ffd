"""What a layer unpacks to, in constant memory and bounded time.

The signature binds the bytes of layers and of configuration already. That the two agree is asked of
the maker (`verify --contents`), and again by every engine that loads an image: docs/adr/0051.
"""

from __future__ import annotations

import hashlib
from typing import BinaryIO

from packager.attest.layout_index import ENCRYPTED, Member
from packager.decompression import plain
from packager.digest import CHUNK, Digest
from packager.domain.artifact import MediaType
from packager.errors import Finding

COMPRESSED = frozenset({MediaType.LAYER_GZIP, MediaType.LAYER_ZSTD})


def form_finding(layer: Member, diff_id: Digest, where: str) -> Finding | None:
    """What is wrong with a layer by its descriptor alone; nothing has to be unpacked for that."""
    if layer.media_type in COMPRESSED or layer.media_type in ENCRYPTED:
        return None  # of an encrypted one, an attestation says what comes out
    if layer.media_type != MediaType.LAYER_TAR:
        return Finding("not a kind of layer that is used here", where, got=layer.media_type[:100])
    return content_finding(layer.digest, diff_id, where)


def content_finding(found: Digest, diff_id: Digest, where: str) -> Finding | None:
    """None when a layer holds what the configuration promises."""
    if found == diff_id:
        return None
    return Finding("the layer unpacks to something else", where, str(diff_id), str(found))


def plain_digest(blob: BinaryIO, size: int, media_type: str) -> Digest:
    """Digest of what a layer's blob of `size` bytes unpacks to.

    Raises ValueError for a bomb and for a type that is no layer, `DAMAGE` for what is none.
    """
    sha = hashlib.sha256()
    unpacked = plain(blob, media_type, size)
    if unpacked is None:
        raise ValueError(f"{media_type[:100]} is no layer")
    while chunk := unpacked.read(CHUNK):
        sha.update(chunk)
    return Digest(sha.hexdigest())
