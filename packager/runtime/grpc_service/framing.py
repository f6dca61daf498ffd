"""gRPC's frame around a message: a byte that says whether it is compressed, its length, itself.

Source: gRPC, "gRPC over HTTP2" and "gRPC Compression".
"""

from __future__ import annotations

from collections.abc import Iterable

from .. import body
from ..connection import too_large
from ..errors import RequestError
from ..tensors import bad

PREFIX = 5
CODINGS = (b"identity", b"deflate", b"gzip")


def framed(parts: Iterable[bytes]) -> bytes:
    """A message, given in parts, as it goes into DATA."""
    found = [b"\0", b"", *parts]
    found[1] = sum(map(len, found[2:])).to_bytes(4, "big")
    return b"".join(found)


def check_announced(begun: bytes, most: int) -> None:
    """Raises RequestError (413) for a message that says itself that it is too large."""
    if len(begun) >= PREFIX and int.from_bytes(begun[1:PREFIX], "big") > most:
        raise too_large(most)


def unframed(data: bytes, coding: bytes, most: int) -> bytes:
    """The one message of a call, at most `most` bytes; raises RequestError (400, 413, 415)."""
    size = int.from_bytes(data[1:PREFIX], "big")
    if len(data) < PREFIX or data[0] > 1 or size != len(data) - PREFIX:
        raise bad("the call takes exactly one message")
    if not data[0]:
        return data[PREFIX:]
    if coding == b"identity":
        raise bad("the message is compressed, but grpc-encoding does not say how")
    if coding not in CODINGS:
        accepted = {"grpc-accept-encoding": b",".join(CODINGS).decode()}
        raise RequestError(415, "grpc-encoding must be gzip or deflate", headers=accepted)
    return body.unpack(data[PREFIX:], coding, most)
