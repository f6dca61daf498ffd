"""What the peer wishes, as far as it is about what we send. RFC 9113, section 6.5."""

from __future__ import annotations

import struct

from .faults import ConnectionFault, ErrorCode
from .frames import LARGEST_FRAME, LARGEST_WINDOW

HEADER_TABLE_SIZE, ENABLE_PUSH, MAX_CONCURRENT_STREAMS = 1, 2, 3
INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE, MAX_HEADER_LIST_SIZE = 4, 5, 6
USUAL_TABLE_SIZE = 4096
_LARGEST_MAX_FRAME = (1 << 24) - 1
_MOST = 64


def read_settings(payload: bytes) -> dict[int, int]:
    """Values by identifier, unknown ones too; raises ConnectionFault."""
    if len(payload) % 6:
        raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "SETTINGS in pieces")
    if len(payload) > _MOST * 6:
        raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too many settings")
    found: dict[int, int] = {}
    for identifier, value in struct.iter_unpack(">HI", payload):
        _check(identifier, value)
        found[identifier] = value
    return found


def _check(identifier: int, value: int) -> None:
    if identifier == ENABLE_PUSH and value > 1:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "ENABLE_PUSH must be 0 or 1")
    if identifier == INITIAL_WINDOW_SIZE and value > LARGEST_WINDOW:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "INITIAL_WINDOW_SIZE is too large")
    if identifier == MAX_FRAME_SIZE and not LARGEST_FRAME <= value <= _LARGEST_MAX_FRAME:
        raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "MAX_FRAME_SIZE is out of its range")
