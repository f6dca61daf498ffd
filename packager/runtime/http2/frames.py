"""Frames: nine bytes of head, and up to 16 KiB of payload. RFC 9113, sections 4 and 6.

A frame that is read is a tuple of its type, its flags, its stream and its payload.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from .faults import ConnectionFault, ErrorCode

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS = 0, 1, 2, 3, 4
PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 5, 6, 7, 8, 9
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, WITH_PRIORITY = 0x4, 0x8, 0x20

LARGEST_FRAME = 1 << 14
LARGEST_WINDOW = (1 << 31) - 1
USUAL_WINDOW = (1 << 16) - 1
LARGEST_STREAM = (1 << 31) - 1
SETTINGS_ACK = b"\0\0\0\4\1\0\0\0\0"

_HEAD = struct.Struct(">HBBBI")
_HEAD_SIZE = 9
Frame = tuple[int, int, int, bytes]


class FrameReader:
    """Frames out of bytes that come in any pieces; no more than one frame is held."""

    __slots__ = ("_needed", "_rest")

    def __init__(self) -> None:
        self._rest = bytearray()
        self._needed = _HEAD_SIZE

    @property
    def midway(self) -> bool:
        """Whether a frame has begun and has not ended."""
        return bool(self._rest)

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that are complete with `data`; raises ConnectionFault for one too large."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return
            data = bytes(self._rest)
            self._rest.clear()
        position, end = 0, len(data)
        self._needed = _HEAD_SIZE
        while end - position >= _HEAD_SIZE:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, position)
            size = high << 8 | low
            if size > LARGEST_FRAME:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a frame is too large")
            following = position + _HEAD_SIZE + size
            if following > end:
                self._needed = _HEAD_SIZE + size
                break
            yield kind, flags, stream & LARGEST_STREAM, data[position + _HEAD_SIZE : following]
            position = following
        if position < end:
            self._rest += data[position:]


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """A frame as it goes on the wire."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def settings(values: dict[int, int]) -> bytes:
    """A SETTINGS frame of values by identifier."""
    return frame(SETTINGS, 0, 0, b"".join(struct.pack(">HI", *pair) for pair in values.items()))


def window_update(stream: int, increment: int) -> bytes:
    """More bytes that the peer may send, on a stream or (0) on the connection."""
    return frame(WINDOW_UPDATE, 0, stream, increment.to_bytes(4, "big"))


def rst_stream(stream: int, code: ErrorCode) -> bytes:
    """The end of a stream."""
    return frame(RST_STREAM, 0, stream, code.to_bytes(4, "big"))


def goaway(last: int, code: ErrorCode, why: str = "") -> bytes:
    """The end of a connection: streams above `last` were not and will not be looked at."""
    return frame(GOAWAY, 0, 0, struct.pack(">II", last, code) + why.encode())


def unpadded(flags: int, payload: bytes) -> bytes:
    """The payload of DATA or HEADERS without its padding; raises ConnectionFault."""
    if not flags & PADDED:
        return payload
    if not payload:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "padding without its length")
    padding = payload[0]
    if padding >= len(payload):
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "more padding than payload")
    return payload[1 : len(payload) - padding]
