"""What goes out on one connection: frames in one write a turn of the loop, bodies within the
windows that the peer has opened, and no more into the transport than it takes.

What has to wait counts against the bytes that all requests may hold. RFC 9113, sections 5.2, 6.9.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from .faults import ConnectionFault, ErrorCode, StreamFault
from .fields import Block
from .frames import LARGEST_FRAME, LARGEST_WINDOW, USUAL_WINDOW
from .peer_settings import (
    HEADER_TABLE_SIZE,
    INITIAL_WINDOW_SIZE,
    MAX_FRAME_SIZE,
    USUAL_TABLE_SIZE,
)
from .streams import Stream, Unsent

if TYPE_CHECKING:
    from ..listening import Connections

_TURN = 1 << 16
_LARGEST_SENT = 1 << 16


class Output:
    """`ended` hears of each stream whose last byte is out. `blocked` is since when the transport
    takes no more (the loop's seconds), None while it does."""

    __slots__ = (
        "_connections", "_ended", "_largest", "_loop", "_pieces", "_scheduled", "_table_update",
        "_waiting", "blocked", "gathering", "initial", "transport", "window",
    )  # fmt: skip

    def __init__(self, connections: Connections, ended: Callable[[Stream], None]) -> None:
        self.transport: asyncio.Transport | None = None
        self.window = self.initial = USUAL_WINDOW
        self.blocked: float | None = None
        self.gathering = False
        self._connections = connections
        self._ended = ended
        self._loop = asyncio.get_running_loop()
        self._largest = LARGEST_FRAME
        self._pieces: list[bytes | memoryview] = []
        self._scheduled = False
        self._table_update = False
        self._waiting: dict[int, Stream] = {}

    def send(self, stream: Stream, head: Block | None, body: bytes, trailers: Block | None) -> None:
        """A part of an answer: now if it may go, and else as soon as it may."""
        pieces, number = self._pieces, stream.number.to_bytes(4, "big")
        if self._table_update and (first := head or trailers) is not None:
            self._table_update = False
            updated = first.behind_table_update()
            head, trailers = (updated, trailers) if head else (None, updated)
        if head is not None:
            pieces += (head.opening, number, head.data)
        size = len(body)
        if (
            size > self._largest
            or size > self.window
            or size > stream.window
            or self.blocked is not None
            or stream.unsent is not None
        ):
            self._wait(stream, body, trailers)
            self._pump()
        else:
            if size:
                self.window -= size
                stream.window -= size
                pieces += (size.to_bytes(3, "big") + b"\0\0", number, body)
            if trailers is not None:
                pieces += (trailers.closing, number, trailers.data)
                self._ended(stream)
        self._soon()

    def control(self, data: bytes) -> None:
        """A frame that no window holds back."""
        self._pieces.append(data)
        self._soon()

    def flush(self) -> None:
        """Everything that may go, in one piece."""
        self._scheduled = False
        if self._pieces:
            data = b"".join(self._pieces)
            self._pieces.clear()
            if self.transport is not None and not self.transport.is_closing():
                self.transport.write(data)

    def unblock(self) -> None:
        """The transport takes bytes again."""
        self.blocked = None
        self._pump()
        self._soon()

    def drop(self, stream: Stream) -> None:
        """Nothing more goes out on this stream."""
        if stream.unsent is not None:
            self._connections.held -= len(stream.unsent.body)
            stream.unsent = None
            self._waiting.pop(stream.number, None)

    def stuck(self, since: float) -> list[Stream]:
        """The streams whose peer has taken nothing since then."""
        return [stream for stream in self._waiting.values() if stream.since <= since]

    @property
    def waiting(self) -> bool:
        """Whether something waits for the peer."""
        return bool(self._waiting) or self.blocked is not None

    # The peer's side of it

    def widen(self, increment: int) -> None:
        """The connection's window is wider."""
        self.window += increment
        if self.window > LARGEST_WINDOW:
            raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "the window is too large")
        self._pump()

    def widen_stream(self, stream: Stream, increment: int) -> None:
        """A stream's window is wider."""
        stream.window += increment
        if stream.window > LARGEST_WINDOW:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, stream.number)
        self._pump()

    def adopt(self, settings: dict[int, int], streams: Iterable[Stream]) -> None:
        """The peer's settings hold from now on; raises ConnectionFault."""
        if settings.get(HEADER_TABLE_SIZE, USUAL_TABLE_SIZE) < USUAL_TABLE_SIZE:
            self._table_update = True
        self._largest = min(_LARGEST_SENT, settings.get(MAX_FRAME_SIZE, self._largest))
        change = settings.get(INITIAL_WINDOW_SIZE, self.initial) - self.initial
        self.initial += change
        for stream in streams:
            stream.window += change
            if stream.window > LARGEST_WINDOW:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window is too large")
        if change > 0:
            self._pump()

    # What waits

    def _wait(self, stream: Stream, body: bytes, trailers: Block | None) -> None:
        before = stream.unsent.body if stream.unsent is not None else None
        rest = memoryview(body if not before else bytes(before) + body)
        stream.unsent = Unsent(rest, trailers)
        stream.since = self._loop.time()
        self._waiting[stream.number] = stream
        self._connections.held += len(body)

    def _pump(self) -> None:
        """Send what may go, streams in turn, until no window or no transport takes more."""
        idle = 0
        while self._waiting and self.blocked is None and idle < len(self._waiting):
            number, stream = next(iter(self._waiting.items()))
            del self._waiting[number]
            if self._advance(stream):
                idle = 0
            else:
                idle += 1
            if stream.unsent is not None:
                self._waiting[number] = stream

    def _advance(self, stream: Stream) -> bool:
        """A turn of one stream; whether anything of it went out."""
        if stream.unsent is None:
            return False
        body, trailers = stream.unsent
        number, sent = stream.number.to_bytes(4, "big"), 0
        while sent < len(body) and sent < _TURN:
            size = min(len(body) - sent, self.window, stream.window, self._largest)
            if size <= 0:
                break
            self._pieces += (size.to_bytes(3, "big") + b"\0\0", number, body[sent : sent + size])
            self.window -= size
            stream.window -= size
            sent += size
        self._connections.held -= sent
        if sent < len(body):
            stream.unsent = Unsent(body[sent:], trailers)
        else:
            stream.unsent = None
            if trailers is not None:
                self._pieces += (trailers.closing, number, trailers.data)
                self._ended(stream)
        if sent:
            stream.since = self._loop.time()
            self.flush()
        return bool(sent) or stream.unsent is None

    def _soon(self) -> None:
        if not self._scheduled and not self.gathering:
            self._scheduled = True
            self._loop.call_soon(self.flush)
