"""One HTTP/2 connection: what its frames ask for, and the answers to it. When patience with it
ends, and how it closes, stands in `ending`.

Sources: RFC 9113; for what hostile peers do, `allowance` and the bounds in `intake`.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple, cast

from ..tls import principal
from . import frames
from .ending import LAST_PING, Ending
from .faults import ConnectionFault, ErrorCode, StreamFault
from .fields import Block
from .intake import CONNECTION_WINDOW, Intake
from .output import Output
from .peer_settings import (
    INITIAL_WINDOW_SIZE,
    MAX_CONCURRENT_STREAMS,
    MAX_HEADER_LIST_SIZE,
    read_settings,
)
from .streams import Service, Stream

if TYPE_CHECKING:
    from ..listening import Connections

_SMALL_INCREMENT = 256
_OTHER_PROTOCOL = (
    b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Type: text/plain\r\n"
    b"Connection: close\r\nContent-Length: 31\r\n\r\nThis port speaks gRPC (HTTP/2)\n"
)


class Bounds(NamedTuple):
    """Streams at a time, and bytes of a stream's body; both are told to the peer."""

    most_streams: int
    room: int


class Connection(Ending):
    """A peer."""

    def __init__(self, service: Service, connections: Connections, bounds: Bounds) -> None:
        super().__init__(service, connections)
        self.client = ""
        self.principal: str | None = None
        self._bounds = bounds
        self._greeting = b""
        self._greeted = False
        self.output = Output(connections, self._ended_stream)
        self._intake = Intake(
            self, service, connections, self._allowance,
            most_streams=bounds.most_streams, room=bounds.room,
        )  # fmt: skip

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = self.output.transport = cast(asyncio.Transport, transport)
        peer = transport.get_extra_info("peername")
        self.client = str(peer[0]) if isinstance(peer, tuple) else ""
        self.principal = principal(transport.get_extra_info("peercert"))
        self.due = self._connections.now() + self._connections.limits.header_seconds
        self._connections.add(self)
        tls = transport.get_extra_info("ssl_object")
        if tls is not None and tls.selected_alpn_protocol() != "h2":
            self.abort()
            return
        wishes = {
            MAX_CONCURRENT_STREAMS: self._bounds.most_streams,
            INITIAL_WINDOW_SIZE: self._bounds.room,
            MAX_HEADER_LIST_SIZE: self._connections.limits.max_header_bytes,
        }
        more = frames.window_update(0, CONNECTION_WINDOW - frames.USUAL_WINDOW)
        self._transport.write(frames.settings(wishes) + more)

    def connection_lost(self, _: Exception | None) -> None:
        self._ended = True
        self._connections.remove(self)
        self._intake.lose_all()

    def pause_writing(self) -> None:
        self.output.blocked = self._connections.now()
        self._look_soon()

    def resume_writing(self) -> None:
        self.output.unblock()

    def eof_received(self) -> None:
        # A client that has closed its side is taken to have left, as over HTTP/1.
        return

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        output, reader = self.output, self._reader
        output.gathering = True
        try:
            if not self._greeted:
                data = self._greet(data)
            for kind, flags, number, payload in reader.feed(data):
                self._midway_since = 0.0
                try:
                    self._take(kind, flags, number, payload)
                except StreamFault as fault:
                    self._intake.fail(fault.stream, fault.code)
                    self._allowance.spend("streams that break the rules")
                if self._ended:
                    return
            if reader.midway or self._intake.arriving or self._intake.block_since is not None:
                self._look_soon()
        except ConnectionFault as fault:
            self._fail(fault)
        finally:
            output.gathering = False
            output.flush()

    def _greet(self, data: bytes) -> bytes:
        """What follows the preface; raises ConnectionFault for anything else than a preface."""
        self._greeting += data[: len(frames.PREFACE)]
        begun = self._greeting + data[len(frames.PREFACE) :]
        if begun.startswith(frames.PREFACE):
            self._greeted = True
            self._greeting = b""
            return begun[len(frames.PREFACE) :]
        if not frames.PREFACE.startswith(begun):
            if begun[:1].isupper():
                self._transport.write(_OTHER_PROTOCOL)
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "this is not HTTP/2")
        self._greeting = begun
        return b""

    # Frames

    def _take(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if self._intake.block_since is not None and kind != frames.CONTINUATION:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a header block is not complete")
        if kind == frames.DATA:
            self._intake.data(flags, number, payload)
        elif kind == frames.HEADERS and self._settled:
            self._intake.headers(flags, number, payload)
        elif kind == frames.SETTINGS:
            self._settings(flags, number, payload)
        elif not self._settled:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS must come first")
        elif kind == frames.CONTINUATION:
            self._intake.continuation(flags, number, payload)
        elif kind == frames.WINDOW_UPDATE:
            self._window_update(number, payload)
        elif kind == frames.RST_STREAM:
            self._rst_stream(number, payload)
        elif kind == frames.PING:
            self._ping(flags, number, payload)
        else:
            self._other(kind, number, payload)

    def _settings(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "SETTINGS on a stream")
        if flags & frames.ACK:
            if payload:
                raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "an ACK with settings")
            self._allowance.spend("acknowledgements")
            return
        self._allowance.spend("settings")
        self._settled = True
        self.output.control(frames.SETTINGS_ACK)
        self.output.adopt(read_settings(payload), self._intake.streams.values())

    def _window_update(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "WINDOW_UPDATE has 4 bytes")
        increment = int.from_bytes(payload, "big") & frames.LARGEST_WINDOW
        if increment < _SMALL_INCREMENT:
            self._allowance.spend("small windows")
        stream = self._known(number) if number else None
        if not increment:
            if not number:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "an increment of 0")
            raise StreamFault(ErrorCode.PROTOCOL_ERROR, number)
        if not number:
            self.output.widen(increment)
        elif stream is not None:
            self.output.widen_stream(stream, increment)

    def _rst_stream(self, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "RST_STREAM has 4 bytes")
        stream = self._known(number)
        self._resets.spend("resets")
        if stream is not None:
            self._intake.lose(stream)

    def _ping(self, flags: int, number: int, payload: bytes) -> None:
        if number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PING on a stream")
        if len(payload) != 8:
            raise ConnectionFault(ErrorCode.FRAME_SIZE_ERROR, "PING has 8 bytes")
        self._allowance.spend("pings")
        if not flags & frames.ACK:
            self.output.control(frames.frame(frames.PING, frames.ACK, 0, payload))
        elif payload == LAST_PING and self._leaving:
            self._leave()

    def _other(self, kind: int, number: int, payload: bytes) -> None:
        """Frames that mean nothing to us, and such as a client must not send."""
        self._allowance.spend("frames that mean nothing")
        if kind == frames.PUSH_PROMISE:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "a client cannot push")
        if kind == frames.PRIORITY:
            if not number:
                raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "PRIORITY of no stream")
            if len(payload) != 5:
                raise StreamFault(ErrorCode.FRAME_SIZE_ERROR, number)
        elif kind == frames.GOAWAY and number:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "GOAWAY on a stream")

    def _known(self, number: int) -> Stream | None:
        """The stream, None when it has ended; raises ConnectionFault for one that never was."""
        if number > self._intake.final:
            return None
        if not number & 1 or number > self._intake.last:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "the stream is idle")
        return self._intake.streams.get(number)

    # Answers

    def send(self, stream: Stream, head: Block | None, body: bytes, trailers: Block | None) -> None:
        """A part of an answer; nothing once the stream is over. An answer that cannot be sent ends
        its stream, whoever waits for it, and raises."""
        if stream.closed or self._ended:
            return
        try:
            self._send(stream, head, body, trailers)
        except Exception:
            self._intake.fail(stream.number, ErrorCode.INTERNAL_ERROR)
            raise

    def _send(
        self, stream: Stream, head: Block | None, body: bytes, trailers: Block | None
    ) -> None:
        stream.answered = trailers is not None
        output = self.output
        if output.gathering or len(self._intake.streams) > 1:
            output.send(stream, head, body, trailers)
        else:
            # Nobody else's answer could go with this one.
            output.gathering = True
            try:
                output.send(stream, head, body, trailers)
            finally:
                output.gathering = False
            output.flush()
        if output.waiting:
            self._look_soon()

    def _ended_stream(self, stream: Stream) -> None:
        self._intake.ended(stream)
