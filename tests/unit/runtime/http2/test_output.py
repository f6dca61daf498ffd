"""Whatever the peer's windows do, its bytes come whole, in order, and never more than it allows."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ConnectionFault, ErrorCode, StreamFault
from packager.runtime.http2.fields import Block, Head
from packager.runtime.http2.output import Output
from packager.runtime.http2.peer_settings import INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE
from packager.runtime.http2.streams import Stream

OPENING, CLOSING = Block.of((b"a", b"b"), status=200), Block.of((b"c", b"d"))


class Peer:
    """The other side: it knows what it has allowed, and minds."""

    def __init__(self, numbers: list[int]) -> None:
        self.connection = frames.USUAL_WINDOW
        self.windows = dict.fromkeys(numbers, frames.USUAL_WINDOW)
        self.initial, self.largest = frames.USUAL_WINDOW, frames.LARGEST_FRAME
        self.bodies: dict[int, bytes] = {}
        self.kinds: dict[int, list[int]] = {}

    def write(self, data: bytes) -> None:
        while data:
            size, number = int.from_bytes(data[:3], "big"), int.from_bytes(data[5:9], "big")
            assert size <= self.largest
            self.kinds.setdefault(number, []).append(data[3])
            if data[3] == frames.DATA:
                self.connection -= size
                self.windows[number] -= size
                assert self.connection >= 0
                assert self.windows[number] >= 0
                self.bodies[number] = self.bodies.get(number, b"") + data[9 : 9 + size]
            data = data[9 + size :]

    def is_closing(self) -> bool:
        return False


class Played:
    """An `Output` with four streams, a peer, and what may happen between them."""

    def __init__(self, streams: int = 4) -> None:
        self.held = SimpleNamespace(held=0)
        self.ended: list[int] = []
        self.output = Output(self.held, lambda stream: self.ended.append(stream.number))  # type: ignore[arg-type]
        head = Head({b":method": b"POST", b":path": b"/"}, None)
        initial = self.output.initial
        nobody: Any = None
        self.streams = [Stream(2 * n + 1, nobody, head, initial, 0) for n in range(streams)]
        self.peer = Peer([stream.number for stream in self.streams])
        self.output.transport = self.peer  # type: ignore[assignment]
        self.sent: dict[int, bytes] = {}

    def send(self, stream: Stream, size: int) -> None:
        if stream.number not in self.sent:
            body = self.sent[stream.number] = bytes([stream.number]) * size
            self.output.send(stream, OPENING, body, CLOSING)

    def connection(self, _: Stream, size: int) -> None:
        self.peer.connection += size
        self.output.widen(size)

    def stream(self, stream: Stream, size: int) -> None:
        if stream.number not in self.ended:
            self.peer.windows[stream.number] += size
            self.output.widen_stream(stream, size)

    def initial(self, _: Stream, size: int) -> None:
        for number in self.peer.windows:
            self.peer.windows[number] += size - self.peer.initial
        self.peer.initial = size
        self.output.adopt({INITIAL_WINDOW_SIZE: size}, self.streams)

    def largest(self, _: Stream, size: int) -> None:
        self.output.adopt({MAX_FRAME_SIZE: frames.LARGEST_FRAME + size}, self.streams)
        self.peer.largest = frames.LARGEST_FRAME + size

    def block(self, *_: object) -> None:
        self.output.blocked = 1.0

    def unblock(self, *_: object) -> None:
        self.output.unblock()


ACTIONS = ("send", "send", "connection", "stream", "initial", "largest", "block", "unblock")
STEPS = st.lists(
    st.tuples(st.sampled_from(ACTIONS), st.integers(0, 3), st.integers(1, 100_000)), max_size=40
)


@settings(deadline=None)
@given(STEPS)
def test_within_every_window(steps: list[tuple[str, int, int]]) -> None:
    async def run() -> None:
        played = Played()
        for action, which, size in steps:
            getattr(played, action)(played.streams[which], size)
            played.output.flush()
        played.unblock()
        played.connection(played.streams[0], 1 << 30)
        for stream in played.streams:
            played.stream(stream, 1 << 30)
        played.output.flush()
        assert played.peer.bodies == played.sent
        assert sorted(played.ended) == sorted(played.sent)
        for kinds in played.peer.kinds.values():
            assert kinds[0] == kinds[-1] == frames.HEADERS
            assert set(kinds[1:-1]) == {frames.DATA}
        assert played.held.held == 0

    asyncio.run(run())


def test_a_window_that_overflows() -> None:
    async def run() -> None:
        output, (stream,) = (played := Played(1)).output, played.streams
        with pytest.raises(StreamFault) as stream_fault:
            output.widen_stream(stream, frames.LARGEST_WINDOW)
        assert stream_fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
        with pytest.raises(ConnectionFault) as fault:
            output.widen(frames.LARGEST_WINDOW)
        assert fault.value.code is ErrorCode.FLOW_CONTROL_ERROR
        output, (stream,) = (played := Played(1)).output, played.streams
        output.widen_stream(stream, frames.LARGEST_WINDOW - 65535)
        with pytest.raises(ConnectionFault):
            output.adopt({INITIAL_WINDOW_SIZE: 65536}, [stream])

    asyncio.run(run())


def test_what_waits_is_counted_until_it_is_dropped() -> None:
    async def run() -> None:
        output, (stream,) = (played := Played(1)).output, played.streams
        output.adopt({INITIAL_WINDOW_SIZE: 0}, [stream])
        output.send(stream, OPENING, b"x" * 1000, CLOSING)
        assert (played.held.held, output.waiting) == (1000, True)
        output.drop(stream)
        assert (played.held.held, output.waiting) == (0, False)

    asyncio.run(run())
