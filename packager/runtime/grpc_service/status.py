"""How a call ends: gRPC's status in the place of HTTP's.

Source: gRPC, "Statuscodes" and "gRPC over HTTP2" (Status-Message, Timeout).
"""

from __future__ import annotations

import re
from enum import IntEnum

from ..errors import RequestError
from ..http2.fields import Block
from ..tensors import bad
from .framing import CODINGS


class Code(IntEnum):
    """Those that this server tells."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


_CODES = {
    400: Code.INVALID_ARGUMENT,
    401: Code.UNAUTHENTICATED,
    404: Code.NOT_FOUND,
    408: Code.DEADLINE_EXCEEDED,
    413: Code.RESOURCE_EXHAUSTED,
    415: Code.UNIMPLEMENTED,
    429: Code.RESOURCE_EXHAUSTED,
    501: Code.UNIMPLEMENTED,
    503: Code.UNAVAILABLE,
    504: Code.DEADLINE_EXCEEDED,
}
_TYPE = (b"content-type", b"application/grpc")
OPENING = Block.of(_TYPE, (b"grpc-accept-encoding", b",".join(CODINGS)), status=200)
CLOSING = Block.of((b"grpc-status", b"0"))
_LONGEST_MESSAGE = 2048
_TO_ENCODE = re.compile(rb"[^ -$&-~]")
_TIMEOUT = re.compile(rb"(\d{1,8})([HMSmun])")
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}


def code_of(error: RequestError) -> Code:
    """The gRPC status for an HTTP one."""
    return _CODES.get(error.status, Code.INTERNAL)


def refusal(error: RequestError, code: Code, *, opened: bool = False) -> Block:
    """The end of a call that failed: all there is of its answer, unless that was `opened`."""
    fields = [
        (b"grpc-status", b"%d" % code),
        (b"grpc-message", percent_encoded(str(error))),
        *(
            (name.lower().encode(), value.encode("latin-1"))
            for name, value in error.headers.items()
        ),
    ]
    return Block.of(*fields) if opened else Block.of(_TYPE, *fields, status=200)


def percent_encoded(text: str) -> bytes:
    """Printable ASCII as it is, everything else and `%` by its bytes in UTF-8."""
    data = text[:_LONGEST_MESSAGE].encode("utf-8", "replace")
    return _TO_ENCODE.sub(lambda found: b"%%%02X" % found[0][0], data)


def timeout_of(value: bytes) -> float:
    """Seconds of a grpc-timeout; raises RequestError (400)."""
    found = _TIMEOUT.fullmatch(value)
    if found is None:
        raise bad("grpc-timeout must be up to 8 digits and one of H, M, S, m, u, n")
    return int(found[1]) * _SECONDS[found[2]]
