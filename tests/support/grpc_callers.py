"""A crowd of gRPC callers in one event loop, with the manners of `packager.bench.connection`.

`GrpcServer.connect` gives a caller of its own connection that asks one question at a time;
`Line` carries many calls on one connection. Statuses are HTTP's, so that what counts them need not
know how they came; `LOST` is a call that broke off without a word.
"""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import Callable
from typing import Any, cast

from hpack import Decoder, Encoder
from http2_peer import INFER

from packager.bench.connection import LOST
from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import FrameReader, frame, rst_stream, window_update

# RST_STREAM without an answer, and calls that GOAWAY says were never looked at.
RESET, UNTOUCHED = 1, 2
_STATUSES = {0: 200, 3: 400, 4: 504, 5: 404, 8: 429, 12: 501, 13: 500, 14: 503, 16: 401}
_WINDOW = 1 << 30
Told = Callable[[int, bytes], None]


class Line(asyncio.Protocol):
    """One connection. `told` of a call gets a status and the message of the answer, once; `open`
    while the server takes calls on it."""

    def __init__(self) -> None:
        self.open = False
        self.fields: dict[str, str] = {}
        self._calls: dict[int, tuple[Told, bytearray]] = {}
        self._next = 1
        self._received = 0
        self._encoder, self._decoder = Encoder(), Decoder()
        self._read: dict[bytes, dict[str, str]] = {}
        self._reader = FrameReader()

    @property
    def calls(self) -> int:
        return len(self._calls)

    def ask(self, message: bytes, told: Told, *, packed: bool = False) -> int:
        """Begin a ModelInfer; its stream. A line that is not open tells it UNTOUCHED."""
        if not self.open:
            asyncio.get_running_loop().call_soon(told, UNTOUCHED, b"")
            return 0
        stream = self._next
        self._next += 2
        self._calls[stream] = (told, bytearray())
        head = [
            (":method", "POST"), (":scheme", "http"), (":path", INFER), (":authority", "x"),
            ("te", "trailers"), ("content-type", "application/grpc"),
        ]  # fmt: skip
        if packed:
            head.append(("grpc-encoding", "gzip"))
            message = gzip.compress(message, 1)
        block = self._encoder.encode(head)
        data = bytes([packed]) + len(message).to_bytes(4, "big") + message
        parts = [frame(frames.HEADERS, frames.END_HEADERS, stream, block)]
        size = frames.LARGEST_FRAME
        for first in range(0, len(data), size):
            last = frames.END_STREAM if first + size >= len(data) else 0
            parts.append(frame(frames.DATA, last, stream, data[first : first + size]))
        self._transport.write(b"".join(parts))
        return stream

    def cancel(self, stream: int) -> bool:
        """Give a call up; False when it has been answered."""
        if self._calls.pop(stream, None) is None:
            return False
        self._transport.write(rst_stream(stream, ErrorCode.CANCEL))
        return True

    def close(self) -> None:
        self.open = False
        self._calls.clear()
        self._transport.abort()

    # The transport's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.open = True
        wider = window_update(0, _WINDOW)
        self._transport.write(frames.PREFACE + frames.settings({2: 0, 4: _WINDOW}) + wider)

    def connection_lost(self, _: Exception | None) -> None:
        self.open = False
        self._tell_all(lambda _: True, LOST)

    def data_received(self, data: bytes) -> None:
        for kind, flags, stream, payload in self._reader.feed(data):
            if kind == frames.DATA:
                self._data(stream, payload)
            elif kind == frames.HEADERS:
                self._headers(flags, stream, payload)
            elif kind == frames.RST_STREAM:
                self._tell(stream, RESET)
            elif kind == frames.SETTINGS and not flags & frames.ACK:
                self._transport.write(frames.SETTINGS_ACK)
            elif kind == frames.PING and not flags & frames.ACK:
                self._transport.write(frame(frames.PING, frames.ACK, 0, payload))
            elif kind == frames.GOAWAY:
                self.open = False
                last = int.from_bytes(payload[:4], "big")
                self._tell_all(lambda one, last=last: one > last, UNTOUCHED)

    def _data(self, stream: int, payload: bytes) -> None:
        self._received += len(payload)
        if self._received > _WINDOW // 2:
            self._transport.write(window_update(0, self._received))
            self._received = 0
        if stream in self._calls:
            self._calls[stream][1].extend(payload)

    def _headers(self, flags: int, stream: int, payload: bytes) -> None:
        found = self._read.get(payload)
        if found is None:  # what the server says leaves the table as it is
            found = self._read[payload] = dict(self._decoder.decode(payload))
        if flags & frames.END_STREAM:
            self.fields = found
            self._tell(stream, _STATUSES[int(found["grpc-status"])])

    def _tell(self, stream: int, status: int) -> None:
        told, body = self._calls.pop(stream, (None, b""))
        if told is not None:
            told(status, bytes(body[5:]))

    def _tell_all(self, which: Callable[[int], bool], status: int) -> None:
        for stream in [one for one in self._calls if which(one)]:
            self._tell(stream, status)


class Caller(Line):
    """One question at a time, as `packager.bench.connection.Connection` asks them."""

    def __init__(self, answered: Callable[[Any, int, float], None]) -> None:
        super().__init__()
        self.asked = 0.0
        self.body = b""
        self.stream = 0
        self._answered = answered

    def ask(self, message: bytes, since: float) -> int:  # type: ignore[override]
        self.asked = time.perf_counter()

        def told(status: int, body: bytes) -> None:
            self.body = body
            self._answered(self, status, time.perf_counter() - since)

        self.stream = super().ask(message, told)
        return self.stream


class GrpcServer:
    """Where to call, as `packager.bench.server.Server` says it."""

    def __init__(self, port: int) -> None:
        self.port = port

    async def connect(
        self, answered: Callable[[Any, int, float], None], *, keep_body: bool = False
    ) -> Caller:
        return await self._connected(lambda: Caller(answered))

    async def line(self) -> Line:
        """A connection for many calls."""
        return await self._connected(Line)

    async def _connected(self, made: Callable[[], Any]) -> Any:
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(60):
            return (await loop.create_connection(made, "127.0.0.1", self.port))[1]

    async def ask(self, message: bytes) -> tuple[int, bytes]:
        """Status and message of one answer, on a connection of its own."""
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        caller = await self.connect(lambda _, status, __: done.set_result(status))
        caller.ask(message, 0.0)
        async with asyncio.timeout(60):
            status = await done
        caller.close()
        return status, caller.body
