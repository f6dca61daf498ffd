"""What comes in on one connection: header blocks and bodies, put together into requests.

Each part is bounded before it is held: blocks and heads by `max_header_bytes`, bodies by what the
service lets them have and by what all requests may hold, streams by their number, and everything
that costs the peer nothing by an `Allowance`. RFC 9113, sections 5.1, 6.1, 6.2, 6.10, 8.1.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from ..errors import RequestError
from ..lifecycle import unavailable
from .allowance import Allowance
from .faults import ConnectionFault, ErrorCode, StreamFault
from .fields import HeaderBlocks, Malformed
from .frames import (
    END_HEADERS,
    END_STREAM,
    LARGEST_STREAM,
    WITH_PRIORITY,
    rst_stream,
    unpadded,
    window_update,
)
from .streams import Service, Stream

if TYPE_CHECKING:
    from ..listening import Connections
    from .connection import Connection
    from .output import Output

CONNECTION_WINDOW = 16 << 20
_MOST_PIECES = 32
_REMEMBERED = 64
_SMALL = 1024


class Intake:
    """`streams` are those that have not ended, `last` is the highest that was opened, and streams
    above `final` are not looked at any more; `arriving` of them are not complete."""

    __slots__ = (
        "_allowance", "_block", "_block_flags", "_block_number", "_blocks", "_closed",
        "_connection", "_connections", "_credit", "_most_streams", "_output", "_pieces", "_reset",
        "_room", "_service", "arriving", "block_since", "final", "last", "streams",
    )  # fmt: skip

    def __init__(
        self,
        connection: Connection,
        service: Service,
        connections: Connections,
        allowance: Allowance,
        *,
        most_streams: int,
        room: int,
    ) -> None:
        self.streams: dict[int, Stream] = {}
        self.last = 0
        self.final = LARGEST_STREAM
        self.arriving = 0
        self.block_since: float | None = None
        self._connection = connection
        self._output: Output = connection.output
        self._service = service
        self._connections = connections
        self._allowance = allowance
        self._most_streams = most_streams
        self._room = room
        self._blocks = HeaderBlocks(connections.limits.max_header_bytes)
        self._block = bytearray()
        self._block_number = self._block_flags = self._pieces = 0
        self._credit = CONNECTION_WINDOW
        self._closed: deque[int] = deque(maxlen=_REMEMBERED)
        self._reset: deque[int] = deque(maxlen=_REMEMBERED)

    # Heads

    def headers(self, flags: int, number: int, payload: bytes) -> None:
        """HEADERS, of a request or behind its body."""
        if not number & 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client's streams are odd")
        block = unpadded(flags, payload)
        if flags & WITH_PRIORITY:
            if len(block) < 5:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "a priority in pieces")
            block = block[5:]
        if flags & END_HEADERS:
            self._block_complete(number, flags, block)
            return
        self._block = bytearray(block)
        self._block_number, self._block_flags, self._pieces = number, flags, 0
        self.block_since = self._connections.now()

    def continuation(self, flags: int, number: int, payload: bytes) -> None:
        """More of a block; bounded in bytes and in pieces before it is looked at."""
        if self.block_since is None or number != self._block_number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "CONTINUATION of nothing")
        self._pieces += 1
        size = len(self._block) + len(payload)
        if self._pieces > _MOST_PIECES or size > self._connections.limits.max_header_bytes:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "a head is too large")
        self._block += payload
        if flags & END_HEADERS:
            block = bytes(self._block)
            self._block.clear()
            self.block_since = None
            self._block_complete(number, self._block_flags, block)

    def _block_complete(self, number: int, flags: int, block: bytes) -> None:
        stream = self.streams.get(number)
        if stream is not None:
            self._trailers(stream, flags, block)
            return
        if number <= self.last:
            self._blocks.skip(block)
            if number in self._reset:
                return
            known = number in self._closed
            code = ErrorCode.STREAM_CLOSED if known else ErrorCode.PROTOCOL_ERROR
            raise ConnectionFault(code, "HEADERS on a stream of the past")
        if number > self.final:
            self._blocks.skip(block)
            return
        self.last = number
        try:
            head = self._blocks.head(block)
        except Malformed:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, number) from None
        if len(self.streams) >= self._most_streams:
            raise StreamFault(ErrorCode.REFUSED_STREAM, number)
        stream = Stream(number, self._connection, head, self._output.initial, self._room)
        self.streams[number] = stream
        self.arriving += 1
        stream.since = self._connections.now()
        self._service.opened(stream)
        if flags & END_STREAM and not stream.closed:
            self._complete(stream)

    def _trailers(self, stream: Stream, flags: int, block: bytes) -> None:
        try:
            self._blocks.trailers(block)
        except Malformed:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, stream.number) from None
        if stream.whole:
            raise StreamFault(ErrorCode.STREAM_CLOSED, stream.number)
        if not flags & END_STREAM:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, stream.number)
        self._complete(stream)

    # Bodies

    def data(self, flags: int, number: int, payload: bytes) -> None:
        """DATA."""
        size = len(payload)
        self._credit -= size
        if self._credit < CONNECTION_WINDOW // 2:
            if self._credit < 0:
                raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "more than the window")
            self._output.control(window_update(0, CONNECTION_WINDOW - self._credit))
            self._credit = CONNECTION_WINDOW
        stream = self.streams.get(number)
        if stream is None:
            self._stray(number, size)
            return
        if stream.whole:
            raise StreamFault(ErrorCode.STREAM_CLOSED, number)
        body = unpadded(flags, payload)
        if len(body) != size:
            # Padding is no part of a body, but of the window.
            self._allowance.spend("padding")
            self._output.control(window_update(number, size - len(body)))
        if not body and not flags & END_STREAM:
            self._allowance.spend("empty frames")
        if not stream.answered:
            self._take(stream, body)
        if stream.closed:
            return
        if flags & END_STREAM:
            self._complete(stream)
        elif not stream.answered:
            self._service.begun(stream)

    def _take(self, stream: Stream, body: bytes) -> None:
        size = len(body)
        stream.room -= size
        if stream.room < 0:
            raise StreamFault(ErrorCode.FLOW_CONTROL_ERROR, stream.number)
        stream.chunks.append(body)
        stream.size += size
        self._connections.held += size
        if stream.size > stream.most:
            error = RequestError(413, f"the message is larger than {stream.most} bytes")
            self._service.refuse(stream, error)
        elif self._connections.held > self._connections.limits.max_held_bytes:
            why = unavailable("other requests fill the memory that all may hold")
            self._service.refuse(stream, why)

    def _stray(self, number: int, size: int) -> None:
        """DATA for a stream that is not there (any more)."""
        if not number & 1 or number > self.last:
            if number > self.final and number & 1:
                return
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "DATA on an idle stream")
        if size < _SMALL:
            self._allowance.spend("frames for streams that have ended")
        if number not in self._reset:
            raise StreamFault(ErrorCode.STREAM_CLOSED, number)

    def _complete(self, stream: Stream) -> None:
        self.arriving -= 1
        stream.whole = True
        declared = stream.head.length
        if declared is not None and declared != stream.size and not stream.answered:
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, stream.number)
        if not stream.answered:
            self._service.whole(stream)

    # Ends

    def ended(self, stream: Stream) -> None:
        """The answer is out."""
        stream.chunks = []
        self._forget(stream)
        stream.exchange = None  # which holds the stream
        if stream.whole:
            self._closed.append(stream.number)
            self._connection.rested(well=True)
        else:
            # The rest of the request is not wanted. RFC 9113, section 8.1.
            self._reset.append(stream.number)
            self._output.control(rst_stream(stream.number, ErrorCode.NO_ERROR))
            self._connection.rested(well=False)

    def fail(self, number: int, code: ErrorCode) -> None:
        """End a stream that cannot go on."""
        self._reset.append(number)
        self._output.control(rst_stream(number, code))
        stream = self.streams.get(number)
        if stream is not None:
            self.lose(stream)

    def lose(self, stream: Stream) -> None:
        """The stream is over without an answer."""
        self._closed.append(stream.number)
        self._output.drop(stream)
        self._forget(stream)
        self._service.gone(stream)
        stream.exchange = None
        self._connection.rested(well=False)

    def lose_all(self) -> None:
        """The peer has left."""
        for stream in list(self.streams.values()):
            self.lose(stream)

    def _forget(self, stream: Stream) -> None:
        stream.closed = True
        if not stream.whole:
            self.arriving -= 1
        self._connections.held -= stream.size
        stream.size = 0
        del self.streams[stream.number]

    def expire(self, began_before: float) -> None:
        """Tell those whose body did not come in time."""
        for stream in list(self.streams.values()):
            if not stream.whole and not stream.answered and stream.since <= began_before:
                late = RequestError(408, "the body of the request did not come in time")
                self._service.refuse(stream, late)
