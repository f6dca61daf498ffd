"""What RFC 9113 and RFC 7541 demand of a server, section by section, asked of the real one."""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable, Iterator

import pytest
from http2_peer import LIVE, Http2Peer
from runtime_process import RuntimeProcess
from tiny_models import RuntimeFolder

from packager.runtime.http2 import frames
from packager.runtime.http2.faults import ErrorCode
from packager.runtime.http2.frames import frame, rst_stream, window_update

Say = Callable[[Http2Peer], bytes]
OK = {":status": "200", "content-type": "application/grpc", "grpc-status": "0"}


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    folder = RuntimeFolder(tmp_path_factory.mktemp("image"))
    folder.add_classifier()
    folder.document["grpc"] = {"port": 0}
    folder.document["http"] |= {"max_concurrency": 8}
    with RuntimeProcess(folder.write()) as process:
        process.wait_ready()
        yield process.log[-1]["grpc_port"]
        assert process.stop() == 0
        assert [line for line in process.log if line["event"] == "fault"] == []


def told(fields: dict[str, str]) -> dict[str, str]:
    return {name: fields[name] for name in OK if name in fields}


def test_a_call(port: int) -> None:
    with Http2Peer(port) as peer:
        for stream in (1, 3, 9):
            peer.send(peer.call(stream))
            fields, body = peer.answer(stream)
            assert told(fields) == OK
            assert body == b"\0\0\0\0\2\x08\1"


def test_the_servers_settings_come_first_and_ours_are_acknowledged(port: int) -> None:
    with Http2Peer(port) as peer:
        assert peer.alive()
        kinds = [(kind, flags) for kind, flags, _, _ in peer.seen]
        assert kinds[0] == (frames.SETTINGS, 0)
        assert (frames.SETTINGS, frames.ACK) in kinds
        payload = peer.seen[0][3]
        assert dict(struct.iter_unpack(">HI", payload))[3] == 8  # MAX_CONCURRENT_STREAMS


def head(peer: Http2Peer, stream: int = 1, **fields: str) -> bytes:
    return peer.headers(stream, peer.head(LIVE, **fields))


def block(peer: Http2Peer) -> bytes:
    return peer.encoder.encode(peer.head(LIVE))


def ended(peer: Http2Peer) -> bytes:
    """A stream that both sides have closed."""
    peer.send(peer.call(1))
    assert told(peer.answer(1)[0]) == OK
    return b""


P, C = ErrorCode.PROTOCOL_ERROR, ErrorCode.STREAM_CLOSED
S, W, H = ErrorCode.FRAME_SIZE_ERROR, ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.COMPRESSION_ERROR
HUGE = (1 << 31) - 1
SETTINGS = {
    "6.5 ACK with a payload": (lambda _: frame(frames.SETTINGS, frames.ACK, 0, b"x"), S),
    "6.5 on a stream": (lambda _: frame(frames.SETTINGS, 0, 1), P),
    "6.5 in pieces": (lambda _: frame(frames.SETTINGS, 0, 0, bytes(5)), S),
    "6.5.2 ENABLE_PUSH of 2": (lambda _: frames.settings({2: 2}), P),
    "6.5.2 a window too large": (lambda _: frames.settings({4: 1 << 31}), W),
    "6.5.2 frames too small": (lambda _: frames.settings({5: 16383}), P),
    "6.5.2 frames too large": (lambda _: frames.settings({5: 1 << 24}), P),
    "6.9.2 every window overflows": (
        lambda peer: head(peer) + window_update(1, HUGE - 65535) + frames.settings({4: 65536}), W,
    ),
}  # fmt: skip
CONNECTION_FAULTS: dict[str, tuple[Say, ErrorCode]] = {
    "4.2 a frame too large": (lambda _: b"\1\0\0\0\0\0\0\0\1", S),
    "4.3 a block that cannot be read": (lambda _: frame(1, 5, 1, b"\xff\xff\xff\xff\xff\xff"), H),
    "4.3 an index of nothing": (lambda _: frame(1, 5, 1, b"\xff\x80\x01"), H),
    "4.3 another frame within a block": (
        lambda peer: frame(1, 0, 1, block(peer)) + frame(frames.PING, 0, 0, bytes(8)), P,
    ),
    "4.3 a block of another stream within": (
        lambda peer: frame(1, 0, 1, block(peer)) + frame(9, 4, 3), P,
    ),
    "5.1 DATA on an idle stream": (lambda _: frame(frames.DATA, 1, 1, b"x"), P),
    "5.1 RST_STREAM on an idle stream": (lambda _: rst_stream(1, ErrorCode.CANCEL), P),
    "5.1 WINDOW_UPDATE on an idle stream": (lambda _: window_update(1, 1), P),
    "5.1 CONTINUATION of nothing": (lambda _: frame(frames.CONTINUATION, 4, 1), P),
    "5.1 HEADERS on a stream that has ended": (lambda peer: ended(peer) + head(peer), C),
    "5.1.1 a stream of the server's": (lambda peer: head(peer, 2), P),
    "5.1.1 a stream below the last": (lambda peer: peer.call(5) + head(peer, 3), P),
    "6.1 DATA on stream 0": (lambda _: frame(frames.DATA, 0, 0, b"x"), P),
    "6.1 more padding than DATA": (
        lambda peer: head(peer) + frame(frames.DATA, frames.PADDED, 1, b"\6abcde"), P,
    ),
    "6.2 HEADERS on stream 0": (lambda peer: head(peer, 0), P),
    "6.2 more padding than HEADERS": (lambda _: frame(1, 4 | frames.PADDED, 1, b"\6abcde"), P),
    "6.2 a priority in pieces": (lambda _: frame(1, 4 | frames.WITH_PRIORITY, 1, b"abcd"), S),
    "6.3 PRIORITY on stream 0": (lambda _: frame(frames.PRIORITY, 0, 0, bytes(5)), P),
    "6.4 RST_STREAM on stream 0": (lambda _: rst_stream(0, ErrorCode.CANCEL), P),
    "6.4 RST_STREAM in pieces": (lambda peer: head(peer) + frame(3, 0, 1, bytes(3)), S),
    **SETTINGS,
    "6.6 PUSH_PROMISE": (lambda peer: head(peer) + frame(5, 4, 1, bytes(4)), P),
    "6.7 PING on a stream": (lambda _: frame(frames.PING, 0, 1, bytes(8)), P),
    "6.7 PING in pieces": (lambda _: frame(frames.PING, 0, 0, bytes(6)), S),
    "6.8 GOAWAY on a stream": (lambda _: frame(frames.GOAWAY, 0, 1, bytes(8)), P),
    "6.9 WINDOW_UPDATE of 0": (lambda _: window_update(0, 0), P),
    "6.9 WINDOW_UPDATE in pieces": (lambda _: frame(frames.WINDOW_UPDATE, 0, 0, bytes(3)), S),
    "6.9.1 the connection's window overflows": (lambda _: window_update(0, HUGE), W),
    "6.10 CONTINUATION after the end of the block": (
        lambda peer: head(peer) + frame(frames.CONTINUATION, 4, 1), P,
    ),
    "6.10 CONTINUATION on stream 0": (
        lambda peer: frame(1, 0, 1, block(peer)) + frame(9, 4, 0), P,
    ),
    "HPACK 4.2 a table larger than allowed": (
        lambda peer: frame(1, 5, 1, b"\x3f\xe2\x1f" + block(peer)), H,
    ),
    "HPACK 6.3 a size update behind a field": (
        lambda peer: frame(1, 5, 1, block(peer) + b"\x20"), H,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CONNECTION_FAULTS)
def test_what_ends_the_connection(port: int, name: str) -> None:
    say, code = CONNECTION_FAULTS[name]
    with Http2Peer(port) as peer:
        peer.send(say(peer))
        farewell = peer.farewell()
        assert farewell is not None
        assert farewell[0] is code, farewell


def half_closed(peer: Http2Peer) -> bytes:
    """A stream whose request has ended, while its answer waits for a window."""
    peer.send(frames.settings({4: 0}), peer.call(1))
    return b""


STREAM_FAULTS: dict[str, tuple[Say, ErrorCode]] = {
    "5.1 DATA on a half-closed stream": (
        lambda peer: half_closed(peer) + frame(frames.DATA, 0, 1, b"x"), C,
    ),
    "5.1 HEADERS on a half-closed stream": (
        lambda peer: half_closed(peer) + peer.headers(1, [("x", "y")], end=True), C,
    ),
    "5.1 DATA on a stream that has ended": (
        lambda peer: ended(peer) + frame(frames.DATA, 0, 1, b"x"), C,
    ),
    "6.3 PRIORITY in pieces": (lambda _: frame(frames.PRIORITY, 0, 1, bytes(4)), S),
    "6.9 WINDOW_UPDATE of 0": (lambda peer: head(peer) + window_update(1, 0), P),
    "6.9.1 a stream's window overflows": (lambda peer: head(peer) + window_update(1, HUGE), W),
    "8.1 trailers that do not end the request": (
        lambda peer: head(peer) + frame(0, 0, 1, b"\0") + peer.headers(1, [("x", "y")]), P,
    ),
    "8.1 a pseudo-header in trailers": (
        lambda peer: head(peer) + peer.headers(1, [(":path", "/")], end=True), P,
    ),
    "8.1.1 a body longer than declared": (
        lambda peer: head(peer, content_length="1") + frame(frames.DATA, 1, 1, b"\0\0"), P,
    ),
    "8.1.1 a body shorter than declared": (
        lambda peer: head(peer, content_length="9") + frame(frames.DATA, 1, 1, b"\0\0"), P,
    ),
    "8.1.1 no body where one was declared": (
        lambda peer: peer.headers(1, peer.head(LIVE, content_length="9"), end=True), P,
    ),
    "8.2.1 a name in capitals": (lambda peer: peer.headers(1, [*peer.head(), ("X", "y")]), P),
    "8.2.2 connection": (lambda peer: head(peer, connection="close"), P),
    "8.2.2 te": (lambda peer: head(peer, te="gzip"), P),
    "8.3 an unknown pseudo-header": (lambda peer: head(peer, **{":x": "y"}), P),
    "8.3 a pseudo-header behind others": (
        lambda peer: peer.headers(1, [("x", "y"), *peer.head()]), P,
    ),
    "8.3.1 no path": (lambda peer: peer.headers(1, [*peer.head()[:2], *peer.head()[3:]]), P),
    "8.3.1 an empty path": (lambda peer: peer.headers(1, peer.head("")), P),
    "8.3.1 two methods": (lambda peer: peer.headers(1, [*peer.head()[:1], *peer.head()]), P),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAM_FAULTS)
def test_what_ends_a_stream_alone(port: int, name: str) -> None:
    say, code = STREAM_FAULTS[name]
    with Http2Peer(port) as peer:
        peer.send(say(peer))
        assert peer.reset(1) is code
        peer.send(frames.settings({4: 65535}), peer.call(5))
        assert told(peer.answer(5)[0]) == OK


IGNORED: dict[str, Say] = {
    "4.1 an unknown frame": lambda _: frame(0xFB, 0xFF, 0, b"whatever"),
    "4.1 unknown flags": lambda _: frame(frames.PING, 0x16, 0, bytes(8)),
    "5.1 RST_STREAM on a stream that has ended": lambda peer: (
        ended(peer) + rst_stream(1, ErrorCode.CANCEL)
    ),
    "5.1 WINDOW_UPDATE on a stream that has ended": lambda peer: (
        ended(peer) + window_update(1, 9000)
    ),
    "5.3 PRIORITY on an idle stream": lambda _: frame(frames.PRIORITY, 0, 7, bytes(5)),
    "6.5.2 an unknown setting": lambda _: frames.settings({0xFF: 1}),
    "6.7 a PING that is an answer": lambda _: frame(frames.PING, frames.ACK, 0, bytes(8)),
    "6.8 GOAWAY": lambda _: frames.goaway(0, ErrorCode.NO_ERROR),
}


@pytest.mark.parametrize("name", IGNORED)
def test_what_means_nothing(port: int, name: str) -> None:
    with Http2Peer(port) as peer:
        peer.send(IGNORED[name](peer), peer.call(11))
        assert told(peer.answer(11)[0]) == OK


REQUESTS: dict[str, Say] = {
    "5.1 a stream number is skipped": lambda peer: peer.call(77),
    "6.1 DATA with padding": lambda peer: (
        head(peer, 77) + frame(0, frames.PADDED | 1, 77, b"\3\0\0\0\0\0abc")
    ),
    "6.1 DATA in pieces, an empty one among them": lambda peer: (
        head(peer, 77)
        + b"".join(frame(0, 0, 77, b"\0" * (number & 1)) for number in range(10))
        + frame(0, 1, 77)
    ),
    "6.2 HEADERS with padding and priority": lambda peer: (
        frame(1, 4 | 0x28, 77, b"\3" + bytes(5) + block(peer) + b"abc") + frame(0, 1, 77, bytes(5))
    ),
    "6.10 a block in pieces": lambda peer: (
        (whole := block(peer))
        and frame(1, 0, 77, whole[:3])
        + frame(9, 0, 77, whole[3:4])
        + frame(9, 4, 77, whole[4:])
        + frame(0, 1, 77, bytes(5))
    ),
    "8.1 trailers": lambda peer: (
        head(peer, 77) + frame(0, 0, 77, bytes(5)) + peer.headers(77, [("x", "y")], end=True)
    ),
    "8.1.1 a body as long as declared": lambda peer: (
        head(peer, 77, content_length="5") + frame(0, 1, 77, bytes(5))
    ),
    "HPACK 4.2 a smaller table": lambda peer: (
        frame(1, 4, 77, b"\x20" + Http2Peer.encoder_without_table(peer.head(LIVE)))
        + frame(0, 1, 77, bytes(5))
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
def test_requests_of_every_form(port: int, name: str) -> None:
    with Http2Peer(port) as peer:
        peer.send(REQUESTS[name](peer))
        fields, body = peer.answer(77)
        assert told(fields) == OK
        assert body == b"\0\0\0\0\2\x08\1"


def test_a_peer_that_wants_no_table_is_told_that_there_is_none(port: int) -> None:
    """RFC 7541, section 4.2: hpack refuses a block that does not begin with the update."""
    with Http2Peer(port, settings={1: 0}) as peer:
        peer.decoder.max_allowed_table_size = 0
        for stream in (1, 3):
            peer.send(peer.call(stream))
            assert told(peer.answer(stream)[0]) == OK
            peer.seen.clear()


def test_streams_beyond_the_bound_are_refused_and_the_others_served(port: int) -> None:
    with Http2Peer(port) as peer:
        for stream in range(1, 17, 2):
            peer.send(peer.headers(stream))
        peer.send(peer.headers(17))
        assert peer.reset(17) is ErrorCode.REFUSED_STREAM
        peer.send(*(rst_stream(stream, ErrorCode.CANCEL) for stream in range(1, 17, 2)))
        peer.send(peer.call(19))
        assert told(peer.answer(19)[0]) == OK


def test_answers_wait_for_windows(port: int) -> None:
    with Http2Peer(port, settings={4: 3}) as peer:
        peer.send(peer.call(1))
        assert peer.until(lambda one: one[0] == frames.DATA) == (0, 0, 1, b"\0\0\0")
        peer.send(window_update(1, 1))
        assert peer.until(lambda one: one[0] == frames.DATA and len(one[3]) == 1)
        peer.send(frames.settings({4: 100}))
        assert peer.answer(1)[1] == b"\0\0\0\0\2\x08\1"


@pytest.mark.parametrize(
    "data",
    [b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01\x02\x00", b"PRI * HTTP/2.0\r\n\r\nXX"],
)
def test_another_protocol(port: int, data: bytes) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=10) as peer:
        peer.sendall(data)
        answer = b""
        while chunk := peer.recv(65536):
            answer += chunk
    assert (b"This port speaks gRPC" in answer) == data[:1].isalpha()


def test_settings_come_first(port: int) -> None:
    with Http2Peer(port, greet=False) as peer:
        peer.send(frames.PREFACE, peer.call(1))
        farewell = peer.farewell()
        assert farewell is not None
        assert farewell[0] is ErrorCode.PROTOCOL_ERROR
