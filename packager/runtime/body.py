"""Content-Encoding, both ways and within bounds.

A compressed body counts as what it becomes, so a small bomb is no way around the limit. Sources:
RFC 9110, sections 8.4 (Content-Encoding) and 12.5.3 (Accept-Encoding).
"""

from __future__ import annotations

import zlib

from .connection import too_large
from .errors import RequestError, quoted

_WINDOW = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}  # zlib's wbits: gzip, zlib
_FASTEST = 1


def unpack(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The body without its Content-Encoding, at most `limit` bytes.

    Raises RequestError: 415 for another encoding than gzip and deflate, 413, 400 when damaged.
    """
    encoding = encoding.strip().lower()
    if encoding in (b"", b"identity"):
        return body
    if encoding not in _WINDOW:
        raise RequestError(
            415,
            f"Content-Encoding {quoted(encoding.decode('latin-1'))} is not supported",
            headers={"accept-encoding": "gzip, deflate"},
        )
    stream = zlib.decompressobj(_WINDOW[encoding])
    try:
        data = stream.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(400, f"the body is not {encoding.decode()}") from error
    if len(data) > limit:
        raise too_large(limit)
    if not stream.eof:
        raise RequestError(400, "the compressed body ends too early")
    if stream.unused_data:
        raise RequestError(400, "bytes follow the end of the compressed body")
    return data


def acceptable(accepted: bytes) -> bytes | None:
    """gzip or deflate, whichever an Accept-Encoding names first with a weight above 0."""
    for entry in accepted.lower().split(b","):
        coding, _, weight = entry.partition(b";")
        coding = coding.strip()
        if coding in (b"gzip", b"deflate") and weight.replace(b" ", b"").rstrip(b"0.") != b"q=":
            return coding
    return None


def pack(data: bytes, coding: bytes) -> bytes:
    """The body in a Content-Encoding. Level 1: tensors hardly compress, whatever the effort."""
    stream = zlib.compressobj(_FASTEST, zlib.DEFLATED, _WINDOW[coding])
    return stream.compress(data) + stream.flush()
